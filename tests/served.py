"""``goms up`` for the tests: a whole service of the small sea, and what one sees of it through Prefect's API."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import small_goms
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Scheduled

from tests.ports import free_port

HERE = Path(__file__).parent
PATIENCE_SECONDS = 240
"""Longest wait for anything: a run takes some ten seconds, many times that on a busy machine."""

Found = TypeVar("Found")


class Up(NamedTuple):
    """A service that was started: its process, its environment and its pages' port."""

    process: subprocess.Popen[str]
    environment: dict[str, str]
    folder: Path
    port: int

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def fired(self) -> datetime:
        """When the schedule fired last, for 2023-01-01."""
        return datetime.fromisoformat(self.environment["SMALL_SEA_FIRED"])

    @property
    def client(self) -> SyncPrefectClient:
        return SyncPrefectClient(self.api)

    def goms(self, *words: object) -> subprocess.CompletedProcess[str]:
        """A command on the service's machine."""
        command = [sys.executable, "-c", "from flows.cli import main; main()", *map(str, words)]
        return subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True,
                              timeout=PATIENCE_SECONDS, check=False)  # fmt: skip

    def prefect(self, *words: object) -> subprocess.CompletedProcess[str]:
        """A command of Prefect's own, to the service's server."""
        command = [sys.executable, "-m", "prefect", *map(str, words)]
        environment = self.environment | {"PREFECT_API_URL": self.api, "PREFECT_HOME": str(self.folder / "prefect")}
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True,
                              timeout=PATIENCE_SECONDS, check=False)  # fmt: skip

    def fire(self, deployment: str, **parameters: Any) -> FlowRun:
        """A run of a deployment, now, that was due when the schedule fired last."""
        due: State[Any] = Scheduled(scheduled_time=self.fired)
        with self.client as client:
            found = client.read_deployment_by_name(deployment)
            return client.create_flow_run_from_deployment(found.id, parameters=parameters, state=due)

    def ended(self, run: FlowRun, after: State[Any] | None = None) -> State[Any]:
        """The state in which a run ends; ``after``: not this one, for a run that is tried again."""

        def final() -> State[Any] | None:
            with self.client as client:
                state = client.read_flow_run(run.id).state
            return state if state and state.is_final() and (after is None or state.id != after.id) else None

        return self.waits(final)

    def waits(self, look: Callable[[], Found | None]) -> Found:
        """What a look finds, as soon as it finds something."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (found := look()) is None:
            assert self.process.poll() is None, f"the service has ended: {self.said()}"
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.3)
        return found

    def logs(self) -> str:
        """The last of what its processes wrote."""
        return "\n".join(path.read_text()[-3000:] for path in sorted((self.folder / "scratch/service").glob("*.log")))

    def said(self) -> str:
        """What ``goms up`` itself said."""
        return (self.folder / "up.log").read_text()

    def kill(self) -> None:
        """End ``goms up`` alone, as the system does when there is no memory left."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def start(folder: Path, masks: Path, store: str, *options: object, **others: str) -> Up:
    """``goms up`` of the small sea in a folder; ready once it has said where its pages are."""
    folder.mkdir(exist_ok=True)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("GOMS_", "PREFECT_"))}
    environment = inherited | {
        "GOMS_SCRATCH": str(folder / "scratch"), "OMP_NUM_THREADS": "1", "COLUMNS": "200",
        "SMALL_SEA_MASKS": str(masks), "SMALL_SEA_FIRED": small_goms.fired(),
        "PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_LOGGING_LEVEL": "INFO",
        "PREFECT_TASK_DEFAULT_RETRIES": "0",  # what fails here fails for good, and is waited for
        "PYTHONPATH": os.pathsep.join((str(HERE / "small_site"), str(HERE), str(HERE.parent))), **others,
    }  # fmt: skip
    port = free_port()
    words = ["up", "--port", port, "--store", store, *options]
    with (folder / "up.log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-c", "from flows.cli import main; main()", *map(str, words)],
                                   cwd=folder, env=environment, stdout=log, stderr=log, text=True)  # fmt: skip
    started = Up(process, environment, folder, port)
    started.waits(lambda: "Ctrl-C ends it" in started.said() or None)
    return started


def marked(folder: Path) -> list[int]:
    """The processes of a service, flow runs included."""
    from flows.service import processes

    return processes.marked(folder / "scratch/service")
