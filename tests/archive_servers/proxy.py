"""An HTTP proxy on loopback before a real server: it counts what is moved, and misbehaves as it is told.

``with Proxy(upstream) as proxy:`` then ask ``proxy.address`` instead of ``upstream``; ``proxy.misbehave(...)``.
The request reaches the real server as it came (its Host too, so that signatures hold).
"""

from __future__ import annotations

import http.client
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from tests.archive_servers.faults import ArchiveFault, Misbehaviour

LONGEST_STALL_SECONDS = 120.0
"""A stalled answer ends when the proxy is closed, at the latest after this."""
LONGEST_WAIT_SECONDS = 30.0
"""For answers that are in hand, by who looks into the book."""
DRIP_BYTES, DRIP_SECONDS = 16, 0.1
DATA_MARK = b"Data:\n"
"""What separates words from values in an OPeNDAP answer: zeros begin after it and after the two lengths."""
PAGE = b"<!DOCTYPE html><html><body><h1>Down for maintenance</h1></body></html>"
MOVED_TO = "/moved"


class Asked(NamedTuple):
    """One request that came, what was answered, the bytes of the body that were sent; times by a monotonic clock."""

    method: str
    target: str
    status: int
    sent_bytes: int
    ranged: str | None
    begun: float
    ended: float


class Proxy:
    """The proxy; ``asked`` lists what came, in order of its end, ``most_at_once`` how many were in hand at a time.

    A client has its answer before the answer is in the book: who looks into it waits until none is in hand any more,
    but for those that are slow on purpose. ``clock``: the Date of its refusals.
    """

    def __init__(self, upstream: str, delay_seconds: float = 0.0) -> None:
        parts = urlsplit(upstream)
        self.host, self.port, self.path = parts.hostname or "", parts.port or 80, parts.path
        self.delay_seconds = delay_seconds
        self._asked: list[Asked] = []
        self.at_once = self.most_at_once = self._slow = 0
        self.clock, self._since = "", 0.0
        self.closing = threading.Event()
        self._plan: list[tuple[Misbehaviour, list[int]]] = []
        self._lock = threading.Condition()
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def address(self) -> str:
        """What to ask instead of the real server."""
        return f"http://127.0.0.1:{self._server.server_address[1]}{self.path}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def misbehave(self, *plan: Misbehaviour) -> None:
        """From now on do this, counting from now; with nothing, behave."""
        with self._lock:
            self._plan = [(item, [0]) for item in plan]

    def forget(self) -> None:
        """Count from zero again: what began before is not counted when it ends."""
        with self._lock:
            self._asked, self.most_at_once, self._since = [], 0, time.monotonic()

    @property
    def asked(self) -> list[Asked]:
        """What came, in order of its end."""
        with self._settled():
            return list(self._asked)

    @property
    def sent_bytes(self) -> int:
        """Bytes of all bodies that were sent."""
        return sum(item.sent_bytes for item in self.asked)

    def fault_of(self, request: str) -> Misbehaviour | None:
        """What befalls this request, if anything."""
        with self._lock:
            found = None
            for item, seen in self._plan:
                if item.matches(request):
                    found = found or (item if item.befalls(request, seen[0]) else None)
                    seen[0] += 1
            return found

    @contextmanager
    def _settled(self) -> Iterator[None]:
        with self._lock:
            self._lock.wait_for(lambda: self.at_once <= self._slow, LONGEST_WAIT_SECONDS)
            yield

    def begun(self) -> None:
        """A request is in hand."""
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)

    def slow(self) -> None:
        """The answer of a request in hand is slow on purpose: nobody waits for it."""
        with self._lock:
            self._slow += 1
            self._lock.notify_all()

    def ended(self, asked: Asked, *, slow: bool) -> None:
        """A request is answered, or dropped; ``slow``: as it was said to be."""
        with self._lock:
            self.at_once -= 1
            self._slow -= slow
            if asked.begun >= self._since:
                self._asked.append(asked)
            self._lock.notify_all()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: Any) -> None:
        """Clients go away as they like."""


