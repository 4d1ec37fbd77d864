"""``goms deploy``: the deployments on a Prefect server, and the runs that a service that was down has missed."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from flows import clock, deployments, firing, submission
from pipeline import publish, systems
from pipeline.store import Store
from pipeline.systems import System


def deploy(names: Sequence[str], pool: str, image: str | None, store: str | None) -> list[str]:
    """Deploy some systems (all with a schedule where none is named); lines that say what fires when.

    ``store``: given to the deployments as a parameter; none: the worker's own ``GOMS_STORE``.
    """
    wanted = [systems.system(name) for name in names] or list(deployments.scheduled_systems())
    made = deployments.deployments(wanted)
    if store is not None:
        made = tuple(item._replace(parameters={**item.parameters, "store": store}) for item in made)
    deployments.apply(made, pool, image)
    return [firing_line(entry) for entry in wanted]


def firing_line(system: System) -> str:
    """When a system fires next, and for which cycle."""
    if system.schedule is None:
        return f"        {system.name:<17} no schedule: fired by hand"
    fires = firing.next_firing(system.schedule, clock.now())
    cycle = firing.cycle_fired(system, system.schedule, fires)
    return f"        {system.name:<17} fires next at {fires:%Y-%m-%d %H:%M} UTC, for {cycle.start:%Y-%m-%d}"


def catch_up(system: System, store: Store, *, at_once: bool) -> str | None:
    """Submit the run of the last firing, where it was missed or is wanted ``at_once``: what was done, in words.

    A service that was down over its firing makes up for it when it is up again; a published cycle is left alone.
    """
    if system.schedule is None:
        return None
    moment = clock.now()
    cycle = firing.cycle_fired(system, system.schedule, firing.last_firing(system.schedule, moment))
    late = (moment - cycle.start).total_seconds() / 3600 > system.schedule.skip_after_hours
    if publish.published(store, cycle) is not None or (late and not at_once):
        return None
    submission.submit(system.name, f"{cycle.start:%Y-%m-%d}", {"store": store.uri})
    return f"        {system.name:<17} runs now for {cycle.start:%Y-%m-%d}, which is not published"


def main(request: str) -> None:
    """What ``goms up`` asks for, in a process that has the service's environment."""
    asked: dict[str, Any] = json.loads(request)
    store = Store(asked["store"])
    lines = deploy(asked["systems"], "process", None, store.uri)
    for name in asked["systems"]:
        lines.append(catch_up(systems.system(name), store, at_once=asked["at_once"]) or "")
    print("\n".join(line for line in lines if line))


if __name__ == "__main__":
    main(sys.argv[1])
