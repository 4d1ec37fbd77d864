"""``goms up`` and ``goms down``: a complete service on one machine, in the foreground, and nothing of it left after."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO, NamedTuple

from rich.markup import escape

from flows.progress import progress
from flows.service import processes
from pipeline import systems
from pipeline.addresses import from_anywhere
from pipeline.errors import StoreError, UsageError
from pipeline.settings import Settings, child_environment, prefect_defaults
from pipeline.store import Store
from pipeline.systems import System

START_SECONDS = 120.0
"""Patience with the server's start: making an empty database takes 7 s on two idle cores."""
STOP_SECONDS = 20.0
"""Patience with a process that was asked to end; a run that is asked gives its cycle back first."""
POLL_SECONDS = 0.5
TROUBLED_SECONDS, TROUBLES = 60.0, 5
"""A process that ends by itself so many times within this time each is not started again."""


class Home(NamedTuple):
    """Where a service keeps what may be lost: its database, its logs, and who it is."""

    folder: Path

    @property
    def lock(self) -> Path:
        """Held while a service runs; the system lets go of it when the process dies, however it dies."""
        return self.folder / "service.lock"

    @property
    def said(self) -> Path:
        """What the running service says of itself."""
        return self.folder / "service.json"

    def log(self, name: str) -> Path:
        """The log of one of its processes."""
        return self.folder / f"{name}.log"


class Serving(NamedTuple):
    """A service that runs: its process, its server's API, and the store it publishes into."""

    process: int
    address: str
    store: str


def home(settings: Settings) -> Home:
    """The service's folder of this machine's settings."""
    folder = settings.scratch.absolute() / "service"
    folder.mkdir(parents=True, exist_ok=True)
    return Home(folder)


class Wanted(NamedTuple):
    """What a service is to run: which systems, by which forecaster, into which store, how many runs at a time.

    ``at_once``: the newest cycle right away too, though it may be too old for the schedule.
    """

    systems: tuple[System, ...]
    store: Store
    forecaster: str | None
    runs_at_once: int
    at_once: bool


def up(
    names: Sequence[str], port: int, store: str | None, forecaster: str | None, runs_at_once: int, *, at_once: bool
) -> None:
    """Serve until Ctrl-C or SIGTERM: Prefect's server, a worker, the deployments and their schedules."""
    settings = Settings()
    chosen = tuple(systems.system(name) for name in dict.fromkeys(names))
    wanted = Wanted(chosen, Store(store or settings.store), forecaster, runs_at_once, at_once)
    place = home(settings)
    with _alone(place):
        _refuse_other_server()
        _refuse_taken(port)
        if left := processes.sweep(place.folder, STOP_SECONDS):
            progress().say(f"ended {left} processes that an earlier service had left")
        address = f"http://127.0.0.1:{port}/api"
        environment = environment_of(place, settings, wanted.store, address)
        _say_who(place, address, wanted.store)
        with _ending() as ending:
            _Service(place, environment, address, wanted).run(ending)


class Ending(NamedTuple):
    """Whether the service was asked to end."""

    signals: list[int]

    def asked(self) -> bool:
        """True once a signal came."""
        return bool(self.signals)


