"""How one cycle stands at a moment: published, on time, about to miss its deadline, late, failed, held."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from pipeline.cycle import Cycle
from pipeline.errors import CycleHeld, InputUnavailable
from pipeline.operations.durations import Estimate, StageHistory, estimate
from pipeline.operations.expected import Promise
from pipeline.operations.headline import Headline
from pipeline.record.journal import Event, Note
from pipeline.record.judgement import Judgement, Kind
from pipeline.record.lock import Lease
from pipeline.record.marks import STAGES

GONE_SECONDS = 60
"""How long a run may be without a lease before it counts as dead: it notes its end after giving its cycle back."""

BEGIN_SECONDS = 3600
"""How long after the schedule's minute a cycle may lie unbegun: a worker starts in seconds, a queue takes its time."""

FAILURES = {
    3: "an input is not there",
    4: "an input is not what it says it is",
    5: "the forecast was refused",
    6: "the store failed",
}
"""What readers are told of a failure, by its exit code; the sentence itself may name private places."""


class Verdict(StrEnum):
    """How a cycle stands, in one word."""

    PUBLISHED = "published"
    EXPECTED = "expected"
    ON_TIME = "on time"
    WAITING = "waiting"
    NOT_BEGUN = "not begun"
    WILL_MISS = "will miss"
    LATE = "late"
    FAILED = "failed"
    HELD = "held"
    COMPLETE = "set complete"
    SKIPPED = "skipped"


ALARMS = (Verdict.NOT_BEGUN, Verdict.WILL_MISS, Verdict.LATE, Verdict.FAILED)
"""Verdicts that a person must hear of, where the schedule promised the cycle."""
CLOSED = (Verdict.PUBLISHED, Verdict.HELD, Verdict.COMPLETE, Verdict.SKIPPED)
"""Verdicts that end an alarm."""


class Seen(NamedTuple):
    """What the store says of a cycle.

    ``trouble``: why it could not be read. ``unnamed``: what is published of it is newer than ``latest.json`` says.
    """

    cycle: Cycle
    headline: Headline | None = None
    notes: tuple[Note, ...] = ()
    lease: Lease | None = None
    judgement: Judgement | None = None
    trouble: str = ""
    unnamed: bool = False


class Standing(BaseModel):
    """How one cycle stands. ``sentence`` and ``holder`` may name machines and paths: readers are not given them."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    cycle: str = Field(description="the cycle's folder name, YYYYMMDDTHH")
    start: datetime = Field(description="start of the forecast, UTC")
    verdict: Verdict = Field(description=", ".join(Verdict))
    words: str = Field(description="the verdict in a few words for people")
    alarm: bool = Field(description="whether somebody must act: never for ordinary lateness of an input")
    promised: bool = Field(description="whether the system's schedule makes this cycle")
    stage: str | None = Field(default=None, description="the stage it is at, or failed at")
    since: datetime | None = Field(default=None, description="since when it is at that stage, or failed there")
    begins: datetime | None = Field(default=None, description="when the schedule begins it")
    estimate: Estimate | None = Field(default=None, description="when it will be published; null: nothing to tell from")
    deadline: datetime | None = Field(default=None, description="when it must be published; null: never late")
    published: datetime | None = Field(default=None, description="when it was published")
    revision: int | None = Field(default=None, description="its newest published revision")
    degraded: bool | None = Field(default=None, description="whether what is published is less than asked for")
    exit_code: int | None = Field(default=None, description="of the failure it stands at; the README says what each is")
    sentence: str = Field(default="", exclude=True)
    holder: str | None = Field(default=None, exclude=True)

    @property
    def day(self) -> str:
        """The cycle's day as commands take it."""
        return f"{self.start:%Y-%m-%d}"


