"""Climatologies as a source: the lowest rung, when neither an analysis nor a forecast is to be had.

Day-of-year values on the request's own grid, in our names and units. They are of no date: they are stamped with the
instant asked for, and the ladder says on the product why they were taken. The atmosphere's is packaged. Waves and
plankton are the mean of a training archive's days of that season, where ``GOMS_ARCHIVES`` names one under
``climatology``; of the synthetic twin its own packaged mean, which is never given to a system of the real ocean.
"""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline import archive_contract, archive_layout, climatology, landmask, systems
from pipeline.errors import InputUnavailable, UsageError
from pipeline.sources import Native, Request, Sighting, Term
from pipeline.sources import holdings as h
from pipeline.variables import Kind, of_kind, variable

KINDS = (Kind.SURFACE, Kind.WAVES, Kind.BIOGEOCHEMISTRY)
LEXICON = {entry.name: Term(entry.name, {entry.units: (1.0, 0.0)}) for kind in KINDS for entry in of_kind(kind)}
WINDOW_DAYS = 15
"""Days either side of the day of the year that are averaged: a month's mean, as climatologies have."""
LEAST_DAYS = 10
"""Fewer days than a third of one window are weather, not a climatology."""
Fields = dict[str, NDArray[np.float32]]


class ClimatologySource:
    """Day-of-year means of the atmosphere near the surface, the waves and the plankton."""

    name = "climatology"
    title = "climatology"
    kinds: tuple[Kind, ...] = KINDS

    def look(self, request: Request) -> Sighting:
        """There for every day of the year, and of no date, where there is one; see ``Source.look``."""
        try:
            _, words = _fields(request)
        except (InputUnavailable, UsageError) as lack:
            return Sighting(False, None, "what is packaged or named", str(lack))
        return Sighting(True, None, "what is packaged or named", f"{words}, of no date")

    def fetch(self, request: Request) -> Native:
        """The climatology of the day of the year at the grid's points; see ``Source.fetch``."""
        fields, words = _fields(request)
        dims = ("time", "latitude", "longitude")
        dataset = xr.Dataset(
            {name: (dims, fields[name][None], {"units": variable(name).units}) for name in request.variables},
            coords={"time": np.array([h.instant(request.when)]).astype("datetime64[ns]"),
                    "latitude": request.grid.latitude, "longitude": request.grid.longitude},
        )  # fmt: skip
        return Native(dataset, LEXICON, (), words)


def _fields(request: Request) -> tuple[Fields, str]:
    """The fields and what they are, or ``InputUnavailable``."""
    axes = request.grid.latitude, request.grid.longitude
    if request.kind is Kind.SURFACE:
        words = "day-of-year climatology of winds, temperature and pressure"
        return climatology.fields(Kind.SURFACE, request.when, *axes, ()), words
    archive = request.archives.get(ClimatologySource.name)
    if archive is not None:
        return _of_archive(archive, request)
    system = systems.system(request.system) if request.system else None
    if system is None or system.real_ocean:
        raise InputUnavailable(
            f"a climatology of {request.kind}", found="none: only the synthetic twin's is packaged",
            where="GOMS_ARCHIVES", action='name a training archive there: {"climatology": "FOLDER"}',
        )  # fmt: skip
    ocean = landmask.array_mask(system, request.kind.value)
    fields = climatology.fields(request.kind, request.when, *axes, ())
    masked = {name: np.where(ocean, values, np.float32("nan")) for name, values in fields.items()}
    return masked, f"day-of-year mean of the synthetic twin's {request.kind}"


def _of_archive(path: str, request: Request) -> tuple[Fields, str]:
    """The mean of the archive's days within the window of the day of the year."""
    group = archive_layout.existing(path)
    array = archive_layout.member(group, request.kind.value)
    names = [channel.variable for channel in archive_contract.channels_of(systems.system(request.system), request.kind)]
    begin, held = archive_layout.first_day(group), archive_layout.held_days(path)
    days = sorted(day for day in held if _apart(day.timetuple().tm_yday, request.when) <= WINDOW_DAYS)
    if group.attrs.get("real_ocean") != systems.system(request.system).real_ocean:
        raise InputUnavailable(
            f"a climatology of {request.kind} of this ocean", found="an archive of the other, real or synthetic",
            where="the archive named for the climatology", action="name an archive of this system",
        )  # fmt: skip
    if len(days) < LEAST_DAYS or array.shape[-2:] != request.grid.shape:
        raise InputUnavailable(
            f"{LEAST_DAYS} days of {request.kind} within {WINDOW_DAYS} days of {request.when:%d %B} on {request.grid}",
            found=f"{len(days)} on a grid of {array.shape[-2:]}", where="the archive named for the climatology",
            action="name an archive of this system that holds the season",
        )  # fmt: skip
    mean = _mean(array, [(day - begin).days for day in days], names)
    return dict(zip(names, mean, strict=True)), f"mean of {len(days)} archived days about {request.when:%d %B}"


def _mean(array: object, rows: list[int], names: list[str]) -> NDArray[np.float32]:
    """(channel, latitude, longitude); of an angle the direction of the mean vector; NaN where a day has none."""
    total = np.zeros(())
    circular = np.array([variable(name).circular for name in names])[:, None, None]
    for row in rows:
        values = np.asarray(array[row], dtype=np.float64)  # type: ignore[index]
        total = total + np.where(circular, np.exp(1j * np.deg2rad(values)), values)
    bearing = np.rad2deg(np.angle(total)) % 360.0
    return np.where(circular, bearing, total.real / len(rows)).astype(np.float32)


def _apart(day_of_year: int, when: datetime) -> int:
    apart = abs(day_of_year - when.astimezone(UTC).timetuple().tm_yday)
    return min(apart, 365 - apart)
