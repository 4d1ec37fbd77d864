"""``deploy/prefect.yaml``, written from ``flows/service/deployments.py``: ``python -m tests.prefect_yaml``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from flows.service import deployments
from flows.service.deployments import Deployed

PATH = Path(__file__).parents[1] / "deploy" / "prefect.yaml"
HEADER = """\
# What Prefect runs for goms, when and why. Written by `python -m tests.prefect_yaml` from flows/service/deployments.py and the
# schedules in pipeline/systems.py: edit those. To a server: prefect --no-prompt deploy --all --prefect-file deploy/prefect.yaml,
# once the work pool `process` is there. `goms deploy [--pool process|docker|kubernetes]` does the same for any of the
# three, makes the work pool (with a GPU limit on Kubernetes), the device's slot and the automation that ends zombies.
# Times are UTC.
"""  # noqa: E501


def text(entries: Iterable[Deployed] | None = None) -> str:
    """The file's text."""
    wanted = deployments.deployments(deployments.scheduled_systems()) if entries is None else entries
    content = {"name": "goms", "pull": [], "deployments": [described(item) for item in wanted]}
    return HEADER + yaml.safe_dump(content, sort_keys=False, width=118, allow_unicode=True)


def described(item: Deployed) -> dict[str, Any]:
    """One deployment as Prefect's file has it."""
    schedules = [] if item.cron is None else [{"cron": item.cron, "timezone": "UTC", "slug": "daily", "active": True}]
    alone = {"concurrency_limit": {"limit": 1, "collision_strategy": "CANCEL_NEW"}} if item.alone else {}
    return {
        "name": item.name, "entrypoint": item.entrypoint, "description": item.description,
        "parameters": item.parameters, "tags": list(item.tags), "schedules": schedules, **alone,
        "work_pool": {"name": "process", "job_variables": item.job_variables(deployments.POOLS["process"])},
    }  # fmt: skip


if __name__ == "__main__":
    PATH.write_text(text())
