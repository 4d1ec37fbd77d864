"""The store on S3: single conditional puts, and patience with a server that is away for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.loaders import create_loader

from pipeline.errors import StoreError
from pipeline.objects.patience import CutOff, Failure, Tries, code, field, status

CONNECT_SECONDS, READ_SECONDS = 10, 60
"""How long one try waits for a connection, and for the next byte of an answer."""
DELETED_AT_ONCE = 1000
"""Objects in one request to delete: the most that S3 takes."""

TYPES = {
    ".css": "text/css; charset=utf-8", ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8",
    ".json": "application/json", ".nc": "application/x-netcdf", ".pem": "application/x-pem-file", ".png": "image/png",
    ".txt": "text/plain; charset=utf-8", ".xml": "application/atom+xml",
}  # fmt: skip
"""What browsers are told that an object is, by how its name ends; a page that is not said to be one is not shown."""
RACES = 20
"""Lost races after which a put gives up: each loss means that somebody else put the same object."""

_LOADER = create_loader()  # S3's description is large: it is read once a process, not once a store

Answer = TypeVar("Answer")


class Place(NamedTuple):
    """Where objects lie on S3, for other clients than ours; ``region``: none where none is configured."""

    endpoint: str
    region: str | None
    bucket: str
    prefix: str


class Bucket:
    """Objects on S3 under a prefix. Puts are single requests, never multipart.

    A request that failed in a way that may pass is made again for ``patience_seconds``; the last one may take
    ``CONNECT_SECONDS + READ_SECONDS`` on top; ``longest_seconds`` where it is to wait for less, for a connection and
    for the next byte.

    ``permit`` is asked before every try that changes something. Whoever needs one may be paused in the middle of a
    request and end it much later: every put is then made only over what the writer has seen.
    """

    def __init__(
        self, bucket: str, prefix: str, patience_seconds: float = 0.0, permit: Callable[[], None] | None = None,
        *, longest_seconds: float = READ_SECONDS, anonymous: bool = False,
    ) -> None:  # fmt: skip
        """``anonymous``: without keys. Then S3 says "forbidden" of what is not there, and both are ``None`` here."""
        self.bucket, self.prefix = bucket, prefix
        self._patience_seconds, self._permit = patience_seconds, permit
        self._absent = (404, 403) if anonymous else (404,)
        manners = Config(
            connect_timeout=min(CONNECT_SECONDS, longest_seconds),
            read_timeout=min(READ_SECONDS, longest_seconds),
            retries={"total_max_attempts": 1, "mode": "standard"},
            max_pool_connections=16,
            signature_version=UNSIGNED if anonymous else None,
        )
        try:
            session = botocore.session.Session()
            session.register_component("data_loader", _LOADER)
            self._client = session.create_client("s3", config=manners)
        except (*Failure, ValueError) as error:  # the latter: an endpoint that is no address
            raise self._sentence("connect", error) from error

    def address(self, path: str) -> str:
        """``s3://bucket/prefix/path``."""
        return f"s3://{self.bucket}/{self._key(path)}"

    def web_address(self, path: str) -> str:
        """What a browser opens an object by: the endpoint, the bucket and the key."""
        return f"{str(self._client.meta.endpoint_url).rstrip('/')}/{self.bucket}/{quote(self._key(path))}"

    @property
    def place(self) -> Place:
        """Where it is."""
        named = self._client.meta.region_name
        return Place(str(self._client.meta.endpoint_url).rstrip("/"), None if named == "aws-global" else named,
                     self.bucket, self.prefix)  # fmt: skip

    def find(self, path: str) -> tuple[bytes, str] | None:
        """Content and ETag of an object, or ``None``."""
        return self._ask(f"read {path}", partial(self._read, path))

    def part(self, path: str, first: int, end: int | None) -> bytes | None:
        """Some bytes of an object, the last ones where ``first`` is below zero, or ``None``."""
        wanted = f"bytes={first}" if first < 0 else f"bytes={first}-{'' if end is None else end - 1}"
        found = self._ask(f"read a part of {path}", partial(self._read, path, Range=wanted))
        return None if found is None else found[0]

    def write(self, path: str, data: bytes) -> None:
        """Put an object."""
        if self._permit is None:
            put = partial(self._client.put_object, **self._object(path, data))
            self._change(f"write {path} ({len(data)} bytes)", put)
        elif not self.create(path, data):
            self._replace(path, data)

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

        def look() -> int | None:
            try:
                answer = self._client.head_object(Bucket=self.bucket, Key=self._key(path))
            except ClientError as error:
                if status(error) in self._absent:
                    return None
                raise
            return int(field(answer, "ContentLength"))

        return self._ask(f"look at {path}", look)

    def objects(self, prefix: str) -> list[tuple[str, int]]:
        """Path and bytes of every object under a prefix."""
        cut = len(self._key("")) if self.prefix else 0
        pages = self._pages(prefix)
        return sorted((item["Key"][cut:], item["Size"]) for page in pages for item in page.get("Contents", ()))

    def stamps(self, prefix: str) -> dict[str, str | datetime]:
        """The ETag of every object under a prefix."""
        cut = len(self._key("")) if self.prefix else 0
        return {item["Key"][cut:]: item["ETag"] for page in self._pages(prefix) for item in page.get("Contents", ())}

    def folders(self, prefix: str, after: str = "") -> list[str]:
        """Names directly under a prefix that have objects beneath them: those from ``after`` on."""
        start = self._folder(prefix)
        late = {"StartAfter": f"{start}{after}"} if after else {}
        pages = self._pages(prefix, Delimiter="/", **late)
        found = [item["Prefix"] for page in pages for item in page.get("CommonPrefixes", ())]
        names = (name[len(start) :].rstrip("/") for name in found)
        return sorted(name for name in names if name >= after)

    def delete(self, prefix: str) -> None:
        """Remove an object and everything under it as a prefix, many in one request."""
        paths = [*(path for path, _ in self.objects(prefix)), *((prefix,) if prefix else ())]
        for start in range(0, len(paths), DELETED_AT_ONCE):
            self._change(f"delete {prefix}", partial(self._delete, paths[start : start + DELETED_AT_ONCE]))

    def leftovers(self, before: datetime) -> list[tuple[str, int]]:
        """None: on S3 a put that never ended leaves nothing."""
        return []

    def forget(self, leftover: str) -> None:
        """Nothing to remove."""

    def _replace(self, path: str, data: bytes) -> None:
        for _ in range(RACES):
            found = self.find(path)
            if found is not None and found[0] == data:
                return
            if self.create(path, data) if found is None else self.swap(path, data, found[1]):
                return
        raise StoreError(
            f"to write {path}", found=f"{RACES} lost races", where=f"the bucket {self.bucket}",
            action="see who else writes there, then run again",
        )  # fmt: skip

    def _read(self, path: str, **request: str) -> tuple[bytes, str] | None:
        try:
            answer = self._client.get_object(Bucket=self.bucket, Key=self._key(path), **request)
        except ClientError as error:
            if code(error) == "NoSuchKey" or status(error) in self._absent[1:]:
                return None
            raise
        size, version = field(answer, "ContentLength"), str(field(answer, "ETag"))
        if request:
            field(answer, "ContentRange")
        data = answer["Body"].read()
        if len(data) != size:
            raise CutOff(missing=f"byte {size}")
        return data, version

    def _delete(self, paths: Sequence[str]) -> None:
        named = [{"Key": self._key(path)} for path in paths]
        answer = self._client.delete_objects(Bucket=self.bucket, Delete={"Objects": named, "Quiet": True})
        for refusal in answer.get("Errors", ()):  # the answer as a whole is a success all the same
            raise ClientError({"Error": refusal}, "DeleteObjects")

    def _conditional(self, path: str, data: bytes, **condition: str) -> bool:
        """Whether the put was made.

        A repeated one that is refused may have been made by the try whose answer was lost: then the content is ours.
        """

        def put() -> bool:
            try:
                self._client.put_object(**self._object(path, data), **condition)
            except ClientError as error:
                if status(error) == 412 or code(error) == "NoSuchKey":
                    return False
                raise
            return True

        tries = Tries(self._patience_seconds)
        made = self._change(f"put {path} on a condition", put, tries)
        if made or not tries.failed:
            return made
        found = self.find(path)
        return found is not None and found[0] == data

    def _object(self, path: str, data: bytes) -> dict[str, Any]:
        kind = TYPES.get(f".{path.rpartition('.')[2]}", "application/octet-stream")
        return {"Bucket": self.bucket, "Key": self._key(path), "Body": data, "ContentType": kind}

    def _key(self, path: str) -> str:
        return f"{self.prefix}/{path}" if self.prefix else path

    def _folder(self, prefix: str) -> str:
        key = self._key(prefix).rstrip("/")
        return f"{key}/" if key else ""

    def _pages(self, prefix: str, **request: str) -> Iterator[dict[str, Any]]:
        """Every page of a listing; each is asked for by itself, so that patience is a page's."""
        request |= {"Bucket": self.bucket, "Prefix": self._folder(prefix)}
        while True:
            page = self._ask(f"list {prefix}", partial(self._page, request))
            yield page
            if not page["IsTruncated"]:
                return
            request["ContinuationToken"] = page["NextContinuationToken"]

    def _page(self, request: dict[str, str]) -> dict[str, Any]:
        page: dict[str, Any] = self._client.list_objects_v2(**request)
        field(page, "IsTruncated")
        return page

    def _change(self, doing: str, request: Callable[[], Answer], tries: Tries | None = None) -> Answer:
        def permitted() -> Answer:
            if self._permit is not None:
                self._permit()
            return request()

        return self._ask(doing, permitted, tries)

    def _ask(self, doing: str, request: Callable[[], Answer], tries: Tries | None = None) -> Answer:
        """What the server answers, with patience; its errors as sentences."""
        tries = tries or Tries(self._patience_seconds)
        while True:
            try:
                return request()
            except Failure as error:
                if not tries.again(doing, error):
                    raise self._sentence(doing, error, tries.failed) from error

    def _sentence(self, doing: str, error: Exception, failed: int = 0) -> StoreError:
        where, tried = f"the bucket {self.bucket}", f" ({failed + 1} tries)" if failed else ""
        if not isinstance(error, ClientError):
            return StoreError(
                f"an S3 server to {doing}", found=f"{type(error).__name__}: {error}{tried}", where=where,
                action="check AWS_ENDPOINT_URL, the AWS credentials and the network",
            )  # fmt: skip
        needed, action = _SENTENCES.get(code(error), ("a store that answers", "look at the server, then run again"))
        found = f"{code(error)}: {error.response.get('Error', {}).get('Message', '')}".rstrip(": ")
        return StoreError(f"{needed} to {doing}", found=f"{found}{tried}", where=where, action=action)


_KEYS = ("accepted AWS keys", "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
_SENTENCES = {
    "NoSuchBucket": ("an existing bucket", "create the bucket or name another store"),
    "AccessDenied": ("the right", "use keys that may do it, or have the bucket's policy changed"),
    "InvalidAccessKeyId": _KEYS,
    "SignatureDoesNotMatch": _KEYS,
    "403": ("accepted AWS keys with the right", "check the AWS keys and the bucket's policy"),
    "SlowDown": ("an unhurried S3 server", "wait, then run again"),
}
