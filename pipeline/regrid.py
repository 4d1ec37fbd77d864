"""Ingested -> Gridded: from an archive's own axes to the system's grid, conservatively, land kept out of the means.

Each quantity is averaged over the ocean part of each cell, one level at a time, so that a native 1/12 degree input
is never whole in memory. Velocities are averaged component by component (both grids are latitude-longitude: east
and north are the same directions on them, but for the turn within one cell, which matters only at the poles);
angles as unit vectors; concentrations plainly, as mass or amount per volume.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from dask.base import compute
from dask.delayed import delayed
from numpy.typing import NDArray

from pipeline import contracts, provenance
from pipeline import weights as w
from pipeline.contracts import Gridded, Ingested
from pipeline.earth import coast, landmask
from pipeline.earth.coast import Mask
from pipeline.errors import InputRefused
from pipeline.grids import Grid
from pipeline.provenance import InputRecord
from pipeline.systems import System
from pipeline.variables import Kind, Variable, of_kind, variable

Field = NDArray[np.float32]


class Target(NamedTuple):
    """What a kind is brought to: ``mask`` True on ocean, (depth, rows, columns), or ``None`` without land."""

    grid: Grid
    depths_m: tuple[float, ...]
    mask: Mask | None
    mask_source: str
    ice: bool


def regrid(parts: Sequence[Ingested], kind: Kind, system: System) -> Gridded:
    """All of one kind on the system's grid, NaN exactly on the system's land.

    ``parts``: one per rung of the ladder that was used, each on its own axes. Raises ``InputRefused`` where a part
    does not cover the grid, where its land is not the system's (``coast.check``), where an ocean cell is left
    without a value, and where the atmosphere has gaps. Cells filled at the coast are told in the records' notes.
    """
    mask = landmask.kind_mask(system, kind)
    target = Target(
        system.grid_of(kind),
        system.depths_m,
        mask if mask is None or mask.ndim == 3 else mask[None],
        "" if mask is None else landmask.source_of(system, kind.value),
        ice=kind is Kind.WAVES and system.real_ocean,
    )
    dataset = _gridded(parts, kind, target, system.name)
    return contracts.gridded(dataset, kind, system, mask)


def regrid_kuroshio(parts: Sequence[Ingested], system: System) -> xr.Dataset:
    """The ocean's surface on the system's Kuroshio grid: what the downscaling is trained on and scored against.

    Variables (latitude, longitude) in registry order, NaN exactly on the grid's land; refuses as ``regrid`` does.
    """
    if system.kuroshio_grid is None:
        raise ValueError(f"system {system.name!r} has no kuroshio_grid")
    mask, source = landmask.array_mask(system, "kuroshio"), landmask.source_of(system, "kuroshio")
    target = Target(system.kuroshio_grid, system.depths_m[:1], mask[None], source, ice=False)
    surface = [_at_surface(part, target.depths_m) for part in parts]
    return _gridded(surface, Kind.OCEAN, target, system.name).squeeze("depth", drop=True)


def _at_surface(part: Ingested, depths_m: tuple[float, ...]) -> Ingested:
    return Ingested(part.sel(depth=list(depths_m)) if "depth" in part.dims else part)


def _gridded(parts: Sequence[Ingested], kind: Kind, target: Target, system: str) -> xr.Dataset:
    fields: dict[str, xr.DataArray] = {}
    records: list[InputRecord] = []
    for part in parts:
        own = provenance.records(part)
        where = f"{kind} input from {'+'.join(dict.fromkeys(r.source for r in own))} for system {system}"
        weights = w.weights(part["latitude"].values, part["longitude"].values, target.grid)
        _covered(weights.covered, target, where)
        filled = {}
        for name in part.data_vars:
            if name in fields:
                raise _refused(f"{name} from one rung of the ladder", "two", where, "look at the ladder's sources")
            entry = variable(str(name))
            same = all(record.source == target.mask_source for record in own)
            values, filled[entry.name] = _field(part[name], entry, weights, target, same, f"{name} in {where}")
            fields[entry.name] = _labelled(values, entry, target)
        records += [_noted(record, filled) for record in own]
    ordered = {entry.name: fields[entry.name] for entry in of_kind(kind) if entry.name in fields}
    return provenance.attach(xr.Dataset(ordered), tuple(records))


def _field(
    native: xr.DataArray, entry: Variable, weights: w.Weights, target: Target, same_source: bool, where: str
) -> tuple[Field, int]:
    """One variable on the grid, (depth,) rows, columns, and how many cells were filled at the coast."""
    tasks = []
    for level, slab in enumerate(_slabs(native, target.depths_m, where)):
        place = f"{where} at {target.depths_m[level]:g} m" if entry.has_depth else where
        shore = None if target.mask is None else coast.Coast(target.mask[level], target.grid, same_source, target.ice)
        tasks.append(delayed(_level, pure=False)(slab, entry, weights, shore, place))
    done: tuple[tuple[Field, int], ...] = compute(*tasks)  # type: ignore[no-untyped-call]
    values = np.stack([slab for slab, _ in done])
    return (values if entry.has_depth else values[0]), sum(cells for _, cells in done)


def _level(
    slab: Field, entry: Variable, weights: w.Weights, shore: coast.Coast | None, where: str
) -> tuple[Field, int]:
    """One level on the grid, and how many cells were filled at the coast: what a thread or a worker does."""
    if shore is None:
        return _everywhere(slab, entry, weights, where), 0
    return _on_ocean(slab, entry, weights, shore, where)


def _slabs(native: xr.DataArray, depths_m: tuple[float, ...], where: str) -> Iterator[Any]:
    """The field's levels, each lazily where the field is: read when it is regridded, and not kept."""
    if "depth" not in native.dims:
        yield native.data
        return
    found = native["depth"].values
    if found.shape != (len(depths_m),) or not np.allclose(found, depths_m):
        needed = f"the {len(depths_m)} depths {depths_m[0]:g}..{depths_m[-1]:g} m"
        raise _refused(needed, f"{found.size}: {', '.join(f'{d:g}' for d in found)} m", where, "look at ingest")
    for level in range(len(depths_m)):
        yield native.isel(depth=level).data


