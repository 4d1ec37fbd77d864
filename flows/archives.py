"""What the archives have for a start, as a table: ``goms sources DATE``."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows import clock, sensing
from flows.stages import Run
from pipeline import readiness, systems
from pipeline.readiness import Readiness, RungSeen
from pipeline.settings import Settings
from pipeline.store import Store

WIDTH = 160
"""Columns of the table where there is no terminal."""


def show(day: str, system: str, inputs: str | None, store: str | None, seed: int) -> None:
    """Print a row for each rung of each kind of input, and under each kind what follows from them."""
    settings, entry = Settings(), systems.system(system)
    run = Run(system=system, cycle=clock.cycle_of(entry, day).key, store=Store(store or settings.store).uri,
              inputs=inputs or settings.inputs, seed=seed)  # fmt: skip
    moment = clock.now()
    table = Table(title=f"{system} {run.cycle}: the archives at {moment:%Y-%m-%d %H:%M} UTC", title_justify="left")
    for heading in ("input", "rung", "source", "has", "age", "how it was checked", "what was found"):
        table.add_column(heading, overflow="fold")
    for ladder in entry.ladders:
        found = readiness.look(sensing.asked(run, ladder.kind), moment, every=True, store=run.store)
        _add(table, found)
    screen = Console(highlight=False)
    (screen if screen.is_terminal else Console(highlight=False, width=WIDTH)).print(table)


def _add(table: Table, found: Readiness) -> None:
    for rung in found.rungs:
        name = found.kind.value if rung.number == 0 else ""
        table.add_row(name, str(rung.number), *(escape(cell) for cell in _cells(rung)))
    times = f"expected {found.expected:%d %H:%M}, ready by {found.ready_by:%d %H:%M}, given up {found.give_up:%d %H:%M}"
    times = times if found.expected < found.give_up else "nothing is waited for"
    table.add_row("", "", escape(f"[{found.verdict}]"), "", "", times, escape(found.words), end_section=True)


def _cells(rung: RungSeen) -> tuple[str, ...]:
    has = (
        ("no" if rung.expected else "no (ordinary)")
        if not rung.ready
        else "yes"
        if rung.newest is None
        else f"{rung.newest:%Y-%m-%d %HZ}"
    )
    if rung.refused:
        has = "unreadable"
    age = "" if rung.age_hours is None else f"{rung.age_hours:g} h{' (usual)' if rung.usual_age else ''}"
    return rung.source, has, age, rung.how, rung.words
