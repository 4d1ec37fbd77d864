"""What is measured of a gridded field: one figure a level, alone or beside yesterday, the forecast or the season.

Means and spreads are weighted with the cells' areas over the cells that both fields have. Differences of angles are
the short way round; their spread counts as that of directions spread evenly, 104 degrees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.earth import relief
from pipeline.gate.scene import Beside, Field, Level, Scene, levels, scaled
from pipeline.precision import round_mantissa
from pipeline.variables import Variable

EVEN_SPREAD_DEGREES = 360.0 / np.sqrt(12.0)
"""Standard deviation of directions spread evenly over the circle."""
LEAST_CELLS = 50
"""Fewer cells than this tell nothing of a field."""
BLOCK_CELLS = 8
"""Side of the blocks in which a jump is looked for that the whole field would hide: a chunk or tile of an archive."""
LEAST_ROW = 8
"""A row of cells that repeats the one before it counts from this many cells on."""

OF_THE_LAND = ("surface_air_pressure", "air_temperature")
"""What land and its height change more than weather does from a cell to the next: 12 Pa and 0.0065 K a metre, and the
day's course."""


class Measured(NamedTuple):
    """A figure of a level of a field. ``bad``: the cells behind it, for the picture; ``None``: all of them."""

    place: str
    value: float
    bad: NDArray[np.bool_] | None = None


Measuring = Callable[[Scene, Variable], Iterator[Measured]]


def off_season(scene: Scene, entry: Variable) -> Iterator[Measured]:
    """How far the mean of a level is from the season's, in the variable's units."""
    for level, normal in _beside(scene, entry, scene.normal):
        yield Measured(level.place, abs(_mean(difference(level.values, normal, entry), scene.areas)))


def most_common(scene: Scene, entry: Variable) -> Iterator[Measured]:
    """The share of a level's cells that have its most common value."""
    for level in levels(scene, entry):
        known = level.values[np.isfinite(level.values)]
        if known.size >= LEAST_CELLS:
            values, counts = np.unique(known, return_counts=True)
            place = int(counts.argmax())
            yield Measured(level.place, float(counts[place] / known.size), level.values == values[place])


def repeated_lines(scene: Scene, entry: Variable) -> Iterator[Measured]:
    """The share of a level's rows or columns that repeat the one before them, whichever is more."""
    for level in levels(scene, entry):
        found = [_repeats(level.values), _repeats(level.values.T)]
        rows, columns = (share for share, _ in found)
        bad = found[0][1] if rows >= columns else found[1][1].T
        yield Measured(level.place, max(rows, columns), bad)


def spikes(scene: Scene, entry: Variable) -> Iterator[Measured]:
    """The largest departure of a cell from the mean of its four neighbours, over the level's spread.

    The pressure at the ground and the temperature above it depart at every island: of these only the open sea is
    looked at, which is all that the ocean feels of them.
    """
    if entry.circular:
        return
    for level in levels(scene, entry):
        values = scaled(level.values, entry).astype(np.float64)
        if entry.standard_name in OF_THE_LAND:
            height = relief.land_height(scene.grid)
            values[height > height.min()] = np.nan
        spread = _spread(values, scene.areas)
        if spread > 0:
            departure = np.abs(values - _neighbours(values, scene.grid.periodic)) / spread
            departure[~np.isfinite(departure)] = 0.0
            yield Measured(level.place, float(departure.max()), departure >= 0.5 * departure.max())


def unchanged(scene: Scene, entry: Variable) -> Iterator[Measured]:
    """The share of a level's cells that are exactly as they were yesterday, to the bits that are published."""
    for level, before in _beside(scene, entry, scene.yesterday):
        now, then = level.values.copy(), before.copy()
        round_mantissa(now, entry.mantissa_bits)
        round_mantissa(then, entry.mantissa_bits)
        both = np.isfinite(now) & np.isfinite(then)
        yield Measured(level.place, float((now == then).sum() / max(1, both.sum())), now == then)


def jump(scene: Scene, entry: Variable) -> Iterator[Measured]:
    """The root of the mean square change since yesterday's analysis, over yesterday's spread."""
    yield from _jumps(scene, entry, scene.yesterday)


def forecast_jump(scene: Scene, entry: Variable) -> Iterator[Measured]:
    """The same from what was forecast yesterday for this instant."""
    yield from _jumps(scene, entry, scene.forecast)


def local_jump(scene: Scene, entry: Variable) -> Iterator[Measured]:
    """The largest such change in a block of 8 x 8 cells."""
    for level, before in _beside(scene, entry, scene.yesterday):
        change = np.square(difference(level.values, before, entry).astype(np.float64))
        spread = _spread_of(before, entry, scene.areas)
        if spread > 0:
            blocks = np.sqrt(_block_means(change)) / spread
            if np.isfinite(blocks).any():
                worst = np.unravel_index(int(np.nanargmax(blocks)), blocks.shape)
                yield Measured(level.place, float(blocks[worst]), _block(level.values.shape, worst))


def pattern(scene: Scene, entry: Variable) -> Iterator[Measured]:
    """The correlation in space with yesterday's analysis; of an angle the mean cosine of its change."""
    yield from _patterns(scene, entry, scene.yesterday)


def forecast_pattern(scene: Scene, entry: Variable) -> Iterator[Measured]:
    """The same with what was forecast yesterday for this instant."""
    yield from _patterns(scene, entry, scene.forecast)


