"""Asking an archive's HTTP server politely: few connections, back-off that honours Retry-After, one deadline for all.

Everything is asynchronous and ends at the deadline whatever the server does: a name that does not resolve, a
connection that hangs, headers or a body that come byte by byte. Nothing is believed before ``check`` has seen it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from types import MappingProxyType, TracebackType
from typing import NamedTuple, NoReturn, Self, TypeVar

import aiohttp
import yarl

from pipeline.errors import InputUnavailable

CONNECTIONS = 8
"""At the same time; HYCOM's server bans those who open more than ten."""
TRIES, DAMAGED_TRIES = 6, 3
"""Of one request where the server fails in a way that may pass, and where it answers something else than was asked."""
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 30.0
"""Waits double from the first to the longest, each shortened by up to a half at random."""
CONNECT_SECONDS, SILENCE_SECONDS = 30.0, 60.0
"""Longest wait for a connection, and for the next byte; never more than ``SHARE`` of the deadline."""
SHARE = 1.0 / 3.0
"""Of the deadline that one try may take, so that a slow connection is tried again."""
GRACE_SECONDS = 2.0
"""After the deadline, for cancelled requests to be put away."""
PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
GONE_STATUS = frozenset({404, 410})
MOST_BYTES = 1 << 28
AGENT = "goms (ocean forecast service)"
NO_HEADERS: Mapping[str, str] = MappingProxyType({})

