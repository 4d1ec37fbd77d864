"""The flow that keeps the store from growing for ever: every night, all systems."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.progress import readable
from flows.service import runlog, upkeep
from pipeline.errors import GomsError
from pipeline.settings import Settings
from pipeline.store import Store


@flow(name="housekeeping", persist_result=False)
@runlog.faults_kept()
def housekeeping(store: str | None = None, apply: bool = True) -> State[Any]:
    """Remove what every system's retention says is past its time, never the latest good forecast.

    Args:
        store: What to look after; none: GOMS_STORE of the worker.
        apply: Unless set, it is only planned and told.
    """
    runlog.begin()
    try:
        made = upkeep.tend_all(Store(store or Settings().store), None, apply=apply)
    except GomsError as error:
        return Failed(message=str(error))
    if made.failed is not None:
        return Failed(message=str(made.failed))
    what = "removed" if apply else "to be removed"
    return Completed(message=f"{made.things} {what}, {readable(made.freed_bytes)} freed")
