"""Slabs: one level of one field at one instant. Fetched at most once, verified, kept, and put together lazily."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import dask.array as da
import numpy as np
import xarray as xr
from dask.delayed import delayed
from numpy.typing import NDArray

from pipeline.errors import InputRefused, StoreError
from pipeline.grids import Axis, Grid
from pipeline.objects.slab_cache import slab_key
from pipeline.provenance import FileRecord
from pipeline.sources import Slabs
from pipeline.sources.asking import Asking, all_of
from pipeline.sources.holdings import Stamps
from pipeline.sources.slab_check import Figures, culprits, figures

MARGIN_CELLS = 3
"""Native cells beyond the outer edges of a regional grid: one more than ``translate`` keeps."""
LOOKS = 2
"""How often a slab is fetched that does not agree with its neighbours."""

Progress = Callable[[int, int, int], None]
"""Told the slabs that are there, all slabs, and the bytes moved so far."""


class Box(NamedTuple):
    """Rows from..to and one or two runs of columns from..to (two where the region crosses the axis's seam)."""

    rows: tuple[int, int]
    columns: tuple[tuple[int, int], ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows[1] - self.rows[0], sum(stop - start for start, stop in self.columns)


class Field(NamedTuple):
    """One native variable of one dataset: everything but its values.

    ``dataset`` names it within the archive, ``uri`` is its address; ``version`` changes when the archive makes it
    anew; ``read`` fetches one slab and verifies what can be verified of it alone. ``depths_m`` is ``None`` of a
    surface field; ``tau_hours``: hours from the analysis to each step, where the archive tells.
    """

    name: str
    dataset: str
    uri: str
    version: str
    stamps: Stamps
    depths_m: Axis | None
    latitude: Axis
    longitude: Axis
    attributes: Mapping[str, Any]
    dtype: str
    read: Callable[[Asking, Slab], Awaitable[NDArray[Any]]]
    tau_hours: Axis | None = None

    @property
    def fill(self) -> float:
        """The packed value of land."""
        for name in ("_FillValue", "missing_value"):
            if name in self.attributes:
                return float(np.asarray(self.attributes[name]).flat[0])
        return float("nan")


class Slab(NamedTuple):
    """One level of a field at one instant within a box; ``level`` is ``None`` of a surface field."""

    field: Field
    stamp: np.datetime64
    level: int | None
    box: Box

    @property
    def step(self) -> int:
        """The place of the instant along the field's time axis."""
        return int(np.flatnonzero(self.field.stamps == self.stamp)[0])

    @property
    def depth_m(self) -> float | None:
        """The depth in metres."""
        return None if self.level is None or self.field.depths_m is None else float(self.field.depths_m[self.level])

    @property
    def key(self) -> str:
        """What it is kept under."""
        field = self.field
        axes = hashlib.sha256(field.latitude.tobytes() + field.longitude.tobytes()).hexdigest()
        return slab_key(field.dataset, field.version, field.name, self.stamp, self.depth_m, self.box, axes)

    def __str__(self) -> str:
        depth = "" if self.depth_m is None else f" at {self.depth_m:g} m"
        return f"{self.field.name}{depth} of {self.stamp}"


def box_of(field: Field, grid: Grid) -> Box:
    """The rows and columns of a field's axes that cover a grid with a margin; all of them where it is global."""
    latitude, longitude = field.latitude, field.longitude
    if grid.periodic:
        return Box((0, latitude.size), ((0, longitude.size),))
    margin = MARGIN_CELLS * float(np.abs(np.diff(latitude)).max())
    inside = (latitude >= grid.latitude_edges[0] - margin) & (latitude <= grid.latitude_edges[-1] + margin)
    rows = np.flatnonzero(inside)
    margin = MARGIN_CELLS * float(np.abs((np.diff(longitude) + 180.0) % 360.0 - 180.0).max())
    west, width = grid.longitude_edges[0] - margin, grid.longitude_edges[-1] - grid.longitude_edges[0] + 2 * margin
    return Box((int(rows[0]), int(rows[-1]) + 1), _runs((longitude - west) % 360.0 <= width))


def _runs(inside: NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
    """Where True begins and ends; of two runs the one that ends the axis first, for it is the western one."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(np.int8)))
    runs = tuple((int(start), int(stop)) for start, stop in edges.reshape(-1, 2))
    return runs[::-1] if len(runs) == 2 and runs[1][1] == inside.size and runs[0][0] == 0 else runs


def wanted(field: Field, stamp: np.datetime64, depths_m: Sequence[float], grid: Grid) -> list[Slab]:
    """The slabs of a field at an instant that lie at the depths; a depth it does not have is left out."""
    box = box_of(field, grid)
    if field.depths_m is None:
        return [Slab(field, stamp, None, box)]
    levels = [int(np.abs(field.depths_m - depth).argmin()) for depth in depths_m]
    there = [level for level, depth in zip(levels, depths_m, strict=True) if abs(field.depths_m[level] - depth) < 1e-3]
    return [Slab(field, stamp, level, box) for level in there]


async def collect(asking: Asking, slabs: Sequence[Slab], cache: Slabs, told: Progress) -> dict[str, Figures]:
    """Have every slab in the cache, each whole and in agreement with the others; its figures by key.

    A slab that does not agree is fetched once more; raises ``InputRefused`` where the archive says so again.
    """
    done: dict[str, Figures] = {}

    async def one(slab: Slab, again: bool) -> None:
        key = slab.key
        array = None if again else await asyncio.to_thread(cache.get, key)
        if array is None:
            array = await slab.field.read(asking, slab)
            await asyncio.to_thread(cache.put, key, array)
        done[key] = await asyncio.to_thread(figures, array, slab.field.fill)
        asking.state = f"{len(done)} of {len(slabs)} slabs are there"
        told(len(done), len(slabs), asking.moved_bytes)

    await all_of([one(slab, again=False) for slab in slabs])
    for look in range(LOOKS):
        suspects = culprits([(slab, done[slab.key]) for slab in slabs], final=look == LOOKS - 1)
        if not suspects:
            break
        await all_of([one(slab, again=True) for slab in suspects])
    return done


def assembled(slabs: Sequence[Slab], cache: Slabs) -> xr.Dataset:
    """The slabs of one instant as the archive packs them: (time, depth, lat, lon) and (time, lat, lon), lazily."""
    fields: dict[str, list[Slab]] = {}
    for slab in slabs:
        fields.setdefault(slab.field.name, []).append(slab)
    parts = []
    dims: tuple[str, ...]
    for name, mine in fields.items():
        field, box = mine[0].field, mine[0].box
        planes = [_plane(slab, cache) for slab in mine]
        columns = np.concatenate([np.arange(*run) for run in box.columns])
        coordinates = {"lat": field.latitude[slice(*box.rows)], "lon": field.longitude[columns]}
        if field.depths_m is None:
            values, dims = planes[0][None], ("time", "lat", "lon")
        else:
            values = da.stack(planes)[None]  # type: ignore[no-untyped-call]
            dims = ("time", "depth", "lat", "lon")
            coordinates["depth"] = np.array([slab.depth_m for slab in mine])
        coordinates["time"] = np.array([mine[0].stamp]).astype("datetime64[ns]")
        parts.append(xr.DataArray(values, coordinates, dims, name, dict(field.attributes)).to_dataset())
    try:
        return xr.merge(parts, join="exact", compat="equals", combine_attrs="drop_conflicts")
    except (ValueError, xr.MergeError) as error:
        raise InputRefused(
            f"{', '.join(fields)} on the same axes", found="latitudes, longitudes or depths that differ",
            where=", ".join(sorted({slab.field.uri for slab in slabs})), action="look at the archive's notices",
        ) from error  # fmt: skip


def records(slabs: Sequence[Slab], found: Mapping[str, Figures]) -> tuple[FileRecord, ...]:
    """One record a dataset: the bytes that were used of it, and the SHA-256 over its slabs' own in order."""
    digests: dict[str, Any] = {}
    sizes: dict[str, int] = {}
    for slab in slabs:
        digests.setdefault(slab.field.uri, hashlib.sha256()).update(found[slab.key].sha256.encode())
        sizes[slab.field.uri] = sizes.get(slab.field.uri, 0) + found[slab.key].size_bytes
    return tuple(FileRecord(uri=uri, size_bytes=sizes[uri], sha256=digests[uri].hexdigest()) for uri in sorted(digests))


def _plane(slab: Slab, cache: Slabs) -> da.Array:
    read = delayed(partial(kept, cache, str(slab)), pure=False, traverse=False)(slab.key)
    plane: da.Array = da.from_delayed(read, slab.box.shape, np.dtype(slab.field.dtype))  # type: ignore[no-untyped-call]
    return plane


def kept(cache: Slabs, name: str, key: str) -> NDArray[Any]:
    """What a fetch has put into the cache; ``StoreError`` where it is gone from there."""
    array = cache.get(key)
    if array is None:
        raise StoreError(
            f"{name}, which was fetched", found="it gone from the cache, or damaged there", where=f"the entry {key}",
            action="run again: it will be fetched again",
        )  # fmt: skip
    return array
