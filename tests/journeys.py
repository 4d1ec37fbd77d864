"""Whole runs for the tests: ``goms`` as its own process on the small sea, one Prefect server for all of them."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
import small_goms
from typer.testing import CliRunner

from pipeline import systems
from pipeline.earth import landmask
from pipeline.settings import Settings, prefect_defaults
from pipeline.store import Store

HERE = Path(__file__).parent
PATIENCE_SECONDS = 600
"""Longest wait for a process or an object: a run takes some five seconds, many times that on a busy machine."""


class Answer(NamedTuple):
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one line of stderr that says why it failed."""
        (line,) = [line for line in self.err.splitlines() if line.startswith("goms: ")]
        return line


def keys() -> dict[str, str]:
    """The keys of S3 of this process, also in a thread: pytest changes its environment between two tests."""
    return {name: os.environ[name] for name in list(os.environ) if name.startswith("AWS_")}


class Goms(NamedTuple):
    """``goms`` with the small sea, its files and its own scratch folder."""

    inputs: Path
    masks: Path
    folder: Path
    environment: dict[str, str]

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        """Begin a command and do not wait."""
        command = [sys.executable, str(HERE / "small_goms.py"), str(self.masks), *map(str, arguments)]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment | keys(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def __call__(self, *arguments: object) -> Answer:
        """Run a command to its end."""
        return finish(self.start(*arguments))

    def run(self, day: str, store: Store, *options: object) -> Answer:
        """``goms run`` of the small sea by persistence."""
        return self("run", day, *self.request(store), *options)

    def request(self, store: Store) -> Sequence[object]:
        """The options of a run of the small sea by persistence."""
        return ("--system", "small-sea", "--inputs", self.inputs, "--store", store.uri, "--forecaster", "persistence")


class Here(Goms):
    """The same in this process, which spares the start of another; it cannot be killed."""

    def __call__(self, *arguments: object) -> Answer:
        """Run a command to its end."""
        from flows.cli import app

        result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
        return Answer(result.exit_code, result.stdout, result.stderr)


def finish(process: subprocess.Popen[str]) -> Answer:
    """Wait for a command's end."""
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    return Answer(process.returncode, out, err)


def stop_when(process: subprocess.Popen[str], store: Store, path: str, how: signal.Signals) -> None:
    """Signal a process as soon as an object is in the store."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not store.exists(path):
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"{path} never came: {finish(process)}")
        time.sleep(0.002)
    process.send_signal(how)


def contents(store: Store, prefix: str) -> dict[str, str]:
    """SHA-256 of every object under a prefix."""
    return {path: hashlib.sha256(store.read_bytes(path)).hexdigest() for path, _ in store.objects(prefix)}


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API's address of a Prefect server in a process of its own, served as ``goms`` serves itself."""
    folder = tmp_path_factory.mktemp("prefect")
    environment = {**os.environ, "GOMS_SCRATCH": str(folder), "PREFECT_HOME": str(folder / "prefect")}
    environment.pop("PREFECT_API_URL", None)
    process = subprocess.Popen(
        [sys.executable, str(HERE / "serve_prefect.py")], cwd=folder, env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    assert address.startswith("http://127.0.0.1:"), address
    yield address
    process.communicate("stop\n", timeout=PATIENCE_SECONDS)


@pytest.fixture(scope="session")
def small_sea(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The small sea's files, and its masks beside those of the other systems."""
    folder = tmp_path_factory.mktemp("small-sea")
    inputs, scratch = small_goms.write_inputs(folder / "inputs"), folder / "scratch"
    scratch.mkdir()
    shutil.copytree(landmask.FOLDER, folder / "masks")
    small_goms.make_masks(folder / "masks", inputs, scratch)
    return inputs, folder / "masks"


@pytest.fixture(scope="session")
def settings(prefect_server: str) -> dict[str, str]:
    """The environment of a desk, without the scratch folder."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("GOMS_", "PREFECT_"))}
    return inherited | {
        "PREFECT_API_URL": prefect_server, "OMP_NUM_THREADS": "1", "COLUMNS": "200",
        "PYTHONPATH": os.pathsep.join((str(HERE), str(HERE.parent))),
    }  # fmt: skip


@pytest.fixture
def goms(small_sea: tuple[Path, Path], settings: dict[str, str], tmp_path: Path) -> Goms:
    """``goms`` in a folder of its own."""
    folder = tmp_path / "desk"
    folder.mkdir()
    return Goms(*small_sea, folder, settings | {"GOMS_SCRATCH": str(folder / "scratch")})


@pytest.fixture
def here(
    small_sea: tuple[Path, Path], prefect_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Here]:
    """``goms`` in this process, on the same server."""
    inputs, masks = small_sea
    for name in [name for name in os.environ if name.startswith("GOMS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GOMS_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(landmask, "FOLDER", masks)
    monkeypatch.setattr(systems, "SYSTEMS", (*systems.SYSTEMS, small_goms.SMALL_SEA))
    prefect_defaults(Settings(), "CRITICAL").mkdir(parents=True, exist_ok=True)
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: prefect_server}):
        yield Here(inputs, masks, tmp_path, {})


@pytest.fixture
def first_day(both_days: tuple[Store, Store], tmp_path: Path) -> Store:
    """A store of one's own with the first day's forecast in it."""
    shutil.copytree(both_days[0].address(""), tmp_path / "store")
    return Store(tmp_path / "store")
