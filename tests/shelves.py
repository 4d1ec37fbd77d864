"""Stores for the tests of retention: cycles that look published, unfinished or held, made of a few small objects."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from small_ocean import SYSTEM

from pipeline.cycle import Cycle
from pipeline.record import journal, lock
from pipeline.record.journal import Event, Note
from pipeline.record.latest import advance_latest
from pipeline.record.lock import Lease
from pipeline.store import Store, to_json
from pipeline.systems import Retention, System

MOMENT = datetime(2024, 6, 30, 3, 17, tzinfo=UTC)
POLICY = Retention(keep_days=10.0, keep_newest=2, replaced_days=3.0, reading_hours=12.0, abandoned_hours=48.0,
                   records_days=60.0)  # fmt: skip
SMALL = SYSTEM.model_copy(update={"retention": POLICY})


def system(**policy: Any) -> System:
    """The small system with another policy."""
    return SMALL.model_copy(update={"retention": POLICY.model_copy(update=policy)})


def days_ago(days: float, system_name: str = SMALL.name) -> Cycle:
    """The cycle that started some days before the moment, at 12 UTC."""
    start = (MOMENT - timedelta(days=days)).replace(hour=12, minute=0)
    return Cycle(system_name, start)


def published(
    store: Store, cycle: Cycle, *, revision: int = 1, after_hours: float = 10.0, degraded: bool = False,
    move_latest: bool = True, products: Sequence[str] = ("ocean", "waves"),
) -> None:  # fmt: skip
    """An edition whose manifest was written some hours after the cycle's start."""
    created, prefix = cycle.start + timedelta(hours=after_hours), cycle.revision_prefix(revision)
    objects = [store.write_bytes(f"{prefix}/{name}.zarr/c/{lead}", bytes(100)) for name in products for lead in (0, 1)]
    cut = len(prefix) + 1
    records = [item.model_copy(update={"path": item.path[cut:]}).model_dump() for item in objects]
    head = {"created": created.isoformat(), "degraded": degraded, "objects": records}
    store.write_json(f"{prefix}/manifest.json", head)
    noted(store, cycle, Event.PUBLISHED, created)
    if move_latest:
        advance_latest(store, cycle, revision)


def unfinished(store: Store, cycle: Cycle, *, after_hours: float = 1.0, revision: int = 1) -> None:
    """What a run that was killed leaves: objects without a manifest, staged and restart state, a mark, its lock."""
    last = cycle.start + timedelta(hours=after_hours)
    store.write_bytes(f"{cycle.revision_prefix(revision)}/ocean.zarr/c/0", bytes(50))
    for name in ("staged/ocean.npz", f"restart/r{revision}/state.json", "marks/ocean.json"):
        store.write_bytes(f"{cycle.run_prefix}/{name}", bytes(10))
    noted(store, cycle, Event.BEGUN, last)
    locked(store, cycle, since=last, expires=last + timedelta(minutes=15))


def locked(store: Store, cycle: Cycle, *, since: datetime, expires: datetime) -> None:
    """A run's lease."""
    lease = Lease(owner="process 1 on elsewhere", token="t", fence=1, since=since, expires=expires)
    store.write_bytes(lock.path(cycle), to_json(lease.model_dump(mode="json")))


def noted(store: Store, cycle: Cycle, event: Event, when: datetime) -> None:
    """An entry in the cycle's journal."""
    journal.note(store, cycle, Note(when=when, event=event, who="test"))


def holder(store: Store, moment: datetime = MOMENT) -> Any:
    """How housekeeping holds a cycle here."""

    @contextmanager
    def hold(cycle: Cycle):  # type: ignore[no-untyped-def]
        with lock.hold(store, cycle, "housekeeping", 900, lambda: moment):
            yield store

    def held(cycle: Cycle) -> AbstractContextManager[Store]:
        return hold(cycle)

    return held
