"""A call in a process of its own, which is killed at its deadline: for C libraries that nothing else interrupts.

Run as a program it is that process: it reads the call from stdin and writes the answer to what was stdout; whatever the
library prints goes to stderr.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from pipeline.errors import InputUnavailable

Answer = TypeVar("Answer")

COMMAND = (sys.executable, "-P", __file__)
DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of prctl(2)."""
LAST_WORDS = 300
"""Characters of stderr that are told where the process died."""


def run(function: Callable[..., Answer], *arguments: object, deadline_seconds: float) -> Answer:
    """What the function returns for the arguments, or what it raises; both are pickled, so it is a module's own.

    Raises ``InputUnavailable`` where it has not returned by the deadline, or the process died.
    """
    call = pickle.dumps(sys.path) + pickle.dumps((function, arguments))
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            (*COMMAND, str(os.getpid())),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
        try:
            answer, _ = process.communicate(call, timeout=deadline_seconds)
        except subprocess.TimeoutExpired as late:
            found = f"no answer within {deadline_seconds:g} s: it was ended"
            raise _unavailable(function, found) from late
        finally:
            _end(process)
        if process.returncode or not answer:
            found = f"its process ended by {_cause(process.returncode)}: {_last_words(errors)}"
            raise _unavailable(function, found)
    outcome, error = pickle.loads(answer)
    if error is not None:
        raise error
    return outcome  # type: ignore[no-any-return]


def end_with(parent: int) -> None:
    """End this process when its parent does, and now where it has: where that is killed, none stays behind."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and all that it started, and take its exit."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def _cause(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit {code}"


def _last_words(errors: Any) -> str:
    errors.seek(0)
    return str(errors.read().decode(errors="replace")).strip()[-LAST_WORDS:] or "nothing was said"


def _unavailable(function: Callable[..., object], found: str) -> InputUnavailable:
    return InputUnavailable(
        f"an answer of {function.__module__}.{function.__qualname__}", found=found, where="a process of its own",
        action="wait for the archive and run again, or take the next source",
    )  # fmt: skip


def _serve() -> None:
    """Answer the one call on stdin."""
    end_with(int(sys.argv[1]))
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.path[:] = pickle.load(sys.stdin.buffer)
    function, arguments = pickle.load(sys.stdin.buffer)
    with ThreadPoolExecutor(1) as caller:
        call = caller.submit(function, *arguments)
        error = call.exception()
    with answer:
        answer.write(pickle.dumps((None if error else call.result(), error)))


if __name__ == "__main__":
    _serve()