def judge(
    seen: Seen, promise: Promise | None, stages: Sequence[StageHistory], order: Sequence[str], moment: datetime
) -> Standing:
    """How a cycle stands. ``order``: the system's stages; ``promise``: what the schedule says of it, if anything."""
    case = _Case(seen, promise, stages, order, moment)
    if seen.trouble:
        return case.made(Verdict.FAILED, "its records cannot be read", sentence=seen.trouble, exit_code=6)
    if seen.headline is not None and not seen.unnamed:
        return case.published(seen.headline)
    if seen.judgement is not None:
        verdict = Verdict.HELD if seen.judgement.kind is Kind.HELD else Verdict.COMPLETE
        sentence = f"{verdict} by {seen.judgement.who}, {seen.judgement.when:%Y-%m-%d %H:%M} UTC: {seen.judgement.why}"
        return case.made(verdict, f"{verdict} by an operator", since=seen.judgement.when, sentence=sentence)
    if case.last is not None and case.last.event is Event.SKIPPED and not case.alive:
        return case.made(Verdict.SKIPPED, "left out by the schedule", since=case.last.when, sentence=case.last.words)
    if seen.headline is not None:
        return case.unnamed(seen.headline)
    if case.alive:
        return case.under_way()
    if case.last is not None and was_published((case.last,)):
        return case.made(Verdict.PUBLISHED, "published, and removed since", published=case.last.when)
    if case.last is not None and case.last.event is Event.FAILED:
        return case.failed(case.last)
    return case.not_begun() if case.last is None and seen.lease is None else case.died()


