"""What the archives have for a start, at a moment, and what follows: ready, wait, take a lower rung, or give up.

It looks and moves no field. Until ``ready_by`` only the first rung that is expected, or one above it, will do; from
then on the highest that is ready; from ``give_up`` on nothing is waited for. What is there and cannot be read is not
passed over: a lower rung would hide a fault that a person must see.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from pipeline.errors import InputUnavailable, UsageError
from pipeline.intake import FIRST, Asked, Choice
from pipeline.sources import SOURCES, Request, Sighting, Source, in_order
from pipeline.sources.netcdf import closed_after
from pipeline.systems import Ladder, Rung
from pipeline.variables import Kind

FIRST_PAUSE_SECONDS, GROWTH, LONGEST_PAUSE_SECONDS = 30.0, 1.5, 600.0
"""Pauses between looks: what comes is seen within ten minutes, at some 20 looks a night."""
SPREAD = 0.2
"""Pauses vary by this share at random, so that services do not ask an archive in step."""


class Verdict(StrEnum):
    """What follows from what the rungs have."""

    READY = "ready"
    WAIT = "waiting"
    TAKE = "take a lower rung"
    LOOK = "for a person to look at"
    GIVE_UP = "give up"


class RungSeen(BaseModel):
    """One rung as it was found. ``age_hours``: the start minus the newest instant held, where that is known."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    number: int
    source: str
    expected: bool = True
    ready: bool
    refused: bool
    newest: datetime | None
    age_hours: float | None
    usual_age: bool
    how: str
    words: str


