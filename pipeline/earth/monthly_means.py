"""A climatology of what an archive has seen: monthly means of its days on a system's grid, as one netCDF file.

``goms climatology`` builds it from the upper rungs of the system's own ladder (never from a forecast or a climatology);
the source ``climatology`` reads it where ``GOMS_ARCHIVES`` names its folder, linearly between the middles of months. Of
an angle the mean is the direction of the mean vector.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline import provenance
from pipeline.credits import MADE_FROM
from pipeline.cycle import cycle
from pipeline.errors import InputRefused, InputUnavailable, UsageError
from pipeline.provenance import FileRecord
from pipeline.systems import System
from pipeline.variables import Kind, of_kind, variable

KINDS = (Kind.WAVES, Kind.BIOGEOCHEMISTRY)
NAME = "climatology"
"""The folder of climatologies among ``GOMS_ARCHIVES``."""
LEAST_DAYS = 10
"""Days of a month, over all years, below which their mean is weather and not a climatology."""
Field = NDArray[np.float32]
Sums = NDArray[np.complex128]


class Means(NamedTuple):
    """The fields of a moment of the year, what they are in words, and the file they are from."""

    fields: Mapping[str, Field]
    words: str
    file: FileRecord


def taker(
    system: System, kind: Kind, *, inputs: str | None, scratch: Path, seed: int, archives: Mapping[str, str]
) -> Callable[[datetime], xr.Dataset]:  # fmt: skip
    """What gives an instant's fields of a kind on the system's grid, from the archives of its ladder alone.

    ``UsageError`` where there is none of them.
    """
    from pipeline import truth  # it knows the sources, and the source that reads what is made here

    if kind not in KINDS or truth.observing(system, kind) is None:
        raise UsageError(
            f"{' or '.join(KINDS)} that the system has from an archive", found=f"{kind} of {system.name}",
            where="--kind", action="choose another kind or system",
        )  # fmt: skip
    edge = truth.Edge(inputs, scratch, seed, archives)
    return lambda when: truth.of_kind(system, kind, when, edge)


def build(
    system: System, kind: Kind, days: Iterable[date], take: Callable[[datetime], xr.Dataset],
    said: Callable[[str], None],
) -> xr.Dataset:  # fmt: skip
    """Monthly means of the days that ``take`` gives on the system's grid; those it has not are told and left out.

    ``InputUnavailable`` where there is none at all.
    """
    names, grid = [entry.name for entry in of_kind(kind)], system.grid_of(kind)
    sums: Sums = np.zeros((12, len(names), *grid.shape), dtype=np.complex128)
    counts = np.zeros(12, dtype=np.int64)
    held, sources = list[date](), dict[str, None]()
    for day in days:
        start = cycle(system.name, day, system.start_hour).start
        try:
            found = take(start)
        except (InputUnavailable, InputRefused) as lack:
            said(f"{day}: left out: {lack}")
            continue
        sums[day.month - 1] += np.stack([_addend(name, found[name].values) for name in names])
        counts[day.month - 1] += 1
        held.append(day)
        sources |= dict.fromkeys(record.source for record in provenance.records(found))
        said(f"{day}: {', '.join(sources)}")
    if not held:
        raise InputUnavailable(
            f"days of {kind} for system {system.name}", found="none", where="the archives of its ladder",
            action="name their files by --inputs, or other days",
        )  # fmt: skip
    return _dataset(system, kind, names, sums, counts, held, list(sources))


def path_of(folder: str, kind: Kind) -> Path:
    """Where a folder of climatologies has that of a kind."""
    return Path(folder) / f"{kind.value}.nc"


def save(means: xr.Dataset, folder: str) -> Path:
    """Write the means to a folder of climatologies, whole or not at all."""
    path = path_of(folder, Kind(means.attrs["kind"]))
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    means.to_netcdf(unfinished, encoding={str(name): {"zlib": True} for name in means.data_vars})
    unfinished.rename(path)
    return path


def named(archives: Mapping[str, str], kind: Kind, system: System | None, when: datetime) -> Means:
    """The means at a moment of the year from the folder that ``archives`` name; ``InputUnavailable`` without one."""
    if NAME not in archives or system is None:
        raise InputUnavailable(
            f"a climatology of {kind}", found="none: only the synthetic twin's is packaged",
            where="GOMS_ARCHIVES", action=f'name a folder that goms climatology made: {{"{NAME}": "FOLDER"}}',
        )  # fmt: skip
    return at(archives[NAME], kind, system, when)


def at(folder: str, kind: Kind, system: System, when: datetime) -> Means:
    """The means at a moment of the year; ``InputUnavailable`` where the folder has none for this system and season.

    ``InputRefused`` where its file is damaged.
    """
    path = path_of(folder, kind)
    if not path.is_file():
        raise _lacking(kind, system, f"no {path.name}")
    data = path.read_bytes()
    record = FileRecord(uri=f"climatology/{path.name}", size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    with _opened(path) as means:
        facts = means.attrs
        of = (
            str(facts.get("system")),
            bool(facts.get("real_ocean")),
            means.sizes["latitude"],
            means.sizes["longitude"],
        )
        if of != (system.name, system.real_ocean, *system.grid_of(kind).shape):
            raise _lacking(kind, system, f"one of system {of[0]}, {of[2]} x {of[3]} points")
        before, after, share = _months(when)
        used = (before, after) if share > 0 else (before,)
        few = [month + 1 for month in used if int(means["days"][month]) < LEAST_DAYS]
        if few:
            raise _lacking(kind, system, f"fewer than {LEAST_DAYS} days of month {few[0]}")
        fields = {}
        for entry in of_kind(kind):
            one, other = (_addend(entry.name, means[entry.name].values[month]) for month in (used[0], used[-1]))
            fields[entry.name] = _mean(entry.name, one * (1 - share) + other * share)
    span = f"monthly means of {facts['first_day']}..{facts['last_day']}, {int(facts['held_days'])} days"
    return Means(fields, f"{span}{MADE_FROM}{facts['sources']}", record)


@contextmanager
def _opened(path: Path) -> Iterator[xr.Dataset]:
    try:
        with xr.open_dataset(path, engine="netcdf4") as means:
            yield means
    except (OSError, RuntimeError, LookupError) as error:
        raise InputRefused(
            "a climatology that goms climatology made", found=f"{type(error).__name__}: {error}", where=str(path),
            action="make it again: goms climatology FIRST LAST --system SYSTEM --kind KIND --out FOLDER",
        ) from error  # fmt: skip


def _dataset(
    system: System, kind: Kind, names: list[str], sums: Sums, counts: NDArray[np.int64], held: list[date],
    sources: list[str],
) -> xr.Dataset:  # fmt: skip
    grid, dims = system.grid_of(kind), ("month", "latitude", "longitude")
    with np.errstate(invalid="ignore"):
        means = sums / np.where(counts > 0, counts, np.nan)[:, None, None, None]
    fields: dict[str, Any] = {
        name: (dims, _mean(name, means[:, place]), {"units": variable(name).units, "cell_methods": "time: mean"})
        for place, name in enumerate(names)
    }
    fields["days"] = ("month", counts, {"long_name": "days that the mean of the month is of"})
    coordinates = {"month": np.arange(1, 13), "latitude": grid.latitude, "longitude": grid.longitude}
    return xr.Dataset(fields, coordinates, {
        "title": f"Monthly means of {kind} for system {system.name}", "kind": kind.value, "system": system.name,
        "real_ocean": int(system.real_ocean), "sources": " and ".join(sources), "first_day": str(min(held)),
        "last_day": str(max(held)), "held_days": len(held),
    })  # fmt: skip


def _addend(name: str, values: NDArray[Any]) -> Sums:
    """What is added up: the value, or of an angle its unit vector."""
    wide = np.asarray(values, dtype=np.float64)
    return np.exp(1j * np.deg2rad(wide)) if variable(name).circular else wide.astype(np.complex128)


def _mean(name: str, mean: Sums) -> Field:
    bearing = np.rad2deg(np.angle(mean)) % 360.0
    return np.where(np.isnan(mean.real), np.nan, bearing if variable(name).circular else mean.real).astype(np.float32)


def _months(when: datetime) -> tuple[int, int, float]:
    """The two months whose middles a moment lies between, 0 for January, and the second one's share."""
    moment = when.astimezone(UTC)
    middle = _middle(moment.year, moment.month)
    year, month = (moment.year, moment.month) if moment >= middle else _before(moment.year, moment.month)
    first, following = _middle(year, month), _after(year, month)
    share = (moment - first) / (_middle(*following) - first)
    return month - 1, following[1] - 1, share


def _middle(year: int, month: int) -> datetime:
    first = datetime(year, month, 1, tzinfo=UTC)
    following = datetime(*_after(year, month), 1, tzinfo=UTC)
    return first + (following - first) / 2


def _after(year: int, month: int) -> tuple[int, int]:
    return (year + month // 12, month % 12 + 1)


def _before(year: int, month: int) -> tuple[int, int]:
    last = datetime(year, month, 1, tzinfo=UTC) - timedelta(days=1)
    return last.year, last.month


def _lacking(kind: Kind, system: System, found: str) -> InputUnavailable:
    return InputUnavailable(
        f"a climatology of {kind} for system {system.name}", found=found,
        where="the folder that GOMS_ARCHIVES names for the climatology",
        action=f"goms climatology FIRST LAST --system {system.name} --kind {kind.value} --out FOLDER",
    )  # fmt: skip