def spread_change(scene: Scene, entry: Variable) -> Iterator[Measured]:
    """How many times a level's spread is yesterday's, or yesterday's this one's, whichever is more."""
    for level, before in _beside(scene, entry, scene.yesterday):
        now, then = _spread_of(level.values, entry, scene.areas), _spread_of(before, entry, scene.areas)
        if now > 0 and then > 0 and not entry.circular:
            yield Measured(level.place, max(now / then, then / now))


def difference(values: Field, other: Field, entry: Variable) -> Field:
    """Values less others as they are compared; of angles the short way round, degrees."""
    change = scaled(values, entry) - scaled(other, entry)
    return (change + 180.0) % 360.0 - 180.0 if entry.circular else change


def _beside(scene: Scene, entry: Variable, beside: Beside | None) -> Iterator[tuple[Level, Field]]:
    """The levels of a field with what lies beside them, where the two share cells enough."""
    if beside is None:
        return
    for level in levels(scene, entry):
        other = beside(entry.name, level.number)
        if other is not None and (np.isfinite(level.values) & np.isfinite(other)).sum() >= LEAST_CELLS:
            yield level, other


def _jumps(scene: Scene, entry: Variable, beside: Beside | None) -> Iterator[Measured]:
    for level, before in _beside(scene, entry, beside):
        change = np.abs(difference(level.values, before, entry))
        spread = _spread_of(before, entry, scene.areas)
        if spread > 0:
            size = float(np.sqrt(_mean(np.square(change.astype(np.float64)), scene.areas)))
            yield Measured(level.place, size / spread, change > 2 * size)


def _patterns(scene: Scene, entry: Variable, beside: Beside | None) -> Iterator[Measured]:
    for level, before in _beside(scene, entry, beside):
        if entry.circular:
            cosines = np.cos(np.deg2rad(difference(level.values, before, entry).astype(np.float64)))
            yield Measured(level.place, _mean(cosines, scene.areas))
        else:
            yield Measured(level.place, correlation(scaled(level.values, entry), scaled(before, entry), scene.areas))


def correlation(first: NDArray[np.floating], second: NDArray[np.floating], areas: NDArray[np.float64]) -> float:
    """The area-weighted correlation of two fields over the cells that both have; 0 where one does not vary."""
    both = np.isfinite(first) & np.isfinite(second)
    one = np.where(both, first, np.nan).astype(np.float64)
    two = np.where(both, second, np.nan).astype(np.float64)
    one, two = one - _mean(one, areas), two - _mean(two, areas)
    size = np.sqrt(_mean(one * one, areas) * _mean(two * two, areas))
    return float(_mean(one * two, areas) / size) if size > 0 else 0.0


def _mean(values: NDArray[np.floating], areas: NDArray[np.float64]) -> float:
    known = np.isfinite(values)
    weights = np.where(known, areas, 0.0)
    return float((np.where(known, values, 0.0) * weights).sum(dtype=np.float64) / weights.sum())


def _spread(values: NDArray[np.floating], areas: NDArray[np.float64]) -> float:
    mean = _mean(values, areas)
    return float(np.sqrt(_mean(np.square(values.astype(np.float64) - mean), areas)))


def _spread_of(values: Field, entry: Variable, areas: NDArray[np.float64]) -> float:
    return float(EVEN_SPREAD_DEGREES) if entry.circular else _spread(scaled(values, entry), areas)


def _neighbours(values: NDArray[np.float64], periodic: bool) -> NDArray[np.float64]:
    """The mean of the four neighbours of each cell; NaN where one of them has no value."""
    east, west = np.roll(values, -1, axis=1), np.roll(values, 1, axis=1)
    if not periodic:
        east[:, -1], west[:, 0] = np.nan, np.nan
    north, south = np.roll(values, -1, axis=0), np.roll(values, 1, axis=0)
    north[-1], south[0] = np.nan, np.nan
    mean: NDArray[np.float64] = (east + west + north + south) / 4
    return mean


def _repeats(values: Field) -> tuple[float, NDArray[np.bool_]]:
    """The share of rows that repeat the one before in every cell that both have, and those rows' cells."""
    known = np.isfinite(values)
    both = known[1:] & known[:-1]
    long = both.sum(axis=1) >= LEAST_ROW
    same = ((values[1:] == values[:-1]) | ~both).all(axis=1) & (known[1:] == known[:-1]).all(axis=1) & long
    bad = np.zeros(values.shape, dtype=bool)
    bad[1:][same] = True
    return float(same.sum() / max(1, long.sum())), bad


def _block_means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over blocks of cells, the last where the cells end; NaN where less than half a block has values."""
    rows, columns = (np.add.outer(_begins(size), np.arange(BLOCK_CELLS)) for size in values.shape)
    blocks = values[rows[:, :, None, None], columns]
    known = np.isfinite(blocks)
    count = known.sum(axis=(1, 3))
    sums = np.where(known, blocks, 0.0).sum(axis=(1, 3))
    return np.where(count >= BLOCK_CELLS**2 / 2, sums / np.maximum(count, 1), np.nan)


def _begins(size: int) -> NDArray[np.intp]:
    """Where blocks begin along so many cells; none, where they are fewer than a block's."""
    return np.minimum(np.arange(0, size, BLOCK_CELLS), size - BLOCK_CELLS) if size >= BLOCK_CELLS else np.empty(0, int)


def _block(shape: tuple[int, ...], place: tuple[np.intp, ...]) -> NDArray[np.bool_]:
    bad = np.zeros(shape, dtype=bool)
    row, column = (int(_begins(size)[index]) for size, index in zip(shape, place, strict=True))
    bad[row : row + BLOCK_CELLS, column : column + BLOCK_CELLS] = True
    return bad
