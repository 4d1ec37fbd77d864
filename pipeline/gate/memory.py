"""What the store remembers of the day before: its analysis, and what it forecast for today."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from typing import NamedTuple

import xarray as xr

from pipeline import publish
from pipeline.cycle import Cycle
from pipeline.cycle import cycle as cycle_of
from pipeline.errors import GomsError
from pipeline.gate.scene import Beside, of_dataset
from pipeline.objects import staged
from pipeline.record import marks
from pipeline.store import Store
from pipeline.systems import System
from pipeline.variables import Kind


class Memory(NamedTuple):
    """Fields of the day before, level by level, or why there are none (by ``yesterday`` and ``forecast``)."""

    yesterday: Beside | None
    forecast: Beside | None
    absent: dict[str, str]


def remembered(store: Store, system: System, cycle: Cycle, kind: Kind, stack: ExitStack) -> Memory:
    """What the previous day's cycle staged or published of a kind of input; ``stack`` closes what was opened.

    Lead day 0 of its product is its analysis, lead day 1 its forecast for this start. What cannot be read is absent:
    yesterday's trouble must not stop today's forecast.
    """
    before = cycle_of(system.name, cycle.start.date() - timedelta(days=1), cycle.start.hour)
    day = f"the cycle {before.key}"
    try:
        product = _product(store, system, before, kind, stack)
        if product is not None:
            return Memory(of_dataset(product.isel(time=0)), of_dataset(product.isel(time=1)), {})
        taken = _staged(store, before, kind)
    except (GomsError, OSError, ValueError, KeyError) as trouble:
        words = f"{day} cannot be read: {type(trouble).__name__}"
        return Memory(None, None, dict.fromkeys(("yesterday", "forecast"), words))
    absent = {"forecast": f"{day} has published nothing of it"}
    if taken is None:
        return Memory(None, None, {"yesterday": f"{day} has neither staged nor published it", **absent})
    return Memory(of_dataset(taken), None, absent)


def _product(store: Store, system: System, before: Cycle, kind: Kind, stack: ExitStack) -> xr.Dataset | None:
    revision = publish.published(store, before)
    entry = next((entry for entry in system.products if entry.state == kind.value and not entry.surface_only), None)
    manifest = None if revision is None or entry is None else publish.read_manifest(store, before, revision)
    if manifest is None or entry is None or entry.name not in manifest.products:
        return None
    where = f"{before.revision_prefix(manifest.revision)}/{manifest.products[entry.name].path}"
    opened: xr.Dataset = stack.enter_context(xr.open_zarr(store.address(where), chunks=None))
    return opened


def _staged(store: Store, before: Cycle, kind: Kind) -> xr.Dataset | None:
    mark = marks.recorded(store, before, kind.value)
    if mark is None or not mark.outputs or not store.exists(mark.outputs[0].path):
        return None
    return staged.load(store, mark.outputs[0].path)