class _Service:
    """The processes of one service, from the first to the last."""

    def __init__(self, place: Home, environment: dict[str, str], address: str, wanted: Wanted) -> None:
        self.place, self.environment, self.address, self.wanted = place, environment, address, wanted
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.troubles: dict[str, list[float]] = {}

    def run(self, ending: Ending) -> None:
        processes.adopt_orphans()
        try:
            self._start("server")
            self._await_server(ending)
            if not ending.asked():
                self._deploy()
                self._start("worker")
                self._tell()
            while not ending.asked():
                time.sleep(POLL_SECONDS)
                self._tend()
        finally:
            self._end()

    def _command(self, name: str) -> list[str]:
        prefect = [sys.executable, "-m", "prefect"]
        if name == "server":
            return [*prefect, "server", "start", "--host", "127.0.0.1", "--port", self.address.split(":")[2][:-4]]
        return [*prefect, "worker", "start", "--pool", "process", "--type", "process", "--name",
                f"goms on {socket.gethostname()}", "--limit", str(self.wanted.runs_at_once)]  # fmt: skip

    def _start(self, name: str) -> None:
        self.running[name] = processes.start(self._command(name), self.environment, self.place.log(name))

    def _await_server(self, ending: Ending) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not ending.asked() and not answers(self.address):
            if self.running["server"].poll() is not None or time.monotonic() > deadline:
                raise StoreError(
                    "Prefect's server", found="it ended" if self.running["server"].poll() is not None else
                    f"no answer within {START_SECONDS:g} s", where=str(self.place.log("server")),
                    action="read that log; a damaged database is made anew when prefect.db beside it is removed",
                )  # fmt: skip
            time.sleep(POLL_SECONDS)

    def _deploy(self) -> None:
        """Deploy in a process of its own: this one stays small, and Prefect's settings are read once, at its start."""
        request = json.dumps({
            "systems": [entry.name for entry in self.wanted.systems], "store": self.wanted.store.uri,
            "forecaster": self.wanted.forecaster, "at_once": self.wanted.at_once,
        })  # fmt: skip
        command = [sys.executable, "-m", "flows.service.deploying", request]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise StoreError(
                "the deployments on Prefect's server", found=(done.stderr.strip().splitlines() or ["no word"])[-1],
                where=self.address, action=f"read {self.place.log('server')}, then run goms up again",
            )  # fmt: skip
        progress().say(escape(done.stdout.rstrip()))

    def _tell(self) -> None:
        progress().say(f"[green]up[/]      Prefect's pages   {self.address.removesuffix('/api')}")
        progress().say(escape(f"        store             {self.wanted.store.uri}"))
        progress().say(escape(f"        logs              {self.place.folder}/*.log"))
        progress().say("        Ctrl-C ends it, or goms down from elsewhere")

    def _tend(self) -> None:
        """Start again what ended by itself."""
        for name, process in list(self.running.items()):
            if process.poll() is None:
                continue
            recent = [*(t for t in self.troubles.get(name, ()) if time.monotonic() - t < TROUBLED_SECONDS * TROUBLES),
                      time.monotonic()]  # fmt: skip
            self.troubles[name] = recent
            if len(recent) > TROUBLES:
                raise StoreError(
                    f"a {name} that runs", found=f"it ended {len(recent)} times, last with {process.returncode}",
                    where=str(self.place.log(name)), action="read that log, then run goms up again",
                )  # fmt: skip
            progress().say(f"[yellow]the {name} ended with {process.returncode}[/]: started again")
            self._start(name)

    def _end(self) -> None:
        """The worker first: runs that are asked to end tell the server so."""
        for name in ("worker", "server"):
            if name in self.running:
                processes.stop(self.running[name], STOP_SECONDS)
        processes.sweep(self.place.folder, STOP_SECONDS)
        self.place.said.unlink(missing_ok=True)
        progress().say("ended: nothing of the service is left running")


def environment_of(place: Home, settings: Settings, store: Store, address: str) -> dict[str, str]:
    """The environment of the service's processes; ``PREFECT_API_DATABASE_CONNECTION_URL`` is honoured where it is set.

    Leases of concurrency slots lie in files, so that a slot whose holder died is free again after its lease, also
    when the server was started anew in between.
    """
    from flows.service.deployments import DEVICE_SLOT, HEARTBEAT_SECONDS, TRIES_MORE

    changes = {
        "PREFECT_API_URL": address,
        "PREFECT_HOME": str(place.folder / "prefect"),
        "GOMS_SCRATCH": str(settings.scratch.absolute()),
        "GOMS_STORE": store.uri,
        **places(settings),
        processes.SERVICE_MARK: str(place.folder),
    }
    unless_set = {
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{place.folder / 'prefect.db'}",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "GOMS_DEVICE_SLOT": DEVICE_SLOT,
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
        "PREFECT_TASK_DEFAULT_RETRIES": str(TRIES_MORE),
        "PREFECT_WORKER_QUERY_SECONDS": "5",
        "PREFECT_LOGGING_LEVEL": "INFO",
    }
    return child_environment(changes, unless_set)


