"""Which cycles a system's schedule promises at a moment: when each is to begin and by when it must be published."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from cronsim import CronSim

from pipeline.cycle import Cycle, cycle
from pipeline.systems import System


class Promise(NamedTuple):
    """A cycle that the schedule makes: when its run fires, and when it must be published at the latest."""

    cycle: Cycle
    fires: datetime
    deadline: datetime


def promised(system: System, moment: datetime) -> tuple[Promise, ...]:
    """Cycles that the schedule still makes at a moment, oldest first, up to the next one to fire.

    One that started ``skip_after_hours`` ago is not made any more. A system without a schedule promises nothing.
    """
    if system.schedule is None:
        return ()
    oldest, found = moment - timedelta(hours=system.schedule.skip_after_hours), list[Promise]()
    for promise in _from(system, oldest):
        if promise.cycle.start > oldest:
            found.append(promise)
        if promise.fires > moment:
            break
    return tuple(found)


def _from(system: System, moment: datetime) -> Iterator[Promise]:
    """The promises whose run fires at or after a moment."""
    schedule = system.schedule
    if schedule is None:
        return
    for fires in CronSim(schedule.cron, moment - timedelta(minutes=1)):
        day = fires.date() - timedelta(days=schedule.days_back)
        made = cycle(system.name, day, system.start_hour)
        yield Promise(made, fires, made.start + timedelta(hours=schedule.publish_by_hours))
