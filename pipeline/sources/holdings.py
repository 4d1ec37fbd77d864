"""Which of the files hold what is asked for: the archive's names, the region, and the instant exactly once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.errors import GomsError, InputRefused, InputUnavailable
from pipeline.grids import Axis, Grid
from pipeline.provenance import FileRecord
from pipeline.sources import Request, Sighting, Term
from pipeline.sources.netcdf import NetcdfFile, Scan, is_remote, listed

Stamps = NDArray[np.datetime64]
LATITUDE, LONGITUDE = ("lat", "latitude"), ("lon", "longitude")
TIME = ("time", "valid_time", "time1")
"""Names of the time dimension; HYCOM's server gives a variable whose steps differ its own, ``time1``."""
TIME_UNITS = re.compile(r"(seconds|minutes|hours|days) since \d{4}-\d{1,2}-\d{1,2}")
CALENDARS = {"standard", "gregorian", "proleptic_gregorian"}


class Held(NamedTuple):
    """One native variable in one file: ``stamps`` are the UTC seconds of the steps along dimension ``time``."""

    name: str
    file: NetcdfFile
    time: str
    stamps: Stamps


Holdings = Mapping[str, tuple[Held, ...]]
"""By native name, every covering file that has it."""


def instant(when: datetime) -> np.datetime64:
    """An aware datetime as numpy's naive UTC seconds."""
    return np.datetime64(when.astimezone(UTC).replace(tzinfo=None), "s")


def axis(dataset: xr.Dataset, names: tuple[str, ...]) -> xr.DataArray | None:
    """The coordinate with one of these names, if it has one dimension and two values or more."""
    for name in names:
        if name in dataset.variables and dataset[name].ndim == 1 and dataset[name].size > 1:
            return dataset[name]
    return None


def native_names(lexicon: Mapping[str, Term], variables: Iterable[str]) -> tuple[str, ...]:
    """The archive's names of our variables, those it has words for."""
    return tuple(lexicon[name].native for name in variables if name in lexicon)


def holdings(
    found: Scan, names: tuple[str, ...], request: Request, extent: tuple[float, float], title: str
) -> Holdings:
    """What the covering files hold of ``names``.

    ``extent``: the archive's own southern and northern limit in degrees: beyond it nothing is asked of a file.
    Raises ``InputUnavailable`` where no file is of the archive or none covers the region; ``InputRefused`` where
    none does and a file at the same place could not be read.
    """
    mine = [file for file in found.files if any(_maps(file.dataset, name) for name in names)]
    covering = [file for file in mine if covers(file.dataset, request.grid, extent)]
    if not covering and found.unreadable:
        raise found.unreadable[0]
    if not mine:
        raise _unavailable(request, title, f"none among {len(found.files)} files has {' or '.join(names)}")
    if not covering:
        boxes = "; ".join(f"{_short(file)} covers {box(file.dataset)}" for file in mine)
        raise _unavailable(request, title, f"files of another region: {boxes}")
    held = {name: tuple(_held(name, file) for file in covering if _maps(file.dataset, name)) for name in names}
    if found.unreadable and not all(held.values()):
        raise found.unreadable[0]
    return {name: files for name, files in held.items() if files}


def covers(dataset: xr.Dataset, grid: Grid, extent: tuple[float, float]) -> bool:
    """Whether the file reaches every cell centre of the grid that lies within the archive's extent, to half a step."""
    latitude, longitude = _axes(dataset)
    rows = grid.latitude[(grid.latitude >= extent[0]) & (grid.latitude <= extent[1])]
    reach = np.abs(np.diff(latitude)).max() / 2
    if not rows.size or rows[0] < latitude.min() - reach or rows[-1] > latitude.max() + reach:
        return False
    turning = np.sort(longitude % 360.0)
    distance = np.abs(turning[None, :] - grid.longitude[:, None])
    nearest = np.minimum(distance, 360.0 - distance).min(axis=1)
    return bool((nearest <= _widest_step(longitude) / 2 + 1e-3).all())


def box(dataset: xr.Dataset) -> str:
    """The file's region in words."""
    latitude, longitude = _axes(dataset)
    return f"{latitude.min():.2f}..{latitude.max():.2f} N, {longitude[0]:.2f}..{longitude[-1]:.2f} E"


