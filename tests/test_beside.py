"""A command that has no Prefect server to report to has one beside it, and leaves none behind however it ends."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest
from journeys import PATIENCE_SECONDS, Goms, finish, stop_when

from flows.service import beside
from pipeline.store import Store

MARK = "small-sea/runs/20230101T00/marks/ocean.json"


def servers(folder: Path) -> list[int]:
    """The processes that serve beside a command in this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and b"flows.service.beside" in (entry / "cmdline").read_bytes():
                found += [int(entry.name)] if (entry / "cwd").resolve() == folder.resolve() else []
        except OSError:  # ended in the meantime
            continue
    return found


def test_the_server_beside_a_command_ends_with_it_killed_or_not(goms: Goms, folder_store: Store) -> None:
    goms.environment.pop("PREFECT_API_URL")
    killed = goms.start("run", "2023-01-01", *goms.request(folder_store))
    stop_when(killed, folder_store, MARK, signal.SIGSTOP)
    assert len(servers(goms.folder)) == 1
    killed.send_signal(signal.SIGKILL)
    finish(killed)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while servers(goms.folder):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    again = goms.run("2023-01-01", folder_store)
    assert again.code == 0, again.err
    assert "reused  take in the ocean" in again.err
    assert servers(goms.folder) == []
    assert sorted(path.name for path in (goms.folder / "scratch/prefect").glob("run-*")) == []


def test_what_is_refused_at_once_waits_for_no_server(goms: Goms) -> None:
    goms.environment.pop("PREFECT_API_URL")
    assert goms("run", "2023-01-01", "--system", "atlantis").code == 2
    assert servers(goms.folder) == []


def test_a_server_that_hangs_at_its_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "LONGEST_END_SECONDS", 0.1)
    hanging = subprocess.Popen(["sleep", "600"], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    beside._ended(hanging)
    assert hanging.returncode == -signal.SIGKILL
