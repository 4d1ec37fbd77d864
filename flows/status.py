"""What ``goms status`` shows: per system what is published, how old it is, what it lacks, and what is being made."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.clock import now
from pipeline import lock, marks, publish, systems
from pipeline.cycle import Cycle, from_key
from pipeline.latest import latest
from pipeline.settings import Settings
from pipeline.store import Store
from pipeline.systems import System


class Standing(NamedTuple):
    """How a system stands. ``cycle`` and the rest are empty where nothing was ever published."""

    system: str
    cycle: str
    age: str
    degraded: tuple[str, ...]
    under_way: tuple[str, ...]


def show(system: str | None, store: str | None) -> None:
    """Print a table of the systems' standings."""
    wanted = [systems.system(system)] if system else list(systems.SYSTEMS)
    opened, moment = Store(store or Settings().store), now()
    table = Table(title=f"{opened.uri} at {moment:%Y-%m-%d %H:%M} UTC", title_justify="left")
    for heading in ("system", "latest", "start's age", "degraded", "being made"):
        table.add_column(heading, overflow="fold")
    for entry in wanted:
        standing = standing_of(opened, entry, moment)
        degraded = "\n".join(standing.degraded) or ("no" if standing.cycle else "")
        cells = (entry.name, standing.cycle or "nothing", standing.age, degraded, "\n".join(standing.under_way))
        table.add_row(*(escape(cell) for cell in cells))
    Console().print(table)


def standing_of(store: Store, system: System, moment: datetime) -> Standing:
    """How a system stands at a moment."""
    newest, under_way = latest(store, system.name), tuple(_under_way(store, system, moment))
    if newest is None:
        return Standing(system.name, "", "", (), under_way)
    manifest = publish.read_manifest(store, newest.start, newest.revision)
    reasons = manifest.degraded_reasons if manifest else ("its manifest is gone",)
    age = age_in_words(moment - newest.start.start)
    return Standing(system.name, f"{newest.cycle} r{newest.revision}", age, reasons, under_way)


def age_in_words(age: timedelta) -> str:
    """``31 h``, and from three days on ``4 d``."""
    hours = age.total_seconds() / 3600
    return f"{hours:.0f} h" if hours < 72 else f"{hours / 24:.0f} d"


def _under_way(store: Store, system: System, moment: datetime) -> list[str]:
    """Cycles that have private state and are not published: who is at them, and the last stage done."""
    found = []
    for key in store.folders(f"{system.name}/runs"):
        cycle = from_key(system.name, key)
        lease = lock.holder(store, cycle)
        if publish.published(store, cycle) is None and lease is not None:
            alive = not lease.released and lease.expires > moment
            found.append(f"{key} {_last_stage(store, cycle)}, {'by ' + lease.owner if alive else 'given up'}")
    return found


def _last_stage(store: Store, cycle: Cycle) -> str:
    done = [stage for stage in marks.STAGES if marks.recorded(store, cycle, stage) is not None]
    return f"after {done[-1]}" if done else "begun"
