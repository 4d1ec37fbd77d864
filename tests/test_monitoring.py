"""Monitoring's files: what they name is exported, each alert says what to do, the dashboard is its script's."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import debian
import pytest
import yaml

from flows.desk import metrics
from pipeline.operations import figures

MONITORING = Path(__file__).parents[1] / "deploy" / "monitoring"
RUNBOOK = (MONITORING.parent / "runbook.md").read_text()
EXPORTED = {metric.name: {"system", *metric.labels} for metric in (*figures.FRESH, *figures.SLOW)} | {
    metrics.BUILD: {"version"}, metrics.TAKEN: set(),
}  # fmt: skip


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((MONITORING / "rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((MONITORING / "grafana/dashboards/goms.json").read_text())["panels"]
    return found


def expressions() -> Iterator[str]:
    yield from (str(rule["expr"]) for rule in rules())
    yield from (target["expr"] for panel in panels() for target in panel["targets"])


ALERTS = [rule for rule in rules() if "alert" in rule]
RECORDED = {str(rule["record"]) for rule in rules() if "record" in rule}


def test_every_figure_that_is_asked_for_is_exported() -> None:
    asked = {name for text in expressions() for name in re.findall(r"goms[_:][a-z_:]+", text)}
    assert len(asked) > 15
    assert asked - set(EXPORTED) - RECORDED == set()
    chosen = json.loads((MONITORING / "grafana/dashboards/goms.json").read_text())["templating"]["list"][0]
    assert re.findall(r"goms_\w+", chosen["query"]["query"])[0] in EXPORTED


def test_every_label_that_is_asked_for_is_one_of_the_figures() -> None:
    for name, inside in (pair for text in expressions() for pair in re.findall(r"(goms_[a-z_]+)\{([^}]*)\}", text)):
        assert set(re.findall(r"(\w+)=~?\"", inside)) <= EXPORTED[name], name


def test_figures_are_named_after_prometheus_practice() -> None:
    assert all(re.fullmatch(r"goms_[a-z]+(_[a-z]+)*", name) for name in EXPORTED)
    times = [name for name in EXPORTED if "timestamp" in name or "duration" in name or "age" in name.split("_")]
    assert times
    assert all(name.endswith("_seconds") for name in times)


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_every_alert_says_what_to_type_and_where_to_read(rule: dict[str, Any]) -> None:
    told = rule["annotations"]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert set(told) == {"summary", "description", "command", "runbook"}
    page, _, anchor = told["runbook"].partition("#")
    assert page == "deploy/runbook.md"
    assert not anchor or f"## {anchor}\n" in RUNBOOK
    from flows.cli import COMMANDS

    typed = re.findall(r"goms ([a-z-]+)", told["command"])
    assert typed
    assert set(typed) <= {command.__name__.replace("_", "-") for command in COMMANDS}


def test_the_dashboard_is_what_its_script_makes() -> None:
    """After a change: ``python deploy/monitoring/dashboard.py``."""
    specification = importlib.util.spec_from_file_location("dashboard", MONITORING / "dashboard.py")
    assert specification is not None
    assert specification.loader is not None
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    assert (MONITORING / "grafana/dashboards/goms.json").read_text() == script.text()


def test_no_panel_lies_on_another() -> None:
    cells = [(x, y) for panel in panels() for place in [panel["gridPos"]]
             for x in range(place["x"], place["x"] + place["w"])
             for y in range(place["y"], place["y"] + place["h"])]  # fmt: skip
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23


def test_grafana_asks_the_prometheus_that_it_is_given() -> None:
    (source,) = yaml.safe_load((MONITORING / "grafana/datasources/goms.yaml").read_text())["datasources"]
    asked = {target["datasource"]["uid"] for panel in panels() for target in panel["targets"]}
    assert asked == {source["uid"]}


@pytest.mark.parametrize(
    "arguments", [("check", "config", "prometheus.yml"), ("check", "rules", "rules.yml"),
                  ("test", "rules", "rules_test.yml", "rules_slow_test.yml")],
    ids=" ".join,
)  # fmt: skip
def test_prometheus_takes_its_files_and_tells_whom_it_must(arguments: tuple[str, ...]) -> None:
    promtool = debian.program("promtool", "prometheus")
    done = subprocess.run([promtool, *arguments], cwd=MONITORING, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