def look(
    find: Callable[[], Holdings], request: Request, title: str, *,
    of_day: bool = False, wanted: Callable[[str], bool] = lambda name: True,
) -> Sighting:  # fmt: skip
    """What the files at ``request.inputs`` hold of the request, by ``find``, which opens their headers.

    ``of_day``: an older instant stands for this one only at the same hour of the day. Files elsewhere than on this
    machine are listed and not fetched: only their names can then tell.
    """
    try:
        if request.inputs is not None and is_remote(request.inputs):
            names = listed(request.inputs, title, wanted)
            words = f"{len(names)} files of a name that may be it: what they hold is known when they are fetched"
            return Sighting(bool(names), None, "the names of the files", words)
        return _sighting(find(), request, title, of_day)
    except InputUnavailable as absence:
        return Sighting(False, None, "the files' headers", f"{title}: {absence.found}")
    except InputRefused as refusal:
        words = f"{title}: needed {refusal.needed}, found {refusal.found}"
        return Sighting(False, None, "the files' headers", words, refused=True)


def _sighting(held: Holdings, request: Request, title: str, of_day: bool) -> Sighting:
    when = instant(request.when)
    stamps = {name: np.unique(np.concatenate([item.stamps for item in files])) for name, files in held.items()}
    every = np.unique(np.concatenate(list(stamps.values())))
    past = every[every <= when]
    if of_day:
        past = past[(when - past).astype(int) % 86400 == 0]
    if not past.size:
        return Sighting(False, None, "the files' headers", f"{title}: nothing before {every[0]}")
    newest = past[-1]
    has = [name for name, mine in stamps.items() if newest in mine]
    lacks = [name for name in stamps if name not in has]
    ready = int((when - newest).astype(int)) <= request.maximum_age_days * 86400
    words = f"{title}: {', '.join(has)} at {newest}" + (f", without {', '.join(lacks)}" if lacks else "")
    return Sighting(ready, newest.astype(datetime).replace(tzinfo=UTC), "the files' headers", words)


def choose(held: Holdings, when: np.datetime64, request: Request, title: str) -> dict[str, Held]:
    """For each native name that has the instant, the one file that has it.

    Raises ``InputRefused`` where two files have it, or where a name is there at shifted stamps only; where no
    name has the instant, what ``absence`` says.
    """
    chosen = {}
    for name, files in held.items():
        holders = [item for item in files if (item.stamps == when).any()]
        if len(holders) > 1:
            raise InputRefused(
                f"{name} at {when} once", found=f"it in {' and in '.join(_short(item.file) for item in holders)}",
                where=str(request.inputs), action="leave one of them there", check="time stamps", field=name,
            )  # fmt: skip
        if holders and (times := int((holders[0].stamps == when).sum())) > 1:
            raise InputRefused(
                f"{name} with one step of {when.astype('datetime64[D]')}", found=f"{times}",
                where=holders[0].file.uri, action="fetch the file again, or correct its time axis",
                check="time stamps", field=name,
            )  # fmt: skip
        if holders:
            chosen[name] = holders[0]
    absent = {name: files for name, files in held.items() if name not in chosen}
    if not chosen or any(_is_shifted(item.stamps, when) for files in absent.values() for item in files):
        raise absence(absent, when, request, title)
    return chosen


def absence(held: Holdings, when: np.datetime64, request: Request, title: str) -> GomsError:
    """Why no file has the instant.

    ``InputRefused`` where a file has other stamps on that very day which its own step does not join to the
    instant (they are shifted); ``InputUnavailable`` where the date, or the end of a regular series, is not held.
    """
    every = [item for files in held.values() for item in files]
    shifted = [item for item in every if _is_shifted(item.stamps, when)]
    nearest = min(every, key=lambda item: np.abs(item.stamps - when).min())
    stamp = nearest.stamps[np.abs(nearest.stamps - when).argmin()]
    if not shifted:
        return _unavailable(request, title, f"nothing nearer than {stamp} in {_short(nearest.file)}")
    return InputRefused(
        f"{title} at {when}", found=f"time stamps beside it, the nearest {stamp}", where=nearest.file.uri,
        action="fetch the file again, or correct its time axis: no field is shifted or interpolated in time",
        check="time stamps", field=nearest.name,
    )  # fmt: skip


def assemble(chosen: Mapping[str, Held], when: np.datetime64) -> xr.Dataset:
    """The chosen fields as one lazy dataset: a ``time`` of length one, the archive's other dimensions as they are.

    Raises ``InputRefused`` where the files' axes differ.
    """
    fields = []
    for name, held in chosen.items():
        step = int(np.flatnonzero(held.stamps == when)[0])
        field = held.file.dataset[name].isel({held.time: slice(step, step + 1)})
        field = field.reset_coords(drop=True) if held.time == "time" else field.rename({held.time: "time"})
        keep = [coordinate for coordinate in field.coords if coordinate in field.dims and coordinate != "time"]
        fields.append(field.reset_coords(drop=True).drop_vars(set(field.coords) - set(keep)).to_dataset(name=name))
    try:
        merged = xr.merge(fields, join="exact", compat="equals", combine_attrs="drop_conflicts")
    except (ValueError, xr.MergeError) as error:
        raise InputRefused(
            f"{', '.join(chosen)} on the same axes", found="files whose latitudes, longitudes or depths differ",
            where=", ".join(sorted({held.file.uri for held in chosen.values()})), action="fetch them as one request",
            check="axes",
        ) from error  # fmt: skip
    return merged.assign_coords(time=("time", np.array([when]).astype("datetime64[ns]")))


