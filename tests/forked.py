"""Whole runs that cost a fork instead of an import: ``goms`` on the small sea from ``fork_goms.py``."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
from journeys import HERE, PATIENCE_SECONDS, Answer, Goms, keys

from pipeline.store import Store


class Process:
    """A run that was forked. ``pid``: its number."""

    def __init__(self, pid: int, answer: Path) -> None:
        self.pid, self._answer = pid, answer

    def poll(self) -> int | None:
        """How it ended, or ``None`` while it has not."""
        with suppress(FileNotFoundError):
            return int((self._answer / "code").read_text())
        return None

    def send_signal(self, how: signal.Signals) -> None:
        """Signal it, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, how)

    def await_stop(self) -> None:
        """Wait until it is stopped (state T of proc(5))."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            assert self.poll() is None, self.finish()
            assert time.monotonic() < deadline, f"process {self.pid} was not stopped"
            time.sleep(0.01)

    def finish(self) -> Answer:
        """Wait for its end: what it said."""
        self._wait()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (code := self.poll()) is None:
            assert time.monotonic() < deadline, f"process {self.pid} has not ended: {self._text('err')}"
            time.sleep(0.002)
        return Answer(code, self._text("out"), self._text("err"))

    def _wait(self) -> None:
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        select.select([descriptor], [], [], PATIENCE_SECONDS)
        os.close(descriptor)

    def _text(self, name: str) -> str:
        path = self._answer / name
        return path.read_text() if path.exists() else ""


class Forks:
    """Starts runs on the small sea; may be used from several threads."""

    def __init__(self, inputs: Path, masks: Path, folder: Path, environment: dict[str, str]) -> None:
        self.goms = Goms(inputs, masks, folder, environment)
        self._folder, self._count, self._mutex = folder, 0, Lock()
        self._started: list[Process] = []
        self._parent = subprocess.Popen(
            [sys.executable, str(HERE / "fork_goms.py"), str(masks)], cwd=folder, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._line() == "ready"

    def start(
        self, *arguments: object, point: str | None = None, how: signal.Signals = signal.SIGKILL, **environment: str
    ) -> Process:
        """Begin a command and do not wait; ``environment``: on top of a desk's and of the keys of this process."""
        with self._mutex:
            self._count += 1
            desk = self._folder / f"{self._count:04d}"
            desk.mkdir()
            scratch = {"GOMS_SCRATCH": str(desk / "scratch")}
            request: dict[str, Any] = {
                "arguments": [str(argument) for argument in arguments], "folder": str(desk), "answer": str(desk),
                "environment": keys() | scratch | environment, "point": point,
                "signal": int(how),
            }  # fmt: skip
            assert self._parent.stdin is not None
            self._parent.stdin.write(json.dumps(request) + "\n")
            self._parent.stdin.flush()
            process = Process(int(self._line()), desk)
            self._started.append(process)
        return process

    def run(
        self, day: str, store: Store, point: str | None = None, how: signal.Signals = signal.SIGKILL,
        **environment: str,
    ) -> Process:  # fmt: skip
        """Begin ``goms run`` of the small sea by persistence; at ``point`` it is sent the signal ``how``."""
        return self.start("run", day, *self.goms.request(store), point=point, how=how, **environment)

    def close(self) -> None:
        """End every process."""
        for process in self._started:
            for how in (signal.SIGKILL, signal.SIGCONT):
                with suppress(ProcessLookupError):
                    process.send_signal(how)
        self._parent.communicate(timeout=PATIENCE_SECONDS)

    def _line(self) -> str:
        assert self._parent.stdout is not None
        return self._parent.stdout.readline().strip()


@pytest.fixture(scope="session")
def forks(
    small_sea: tuple[Path, Path], settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Forks]:
    """Runs on the small sea, forked."""
    folder = tmp_path_factory.mktemp("forks")
    home = {"PREFECT_HOME": str(folder / "prefect"), "PREFECT_LOGGING_LEVEL": "CRITICAL", "DO_NOT_TRACK": "1"}
    made = Forks(*small_sea, folder, settings | home)
    yield made
    made.close()


@pytest.fixture(scope="session")
def both_days(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Store]:
    """Two stores that nobody may change: the first day's forecast in one, both days' in the other."""
    folder = tmp_path_factory.mktemp("undisturbed")
    one, two = Store(folder / "one"), Store(folder / "two")
    answers = [forks.run("2023-01-01", one).finish()]
    shutil.copytree(folder / "one", folder / "two")
    answers.append(forks.run("2023-01-02", two).finish())
    assert [answer.code for answer in answers] == [0, 0], answers
    return one, two
