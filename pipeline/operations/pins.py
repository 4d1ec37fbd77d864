"""Cycles that are kept whatever their age: who pinned them, when, and why."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from pipeline import publish
from pipeline.cycle import Cycle
from pipeline.errors import StoreError, UsageError
from pipeline.record import journal
from pipeline.record.journal import Event, Note
from pipeline.store import Store, parsed


class Pin(BaseModel):
    """Why a cycle is kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    who: str
    when: datetime
    why: str


def pin(store: Store, cycle: Cycle, made: Pin) -> None:
    """Keep a published cycle until it is unpinned.

    ``StoreError`` where nothing is published, ``UsageError`` without a reason.
    """
    if not made.why.strip():
        raise UsageError("a reason", found="none", where="--reason", action="say who needs this cycle and for what")
    if publish.published(store, cycle) is None:
        raise StoreError(
            f"a published forecast of {cycle.system} {cycle.key} to pin", found="none", where=f"the store {store.uri}",
            action=f"nothing to keep: run it first (goms run {cycle.start:%Y-%m-%d} --system {cycle.system})",
        )  # fmt: skip
    store.write_json(path(cycle), made.model_dump(mode="json"))
    journal.note(store, cycle, Note(when=made.when, event=Event.PINNED, who=made.who, words=made.why))


def unpin(store: Store, cycle: Cycle, *, who: str, when: datetime) -> None:
    """Let a cycle grow old again; ``UsageError`` where it is not pinned."""
    found = pinned(store, cycle)
    if found is None:
        raise UsageError(
            f"a pin on cycle {cycle.key} of system {cycle.system}", found="none", where=path(cycle),
            action="nothing to undo: goms housekeeping shows what is pinned",
        )  # fmt: skip
    store.delete(path(cycle))
    words = f"was pinned by {found.who} since {found.when:%Y-%m-%d %H:%M} UTC: {found.why}"
    journal.note(store, cycle, Note(when=when, event=Event.UNPINNED, who=who, words=words))


def pinned(store: Store, cycle: Cycle) -> Pin | None:
    """The pin on a cycle, or ``None``."""
    found = store.find(path(cycle))
    return None if found is None else parsed(Pin, found.data, f"{store.uri}/{path(cycle)}")


def path(cycle: Cycle) -> str:
    """Where a cycle's pin lies."""
    return f"{cycle.run_prefix}/pin.json"
