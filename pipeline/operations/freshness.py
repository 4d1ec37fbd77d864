"""How fresh a system is: its newest forecast, every cycle that is open, and what of it will be late.

It reads the store alone. ``<store>/<system>/status.json`` is ``Freshness`` for readers: its fields and those of what it
is made of are promised to them, and hold no name of a machine, of a person or of a private place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from pipeline.cycle import Cycle, from_key
from pipeline.errors import StoreError
from pipeline.operations import headline
from pipeline.operations.durations import StageHistory, history
from pipeline.operations.expected import Promise, promised
from pipeline.operations.headline import Headline
from pipeline.operations.verdict import CLOSED, Seen, Standing, Verdict, judge, was_published
from pipeline.record import journal, judgement, lock
from pipeline.record.latest import Latest, latest, names
from pipeline.record.marks import STAGES
from pipeline.store import Store, parsed, to_json
from pipeline.systems import System

HISTORY_CYCLES = 10
"""Published cycles whose stages' durations are looked at: recent enough to be of today's code and machine."""
HISTORY_DAYS = 30
"""How far before the newest published cycle the listings begin, in days."""
MOST_OPEN = 40
"""Open cycles that are looked at, newest first: more are a backfill, which reports for itself."""
MOST_STRAY = 10
"""Cycles of no promise that were begun and have no product, newest first: run by hand, or what retention left."""
REQUESTS_AT_A_TIME = 16

Answer = TypeVar("Answer")


class Newest(BaseModel):
    """The newest published forecast."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    cycle: str = Field(description="the cycle's folder name, YYYYMMDDTHH")
    start: datetime = Field(description="start of the forecast, UTC")
    revision: int = Field(description="its newest published revision")
    prefix: str = Field(description="where it lies, relative to the store")
    age_hours: float = Field(description="hours from the forecast's start to as_of")
    published: datetime | None = Field(description="when it was published; null where its manifest is gone")
    degraded: bool = Field(description="whether it is less than the system asks for")
    degraded_reasons: tuple[str, ...] = Field(description="why, without private places; the manifest has all")


class Freshness(BaseModel):
    """How a system stands at a moment."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    version: Literal[1] = Field(default=1, description="of this document")
    system: str = Field(description="name of the forecasting system")
    as_of: datetime = Field(description="the moment all this is said of, UTC: an old one means that nobody looks")
    well: bool = Field(description="whether no cycle of it needs a person")
    scheduled: bool = Field(description="whether a schedule makes its cycles and it is in service here")
    newest: Newest | None = Field(description="null where nothing was ever published")
    cycles: tuple[Standing, ...] = Field(
        description="cycles that the schedule still makes, and open ones; newest first"
    )
    stages: tuple[StageHistory, ...] = Field(description="what each stage took in the last published cycles")

    @property
    def alarms(self) -> tuple[Standing, ...]:
        """The cycles that need a person, oldest first."""
        return tuple(standing for standing in reversed(self.cycles) if standing.alarm)


def refresh(store: Store, system: System, moment: datetime, also: Iterable[Cycle] = ()) -> Freshness:
    """Compute a system's freshness and publish it as ``status.json``; a system that never ran gets none.

    Cycles given by ``also`` are looked at again by whoever comes later, until they are published.
    """
    made = of(store, system, moment, also)
    publish(store, made)
    return made


def publish(store: Store, made: Freshness) -> None:
    """Write ``status.json``; a system that never ran gets none."""
    if made.newest is not None or made.cycles:
        store.write_bytes(path(made.system), to_json(made.model_dump(mode="json")))


def of(store: Store, system: System, moment: datetime, also: Iterable[Cycle] = ()) -> Freshness:
    """A system's freshness at a moment; costs some dozens of small requests, however many cycles there are.

    ``also``: cycles to look at wherever they lie, beside those that are promised or were begun lately.
    """
    with ThreadPoolExecutor(REQUESTS_AT_A_TIME, "freshness") as pool:
        before = pool.submit(_said_before, store, system.name)
        found = latest(store, system.name)
        first = min(moment, found.start.start if found else moment) - timedelta(days=HISTORY_DAYS)
        after = f"{first:%Y%m%dT%H}" if found else ""
        runs = pool.submit(_keys, store, f"{system.name}/runs", after)
        made = pool.submit(_keys, store, f"{system.name}/cycles", after)
        line = pool.submit(headline.headline, store, found.start, found.revision) if found else None
        newest = None if found is None or line is None else _newest(found.start, found.revision, line.result(), moment)
        past = [key for key in made.result() if newest is not None and key <= newest.cycle][-HISTORY_CYCLES:]
        journals = [pool.submit(notes, store, from_key(system.name, key)) for key in past]
        promises = _in_service(promised(system, moment), newest, {*runs.result(), *made.result()}, system)
        asked = _candidates(
            system, promises, runs.result(), made.result(), {*before.result(), *(cycle.key for cycle in also)}
        )
        seen = [pool.submit(_seen, store, item, found) for item in asked]
        stages = history(notes for notes in _results(journals) if was_published(notes))
        standings = [_judged(item, system, promises, stages, moment) for item in _results(seen)]
    return _freshness(system, moment, newest, standings, stages, scheduled=bool(promises))


def whole(made: Freshness) -> dict[str, Any]:
    """Everything, for operators: with who is at a cycle and the errors' sentences, which readers are not given."""
    content: dict[str, Any] = made.model_dump(mode="json")
    for item, standing in zip(content["cycles"], made.cycles, strict=True):
        item |= {"sentence": standing.sentence, "holder": standing.holder}
    return content


