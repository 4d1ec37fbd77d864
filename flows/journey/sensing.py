"""Waits for a cycle's inputs: looks cheaply, with growing pauses, until the first rung is there or its time is up.

A run by hand looks once and waits for nothing; only runs within ``waiting()`` wait.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime

from rich.markup import escape

from flows import clock
from flows.journey import stages
from flows.journey.holding import alive
from flows.journey.stages import Run
from flows.progress import progress
from pipeline.intake import FIRST, Asked, Choice
from pipeline.objects.slab_cache import SlabCache
from pipeline.operations import readiness
from pipeline.operations.readiness import Readiness, Verdict
from pipeline.record import marks
from pipeline.record.journal import Event
from pipeline.settings import Settings
from pipeline.variables import Kind

WAITING: ContextVar[bool] = ContextVar("waiting", default=False)
"""Whether the run that is going on may wait for its inputs."""


@contextmanager
def waiting() -> Iterator[None]:
    """Runs within the block wait for their inputs until the times of their system's ladders."""
    token = WAITING.set(True)
    try:
        yield
    finally:
        WAITING.reset(token)


def asked(run: Run, kind: Kind) -> Asked:
    """What a run takes in of a kind, with what the machine's settings say."""
    cache = SlabCache(run.opened, clock.now())
    return Asked(run.of, run.start, kind, run.inputs, run.scratch, run.seed, Settings().archives, cache)


def rung_for(run: Run, kind: Kind, pause: Callable[[float], None] = time.sleep) -> Choice:
    """The rung that a kind of input is taken from, and why not a higher one; waits for it where the run may.

    What has been taken in already is not looked for again; the weather of the days to come is never waited for.
    """
    if kind is Kind.FORCING or marks.recorded(run.opened, run.start, kind.value) is not None:
        return FIRST
    wait = WAITING.get()
    waits = list[str]()

    def told(words: str) -> None:
        waits.append(words)
        stages.note(run, Event.WAITING, stage=kind.value, words=words)

    found = sensed(
        lambda moment: readiness.look(asked(run, kind), moment, wait=wait, store=run.store), pause=pause, told=told,
        permitted=lambda: stages.permitted(run),
    )  # fmt: skip
    if waits:
        stages.note(run, Event.ARRIVED, stage=kind.value, words=found.words)
    if found.verdict is not Verdict.READY:
        progress().say(f"[yellow]{kind.value}[/]: {escape(found.words)}")
    return found.choice


def sensed(
    look: Callable[[datetime], Readiness], now: Callable[[], datetime] = clock.now,
    pause: Callable[[float], None] = time.sleep, generator: random.Random | None = None,
    told: Callable[[str], None] = lambda words: None, permitted: Callable[[], None] = alive,
) -> Readiness:  # fmt: skip
    """Look, and while the answer is to wait pause and look again; the last look is at the deadline itself.

    ``told`` hears what is waited for, when that changes; ``permitted`` raises where the run must not go on.
    """
    seconds, said = readiness.pauses(generator or random.Random()), ""
    while True:
        found = look(now())
        if found.verdict is not Verdict.WAIT or found.until is None:
            return found
        if found.words != said:
            said = found.words
            told(said)
            progress().say(f"[yellow]waiting[/] for {found.kind.value}: {escape(said)}")
        permitted()
        pause(max(0.0, min(next(seconds), (found.until - now()).total_seconds())))