class _Handler(BaseHTTPRequestHandler):
    """One connection; the answer is fetched whole from the real server before a byte of it is sent."""

    proxy: Proxy
    length_of_head: int | None
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Nothing is logged."""

    def do_GET(self) -> None:
        begun, proxy, self.sent, self.status, self.length_of_head = time.monotonic(), self.proxy, 0, 0, None
        self.slow = False
        proxy.begun()
        try:
            fault = proxy.fault_of(f"{self.command} {self.path}")
            time.sleep(proxy.delay_seconds)
            self._answer(fault)
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            self.close_connection = True
        finally:
            ranged, ended = self.headers.get("Range"), time.monotonic()
            proxy.ended(Asked(self.command, self.path, self.status, self.sent, ranged, begun, ended), slow=self.slow)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815  (http.server's names)

    def _answer(self, plan: Misbehaviour | None) -> None:
        fault = plan.fault if plan else None
        if plan and fault in _REFUSALS:
            status, body = _REFUSALS[fault]
            extra = {"Retry-After": plan.retry_after} if fault is ArchiveFault.TOO_MANY else {}
            extra |= {"Date": self.proxy.clock} if self.proxy.clock else {}
            return self._send(status, extra, body)
        if fault is ArchiveFault.REDIRECTED and not self.path.startswith(MOVED_TO):
            return self._send(302, {"Location": f"{MOVED_TO}{self.path}"}, b"")
        if fault is ArchiveFault.RESET:
            return self._reset()
        status, headers, body = self._fetched()
        if fault is ArchiveFault.STALL:
            return self._send_slowly(status, headers, body, len(body) // 2, 0, LONGEST_STALL_SECONDS)
        if fault is ArchiveFault.DRIP:
            return self._send_slowly(status, headers, body, 0, DRIP_BYTES, DRIP_SECONDS)
        if fault is ArchiveFault.TRUNCATED:
            self._send(status, headers, body[: len(body) * 2 // 3], len(body))
            self.close_connection = True
            return None
        if fault is ArchiveFault.TRUNCATED_QUIETLY:
            body = body[: len(body) * 2 // 3]
        if fault is ArchiveFault.ZEROS:
            body = _zeroed(body)
        return self._send(status, headers, body)

    def _fetched(self) -> tuple[int, dict[str, str], bytes]:
        upstream = http.client.HTTPConnection(self.proxy.host, self.proxy.port, timeout=LONGEST_STALL_SECONDS)
        length = int(self.headers.get("Content-Length") or 0)
        sent = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        try:
            upstream.request(self.command, self.path.removeprefix(MOVED_TO), self.rfile.read(length) or None, sent)
            answer = upstream.getresponse()
            kept = {name: value for name, value in answer.getheaders() if name.lower() not in _OF_THE_HOP}
            self.length_of_head = int(answer.headers.get("Content-Length") or 0) if self.command == "HEAD" else None
            return answer.status, kept, answer.read()
        finally:
            upstream.close()

    def _send(self, status: int, headers: dict[str, str], body: bytes, length: int | None = None) -> None:
        self._head(status, headers, len(body) if length is None else length)
        if self.command != "HEAD":
            self.wfile.write(body)
            self.sent += len(body)

    def _head(self, status: int, headers: dict[str, str], length: int) -> None:
        self.status = status
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length if self.length_of_head is None else self.length_of_head))
        self.end_headers()

    def _send_slowly(self, status: int, headers: dict[str, str], body: bytes, at_once: int, each: int,
                     pause_seconds: float) -> None:  # fmt: skip
        self.slow = True
        self.proxy.slow()
        self._head(status, headers, len(body))
        place = at_once
        self.wfile.write(body[:place])
        self.sent += place
        while place < len(body) and not self.proxy.closing.wait(pause_seconds) and each:
            self.wfile.write(body[place : place + each])
            self.sent += each
            place += each
        self.close_connection = True

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        os.close(self.connection.detach())


def _zeroed(body: bytes) -> bytes:
    """The same with its values zero; of an OPeNDAP answer those of the first array, whose lengths stay."""
    start = body.find(DATA_MARK)
    if start < 0:
        return bytes(len(body))
    start += len(DATA_MARK) + 8
    size = 4 * int.from_bytes(body[start - 8 : start - 4], "big")
    return body[:start] + bytes(size) + body[start + size :]


_OF_THE_HOP = ("connection", "content-length", "transfer-encoding", "keep-alive")
_REFUSALS = {
    ArchiveFault.SERVER_ERROR: (500, b"Internal Server Error"),
    ArchiveFault.TOO_MANY: (429, b"Too Many Requests"),
    ArchiveFault.MOVED: (404, b"<html>Not Found</html>"),
    ArchiveFault.FORBIDDEN: (403, b"<html>Forbidden</html>"),
    ArchiveFault.PAGE: (200, PAGE),
}