Result = TypeVar("Result")
_log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """A whole answer of status 200 or 206; header names as they are, found in any case."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes | bytearray


class DamagedAnswer(Exception):
    """What arrived is not what was asked for: ``check`` raises it, and the request is made again."""


class NotThere(InputUnavailable):
    """The server answers, and has nothing of this name: another name may help, asking again does not."""


class _Passing(Exception):
    """The server failed in a way that may pass; ``wait_seconds`` where it said how long to stay away."""

    def __init__(self, words: str, wait_seconds: float | None = None) -> None:
        super().__init__(words)
        self.wait_seconds = wait_seconds


class Asking:
    """The requests of one fetch. ``moved_bytes``: of bodies so far, unpacked; ``state``: how far it is, in words."""

    def __init__(self, archive: str, deadline_seconds: float, headers: Mapping[str, str] = NO_HEADERS) -> None:
        self.archive, self.deadline_seconds = archive, deadline_seconds
        self._headers = {"User-Agent": AGENT, **headers}
        self.moved_bytes, self.state, self.last_failure = 0, "", ""
        self._gate = asyncio.Semaphore(CONNECTIONS)
        self._quiet_until = 0.0

    async def __aenter__(self) -> Self:
        self._end = _now() + self.deadline_seconds
        longest = self.deadline_seconds * SHARE
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=min(CONNECT_SECONDS, longest), sock_read=min(SILENCE_SECONDS, longest)
        )
        connector = aiohttp.TCPConnector(limit=CONNECTIONS)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=timeout, headers=self._headers, trust_env=True
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def ask(
        self, url: str, check: Callable[[Answer], Result], *, headers: Mapping[str, str] | None = None,
        most_bytes: int = MOST_BYTES,
    ) -> Result:  # fmt: skip
        """What ``check`` makes of the answer; raises ``InputUnavailable`` where there is none that it accepts."""
        failures = damages = 0
        while True:
            try:
                async with self._gate:
                    await self._quiet()
                    async with asyncio.timeout(self.deadline_seconds * SHARE):
                        return await asyncio.to_thread(check, await self._once(url, headers or {}, most_bytes))
            except DamagedAnswer as damage:
                failure, asked = str(damage), None
                damages += 1
            except _Passing as passing:
                failure, asked = str(passing), passing.wait_seconds
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                failure, asked = _words(error), None
            failures += 1
            self.last_failure = failure
            await self._back_off(url, failure, asked, failures, damages)

    async def _quiet(self) -> None:
        """Stay away for as long as the server has asked, with every connection."""
        while (wait := self._quiet_until - _now()) > 0:
            await asyncio.sleep(wait * random.uniform(1.0, 1.1))

    async def _back_off(self, url: str, failure: str, asked: float | None, failures: int, damages: int) -> None:
        """Wait before the next try, or give up."""
        longest = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** (failures - 1))
        wait = longest * random.uniform(0.5, 1.0) if asked is None else asked
        if failures >= TRIES or damages >= DAMAGED_TRIES:
            self._give_up(url, f"{failure}, {failures} times")
        if _now() + wait > self._end:
            until = f"within the {self.deadline_seconds:g} s that are given"
            again = f"asks to stay away for {wait:g} s" if asked is not None else "does not help"
            self._give_up(url, f"{failure}; asking again {until} {again}")
        _log.info("%s: %s: asked again in %.1f s", self.archive, failure, wait)
        if asked is not None:
            self._quiet_until = max(self._quiet_until, _now() + asked)
        else:
            await asyncio.sleep(wait)

    async def _once(self, url: str, headers: Mapping[str, str], most_bytes: int) -> Answer:
        async with self._session.get(_encoded(url), headers=dict(headers)) as answer:
            if answer.status in PASSING_STATUS:
                raise _Passing(f"HTTP {answer.status}", _stay_away_seconds(answer.headers))
            if answer.status not in (200, 206):
                self._refuse(url, answer.status, len(answer.history))
            body = bytearray()
            async for chunk in answer.content.iter_any():
                body += chunk
                self.moved_bytes += len(chunk)
                if len(body) > most_bytes:
                    raise DamagedAnswer(f"more than the {most_bytes} bytes that were asked for")
            return Answer(str(answer.url), answer.status, answer.headers, body)

    def _refuse(self, url: str, status: int, hops: int) -> NoReturn:
        moved = f" after {hops} redirections" if hops else ""
        if status in GONE_STATUS:
            found, action = f"HTTP {status}{moved}: not there, or moved", "look for its new address and set it"
        elif status in (401, 403):
            found, action = f"HTTP {status}{moved}: we are not let in", "check whether the archive has banned us"
        elif status == 412:
            found, action = "it replaced by another while it was read", "run again"
        else:
            found, action = f"HTTP {status}{moved}", "look at the archive's notices"
        kind = NotThere if status in GONE_STATUS else InputUnavailable
        raise kind(self.archive, found=found, where=url, action=action)

    def _give_up(self, url: str, found: str) -> NoReturn:
        state = f" ({self.state})" if self.state else ""
        raise InputUnavailable(
            self.archive, found=found + state, where=url,
            action="wait for the archive and run again: what has arrived is kept",
        )  # fmt: skip

    def too_late(self) -> InputUnavailable:
        """The deadline has passed."""
        parts = (f"not all of it within {self.deadline_seconds:g} s", self.state,
                 self.last_failure and f"last trouble: {self.last_failure}")  # fmt: skip
        return InputUnavailable(
            self.archive, found="; ".join(filter(None, parts)), where="the archive's server",
            action="run again: what has arrived is kept; or take the next source",
        )  # fmt: skip


def within_deadline(
    archive: str, deadline_seconds: float, work: Callable[[Asking], Awaitable[Result]],
    headers: Mapping[str, str] = NO_HEADERS,
) -> Result:  # fmt: skip
    """What ``work`` gives; ``InputUnavailable`` at the deadline. ``headers`` go with every request.

    It runs on a thread of its own: a resolver that hangs in the C library cannot hold the caller.
    """
    asking = Asking(archive, deadline_seconds, headers)
    thread = ThreadPoolExecutor(1, thread_name_prefix="asking")
    answer = thread.submit(lambda: asyncio.run(_limited(asking, work)))
    thread.shutdown(wait=False)
    try:
        return answer.result(deadline_seconds + GRACE_SECONDS)
    except TimeoutError as late:
        raise asking.too_late() from late


async def _limited(asking: Asking, work: Callable[[Asking], Awaitable[Result]]) -> Result:
    try:
        async with asyncio.timeout(asking.deadline_seconds), asking:
            return await work(asking)
    except TimeoutError as late:
        raise asking.too_late() from late


async def all_of(awaitables: list[Awaitable[Result]]) -> list[Result]:
    """The results in order; at the first failure the others are cancelled and it is raised."""
    tasks = [asyncio.ensure_future(item) for item in awaitables]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _now() -> float:
    """Seconds of the loop's own clock, which only deadlines are reckoned by."""
    return asyncio.get_running_loop().time()


def _encoded(url: str) -> yarl.URL:
    """The address with brackets encoded: Tomcat refuses raw ones, which OPeNDAP's questions are full of."""
    return yarl.URL(url.replace("[", "%5B").replace("]", "%5D").replace(" ", "%20"), encoded=True)


def _stay_away_seconds(headers: Mapping[str, str]) -> float | None:
    """Retry-After in seconds: a number, or a date, reckoned by the server's own clock."""
    asked = headers.get("Retry-After", "").strip()
    if asked.isdigit():
        return float(asked)
    try:
        return max(0.0, (parsedate_to_datetime(asked) - parsedate_to_datetime(headers["Date"])).total_seconds())
    except (ValueError, TypeError, KeyError):
        return None


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "the server stopped sending, or took too long"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the answer was cut short"
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no words'}"
