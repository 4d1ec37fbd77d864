"""The watch as a flow, in a file of its own: it is run every quarter of an hour and needs little of the rest."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows import notify
from flows import watch as watching
from flows.deployments import ALARM
from pipeline.errors import GomsError
from pipeline.settings import Settings


@flow(name="watch", flow_run_name="watch", persist_result=False)
def watch(store: str | None = None) -> State[Any]:
    """Look at every system once: its freshness, written as status.json, and alerts that were not sent yet.

    Args:
        store: What to look at; none: GOMS_STORE of the worker.
    """
    settings = Settings()
    try:
        found = watching.look(store or settings.store, notify.channels(settings, ()), settings)
    except GomsError as error:
        return Failed(message=str(error))
    if found.lost is not None:
        return Failed(message=str(found.lost))
    if found.alarms:
        return Completed(name=ALARM, message="; ".join(alarm.headline for alarm in found.alarms))
    return Completed(message="all well")
