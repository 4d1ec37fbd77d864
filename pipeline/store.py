"""Sole door to our own data: objects in a folder or on S3, with conditional puts that have exactly one winner."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import StoreError, UsageError
from pipeline.folder import Folder

CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 10, 60, 4
"""Patience with an S3 server: a dead one is reported within minutes instead of hanging the run."""


Model = TypeVar("Model", bound=BaseModel)


class Put(StrEnum):
    """The answer to a conditional put.

    ``LOST`` after a broken connection may hide a put of one's own: whoever must know compares the content.
    """

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
    def write(self, path: str, data: bytes) -> None: ...
    def create(self, path: str, data: bytes) -> bool: ...
    def swap(self, path: str, data: bytes, version: str) -> bool: ...
    def size(self, path: str) -> int | None: ...
    def objects(self, prefix: str) -> list[tuple[str, int]]: ...
    def folders(self, prefix: str) -> list[str]: ...
    def delete(self, prefix: str) -> None: ...


class Store:
    """Objects under a URI: a folder (``./store``, ``file:///...``) or ``s3://bucket/prefix``.

    Paths are relative to the URI, with ``/``. S3's endpoint and credentials come from the usual AWS variables.
    Every failure is a ``StoreError`` sentence. May be pickled; may be used from several threads.
    ``permit`` is asked right before every change; what it raises keeps the change from being made (``lock.Held``).
    """

    def __init__(self, uri: str | Path, permit: Callable[[], None] = lambda: None) -> None:
        self._permit = permit
        self.uri = str(uri).rstrip("/") if not str(uri).endswith("://") else str(uri)
        scheme, separator, rest = self.uri.partition("://")
        if separator and scheme not in ("file", "s3"):
            raise UsageError(
                "a store as a folder or s3://bucket/prefix", found=repr(self.uri), where="--store or GOMS_STORE",
                action="name one of the two",
            )  # fmt: skip
        self._backend: _Backend = _bucket(rest) if scheme == "s3" else Folder(Path(rest or self.uri).absolute())

    def __reduce__(self) -> tuple[type[Store], tuple[str]]:
        return Store, (self.uri,)

    def address(self, path: str) -> str:
        """What any reader opens the object or prefix by: ``xr.open_zarr(store.address(...))``."""
        return self._backend.address(_relative(path))

    def find(self, path: str) -> Versioned | None:
        """Content and version of an object, or ``None`` where there is none."""
        found = self._backend.find(_relative(path))
        return None if found is None else Versioned(*found)

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
        self._permit()
        self._backend.write(_relative(path), data)
        return record(path, data)

    def write_json(self, path: str, content: Any) -> ObjectRecord:
        """Put an object of JSON: the same content gives the same bytes."""
        return self.write_bytes(path, to_json(content))

    def put_if_absent(self, path: str, data: bytes) -> Put:
        """Put an object only where there is none: of all who race, exactly one has ``WON``."""
        self._permit()
        return Put.WON if self._backend.create(_relative(path), data) else Put.LOST

    def put_if_version(self, path: str, data: bytes, version: str) -> Put:
        """Put an object only over the version that was read: of all who race, exactly one has ``WON``."""
        self._permit()
        return Put.WON if self._backend.swap(_relative(path), data, version) else Put.LOST

    def exists(self, path: str) -> bool:
        """Whether there is an object of this very path."""
        return self.size(path) is not None

    def size(self, path: str) -> int | None:
        """Bytes of an object, or ``None`` where there is none."""
        return self._backend.size(_relative(path))

    def objects(self, prefix: str) -> list[tuple[str, int]]:
        """Path and bytes of every object under a prefix (a folder), sorted by path."""
        return self._backend.objects(_relative(prefix))

    def folders(self, prefix: str) -> list[str]:
        """Names directly under a prefix that have objects beneath them, sorted."""
        return self._backend.folders(_relative(prefix))

    def delete(self, prefix: str) -> None:
        """Remove an object, or everything under a prefix; nothing there is fine."""
        self._permit()
        self._backend.delete(_relative(prefix))


def record(path: str, data: bytes) -> ObjectRecord:
    """The record of an object with this content."""
    return ObjectRecord(path=path, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def parsed(model: type[Model], data: bytes, where: str) -> Model:
    """The document of this model in an object's bytes; ``StoreError`` where they are not one."""
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        raise StoreError(
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


def _bucket(rest: str) -> Bucket:
    bucket, _, prefix = rest.partition("/")
    if not bucket:
        raise UsageError("a bucket", found="s3:// alone", where="the store's URI", action="write s3://bucket/prefix")
    return Bucket(bucket, prefix)


class Bucket:
    """Objects on S3 under a prefix. Conditional puts are single requests, never multipart."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self.bucket, self.prefix = bucket, prefix
        patience = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
            max_pool_connections=16,
        )
        with self._told("connect"):
            self._client = boto3.session.Session().client("s3", config=patience)

    def address(self, path: str) -> str:
        """``s3://bucket/prefix/path``."""
        return f"s3://{self.bucket}/{self._key(path)}"

    def find(self, path: str) -> tuple[bytes, str] | None:
        """Content and ETag of an object, or ``None``."""
        with self._told(f"read {path}"):
            try:
                answer = self._client.get_object(Bucket=self.bucket, Key=self._key(path))
            except ClientError as error:
                if _code(error) == "NoSuchKey":
                    return None
                raise
            return answer["Body"].read(), str(answer["ETag"])

    def write(self, path: str, data: bytes) -> None:
        """Put an object."""
        with self._told(f"write {path} ({len(data)} bytes)"):
            self._client.put_object(Bucket=self.bucket, Key=self._key(path), Body=data)

    def create(self, path: str, data: bytes) -> bool:
        """Put an object only if there is none (``If-None-Match: *``)."""
        return self._conditional(path, data, IfNoneMatch="*")

    def swap(self, path: str, data: bytes, version: str) -> bool:
        """Put an object only over this ETag (``If-Match``).

        Some servers compare it without its quotes: a refusal though the ETag is still there is asked again so.
        """
        if self._conditional(path, data, IfMatch=version):
            return True
        found = self.find(path)
        if found is None or found[1] != version:
            return False
        return self._conditional(path, data, IfMatch=version.strip('"'))

    def size(self, path: str) -> int | None:
        """Bytes of an object, or ``None``."""
        with self._told(f"look at {path}"):
            try:
                return int(self._client.head_object(Bucket=self.bucket, Key=self._key(path))["ContentLength"])
            except ClientError as error:
                if _status(error) == 404:
                    return None
                raise

    def objects(self, prefix: str) -> list[tuple[str, int]]:
        """Path and bytes of every object under a prefix."""
        cut = len(self._key("")) if self.prefix else 0
        with self._told(f"list {prefix}"):
            pages = self._pages(Prefix=self._folder(prefix))
            return sorted((item["Key"][cut:], item["Size"]) for page in pages for item in page.get("Contents", ()))

    def folders(self, prefix: str) -> list[str]:
        """Names directly under a prefix that have objects beneath them."""
        start = self._folder(prefix)
        with self._told(f"list {prefix}"):
            pages = self._pages(Prefix=start, Delimiter="/")
            found = [item["Prefix"] for page in pages for item in page.get("CommonPrefixes", ())]
        return sorted(name[len(start) :].rstrip("/") for name in found)

    def delete(self, prefix: str) -> None:
        """Remove an object and everything under it as a prefix."""
        paths = [path for path, _ in self.objects(prefix)]
        with self._told(f"delete {prefix}"):
            for path in (*paths, *((prefix,) if prefix else ())):
                self._client.delete_object(Bucket=self.bucket, Key=self._key(path))

    def _conditional(self, path: str, data: bytes, **condition: str) -> bool:
        for _ in range(ATTEMPTS):
            with self._told(f"put {path} on a condition"):
                try:
                    self._client.put_object(Bucket=self.bucket, Key=self._key(path), Body=data, **condition)
                except ClientError as error:
                    if _status(error) == 412 or _code(error) == "NoSuchKey":
                        return False
                    if _status(error) != 409:  # 409: another put was under way; AWS asks to try again
                        raise
                else:
                    return True
        return False

    def _key(self, path: str) -> str:
        return f"{self.prefix}/{path}" if self.prefix else path

    def _folder(self, prefix: str) -> str:
        key = self._key(prefix).rstrip("/")
        return f"{key}/" if key else ""

    def _pages(self, **request: str) -> Iterator[dict[str, Any]]:
        yield from self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, **request)

    @contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        """S3's errors as sentences."""
        try:
            yield
        except ClientError as error:
            needed, action = _SENTENCES.get(
                _code(error), ("a store that answers", "look at the server, then run again")
            )
            found = f"{_code(error)}: {error.response.get('Error', {}).get('Message', '')}".rstrip(": ")
            where = f"the bucket {self.bucket}"
            raise StoreError(f"{needed} to {doing}", found=found, where=where, action=action) from error
        except BotoCoreError as error:
            raise StoreError(
                f"an S3 server to {doing}", found=f"{type(error).__name__}: {error}",
                where=f"the bucket {self.bucket}", action="check AWS_ENDPOINT_URL, the AWS credentials and the network",
            ) from error  # fmt: skip


_KEYS = ("accepted AWS keys", "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
_SENTENCES = {
    "NoSuchBucket": ("an existing bucket", "create the bucket or name another store"),
    "AccessDenied": ("the right", "use keys that may do it, or have the bucket's policy changed"),
    "InvalidAccessKeyId": _KEYS,
    "SignatureDoesNotMatch": _KEYS,
    "403": ("accepted AWS keys with the right", "check the AWS keys and the bucket's policy"),
    "SlowDown": ("an unhurried S3 server", "wait, then run again"),
}


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
