"""The packaged relief on a grid: mean height of the cells, and the share of them deeper than a depth."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.grids import Axis, Grid

SAMPLE_STEP_DEGREES = 1 / 6
"""Samples are at most this far apart: half the packaged relief's own step of 20 minutes."""
_BLOCK_ROWS = 60


def topography(grid: Grid) -> NDArray[np.float32]:
    """Height of the solid Earth above the geoid in metres, area-weighted mean over each cell, (rows, columns)."""
    return _topography(grid).copy()


def share_deeper(grid: Grid, depth_m: float) -> NDArray[np.float64]:
    """The share of each cell's area, 0..1, where the sea bed is deeper than ``depth_m`` metres, (rows, columns)."""
    return _means(grid, depth_m)


@lru_cache(maxsize=8)
def _topography(grid: Grid) -> NDArray[np.float32]:
    return _means(grid, None).astype(np.float32)


def _means(grid: Grid, deeper_than_m: float | None) -> NDArray[np.float64]:
    """Area-weighted means of samples on a lattice that cuts every cell into equal parts, some rows at a time."""
    from pipeline import climatology

    latitude, rows = _samples(grid.latitude_edges)
    longitude, columns = _samples(grid.longitude_edges)
    means = np.empty(grid.shape)
    for first in range(0, grid.rows, _BLOCK_ROWS):
        last = min(first + _BLOCK_ROWS, grid.rows)
        north = latitude[first * rows : last * rows]
        height = climatology.elevation(north, np.sort(longitude % 360.0)).astype(np.float64)
        height = height[:, np.argsort(np.argsort(longitude % 360.0))]
        sample = height if deeper_than_m is None else (height < -deeper_than_m).astype(np.float64)
        weight = np.cos(np.deg2rad(north)).reshape(-1, rows, 1, 1)
        boxes = sample.reshape(last - first, rows, grid.columns, columns)
        means[first:last] = (boxes * weight).sum(axis=(1, 3)) / (weight.sum(axis=(1, 3)) * columns)
    return means


def _samples(edges: Axis) -> tuple[Axis, int]:
    """Centres of equal parts of each cell, and how many parts."""
    parts = max(1, int(np.ceil(np.diff(edges).max() / SAMPLE_STEP_DEGREES - 1e-9)))
    steps = (np.arange(parts) + 0.5) / parts
    return (edges[:-1, None] + np.diff(edges)[:, None] * steps).ravel(), parts
