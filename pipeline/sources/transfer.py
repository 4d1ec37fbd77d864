"""Bytes from archives over HTTP: what arrives is whole or an error, politely asked for, within a deadline.

One request is one object or one range of it. At most ten connections at a time; ``Retry-After`` is honoured, other
pauses double with jitter; a body that is shorter or longer than promised is asked for again. The deadline is for
all requests of a call together, however slowly a server drips. ``gs://`` is read as Google's public addresses,
``s3://`` by addresses signed with the usual AWS variables (unsigned where there are no keys), a folder as it is.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NamedTuple

import botocore.session
import httpx
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from pipeline.addresses import without_account
from pipeline.errors import InputUnavailable
from pipeline.provenance import FileRecord

CONNECTIONS = 10
"""The most the archives allow one user without banning him (HYCOM's and Copernicus's rule)."""
SILENCE_SECONDS = 30.0
"""A server that accepts nothing or sends nothing for this long is asked anew."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0
TRIES = 8
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that pass, if one waits."""
NOT_PASSING = (httpx.TooManyRedirects, httpx.UnsupportedProtocol, httpx.InvalidURL)
"""Failures that do not: redirects in a circle, an address that is none."""
GOOGLE = "https://storage.googleapis.com"
SIGNED_SECONDS = 3600


class Asked(NamedTuple):
    """One object, or ``length`` bytes of it from ``start``."""

    url: str
    start: int = 0
    length: int | None = None
    headers: tuple[tuple[str, str], ...] = ()


class Part(NamedTuple):
    """The bytes of one request, whole."""

    asked: Asked
    data: bytes

    def record(self, name: str | None = None) -> FileRecord:
        """Where they came from (never with a signature), how many, and their SHA-256."""
        return FileRecord(uri=name or shown(self.asked.url), size_bytes=len(self.data),
                          sha256=hashlib.sha256(self.data).hexdigest())  # fmt: skip


class _Passing(Exception):
    """A failure that may be gone at the next try; after ``pause`` seconds where the server says so."""

    def __init__(self, words: str, pause: float | None = None) -> None:
        super().__init__(words)
        self.pause = pause


def fetch(asked: Sequence[Asked], *, archive: str, deadline_seconds: float) -> list[Part | None]:
    """The parts in the order they were asked for, ``None`` for objects that are not there.

    Raises ``InputUnavailable`` where an archive refuses access, keeps failing, or the deadline is over.
    """
    with ThreadPoolExecutor(1) as own:  # a loop of its own: the caller may have one running
        return own.submit(asyncio.run, _all(asked, archive, deadline_seconds)).result()


def fetch_one(url: str, *, archive: str, deadline_seconds: float) -> bytes | None:
    """One object's bytes, or ``None`` where it is not there; raises as ``fetch``."""
    (part,) = fetch([Asked(url)], archive=archive, deadline_seconds=deadline_seconds)
    return None if part is None else part.data


def post(url: str, form: Mapping[str, str], *, archive: str, deadline_seconds: float) -> int:
    """The status that a form is answered with, once and whole within the deadline, or ``InputUnavailable``."""

    async def ask() -> int:
        async with asyncio.timeout(deadline_seconds), httpx.AsyncClient(timeout=deadline_seconds) as client:
            return (await client.post(url, data=form)).status_code

    try:
        with ThreadPoolExecutor(1) as own:
            return own.submit(asyncio.run, ask()).result()
    except TimeoutError as late:
        raise unavailable(archive, f"no whole answer within {deadline_seconds:.3g} s", url) from late
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise unavailable(archive, str(error) or type(error).__name__, url) from error


def join(address: str, key: str) -> str:
    """The address to fetch an object by, under an archive's base address."""
    scheme, separator, rest = address.rstrip("/").partition("://")
    if not separator:
        return f"{Path(address).absolute()}/{key}"
    if scheme == "gs":
        return f"{GOOGLE}/{rest}/{key}"
    if scheme == "s3":
        bucket, _, prefix = rest.partition("/")
        return _signed(bucket, f"{prefix}/{key}" if prefix else key)
    return f"{scheme}://{rest}/{key}"


def shown(url: str) -> str:
    """An address as it may be published: without its account, and its query, which may hold a signature."""
    return without_account(url.partition("?")[0])


def unavailable(archive: str, found: str, where: str) -> InputUnavailable:
    """The error of an archive that does not give what it should."""
    return InputUnavailable(
        f"an answer of {archive}", found=found, where=shown(where),
        action="wait for the archive and run again, or name another address of it in GOMS_ARCHIVES",
    )  # fmt: skip


