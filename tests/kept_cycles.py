"""Cycles as runs leave them in a store, without running anything: journals, leases and manifests at chosen moments."""

from __future__ import annotations

from datetime import datetime, timedelta

from pipeline.cycle import Cycle
from pipeline.record import journal, lock
from pipeline.record.journal import Event, Journal, Note
from pipeline.record.latest import advance_latest
from pipeline.record.lock import Lease
from pipeline.store import Store, to_json

HOLDER = "process 123 on ocean-01 (pid:[4026531836]), started at 456"
STAGE_SECONDS = {"ocean": 60.0, "surface": 60.0, "initialise": 60.0, "forecast": 1200.0, "publish": 120.0}
"""Seconds of each stage of a cycle here: 25 minutes in all."""


def begin(store: Store, cycle: Cycle, when: datetime, *done: str, lease_until: datetime | None = None) -> datetime:
    """A run that began and has done some stages; returns when the last was done. Its lease ends at ``lease_until``."""
    entries, clock = [Note(when=when, event=Event.BEGUN, who=HOLDER, words="r1")], when
    for stage in done:
        clock += timedelta(seconds=STAGE_SECONDS[stage])
        entries.append(Note(when=clock, event=Event.STAGE, who=HOLDER, stage=stage, seconds=STAGE_SECONDS[stage]))
    write(store, cycle, *entries)
    hold(store, cycle, when, lease_until or clock + timedelta(seconds=900))
    return clock


def hold(store: Store, cycle: Cycle, since: datetime, until: datetime, *, released: bool = False) -> None:
    """A run's lease."""
    lease = Lease(owner=HOLDER, token="t", fence=1, since=since, expires=until, released=released)
    store.write_bytes(lock.path(cycle), to_json(lease.model_dump(mode="json")))


def fail(store: Store, cycle: Cycle, when: datetime, stage: str, sentence: str, exit_code: int) -> None:
    """The run's end by an error: noted, then its cycle given back."""
    write(store, cycle, Note(when=when, event=Event.FAILED, who=HOLDER, stage=stage, words=sentence,
                             exit_code=exit_code))  # fmt: skip
    hold(store, cycle, when - timedelta(minutes=1), when, released=True)


def write(store: Store, cycle: Cycle, *entries: Note) -> None:
    """Entries at the journal's end."""
    notes = (*journal.read(store, cycle), *entries)
    store.write_bytes(journal.path(cycle), to_json(Journal(notes=notes).model_dump(mode="json")))


def show(
    store: Store, cycle: Cycle, when: datetime, *, revision: int = 1, reasons: tuple[str, ...] = ()
) -> None:  # fmt: skip
    """A manifest that was put at ``when``; ``latest.json`` does not name it."""
    manifest = {"revision": revision, "created": when.isoformat(), "degraded": bool(reasons),
                "degraded_reasons": reasons}  # fmt: skip
    store.write_json(f"{cycle.revision_prefix(revision)}/manifest.json", manifest)


def publish(store: Store, cycle: Cycle, when: datetime, *, stretch: float = 1.0, reasons: tuple[str, ...] = ()) -> None:
    """A cycle published at ``when`` by a run whose stages took ``STAGE_SECONDS`` times ``stretch``."""
    begun = when - timedelta(seconds=stretch * sum(STAGE_SECONDS.values()))
    entries, clock = [Note(when=begun, event=Event.BEGUN, who=HOLDER, words="r1")], begun
    for stage, seconds in STAGE_SECONDS.items():
        clock += timedelta(seconds=stretch * seconds)
        entries.append(Note(when=clock, event=Event.STAGE, who=HOLDER, stage=stage, seconds=stretch * seconds))
    write(store, cycle, *entries, Note(when=when, event=Event.PUBLISHED, who=HOLDER, words="r1"))
    hold(store, cycle, begun, when, released=True)
    show(store, cycle, when, reasons=reasons)
    advance_latest(store, cycle, 1)
