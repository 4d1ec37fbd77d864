"""What readers follow: ``latest.json``, which moves only forward, by conditional put."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from pipeline.cycle import Cycle, from_key
from pipeline.errors import StoreError
from pipeline.store import Put, Store, parsed, to_json

RACES = 20
"""Lost races after which moving ``latest`` gives up: each loss means that another run moved it."""


class Latest(BaseModel):
    """The newest published cycle of a system, its revision, and where they are relative to the store."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    system: str
    cycle: str
    revision: int
    prefix: str

    @property
    def start(self) -> Cycle:
        """The cycle."""
        return from_key(self.system, self.cycle)


def latest(store: Store, system: str) -> Latest | None:
    """The newest published cycle, or ``None`` where nothing was ever published."""
    found = store.find(path(system))
    return None if found is None else parsed(Latest, found.data, f"{store.uri}/{path(system)}")


def advance_latest(store: Store, cycle: Cycle, revision: int) -> bool:
    """Move ``latest`` to this cycle and revision, unless it is there or further on: whether this call moved it."""
    wanted = Latest(system=cycle.system, cycle=cycle.key, revision=revision, prefix=cycle.revision_prefix(revision))
    content = to_json(wanted.model_dump(mode="json"))
    for _ in range(RACES):
        found = store.find(path(cycle.system))
        if found is not None:
            there = parsed(Latest, found.data, f"{store.uri}/{path(cycle.system)}")
            if names(there, cycle, revision):
                return False
        if store.put_after(path(cycle.system), content, found) is Put.WON:
            return True
    raise StoreError(
        f"latest of system {cycle.system} moved to {cycle.key}", found=f"{RACES} lost races",
        where=f"{store.uri}/{path(cycle.system)}", action="run again: the cycle is published already",
    )  # fmt: skip


def names(found: Latest | None, cycle: Cycle, revision: int) -> bool:
    """Whether ``latest``, as it was found, names this revision of a cycle or is further on."""
    return found is not None and (found.start.start, found.revision) >= (cycle.start, revision)


def path(system: str) -> str:
    """Where a system's ``latest.json`` lies."""
    return f"{system}/latest.json"
