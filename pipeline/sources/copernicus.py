"""Copernicus Marine's analyses and forecasts: the second rung for the ocean, the waves and the plankton.

Found by its catalogue (identifiers and addresses change about twice a year): ``<address>/clientsConfigV1.json`` names
the catalogue and the map of datasets to products, a product's STAC names its datasets, a dataset's the address of its
``timeChunked`` Zarr store (format 2, packed int16, dimensions time, elevation, latitude, longitude). Quirks:

- A login is wanted (``GOMS_LOGINS__COPERNICUS_USER`` and ``__COPERNICUS_PASSWORD``).
- Physics and biogeochemistry are *daily means*, stamped with their day, and said to be such; waves are instants.
- A store ends with a forecast, and tells nowhere where it begins: its last ``FORECAST_DAYS`` are taken for it.
- ``thetao`` is potential temperature: brought to in-situ temperature by TEOS-10 (gsw). Levels are its own fifty:
  linear between two, the uppermost (0.5 m) for the surface; where only the upper of two has water, the upper's.
- A chunk without water is not stored. One that is absent where the sea bed says that there is sea (``SEA_SHARE`` of
  it or more) has not landed, or is gone: it is never taken for land.
- Iron is in mmol m-3, a thousand of ours. There are no phytoplankton groups in the analysis.
- ``VMDR`` is the direction *from* which; ``VTM10`` is the period of the inverse frequency moment, as ERA5's is.
- The mixed layer is physics', at 1/12 degree: every third point of it is a point of the biogeochemistry.

Levels are kept in the cache as they are packed, by the state of their store, and opened one at a time: a fetch that was
killed goes on where it stopped, and what is taken in is never in memory as a whole. The archive's own toolbox is not
used: it reads absent chunks as land, and has no deadline.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import dask.array as da
import numpy as np
import xarray as xr
from dask.delayed import delayed
from numpy.typing import NDArray

from pipeline.earth import climatology
from pipeline.errors import InputRefused, InputUnavailable
from pipeline.objects.slab_cache import SlabCache, slab_key
from pipeline.provenance import FileRecord
from pipeline.sources import Native, Request, Sighting, Slabs, Term
from pipeline.sources import holdings as h
from pipeline.sources.copernicus_catalogue import CATALOGUE, log_in, store_of
from pipeline.sources.cubes import Cube, Place
from pipeline.sources.era5 import BEARING, LENGTH, SECONDS, SPEED
from pipeline.sources.slabs import kept
from pipeline.sources.transfer import shown
from pipeline.sources.vertical import at_depths, bracketing, in_situ
from pipeline.store import Store
from pipeline.variables import Kind

CELSIUS = dict.fromkeys(("degrees_C", "degree_C", "degC"), (1.0, 0.0))
PRACTICAL = dict.fromkeys(("1e-3", "0.001", "1", "psu"), (1.0, 0.0))
"""Spellings of the practical salinity scale, which has no unit: 1e-3 is the old way to write it, not a factor."""
CHLOROPHYLL = dict.fromkeys(("mg m-3", "mg/m3"), (1.0, 0.0))
IRON = dict.fromkeys(("mmol m-3", "mmol/m3"), (1000.0, 0.0))
NITRATE = dict.fromkeys(("mmol m-3", "mmol/m3"), (1.0, 0.0))
LEXICON = {
    "to": Term("thetao", CELSIUS),
    "so": Term("so", PRACTICAL),
    "uo": Term("uo", SPEED),
    "vo": Term("vo", SPEED),
    "zos": Term("zos", LENGTH),
    "swh": Term("VHM0", LENGTH),
    "mwp": Term("VTM10", SECONDS),
    "mwd": Term("VMDR", BEARING),
    "chl": Term("chl", CHLOROPHYLL),
    "fe": Term("fe", IRON),
    "no3": Term("no3", NITRATE),
    "mld": Term("mlotst", LENGTH),
}
PHYSICS = "cmems_mod_glo_phy"
DATASETS: Mapping[str, str] = {
    "thetao": f"{PHYSICS}-thetao_anfc_0.083deg_P1D-m",
    "so": f"{PHYSICS}-so_anfc_0.083deg_P1D-m",
    "uo": f"{PHYSICS}-cur_anfc_0.083deg_P1D-m",
    "vo": f"{PHYSICS}-cur_anfc_0.083deg_P1D-m",
    "zos": f"{PHYSICS}_anfc_0.083deg_P1D-m",
    "mlotst": f"{PHYSICS}_anfc_0.083deg_P1D-m",
    "chl": "cmems_mod_glo_bgc-pft_anfc_0.25deg_P1D-m",
    "no3": "cmems_mod_glo_bgc-nut_anfc_0.25deg_P1D-m",
    "fe": "cmems_mod_glo_bgc-nut_anfc_0.25deg_P1D-m",
    "VHM0": "cmems_mod_glo_wav_anfc_0.083deg_PT3H-i",
    "VTM10": "cmems_mod_glo_wav_anfc_0.083deg_PT3H-i",
    "VMDR": "cmems_mod_glo_wav_anfc_0.083deg_PT3H-i",
}
DEEP = ("thetao", "so", "uo", "vo")
PLANE = ("latitude", "longitude")
SEA_SHARE = 0.05
"""Of a chunk's points that are sea by the packaged sea bed (1/3 degree), from which it cannot be without water: the
archive leaves out the Caspian and the ice shelves."""
BED_SHARE, BED_M = 1.5, 50.0
"""A level has water for certain where the bed is so many times as deep and so much deeper: two beds never agree."""
ICE_DEGREES = 60.0
"""Poleward of it waves may be missing under ice."""
FORECAST_DAYS = 10
"""Days that a store reaches beyond its last analysis. Mercator Ocean, who make it, describe the global physics as daily
means "to D-1 to D+9"; waves and biogeochemistry are forecasts of ten days too by the catalogue. No metadata of a store
or of the catalogue has the boundary itself."""
PLANES_AT_ONCE = 8
"""Levels that are fetched together: about 18 MB each."""
Field = NDArray[np.float64]


class _Level(NamedTuple):
    """One level of a variable: its place along the leading dimensions, and its depth."""

    lead: tuple[int, ...]
    depth_m: float
    key: str


class _Packing(NamedTuple):
    """How a store packs a variable."""

    fill: float
    scale: float
    offset: float

    def unpacked(self, plane: NDArray[Any]) -> NDArray[np.float32]:
        """In the archive's unit, NaN where there is no water."""
        return np.where(plane == self.fill, np.nan, plane * self.scale + self.offset).astype(np.float32)


