"""An archive's names, units, instants and axes -> ours. Lazy: nothing but axes and stamps is read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import xarray as xr

from pipeline.errors import InputRefused
from pipeline.grids import Axis, Grid
from pipeline.sources import Native, Request, Term
from pipeline.variables import Variable, variable

NAMES = {"lat": "latitude", "lon": "longitude"}
DEPTH_TOLERANCE_M = 1e-3
"""Depths are whole metres in every archive; this is room for float32."""
STEP_RATIO = 2.5
"""Longest over shortest step of an axis: HYCOM's latitudes go from 0.04 to 0.08 degrees, twice; more is a gap."""
PACKING_ROUNDING = 1e-6
"""Share of a quantity's range by which unpacking may miss a bound: the rounding of float32, well below 1 / 65532."""
MARGIN_CELLS = 2
"""Native cells kept on each side of a regional grid's outer edges, so that its edge cells are wholly covered."""


def one_instant(native: xr.Dataset, request: Request, where: str, near_hours: float = 0.0) -> datetime:
    """The dataset's one valid time: the request's, an older one within the allowed age, or one as near as is said.

    Else ``InputRefused``. ``near_hours``: what the source says of a step that stands in for a missing one.
    """
    wanted = np.datetime64(request.when.astimezone(UTC).replace(tzinfo=None), "s")
    stamps = np.atleast_1d(native["time"].values).astype("datetime64[s]")
    matching = int((stamps == wanted).sum())
    if stamps.size == 1 or matching == 1:
        stamp = wanted if matching else stamps[0]
        age_days = float((wanted - stamp) / np.timedelta64(1, "D"))
        if 0 <= age_days <= request.maximum_age_days or abs(age_days) * 24.0 <= near_hours:
            return request.when.astimezone(UTC) - timedelta(days=age_days)
    nearest = stamps[np.abs(stamps - wanted).argmin()]
    raise InputRefused(
        f"{request.kind} at {wanted} exactly once",
        found=f"{matching} such stamps among {stamps.size}, the nearest {nearest}",
        where=where, action="fetch the file again, or correct its time axis", check="time stamps",
    )  # fmt: skip


def translated(native: Native, names: tuple[str, ...], request: Request, where: str) -> xr.Dataset:
    """Our variables as float32 (depth,) latitude, longitude, with a scalar ``time``; ``InputRefused`` where not theirs.

    Latitude and longitude increase, longitude within 0..360. For a grid that is not global the axes are cut to the
    grid's cells and a margin.
    """
    terms = {native.lexicon[name].native: name for name in names}
    dataset = _at_one_instant(native.dataset[list(terms)], request)
    dataset = dataset.rename({old: new for old, new in NAMES.items() if old in dataset.dims})
    for axis in ("latitude", "longitude"):
        if axis not in dataset.coords:
            raise _refused(f"a {axis} axis", f"dimensions {dict(dataset.sizes)}", where)
    dataset = _cut(_eastward(_northward(dataset, where), where), request.grid)
    fields = {
        name: _field(dataset[old], native.lexicon[name], name, request.depths_m, where) for old, name in terms.items()
    }
    return xr.Dataset(fields).assign_coords(time=dataset["time"])


def _at_one_instant(dataset: xr.Dataset, request: Request) -> xr.Dataset:
    if "time" not in dataset.dims:
        return dataset
    wanted = np.datetime64(request.when.astimezone(UTC).replace(tzinfo=None), "s")
    stamps = dataset["time"].values.astype("datetime64[s]")
    return dataset.isel(time=int(np.abs(stamps - wanted).argmin()))


def _northward(dataset: xr.Dataset, where: str) -> xr.Dataset:
    latitude = dataset["latitude"].values.astype(np.float64)
    _check_steps(np.diff(latitude), "latitude", latitude, where)
    if np.abs(latitude).max() > 90.0 + 1e-3:
        raise _refused("latitude within -90..90", f"{latitude.min():g}..{latitude.max():g}", where)
    dataset = dataset.assign_coords(latitude=latitude.clip(-90.0, 90.0))
    return dataset if latitude[0] < latitude[-1] else dataset.isel(latitude=slice(None, None, -1))


def _eastward(dataset: xr.Dataset, where: str) -> xr.Dataset:
    """Longitudes of 0..360, rolled to increase."""
    native = dataset["longitude"].values.astype(np.float64)
    _check_steps((np.diff(native) + 180.0) % 360.0 - 180.0, "longitude", native, where)
    longitude = np.round(native % 360.0, 9)
    if np.unique(longitude).size < longitude.size:
        raise _refused("each longitude once", f"{native[0]:g}..{native[-1]:g}, which meet 360 degrees apart", where)
    order = np.argsort(longitude)
    dataset = dataset.assign_coords(longitude=longitude)
    return dataset if (np.diff(order) == 1).all() else dataset.isel(longitude=order)


