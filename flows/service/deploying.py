"""``goms deploy``: the deployments on a Prefect server, and the runs that a service that was down has missed."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from cronsim import CronSim

from flows import clock
from flows.journey import forecasters
from flows.service import deployments, server, submission
from pipeline import cycle, publish, systems
from pipeline.addresses import from_anywhere
from pipeline.cycle import Cycle
from pipeline.operations import expected
from pipeline.record.latest import latest, names
from pipeline.store import Store
from pipeline.systems import System


def deploy(
    names: Sequence[str], pool: str, image: str | None = None, store: str | None = None, forecaster: str | None = None
) -> list[str]:
    """Deploy some systems (all with a schedule where none is named); lines that say what fires when.

    ``store`` and ``forecaster`` become parameters; none: the worker's own ``GOMS_STORE``, the pinned checkpoint.
    """
    wanted = [systems.system(name) for name in names] or list(deployments.scheduled_systems())
    made = deployments.deployments(wanted)
    if store is not None:
        made = tuple(item.with_parameters(store=from_anywhere(store)) for item in made)
    if forecaster is not None:
        asked = forecasters.from_elsewhere(forecaster)
        made = tuple(item.with_parameters(forecaster=asked) if item.takes_forecaster else item for item in made)
    with server.admitted():
        deployments.apply(made, pool, image)
    return [firing_line(entry) for entry in wanted]


def firing_line(system: System) -> str:
    """When a system fires next, and for which cycle."""
    if system.schedule is None:
        return f"        {system.name:<17} no schedule: fired by hand"
    fires = next(CronSim(system.schedule.cron, clock.now()))
    return f"        {system.name:<17} fires next at {fires:%Y-%m-%d %H:%M} UTC, for the start {_day(system, fires)}"


def catch_up(system: System, store: Store, *, at_once: bool) -> list[str]:
    """Submit the runs that fired while no service was up, oldest first: what was done, in words.

    Only cycles that the schedule still makes, none that is published and named. ``at_once``: the newest, of any age.
    """
    moment = clock.now()
    missed = [item.cycle for item in expected.promised(system, moment) if item.fires <= moment]
    if at_once and not missed and system.schedule is not None:
        fired = next(CronSim(system.schedule.cron, moment, reverse=True))
        missed = [cycle.cycle(system.name, _day(system, fired), system.start_hour)]
    lines = []
    for wanted in missed:
        lacking = _lacking(store, wanted)
        if lacking is not None:
            day = f"{wanted.start:%Y-%m-%d}"
            submission.submit(system.name, day, {"store": store.uri}, tags=("missed",))
            lines.append(f"        {system.name:<17} runs now for the start {day}, which {lacking}")
    return lines


def _lacking(store: Store, wanted: Cycle) -> str | None:
    """What a cycle lacks that a run would give it, or ``None``."""
    revision = publish.published(store, wanted)
    if revision is None:
        return "is not published"
    return None if names(latest(store, wanted.system), wanted, revision) else "latest.json does not name"


def _day(system: System, fired: datetime) -> date:
    """The day of the cycle that a firing is for."""
    return fired.date() - timedelta(days=0 if system.schedule is None else system.schedule.days_back)


def main(request: str) -> None:
    """What ``goms up`` asks for, in a process that has the service's environment."""
    asked: dict[str, Any] = json.loads(request)
    store = Store(asked["store"])
    lines = deploy(asked["systems"], "process", None, store.uri, asked["forecaster"])
    for name in asked["systems"]:
        lines += catch_up(systems.system(name), store, at_once=asked["at_once"])
    print("\n".join(lines))


if __name__ == "__main__":
    main(sys.argv[1])
