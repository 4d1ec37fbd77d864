"""The store behind a plain web server: objects are read by their address, parts by ranges, and nothing is listed."""

from __future__ import annotations

import random
import time
import weakref
from datetime import datetime
from typing import NoReturn

import httpx

from pipeline.errors import StoreError, UsageError

TIMEOUT_SECONDS = 60.0
"""How long one try waits for a connection, and for the next byte of an answer."""
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.1, 10.0
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that pass, if one waits."""
ABSENT = frozenset({403, 404, 410})
"""A bucket that anybody may read and nobody list says "forbidden" of what is not there."""
UNRANGED, PART, BEYOND = 200, 206, 416


class Site:
    """Objects under an ``http(s)`` address, read-only. A server that does not know ranges is read whole."""

    def __init__(self, address: str, patience_seconds: float) -> None:
        self._base, self._patience_seconds = address.rstrip("/"), patience_seconds
        self._client = httpx.Client(
            timeout=TIMEOUT_SECONDS, follow_redirects=True, headers={"Accept-Encoding": "identity"}
        )
        weakref.finalize(self, self._client.close)

    def address(self, path: str) -> str:
        """``https://host/path``."""
        return f"{self._base}/{path}" if path else self._base

    def find(self, path: str) -> tuple[bytes, str] | None:
        """Content and ETag of an object, or ``None``."""
        answer = self._ask("GET", path)
        return None if answer is None else (answer.content, answer.headers.get("ETag", ""))

    def part(self, path: str, first: int, end: int | None) -> bytes | None:
        """Some bytes of an object, the last ones where ``first`` is below zero, or ``None``."""
        wanted = f"bytes={first}" if first < 0 else f"bytes={first}-{'' if end is None else end - 1}"
        answer = self._ask("GET", path, {"Range": wanted})
        if answer is None or answer.status_code == PART:
            return None if answer is None else answer.content
        return b"" if answer.status_code == BEYOND else answer.content[first:end]

    def size(self, path: str) -> int | None:
        """Bytes of an object, or ``None``."""
        answer = self._ask("HEAD", path)
        if answer is None:
            return None
        said = answer.headers.get("Content-Length")
        return len(self._whole(path)) if said is None else int(said)

    def objects(self, prefix: str) -> list[tuple[str, int]]:
        """Refuses: a web server does not say what there is."""
        self._unlisted(prefix)

    def stamps(self, prefix: str) -> dict[str, str | datetime]:
        """Refuses: a web server does not say what there is."""
        self._unlisted(prefix)

    def folders(self, prefix: str, after: str = "") -> list[str]:
        """Refuses: a web server does not say what there is."""
        self._unlisted(prefix)

    def write(self, path: str, data: bytes) -> None:
        """Refuses: what is read here is not written."""
        self._read_only(path)

    def create(self, path: str, data: bytes) -> bool:
        """Refuses: what is read here is not written."""
        self._read_only(path)

    def swap(self, path: str, data: bytes, version: str) -> bool:
        """Refuses: what is read here is not written."""
        self._read_only(path)

    def delete(self, prefix: str) -> None:
        """Refuses: what is read here is not removed."""
        self._read_only(prefix)

    def leftovers(self, before: datetime) -> list[tuple[str, int]]:
        """None that could be seen."""
        return []

    def forget(self, leftover: str) -> None:
        """Refuses: what is read here is not removed."""
        self._read_only(leftover)

    def _whole(self, path: str) -> bytes:
        found = self.find(path)
        return b"" if found is None else found[0]

    def _ask(self, method: str, path: str, headers: dict[str, str] | None = None) -> httpx.Response | None:
        """The answer, with patience; ``None`` for what is not there."""
        begun, wait = time.monotonic(), FIRST_WAIT_SECONDS
        while True:
            try:
                answer = self._client.request(method, self.address(path), headers=headers)
                found = f"HTTP {answer.status_code} {answer.reason_phrase}".rstrip()
                passing = answer.status_code in PASSING
                if answer.status_code in ABSENT:
                    return None
                if answer.status_code in (UNRANGED, PART, BEYOND):
                    return answer
            except httpx.InvalidURL as error:
                raise UsageError(
                    "a web address",
                    found=str(error),
                    where=self._base,
                    action="type it like https://host/path",
                ) from error
            except httpx.HTTPError as error:
                found, passing = str(error) or type(error).__name__, isinstance(error, httpx.TransportError)
            if not passing or time.monotonic() - begun + wait > self._patience_seconds:
                raise StoreError(
                    f"a web server to read {path or 'it'}", found=found, where=self._base,
                    action="check the address and the network",
                )  # fmt: skip
            time.sleep(wait * random.uniform(0.5, 1.0))
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)

    def _unlisted(self, prefix: str) -> NoReturn:
        raise StoreError(
            f"a store that lists {prefix or 'what it holds'}", found="a web server", where=self._base,
            action="name what you want by its own address, or read the bucket by s3://",
        )  # fmt: skip

    def _read_only(self, path: str) -> NoReturn:
        raise UsageError(
            f"a store that can be changed at {path}", found="a web server", where=self._base,
            action="name the folder or the bucket",
        )  # fmt: skip
