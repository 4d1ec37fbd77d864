"""What is past its time goes, in the store and in the scratch folder; what takes the room; pins: done and said."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from rich.markup import escape
from rich.table import Table

from flows import clock
from flows.journey import holding
from flows.progress import PROGRESS, Progress, left_out, progress, readable
from flows.screen import say, wide
from pipeline import systems
from pipeline.errors import StoreError
from pipeline.objects.slab_cache import SlabCache
from pipeline.operations import pins, retention
from pipeline.operations.pins import Pin
from pipeline.operations.retention import Done, Kept, Plan, Removal
from pipeline.operations.storage import Storage, beside, storage
from pipeline.readers import catalogue, view
from pipeline.record.lock import Owned
from pipeline.settings import Settings
from pipeline.store import Store
from pipeline.systems import System

LARGEST = 5
"""Cycles that the storage report names."""
LOGS, ARCHIVE, CLIMATOLOGY, DATABASES = "logs", "archive", "climatology", "prefect"
"""Folders of the scratch folder: each cycle's log lines, what archives and monthly means are made from, and the
databases of commands that bring their own Prefect, a folder ``run-...`` each, which one that is killed leaves."""
SCORES = "scores"
"""Folder of a system's scratch folder: what verification measures by. Something comes into it every day."""


class Tended(NamedTuple):
    """What housekeeping planned for a system and what it did; ``done`` is ``None`` where it only planned."""

    plan: Plan
    done: Done | None
    swept: tuple[Path, ...]


class Scraps(NamedTuple):
    """What is past its time and is no system's: bytes of fetched slabs; puts that never ended, each with its bytes."""

    slabs_bytes: int = 0
    puts: tuple[tuple[str, int], ...] = ()

    @property
    def size_bytes(self) -> int:
        """All of it."""
        return self.slabs_bytes + sum(size for _, size in self.puts)


class Tending(NamedTuple):
    """What was planned or done of each system and of what is no system's; ``failed``: why not all of it."""

    systems: tuple[Tended, ...]
    scraps: Scraps | None
    failed: StoreError | None

    @property
    def freed_bytes(self) -> int:
        """Bytes that are free by it, or would be."""
        scraps = self.scraps.size_bytes if self.scraps else 0
        return scraps + sum((item.done or item.plan).freed_bytes for item in self.systems)

    @property
    def things(self) -> int:
        """How much was removed, or would be, but for slabs, of which bytes are told alone."""
        puts = len(self.scraps.puts) if self.scraps else 0
        return puts + sum(len(item.done.removed if item.done else item.plan.removals) for item in self.systems)


def tend(entry: System, store: Store, *, apply: bool) -> Tended:
    """Plan a system's housekeeping and, where asked to, do it."""
    moment, settings = clock.now(), Settings()
    plan = retention.plan(store, entry, moment)
    if not apply:
        return Tended(plan, None, ())
    swept = tuple(sweep(settings.scratch, entry, moment))
    done = retention.apply(store, plan, holding.this_process(), held(store, settings.lease_seconds))
    catalogue.refresh(store, entry, left_out(f"the catalogue of {entry.name}"))
    view.refresh(store, entry, left_out(f"the page of {entry.name}"))
    progress().say(
        f"housekeeping of {entry.name}: {len(done.removed)} removed, {readable(done.freed_bytes)} freed, "
        f"{len(plan.kept) + len(done.kept)} kept, {len(swept)} files or folders of scratch removed"
    )
    return Tended(plan, done, swept)


def held(store: Store, lease_seconds: float) -> Callable[[Owned], AbstractContextManager[Store]]:
    """How housekeeping holds a cycle or the scores: as a run does, so that no run is at it meanwhile."""

    @contextmanager
    def hold(cycle: Owned) -> Iterator[Store]:
        with holding.holding(store, cycle, lease_seconds):
            yield holding.opened(store.uri)

    return hold


def tend_all(store: Store, system: str | None, *, apply: bool) -> Tending:
    """Housekeeping of one system, or of the whole store; what fails does not keep the rest from its turn.

    First goes what needs no lock: a full disk has no room for one.
    """
    scraps, tended, failed = None, list[Tended](), list[StoreError]()
    if system is None:
        try:
            scraps = tend_scraps(store, apply=apply)
        except StoreError as error:
            failed.append(error)
    for entry in wanted_systems(system):
        try:
            tended.append(tend(entry, store, apply=apply))
        except StoreError as error:
            failed.append(error)
    return Tending(tuple(tended), scraps, failed[0] if failed else None)


def tend_scraps(store: Store, *, apply: bool) -> Scraps:
    """What is past its time and is no system's; removed where asked to."""
    moment, kept = clock.now(), timedelta(days=Settings().cache_days)
    abandoned = max(entry.retention.abandoned_hours for entry in systems.SYSTEMS)
    puts, cache = tuple(store.leftovers(moment - timedelta(hours=abandoned))), SlabCache(store, moment)
    if not apply:
        return Scraps(sum(cache.outdated(moment, kept).values()), puts)
    for name, _ in puts:
        store.forget(name)
    return Scraps(cache.prune(moment, kept), puts)


