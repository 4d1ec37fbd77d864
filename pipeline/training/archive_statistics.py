"""What a training archive's days are like: moments over ocean cells, day-of-year climatology, memory of the weather.

Of ``ocean`` and ``forcing``, cell by cell over the fitted days: ``<array>_average`` and ``<array>_squares`` (means of
values and of their squares) and ``<array>_changes`` (mean squared one-day change, between days that are both held);
``<array>_climatology`` (coefficient, channel, latitude, longitude), the least-squares fit of a constant and, where
the held days cover the year, annual and semi-annual cosine and sine; per channel, over ocean cells weighted by area,
``<array>_mean``, ``<array>_spread`` and ``<array>_change``; and ``forcing_memory_days``, the time after which an
anomaly of the weather is worth 1/e.
"""

from __future__ import annotations

import hashlib
from collections import deque
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import zarr
from dask.base import compute
from dask.delayed import delayed
from numpy.typing import NDArray

from pipeline import computing
from pipeline.earth import climatology
from pipeline.errors import InputRefused, UsageError
from pipeline.training import archive_contract
from pipeline.training import archive_layout as layout

Grids = NDArray[np.float64]

MEASURED = ("ocean", "forcing")
"""The arrays that are measured here; a head's own state is measured in its own variables by training."""
YEAR_DAYS, SEASONAL_DAYS = 365.25, 330
"""A year, and how many days in a row tell its seasons: of fewer the climatology is the plain mean. Of days with gaps
half as many do, where over all years they leave no longer stretch of the year empty than those in a row would."""
LAGS = 5
"""Days over which the memory of the weather is fitted."""
LEAST_DAYS = 2
"""Held days without which there are no statistics."""
LEAST_CORRELATION = 0.05
"""Correlations below this are noise in a fit of their logarithm."""


class Measured(NamedTuple):
    """Of one channel: cell by cell, (latitude, longitude), and the climatology (coefficient, latitude, longitude)."""

    average: Grids
    squares: Grids
    changes: Grids
    climatology: Grids
    mean: float
    spread: float
    change: float
    memory_days: float


def finish(out: str, fit: tuple[date, date], scheduler: str | None, threads: int) -> None:
    """Measure the fitted days of the archive at ``out``, unless that is done; what they are of is said last.

    An archive with fewer than ``LEAST_DAYS`` of them has no statistics: it cannot be trained on.
    """
    group = layout.existing(out)
    chosen = held_of(group, fit)
    if len(chosen) < LEAST_DAYS:
        group.attrs["statistics"] = {"fit": [str(day) for day in fit], "days": len(chosen)}
        return
    said = _said(group, fit, chosen)
    if layout.attribute(group, "statistics") == said:
        return
    group.attrs["statistics"] = None
    contract = archive_contract.read(group, out)
    for name in (name for name in MEASURED if name in contract.channels):
        with computing.on(scheduler, threads):
            tasks = [delayed(measured, pure=False)(out, name, number, chosen, said["harmonics"])
                     for number in range(len(contract.channels[name]))]  # fmt: skip
            found: tuple[Measured, ...] = compute(*tasks)  # type: ignore[no-untyped-call]
        _write(group, name, found)
    group.attrs["statistics"] = said


def held_of(group: zarr.Group, fit: tuple[date, date]) -> list[int]:
    """The fitted days that are held."""
    held = np.asarray(layout.member(group, "held")[:]) == layout.HELD
    return [int(day) for day in days_of(group, fit) if held[day]]


def _said(group: zarr.Group, fit: tuple[date, date], chosen: list[int]) -> dict[str, Any]:
    """What statistics of these days say they are of: to the byte, by the digests that the days were written with."""
    digests = np.asarray(layout.member(group, "sha256")[chosen[0] : chosen[-1] + 1])
    made_of = hashlib.sha256(digests.tobytes()).hexdigest()
    told = harmonics_told(layout.first_day(group), chosen)
    return {"fit": [str(day) for day in fit], "days": len(chosen), "harmonics": told, "made_of": made_of}


