"""When a system's daily run fires next, and which cycle its last firing was for."""

from __future__ import annotations

from datetime import datetime, timedelta

from cronsim import CronSim

from pipeline import cycle
from pipeline.cycle import Cycle
from pipeline.systems import Schedule, System


def next_firing(schedule: Schedule, moment: datetime) -> datetime:
    """The first firing after a moment (UTC)."""
    return next(CronSim(schedule.cron, moment))


def last_firing(schedule: Schedule, moment: datetime) -> datetime:
    """The last firing up to a moment (UTC)."""
    return next(CronSim(schedule.cron, moment + timedelta(minutes=1), reverse=True))


def cycle_fired(system: System, schedule: Schedule, fired: datetime) -> Cycle:
    """The cycle that a firing is for."""
    return cycle.cycle(system.name, fired.date() - timedelta(days=schedule.days_back), system.start_hour)
