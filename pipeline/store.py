"""Sole door to our own data: objects in a folder or on S3, with conditional puts that have exactly one winner."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.addresses import from_anywhere
from pipeline.errors import CheckFailed, StoreError, UsageError
from pipeline.objects.bucket import Bucket, Place
from pipeline.objects.folder import Folder
from pipeline.settings import Settings

Model = TypeVar("Model", bound=BaseModel)


class Put(StrEnum):
    """The answer to a conditional put. A put of one's own whose answer was lost on the way has ``WON``."""

    WON = "won"
    LOST = "lost"


class ObjectRecord(BaseModel):
    """One object: its path, bytes, and the SHA-256 of its bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    path: str
    size_bytes: int
    sha256: str


class Versioned(NamedTuple):
    """An object's content and the version to give to ``Store.put_if_version``."""

    data: bytes
    version: str


class _Backend(Protocol):
    def address(self, path: str) -> str: ...
    def find(self, path: str) -> tuple[bytes, str] | None: ...
    def part(self, path: str, first: int, end: int | None) -> bytes | None: ...
    def write(self, path: str, data: bytes) -> None: ...
    def create(self, path: str, data: bytes) -> bool: ...
    def swap(self, path: str, data: bytes, version: str) -> bool: ...
    def size(self, path: str) -> int | None: ...
    def objects(self, prefix: str) -> list[tuple[str, int]]: ...
    def stamps(self, prefix: str) -> dict[str, str | datetime]: ...
    def folders(self, prefix: str, after: str = "") -> list[str]: ...
    def delete(self, prefix: str) -> None: ...
    def leftovers(self, before: datetime) -> list[tuple[str, int]]: ...
    def forget(self, leftover: str) -> None: ...