def sweep(scratch: Path, entry: System, moment: datetime) -> Iterator[Path]:
    """Remove what commands left in the scratch folder, and a system's logs when its journals have gone too.

    A cycle's folder goes whole; of those that are always in use goes what is old in them.
    """
    abandoned = moment - timedelta(hours=entry.retention.abandoned_hours)
    for folder in (scratch / entry.name, scratch / ARCHIVE):
        yield from _older(folder, abandoned)
    for folder in (scratch / entry.name / SCORES, scratch / CLIMATOLOGY):
        yield from _older(folder, abandoned, inside=True)
    yield from _older(scratch / DATABASES, abandoned, "run-*")
    yield from _older(scratch / LOGS / entry.name, moment - timedelta(days=entry.retention.records_days))


def wanted_systems(system: str | None) -> tuple[System, ...]:
    """One system by its name, or all."""
    return (systems.system(system),) if system else systems.SYSTEMS


def _older(folder: Path, before: datetime, names: str = "*", *, inside: bool = False) -> Iterator[Path]:
    """Remove what nothing was written to since; ``inside``: also what is so in a folder that is not."""
    for path in sorted(folder.glob(names)):
        try:
            if _newest(path) < before.timestamp():
                _remove(path)
                yield path
            elif inside and path.is_dir():
                yield from _older(path, before, inside=True)
        except FileNotFoundError:
            continue  # somebody else is at it: it is young
        except OSError as error:
            progress().say(f"[yellow]left in the scratch folder[/]: {escape(str(error))}")


def _newest(path: Path) -> float:
    """When something was last written to a file, or to a folder or anything in it."""
    return max(item.lstat().st_mtime for item in (path, *path.rglob("*")))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def housekeeping(system: str | None, store: str | None, *, apply: bool) -> None:
    """Print each system's plan, and do it where asked to."""
    PROGRESS.set(Progress())
    opened = Store(store or Settings().store)
    tending = tend_all(opened, system, apply=apply)
    for tended in tending.systems:
        if tended.plan.removals:
            wide().print(plan_table(tended.plan, tended.done))
        else:
            say(f"{tended.plan.system}: nothing is past its time, {len(tended.plan.kept)} kept")
        for item in tended.plan.kept:
            if item.revision is None:
                say(f"kept: {item.cycle}: {item.why}")
        for item in tended.done.kept if tended.done else ():
            say(f"not removed after all: {item.cycle}: {item.why}")
    if tending.scraps is not None:
        what = "freed" if apply else "would be freed"
        stale, puts = tending.scraps.slabs_bytes, tending.scraps.puts
        say(f"slabs fetched more than {Settings().cache_days:g} days ago: {readable(stale)} {what}")
        if puts:
            say(f"puts that never ended: {len(puts)}, {readable(sum(size for _, size in puts))} {what}")
    if tending.failed is not None:
        raise tending.failed
    if not apply:
        say("nothing was removed: goms housekeeping --apply removes what is said here")


def plan_table(plan: Plan, done: Done | None) -> Table:
    """What goes and why, and in the last line what stays."""
    verb = "to be removed" if done is None else "removed"
    table = Table(title=f"{plan.system} at {plan.moment:%Y-%m-%d %H:%M} UTC: {verb}", title_justify="left")
    for heading in ("cycle", "what", "why", "objects", "bytes"):
        table.add_column(heading, justify="right" if heading in ("objects", "bytes") else "left", overflow="fold")
    shown = plan.removals if done is None else done.removed
    for item in shown:
        table.add_row(_named(item), item.what.value, escape(item.why), str(item.objects), readable(item.size_bytes))
    table.add_section()
    freed = plan.freed_bytes if done is None else done.freed_bytes
    table.add_row("", f"{len(shown)} in all", f"{len(plan.kept)} kept", "", readable(freed))
    return table


def show_storage(system: str | None, store: str | None) -> None:
    """Print what takes the room."""
    opened, moment = Store(store or Settings().store), clock.now()
    for entry in wanted_systems(system):
        found = storage(opened, entry, moment)
        if found.total.objects:
            wide().print(storage_table(found))
            for key, room in found.cycles[:LARGEST]:
                say(f"  {key}  {readable(room.size_bytes):>9}  {room.objects} objects")
        else:
            say(f"{entry.name}: nothing")
    if system is None:
        for what, room in beside(opened, [entry.name for entry in systems.SYSTEMS], moment).items():
            say(f"{what}: {readable(room.size_bytes)} in {room.objects} objects")


def storage_table(found: Storage) -> Table:
    """Bytes and objects by product and class of age."""
    total = found.total
    title = f"{found.system}: {readable(total.size_bytes)} in {total.objects} objects"
    table = Table(title=title, title_justify="left")
    for heading in ("part", "start's age", "objects", "bytes"):
        table.add_column(heading, justify="right" if heading in ("objects", "bytes") else "left")
    for (part, age), room in found.parts.items():
        table.add_row(part, age, str(room.objects), readable(room.size_bytes))
    return table


def pin(day: str, system: str, store: str | None, why: str) -> None:
    """Keep a cycle whatever its age."""
    opened, cycle = Store(store or Settings().store), clock.cycle_of(systems.system(system), day)
    made = Pin(who=holding.this_person(), when=clock.now(), why=why.strip())
    pins.pin(opened, cycle, made)
    say(f"{system} {cycle.key}: pinned by {made.who}: {made.why}")


def unpin(day: str, system: str, store: str | None) -> None:
    """Let a cycle grow old again."""
    opened, cycle = Store(store or Settings().store), clock.cycle_of(systems.system(system), day)
    pins.unpin(opened, cycle, who=holding.this_person(), when=clock.now())
    say(f"{system} {cycle.key}: unpinned")


def _named(item: Removal | Kept) -> str:
    return item.cycle if item.revision is None else f"{item.cycle} r{item.revision}"
