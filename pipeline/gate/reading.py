"""The first look at a field, on its archive's own points and level by level: what it must be to be read at all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.errors import InputRefused
from pipeline.variables import Kind, Variable, variable

EMPTIEST_SHARE = 0.9
"""Share without a value from which a field is a failed transfer: at 500 m the archives' global oceans lack 45 %, and
feeds that broke upstream were seen to lack 98 to 100 %. Exact coverage is checked against the system's land mask."""
LEVELS_AT_ONCE = 2
"""Levels read at the same time: a level of 3251 x 4500 points takes about 0.3 GB while it is unpacked and measured."""
IDENTICAL_CELLS = 100
"""Two levels that are equal in at least this many cells, and in all that both have, are one level written twice."""


class Levels(NamedTuple):
    """Figures of each level of a field, (level,): all over its finite cells; NaN where a level has none."""

    least: NDArray[np.float64]
    greatest: NDArray[np.float64]
    total: NDArray[np.float64]
    finite: NDArray[np.int64]
    cells: int


def check(dataset: xr.Dataset, kind: Kind, where: str) -> None:
    """Read every field once, level by level, and raise ``InputRefused`` for the first that is not what it says."""
    for name, field in dataset.data_vars.items():
        entry = variable(str(name))
        levels = _levels(field)
        _coverage(levels, entry, field, kind, where)
        _bounds(levels, entry, where)
        _not_constant(levels, entry, field, where)
        if entry.has_depth:
            _not_repeated(levels, field, entry, where)


def _levels(field: xr.DataArray) -> Levels:
    plane = ("latitude", "longitude")
    figures = xr.Dataset(
        {
            "least": _extreme(field, np.fmin, plane),
            "greatest": _extreme(field, np.fmax, plane),
            "total": field.sum(plane, skipna=True, dtype=np.float64),
            "finite": field.count(plane),
        }
    )
    with ThreadPoolExecutor(LEVELS_AT_ONCE) as own:  # at its end nobody reads any more, also where a level failed
        done = figures.compute(scheduler="threads", pool=own)
    least, greatest, total, finite = (np.atleast_1d(figure.values) for figure in done.data_vars.values())
    return Levels(least, greatest, total, finite.astype(np.int64), field.sizes["latitude"] * field.sizes["longitude"])


def _extreme(field: xr.DataArray, chosen: np.ufunc, plane: tuple[str, str]) -> xr.DataArray:
    """The finite cells' least or greatest of each level, NaN where it has none.

    Not dask's own, which in each thread changes the process's filters of warnings and puts them back: of two at a time
    one lets through the warning that the other is about to meet, at a level without a value.
    """
    extreme: xr.DataArray = xr.apply_ufunc(
        chosen.reduce, field, input_core_dims=[plane], kwargs={"axis": (-2, -1)}, dask="parallelized",
        output_dtypes=[field.dtype], dask_gufunc_kwargs={"allow_rechunk": True},
    )  # fmt: skip
    return extreme


def _coverage(levels: Levels, entry: Variable, field: xr.DataArray, kind: Kind, where: str) -> None:
    gaps = 1.0 - levels.finite / levels.cells
    if kind == Kind.SURFACE and gaps.any():
        found = f"{100 * gaps.max():.1f} % of it without a value"
        raise _refused(f"{entry.name} everywhere (the atmosphere has no land)", found, where, "coverage", entry,
                       float(gaps.max()), 0.0, "of the cells")  # fmt: skip
    if gaps[0] > EMPTIEST_SHARE:
        found = f"{100 * gaps[0]:.1f} % of {_level_name(field, 0)} without a value"
        raise _refused(f"{entry.name} with at most {100 * EMPTIEST_SHARE:g} % missing", found, where, "coverage", entry,
                       float(gaps[0]), EMPTIEST_SHARE, "of the cells")  # fmt: skip


def _bounds(levels: Levels, entry: Variable, where: str) -> None:
    least, greatest = np.nanmin(levels.least), np.nanmax(levels.greatest)
    if least < entry.lower or greatest > entry.upper:
        raise _refused(
            f"{entry.name} within {entry.lower:g}..{entry.upper:g} {entry.units} ({entry.bounds_from})",
            f"{least:g}..{greatest:g} {entry.units}", where, "bounds", entry,
            float(least if least < entry.lower else greatest),
            entry.lower if least < entry.lower else entry.upper, entry.units,
        )  # fmt: skip


def _not_constant(levels: Levels, entry: Variable, field: xr.DataArray, where: str) -> None:
    constant = np.flatnonzero((levels.least == levels.greatest) & (levels.finite > 1))
    if constant.size:
        level = int(constant[0])
        found = (
            f"{levels.least[level]:g} {entry.units} in all {levels.finite[level]} cells of {_level_name(field, level)}"
        )
        raise _refused(f"{entry.name} that varies from place to place", found, where, "constant", entry,
                       float(levels.least[level]), 0.0, "spread")  # fmt: skip


def _not_repeated(levels: Levels, field: xr.DataArray, entry: Variable, where: str) -> None:
    """Refuse a level that repeats the one above it; only levels whose figures agree are read again."""
    for level in range(1, levels.finite.size):
        pair = [figure[level - 1 : level + 1] for figure in levels[:4]]
        if levels.finite[level] < IDENTICAL_CELLS or any(figure[0] != figure[1] for figure in pair):
            continue
        above, below = field[level - 1].values, field[level].values
        if np.array_equal(above, below, equal_nan=True):
            found = f"{_level_name(field, level)} equal in every cell to the level above it"
            raise _refused(f"{entry.name} that varies with depth", found, where, "repeated level", entry, 1.0, 1.0,
                           "of the cells")  # fmt: skip


def _level_name(field: xr.DataArray, level: int) -> str:
    return f"the level at {float(field['depth'][level]):g} m" if "depth" in field.dims else "the field"


def _refused(
    needed: str, found: str, where: str, check: str, entry: Variable, value: float, threshold: float, units: str
) -> InputRefused:  # fmt: skip
    return InputRefused(
        needed, found=found, where=where, action="fetch the file again, or tell its provider", check=check,
        field=entry.name, value=value, threshold=threshold, units=units,
    )  # fmt: skip
