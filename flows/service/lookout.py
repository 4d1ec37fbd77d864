"""The watch as a flow, in a file of its own: it is run every quarter of an hour and needs little of the rest.

Of a lost store it tells no alert channel: where each run has a machine of its own, none remembers that it was told, and
none would tell that it is over. ``goms watch`` does both; this run fails, with the sentence.
"""

from __future__ import annotations

from typing import Any

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows import clock
from flows.service import notify, runlog
from flows.service import watch as watching
from flows.service.deployments import ALARM, SKIPPED
from pipeline.errors import GomsError
from pipeline.settings import Settings

LATEST_SECONDS = 15 * 60
"""A look that begins later than this after its time is none: the next one is due, and sees what this one would."""


@flow(name="watch", flow_run_name="watch", persist_result=False)
@runlog.faults_kept()
def watch(store: str | None = None) -> State[Any]:
    """Look at every system once: its freshness, written as status.json, and alerts that were not sent yet.

    Args:
        store: What to look at; none: GOMS_STORE of the worker.
    """
    settings = Settings()
    behind = (clock.now() - runtime.flow_run.scheduled_start_time).total_seconds()
    if behind > LATEST_SECONDS:
        return Completed(name=SKIPPED, message=f"{behind / 3600:.1f} h behind its time: the next one sees the same")
    try:
        found = watching.look_at_systems(store or settings.store, notify.channels(settings, ()), settings)
    except GomsError as error:
        return Failed(message=str(error))
    if found.lost is not None:
        return Failed(message=str(found.lost))
    if found.alarms:
        return Completed(name=ALARM, message="; ".join(alarm.headline for alarm in found.alarms))
    return Completed(message="all well")