def check(group: zarr.Group, path: str) -> None:
    """``UsageError`` unless every statistic is there, finite on ocean, of the archive's channels and present days."""
    said = layout.attribute(group, "statistics")
    if said is None:
        raise _missing("its statistics", "none", path)
    first, last = (date.fromisoformat(day) for day in said["fit"])
    chosen = held_of(group, (first, last))
    if len(chosen) < LEAST_DAYS:
        raise UsageError(
            f"an archive that holds at least {LEAST_DAYS} of the days to fit, {first}..{last}",
            found=f"{len(chosen)}: it has no statistics", where=path,
            action="give the same `goms archive` command when their inputs are there, or with a later --fit-until",
        )  # fmt: skip
    if _said(group, (first, last), chosen) != said:
        raise _missing(f"statistics of the days it holds from {first} to {last}",
                       "those of other days: some were written or lost after they were measured", path)  # fmt: skip
    contract = archive_contract.read(group, path)
    for name in (name for name in MEASURED if name in contract.channels):
        for kind in ("average", "squares", "changes", "climatology", "mean", "spread", "change"):
            member = f"{name}_{kind}"
            if member not in group:
                raise _missing(f"the statistic {member}", "none", path)
        per_channel = np.stack([layout.member(group, f"{name}_{kind}")[:] for kind in ("mean", "spread", "change")])
        wanted = (3, len(contract.channels[name]))
        if per_channel.shape != wanted or not np.isfinite(per_channel).all():
            raise _missing(f"finite statistics of {wanted[1]} channels of {name}", f"{per_channel}", path)


def _missing(needed: str, found: str, path: str) -> UsageError:
    return UsageError(f"an archive with {needed}", found=found, where=path,
                      action="finish it: give the same `goms archive` command again")  # fmt: skip


def seasons(days: list[date], start_hour: int, harmonics: int) -> Grids:
    """(day, coefficient): 1 and for each harmonic cosine and sine of the phase in the year."""
    phases = [climatology.season(datetime(d.year, d.month, d.day, start_hour, tzinfo=UTC)) for d in days]
    return np.stack([np.concatenate([[1.0], phase[: 2 * harmonics]]) for phase in phases]).astype(np.float64)


def measured(out: str, name: str, number: int, days: list[int], harmonics: int) -> Measured:
    """One channel of an array over these days; ``InputRefused`` where an ocean cell has no value on one of them."""
    group = layout.existing(out)
    array, contract, first = layout.member(group, name), archive_contract.read(group, out), layout.first_day(group)
    dates = [first + timedelta(days=day) for day in days]
    design = seasons(dates, contract.start_hour, harmonics)
    ocean = np.isfinite(array[days[0], number])
    sums, products = np.zeros((3, *ocean.shape)), np.zeros((design.shape[1], *ocean.shape))
    pairs, before, label = 0, (-2, np.zeros(ocean.shape)), contract.channels[name][number]
    for day, row, when in zip(days, design, dates, strict=True):
        values = np.where(ocean, np.asarray(array[day, number], dtype=np.float64), np.nan)
        if not np.isfinite(values[ocean]).all():
            raise InputRefused(f"a value of {label} in every ocean cell", found="NaN", where=f"{out}, {when}",
                               action="build that day again", field=label)  # fmt: skip
        if np.isfinite(np.asarray(array[day, number])[~ocean]).any():
            raise InputRefused(f"no value of {label} on land", found="one", where=f"{out}, {when}",
                               action="build that day again", field=label)  # fmt: skip
        sums[0] += values
        sums[1] += values**2
        if before[0] == day - 1:
            sums[2] += (values - before[1]) ** 2
            pairs += 1
        products += row[:, None, None] * values
        before = (day, values)
    fitted = np.linalg.solve(design.T @ design, products.reshape(design.shape[1], -1))
    coefficients = fitted.reshape(products.shape).astype(np.float64)
    average, squares, changes = sums[0] / len(days), sums[1] / len(days), sums[2] / max(pairs, 1)
    weights = contract.grids[name].areas_m2 * ocean
    mean, spread, change = _over_ocean(average, squares, changes, weights)
    remembered = name == "forcing" and change > 0
    memory = _memory(array, number, days, design, coefficients, weights) if remembered else np.nan
    return Measured(average, squares, changes, coefficients, mean, spread, change, memory)


