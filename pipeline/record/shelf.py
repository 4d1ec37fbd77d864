"""What a store holds of each cycle, looked at cheaply: editions, private state, the last sign of life."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.cycle import Cycle, from_key
from pipeline.edition import MANIFEST
from pipeline.errors import StoreError
from pipeline.record import journal, lock
from pipeline.store import ObjectRecord, Store

WORKERS = 8
"""Cycles looked at together: hides the way to an S3 server, which is most of the time."""
_KEY = re.compile(r"\d{8}T\d{2}")
_REVISION = re.compile(r"r\d+")

Found = TypeVar("Found")


class Shelf(NamedTuple):
    """What there is of one cycle.

    ``editions``: revisions that have objects, and whether readers see them (they have a manifest). ``private``: path
    and bytes of every object of its private state. ``scored``: whether it has scores.
    """

    cycle: Cycle
    editions: Mapping[int, bool]
    private: Mapping[str, int]
    scored: bool

    @property
    def published(self) -> int | None:
        """The newest revision that readers see."""
        return max((revision for revision, whole in self.editions.items() if whole), default=None)


class Head(BaseModel):
    """What housekeeping needs to know of a manifest, whichever version of the code wrote it."""

    model_config = ConfigDict(frozen=True)
    created: datetime
    degraded: bool
    objects: tuple[ObjectRecord, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of the edition without its manifest."""
        return sum(item.size_bytes for item in self.objects)


class Signs(NamedTuple):
    """Signs of life of a cycle's runs.

    ``last``: when there was one last. ``holder``: who holds the cycle now. ``withdrawn``: whether its edition was
    taken from readers' sight as the last thing that happened. ``fault``: why it cannot be said.
    """

    last: datetime
    holder: str | None = None
    withdrawn: bool = False
    fault: str | None = None


def shelves(store: Store, system: str) -> list[Shelf]:
    """Every cycle of a system there is anything of, oldest first. Names that are no cycle are left alone."""
    scored = set(store.folders(f"{system}/scores"))
    names = scored.union(*(store.folders(f"{system}/{part}") for part in ("cycles", "runs")))
    cycles = [from_key(system, name) for name in sorted(names) if _KEY.fullmatch(name)]
    return side_by_side(lambda cycle: look(store, cycle, scored=cycle.key in scored), cycles)


def look(store: Store, cycle: Cycle, *, scored: bool) -> Shelf:
    """What there is of one cycle."""
    names = [name for name in store.folders(cycle.published_prefix) if _REVISION.fullmatch(name)]
    seen = {int(name[1:]): store.exists(manifest_path(cycle, int(name[1:]))) for name in names}
    there = {number: whole for number, whole in seen.items()
             if whole or store.objects(cycle.revision_prefix(number))}  # some servers list empty folders  # fmt: skip
    return Shelf(cycle, there, dict(store.objects(cycle.run_prefix)), scored)


def newest_revision(store: Store, cycle: Cycle) -> int | None:
    """The newest revision that readers see, or ``None``."""
    names = (name for name in store.folders(cycle.published_prefix) if _REVISION.fullmatch(name))
    for number in sorted((int(name[1:]) for name in names), reverse=True):
        if store.exists(manifest_path(cycle, number)):
            return number
    return None


def is_key(name: str) -> bool:
    """Whether a folder's name is a cycle's."""
    return _KEY.fullmatch(name) is not None


def manifest_path(cycle: Cycle, revision: int) -> str:
    """Where the object lies that makes a revision exist for readers."""
    return f"{cycle.revision_prefix(revision)}/{MANIFEST}"


def head(store: Store, cycle: Cycle, revision: int) -> Head | None:
    """What a manifest says, or ``None`` where it cannot be read."""
    found = store.find(manifest_path(cycle, revision))
    try:
        return None if found is None else Head.model_validate_json(found.data)
    except ValidationError:
        return None


def signs(store: Store, shelf: Shelf, moment: datetime) -> Signs:
    """When a cycle last gave a sign of life; without lock and journal its start counts."""
    cycle, last, withdrawn = shelf.cycle, shelf.cycle.start, False
    try:
        notes = journal.read(store, cycle) if journal.path(cycle) in shelf.private else ()
        lease = lock.holder(store, cycle) if lock.path(cycle) in shelf.private else None
    except StoreError as error:
        return Signs(moment, fault=str(error))
    if notes:
        last, withdrawn = notes[-1].when, notes[-1].event is journal.Event.WITHDRAWN
    if lease is not None:
        if not lease.released and lease.expires > moment:
            return Signs(moment, holder=lease.owner)
        last = max(last, lease.expires)
    return Signs(last, withdrawn=withdrawn)


def side_by_side(what: Callable[[Cycle], Found], cycles: Iterable[Cycle]) -> list[Found]:
    """What a function says of each cycle, several at a time, in the order of the cycles."""
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="shelf") as pool:
        return list(pool.map(what, cycles))