def records(chosen: Mapping[str, Held]) -> tuple[FileRecord, ...]:
    """One record for each file that was chosen, in order of name."""
    files = {held.file.uri: held.file for held in chosen.values()}
    return tuple(files[uri].record() for uri in sorted(files))


def decoded_stamps(variable: xr.Variable, uri: str) -> Stamps:
    """A numeric time coordinate as UTC seconds, strictly increasing; ``InputRefused`` where it is not one."""
    units, calendar = str(variable.attrs.get("units", "")), str(variable.attrs.get("calendar", "standard"))
    undecodable = _bad_stamps("times like 'hours since 2000-01-01'", f"units {units!r}, calendar {calendar!r}", uri)
    if not TIME_UNITS.match(units) or calendar.lower() not in CALENDARS:
        raise undecodable
    try:
        times = xr.coders.CFDatetimeCoder(use_cftime=False, time_unit="ns").decode(variable, name="time").values
    except (ValueError, OverflowError) as error:
        raise undecodable from error
    stamps: Stamps = (times + np.timedelta64(500, "ms")).astype("datetime64[s]")
    if np.isnat(stamps).any():
        raise _bad_stamps("a stamp for every step", "a missing one", uri)
    if (np.diff(stamps) <= np.timedelta64(0, "s")).any():
        later = int(np.flatnonzero(np.diff(stamps) <= np.timedelta64(0, "s"))[0]) + 1
        raise _bad_stamps("time stamps that increase", f"{stamps[later]} after {stamps[later - 1]}", uri)
    return stamps


def _held(name: str, file: NetcdfFile) -> Held:
    field = file.dataset[name]
    time = next((str(dim) for dim in field.dims if dim in TIME), None)
    if time is None or time not in file.dataset.variables:
        raise _bad_stamps(f"{name} with a time coordinate", f"dimensions {field.dims}", file.uri)
    return Held(name, file, time, decoded_stamps(file.dataset[time].variable, file.uri))


def _is_shifted(stamps: Stamps, when: np.datetime64) -> bool:
    day = stamps.astype("datetime64[D]") == when.astype("datetime64[D]")
    if not day.any():
        return False
    steps = np.diff(stamps).astype(int)
    regular = steps.size > 0 and bool((steps == steps[0]).all())
    return not (regular and int((when - stamps[0]).astype(int)) % int(steps[0]) == 0)


def _maps(dataset: xr.Dataset, name: str) -> bool:
    """Whether the file has this variable as a field over latitude and longitude."""
    if name not in dataset.variables:
        return False
    dims = dataset[name].dims
    found = (axis(dataset, LATITUDE), axis(dataset, LONGITUDE))
    return all(item is not None and item.dims[0] in dims for item in found)


def _axes(dataset: xr.Dataset) -> tuple[Axis, Axis]:
    latitude, longitude = axis(dataset, LATITUDE), axis(dataset, LONGITUDE)
    assert latitude is not None
    assert longitude is not None
    return latitude.values.astype(np.float64), longitude.values.astype(np.float64)


def _widest_step(longitude: Axis) -> float:
    """Uneven axes are for ``ingest`` to refuse: here they may reach across their own gaps."""
    return float(np.abs((np.diff(longitude) + 180.0) % 360.0 - 180.0).max())


def _short(file: NetcdfFile) -> str:
    return file.uri.rsplit("/", 1)[-1]


def _unavailable(request: Request, title: str, found: str) -> InputUnavailable:
    grid = request.grid
    region = f"{grid.latitude[0]:g}..{grid.latitude[-1]:g} N, {grid.longitude[0]:g}..{grid.longitude[-1]:g} E"
    return InputUnavailable(
        f"{title} {request.kind} at {instant(request.when)} for {region}", found=found, where=str(request.inputs),
        action="wait for the archive, or name the place that has it with --inputs",
    )  # fmt: skip


def _bad_stamps(needed: str, found: str, where: str) -> InputRefused:
    action = "fetch the file again, or correct its time axis"
    return InputRefused(needed, found=found, where=where, action=action, check="time stamps")
