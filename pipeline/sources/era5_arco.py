"""ERA5 as one Zarr store in the cloud (ARCO): hourly, 0.25 degrees, a chunk an hour, read without an account.

``gs://gcp-public-data-arco-era5/ar/full_37-1h-0p25deg-chunk-1.zarr-v3`` or a copy of it at any address. Quirks:

- The arrays reach years beyond the data: ``valid_time_stop_era5t`` says to what day they are filled, and
  ``valid_time_stop`` to what day they are final; beyond, they are preliminary (ERA5T) and may be corrected.
- Names are long (``10m_u_component_of_wind``), latitudes go from 90 to -90. The waves are there in some copies only,
  missing over land and ice; directions are degrees *from* which.
- The newest instant within the allowed age at the same hour of the day is taken, as in ERA5's files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.errors import InputRefused, InputUnavailable
from pipeline.provenance import FileRecord
from pipeline.sources import Native, Request, Sighting, Term, era5
from pipeline.sources import holdings as h
from pipeline.sources.cubes import Cube, Place
from pipeline.sources.transfer import shown
from pipeline.variables import Kind

ADDRESS = "gs://gcp-public-data-arco-era5/ar/full_37-1h-0p25deg-chunk-1.zarr-v3"
LONG_NAMES = {
    "u10": "10m_u_component_of_wind",
    "v10": "10m_v_component_of_wind",
    "t2m": "2m_temperature",
    "msl": "mean_sea_level_pressure",
    "sp": "surface_pressure",
    "swh": "significant_height_of_combined_wind_waves_and_swell",
    "mwp": "mean_wave_period",
    "mwd": "mean_wave_direction",
}
LEXICON = {name: Term(LONG_NAMES[name], term.units) for name, term in era5.LEXICON.items()}
PLANE = ("latitude", "longitude")


class _Reach(NamedTuple):
    """To what instant the store is filled, and to what instant it is final."""

    filled: datetime
    final: datetime | None


class Era5ArcoSource:
    """ERA5's surface and waves from its cloud-optimised store."""

    name = "era5-arco"
    title = "ERA5 (ARCO)"
    kinds: tuple[Kind, ...] = (Kind.SURFACE, Kind.WAVES)

    def look(self, request: Request) -> Sighting:
        """What the store's metadata say that it reaches to; see ``Source.look``."""
        try:
            cube = self._cube(request)
            _names(cube, request, self.title)
            reach = _reach(cube)
        except (InputUnavailable, InputRefused) as lack:
            refused = isinstance(lack, InputRefused)
            return Sighting(False, None, "the store's metadata", str(lack), refused)
        newest = next(iter(_instants(request, reach)), None)
        words = f"{self.title} is filled to {reach.filled:%Y-%m-%dT%HZ}"
        return Sighting(newest is not None, newest or min(reach.filled, request.when), "valid_time_stop_era5t", words)

    def fetch(self, request: Request) -> Native:
        """One hour's chunks of each variable, the newest that the age allows; see ``Source.fetch``."""
        cube = self._cube(request)
        names = _names(cube, request, self.title)
        reach, found = _reach(cube), f"{self.title} filled to no such instant"
        axes = {name: np.asarray(cube.whole(name), dtype=np.float64) for name in PLANE}
        for instant in _instants(request, reach):
            hour = _hour(cube, instant)
            planes = cube.chunks(Place(name, (hour, 0, 0)) for name in names)
            absent = [place.name for place, item in planes.items() if item is None or _empty(item[0])]
            if not absent:
                fields = {place.name: item[0] for place, item in planes.items() if item is not None}
                records = [item[1].record() for item in planes.values() if item is not None]
                return _native(cube, fields, axes, instant, reach, records)
            found = f"{', '.join(absent)} at {instant:%Y-%m-%dT%HZ} not there or without any value"
        raise InputUnavailable(
            f"{self.title} {request.kind} at {request.when:%Y-%m-%dT%HZ} or up to {request.maximum_age_days:g} days "
            f"before", found=f"{found} (filled to {reach.filled:%Y-%m-%dT%HZ})", where=shown(cube.address),
            action="wait for the archive, or take the next rung",
        )  # fmt: skip

    def _cube(self, request: Request) -> Cube:
        return Cube(request.archives.get(self.name, ADDRESS), self.title, request.deadline_seconds)