class _Case:
    """A cycle and all that its verdict depends on."""

    def __init__(
        self,
        seen: Seen,
        promise: Promise | None,
        stages: Sequence[StageHistory],
        order: Sequence[str],
        moment: datetime,
    ) -> None:
        self.seen, self.promise, self.stages, self.order, self.moment = seen, promise, stages, order, moment
        self.last = next((note for note in reversed(seen.notes) if _tells(note)), None)

    @property
    def alive(self) -> bool:
        """Whether a run is at it, or was until a moment ago and has not said yet how it ended."""
        lease = self.seen.lease
        if lease is None:
            return False
        ended = self.last is not None and self.last.event in _ENDS and self.last.when >= lease.since
        grace = timedelta(seconds=0 if ended and lease.released else GONE_SECONDS)
        return lease.expires + grace > self.moment

    def published(self, found: Headline) -> Standing:
        deadline = self.promise.deadline if self.promise else None
        late = deadline is not None and found.created > deadline
        words = f"published {in_words(found.created - deadline)} late" if late and deadline else "published"
        superseding, sentence = self._superseding(found.revision)
        return self.made(
            Verdict.PUBLISHED, words + superseding, published=found.created, revision=found.revision,
            degraded=found.degraded, sentence=sentence,
        )  # fmt: skip

    def unnamed(self, found: Headline) -> Standing:
        """It is published, and ``latest.json`` does not say so: a run that is alive is about to name it."""
        if self.alive:
            return self.under_way() if found.revision == 1 else self.published(found)
        return self.made(
            Verdict.FAILED, "published, but latest.json does not name it", stage="publish", since=found.created,
            published=found.created, revision=found.revision, degraded=found.degraded,
            sentence=f"the run of r{found.revision} ended between its manifest and latest.json: who follows "
                     "latest.json reads what was published before; run again, it is named and nothing is made anew",
        )  # fmt: skip

    def _superseding(self, revision: int) -> tuple[str, str]:
        """How the run stands that makes the next revision of a published cycle, in words and a sentence; or nothing."""
        turns = [note for note in self.seen.notes if note.event in (Event.SUPERSEDED, Event.PUBLISHED)]
        if not turns or turns[-1].event is not Event.SUPERSEDED or self.last is None:
            return "", ""
        made, why = f"; r{revision + 1}", f"r{revision + 1} is to supersede it: {turns[-1].words}"
        stage, since = self._at()
        if self.alive:
            spent = "" if since is None else f" for {in_words(self.moment - since)}"
            return f"{made} at {stage}{spent}", why
        if self.last.event is Event.FAILED:
            return f"{made} failed at {self.last.stage or stage}", f"{why}; {self.last.words}"
        return f"{made} died at {stage}", why

    def under_way(self) -> Standing:
        """A run is at it."""
        stage, since = self._at()
        holder = self.seen.lease.owner if self.seen.lease else None
        waits = self._waits()
        if waits is not None:
            stage, since = waits.stage or stage, waits.when
            return self._timed(
                f"waiting for {stage} for {in_words(self.moment - since)}", stage, since,
                estimate(self.stages, stage, None, self.moment), idle=Verdict.WAITING, holder=holder,
                sentence=waits.words,
            )  # fmt: skip
        spent = "" if since is None else f" for {in_words(self.moment - since)}"
        return self._timed(
            f"at {stage}{spent}", stage, since, estimate(self.stages, stage, since, self.moment), holder=holder,
            sentence=self._as_a_rule(stage),
        )  # fmt: skip

    def not_begun(self) -> Standing:
        """Nothing was ever done about it."""
        first, fires = self.order[0], self.promise.fires if self.promise else self.moment
        begins = max(fires, self.moment)
        expected = estimate(self.stages, first, None, begins)
        if fires > self.moment:
            return self._timed(f"begins at {fires:%H:%M}", None, None, expected, idle=Verdict.EXPECTED)
        words = f"was to begin at {fires:%H:%M} and was not"
        sentence = f"no run of it was ever begun, though the schedule was to begin it at {fires:%Y-%m-%d %H:%M} UTC"
        patient = self.moment - fires <= timedelta(seconds=BEGIN_SECONDS)
        idle = Verdict.ON_TIME if patient else Verdict.NOT_BEGUN
        return self._timed(words, None, None, expected, idle=idle, sentence=sentence)

    def failed(self, note: Note) -> Standing:
        """Its last run ended by an error. An input that is not there is no alarm while the schedule is yet to begin.

        A scheduled run waits for its inputs itself, alive: where it ended for want of one, nothing waits any more.
        """
        stage = note.stage or self.order[0]
        again = estimate(self.stages, stage, None, self.moment)
        absent = note.exit_code == InputUnavailable.exit_code
        if absent and self.promise is not None and self.moment < self.promise.fires:
            return self._timed(
                f"waits for an input at {stage}", stage, note.when, again, idle=Verdict.WAITING, sentence=note.words,
                exit_code=note.exit_code,
            )  # fmt: skip
        words = f"{FAILURES.get(note.exit_code or 1, 'a fault in goms')} at {stage}"
        return self.made(
            Verdict.FAILED, words, stage=stage, since=note.when, estimate=again, sentence=note.words,
            exit_code=note.exit_code,
        )  # fmt: skip

    def died(self) -> Standing:
        """A run was at it and is no more, and said nothing."""
        stage, since = self._at()
        lease, gone = self.seen.lease, ""
        if lease is not None:
            gone = f", and the lease of {lease.owner} ended at {lease.expires:%Y-%m-%d %H:%M} UTC"
        return self.made(
            Verdict.FAILED, f"the run died at {stage}", stage=stage, since=since,
            estimate=estimate(self.stages, stage, None, self.moment),
            sentence=f"the run ended at {stage} without a word{gone}: killed, out of memory, or its machine lost",
        )  # fmt: skip

    def made(self, verdict: Verdict, words: str, **details: object) -> Standing:
        """The standing, with what the schedule says."""
        alarm = verdict in ALARMS and self.promise is not None
        return Standing.model_validate(
            {
                "cycle": self.seen.cycle.key,
                "start": self.seen.cycle.start,
                "verdict": verdict,
                "words": words,
                "alarm": alarm,
                "promised": self.promise is not None,
                "begins": self.promise.fires if self.promise else None,
                "deadline": self.promise.deadline if self.promise else None,
                **details,
            }
        )

    def _as_a_rule(self, stage: str) -> str:
        """What a stage took in the past."""
        past = next((item for item in self.stages if item.stage == stage), None)
        if past is None:
            return ""
        worst = in_words(timedelta(seconds=past.median_seconds + past.spread_seconds))
        return (
            f"{stage} took {in_words(timedelta(seconds=past.median_seconds))} in the last {past.cycles} cycles that "
            f"did it, {worst} at the most but one in ten"
        )

    def _timed(
        self, words: str, stage: str | None, since: datetime | None, expected: Estimate | None,
        idle: Verdict = Verdict.ON_TIME, **details: object,
    ) -> Standing:  # fmt: skip
        """By the clock: late, about to be, or else ``idle``."""
        verdict, deadline = idle, self.promise.deadline if self.promise else None
        if deadline is not None and self.moment > deadline:
            verdict, words = Verdict.LATE, f"{words}; {in_words(self.moment - deadline)} late"
        elif deadline is not None and expected is not None and expected.latest > deadline:
            verdict = Verdict.WILL_MISS
        return self.made(verdict, words, stage=stage, since=since, estimate=expected, **details)

    def _waits(self) -> Note | None:
        """The entry that says what the run has been waiting for since, if that is what it does."""
        turns = (Event.BEGUN, Event.ARRIVED, *_DONE)
        wait: Note | None = None
        for note in self.seen.notes:
            if note.event is Event.WAITING:
                wait = note.model_copy(update={"when": wait.when if wait is not None else note.when})
            elif note.event in turns:
                wait = None
        return wait

    def _at(self) -> tuple[str, datetime | None]:
        """The stage a begun cycle is at, and since when: the one after the last that was done."""
        done = [note for note in _since_cleared(self.seen.notes) if note.event in _DONE and note.stage in self.order]
        place = max((self.order.index(note.stage or "") for note in done), default=-1)
        stage = self.order[min(place + 1, len(self.order) - 1)]
        signs = [note.when for note in self.seen.notes if note.event in (Event.BEGUN, Event.ARRIVED, *_DONE)]
        since = signs[-1] if signs else (self.seen.lease.since if self.seen.lease else None)
        return stage, since


