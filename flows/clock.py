"""The one clock: everything else is told what time it is."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from pipeline import cycle
from pipeline.cycle import Cycle
from pipeline.errors import UsageError
from pipeline.systems import System


def now() -> datetime:
    """The time, UTC."""
    return datetime.now(UTC)


def today() -> date:
    """The day, UTC."""
    return now().date()


def cycle_of(system: System, day: str) -> Cycle:
    """The cycle a person means by ``YYYY-MM-DD``, ``today`` or ``yesterday``; ``UsageError`` for anything else."""
    relative = {"today": today(), "yesterday": today() - timedelta(days=1)}
    return cycle.cycle(system.name, relative.get(day, day), system.start_hour)


def refuse_future(start: Cycle, where: str = "the DATE argument") -> None:
    """``UsageError`` where a forecast is to start on a day that has not come."""
    if start.start.date() > today():
        raise UsageError(
            "a start up to today", found=f"{start.start:%Y-%m-%d}, and today is {today()} (UTC)", where=where,
            action="type a day that has come: no later forecast could be the latest until that day",
        )  # fmt: skip


def cycle_at(system: System, day: str | None, fired: datetime) -> Cycle:
    """The cycle of a run that fired then: ``day``, relative words counted from there, or what the schedule means.

    A run that is retried keeps the moment it fired first, and with it its cycle.
    """
    back = 1 if system.schedule is None else system.schedule.days_back
    relative = {None: back, "today": 0, "yesterday": 1}
    if day in relative:
        return cycle.cycle(system.name, fired.date() - timedelta(days=relative[day]), system.start_hour)
    return cycle_of(system, str(day))
