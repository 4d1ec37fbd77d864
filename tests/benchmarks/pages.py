"""Pictures of what the person on call sees of flow runs: ``python -m tests.benchmarks.pages http://HOST:PORT FOLDER``.

Takes the last runs of the server's daily flow, each with its log, its artifacts and each artifact's own page, and the
runs' overview, by Debian's chromium.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import debian
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterStartTime,
)
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort

RUNS = 10
WINDOW = "1600,1400"
WAIT_MILLISECONDS = 15000
"""Time that the page is given to fetch and draw itself."""


def shoot(address: str, path: Path) -> Path:
    """A page as a picture."""
    browser = debian.program("chromium", "chromium")
    subprocess.run(
        [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={WINDOW}",
         f"--virtual-time-budget={WAIT_MILLISECONDS}", f"--screenshot={path}", address],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    return path


def run_pages(pages: str, run: FlowRun, folder: Path) -> list[Path]:
    """The log and the artifacts of a run."""
    name = f"{run.name} {run.state_name}".replace(" ", "-")
    found = [shoot(f"{pages}/runs/flow-run/{run.id}?tab={tab}", folder / f"{name}-{tab.lower()}.png")
             for tab in ("Logs", "Artifacts")]  # fmt: skip
    with SyncPrefectClient(f"{pages}/api") as client:
        made = client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id])))
    return [*found, *(shoot(f"{pages}/artifacts/artifact/{item.id}", folder / f"{name}-{item.key}.png")
                      for item in made if item.key)]  # fmt: skip


def main(pages: str, folder: Path) -> None:
    """Every page; prints where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    print(shoot(f"{pages}/runs", folder / "runs.png"))
    with SyncPrefectClient(f"{pages}/api") as client:
        begun = FlowRunFilter(start_time=FlowRunFilterStartTime(is_null_=False))
        runs = client.read_flow_runs(flow_run_filter=begun, sort=FlowRunSort.START_TIME_DESC, limit=RUNS)
    for run in runs:
        for path in run_pages(pages, run, folder):
            print(path)


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"), Path(sys.argv[2]))
