"""The flows that deployments run: the day a schedule means, and how each ending looks to the person on call."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows import clock
from flows.journey import daily as journey
from flows.journey import sensing
from flows.journey.holding import this_process
from flows.service import artifacts, notify, runlog, scoring
from flows.service import backfill as filled
from flows.service.deployments import DEGRADED, HELD, SKIPPED
from models.errors import ModelError
from pipeline import publish, systems
from pipeline.cycle import Cycle
from pipeline.errors import CycleHeld, GomsError
from pipeline.record import journal
from pipeline.record.journal import Event, Note
from pipeline.settings import Settings
from pipeline.store import Store
from pipeline.systems import System


@flow(name="daily", persist_result=False, log_prints=False, on_failure=[notify.failed], on_crashed=[notify.failed])
@runlog.faults_kept()
def daily(
    system: str = "twin",
    day: str | None = None,
    inputs: str | None = None,
    store: str | None = None,
    forecaster: str = "checkpoint",
    seed: int = 0,
) -> State[Any]:
    """Forecast, check and publish one cycle; a published one is left as it is, a killed one gone on with.

    Args:
        system: The forecasting system.
        day: The cycle's start (YYYY-MM-DD, today, yesterday); none: the one that the schedule means.
        inputs: Folder or URL of the archives' files; none: GOMS_INPUTS of the worker.
        store: Where to publish; none: GOMS_STORE of the worker.
        forecaster: checkpoint (the system's own), persistence, or a checkpoint's folder.
        seed: Of the twin ocean.
    """
    runlog.begin()
    try:
        entry, opened = systems.system(system), Store(store or Settings().store)
        fired = runtime.flow_run.scheduled_start_time
        cycle = clock.cycle_at(entry, day, fired)
        artifacts.announce(cycle)
    except GomsError as error:
        return Failed(message=str(error))
    late = too_late(entry, cycle, clock.now()) if day is None else None
    if late is not None and publish.published(opened, cycle) is None:
        journal.note(opened, cycle, Note(when=clock.now(), event=Event.SKIPPED, who=this_process(), words=late,
                                         run=str(runtime.flow_run.id)))  # fmt: skip
        return Completed(name=SKIPPED, message=late)
    with sensing.waiting():
        return _made(opened, cycle, lambda: journey.daily.fn(
            f"{cycle.start:%Y-%m-%d}", system, inputs, store, forecaster, seed))  # fmt: skip


def _made(store: Store, cycle: Cycle, make: Any) -> State[Any]:
    """Run the journey and say how it ended, as a state and an artifact."""
    try:
        outcome = make()
    except CycleHeld as error:
        return Completed(name=HELD, message=str(error))
    except (GomsError, ModelError) as error:
        artifacts.failed(store, cycle, error)
        return Failed(message=str(error))
    artifacts.published(store, cycle, outcome.manifest)
    revision = f"r{outcome.run.revision}"
    if not outcome.new:
        return Completed(message=f"{revision} was published before: nothing to do")
    if outcome.manifest.degraded:
        return Completed(name=DEGRADED, message=f"published {revision}, degraded: "
                         + "; ".join(outcome.manifest.degraded_reasons))  # fmt: skip
    return Completed(message=f"published {revision}: {', '.join(outcome.manifest.products)}")


@flow(name="verification", flow_run_name="verify {system}", persist_result=False)
@runlog.faults_kept()
def verification(
    system: str = "twin",
    leads: list[int] | None = None,
    inputs: str | None = None,
    store: str | None = None,
    seed: int = 0,
) -> State[Any]:
    """Score every published forecast at each lead day that has come to pass since it was scored last.

    Args:
        system: The forecasting system.
        leads: Lead days to score; none: every one.
        inputs: Folder or URL of the archives' files; none: GOMS_INPUTS of the worker.
        store: Where the forecasts are; none: GOMS_STORE of the worker.
        seed: Of the twin ocean.
    """
    runlog.begin()
    try:
        return scoring.score_all(system, tuple(leads or ()), inputs, store, seed)
    except CycleHeld as error:
        return Completed(name=HELD, message=str(error))
    except (GomsError, ModelError) as error:
        return Failed(message=str(error))


@flow(name="backfill", flow_run_name="backfill {system} {first}..{last}", persist_result=False)
@runlog.faults_kept()
def backfill(
    first: str,
    last: str,
    system: str = "twin",
    workers: int = 1,
    newest_first: bool = False,
    cap: int | None = None,
    inputs: str | None = None,
    store: str | None = None,
    forecaster: str = "checkpoint",
    seed: int = 0,
) -> State[Any]:
    """Make every day of a span that is not published, through the daily deployment.

    Args:
        first: First start (YYYY-MM-DD).
        last: Last start, included.
        system: The forecasting system.
        workers: Cycles at a time; the worker needs room for one run more.
        newest_first: Begin with the last day.
        cap: Run no more than so many now.
        inputs: Folder or URL of the archives' files; none: GOMS_INPUTS of the worker.
        store: Where to publish; none: GOMS_STORE of the worker.
        forecaster: checkpoint (the system's own), persistence, or a checkpoint's folder.
        seed: Of the twin ocean.
    """
    runlog.begin()
    try:
        asked = filled.asked_for(system, store, inputs, forecaster, seed)
        ended = filled.fill(asked, first, last, workers=workers, newest_first=newest_first, cap=cap, served=True)
    except GomsError as error:
        return Failed(message=str(error))
    artifacts.filled(system, ended)
    failed = [item for item in ended if item.code]
    if failed:
        return Failed(message=f"{len(failed)} of {len(ended)} cycles, first {failed[0].cycle.key}: {failed[0].words}")
    return Completed(message=f"{sum(item.how == filled.PUBLISHED for item in ended)} published, of {len(ended)} asked")


def too_late(system: System, cycle: Cycle, moment: datetime) -> str | None:
    """Why a cycle is not made by the schedule any more, or ``None`` where it is."""
    if system.schedule is None:
        return None
    age = (moment - cycle.start).total_seconds() / 3600
    most = system.schedule.skip_after_hours
    if age <= most:
        return None
    day = f"{cycle.start:%Y-%m-%d}"
    return (
        f"cycle {cycle.key} started {age:.0f} h ago, more than the {most:g} h after which the schedule makes it no "
        f"more; goms backfill {day} {day} --system {system.name} makes it"
    )
