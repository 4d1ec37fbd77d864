"""What the archives have for a start, as a table, and their monthly means: ``goms sources``, ``goms climatology``."""

from __future__ import annotations

from datetime import timedelta

from rich.markup import escape
from rich.table import Table

from flows import clock
from flows.journey import sensing
from flows.journey.stages import Run
from flows.progress import progress
from flows.screen import wide
from flows.service.upkeep import CLIMATOLOGY
from pipeline import systems
from pipeline.earth import monthly_means
from pipeline.errors import UsageError
from pipeline.operations import readiness
from pipeline.operations.readiness import Readiness, RungSeen
from pipeline.settings import Settings
from pipeline.store import Store
from pipeline.variables import Kind

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
    wide(WIDTH).print(table)


def climatology(
    span: tuple[str, str], out: str, system: str, kind: str, every: int, inputs: str | None, seed: int
) -> None:  # fmt: skip
    """Build the monthly means of a kind of input from the system's archives, and say where they are."""
    settings, entry = Settings(), systems.system(system)
    if kind not in monthly_means.KINDS:
        raise UsageError("waves or biogeochemistry", found=repr(kind), where="--kind", action="choose one of them")
    of = Kind(kind)
    first, last = (clock.cycle_of(entry, day).start.date() for day in span)
    scratch = settings.scratch / CLIMATOLOGY
    scratch.mkdir(parents=True, exist_ok=True)
    take = monthly_means.taker(entry, of, inputs=inputs or settings.inputs, scratch=scratch, seed=seed,
                               archives=settings.archives)  # fmt: skip
    days = [first + timedelta(days=step) for step in range(0, (last - first).days + 1, every)]
    means = monthly_means.build(entry, of, days, take, lambda said: progress().say(escape(said)))
    path = monthly_means.save(means, out)
    progress().say(escape(f"{means.attrs['held_days']} of {len(days)} days from {means.attrs['sources']}, in {path}"))


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
