"""A proxy of our own between the store and the real S3 server that does to requests what networks do: seeded.

One request in so many meets a fault: the server's errors, a connection reset before or after the server saw the
request, a slow or a truncated answer; and for a while, when told, everything is lost.
"""

from __future__ import annotations

import http.client
import os
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

FAULTS = (
    "500 InternalError", "503 ServiceUnavailable", "503 SlowDown", "429 SlowDown", "reset before", "reset after",
    "slow body", "truncated",
)  # fmt: skip
SLOW_SECONDS = 0.3


class FaultProxy:
    """Passes requests on to a server. ``share`` of them meet one of the ``faults``; the next ones those in ``next``.

    ``requests``: how many there were; ``met``: how often each fault was met, ``away`` for those that were lost.
    """

    def __init__(self, endpoint: str, share: float, seed: int = 0, faults: tuple[str, ...] = FAULTS) -> None:
        self.upstream = urlsplit(endpoint).netloc
        self.share, self.faults, self.met, self.requests = share, faults, Counter[str](), 0
        self.next: list[str] = []
        self.away = threading.Event()
        self._random, self._mutex = random.Random(seed), threading.Lock()

    def draw(self) -> str | None:
        """The fault of the next request, or none: requests meet one at random, and the faults take turns."""
        with self._mutex:
            self.requests += 1
            fault = self.faults[self.met.total() % len(self.faults)] if self._random.random() < self.share else None
            if self.next or self.away.is_set():
                fault = self.next.pop(0) if self.next else "away"
            self.met.update([fault] if fault else [])
            return fault

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Its address, while it runs."""
        server = _Server(("127.0.0.1", 0), _Passing)
        server.proxy = self
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    @contextmanager
    def lost_for(self, seconds: float, after: int) -> Iterator[None]:
        """Lose every connection for so long, beginning once so many requests were passed."""
        ended = threading.Event()

        def lose() -> None:
            while self.requests < after and not ended.is_set():
                time.sleep(0.005)
            self.away.set()
            ended.wait(seconds)
            self.away.clear()

        thread = threading.Thread(target=lose, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    proxy: FaultProxy

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news here."""


class _Passing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _pass_on(self) -> None:
        fault = self.server.proxy.draw()
        if fault in ("reset before", "away"):
            self._reset()
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if fault is not None and fault[0].isdigit():
            self._refuse(int(fault[:3]), fault[4:])
            return
        status, headers, answer = self._ask(body)
        if fault == "reset after":
            self._reset()
            return
        self._answer(status, headers, answer, fault)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _pass_on  # noqa: N815

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.server.proxy.upstream, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
        try:
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, fault: str | None) -> None:
        self.send_response_only(status)
        length = next((value for name, value in headers if name.lower() == "content-length"), str(len(body)))
        for name, value in headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", length if self.command == "HEAD" else str(len(body)))
        with suppress(OSError):
            if fault == "truncated":
                self._truncate(body)
                return
            self.end_headers()
            for piece in _pieces(body, 4 if fault == "slow body" else 1):
                time.sleep(SLOW_SECONDS / 4 if fault == "slow body" else 0)
                self.wfile.write(piece)

    def _truncate(self, body: bytes) -> None:
        """Half of the body; where there is none, half of the headers."""
        if body and self.command != "HEAD":
            self.end_headers()
            self.wfile.write(body[: len(body) // 2])
        else:
            head = b"".join(self._headers_buffer)  # type: ignore[attr-defined]
            self.wfile.write(head[: len(head) // 2])
        self.wfile.flush()
        self.close_connection = True

    def _refuse(self, status: int, code: str) -> None:
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>a fault</Message></Error>".encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        with suppress(OSError):
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    def _reset(self) -> None:
        """End the connection with a reset instead of an orderly close."""
        self.close_connection = True
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())


def _pieces(body: bytes, count: int) -> Iterator[bytes]:
    size = max(1, -(-len(body) // count))
    for start in range(0, len(body), size):
        yield body[start : start + size]