def _on_ocean(slab: Field, entry: Variable, weights: w.Weights, shore: coast.Coast, where: str) -> tuple[Field, int]:
    filled = 0

    def averaged(component: Field) -> Field:
        nonlocal filled
        values, area = w.mean(component, weights)
        share = w.ocean_share(area, weights)
        coast.check(share, weights.covered >= coast.FULL_COVER, shore, where, entry.name)
        values[share < coast.VALUE_SHARE] = np.nan
        values, filled = coast.fill(values, shore)
        return values

    values = _by_component(slab, entry, averaged)
    holes = shore.ocean & np.isnan(values)
    if holes.any():
        row, column = np.argwhere(holes)[0]
        raise _refused(
            f"values within {coast.FILL_CELLS} cells of every one of {int(shore.ocean.sum())} ocean cells",
            f"{int(holes.sum())} further from any value, first at {shore.grid.latitude[row]:.2f}N "
            f"{shore.grid.longitude[column]:.2f}E", where,
            "fetch the file again; if the archive has land there: python -m pipeline.earth.landmask",
            "coverage", entry.name,
        )  # fmt: skip
    return np.where(shore.ocean, values, np.float32("nan")), filled


def _everywhere(slab: Field, entry: Variable, weights: w.Weights, where: str) -> Field:
    gaps = int(np.isnan(slab).sum())
    if gaps:
        found = f"{gaps} of {slab.size} points without a value"
        needed = f"{entry.name} everywhere: the atmosphere has no land"
        raise _refused(needed, found, where, "fetch the file again", "coverage", entry.name)
    return _by_component(slab, entry, lambda component: w.mean(component, weights)[0])


def _by_component(slab: Field, entry: Variable, averaged: Callable[[Field], Field]) -> Field:
    """A plain mean; of an angle in degrees the direction of the mean unit vector, 0 <= angle < 360."""
    if not entry.circular:
        return averaged(slab)
    radians = np.deg2rad(slab.astype(np.float64))
    east, north = averaged(np.sin(radians).astype(np.float32)), averaged(np.cos(radians).astype(np.float32))
    angle = np.rad2deg(np.arctan2(east, north)) % np.float32(360.0)
    return np.where(angle >= 360.0, np.float32(0.0), angle).astype(np.float32)


def _covered(covered: NDArray[np.float64], target: Target, where: str) -> None:
    needed = np.ones(target.grid.shape, dtype=bool) if target.mask is None else target.mask.any(axis=0)
    bare = needed & (covered < coast.FULL_COVER)
    if bare.any():
        rows, columns = np.nonzero(bare)
        south, north = target.grid.latitude[[rows.min(), rows.max()]]
        west, east = target.grid.longitude[[columns.min(), columns.max()]]
        raise _refused(
            f"cells over all of the grid's {int(needed.sum())} cells that need values",
            f"{int(bare.sum())} not covered, within {south:.2f}..{north:.2f}N {west:.2f}..{east:.2f}E", where,
            "fetch a region half a cell wider than the grid on every side", "coverage",
        )  # fmt: skip


def _labelled(values: Field, entry: Variable, target: Target) -> xr.DataArray:
    coords: dict[str, object] = {"latitude": target.grid.latitude, "longitude": target.grid.longitude}
    dims: tuple[str, ...] = ("latitude", "longitude")
    if entry.has_depth:
        coords, dims = {"depth": np.asarray(target.depths_m, dtype=np.float64), **coords}, ("depth", *dims)
    return xr.DataArray(values, coords=coords, dims=dims, name=entry.name, attrs={"units": entry.units})


def _noted(record: InputRecord, filled: dict[str, int]) -> InputRecord:
    """The record with the coastal cells that were filled, over all levels, in its note."""
    told = [f"{name} {filled[name]}" for name in record.variables if filled.get(name)]
    if not told:
        return record
    note = f"coastal cells filled from their ocean neighbours: {', '.join(told)}"
    return record.model_copy(update={"note": f"{record.note}; {note}" if record.note else note})


def _refused(needed: str, found: str, where: str, action: str, check: str = "levels", field: str = "") -> InputRefused:
    return InputRefused(needed, found=found, where=where, action=action, check=check, field=field)
