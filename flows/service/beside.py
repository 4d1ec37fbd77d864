"""Prefect's API in a process beside a command's, where the environment names none: it starts while the other imports.

The server's process holds on to a pipe from the command's: however that one ends, the pipe does, and then the server.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from flows.service.server import admitted, prepared, serving
from pipeline.errors import StoreError
from pipeline.settings import Settings, prefect_api_named

LONGEST_END_SECONDS = 20.0
"""How long a server may take to end; it takes one second where nothing is wrong."""

Api = Callable[[], AbstractContextManager[None]]
"""Gives flows that are called within it an API."""


@contextmanager
def begun(*, debug: bool = False, wanted: bool = True) -> Iterator[Api]:
    """Begin to serve, if it will be ``wanted``; what is yielded waits until it is served.

    To be entered before what is heavy is imported. Where the environment names an API, that one is taken; where Prefect
    is imported already there is nothing to do meanwhile, and the server is a thread of this process.
    """
    settings = Settings()
    prepared(settings, debug=debug)
    if not wanted or "prefect" in sys.modules or prefect_api_named():
        yield lambda: serving(settings, debug=debug)
        return
    server = subprocess.Popen(
        [sys.executable, "-m", "flows.service.beside"], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=None if debug else subprocess.DEVNULL, start_new_session=True,  # Ctrl-C is the command's to see to
    )  # fmt: skip
    asked = list[bool]()
    try:
        yield lambda: _served(server, asked)
    finally:
        if not asked:  # nothing of it is to be kept, and nobody waits for a start
            server.kill()
        _ended(server)


def _ended(server: subprocess.Popen[str]) -> None:
    """End the pipe, and wait for the server's end; one that hangs is killed: what it served is over."""
    try:
        server.communicate(timeout=LONGEST_END_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.communicate()


@contextmanager
def _served(server: subprocess.Popen[str], asked: list[bool]) -> Iterator[None]:
    asked.append(True)
    from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

    if PREFECT_API_URL.value():  # a profile of Prefect's names one
        with admitted():
            yield
        return
    assert server.stdout is not None
    address = server.stdout.readline().strip()
    if not address:
        raise StoreError(
            "Prefect's server beside this process", found=f"it ended with {server.wait()}", where="flows",
            action="run again with --debug, or set PREFECT_API_URL to a running server",
        )  # fmt: skip
    with temporary_settings({PREFECT_API_URL: address, PREFECT_LOGGING_TO_API_ENABLED: False}):
        yield


def main() -> None:
    """Serve, say where, and end when the pipe ends."""
    with serving(Settings()):
        from prefect.settings import PREFECT_API_URL

        print(PREFECT_API_URL.value(), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
