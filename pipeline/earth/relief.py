"""The packaged relief on a grid: mean height of the cells, and the share of them that is sea at a depth."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline import weights as w
from pipeline.earth import climatology
from pipeline.grids import Grid

NATIVE = Grid(
    south=-90 + 1 / 6, west=1 / 6, latitude_step=1 / 3, longitude_step=1 / 3, rows=540, columns=1080
)  # fmt: skip
"""The packaged relief's own cells, 20 minutes."""


@lru_cache(maxsize=8)
def topography(grid: Grid) -> NDArray[np.float32]:
    """Height of the solid Earth above the geoid in metres, area-weighted mean over each cell, (rows, columns)."""
    heights = _on(climatology.elevation(NATIVE.latitude, NATIVE.longitude), grid)
    heights.setflags(write=False)
    return heights


@lru_cache(maxsize=8)
def land_height(grid: Grid) -> NDArray[np.float32]:
    """How high the land stands in metres, area-weighted mean over each cell with the sea as zero, (rows, columns)."""
    heights = _on(np.maximum(climatology.elevation(NATIVE.latitude, NATIVE.longitude), 0), grid)
    heights.setflags(write=False)
    return heights


def sea_share(grid: Grid, depth_m: float) -> NDArray[np.float32]:
    """The share of each cell's area, 0..1, that is sea no shallower than ``depth_m`` metres, (rows, columns)."""
    return _on(climatology.is_sea(NATIVE.latitude, NATIVE.longitude, depth_m).astype(np.float32), grid)


def _on(native: NDArray[np.float32], grid: Grid) -> NDArray[np.float32]:
    return w.mean(native, w.weights(NATIVE.latitude, NATIVE.longitude, grid))[0]
