"""A part of a product: variables, a box, depths, lead days; its attributes say what is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.errors import UsageError

TURN = 360.0
"""Degrees of longitude after which the Earth is the same."""
Choice = Sequence[float] | slice | None
"""Some values, a span with both ends in it, or all."""


class Subset(NamedTuple):
    """What is asked for; ``None`` is everything.

    ``box``: south, north, west, east in degrees; it may cross any meridian, and then longitudes from below zero on
    are given. ``depths``: in metres, depths that the product has. ``leads``: lead days.
    """

    variables: Sequence[str] | None = None
    box: Sequence[float] | None = None
    depths: Choice = None
    leads: Choice = None


def select(dataset: xr.Dataset, part: Subset) -> xr.Dataset:
    """The part of a product, lazily; ``UsageError`` where there is no such part."""
    if part == Subset():
        return dataset
    chosen = _variables(dataset, part.variables)
    if part.leads is not None:
        chosen = chosen.isel(time=_places(chosen["forecast_period"].values, part.leads, "lead days"))
    if part.depths is not None:
        if "depth" not in dataset.dims:
            raise _none("depths", f"a product at the surface: {dataset.attrs.get('title', '')}", "leave the depths out")
        places = _places(dataset["depth"].values, part.depths, "depths in metres")
        chosen = chosen.isel(depth=places) if "depth" in chosen.dims else chosen
    if part.box is not None:
        chosen = _boxed(chosen, *part.box)
    return described(chosen)


def described(dataset: xr.Dataset) -> xr.Dataset:
    """The dataset with attributes that say what it covers."""
    latitudes, longitudes = dataset["latitude_bounds"].values, dataset["longitude_bounds"].values
    south, north, west, east = latitudes.min(), latitudes.max(), longitudes.min(), longitudes.max()
    times, leads = dataset["time"].values, dataset["forecast_period"].values
    steps = set(np.diff(leads).tolist())
    attributes: dict[str, Any] = {
        "keywords": ", ".join(dict.fromkeys(str(field.attrs["standard_name"]) for field in dataset.data_vars.values())),
        "geospatial_lat_min": float(dataset["latitude"].min()),
        "geospatial_lat_max": float(dataset["latitude"].max()),
        "geospatial_lon_min": float(dataset["longitude"].min()),
        "geospatial_lon_max": float(dataset["longitude"].max()),
        "geospatial_bounds": f"POLYGON (({south:g} {west:g}, {north:g} {west:g}, {north:g} {east:g}, "
        f"{south:g} {east:g}, {south:g} {west:g}))",
        "time_coverage_start": _stamp(times[0]),
        "time_coverage_end": _stamp(times[-1]),
        "time_coverage_duration": f"P{int(leads[-1] - leads[0])}D",
        "time_coverage_resolution": f"P{steps.pop()}D" if len(steps) == 1 else "P1D" if not steps else "irregular",
        "history": f"{dataset.attrs['history']}; a part of it taken by goms export",
    }
    depths = np.atleast_1d(dataset["depth"].values)
    attributes |= {
        "geospatial_vertical_min": float(depths.min()),
        "geospatial_vertical_max": float(depths.max()),
        "geospatial_vertical_resolution": ", ".join(f"{depth:g}" for depth in depths),
    }
    return dataset.assign_attrs(attributes)


def _variables(dataset: xr.Dataset, names: Sequence[str] | None) -> xr.Dataset:
    if names is None:
        return dataset
    there = [str(name) for name in dataset.data_vars]
    unknown = [name for name in names if name not in there]
    if unknown or not names:
        raise _none("variables of the product", ", ".join(unknown) or "none", f"choose of {', '.join(there)}")
    chosen = dataset[list(names)]
    bounds = {name: dataset[name] for name in dataset.coords if name not in chosen.coords and "_bounds" in str(name)}
    if "depth" not in chosen.coords:
        surface = dataset["depth"].isel(depth=0, drop=True).variable
        chosen = chosen.assign_coords(depth=surface)
    return chosen.assign_coords(bounds)


def _places(values: NDArray[Any], wanted: Sequence[float] | slice, what: str) -> list[int]:
    """Where the wanted values are, in the product's order."""
    if isinstance(wanted, slice):
        first = -np.inf if wanted.start is None else wanted.start
        last = np.inf if wanted.stop is None else wanted.stop
        found = [at for at, value in enumerate(values) if first <= value <= last]
    else:
        found = [at for at, value in enumerate(values) if value in wanted]
        odd = [f"{value:g}" for value in wanted if value not in values]
        if odd:
            raise _none(f"{what} of the product", ", ".join(odd), f"choose of {_said(values)}")
    if not found:
        raise _none(f"{what} of the product", "none", f"choose of {_said(values)}")
    return found


def _boxed(dataset: xr.Dataset, south: float, north: float, west: float, east: float) -> xr.Dataset:
    latitude, longitude = dataset["latitude"].values, dataset["longitude"].values
    rows = np.flatnonzero((latitude >= south) & (latitude <= north))
    width = min(east - west if east >= west else (east - west) % TURN, TURN)
    beyond = (longitude - west) % TURN
    columns = np.flatnonzero(beyond <= width)
    if not rows.size or not columns.size:
        raise _none(
            "a box with cells of the product in it", f"none in {south:g},{north:g},{west:g},{east:g}",
            f"it has {latitude[0]:g}..{latitude[-1]:g} north, {longitude[0]:g}..{longitude[-1]:g} east",
        )  # fmt: skip
    columns = columns[np.argsort(beyond[columns], kind="stable")]
    boxed = dataset.isel(latitude=rows, longitude=columns)
    behind = np.concatenate([[0], np.cumsum(np.diff(longitude[columns]) < 0)])
    if not behind.any():
        return boxed
    shift = xr.DataArray((behind - 1) * TURN, dims="longitude")
    moved = {name: (boxed[name] + shift).transpose(*boxed[name].dims).assign_attrs(boxed[name].attrs)
             for name in ("longitude", "longitude_bounds")}  # fmt: skip
    values = {name: (field.dims, field.values, field.attrs) for name, field in moved.items()}
    return boxed.drop_vars(list(values)).assign_coords(values)


def _stamp(instant: np.datetime64) -> str:
    return f"{np.datetime_as_string(instant, unit='s')}Z"


def _said(values: NDArray[Any]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _none(needed: str, found: str, action: str) -> UsageError:
    return UsageError(needed, found=found, where="the part that is asked for", action=action)
