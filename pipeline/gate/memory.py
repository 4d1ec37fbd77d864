"""What the store remembers of the day before: its analysis, and what it forecast for today."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from datetime import timedelta
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline import publish
from pipeline.cycle import Cycle
from pipeline.cycle import cycle as cycle_of
from pipeline.errors import GomsError
from pipeline.gate.scene import Beside, of_dataset
from pipeline.objects import staged
from pipeline.objects.opened import opened
from pipeline.record import marks
from pipeline.store import Store
from pipeline.systems import System
from pipeline.variables import Kind

TROUBLE = (GomsError, OSError, ValueError, LookupError, RuntimeError)
"""What is raised by an object that is lost or damaged, or by its decoder."""


class Memory(NamedTuple):
    """Fields of the day before, level by level, or why there are none (by ``yesterday`` and ``forecast``).

    ``absent`` is added to when a field that is asked for cannot be read.
    """

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
        taken = None if product is not None else _staged(store, before, kind)
        was = taken if product is None else product
        if was is not None and not _same_points(was, system, kind):
            return Memory(None, None, dict.fromkeys(("yesterday", "forecast"), f"{day} is on other points"))
        if product is not None:
            lost = dict[str, str]()
            days = [_as_far_as_read(product.isel(time=lead), name, day, lost)
                    for lead, name in enumerate(("yesterday", "forecast"))]  # fmt: skip
            return Memory(days[0], days[1], lost)
    except TROUBLE as trouble:
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
    return stack.enter_context(opened(store, where))


def _same_points(dataset: xr.Dataset, system: System, kind: Kind) -> bool:
    """Whether a dataset is on the system's grid and levels of today, which may have been changed since yesterday."""
    grid = system.grid_of(kind)
    wanted = {"latitude": grid.latitude, "longitude": grid.longitude, "depth": np.array(system.depths_m)}
    found = {name: dataset[name].values for name in wanted if name in dataset.dims}
    return all(axis.shape == wanted[name].shape and np.allclose(axis, wanted[name]) for name, axis in found.items())


def _as_far_as_read(dataset: xr.Dataset, name: str, day: str, absent: dict[str, str]) -> Beside:
    """The dataset's fields; one that cannot be read is none, is tried once, and stands in ``absent``."""
    beside, lost = of_dataset(dataset), list[str]()

    def read(variable: str, number: int) -> NDArray[np.float32] | None:
        if variable in lost:
            return None
        try:
            return beside(variable, number)
        except TROUBLE as trouble:
            lost.append(variable)
            absent[name] = f"{', '.join(lost)} of {day} cannot be read: {type(trouble).__name__}"
            return None

    return read


def _staged(store: Store, before: Cycle, kind: Kind) -> xr.Dataset | None:
    mark = marks.recorded(store, before, kind.value)
    if mark is None or not mark.outputs or not store.exists(mark.outputs[0].path):
        return None
    return staged.load(store, mark.outputs[0].path)


def kept_staged(system: System, published: Collection[str]) -> list[Kind]:
    """The kinds that the next day is compared with as they were staged: none of the published products holds them.

    Forcing is compared with nothing.
    """
    held = {entry.state for entry in system.products if entry.name in published and not entry.surface_only}
    return [kind for kind in Kind if kind is not Kind.FORCING and kind.value not in held]