class Store:
    """Objects under a URI: a folder (``./store``, ``file:///...``) or ``s3://bucket/prefix``.

    Paths are relative to the URI, with ``/``. S3's endpoint and credentials come from the usual AWS variables.
    Every failure is a ``StoreError`` sentence. May be pickled; may be used from several threads.
    ``permit`` is asked right before every try at a change; what it raises keeps it from being made (``lock.Held``).
    A server that is away is asked again for ``patience_seconds``, unless given ``Settings.store_patience_seconds``;
    what answers no is not. No try waits longer than the patience that is given: silence is no answer either.
    """

    def __init__(
        self, uri: str | Path, permit: Callable[[], None] | None = None, *, patience_seconds: float | None = None
    ) -> None:
        plain = str(uri).rstrip("/") if not str(uri).endswith("://") else str(uri)
        scheme, separator, rest = plain.partition("://")
        if separator and scheme not in ("file", "s3"):
            raise UsageError(
                "a store as a folder or s3://bucket/prefix", found=repr(plain), where="--store or GOMS_STORE",
                action="name one of the two",
            )  # fmt: skip
        self.uri = from_anywhere(plain)
        self._backend: _Backend = (
            _bucket(rest, permit, patience_seconds) if scheme == "s3" else Folder(Path(self.uri), permit)
        )

    def __reduce__(self) -> tuple[object, ...]:
        return Store, (self.uri,)

    def address(self, path: str) -> str:
        """What any reader opens the object or prefix by: ``xr.open_zarr(store.address(...))``."""
        return self._backend.address(_relative(path))

    def web_address(self, path: str) -> str | None:
        """What a browser opens the object by; ``None`` for a folder, which only a server makes readable."""
        return self._backend.web_address(_relative(path)) if isinstance(self._backend, Bucket) else None

    @property
    def place(self) -> Place | None:
        """Where it is on S3, for other clients than ours; ``None`` where it is not there."""
        return self._backend.place if isinstance(self._backend, Bucket) else None

    def find(self, path: str) -> Versioned | None:
        """Content and version of an object, or ``None`` where there is none."""
        found = self._backend.find(_relative(path))
        return None if found is None else Versioned(*found)

    def find_part(self, path: str, first: int, end: int | None) -> bytes | None:
        """The bytes of an object from ``first`` to before ``end`` (its end), or ``None`` where there is none.

        ``first`` below zero: so many of the last bytes.
        """
        return self._backend.part(_relative(path), first, end)

    def read_bytes(self, path: str) -> bytes:
        """Content of an object; ``StoreError`` where there is none."""
        found = self.find(path)
        if found is None:
            raise StoreError(
                f"the object {path}", found="nothing there", where=f"the store {self.uri}",
                action="run the stage that writes it",
            )  # fmt: skip
        return found.data

    def read_json(self, path: str) -> Any:
        """Content of a JSON object; ``StoreError`` where there is none or it is not JSON."""
        try:
            return json.loads(self.read_bytes(path))
        except ValueError as error:
            raise StoreError(
                f"JSON in {path}", found=str(error), where=f"the store {self.uri}", action="restore or delete it"
            ) from error

    def write_bytes(self, path: str, data: bytes) -> ObjectRecord:
        """Put an object, whole or not at all."""
        self._backend.write(_relative(path), data)
        return record(path, data)

    def write_json(self, path: str, content: Any) -> ObjectRecord:
        """Put an object of JSON: the same content gives the same bytes."""
        return self.write_bytes(path, to_json(content))

    def put_if_absent(self, path: str, data: bytes) -> Put:
        """Put an object only where there is none: of all who race, exactly one has ``WON``."""
        return Put.WON if self._backend.create(_relative(path), data) else Put.LOST

    def put_if_version(self, path: str, data: bytes, version: str) -> Put:
        """Put an object only over the version that was read: of all who race, exactly one has ``WON``."""
        return Put.WON if self._backend.swap(_relative(path), data, version) else Put.LOST

    def put_after(self, path: str, data: bytes, seen: Versioned | None) -> Put:
        """Put an object over what was seen of it, or where nothing was: of all who race, exactly one has ``WON``."""
        return self.put_if_absent(path, data) if seen is None else self.put_if_version(path, data, seen.version)

    def exists(self, path: str) -> bool:
        """Whether there is an object of this very path."""
        return self.size(path) is not None

    def size(self, path: str) -> int | None:
        """Bytes of an object, or ``None`` where there is none."""
        return self._backend.size(_relative(path))

    def objects(self, prefix: str) -> list[tuple[str, int]]:
        """Path and bytes of every object under a prefix (a folder), sorted by path."""
        return self._backend.objects(_relative(prefix))

    def stamps(self, prefix: str) -> dict[str, str | datetime]:
        """What tells, without reading it, that an object was not changed: its ETag on S3, a file's last change."""
        return self._backend.stamps(_relative(prefix))

    def folders(self, prefix: str, after: str = "") -> list[str]:
        """Names directly under a prefix that have objects beneath them, sorted: those from ``after`` on."""
        return self._backend.folders(_relative(prefix), after)

    def delete(self, prefix: str) -> None:
        """Remove an object, or everything under a prefix; nothing there is fine."""
        self._backend.delete(_relative(prefix))

    def leftovers(self, before: datetime) -> list[tuple[str, int]]:
        """Name and bytes of what puts that never ended left behind before a moment; no reader can see it."""
        return self._backend.leftovers(before)

    def forget(self, leftover: str) -> None:
        """Remove one of ``leftovers``."""
        self._backend.forget(leftover)


def record(path: str, data: bytes) -> ObjectRecord:
    """The record of an object with this content."""
    return ObjectRecord(path=path, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def parsed(model: type[Model], data: bytes, where: str) -> Model:
    """The document of this model in an object's bytes; ``CheckFailed`` where they are not one."""
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        raise CheckFailed(
            f"a whole {model.__name__}", found=f"{error.error_count()} faults, first: {first['msg']} {first['loc']}",
            where=where, action="restore the object from a copy, or delete it if nothing depends on it",
        ) from error  # fmt: skip


def to_json(content: Any) -> bytes:
    """JSON whose bytes depend on the content alone: sorted keys, no NaN, a newline at the end."""
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _relative(path: str) -> str:
    if path.startswith("/") or ".." in path.split("/"):
        raise UsageError(
            "a path inside the store", found=repr(path), where="a store path", action="give a relative one"
        )
    return path.rstrip("/")


def _bucket(rest: str, permit: Callable[[], None] | None, patience_seconds: float | None) -> Bucket:
    bucket, _, prefix = rest.partition("/")
    if not bucket:
        raise UsageError("a bucket", found="s3:// alone", where="the store's URI", action="write s3://bucket/prefix")
    if patience_seconds is None:
        return Bucket(bucket, prefix, Settings().store_patience_seconds, permit)
    return Bucket(bucket, prefix, patience_seconds, permit, longest_seconds=patience_seconds)