def _over_ocean(average: Grids, squares: Grids, changes: Grids, weights: Grids) -> tuple[float, float, float]:
    share = weights / weights.sum()
    mean, square, change = (float(np.nansum(field * share)) for field in (average, squares, changes))
    return mean, float(np.sqrt(max(square - mean**2, 0.0))), float(np.sqrt(change))


def _memory(array: zarr.Array[Any], number: int, days: list[int], design: Grids, coefficients: Grids,
            weights: Grids) -> float:  # fmt: skip
    """Days after which an anomaly is worth 1/e: log r(n) = -n / tau through the origin, lags weighted by n."""
    recent: deque[tuple[int, Grids]] = deque(maxlen=LAGS)
    products, squares = np.zeros(LAGS), np.zeros((LAGS, 2))
    for day, row in zip(days, design, strict=True):
        anomaly = np.asarray(array[day, number], dtype=np.float64) - np.tensordot(row, coefficients, 1)
        for before, field in recent:
            if (lag := day - before) <= LAGS:
                products[lag - 1] += (weights * anomaly * field).sum()
                squares[lag - 1] += (weights * anomaly**2).sum(), (weights * field**2).sum()
        recent.append((day, anomaly))
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = products / np.sqrt(squares[:, 0] * squares[:, 1])
    lags = np.flatnonzero(correlation > LEAST_CORRELATION) + 1
    falling = -(lags * np.log(correlation[lags - 1])).sum()
    return float((lags**2).sum() / falling) if lags.size and falling > 0 else float("nan")


def _write(group: zarr.Group, name: str, found: tuple[Measured, ...]) -> None:
    plane = (f"{name}_channel", f"{name}_latitude", f"{name}_longitude")
    for kind in ("average", "squares", "changes"):
        values = np.stack([getattr(one, kind) for one in found])
        group.create_array(f"{name}_{kind}", data=values, chunks=(1, *values.shape[1:]), dimension_names=plane,
                           overwrite=True)  # fmt: skip
    cycles = np.stack([one.climatology for one in found], axis=1).astype(np.float32)
    group.create_array(f"{name}_climatology", data=cycles, chunks=(cycles.shape[0], 1, *cycles.shape[2:]),
                       dimension_names=(f"{name}_coefficient", *plane), overwrite=True)  # fmt: skip
    kinds = ("mean", "spread", "change", *(("memory_days",) if name == "forcing" else ()))
    for kind in kinds:
        values = np.array([getattr(one, kind) for one in found])
        group.create_array(f"{name}_{kind}", data=values, dimension_names=plane[:1], overwrite=True)


def days_of(group: zarr.Group, fit: tuple[date, date]) -> range:
    """The days to fit; ``UsageError`` where they are not days of the archive in their order."""
    first, size = layout.first_day(group), layout.member(group, "held").shape[0]
    begin, end = (fit[0] - first).days, (fit[1] - first).days
    if not 0 <= begin <= end < size:
        raise UsageError(f"fitted days within {first}..{first + timedelta(days=size - 1)}", found=f"{fit[0]}..{fit[1]}",
                         where="the days to fit", action="give a span within the archive's")  # fmt: skip
    return range(begin, end + 1)


def harmonics_told(first: date, chosen: list[int]) -> int:
    """How many harmonics of the year days after the first tell: what lies in a season without any would be made up."""
    phases = np.sort((first.toordinal() + np.array(chosen)) % YEAR_DAYS)
    longest = np.diff(phases, append=phases[0] + YEAR_DAYS).max()
    covered = longest <= YEAR_DAYS - SEASONAL_DAYS + 1.0
    return 2 if covered and 2 * len(chosen) >= SEASONAL_DAYS else 0
