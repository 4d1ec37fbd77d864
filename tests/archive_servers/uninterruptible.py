"""Calls as C libraries make them: they hang in C, crash, print where they should not."""

from __future__ import annotations

import ctypes
import math
import os
import signal
import subprocess
from pathlib import Path

from pipeline.errors import InputRefused


def hang(folder: str) -> None:
    """Hold the interpreter's lock in C, as a library may: no thread of this process runs any more."""
    Path(folder, "pid").write_text(str(os.getpid()))
    subprocess.Popen(["sleep", "600"])
    ctypes.PyDLL(None).sleep(600)


def refuse(found: str) -> None:
    raise InputRefused("a field", found=found, where="the test", action="nothing")


def chatter(number: float) -> float:
    os.write(1, b"a library's own words on stdout")
    return math.sqrt(number)


def crash() -> None:
    os.write(2, b"the library's last words")
    os.kill(os.getpid(), signal.SIGSEGV)
