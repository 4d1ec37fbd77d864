"""One type per stage of the journey, and the only door into each.

Every door takes a dataset, checks dimensions and their order, coordinates, dtype, bounds and NaN, and returns the
same data under the stage's type. A contract that does not hold raises ``InputRefused`` (before the model) or
``ForecastRefused`` (after it): nothing is repaired here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NewType

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline import channels, provenance
from pipeline.errors import ForecastRefused, GomsError, InputRefused, Offence
from pipeline.grids import Grid
from pipeline.products import ProductEntry
from pipeline.systems import System
from pipeline.variables import Kind, variable

Ingested = NewType("Ingested", xr.Dataset)
"""One kind of input at one instant, our names and units, on its native axes: (depth,) latitude, longitude."""
Gridded = NewType("Gridded", xr.Dataset)
"""The same on the system's grid, NaN exactly on land (the atmosphere: nowhere)."""
InitialState = NewType("InitialState", xr.Dataset)
"""Everything the forecaster starts from, as channel arrays."""
ForecastDay = NewType("ForecastDay", xr.Dataset)
"""One lead day of the forecast, as channel arrays."""
Product = NewType("Product", xr.Dataset)
"""One product's lead days with CF-1.11 metadata, as published."""

ARRAYS = ("ocean", "waves", "biogeochemistry", "kuroshio")
"""Names of the forecaster's arrays: the numpy treaty (see ``forecast.Forecaster``)."""

LEAKAGE = "land leakage"
"""How a report names values on land, or none on the sea."""


def ingested(dataset: xr.Dataset, kind: Kind) -> Ingested:
    """The door into ``Ingested``: axes increasing, longitude in 0..360, scalar ``time``, bounds, provenance."""
    where = f"ingested {kind} input"
    _axes(dataset, where, InputRefused)
    if dataset.coords.get("time") is None or dataset["time"].ndim:
        raise _refused(InputRefused, "one valid time", f"time coordinate {dataset.coords.get('time')!r}", where)
    provenance.records(dataset)
    for name, field in dataset.data_vars.items():
        _field(field, str(name), ("depth", "latitude", "longitude"), where, InputRefused)
    return Ingested(dataset)


def gridded(dataset: xr.Dataset, kind: Kind, system: System, ocean_mask: NDArray[np.bool_] | None) -> Gridded:
    """The door into ``Gridded``.

    ``ocean_mask`` is True on ocean, (depth, latitude, longitude) for the ocean kind, (latitude, longitude) for
    waves and biogeochemistry, ``None`` for the atmosphere, which has no land.
    """
    where = f"gridded {kind} input of system {system.name}"
    _on_grid(dataset, system.grid_of(kind), where, InputRefused)
    for name, field in dataset.data_vars.items():
        _field(field, str(name), ("depth", "latitude", "longitude"), where, InputRefused)
        mask = _mask_for(field, ocean_mask)
        _nan_exactly_on_land(field.values, mask, f"{name} in {where}", InputRefused)
    return Gridded(dataset)


def foreseen(dataset: xr.Dataset, system: System) -> Gridded:
    """The door into ``Gridded`` for the weather of days to come: (lead_day, latitude, longitude), no gaps."""
    where = f"future forcing of system {system.name}"
    _on_grid(dataset, system.grid, where, InputRefused)
    leads = dataset["lead_day"].values
    if (np.diff(leads) <= 0).any() or (leads < 1).any():
        raise _refused(InputRefused, "lead days that increase from 1", f"{leads}", where)
    provenance.records(dataset)
    for channel in channels.weather():
        field = dataset[channel.variable]
        _dims(field, ("lead_day", "latitude", "longitude"), where, InputRefused)
        if field.dtype != np.float32 or not np.isfinite(field.values).all():
            raise _refused(InputRefused, f"{field.name} as float32 without gaps", f"{field.dtype}, or gaps", where)
    return Gridded(dataset)


def initial_state(dataset: xr.Dataset, system: System) -> InitialState:
    """The door into ``InitialState``: ``ocean`` (channel, ...) and ``forcing`` in order, heads' states if had."""
    where = f"initial state of system {system.name}"
    _labels(dataset, "ocean", channels.ocean(system.depths_m), system.grid, where, InputRefused)
    _labels(dataset, "forcing", channels.forcing(), system.grid, where, InputRefused)
    if "waves" in dataset:
        _labels(dataset, "waves", channels.waves(), system.wave_grid, where, InputRefused)
    if "biogeochemistry" in dataset:
        entries = channels.biogeochemistry()
        _labels(dataset, "biogeochemistry", entries, system.biogeochemistry_grid, where, InputRefused)
    if bool(np.isnan(dataset["forcing"].values).any()):
        raise _refused(InputRefused, "forcing without gaps", "NaN", where)
    return InitialState(dataset)


def forecast_day(arrays: Mapping[str, NDArray[np.float32]], lead_day: int, initial: InitialState, system: System,
                 masks: Mapping[str, NDArray[np.bool_]]) -> ForecastDay:  # fmt: skip
    """The door into ``ForecastDay``: channel arrays (channel, latitude, longitude), NaN exactly on land.

    ``masks``: True on ocean, per array, of the arrays' own shapes.
    """
    where = f"lead day {lead_day} of system {system.name}"
    fields = {}
    for name, values in arrays.items():
        if values.dtype != np.float32:
            raise _refused(ForecastRefused, f"{name} as float32", str(values.dtype), where)
        _sea_alone(values, masks[name], name, where)
        fields[name] = ((f"{name}_channel", f"{name}_latitude", f"{name}_longitude"), values)
    time = initial["time"].values + np.timedelta64(lead_day, "D")
    return ForecastDay(xr.Dataset(fields, coords={"time": time, "lead_day": lead_day}))