_DONE = (Event.STAGE, Event.REUSED)
_ENDS = (Event.FAILED, Event.SKIPPED, Event.PUBLISHED)


def _tells(note: Note) -> bool:
    """Whether the entry says where the cycle's last run stands; a run that found it held says nothing of it.

    A stage that was done after a failure says that the run went on without what had failed.
    """
    refused = note.event is Event.FAILED and note.exit_code == CycleHeld.exit_code
    return note.event in (Event.BEGUN, *_DONE, *_ENDS) and not refused


def was_published(notes: Sequence[Note]) -> bool:
    """Whether a journal is that of a cycle that was published."""
    return any(note.event is Event.PUBLISHED or (note.event in _DONE and note.stage == "publish") for note in notes)


def _since_cleared(notes: Sequence[Note]) -> tuple[Note, ...]:
    """What was done and still counts: a cleared stage and those after it are to be done again."""
    kept = list[Note]()
    for note in notes:
        if note.event is Event.SUPERSEDED:
            kept.clear()
        elif note.event is Event.CLEARED:
            place = STAGES.index(note.stage) if note.stage in STAGES else 0
            kept = [item for item in kept if item.stage in STAGES and STAGES.index(item.stage) < place]
        kept.append(note)
    return tuple(kept)


def in_words(age: timedelta) -> str:
    """``40 s``, ``40 min``, ``5 h 40 min``, from a day on ``31 h``, and from three days on ``4 d``."""
    seconds = age.total_seconds()
    if seconds < 100:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours < 2:
        return f"{60 * hours + minutes} min"
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{seconds / 3600:.0f} h" if hours < 72 else f"{seconds / 86400:.0f} d"
