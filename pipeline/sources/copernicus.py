"""Copernicus Marine's analyses and forecasts: the second rung for the ocean, the waves and the plankton.

Found by its catalogue (identifiers and addresses change about twice a year): ``<address>/clientsConfigV1.json`` names
the catalogue and the map of datasets to products, a product's STAC names its datasets, a dataset's the address of its
``timeChunked`` Zarr store (format 2, packed int16, dimensions time, elevation, latitude, longitude). Quirks:

- A login is wanted (``GOMS_LOGINS__COPERNICUS_USER`` and ``__COPERNICUS_PASSWORD``).
- Physics and biogeochemistry are *daily means*, stamped with their day, and said to be such; waves are instants.
- ``thetao`` is potential temperature: brought to in-situ temperature by TEOS-10 (gsw). Levels are its own fifty:
  linear between two, the uppermost (0.5 m) for the surface; where only the upper of two has water, the upper's.
- A chunk without water is not stored: absent is land there, unless every chunk of a level is absent.
- Iron is in mmol m-3, a thousand of ours. There are no phytoplankton groups in the analysis.
- ``VMDR`` is the direction *from* which; ``VTM10`` is the period of the inverse frequency moment, as ERA5's is.
- The mixed layer is physics', at 1/12 degree: every third point of it is a point of the biogeochemistry.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.errors import InputRefused, InputUnavailable
from pipeline.provenance import FileRecord
from pipeline.sources import Native, Request, Sighting, Term
from pipeline.sources import holdings as h
from pipeline.sources.copernicus_catalogue import CATALOGUE, log_in, store_of
from pipeline.sources.cubes import Cube, Place
from pipeline.sources.era5 import BEARING, LENGTH, SECONDS, SPEED
from pipeline.sources.transfer import Part, shown
from pipeline.sources.vertical import at_depths, bracketing, in_situ
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
Field = NDArray[np.float64]
Plane = NDArray[np.float32]
"""One level of one variable as it was fetched: NaN where there is no water."""
Chunk = tuple[NDArray[Any], Part] | None


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
        words = f"{self.title} holds {found:%Y-%m-%dT%HZ}" if found else f"{self.title} holds no such day"
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
        return Native(dataset, LEXICON, tuple(session.files), note)


class _Session:
    """The stores of one request, opened once each, within one deadline."""

    def __init__(self, request: Request) -> None:
        """Log in, which raises as ``log_in`` does."""
        self.request, self.end = request, time.monotonic() + request.deadline_seconds
        self.address = request.archives.get(CopernicusSource.name, CATALOGUE)
        log_in(request.archives, self.left())
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

    def levels(self, name: str, moment: datetime) -> tuple[Field, list[Plane]]:
        """Depths in metres, downward, and the planes there: those that our own depths lie between, no others."""
        cube = self.cube(name)
        step = int(np.flatnonzero(_stamps(cube) == _stamp(moment, self.request.kind))[0])
        if "elevation" not in cube.dims(name):
            return np.zeros(1), self._planes(cube, name, [(step,)])
        depths = -np.asarray(cube.whole("elevation"), dtype=np.float64)
        ours = self.request.depths_m if name in DEEP else (0.0,)
        wanted = bracketing(np.sort(depths), ours)
        rows = [int(np.flatnonzero(depths == depth)[0]) for depth in wanted]
        return wanted, self._planes(cube, name, [(step, row) for row in rows])

    def _planes(self, cube: Cube, name: str, leads: list[tuple[int, ...]]) -> list[Plane]:
        """The planes at these places of the leading dimensions, fetched together."""
        array = cube.array(name)
        if array.chunks[:-2] != (1,) * len(leads[0]):
            raise InputRefused(
                f"{name} in chunks of one instant and one level", found=f"chunks of {array.chunks}",
                where=shown(cube.address), action="tell its provider: its layout has changed",
            )  # fmt: skip
        counts = [-(-size // chunk) for size, chunk in zip(array.shape[-2:], array.chunks[-2:], strict=True)]
        cells = [tuple(map(int, index)) for index in np.ndindex(*counts)]
        cube.deadline_seconds = self.left()
        found = cube.chunks(Place(name, (*lead, *cell)) for lead in leads for cell in cells)
        return [self._plane(cube, name, lead, {cell: found[Place(name, (*lead, *cell))] for cell in cells})
                for lead in leads]  # fmt: skip

    def _plane(self, cube: Cube, name: str, lead: tuple[int, ...], chunks: Mapping[tuple[int, ...], Chunk]) -> Plane:
        array = cube.array(name)
        if not any(chunks.values()):
            raise InputUnavailable(
                f"{name} of {CopernicusSource.title}", found=f"none of the {len(chunks)} chunks of step {lead}",
                where=shown(cube.address), action="wait for the archive, or take the next rung",
            )  # fmt: skip
        values = np.full(array.shape[-2:], np.nan, dtype=np.float32)
        for cell, item in chunks.items():
            if item is not None:
                block = _unpacked(item[0][(0,) * len(lead)], array)
                row, column = (at * size for at, size in zip(cell, array.chunks[-2:], strict=True))
                values[row : row + block.shape[0], column : column + block.shape[1]] = block
                self.files.append(item[1].record())
        return values


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


def _unpacked(block: NDArray[Any], array: Any) -> NDArray[np.float32]:
    attrs = dict(array.attrs)
    fill = attrs.get("_FillValue", array.fill_value)
    values = block * float(attrs.get("scale_factor", 1.0)) + float(attrs.get("add_offset", 0.0))
    return np.where(block == fill, np.nan, values).astype(np.float32)


def _fields(
    levels: Mapping[str, tuple[Field, list[Plane]]], session: _Session, request: Request
) -> dict[str, xr.DataArray]:
    """Every variable (depth,) latitude, longitude; temperature in situ, lazily, a level at a time."""
    fields = {}
    for name, (depths, planes) in levels.items():
        cube = session.cube(name)
        axes = {axis: np.asarray(cube.whole(axis), dtype=np.float64) for axis in PLANE}
        stack = np.stack(planes)
        units = {"units": str(cube.array(name).attrs.get("units", ""))}
        if name in DEEP:
            lazily = da.from_array(stack, chunks=(-1, 256, -1))  # type: ignore[no-untyped-call]
            ours = at_depths(lazily, depths, request.depths_m)
            fields[name] = xr.DataArray(ours, {"depth": np.array(request.depths_m), **axes}, ("depth", *PLANE),
                                        attrs=units)  # fmt: skip
        elif name == "mlotst" and request.kind is Kind.BIOGEOCHEMISTRY:
            thinned = {axis: values[::3] for axis, values in axes.items()}
            fields[name] = xr.DataArray(stack[0][::3, ::3], thinned, PLANE, attrs=units)
        else:
            fields[name] = xr.DataArray(stack[0], axes, PLANE, attrs=units)
    if "thetao" in fields:
        fields["thetao"] = in_situ(fields["thetao"], fields["so"])
    return fields