def read(store: Store, system: str) -> Freshness | None:
    """The published document, or ``None`` where there is none."""
    found = store.find(path(system))
    return None if found is None else parsed(Freshness, found.data, f"{store.uri}/{path(system)}")


def notes(store: Store, cycle: Cycle) -> tuple[journal.Note, ...]:
    """A cycle's journal for figures of many cycles; none where it is damaged: one such hides no other."""
    try:
        return journal.read(store, cycle)
    except StoreError:
        return ()


def path(system: str) -> str:
    """Where a system's ``status.json`` lies."""
    return f"{system}/status.json"


def without_places(reason: str) -> str:
    """A reason for readers: of an error's sentence what was needed and found, and no path or address."""
    sentence = re.sub(r"(needed .*?; found .*?); in .*", r"\1", reason, flags=re.DOTALL)
    return re.sub(r"(?:[\w+.-]+://|(?<!\w)[.~]{0,2}/|[\w.-]+/[\w.-]+/)[^\s'\",;)]*", "(a file)", sentence)


def stages_of(system: System) -> tuple[str, ...]:
    """The stages a cycle of a system can have, in order."""
    kinds = {ladder.kind.value for ladder in system.ladders}
    made = [stage for stage in STAGES[STAGES.index("initialise") :] if stage != "series" or system.series]
    return tuple(stage for stage in STAGES if stage in kinds or stage in made)


def _newest(start: Cycle, revision: int, line: Headline | None, moment: datetime) -> Newest:
    return Newest(
        cycle=start.key, start=start.start, revision=revision, prefix=start.revision_prefix(revision),
        age_hours=round((moment - start.start).total_seconds() / 3600, 2), published=line.created if line else None,
        degraded=line.degraded if line else True,
        degraded_reasons=tuple(without_places(item) for item in line.degraded_reasons)
        if line else ("its manifest is gone",),
    )  # fmt: skip


def _in_service(
    promises: tuple[Promise, ...], newest: Newest | None, keys: set[str], system: System
) -> tuple[Promise, ...]:
    """The promises that hold here: from the first known cycle on, where the schedule's own days were ever made.

    A store that holds hindcasts alone, or nothing, is no service: nobody promised it tomorrow's forecast.
    """
    window = {promise.cycle.key for promise in promises}
    daily = bool(window & keys)
    if newest is not None and newest.published is not None and system.schedule is not None:
        age = newest.published - newest.start
        daily = daily or age <= timedelta(hours=system.schedule.skip_after_hours)
    return tuple(promise for promise in promises if daily and promise.cycle.key >= min(keys, default=""))


def _candidates(
    system: System, promises: Iterable[Promise], runs: list[str], made: list[str], before: Iterable[str]
) -> list[Cycle]:
    """Cycles to look at, newest first: promised, begun lately, begun and without products, or open when last seen."""
    stray = sorted(set(runs) - set(made))[-MOST_STRAY:]
    keys = {promise.cycle.key for promise in promises} | set(runs[-1:]) | set(stray) | set(before)
    return [from_key(system.name, key) for key in sorted(keys, reverse=True)[:MOST_OPEN]]


def _seen(store: Store, cycle: Cycle, named: Latest | None) -> Seen:
    """What the store says of a cycle; what cannot be read is said of this cycle and hides no other.

    ``named``: what ``latest.json`` said before. It is asked again after the lock: who gave that back had named its own.
    """
    try:
        line, lease = headline.newest(store, cycle), lock.holder(store, cycle)
        unnamed = line is not None and not names(named, cycle, line.revision)
        unnamed = unnamed and line is not None and not names(latest(store, cycle.system), cycle, line.revision)
        if line is not None and not unnamed and (lease is None or lease.since <= line.created):
            return Seen(cycle, line)  # nobody has been at it since: what else is kept of it is not asked for
        notes = journal.read(store, cycle)
        if line is not None and not unnamed:
            return Seen(cycle, line, notes, lease)
        return Seen(cycle, line, notes, lease, judgement.held(store, cycle), unnamed=unnamed)
    except StoreError as error:
        return Seen(cycle, trouble=str(error))


def _judged(
    seen: Seen, system: System, promises: Iterable[Promise], stages: tuple[StageHistory, ...], moment: datetime
) -> Standing:
    promise = next((item for item in promises if item.cycle == seen.cycle), None)
    return judge(seen, promise, stages, stages_of(system), moment)


def _freshness(
    system: System, moment: datetime, newest: Newest | None, standings: list[Standing],
    stages: tuple[StageHistory, ...], *, scheduled: bool,
) -> Freshness:  # fmt: skip
    shown = [item for item in standings if item.promised or item.verdict not in CLOSED or item.verdict is Verdict.HELD
             or (item.verdict is Verdict.PUBLISHED and item.sentence)]  # fmt: skip
    return Freshness(
        system=system.name, as_of=moment, well=not any(item.alarm for item in shown), scheduled=scheduled,
        newest=newest, cycles=tuple(shown), stages=stages,
    )  # fmt: skip


def _said_before(store: Store, system: str) -> tuple[str, ...]:
    """Cycles that were told of in ``status.json``: a backfill's, or a correction's, may be older than any listing."""
    try:
        found = read(store, system)
    except StoreError:
        return ()
    return () if found is None else tuple(item.cycle for item in found.cycles)


def _keys(store: Store, prefix: str, after: str) -> list[str]:
    return [name for name in store.folders(prefix, after) if re.fullmatch(r"\d{8}T\d{2}", name)]


def _results(futures: Iterable[Future[Answer]]) -> list[Answer]:
    return [future.result() for future in futures]
