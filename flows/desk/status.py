"""What ``goms status`` shows: how fresh each system is, and of each open cycle where it is, how long, what to type."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from flows.clock import now
from pipeline import systems
from pipeline.errors import CheckFailed
from pipeline.operations import alerts, freshness, said
from pipeline.operations.durations import Estimate
from pipeline.operations.freshness import Freshness
from pipeline.operations.verdict import ALARMS, Standing, Verdict, in_words
from pipeline.settings import Settings
from pipeline.store import Store
from pipeline.systems import System

STORE_SECONDS = 10.0
"""Patience with a store that does not answer: a person waits."""
SILENT_LOOKS_SECONDS = 1800
"""A watch that has not looked for this long is silent: it looks every five minutes unless told otherwise."""
COLOURS = {Verdict.PUBLISHED: "green", Verdict.WAITING: "yellow", Verdict.HELD: "yellow", Verdict.SKIPPED: "yellow",
           **dict.fromkeys(ALARMS, "bold red")}  # fmt: skip


def show(system: str | None, store: str | None, as_json: bool = False) -> None:
    """Print how the systems stand: those in the store, or the one that is asked for."""
    opened, moment = Store(store or Settings().store, patience_seconds=STORE_SECONDS), now()
    there = opened.folders("")
    wanted = [systems.system(system)] if system else [entry for entry in systems.SYSTEMS if entry.name in there]
    found, damaged = list[tuple[Freshness, datetime | None]](), dict[str, CheckFailed]()
    with ThreadPoolExecutor(len(systems.SYSTEMS)) as pool:
        looks = {entry.name: pool.submit(_look, opened, entry, moment) for entry in wanted}
    for name, look in looks.items():
        try:
            found.append(look.result())
        except CheckFailed as error:  # of this system alone: the others are shown
            damaged[name] = error
    if as_json:
        print(json.dumps([freshness.whole(made) for made, _ in found], indent=1, ensure_ascii=False))
    else:
        absent = [] if system else [entry.name for entry in systems.SYSTEMS if entry not in wanted]
        Console(highlight=False).print(page(opened.uri, moment, found, absent, damaged))
    if damaged:
        raise next(iter(damaged.values()))


def page(
    uri: str, moment: datetime, found: Sequence[tuple[Freshness, datetime | None]], absent: Sequence[str],
    damaged: Iterable[str] = (),
) -> RenderableType:  # fmt: skip
    """The whole answer: what needs somebody comes first. ``damaged``: systems of which something cannot be read."""
    ordered = sorted(found, key=lambda pair: pair[0].well)
    parts: list[RenderableType] = [f"[bold]{escape(uri)}[/] at {moment:%a %Y-%m-%d %H:%M} UTC"]
    parts += [f"\n[bold]{name}[/]  [bold red]NEEDS SOMEBODY: what is kept of it cannot be read (#store)[/]"
              for name in damaged]  # fmt: skip
    for made, looked in ordered:
        parts += ["", *_system(made, looked)]
    if absent:
        parts += ["", f"nothing was ever made of {', '.join(absent)}"]
    return Group(*parts)


def _system(made: Freshness, looked: datetime | None) -> Iterable[RenderableType]:
    alarms = made.alarms
    state = (
        "[green]all well[/]"
        if made.well
        else f"[bold red]{len(alarms)} {'NEEDS' if len(alarms) == 1 else 'NEED'} SOMEBODY[/]"
    )
    yield f"[bold]{made.system}[/]  {state}{_watched(made, looked)}"
    yield Padding(_newest(made), (0, 0, 0, 2))
    if made.cycles:
        yield Padding(_table(made), (0, 0, 0, 2))
    if made.stages:
        yield Padding(f"[dim]{_took(made)}[/]", (0, 0, 0, 2))
    for standing in made.cycles:
        yield from _details(made.system, standing)


def _watched(made: Freshness, looked: datetime | None) -> str:
    if not made.scheduled:
        return "  [dim]run by hand: nothing of it is promised[/]"
    if looked is None:
        return "  [yellow]nobody watches it: goms watch[/]"
    age = made.as_of - looked
    silent = age.total_seconds() > SILENT_LOOKS_SECONDS
    return f"  [bold red]the watch is silent since {looked:%a %H:%M} (#watch-silent)[/]" if silent else ""


def _newest(made: Freshness) -> str:
    found = made.newest
    if found is None:
        return "nothing is published"
    when = f", published {found.published:%a %H:%M}" if found.published else ""
    lines = [f"newest: {found.start:%Y-%m-%d %H} UTC r{found.revision}, {_age(found.age_hours)} old{when}"]
    lines += [f"[yellow]degraded:[/] {escape(reason)}" for reason in found.degraded_reasons]
    return "\n".join(lines)


def _took(made: Freshness) -> str:
    """What the estimates are made of."""
    parts = [f"{item.stage} {_short(item.median_seconds)} +{_short(item.spread_seconds)}" for item in made.stages]
    cycles = max(item.cycles for item in made.stages)
    return f"from {cycles} cycles, median and up to nine in ten: {', '.join(parts)}"


def _short(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _table(made: Freshness) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in ("cycle", "verdict", "stage", "since", "published by", "due"):
        table.add_column(heading, no_wrap=True, header_style="dim")
    for standing in made.cycles:
        colour = COLOURS.get(standing.verdict, "default")
        table.add_row(
            f"{standing.start:%Y-%m-%d %H}", f"[{colour}]{_verdict(standing)}[/]", standing.stage or "",
            _clock(standing.since, made.as_of), _published(standing, made.as_of), _clock(standing.deadline, made.as_of),
        )  # fmt: skip
    return table


def _verdict(standing: Standing) -> str:
    loud = standing.alarm or standing.verdict is Verdict.FAILED
    if standing.verdict is Verdict.EXPECTED and standing.begins is not None:
        return f"expected at {standing.begins:%H:%M}"
    return standing.verdict.upper() if loud else str(standing.verdict)


def _published(standing: Standing, moment: datetime) -> str:
    if standing.published is not None:
        return _clock(standing.published, moment)
    return "" if standing.estimate is None else _estimated(standing.estimate, moment)


def _estimated(found: Estimate, moment: datetime) -> str:
    """``06:43 +2 min``: when, and how much later at the worst but one in ten."""
    spread = math.ceil((found.latest - found.likely).total_seconds() / 60)
    return f"~{_clock(found.likely, moment)} +{spread} min"


def _details(system: str, standing: Standing) -> Iterable[RenderableType]:
    """Under the table, for cycles that need more than a line: why, who, what to type."""
    if standing.verdict in (Verdict.PUBLISHED, Verdict.EXPECTED) and not standing.sentence:
        return
    lines = [f"[bold]{standing.day}[/] {escape(standing.words)}"]
    if standing.holder:
        lines.append(f"[dim]at it:[/] {escape(standing.holder)}")
    if standing.sentence:
        lines.append(escape(standing.sentence))
    if standing.alarm or standing.verdict in (Verdict.FAILED, Verdict.WAITING):
        alert = alerts.alarm(system, standing, now(), Settings().runbook)
        lines += [f"[dim]type[/] [bold]{alert.command}[/]", f"[dim]look[/] {alert.look}",
                  f"[dim]read[/] {escape(alert.runbook)}"]  # fmt: skip
    yield Padding("\n".join(lines), (1, 0, 0, 2))


def _clock(when: datetime | None, moment: datetime) -> str:
    """``06:43`` today, ``Sun 06:43`` within the week, else the date."""
    if when is None:
        return ""
    if when.date() == moment.date():
        return f"{when:%H:%M}"
    return f"{when:%a %H:%M}" if abs((when - moment).days) < 6 else f"{when:%m-%d %H:%M}"


def _age(hours: float) -> str:
    return in_words(timedelta(hours=hours))


def _look(store: Store, system: System, moment: datetime) -> tuple[Freshness, datetime | None]:
    """How a system stands, and when a watch looked at it last."""
    return freshness.of(store, system, moment), said.recall(store, system.name).looked
