"""The processes of ``deploy/compose.yaml`` without containers: its own commands and environment, on this machine.

What a container's name, port, secret or volume is there is an address, a port, a file or a folder of the test here.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import compose_file
import s3_server

from tests.ports import free_ports

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
PATIENCE_SECONDS = 400
"""Longest wait for anything: it takes some ten seconds, many times that on a busy machine."""
PORTS = {"prefect": 4200, "s3": 8333, "metrics": 9108, "worker": 8080, "redis": 6379}
"""Where the services listen in their containers."""

Found = TypeVar("Found")


class Machine(NamedTuple):
    """Where everything is on this machine. ``ports``: by the service that listens; ``extra``: for every environment."""

    folder: Path
    profile: str
    ports: Mapping[str, int]
    extra: Mapping[str, str]

    @property
    def secrets(self) -> Path:
        """The folder that ``prepare.py`` made."""
        return self.folder / "secrets"

    def state(self, name: str) -> Path:
        """The folder that is a service's volume."""
        return self.folder / "volumes" / name

    def service(self, name: str) -> dict[str, Any]:
        """A service of the file."""
        return compose_file.services(self.profile)[name]

    def here(self, text: str, name: str) -> str:
        """What a word of the file means on this machine, said of a service."""
        listed = compose_file.document(compose_file.PATH.read_text())["secrets"]
        for secret, entry in listed.items():
            text = re.sub(rf"/run/secrets/{secret}\b", str(self.secrets / Path(entry["file"]).name), text)
        for host, port in PORTS.items():
            text = re.sub(rf"\b({host}|127\.0\.0\.1):{port}\b", f"127.0.0.1:{self.ports[host]}", text)
            text = re.sub(rf"^(-s3\.port=)?{port}$", rf"\g<1>{self.ports[host]}", text)
        text = text.replace("0.0.0.0", "127.0.0.1").replace("/var/lib/goms", str(self.state(name)))
        return re.sub(r"(^|=)/data$", rf"\g<1>{self.state(name)}", text)

    def environment(self, name: str) -> dict[str, str]:
        """What a service's container would have, the image's own variables first."""
        given = {**image_environment(), **compose_file.environment(self.service(name))}
        inherited = {key: os.environ[key] for key in ("LANG", "TMPDIR") if key in os.environ}
        there = {key: self.here(value, name) for key, value in given.items() if key != "PATH"}
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        return {**inherited, **there, "PATH": path, "PREFECT_WORKER_WEBSERVER_PORT": str(self.ports["worker"]),
                **self.extra}  # fmt: skip

    def command(self, name: str) -> list[str]:
        """A service's command; SeaweedFS's inner services get free ports as well."""
        words = [self.here(word, name) for word in compose_file.command(self.service(name))]
        if name == "s3":
            return [str(s3_server.binary()), *words, *s3_server.inner_ports()]
        if name == "redis":
            return [*words, "--bind", "127.0.0.1"]
        return [str(DEPLOY / "entrypoint.sh"), *words]

    def log(self, name: str) -> str:
        """What a service has said."""
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def run(self, name: str, *more: str) -> subprocess.CompletedProcess[str]:
        """A service's command to its end, with further words."""
        return subprocess.run([*self.command(name), *more], cwd=self.folder, env=self.environment(name), text=True,
                              capture_output=True, timeout=PATIENCE_SECONDS, check=False)  # fmt: skip

    def healthy(self, name: str) -> bool:
        """Whether the service's own check of its health says so: its own in the file, else the image's."""
        test = self.service(name).get("healthcheck", {}).get("test") or image_health()
        words = [self.here(word, name) for word in test if word != "CMD"]
        asked = subprocess.run([str(DEPLOY / words[0]), *words[1:]], env=self.environment(name), capture_output=True,
                               check=False)  # fmt: skip
        return asked.returncode == 0


def machine(folder: Path, profile: str, **extra: str) -> Machine:
    """A place for the services of a profile; their ports are free ones."""
    numbers = free_ports(len(PORTS))
    return Machine(folder, profile, dict(zip(PORTS, numbers, strict=True)), extra)


def image_environment() -> dict[str, str]:
    """The variables that the Dockerfile sets in the image."""
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ").rpartition("\nFROM ")[2]
    (line,) = re.findall(r"^ENV (.*)$", text, flags=re.MULTILINE)
    return dict(word.split("=", 1) for word in line.split())


def image_health() -> list[str]:
    """The Dockerfile's own check of health."""
    (words,) = re.findall(r"^    CMD \[(.*)\]$", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    return [word.strip('" ') for word in words.split(",")]


@contextmanager
def started(place: Machine, *names: str) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Services in processes of their own, each with its children; none of them is left afterwards."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(_one(place, name)) for name in names}


@contextmanager
def _one(place: Machine, name: str) -> Iterator[subprocess.Popen[bytes]]:
    place.state(name).mkdir(parents=True, exist_ok=True)
    with (place.folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(place.command(name), cwd=place.folder, env=place.environment(name), stdout=log,
                                   stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
        try:
            yield process
        finally:  # nothing in it is to be kept, and it takes its time to end by itself
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def waits(look: Callable[[], Found | None], place: Machine, *names: str) -> Found:
    """What a look finds, as soon as it finds something; the services' logs where it does not."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError("\n".join(f"{name}: {place.log(name)[-3000:]}" for name in names))
        time.sleep(0.2)
    return found


def listens(port: int) -> bool:
    """Whether something listens there."""
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0