def places(settings: Settings) -> dict[str, str]:
    """The settings that are places on this machine, by their whole paths: flow runs work in folders of their own."""
    archives = {name: from_anywhere(address) for name, address in settings.archives.items()}
    return {
        **({"GOMS_INPUTS": from_anywhere(settings.inputs)} if settings.inputs else {}),
        **({"GOMS_ARCHIVES": json.dumps(archives)} if archives else {}),
        **({"GOMS_SIGNING_KEY": str(settings.signing_key.absolute())} if settings.signing_key else {}),
    }


def down() -> bool:
    """End the running service of this machine's settings; whether there was one. What is left over is ended too."""
    place = home(Settings())
    said = running(place)
    if said is not None:
        _ask(said.process, signal.SIGTERM)
        deadline = time.monotonic() + 3 * STOP_SECONDS
        while _is_held(place) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS / 5)
        if _is_held(place):
            _ask(said.process, signal.SIGKILL)
    return bool(processes.sweep(place.folder, STOP_SECONDS)) or said is not None


def _ask(process: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it has ended by itself
        os.kill(process, number)


def running(place: Home) -> Serving | None:
    """What the running service says of itself, or ``None`` where none runs."""
    if not _is_held(place) or not place.said.exists():
        return None
    return Serving(**json.loads(place.said.read_text()))


def answers(address: str) -> bool:
    """Whether a Prefect server answers at an API's address."""
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def _alone(place: Home) -> Iterator[None]:
    """Hold the service's lock; ``UsageError`` where a service runs already. A dead one holds nothing."""
    with place.lock.open("a") as lock:
        if not _taken(lock):
            there = running(place)
            raise UsageError(
                "no other service with this GOMS_SCRATCH",
                found="one that serves" if there is None else f"process {there.process} serving {there.address}",
                where=str(place.folder), action="goms down ends it; another GOMS_SCRATCH and --port make a second one",
            )  # fmt: skip
        yield


def _is_held(place: Home) -> bool:
    with place.lock.open("a") as lock:
        return not _taken(lock)


def _taken(lock: IO[str]) -> bool:
    """Whether the lock could be taken; it is given back when the file is closed."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _refuse_other_server() -> None:
    named = child_environment({}, {}).get("PREFECT_API_URL")
    if named:
        raise UsageError(
            "no Prefect server but the one that goms up starts", found=f"PREFECT_API_URL={named}",
            where="the environment",
            action="unset it; or bring the deployments to that server with goms deploy, and start a worker for it",
        )  # fmt: skip


def _refuse_taken(port: int) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            raise UsageError(
                f"port {port} of this machine free", found=str(error), where="127.0.0.1",
                action="name another by --port, or end what listens there",
            ) from error  # fmt: skip


def _say_who(place: Home, address: str, store: Store) -> None:
    said = Serving(os.getpid(), address, store.uri)
    draft = place.said.with_suffix(".draft")
    draft.write_text(json.dumps(said._asdict()))
    draft.replace(place.said)


@contextmanager
def _ending() -> Iterator[Ending]:
    """Notices Ctrl-C and SIGTERM instead of dying of them."""
    ending = Ending([])

    def asked(number: int, frame: FrameType | None) -> None:
        ending.signals.append(number)

    before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def deploy(
    names: Sequence[str], pool: str, image: str | None, store: str | None, forecaster: str | None
) -> None:  # fmt: skip
    """Bring the deployments to the server of ``PREFECT_API_URL`` and say what fires when."""
    settings = Settings()
    prefect_defaults(settings, "CRITICAL")
    from prefect.settings import PREFECT_API_URL

    from flows.service import deploying

    if not PREFECT_API_URL.value():
        raise UsageError(
            "a Prefect server to deploy to", found="PREFECT_API_URL not set", where="the environment",
            action="set it, like http://127.0.0.1:4200/api; or goms up, which serves and deploys by itself",
        )  # fmt: skip
    for line in deploying.deploy(names, pool, image, store, forecaster):
        progress().say(escape(line))