class CopernicusSource:
    """Copernicus Marine's global ocean."""

    name = "copernicus"
    title = "Copernicus Marine"
    kinds: tuple[Kind, ...] = (Kind.OCEAN, Kind.WAVES, Kind.BIOGEOCHEMISTRY)

    def look(self, request: Request) -> Sighting:
        """The time axis of the first dataset; see ``Source.look``."""
        try:
            session = _Session(request)
            cube = session.cube(next(iter(_natives(request))))
            found = _moment(cube, request)
        except (InputUnavailable, InputRefused) as lack:
            return Sighting(False, None, "the catalogue", str(lack), isinstance(lack, InputRefused))
        ahead = f", a {_forecast(hours)}" if found and (hours := _ahead_hours(cube, found, request.kind)) else ""
        words = f"{self.title} holds {found:%Y-%m-%dT%HZ}{ahead}" if found else f"{self.title} holds no such day"
        return Sighting(found is not None, found, "the store's time axis", words)

    def fetch(self, request: Request) -> Native:
        """The wanted levels and no others, brought to ours; see ``Source.fetch``."""
        session = _Session(request)
        names = _natives(request)
        if "thetao" in names and "so" not in names:
            names = (*names, "so")  # in-situ temperature follows from both
        moments = {name: _moment(session.cube(name), request) for name in names}
        held = {name: moment for name, moment in moments.items() if moment is not None}
        if not held:
            raise InputUnavailable(
                f"{self.title} {request.kind} for {request.when:%Y-%m-%dT%HZ}", found="no dataset that reaches it",
                where=session.address, action="wait for the archive, or take the next rung",
            )  # fmt: skip
        newest = max(held.values())
        levels = {name: session.levels(name, newest) for name in held if held[name] == newest}
        if "thetao" in levels and "so" not in levels:
            del levels["thetao"]
        fields = _fields(levels, session, request)
        stamp = np.array([h.instant(newest)]).astype("datetime64[ns]")
        dataset = xr.Dataset({name: field.expand_dims(time=stamp) for name, field in fields.items()})
        note = "instantaneous" if request.kind is Kind.WAVES else f"daily mean of {newest:%Y-%m-%d}, not a snapshot"
        if "thetao" in fields:
            note += "; potential temperature brought to in-situ temperature (TEOS-10); levels interpolated linearly"
        hours = max(_ahead_hours(session.cube(name), newest, request.kind) for name in levels)
        note += f"; {_forecast(hours)}" if hours else ""
        analysed = newest - timedelta(hours=hours) if hours else None
        return Native(dataset, LEXICON, tuple(session.files), note, analysed)


