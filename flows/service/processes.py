"""Processes of the local service: none outlives the one that started them, however that one ends."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

SERVICE_MARK = "GOMS_SERVICE_FOLDER"
"""Environment variable that every process of a service carries, flow runs included: whose it is."""

_SET_CHILD_SUBREAPER = 36
"""Of prctl(2)."""
_POLL_SECONDS = 0.1


_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, prctl(2)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the process that started this one is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Becomes the command, and is killed when the process that started it dies."""


def start(command: Sequence[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, its output into a file; it is killed when this process dies."""
    wrapped = [sys.executable, "-c", _DIE_WITH_PARENT, str(os.getpid()), *command]
    with log.open("ab") as output:
        return subprocess.Popen(
            wrapped, env=dict(environment), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip


def stop(process: subprocess.Popen[bytes], patience_seconds: float) -> None:
    """Ask a process to end, and end it where it does not."""
    process.terminate()
    try:
        process.wait(patience_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def marked(folder: Path) -> list[int]:
    """The numbers of all processes but this one that carry the mark of the service in ``folder``."""
    wanted = f"{SERVICE_MARK}={folder}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:  # ended in the meantime, or another user's
                continue
            if wanted in environment.split(b"\0"):
                found.append(int(entry.name))
    return found


def sweep(folder: Path, patience_seconds: float) -> int:
    """End what is left of the service in ``folder``; returns how many processes there were.

    They are asked first: a run that is asked gives its cycle back.
    """
    left = marked(folder)
    _signal(left, signal.SIGTERM)
    deadline = time.monotonic() + patience_seconds
    while (there := marked(folder)) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    while there := marked(folder):
        _signal(there, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)
    return len(left)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies, so that none is left to the system."""
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _signal(processes: Sequence[int], number: signal.Signals) -> None:
    for process in processes:
        try:
            os.kill(process, number)
        except ProcessLookupError:
            continue