async def _all(asked: Sequence[Asked], archive: str, deadline_seconds: float) -> list[Part | None]:
    timeout = httpx.Timeout(min(SILENCE_SECONDS, deadline_seconds / 4), pool=None)  # time for another try
    limits = httpx.Limits(max_connections=CONNECTIONS)
    last: dict[Asked, str] = {}
    try:
        async with (
            asyncio.timeout(deadline_seconds),
            httpx.AsyncClient(timeout=timeout, limits=limits, follow_redirects=True) as client,
            asyncio.TaskGroup() as group,
        ):
            turns = asyncio.Semaphore(CONNECTIONS)
            end = asyncio.get_running_loop().time() + deadline_seconds
            tasks = [group.create_task(_patiently(client, item, archive, turns, end, last)) for item in asked]
    except* TimeoutError:
        waiting = next((item for item in asked if item in last), asked[0])
        found = f"not all of it within {deadline_seconds:g} s; last: {last.get(waiting, 'silence, or a slow drip')}"
        raise unavailable(archive, found, waiting.url) from None
    except* InputUnavailable as group_error:
        raise _first(group_error) from None
    return [task.result() for task in tasks]


def _first(group: BaseExceptionGroup[InputUnavailable]) -> InputUnavailable:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, InputUnavailable)
    return found


async def _patiently(
    client: httpx.AsyncClient, asked: Asked, archive: str, turns: asyncio.Semaphore, end: float, last: dict[Asked, str]
) -> Part | None:
    pause = FIRST_PAUSE_SECONDS
    for attempt in range(1, TRIES + 1):
        try:
            async with turns:
                return await _once(client, asked, archive)
        except NOT_PASSING as failure:
            raise unavailable(archive, _words(failure), asked.url) from failure
        except (_Passing, httpx.TransportError, httpx.DecodingError) as failure:
            last[asked] = _words(failure)
            told = failure.pause if isinstance(failure, _Passing) else None
            wait = told if told is not None else pause * random.uniform(0.5, 1.5)
            if attempt == TRIES or asyncio.get_running_loop().time() + wait > end:
                raise unavailable(archive, f"{last[asked]} ({attempt} tries)", asked.url) from failure
            await asyncio.sleep(wait)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
    raise AssertionError("unreachable: the last try raises")


async def _once(client: httpx.AsyncClient, asked: Asked, archive: str) -> Part | None:
    if "://" not in asked.url:
        return _from_folder(asked, archive)
    headers = {**dict(asked.headers), "Accept-Encoding": "identity"}
    if asked.length is not None:
        headers["Range"] = f"bytes={asked.start}-{asked.start + asked.length - 1}"
    async with client.stream("GET", asked.url, headers=headers) as response:
        if response.status_code in (404, 410):
            return None
        _check_status(response, asked, archive)
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if asked.length is not None and len(body) > asked.length:
                raise _Passing(f"more than the {asked.length} bytes asked for")
    promised = response.headers.get("content-length")
    wanted = asked.length if asked.length is not None else int(promised) if promised else len(body)
    if len(body) != wanted:
        raise _Passing(f"{len(body)} of {wanted} bytes")
    return Part(asked, bytes(body))


def _check_status(response: httpx.Response, asked: Asked, archive: str) -> None:
    status = response.status_code
    if status in PASSING:
        raise _Passing(f"HTTP {status} {response.reason_phrase}", _retry_after(response))
    if asked.length is not None and status == 200:
        raise unavailable(archive, "the whole object where a range of it was asked for", asked.url)
    if status not in (200, 206):
        raise unavailable(archive, f"HTTP {status} {response.reason_phrase}", asked.url)


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds the server asks to wait: as a number, or until a date by its own clock."""
    text = response.headers.get("retry-after", "").strip()
    if text.isdigit():
        return float(text)
    try:
        then = parsedate_to_datetime(text)
        now = parsedate_to_datetime(response.headers.get("date", ""))
    except ValueError:
        return None
    return max((_aware(then) - _aware(now)).total_seconds(), 0.0)


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _words(failure: Exception) -> str:
    return str(failure) or {"ReadTimeout": "silence", "ConnectTimeout": "no connection"}.get(
        type(failure).__name__, type(failure).__name__
    )


def _from_folder(asked: Asked, archive: str) -> Part | None:
    path = Path(asked.url)
    if not path.is_file():
        return None
    with path.open("rb") as stream:
        stream.seek(asked.start)
        data = stream.read(-1 if asked.length is None else asked.length)
    if asked.length is not None and len(data) != asked.length:
        raise unavailable(archive, f"{len(data)} of {asked.length} bytes", asked.url)
    return Part(asked, data)


def _signed(bucket: str, key: str) -> str:
    try:
        return str(_s3().generate_presigned_url("get_object", {"Bucket": bucket, "Key": key}, SIGNED_SECONDS))
    except BotoCoreError as error:
        raise unavailable("the S3 archive", str(error), f"s3://{bucket}/{key}") from error


def _s3() -> Any:
    """A client that only signs addresses: it sends nothing."""
    session = botocore.session.get_session()
    unsigned = None if session.get_credentials() else UNSIGNED
    config = Config(signature_version=unsigned or "s3v4", s3={"addressing_style": "path"})
    region = session.get_config_variable("region") or "us-east-1"
    return session.create_client("s3", region_name=region, config=config)