class _Session:
    """The stores of one request, opened once each, within one deadline."""

    def __init__(self, request: Request) -> None:
        """Log in, which raises as ``log_in`` does."""
        self.request, self.end = request, time.monotonic() + request.deadline_seconds
        self.address = request.archives.get(CopernicusSource.name, CATALOGUE)
        log_in(request.archives, self.left())
        self.cache: Slabs = request.cache or SlabCache(Store(request.scratch), request.when)
        self.files: list[FileRecord] = []
        self._cubes: dict[str, Cube] = {}

    def left(self) -> float:
        """Seconds to the deadline."""
        return max(self.end - time.monotonic(), 0.001)

    def cube(self, name: str) -> Cube:
        """The store of the dataset a variable is in."""
        dataset = DATASETS[name]
        if dataset not in self._cubes:
            address = store_of(dataset, self.request.archives, self.left())
            self._cubes[dataset] = Cube(address, CopernicusSource.title, self.left())
            self.files.append(self._cubes[dataset].metadata)
        self._cubes[dataset].deadline_seconds = self.left()
        return self._cubes[dataset]

    def levels(self, name: str, moment: datetime) -> tuple[Field, list[da.Array]]:
        """Depths in metres, downward, and the planes there, lazily: those that our own depths lie between, alone."""
        cube = self.cube(name)
        step = int(np.flatnonzero(_stamps(cube) == _stamp(moment, self.request.kind))[0])
        if "elevation" not in cube.dims(name):
            return np.zeros(1), self._planes(cube, name, [_level(cube, name, (step,), 0.0)])
        depths = -np.asarray(cube.whole("elevation"), dtype=np.float64)
        ours = self.request.depths_m if name in DEEP else (0.0,)
        wanted = bracketing(np.sort(depths), ours)
        rows = [int(np.flatnonzero(depths == depth)[0]) for depth in wanted]
        found = [_level(cube, name, (step, row), float(depths[row])) for row in rows]
        return wanted, self._planes(cube, name, found)

    def _planes(self, cube: Cube, name: str, levels: Sequence[_Level]) -> list[da.Array]:
        """The levels, each in the cache and lazily read from there; their record beside the others."""
        array = cube.array(name)
        if array.chunks[:-2] != (1,) * len(levels[0].lead):
            raise InputRefused(
                f"{name} in chunks of one instant and one level", found=f"chunks of {array.chunks}",
                where=shown(cube.address), action="tell its provider: its layout has changed",
            )  # fmt: skip
        digest, size_bytes = hashlib.sha256(), 0
        for first in range(0, len(levels), PLANES_AT_ONCE):
            for plane in self._kept(cube, name, levels[first : first + PLANES_AT_ONCE]):
                digest.update(plane.tobytes())
                size_bytes += plane.nbytes
        uri = f"{shown(cube.address)}/{name}"
        self.files.append(FileRecord(uri=uri, size_bytes=size_bytes, sha256=digest.hexdigest()))
        return [_lazily(self.cache, array, f"{name} at {level.depth_m:g} m", level.key) for level in levels]

    def _kept(self, cube: Cube, name: str, levels: Sequence[_Level]) -> Iterator[NDArray[Any]]:
        """The packed planes in their order; those that are not in the cache are fetched together, and put there."""
        there = {level: self.cache.get(level.key) for level in levels}
        absent = [level for level, plane in there.items() if plane is None]
        for level, plane in zip(absent, self._fetched(cube, name, absent), strict=True):
            self.cache.put(level.key, plane)
            there[level] = plane
        yield from (plane for plane in there.values() if plane is not None)

    def _fetched(self, cube: Cube, name: str, levels: Sequence[_Level]) -> Iterator[NDArray[Any]]:
        array = cube.array(name)
        counts = [-(-size // chunk) for size, chunk in zip(array.shape[-2:], array.chunks[-2:], strict=True)]
        cells = [tuple(map(int, index)) for index in np.ndindex(*counts)]
        cube.deadline_seconds = self.left()
        found = cube.chunks(Place(name, (*level.lead, *cell)) for level in levels for cell in cells)
        axes = [np.asarray(cube.whole(axis), dtype=np.float64) for axis in PLANE] if None in found.values() else []
        for level in levels:
            plane = np.full(array.shape[-2:], _packing(array).fill, dtype=array.dtype)
            for cell in cells:
                box = tuple(slice(at * size, (at + 1) * size) for at, size in zip(cell, array.chunks[-2:], strict=True))
                item = found[Place(name, (*level.lead, *cell))]
                if item is not None:
                    plane[box] = item[0][(0,) * len(level.lead)]
                elif self._is_sea(axes[0][box[0]], axes[1][box[1]], level.depth_m):
                    raise _gone(cube, name, level, cell)
            yield plane

    def _is_sea(self, latitude: Field, longitude: Field, depth_m: float) -> bool:
        """Whether there is too much sea for a chunk without water."""
        sea = climatology.is_sea(latitude, longitude, BED_SHARE * depth_m + BED_M)
        if self.request.kind is Kind.WAVES:
            sea = sea & (np.abs(latitude) < ICE_DEGREES)[:, None]
        return bool(sea.mean() >= SEA_SHARE)


def _level(cube: Cube, name: str, lead: tuple[int, ...], depth_m: float) -> _Level:
    """A level with the key it is kept under: another one as soon as its store is written anew."""
    return _Level(lead, depth_m, slab_key(shown(cube.address), cube.metadata.sha256, name, lead))


def _lazily(cache: Slabs, array: Any, words: str, key: str) -> da.Array:
    read = delayed(partial(_opened, cache, _packing(array), words), pure=False, traverse=False)(key)
    plane: da.Array = da.from_delayed(read, array.shape[-2:], np.dtype(np.float32))  # type: ignore[no-untyped-call]
    return plane


def _opened(cache: Slabs, packing: _Packing, words: str, key: str) -> NDArray[np.float32]:
    return packing.unpacked(kept(cache, words, key))


def _packing(array: Any) -> _Packing:
    attrs = dict(array.attrs)
    fill = attrs.get("_FillValue", array.fill_value)
    return _Packing(float(fill), float(attrs.get("scale_factor", 1.0)), float(attrs.get("add_offset", 0.0)))


def _gone(cube: Cube, name: str, level: _Level, cell: tuple[int, ...]) -> InputUnavailable:
    return InputUnavailable(
        f"{name} of {CopernicusSource.title}", found=f"chunk {cell} of step {level.lead} not there, where the sea is",
        where=shown(cube.address), action="wait for the archive, or take the next rung",
    )  # fmt: skip


def _natives(request: Request) -> tuple[str, ...]:
    return tuple(LEXICON[name].native for name in request.variables if name in LEXICON)


def _moment(cube: Cube, request: Request) -> datetime | None:
    """The request's instant, or the newest of the days before that the age allows and the store holds."""
    stamps = _stamps(cube)
    for day in range(int(request.maximum_age_days) + 1):
        moment = request.when.astimezone(UTC) - timedelta(days=day)
        if (stamps == _stamp(moment, request.kind)).any():
            return moment
    return None


def _ahead_hours(cube: Cube, moment: datetime, kind: Kind) -> float:
    """Hours from the store's last analysis to a moment's stamp, where that lies in its forecast; else 0."""
    last = _stamps(cube).max() - np.timedelta64(FORECAST_DAYS, "D")
    return max(0.0, float((_stamp(moment, kind) - last) / np.timedelta64(1, "h")))


def _forecast(hours: float) -> str:
    return f"forecast of {hours:g} h from the archive's last analysis"


def _stamp(moment: datetime, kind: Kind) -> np.datetime64:
    """The stamp of a moment's daily mean, its day's beginning; of waves, which are instants, the moment."""
    stamp = h.instant(moment)
    return stamp if kind is Kind.WAVES else stamp.astype("datetime64[D]").astype("datetime64[s]")


def _stamps(cube: Cube) -> h.Stamps:
    """The time axis; of daily means whatever the hour of their stamp, the day's beginning."""
    attrs: dict[str, Any] = dict(cube.array("time").attrs)
    values = np.asarray(cube.whole("time"))
    if str(attrs.get("units", "")).startswith("milliseconds since"):
        values, attrs["units"] = values / 1000.0, str(attrs["units"]).replace("milliseconds", "seconds", 1)
    stamps = h.decoded_stamps(xr.Variable(("time",), values, attrs), shown(cube.address))
    daily = stamps.size > 1 and bool((np.diff(stamps) >= np.timedelta64(1, "D")).all())
    return stamps.astype("datetime64[D]").astype("datetime64[s]") if daily else stamps


def _fields(
    levels: Mapping[str, tuple[Field, list[da.Array]]], session: _Session, request: Request
) -> dict[str, xr.DataArray]:
    """Every variable (depth,) latitude, longitude, lazily; temperature in situ, a level at a time."""
    fields: dict[str, xr.DataArray] = {}
    for name, (depths, planes) in levels.items():
        cube = session.cube(name)
        axes = {axis: np.asarray(cube.whole(axis), dtype=np.float64) for axis in PLANE}
        units = {"units": str(cube.array(name).attrs.get("units", ""))}
        if name in DEEP:
            ours = at_depths(planes, depths, request.depths_m)
            fields[name] = xr.DataArray(ours, {"depth": np.array(request.depths_m), **axes}, ("depth", *PLANE),
                                        attrs=units)  # fmt: skip
        elif name == "mlotst" and request.kind is Kind.BIOGEOCHEMISTRY:
            thinned = {axis: values[::3] for axis, values in axes.items()}
            fields[name] = xr.DataArray(planes[0][::3, ::3], thinned, PLANE, attrs=units)
        else:
            fields[name] = xr.DataArray(planes[0], axes, PLANE, attrs=units)
    if "thetao" in fields:
        fields["thetao"] = in_situ(fields["thetao"], fields["so"])
    return _on_one_grid(fields, session)


def _on_one_grid(fields: dict[str, xr.DataArray], session: _Session) -> dict[str, xr.DataArray]:
    """Every field on the first one's axes, which its stores give to their own rounding; never a union of two grids."""
    first = next(iter(fields.values()))
    for name, field in fields.items():
        same = all(field.sizes[axis] == first.sizes[axis] and np.allclose(field[axis], first[axis], atol=1e-3)
                   for axis in PLANE)  # fmt: skip
        if not same:
            raise InputRefused(
                f"{', '.join(fields)} on one grid", found=f"{name} of {field.sizes['latitude']} rows and "
                f"{field.sizes['longitude']} columns, others of {first.sizes['latitude']} and "
                f"{first.sizes['longitude']}, or in other places", where=session.address,
                action="tell its provider: its grids have changed",
            )  # fmt: skip
    return {name: field.assign_coords({axis: first[axis] for axis in PLANE}) for name, field in fields.items()}