def product(dataset: xr.Dataset, entry: ProductEntry, system: System) -> Product:
    """The door into ``Product``: every variable of the entry, dims in order, CF attributes present."""
    where = f"product {entry.name} of system {system.name}"
    _on_grid(dataset, system.product_grid(entry), where, ForecastRefused)
    for item in entry.variables:
        if item.name not in dataset:
            raise _refused(ForecastRefused, f"variable {item.name}", f"only {list(dataset.data_vars)}", where)
        field = dataset[item.name]
        dims = ("time", "depth", "latitude", "longitude")
        _dims(field, dims if item.has_depth and not entry.surface_only else ("time", *dims[2:]), where, ForecastRefused)
        if field.attrs.get("units") != item.units or field.attrs.get("standard_name") != item.standard_name:
            raise _refused(ForecastRefused, f"{item.name} in {item.units}", f"attributes {field.attrs}", where)
    return Product(dataset)


def _refused(kind: type[GomsError], needed: str, found: str, where: str) -> GomsError:
    return kind(needed, found=found, where=where, action="look at the stage before this one")


def _axes(dataset: xr.Dataset, where: str, kind: type[GomsError]) -> None:
    for name, low, high in (("latitude", -90.0, 90.0), ("longitude", 0.0, 360.0)):
        axis = dataset[name].values
        if axis.ndim != 1 or not (np.diff(axis) > 0).all() or axis[0] < low - 1e-6 or axis[-1] > high + 1e-6:
            raise _refused(kind, f"{name} increasing within {low:g}..{high:g}", f"{axis[:3]}..{axis[-3:]}", where)


def _on_grid(dataset: xr.Dataset, grid: Grid, where: str, kind: type[GomsError]) -> None:
    for name, axis in (("latitude", grid.latitude), ("longitude", grid.longitude)):
        found = dataset[name].values
        if found.shape != axis.shape or not np.allclose(found, axis, atol=1e-6):
            raise _refused(kind, f"{name} {axis[0]:g}..{axis[-1]:g} ({axis.size})", f"{found.shape} {found[:2]}", where)


def _dims(field: xr.DataArray, dims: tuple[str, ...], where: str, kind: type[GomsError]) -> None:
    if field.dims != dims:
        raise _refused(kind, f"{field.name} with dimensions {dims}", f"{field.dims}", where)


def _field(field: xr.DataArray, name: str, dims: tuple[str, ...], where: str, kind: type[GomsError]) -> None:
    entry = variable(name)
    _dims(field, dims if entry.has_depth else dims[1:], where, kind)
    if field.dtype != np.float32:
        raise _refused(kind, f"{name} as float32", str(field.dtype), where)
    if field.attrs.get("units") != entry.units:
        raise _refused(kind, f"{name} in {entry.units}", f"units {field.attrs.get('units')!r}", where)


def _sea_alone(values: NDArray[np.float32], ocean: NDArray[np.bool_], name: str, where: str) -> None:
    """Values on all of the sea and on none of the land; the refusal has the channel that is the most at fault."""
    try:
        _nan_exactly_on_land(values, ocean, f"{name}, {where}", ForecastRefused)
    except ForecastRefused as refusal:
        if values.shape == ocean.shape:
            wrong = np.isfinite(values) != ocean
            row = int(wrong.sum(axis=(1, 2)).argmax())
            cells = float(wrong[row].sum())
            refusal.offence = Offence(LEAKAGE, name, row, cells, 0.0, "cells", values[row], wrong[row])
        raise


def _mask_for(field: xr.DataArray, ocean_mask: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    if ocean_mask is None:
        return np.ones(field.shape, dtype=bool)
    return ocean_mask if ocean_mask.ndim == field.ndim else ocean_mask[0]


def _nan_exactly_on_land(
    values: NDArray[np.float32], ocean: NDArray[np.bool_], where: str, kind: type[GomsError]
) -> None:
    finite = np.isfinite(values)
    if values.shape != ocean.shape or not np.array_equal(finite, ocean):
        holes = int((~finite & ocean).sum()) if values.shape == ocean.shape else -1
        leaks = int((finite & ~ocean).sum()) if values.shape == ocean.shape else -1
        raise _refused(
            kind, f"values on {int(ocean.sum())} ocean cells and NaN on land exactly",
            f"{holes} ocean cells without a value and {leaks} land cells with one, shape {values.shape}", where,
        )  # fmt: skip


def _labels(dataset: xr.Dataset, name: str, wanted: tuple[channels.Channel, ...], grid: Grid | None, where: str,
            kind: type[GomsError]) -> None:  # fmt: skip
    labels = tuple(str(label) for label in dataset[f"{name}_channel"].values)
    if labels != tuple(channel.label for channel in wanted):
        raise _refused(kind, f"{name} channels {[c.label for c in wanted][:3]}...", f"{labels[:3]}...", where)
    _dims(dataset[name], (f"{name}_channel", f"{name}_latitude", f"{name}_longitude"), where, kind)
    if grid is None or dataset[name].shape[1:] != grid.shape:
        raise _refused(kind, f"{name} on the grid {grid and grid.shape}", f"{dataset[name].shape[1:]}", where)
