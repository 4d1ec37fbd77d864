"""ERA5 single levels: the atmosphere at 0.25 degrees, the waves at 0.5 degrees, hourly, latitude 90 to -90.

Both of the Climate Data Store's layouts: the old one (``time``, packed int16) and the new one (``valid_time``,
float32, with ``number`` and ``expver``). Quirks:

- ``expver`` tells the final product (1) from the preliminary one, ERA5T (5), which is five days behind. Where it is
  a dimension, each field is the final one if that has any value at the instant, else the preliminary one; never a
  mixture. Which was taken is noted.
- Directions are degrees *from* which, clockwise from north, in the unit "Degree true".
- Waves are missing over land and ice; the atmosphere is missing nowhere.
- An hourly file holds more than is wanted: the exact instant is chosen, nothing is interpolated in time.
- ERA5 is late by design. Where the system allows an age, the newest instant within it *at the same hour of the day*
  is taken, so that the diurnal cycle stays in phase; the age is for ``ingest`` to judge and to record.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from pipeline.errors import InputRefused
from pipeline.sources import Native, Request, Sighting, Term
from pipeline.sources import holdings as h
from pipeline.sources.netcdf import scan
from pipeline.variables import Kind

Units = Mapping[str, tuple[float, float]]
SPEED: Units = dict.fromkeys(("m s**-1", "m s-1", "m/s"), (1.0, 0.0))
KELVIN: Units = {"K": (1.0, 0.0)}
PASCAL: Units = {"Pa": (1.0, 0.0)}
LENGTH: Units = {"m": (1.0, 0.0)}
SECONDS: Units = {"s": (1.0, 0.0)}
BEARING: Units = dict.fromkeys(("Degree true", "degree true", "degrees", "degree", "degree_true"), (1.0, 0.0))

LEXICON: Mapping[str, Term] = {
    "u10": Term("u10", SPEED),
    "v10": Term("v10", SPEED),
    "t2m": Term("t2m", KELVIN),
    "msl": Term("msl", PASCAL),
    "sp": Term("sp", PASCAL),
    "swh": Term("swh", LENGTH),
    "mwp": Term("mwp", SECONDS),
    "mwd": Term("mwd", BEARING),
}
EXTENT = (-90.0, 90.0)
VERSIONS = {1: "final", 5: "preliminary (ERA5T)"}


class Era5Source:
    """ERA5's surface and waves from files in its native layouts."""

    name = "era5"
    title = "ERA5"
    reads_inputs = True
    kinds: tuple[Kind, ...] = (Kind.SURFACE, Kind.WAVES)

    def look(self, request: Request) -> Sighting:
        """The instants in the files' headers, at the same hour of the day; see ``Source.look``."""
        return h.look(lambda: _held(request, self.title), request, self.title, of_day=True)

    def fetch(self, request: Request) -> Native:
        """Open what the files hold at the instant, or the newest an allowed age permits; see ``Source.fetch``."""
        held = _held(request, self.title)
        when = _newest(held, request)
        chosen = h.choose(held, when, request, self.title)
        dataset = _one_member(h.assemble(chosen, when), request)
        dataset, notes = _one_version(dataset)
        notes |= {_version_at(item, when) for item in chosen.values()} - {""}
        return Native(dataset, LEXICON, h.records(chosen), "; ".join(sorted(notes)))


def _held(request: Request, title: str) -> h.Holdings:
    found = scan(request.inputs, request.scratch, title)
    return h.holdings(found, h.native_names(LEXICON, request.variables), request, EXTENT, title)


def _newest(held: h.Holdings, request: Request) -> np.datetime64:
    """The instant itself where anything is held at it, else the aged one with the most variables, then the newest."""
    when = h.instant(request.when)
    oldest = when - np.timedelta64(round(request.maximum_age_days * 86400), "s")
    counts: dict[np.datetime64, int] = {}
    for files in held.values():
        stamps = np.unique(np.concatenate([item.stamps for item in files]))
        for stamp in stamps[(stamps >= oldest) & (stamps <= when)]:
            if int((when - stamp).astype(int)) % 86400 == 0:
                counts[stamp] = counts.get(stamp, 0) + 1
    if when in counts or not counts:
        return when
    return max(counts, key=lambda stamp: (counts[stamp], stamp))


def _one_member(dataset: xr.Dataset, request: Request) -> xr.Dataset:
    if dataset.sizes.get("number", 1) > 1:
        raise InputRefused(
            "ERA5's one realisation", found=f"an ensemble of {dataset.sizes['number']} members along 'number'",
            where=str(request.inputs), action="fetch product type 'reanalysis'",
        )  # fmt: skip
    return dataset.squeeze("number", drop=True) if "number" in dataset.dims else dataset


def _one_version(dataset: xr.Dataset) -> tuple[xr.Dataset, set[str]]:
    """Without the ``expver`` dimension: each field whole from the final product where that has it."""
    if "expver" not in dataset.dims:
        return dataset, set()
    versions = [int(str(value)) for value in dataset["expver"].values] if "expver" in dataset.coords else [1, 5]
    order = sorted(range(len(versions)), key=lambda place: versions[place])
    fields: dict[str, xr.DataArray] = {}
    notes = set()
    for name, field in dataset.data_vars.items():
        if "expver" not in field.dims:
            fields[str(name)] = field
            continue
        place = next((p for p in order if bool(field.isel(expver=p).notnull().any())), order[0])
        fields[str(name)] = field.isel(expver=place, drop=True)
        notes.add(f"{name}: {VERSIONS.get(versions[place], f'expver {versions[place]}')}")
    return xr.Dataset(fields), notes


def _version_at(held: h.Held, when: np.datetime64) -> str:
    """In words, the version a file's ``expver`` gives along time or for all of it; nothing where it has none."""
    variables: Mapping[object, xr.DataArray] = held.file.dataset.variables  # type: ignore[assignment]
    if "expver" not in variables or "expver" in held.file.dataset[held.name].dims:
        return ""
    version = held.file.dataset["expver"]
    if held.time in version.dims:
        version = version.isel({held.time: int(np.flatnonzero(held.stamps == when)[0])})
    value = version.values.ravel()[0]
    number = int(value.decode() if isinstance(value, bytes) else str(value))
    return f"{held.name}: {VERSIONS.get(number, f'expver {number}')}"
