"""First-order conservative weights between rectilinear grids: one small banded matrix per axis.

The overlap of two latitude-longitude cells is the product of an overlap in sin(latitude) and one in longitude,
so that the mean of f over the ocean part of a target cell is (A (f o) B') / (A o B') with o = 1 on ocean, 0 on
land, A the overlaps in sin(latitude) and B those in longitude (Jones 1999, Mon. Wea. Rev. 127, first order,
written for separable cells). Source values are taken for the means of their cells, whose edges lie half way
between the source's points. Constants are kept, and the integral over the ocean, because every piece of a source
cell goes to exactly one target cell with its own area.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array

from pipeline.grids import Axis, Grid, edges

SNAP_DEGREES = 1e-4
"""Source edges this near a target edge lie on it. Archives round coordinates to float32 (HYCOM's longitudes are
multiples of 2**-14 degrees, 6e-5); 1e-4 degrees are 11 m."""
GLOBAL_GAP = 1.5
"""A longitude axis closes on itself when its widest gap is below this many of its median steps: a regular axis
has 1, one column missing gives 2."""
BAND_ROWS = 32
"""Target rows done at once, so that the float64 copies of a native 1/12 degree slab stay at a few MB."""

Field = NDArray[np.float32]
_Sparse = Any


class Band(NamedTuple):
    """A block of target rows and the source rows under it; ``matrix`` (rows, source rows), ``total`` its row sums."""

    rows: slice
    source: slice
    matrix: _Sparse
    total: NDArray[np.float64]


class Weights(NamedTuple):
    """Weights from one pair of source axes to one grid.

    ``bands``: overlaps in sin(latitude). ``longitude``: overlaps in radians (columns, source columns), with its row
    sums. ``covered``: the share of each target cell's area under source cells, (rows, columns).
    """

    bands: tuple[Band, ...]
    longitude: _Sparse
    longitude_total: NDArray[np.float64]
    covered: NDArray[np.float64]


def weights(latitude: NDArray[Any], longitude: NDArray[Any], grid: Grid) -> Weights:
    """The weights from points on increasing axes (degrees north; degrees east in 0..360) to a grid, cached."""
    return _weights(np.asarray(latitude, np.float64).tobytes(), np.asarray(longitude, np.float64).tobytes(), grid)


def mean(native: NDArray[Any], weights: Weights) -> tuple[Field, NDArray[np.float64]]:
    """Ocean means on the grid, and the ocean area they stand for.

    ``native``: (source rows, source columns), NaN on land. Returns the means (rows, columns), float32, NaN where
    there is no ocean at all, and the ocean area of each cell in steradians (times the Earth's radius squared: m2).
    Sums are in float64.
    """
    total = np.empty(weights.covered.shape)
    area = np.empty(weights.covered.shape)
    for band in weights.bands:
        slab = native[band.source]
        ocean = np.isfinite(slab)
        total[band.rows] = _product(band, weights.longitude, np.where(ocean, slab, 0.0))
        if ocean.all():
            area[band.rows] = band.total[:, None] * weights.longitude_total[None, :]
        else:
            area[band.rows] = _product(band, weights.longitude, ocean)
    values = np.full(total.shape, np.nan)
    np.divide(total, area, out=values, where=area > 0.0)
    return values.astype(np.float32), area


def ocean_share(area: NDArray[np.float64], weights: Weights) -> NDArray[np.float64]:
    """Ocean area over source-covered area of each cell, 0..1; 0 where nothing is covered."""
    covered = np.empty(weights.covered.shape)
    for band in weights.bands:
        covered[band.rows] = band.total[:, None] * weights.longitude_total[None, :]
    share = np.zeros(covered.shape)
    np.divide(area, covered, out=share, where=covered > 0.0)
    return share


def longitude_edges(centres: Axis) -> tuple[Axis, int]:
    """Edges of the cells of a longitude axis, increasing over at most 360 degrees, and the first cell's index.

    The axis is a circle cut at its widest gap: a global axis closes on itself, a region astride 0/360 stays whole.
    """
    gaps = np.diff(np.append(centres, centres[0] + 360.0))
    if gaps.max() <= GLOBAL_GAP * np.median(gaps):
        first = centres[0] - gaps[-1] / 2
        return np.concatenate([[first], centres[:-1] + gaps[:-1] / 2, [first + 360.0]]), 0
    start = (int(gaps.argmax()) + 1) % centres.size
    unwrapped = np.roll(centres, -start)
    unwrapped[centres.size - start :] += 360.0
    return edges(unwrapped), start


@lru_cache(maxsize=16)
def _weights(latitude: bytes, longitude: bytes, grid: Grid) -> Weights:
    rows = _latitude_matrix(np.frombuffer(latitude), grid.latitude_edges)
    columns = _longitude_matrix(np.frombuffer(longitude), grid.longitude_edges)
    row_total, column_total = _sums(rows), _sums(columns)
    row_share = row_total / _heights(grid.latitude_edges[:-1], grid.latitude_edges[1:])
    column_share = column_total / np.deg2rad(np.diff(grid.longitude_edges))
    return Weights(_bands(rows, row_total), columns, column_total, row_share[:, None] * column_share[None, :])


def _latitude_matrix(centres: Axis, target: Axis) -> _Sparse:
    source = _snapped(edges(centres).clip(-90.0, 90.0), target)
    cells, targets, low, high = _pieces(source, target)
    shape = (target.size - 1, centres.size)
    return coo_array((_heights(low, high), (targets, cells)), shape=shape).tocsr()


def _longitude_matrix(centres: Axis, target: Axis) -> _Sparse:
    source, start = longitude_edges(centres)
    turns = np.concatenate([target + turn for turn in (-360.0, 0.0, 360.0)])
    source = _snapped(source, np.sort(turns))
    pieces = [_pieces(source, target + turn) for turn in (-360.0, 0.0, 360.0)]
    cells, targets, low, high = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    shape = (target.size - 1, centres.size)
    return coo_array((np.deg2rad(high - low), (targets, (cells + start) % centres.size)), shape=shape).tocsr()


def _pieces(source: Axis, target: Axis) -> tuple[NDArray[np.intp], NDArray[np.intp], Axis, Axis]:
    """The pieces two sets of edges cut each other into: source cell, target cell, lower and upper edge of each."""
    low, high = max(source[0], target[0]), min(source[-1], target[-1])
    cuts = np.unique(np.concatenate([source, target]).clip(low, max(low, high)))
    middle = (cuts[1:] + cuts[:-1]) / 2
    cells, targets = (np.searchsorted(axis, middle, side="right") - 1 for axis in (source, target))
    return cells, targets, cuts[:-1], cuts[1:]


def _snapped(source: Axis, target: Axis) -> Axis:
    right = np.searchsorted(target, source).clip(1, target.size - 1)
    nearest = np.where(source - target[right - 1] < target[right] - source, target[right - 1], target[right])
    return np.where(np.abs(source - nearest) <= SNAP_DEGREES, nearest, source)


def _heights(low: Axis, high: Axis) -> Axis:
    """sin(high) - sin(low) of degrees, as 2 cos(mean) sin(half the difference): no cancellation at the poles."""
    low, high = np.deg2rad(low), np.deg2rad(high)
    heights: Axis = 2.0 * np.cos((low + high) / 2) * np.sin((high - low) / 2)
    return heights


def _bands(matrix: _Sparse, total: NDArray[np.float64]) -> tuple[Band, ...]:
    bands = []
    for first in range(0, matrix.shape[0], BAND_ROWS):
        rows = slice(first, min(first + BAND_ROWS, matrix.shape[0]))
        block = matrix[rows]
        source = slice(int(block.indices.min()), int(block.indices.max()) + 1) if block.nnz else slice(0, 1)
        bands.append(Band(rows, source, block[:, source], total[rows]))
    return tuple(bands)


def _product(band: Band, longitude: _Sparse, slab: NDArray[Any]) -> NDArray[np.float64]:
    product: NDArray[np.float64] = (longitude @ (band.matrix @ slab.astype(np.float64)).T).T
    return product


def _sums(matrix: _Sparse) -> NDArray[np.float64]:
    return np.asarray(matrix.sum(axis=1), dtype=np.float64).ravel()