class Readiness(BaseModel):
    """One kind of input at a moment. ``rung``: the one to take; ``until``: when to have decided, where it waits."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Kind
    required: bool
    expected: datetime
    ready_by: datetime
    give_up: datetime
    rungs: tuple[RungSeen, ...]
    verdict: Verdict
    rung: int | None
    until: datetime | None
    words: str

    @property
    def choice(self) -> Choice:
        """The rung to enter the ladder at; where nothing was found the first, so that the ladder itself says why."""
        passed = "; ".join(f"{seen.source}: {seen.words}" for seen in self.rungs[: self.rung or 0] if seen.expected)
        if not self.rung or not passed:
            return FIRST
        return Choice(self.rung, f"not there by {self.ready_by:%Y-%m-%d %H:%M} UTC ({passed})")


def look(
    asked: Asked, moment: datetime, *, every: bool = False, wait: bool = True, store: str | None = None,
    sources: Mapping[str, Source] = SOURCES,
) -> Readiness:  # fmt: skip
    """One kind of input at a moment (aware). ``every``: look at all rungs, else at those the verdict needs.

    ``wait``: False for who will not: it is then as if the times to be ready by had passed.
    """
    ladder = asked.system.ladder(asked.kind)
    if ladder is None:
        raise UsageError(
            f"a ladder for {asked.kind}", found="none", where=f"system {asked.system.name}", action="ask for another"
        )
    start = asked.cycle.start
    expected, ready_by, give_up = (start + timedelta(hours=hours) for hours in (
        ladder.expected_by_hours, ladder.ready_by_hours, ladder.give_up_hours))  # fmt: skip
    patient = wait and moment < ready_by
    seen = tuple(_seen(asked, ladder, every or not patient, store, sources))
    verdict, rung, until = _decided(seen, patient, give_up if wait and moment < give_up else None, ready_by)
    return Readiness(
        kind=asked.kind, required=ladder.required, expected=expected, ready_by=ready_by, give_up=give_up, rungs=seen,
        verdict=verdict, rung=rung, until=until, words=_words(verdict, rung, until, seen, ladder),
    )  # fmt: skip


def pauses(generator: random.Random) -> Iterator[float]:
    """Seconds between looks, growing."""
    pause = FIRST_PAUSE_SECONDS
    while True:
        yield pause * (1.0 + SPREAD * (2.0 * generator.random() - 1.0))
        pause = min(pause * GROWTH, LONGEST_PAUSE_SECONDS)


def _seen(
    asked: Asked, ladder: Ladder, beyond: bool, store: str | None, sources: Mapping[str, Source]
) -> Iterator[RungSeen]:
    """The rungs from the first down: to the first that is expected, or all where ``beyond``."""
    for number, rung in enumerate(in_order(ladder, asked.inputs, sources)):
        sighting = _sighted(asked, rung, store, sources)
        age = None if sighting.newest is None else (asked.cycle.start - sighting.newest).total_seconds() / 3600
        usual = age is not None and 0 < age <= rung.usual_age_days * 24
        yield RungSeen(
            number=number, source=rung.source, expected=rung.expected, ready=sighting.ready, refused=sighting.refused,
            newest=sighting.newest, age_hours=age, usual_age=usual, how=sighting.how, words=sighting.words,
        )  # fmt: skip
        if not beyond and rung.expected:
            return


@closed_after()
def _sighted(asked: Asked, rung: Rung, store: str | None, sources: Mapping[str, Source]) -> Sighting:
    if rung.source not in sources:
        return Sighting(False, None, "the list of sources", f"no source is called {rung.source}")
    wanted = Kind.SURFACE if asked.kind is Kind.FORCING else asked.kind
    request = Request(
        asked.kind, asked.cycle.start.astimezone(UTC), tuple(entry.name for entry in asked.system.variables_of(wanted)),
        asked.system.depths_m, asked.system.grid_of(asked.kind), asked.inputs, asked.scratch, asked.seed,
        rung.maximum_age_days, archives=asked.archives, cache=asked.cache, system=asked.system.name, store=store,
    )  # fmt: skip
    try:
        return sources[rung.source].look(request)
    except InputUnavailable as absence:
        return Sighting(False, None, "an answer that failed", f"{rung.source}: {absence.found}")


def _decided(
    seen: tuple[RungSeen, ...], patient: bool, give_up: datetime | None, ready_by: datetime
) -> tuple[Verdict, int | None, datetime | None]:
    """The verdict, the rung, and until when to wait. ``give_up``: ``None`` where that has passed."""
    waited_for = next((place for place, rung in enumerate(seen) if rung.expected), len(seen) - 1)
    best = next((rung for rung in seen[: waited_for + 1] if rung.ready), None)
    if best is not None and not any(rung.refused for rung in seen[: best.number]):
        return Verdict.READY, best.number, None
    if patient:
        return Verdict.WAIT, None, ready_by
    found = next((rung for rung in seen if rung.ready or rung.refused), None)
    if found is None:
        return (Verdict.GIVE_UP, None, None) if give_up is None else (Verdict.WAIT, None, give_up)
    return (Verdict.LOOK if found.refused else Verdict.TAKE), found.number, None


def _words(
    verdict: Verdict, rung: int | None, until: datetime | None, seen: tuple[RungSeen, ...], ladder: Ladder
) -> str:
    lacking = seen[: len(seen) if rung is None else rung]
    missing = "; ".join(item.words for item in lacking if item.expected) or "; ".join(item.words for item in lacking)
    if verdict is Verdict.WAIT:
        assert until is not None
        return f"waiting until {until:%Y-%m-%d %H:%M} UTC: {missing}"
    if verdict is Verdict.GIVE_UP:
        end = "the forecast is not made" if ladder.required else "its product is left out"
        return f"given up, {end}: {missing}"
    assert rung is not None
    found = seen[rung]
    if verdict is Verdict.LOOK:
        return f"rung {rung}, {found.source}, is there and cannot be used: {found.words}"
    age = f", {found.age_hours:g} h old{' as is usual' if found.usual_age else ''}" if found.age_hours else ""
    return f"ready{age}" if verdict is Verdict.READY else f"take rung {rung}, {found.source}{age}, because {missing}"
