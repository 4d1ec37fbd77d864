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
        opened = Store(store or Settings().store)
        tended = upkeep.tend_all(opened, upkeep.wanted_systems(None), apply=apply)
        slabs = upkeep.tend_cache(opened, apply=apply)
    except GomsError as error:
        return Failed(message=str(error))
    freed = slabs + sum((item.done or item.plan).freed_bytes for item in tended)
    things = sum(len(item.done.removed if item.done else item.plan.removals) for item in tended)
    return Completed(message=f"{things} {'removed' if apply else 'to be removed'}, {readable(freed)} freed")
