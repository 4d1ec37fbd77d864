"""A real PostgreSQL for the tests, in a folder of its own and as a user that may run one."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import debian

from tests.ports import free_port

START_SECONDS = 60


def programs() -> Path | None:
    """The folder of PostgreSQL's programs; ``None`` where it is not installed, which under CI=true is a failure."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if found:
        return found[-1].parent
    if os.environ.get("CI") == "true":
        debian.program("postgres", "postgresql")
    there = shutil.which("postgres")
    return None if there is None else Path(there).parent


@contextmanager
def serving(bin_folder: Path) -> Iterator[str]:
    """SQLAlchemy's address of an empty database on loopback; the server and its folder are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="goms-postgres-"))
    rights: dict[str, Any] = {"cwd": folder}
    if os.getuid() == 0:  # which PostgreSQL refuses to run as
        shutil.chown(folder, "postgres", "postgres")
        rights |= {"user": "postgres", "group": "postgres", "extra_groups": []}
    port, data = free_port(), folder / "data"
    subprocess.run([bin_folder / "initdb", "-D", data, "-U", "prefect", "--auth=trust", "--no-sync", "-E", "UTF8"],
                   check=True, capture_output=True, **rights)  # fmt: skip
    log = (folder / "log").open("wb")
    command = [bin_folder / "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", folder, "-F",
               "-c", "max_connections=60"]  # fmt: skip
    process = subprocess.Popen(command, stdout=log, stderr=log, **rights)
    try:
        _await(bin_folder, port, process, folder / "log")
        yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}/postgres"
    finally:
        process.kill()  # nothing in it is to be kept
        process.wait()
        log.close()
        shutil.rmtree(folder)


def _await(bin_folder: Path, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline, ready = time.monotonic() + START_SECONDS, [bin_folder / "pg_isready", "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(ready, capture_output=True, check=False).returncode != 0:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