def _check_steps(steps: Axis, axis: str, values: Axis, where: str) -> None:
    """Steps of one sign and about one size, or ``InputRefused``."""
    sizes = np.abs(steps)
    if (np.sign(steps) != np.sign(steps[0])).any() or not sizes.min() > 0 or sizes.max() > STEP_RATIO * sizes.min():
        found = f"{values[0]:g}..{values[-1]:g} in steps of {steps.min():g}..{steps.max():g}"
        raise _refused(f"{axis} in even steps of one sign", found, where)


def _cut(dataset: xr.Dataset, grid: Grid) -> xr.Dataset:
    """The grid's cells and a margin; of a grid astride Greenwich both ends of the longitudes, which stay in 0..360."""
    if grid.periodic:
        return dataset
    for axis, edges in (("latitude", grid.latitude_edges), ("longitude", grid.longitude_edges)):
        values = dataset[axis].values
        margin = MARGIN_CELLS * float(np.median(np.diff(values)))
        beyond, width = values - (edges[0] - margin), edges[-1] - edges[0] + 2 * margin
        beyond = beyond % 360.0 if axis == "longitude" else beyond
        inside = np.flatnonzero((beyond >= 0) & (beyond <= width))
        whole = inside[-1] - inside[0] + 1 == inside.size
        dataset = dataset.isel({axis: slice(int(inside[0]), int(inside[-1]) + 1) if whole else inside})
    return dataset


def _field(native: xr.DataArray, term: Term, name: str, depths_m: tuple[float, ...], where: str) -> xr.DataArray:
    """One variable in our units, at our depths, float32, one dask chunk a level."""
    entry = variable(name)
    units = str(native.attrs.get("units", "")).strip()
    if units not in term.units:
        accepted = ", ".join(repr(spelling) for spelling in term.units)
        raise _refused(
            f"{term.native} in {entry.units}, written as one of {accepted}", f"units {units!r}", where, "units", name
        )
    factor, offset = term.units[units]
    dims = ("depth", "latitude", "longitude") if entry.has_depth else ("latitude", "longitude")
    if set(native.dims) != set(dims):
        raise _refused(
            f"{term.native} with dimensions {', '.join(dims)}",
            f"{', '.join(map(str, native.dims))}",
            where,
            "axes",
            name,
        )
    field = _levels(native, term.native, depths_m, where) if entry.has_depth else native
    field = field.chunk({"depth": 1} if entry.has_depth else {}).transpose(*dims)
    field = field if (factor, offset) == (1.0, 0.0) else field * factor + offset
    field = field if entry.has_depth else _without_rounding(field, entry)
    return field.astype(np.float32).drop_attrs().assign_attrs(units=entry.units, standard_name=entry.standard_name)


def _without_rounding(field: xr.DataArray, entry: Variable) -> xr.DataArray:
    """Values beyond a bound by no more than packing rounds, on it: calm is packed as -1e-9 m now and then."""
    inside = field.clip(entry.lower, entry.upper)
    return inside.where(np.abs(inside - field) <= PACKING_ROUNDING * (entry.upper - entry.lower), field)


def _levels(native: xr.DataArray, name: str, depths_m: tuple[float, ...], where: str) -> xr.DataArray:
    """The wanted depths, exactly and in order."""
    held = native["depth"].values.astype(np.float64)
    near = np.abs(held[None, :] - np.asarray(depths_m)[:, None]) <= DEPTH_TOLERANCE_M
    counts = near.sum(axis=1)
    if (counts != 1).any():
        missing = ", ".join(f"{depth:g}" for depth, count in zip(depths_m, counts, strict=True) if count == 0)
        twice = ", ".join(f"{depth:g}" for depth, count in zip(depths_m, counts, strict=True) if count > 1)
        found = "; ".join(filter(None, (missing and f"no level at {missing} m", twice and f"several at {twice} m")))
        raise _refused(
            f"{name} at {', '.join(f'{depth:g}' for depth in depths_m)} m", f"{found}", where, "levels", name
        )
    return native.isel(depth=near.argmax(axis=1)).assign_coords(depth=np.asarray(depths_m, dtype=np.float64))


def _refused(needed: str, found: str, where: str, check: str = "axes", field: str = "") -> InputRefused:
    action = "fetch the file again, or tell its provider"
    return InputRefused(needed, found=found, where=where, action=action, check=check, field=field)
