"""Grafana's dashboard of the service, as code: ``python deploy/monitoring/dashboard.py`` writes it anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

PATH = Path(__file__).parent / "grafana" / "dashboards" / "goms.json"
SOURCE = {"type": "prometheus", "uid": "goms"}
CHOSEN = 'system=~"$system"'


class Panel(NamedTuple):
    """One picture. ``unit``: Grafana's name of it; ``steps``: where the colour changes; ``width`` of 24."""

    title: str
    help: str
    expression: str
    legend: str
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 12
    height: int = 8
    steps: tuple[tuple[str, float | None], ...] = (("green", None),)


PANELS = (
    Panel("Age of the newest forecast", "From its start; a daily forecast is some 18 hours old when it comes out.",
          f"goms:latest_age_seconds{{{CHOSEN}}}", "{{system}}", "s", "stat", 6, 5,
          (("green", None), ("orange", 2 * 86400.0), ("red", 2.5 * 86400.0))),
    Panel("Cycles that need a person", "Late, failed, not begun, or about to miss their deadline.",
          f"goms_alarms{{{CHOSEN}}}", "{{system}}", "short", "stat", 6, 5, (("green", None), ("red", 1.0))),
    Panel("Degraded", "1: the newest forecast is less than the system asks for; it says why itself.",
          f"goms_latest_degraded{{{CHOSEN}}}", "{{system}}", "short", "stat", 6, 5, (("green", None), ("orange", 1.0))),
    Panel("Exit code of the last run", "0 published, 3 input absent, 4 input refused, 5 forecast refused, 6 store.",
          f"goms_run_exit_code{{{CHOSEN}}}", "{{system}}", "short", "stat", 6, 5, (("green", None), ("red", 1.0))),
    Panel("Promised cycles by how they stand", "What the schedule promised and is still looked at.",
          f"goms_cycles{{{CHOSEN}}} > 0", "{{system}} {{verdict}}"),
    Panel("Time left before the deadline", "Of the oldest open cycle, if its stages take as long as the slowest did.",
          f"goms:open_slack_seconds{{{CHOSEN}}}", "{{system}}", "s", steps=(("red", None), ("green", 0.0))),
    Panel("What the stages took", "In the newest cycle.", f"goms_stage_duration_seconds{{{CHOSEN}}}",
          "{{system}} {{stage}}", "s"),
    Panel("Slower than usual", "The newest cycle's stages over the median of the last ones.",
          f"goms:stage_slowness:ratio{{{CHOSEN}}}", "{{system}} {{stage}}", steps=(("green", None), ("red", 2.0))),
    Panel("Most memory of the stages", "Of the process, in the newest cycle.",
          f"goms_stage_peak_memory_bytes{{{CHOSEN}}}", "{{system}} {{stage}}", "bytes"),
    Panel("Most memory on the accelerator", "Where a stage used one.",
          f"goms_stage_peak_device_memory_bytes{{{CHOSEN}}}", "{{system}} {{stage}}", "bytes"),
    Panel("Age of the inputs", "At the start of the newest forecast.", f"goms_input_age_seconds{{{CHOSEN}}}",
          "{{system}} {{kind}} from {{source}}", "s"),
    Panel("Place of the source in its ladder", "0 is the first choice.", f"goms_input_rung{{{CHOSEN}}}",
          "{{system}} {{kind}} from {{source}}"),
    Panel("Error against persistence", "Root mean square errors' ratio; below 1 the forecast is better.",
          f"goms:skill_against_persistence:ratio{{{CHOSEN}}}", "{{product}} {{variable}} day {{lead_day}}",
          steps=(("green", None), ("red", 1.0))),
    Panel("Anomaly correlation", "1 is perfect, below 0.6 of no use.", f"goms_skill_anomaly_correlation{{{CHOSEN}}}",
          "{{product}} {{variable}} day {{lead_day}}"),
    Panel("Bytes of the newest forecast", "By product.", f"goms_product_size_bytes{{{CHOSEN}}}",
          "{{system}} {{product}}", "bytes"),
    Panel("Room taken in the store", "By part; flat once retention has set in.", f"goms_store_bytes{{{CHOSEN}}}",
          "{{system}} {{part}}", "bytes"),
)  # fmt: skip


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana reads it."""
    return {
        "uid": "goms", "title": "GOMS", "tags": ["goms"], "schemaVersion": 41, "version": 1, "editable": False,
        "timezone": "utc", "refresh": "1m", "time": {"from": "now-7d", "to": "now"},
        "templating": {"list": [{
            "name": "system", "type": "query", "datasource": SOURCE, "multi": True, "includeAll": True, "refresh": 2,
            "query": {"query": "label_values(goms_store_readable, system)", "refId": "system"},
            "current": {"text": ["All"], "value": ["$__all"]},
        }]},
        "panels": _panels(),
    }  # fmt: skip


def _panels() -> list[dict[str, Any]]:
    """Each panel beside the one before, or below where there is no room."""
    made, column, row, tallest = [], 0, 0, 0
    for number, panel in enumerate(PANELS, start=1):
        if column + panel.width > 24:
            column, row, tallest = 0, row + tallest, 0
        made.append(_panel(panel, number, {"x": column, "y": row, "w": panel.width, "h": panel.height}))
        column, tallest = column + panel.width, max(tallest, panel.height)
    return made


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    steps = [{"color": colour, "value": value} for colour, value in panel.steps]
    target = {"refId": "A", "datasource": SOURCE, "expr": panel.expression, "legendFormat": panel.legend}
    shown = {"thresholdsStyle": {"mode": "line"}} if len(steps) > 1 and panel.kind == "timeseries" else {}
    return {
        "id": number, "type": panel.kind, "title": panel.title, "description": panel.help, "gridPos": place,
        "datasource": SOURCE, "targets": [target],
        "fieldConfig": {"overrides": [], "defaults": {
            "unit": panel.unit, "custom": shown, "thresholds": {"mode": "absolute", "steps": steps},
            "color": {"mode": "palette-classic" if panel.kind == "timeseries" else "thresholds"},
        }},
    }  # fmt: skip


def text() -> str:
    """The file's content."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    PATH.write_text(text())
