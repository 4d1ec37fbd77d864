"""A published edition at a glance: the few words of its manifest that say how fresh and how whole it is."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from pipeline.cycle import Cycle
from pipeline.store import Store, parsed


class Headline(BaseModel):
    """What of a manifest is read where the rest does not matter; the rest is not even looked at."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    revision: int
    created: datetime
    degraded: bool
    degraded_reasons: tuple[str, ...]


def headline(store: Store, cycle: Cycle, revision: int) -> Headline | None:
    """The headline of a revision, or ``None`` where it is not published."""
    path = f"{cycle.revision_prefix(revision)}/manifest.json"
    found = store.find(path)
    return None if found is None else parsed(Headline, found.data, f"{store.uri}/{path}")


def newest(store: Store, cycle: Cycle) -> Headline | None:
    """The headline of the newest published revision of a cycle, or ``None`` where none is published."""
    names = [name for name in store.folders(cycle.published_prefix) if name[:1] == "r" and name[1:].isdigit()]
    for revision in sorted((int(name[1:]) for name in names), reverse=True):
        found = headline(store, cycle, revision)
        if found is not None:
            return found
    return None
