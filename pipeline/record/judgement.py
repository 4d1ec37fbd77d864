"""What an operator decided about a cycle: hold it, count it as complete, go on without a stage. Who, when and why."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from pipeline.cycle import Cycle
from pipeline.errors import CycleHeld, UsageError
from pipeline.record import journal
from pipeline.record.journal import Event, Note
from pipeline.store import Store, parsed, to_json

OPTIONAL_STAGES = ("waves", "biogeochemistry", "forcing", "quicklooks", "series")
"""Stages a forecast can be published without: their product is left out and the manifest says why. Without ``forcing``,
which has no product, no weather forecast is used: the forcing relaxes, and the products say why."""


class Kind(StrEnum):
    """``HELD``: not to be run until released. ``COMPLETE``: not to be run nor missed, whatever is there."""

    HELD = "held"
    COMPLETE = "complete"


class Judgement(BaseModel):
    """One decision."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Kind
    who: str
    when: datetime
    why: str


class Judgements(BaseModel):
    """The decisions in force on a cycle: on all of it, and on stages to be left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    cycle: Judgement | None = None
    stages: dict[str, Judgement] = {}


def judgements(store: Store, cycle: Cycle) -> Judgements:
    """The decisions in force; empty where there are none."""
    found = store.find(path(cycle))
    return Judgements() if found is None else parsed(Judgements, found.data, f"{store.uri}/{path(cycle)}")


def held(store: Store, cycle: Cycle) -> Judgement | None:
    """The decision that keeps a cycle from being run, if there is one."""
    return judgements(store, cycle).cycle


def judge(store: Store, cycle: Cycle, judgement: Judgement, stage: str | None = None) -> None:
    """Put a decision on a cycle, or on one of its optional stages (complete: go on without it)."""
    if stage is not None and stage not in OPTIONAL_STAGES:
        raise UsageError(
            f"a stage that a forecast can do without: {', '.join(OPTIONAL_STAGES)}", found=repr(stage),
            where="--stage", action="every product is made from the others: mend what keeps it from running",
        )  # fmt: skip
    there = judgements(store, cycle)
    if stage is None:
        made = there.model_copy(update={"cycle": judgement})
    else:
        made = there.model_copy(update={"stages": {**there.stages, stage: judgement}})
    store.write_bytes(path(cycle), to_json(made.model_dump(mode="json")))
    event = Event.HELD if judgement.kind is Kind.HELD else Event.COMPLETED_BY_HAND
    journal.note(store, cycle, Note(when=judgement.when, event=event, who=judgement.who, stage=stage,
                                    words=judgement.why))  # fmt: skip


def release(store: Store, cycle: Cycle, *, who: str, when: datetime, why: str) -> None:
    """Lift every decision on a cycle; ``UsageError`` where there is none."""
    if judgements(store, cycle) == Judgements():
        raise UsageError(
            f"a decision on cycle {cycle.key} of system {cycle.system}", found="none in force", where=path(cycle),
            action="nothing to release: goms stages says how the cycle stands",
        )  # fmt: skip
    store.delete(path(cycle))
    journal.note(store, cycle, Note(when=when, event=Event.RELEASED, who=who, words=why))


def refuse_if_held(store: Store, cycle: Cycle) -> None:
    """``CycleHeld`` (exit 7) where an operator's decision keeps the cycle from being run."""
    found = held(store, cycle)
    if found is not None:
        state = "held" if found.kind is Kind.HELD else "set complete"
        raise CycleHeld(
            f"cycle {cycle.key} of system {cycle.system} free to run",
            found=f"it {state} by {found.who} since {found.when:%Y-%m-%d %H:%M} UTC: {found.why}", where=path(cycle),
            action=f"goms release {cycle.start:%Y-%m-%d} --system {cycle.system} --reason ..., then run again",
        )  # fmt: skip


def path(cycle: Cycle) -> str:
    """Where the decisions on a cycle lie."""
    return f"{cycle.run_prefix}/judgement.json"
