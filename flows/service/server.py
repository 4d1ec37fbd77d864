"""Prefect's API inside this process, where the environment names none: nothing to set up, nothing left behind.

The server is a thread; commands have it in a process beside their own (``flows.service.beside``). Its database is a
file of this run alone; the empty one, which takes seconds to make, is kept for the next run.
"""

from __future__ import annotations

import contextvars
import os
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http import HTTPStatus
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

from pipeline.errors import StoreError, UsageError
from pipeline.settings import Settings, prefect_defaults

START_SECONDS = 120.0
"""Patience with the server's start: making an empty database takes 7 s on two idle cores."""
STOP_SECONDS = 10.0
"""Patience with its end; it is a daemon thread, so what is left ends with the process."""
UNREACHED = "Failed to reach API"
"""What Prefect says in a ``RuntimeError`` of a server that it has not reached."""


def prepared(settings: Settings, *, debug: bool = False) -> Path:
    """Prefect's folder on this machine; to be asked for before Prefect is imported."""
    home = prefect_defaults(settings, "DEBUG" if debug else "CRITICAL")
    home.mkdir(parents=True, exist_ok=True)
    return home


@contextmanager
def serving(settings: Settings, *, debug: bool = False) -> Iterator[None]:
    """Flows called inside have an API: the one of ``PREFECT_API_URL``, else one of this process."""
    home = prepared(settings, debug=debug)
    from prefect.settings import PREFECT_API_URL, temporary_settings

    if PREFECT_API_URL.value():
        with admitted():
            yield
        return
    with TemporaryDirectory(dir=home, prefix="run-", ignore_cleanup_errors=True) as folder:
        database = Path(folder, "prefect.db").absolute()
        with (
            temporary_settings(_private(database)),
            _listening(database, home) as port,
            temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}),
        ):
            yield


class Away(UsageError):
    """A Prefect server is named and cannot be asked."""


@contextmanager
def admitted() -> Iterator[None]:
    """``UsageError`` where Prefect's server refuses who asks it inside, ``Away`` where it cannot be reached or fails.

    Other answers of it are left as they are.
    """
    from httpx import TransportError
    from prefect.exceptions import PrefectHTTPStatusError

    try:
        yield
    except (PrefectHTTPStatusError, TransportError, RuntimeError) as error:
        unreached = isinstance(error, RuntimeError) and UNREACHED in str(error)
        reason = (error.__cause__ or error) if unreached else error
        status = reason.response.status_code if isinstance(reason, PrefectHTTPStatusError) else None
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise _refused(status) from error
        if unreached or isinstance(reason, TransportError) or (status or 0) >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise _away(reason) from error
        raise


def _refused(status: int) -> UsageError:
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL

    given = "none" if PREFECT_API_AUTH_STRING.value() is None else "another"
    return UsageError(
        "the password of Prefect's server in PREFECT_API_AUTH_STRING", found=f"{given}: it answers {status}",
        where=f"Prefect's server {PREFECT_API_URL.value()}",
        action="set it (in a container: begin the command with entrypoint.sh), or unset PREFECT_API_URL and "
               "GOMS_DEVICE_SLOT to run without that server",
    )  # fmt: skip


def _away(reason: BaseException) -> Away:
    from prefect.settings import PREFECT_API_URL

    told = (str(reason) or "no words").splitlines()[0]
    return Away(
        "a Prefect server that answers", found=f"{type(reason).__name__}: {told}",
        where=f"Prefect's server {PREFECT_API_URL.value()}",
        action="see to it (prefect-down in the runbook), or do without it: "
               "env -u PREFECT_API_URL -u GOMS_DEVICE_SLOT goms ...",
    )  # fmt: skip


def _private(database: Path) -> dict[Any, Any]:
    from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, PREFECT_LOGGING_TO_API_ENABLED

    return {
        PREFECT_API_DATABASE_CONNECTION_URL: f"sqlite+aiosqlite:///{database}",
        PREFECT_LOGGING_TO_API_ENABLED: False,
    }


@contextmanager
def _listening(database: Path, home: Path) -> Iterator[int]:
    """The server's port, while it runs."""
    import prefect
    import uvicorn
    from prefect.server.api.server import create_app

    empty = home / f"empty-{prefect.__version__}.db"
    if empty.exists():
        copyfile(empty, database)
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(create_app(ephemeral=True), log_config=None, lifespan="on"))
        context = contextvars.copy_context()
        thread = Thread(target=lambda: context.run(server.run, [listener]), name="prefect-server", daemon=True)
        thread.start()
        try:
            _await(server, thread)
            if not empty.exists():
                _keep(database, empty)
            yield int(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(STOP_SECONDS)


def _await(server: Any, thread: Thread) -> None:
    patience = START_SECONDS
    while not server.started:
        if not thread.is_alive() or patience <= 0:
            raise StoreError(
                "Prefect's server in this process", found=f"none within {START_SECONDS:g} s", where="flows",
                action="run again with --debug, or set PREFECT_API_URL to a running server",
            )  # fmt: skip
        time.sleep(0.05)
        patience -= 0.05


def _keep(database: Path, empty: Path) -> None:
    """Copy the migrated, empty database to where the next run finds it: whole or not at all."""
    draft = empty.with_name(f"{empty.name}.{os.getpid()}")
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(draft)) as target:
        source.backup(target)
    draft.replace(empty)