def _names(cube: Cube, request: Request, title: str) -> tuple[str, ...]:
    """The long names of what is asked for and there, each an array (time, latitude, longitude) of hourly chunks."""
    held = set(cube.names())
    names = tuple(LEXICON[name].native for name in request.variables if LEXICON[name].native in held)
    if not names:
        raise InputUnavailable(
            f"{title} {request.kind}", found="a store without these variables", where=shown(cube.address),
            action="name another copy of it in GOMS_ARCHIVES, or take the next rung",
        )  # fmt: skip
    for name in names:
        array = cube.array(name)
        if cube.dims(name) != ("time", *PLANE) or array.chunks != (1, *array.shape[1:]):
            raise InputRefused(
                f"{name} (time, latitude, longitude) with a chunk an hour",
                found=f"dimensions {cube.dims(name)} in chunks {array.chunks}", where=shown(cube.address),
                action="name another copy of the store",
            )  # fmt: skip
    return names


def _reach(cube: Cube) -> _Reach:
    """The whole of the day that an attribute names is filled; ``InputRefused`` where none says so."""
    filled = _day_end(cube.attrs.get("valid_time_stop_era5t"))
    final = _day_end(cube.attrs.get("valid_time_stop"))
    latest = filled or final
    if latest is None:
        raise InputRefused(
            "valid_time_stop_era5t, to what day the store is filled", found=f"attributes {sorted(cube.attrs)}",
            where=shown(cube.address), action="name another copy of the store",
        )  # fmt: skip
    return _Reach(latest, final)


def _day_end(text: object) -> datetime | None:
    if not isinstance(text, str) or not re.match(r"\d{4}-\d{2}-\d{2}", text):
        return None
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return moment if len(text) > len("2024-01-01") else moment + timedelta(hours=23)


def _instants(request: Request, reach: _Reach) -> Iterator[datetime]:
    """The instant and those of earlier days at its hour, as far as the age allows, within the reach; newest first."""
    for day in range(int(request.maximum_age_days) + 1):
        instant = request.when.astimezone(UTC) - timedelta(days=day)
        if instant <= reach.filled:
            yield instant


def _hour(cube: Cube, instant: datetime) -> int:
    """The step of an instant, as the store's own time axis says; ``InputRefused`` where it is not there."""
    array = cube.array("time")
    (first,), (chunk,) = _stamps(cube, 0)[:1], array.chunks
    wanted = h.instant(instant)
    step = int((wanted - first) // np.timedelta64(1, "h"))
    inside = 0 <= step < array.shape[0]
    found = _stamps(cube, step // chunk)[step % chunk] if inside else "an axis that does not reach it"
    if found != wanted:
        raise InputRefused(
            f"an hourly time axis with {wanted}", found=f"{found} at its place", where=shown(cube.address),
            action="tell its provider",
        )  # fmt: skip
    return step


def _stamps(cube: Cube, chunk: int) -> h.Stamps:
    item = cube.chunks([Place("time", (chunk,))])[Place("time", (chunk,))]
    if item is None:
        raise InputRefused("the store's time axis", found="a chunk that is not there", where=shown(cube.address),
                           action="tell its provider")  # fmt: skip
    attrs: dict[str, Any] = dict(cube.array("time").attrs)
    return h.decoded_stamps(xr.Variable(("time",), item[0], attrs), shown(cube.address))


def _empty(plane: NDArray[Any]) -> bool:
    return not np.isfinite(plane).any()


def _native(
    cube: Cube, fields: dict[str, NDArray[Any]], axes: dict[str, NDArray[np.float64]], instant: datetime,
    reach: _Reach, records: list[FileRecord],
) -> Native:  # fmt: skip
    dims = ("time", *PLANE)
    variables = {name: (dims, values, {"units": cube.array(name).attrs.get("units", "")})
                 for name, values in fields.items()}  # fmt: skip
    time = np.array([h.instant(instant)]).astype("datetime64[ns]")
    dataset = xr.Dataset(variables, coords={"time": time, **axes})
    final = reach.final is not None and instant <= reach.final
    version = era5.VERSIONS[1] if final else era5.VERSIONS[5]
    return Native(dataset, LEXICON, (cube.metadata, *records), f"{', '.join(sorted(fields))}: {version}")
