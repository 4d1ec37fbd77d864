"""Who is told: receivers of webhooks and of traces and a mail server on loopback, which keep what they were sent."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from tests.ports import free_port


class Receiver(ThreadingHTTPServer):
    """Takes what ``read`` makes of a body; answers 503 to the first ``refusals`` and 200 to what comes after."""

    def __init__(self, read: Callable[[bytes], Any]) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.read = read
        self.taken, self.paths, self.refused, self.refusals = list[Any](), set[str](), 0, 0

    @property
    def url(self) -> str:
        """Its address, with a part that is a secret."""
        return f"http://127.0.0.1:{self.server_address[1]}/services/SECRETPATH"


class _Taking(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        receiver = self.server
        assert isinstance(receiver, Receiver)
        receiver.paths.add(self.path)
        if receiver.refused < receiver.refusals:
            receiver.refused += 1
            self.send_response(503)
        else:
            receiver.taken.append(receiver.read(content) if content else None)
            self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing: the tests look at what was taken."""


@contextmanager
def receiving(read: Callable[[bytes], Any] = json.loads) -> Iterator[Receiver]:
    """A receiver, up; of JSON unless another way to read is given."""
    with Receiver(read) as receiver:
        thread = threading.Thread(target=receiver.serve_forever, daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            receiver.shutdown()
            thread.join()


USER, PASSWORD = "goms", "hush-hush"


def _known(server: Any, session: Any, envelope: Any, mechanism: str, who: Any) -> AuthResult:
    return AuthResult(success=(who.login, who.password) == (USER.encode(), PASSWORD.encode()), handled=False)


class Letters:
    """A mail server's way with letters: keep them."""

    def __init__(self) -> None:
        self.taken = list[EmailMessage]()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Take one."""
        message = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.taken.append(message)
        return "250 taken"


@contextmanager
def taking_letters(encryption: str = "none", cipher: ssl.SSLContext | None = None) -> Iterator[tuple[Letters, int]]:
    """A mail server, up: what it took, and its port. Where it encrypts it has one ``USER``."""
    letters = Letters()
    ways: dict[str, Any] = {
        "none": {}, "tls": {"ssl_context": cipher}, "starttls": {"tls_context": cipher, "require_starttls": True},
    }  # fmt: skip
    if encryption != "none":
        started = encryption == "starttls"  # else encrypted from the first byte, of which the server knows nothing
        ways[encryption] |= {"authenticator": _known, "auth_required": started, "auth_require_tls": started}
    port = free_port()
    controller = Controller(letters, hostname="127.0.0.1", port=port, ready_timeout=60, **ways[encryption])
    controller.start()
    try:
        yield letters, port
    finally:
        controller.stop()
