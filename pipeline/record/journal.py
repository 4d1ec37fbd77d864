"""What happened to a cycle, entry by entry, in the store: who did what, when, why, and how long it took.

Marks say what is done and decide what is done again; the journal decides nothing: people, estimates and alarms read it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from pipeline.cycle import Cycle
from pipeline.errors import StoreError
from pipeline.store import Put, Store, parsed, to_json

RACES = 20
"""Lost races after which writing an entry gives up: each loss means that somebody else wrote one."""


class Event(StrEnum):
    """What can happen to a cycle."""

    BEGUN = "begun"
    WAITING = "waiting"
    ARRIVED = "arrived"
    STAGE = "stage"
    REUSED = "reused"
    PUBLISHED = "published"
    FAILED = "failed"
    SKIPPED = "skipped"
    CLEARED = "cleared"
    SUPERSEDED = "superseded"
    HELD = "held"
    RELEASED = "released"
    COMPLETED_BY_HAND = "completed by hand"
    PINNED = "pinned"
    UNPINNED = "unpinned"
    WITHDRAWN = "withdrawn"


class Note(BaseModel):
    """One entry. ``stage``: where it happened; ``seconds`` and ``size_bytes``: what a stage took and made.

    ``peak_memory_bytes`` and ``peak_device_memory_bytes``: what its process and the accelerator needed at the most.
    ``words``: the sentence of an error or an operator's reason. ``exit_code``: of a failure. ``run``: the flow run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    when: datetime
    event: Event
    who: str
    stage: str | None = None
    seconds: float | None = None
    size_bytes: int | None = None
    peak_memory_bytes: int | None = None
    peak_device_memory_bytes: int | None = None
    words: str = ""
    exit_code: int | None = None
    run: str | None = None


class Journal(BaseModel):
    """All entries of a cycle, oldest first."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    notes: tuple[Note, ...] = ()


def note(store: Store, cycle: Cycle, entry: Note) -> None:
    """Write an entry at the journal's end, whoever else writes at the same time."""
    _change(store, cycle, lambda notes: (*notes, entry))


def read(store: Store, cycle: Cycle) -> tuple[Note, ...]:
    """Every entry, oldest first; none where nothing ever happened."""
    found = store.find(path(cycle))
    return () if found is None else parsed(Journal, found.data, f"{store.uri}/{path(cycle)}").notes


def failure(notes: tuple[Note, ...]) -> Note | None:
    """The failure a cycle stands at: the last one, unless something was begun or published after it."""
    last = next((entry for entry in reversed(notes) if entry.event in _TURNING_POINTS), None)
    return last if last is not None and last.event is Event.FAILED else None


def newest_revision(notes: tuple[Note, ...]) -> int:
    """The newest revision that was ever published, whether it is there still or was withdrawn; 0: none."""
    words = (entry.words for entry in notes if entry.event is Event.PUBLISHED)
    return max((int(said[1:]) for said in words if said[:1] == "r" and said[1:].isdigit()), default=0)


_TURNING_POINTS = (Event.FAILED, Event.BEGUN, Event.PUBLISHED)


def path(cycle: Cycle) -> str:
    """Where a cycle's journal lies."""
    return f"{cycle.run_prefix}/journal.json"


def _change(store: Store, cycle: Cycle, change: Callable[[tuple[Note, ...]], tuple[Note, ...]]) -> None:
    for _ in range(RACES):
        found = store.find(path(cycle))
        before = () if found is None else parsed(Journal, found.data, f"{store.uri}/{path(cycle)}").notes
        content = to_json(Journal(notes=change(before)).model_dump(mode="json"))
        if store.put_after(path(cycle), content, found) is Put.WON:
            return
    raise StoreError(
        f"an entry in the journal of {cycle.system} {cycle.key}", found=f"{RACES} lost races",
        where=f"{store.uri}/{path(cycle)}", action="do it again",
    )  # fmt: skip
