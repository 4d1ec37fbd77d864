"""What takes how much room in a store: by system, product and age."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from pipeline.cycle import from_key
from pipeline.objects import slab_cache
from pipeline.record.shelf import is_key
from pipeline.store import Store
from pipeline.systems import System

AGES = (("to 7 days", 7.0), ("to 35 days", 35.0), ("older", float("inf")))
"""Classes of age, by the start of the cycle, and where each ends in days."""
NO_AGE = ""
"""The class of what belongs to no cycle."""
SLABS, UNFINISHED, NO_SYSTEM = "slabs fetched", "puts that have not ended", "of no known system"
"""What lies in a store and is no system's."""


class Room(NamedTuple):
    """Bytes and objects."""

    size_bytes: int = 0
    objects: int = 0

    def plus(self, size_bytes: int) -> Room:
        """With one object more."""
        return Room(self.size_bytes + size_bytes, self.objects + 1)


class Storage(NamedTuple):
    """What a system takes. ``parts``: by part and class of age. ``cycles``: by cycle, the largest first."""

    system: str
    parts: dict[tuple[str, str], Room]
    cycles: tuple[tuple[str, Room], ...]

    @property
    def total(self) -> Room:
        """Everything."""
        rooms = self.parts.values()
        return Room(sum(room.size_bytes for room in rooms), sum(room.objects for room in rooms))


def storage(store: Store, system: System, moment: datetime) -> Storage:
    """List everything a system has: takes as long as its objects are many."""
    parts, cycles = defaultdict[tuple[str, str], Room](Room), defaultdict[str, Room](Room)
    for path, size in store.objects(system.name):
        key = _cycle(path)
        place = (part(path), _age(system.name, key, moment))
        parts[place] = parts[place].plus(size)
        cycles[key] = cycles[key].plus(size)
    cycles.pop("", None)
    largest = sorted(cycles.items(), key=lambda item: (-item[1].size_bytes, item[0]))
    return Storage(system.name, dict(sorted(parts.items())), tuple(largest))


def beside(store: Store, known: Iterable[str], moment: datetime) -> dict[str, Room]:
    """What lies in a store beside the systems that are known, by what it is; what there is nothing of is left out."""
    rooms = {SLABS: store.objects(slab_cache.PREFIX), UNFINISHED: store.leftovers(moment)}
    for folder in store.folders(""):
        if folder not in known:
            rooms[f"{folder}/, {NO_SYSTEM}"] = [
                (path, size) for path, size in store.objects(folder) if not path.startswith(f"{slab_cache.PREFIX}/")
            ]
    return {what: Room(sum(size for _, size in found), len(found)) for what, found in rooms.items() if found}


def part(path: str) -> str:
    """What an object belongs to: a product's name, ``quicklooks``, ``state``, ``scores``, or ``other``."""
    words = path.split("/")[1:]
    if words[0] in ("runs", "scores"):
        return {"runs": "state", "scores": "scores"}[words[0]]
    if words[0] != "cycles" or len(words) < 4:
        return "other"
    return words[3].removesuffix(".zarr") if len(words) > 4 else "other"


def _cycle(path: str) -> str:
    words = path.split("/")
    kept = len(words) > 3 and words[1] in ("cycles", "runs", "scores") and is_key(words[2])
    return words[2] if kept else ""


def _age(system: str, key: str, moment: datetime) -> str:
    if not key:
        return NO_AGE
    age = moment - from_key(system, key).start
    return next(name for name, days in AGES if days == float("inf") or age < timedelta(days=days))
