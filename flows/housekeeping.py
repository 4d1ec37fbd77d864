"""The flow that keeps the store from growing for ever: every night, all systems."""

from __future__ import annotations

from prefect import flow

from flows import upkeep
from pipeline.settings import Settings
from pipeline.store import Store


@flow(name="housekeeping", validate_parameters=False)
def housekeeping(store: str | None = None, apply: bool = True) -> dict[str, int]:
    """Remove what every system's retention says is past its time; returns the bytes each one freed.

    ``store``: else as the settings say. ``apply``: False only plans. Raises ``StoreError`` after the other systems'
    housekeeping where one's fails.
    """
    opened = Store(store or Settings().store)
    tended = upkeep.tend_all(opened, upkeep.wanted_systems(None), apply=apply)
    return {item.plan.system: item.plan.freed_bytes for item in tended}
