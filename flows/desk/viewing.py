"""``goms view``: where a system's page lies, and the page served on this machine alone, where a store has no server."""

from __future__ import annotations

import re
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from rich.console import Console

from pipeline import systems
from pipeline.errors import StoreError, UsageError
from pipeline.objects.bucket import TYPES
from pipeline.readers import view
from pipeline.settings import Settings
from pipeline.store import Store

READABLE = ("latest.json", "status.json", "catalogue/", "cycles/", "scores/", "view/")
"""What of a system's folder is served: what the policy for readers opens to everybody, and nothing private."""
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class Server(ThreadingHTTPServer):
    """Answers readers from a store, on loopback."""

    daemon_threads = True

    def __init__(self, store: Store, port: int) -> None:
        self.store = store
        try:
            super().__init__(("127.0.0.1", port), _Answer)
        except OSError as error:
            raise UsageError(
                "a free port", found=error.strerror or str(error), where=f"--port {port}",
                action="name another, from 1024 on, or none: then it is one that is free",
            ) from error  # fmt: skip

    @property
    def address(self) -> str:
        """``http://127.0.0.1:PORT``."""
        return f"http://127.0.0.1:{self.server_port}"


class _Answer(BaseHTTPRequestHandler):
    """One request: an object that everybody may read, whole or the range that was asked for."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        """An object, or a part of it."""
        self._answer()

    def do_HEAD(self) -> None:
        """What an object is, without it."""
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: the terminal is the operator's."""

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path).lstrip("/")
        try:
            size = self.server.store.size(path) if readable(path) else None
            if size is None:
                self._send(HTTPStatus.NOT_FOUND, b"nothing there\n", {"Content-Type": TYPES[".txt"]})
                return
            self._object(path, size)
        except StoreError as error:
            self._send(HTTPStatus.BAD_GATEWAY, f"{error}\n".encode(), {"Content-Type": TYPES[".txt"]})
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _object(self, path: str, size: int) -> None:
        kind = TYPES.get(f".{path.rpartition('.')[2]}", "application/octet-stream")
        headers = {"Content-Type": kind, "Accept-Ranges": "bytes", "Cache-Control": "no-cache"}
        wanted = span(self.headers.get("Range"), size)
        if wanted is None:
            if self.command == "GET":
                self._send(HTTPStatus.OK, self.server.store.read_bytes(path), headers)
            else:
                self._send(HTTPStatus.OK, b"", headers, size)
        elif wanted[0] >= wanted[1]:
            self._send(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, b"", headers | {"Content-Range": f"bytes */{size}"})
        else:
            data = self.server.store.find_part(path, *wanted) or b""
            told = {"Content-Range": f"bytes {wanted[0]}-{wanted[1] - 1}/{size}"}
            self._send(HTTPStatus.PARTIAL_CONTENT, data, headers | told)

    def _send(self, status: HTTPStatus, data: bytes, headers: dict[str, str], size: int | None = None) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(data) if size is None else size)}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)


def readable(path: str) -> bool:
    """Whether everybody may read what lies at this path of a store."""
    system, _, rest = path.partition("/")
    parts = path.split("/")
    inside = ".." not in parts and "" not in parts and "\\" not in path and "\0" not in path
    return bool(system) and inside and any(rest == item or (item[-1] == "/" and rest.startswith(item))
                                           for item in READABLE)  # fmt: skip


def span(text: str | None, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last of a ``Range``; ``None`` where all is wanted or it is not understood."""
    found = None if text is None else _RANGE.fullmatch(text)
    if found is None or found[1] == found[2] == "":
        return None
    if found[1] == "":
        return max(0, size - int(found[2])), size
    end = size if found[2] == "" else min(size, int(found[2]) + 1)
    return int(found[1]), end


def show(system: str | None, store: str | None, *, serve: bool, port: int) -> None:
    """Say where the page lies; with ``serve`` answer browsers on this machine until Ctrl-C."""
    opened, name = Store(store or Settings().store), systems.system(system or systems.SYSTEMS[0].name).name
    page = f"{view.prefix(name)}/{view.PAGE}"
    if not opened.exists(page):
        raise StoreError(
            f"the page of {name}", found="nothing there", where=opened.address(page),
            action=f"publish a forecast: goms run yesterday --system {name} (published ones are left as they are)",
        )  # fmt: skip
    say = Console(highlight=False).print
    if not serve:
        address = opened.web_address(page)
        say(address or f"{opened.address(page)} (for browsers: goms view --serve)", soft_wrap=True)
        return
    with Server(opened, port) as server:
        say(f"{server.address}/{page}", soft_wrap=True)
        say("for browsers on this machine, until Ctrl-C")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("ended")
