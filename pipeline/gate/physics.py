"""What laws the fields must keep to among themselves: currents and winds in balance with height and pressure.

Away from the equator the flow that a slope of the sea surface (or of air pressure) asks for is
``u = -(g / f) d(eta)/dy``, ``v = (g / f) d(eta)/dx`` (Vallis 2006, section 2.8; for air ``g d(eta)`` is ``dp / rho``).
A wrong sign, exchanged components, a field of another day or a height in other units show at once.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.earth.climatology import GRAVITY, ROTATION
from pipeline.gate.measures import Measured
from pipeline.gate.scene import Scene
from pipeline.grids import Grid
from pipeline.variables import (
    EASTWARD_VELOCITY,
    EASTWARD_WIND,
    NORTHWARD_VELOCITY,
    NORTHWARD_WIND,
    SEA_LEVEL_PRESSURE,
    SEA_SURFACE_HEIGHT,
    Variable,
)

EQUATOR_DEGREES = 8.0
"""Nearer to the equator than this the balance is not asked for: the Rossby radius is larger than the eddies there."""
POLE_DEGREES = 75.0
"""Nearer to a pole meridians come too close for differences over one cell."""
AIR_DENSITY = 1.2
"""kg m-3 at sea level (Holton 2004, appendix)."""
EARTH_RADIUS_M = 6.371e6
LEAST_CELLS = 200
"""Fewer cells than this, away from coast and rim, hold less than one eddy."""
SYNOPTIC_DEGREES = 20.0
"""Winds are asked for balance on grids that are larger than this both ways: on smaller ones they are one weather
system's, whose friction and curvature are all there is."""
DEEPEST_M = 100.0
"""Currents are compared at the deepest level to this depth: beneath the wind's own drift, above most of the shear."""

Plane = NDArray[np.float64]


def geostrophy(scene: Scene, entry: Variable) -> Iterator[Measured]:
    """The correlation of the currents with those that the slope of the sea surface asks for, components pooled."""
    found = _currents(scene) if entry is SEA_SURFACE_HEIGHT else None
    if found is not None:
        place, one, two, bad = found
        yield Measured(place, float((one * two).sum() / np.sqrt((one * one).sum() * (two * two).sum())), bad)


def geostrophic_size(scene: Scene, entry: Variable) -> Iterator[Measured]:
    """How many times the currents are as swift as the slope of the sea surface asks for, or as slow."""
    found = _currents(scene) if entry is SEA_SURFACE_HEIGHT else None
    if found is not None:
        place, one, two, bad = found
        size = float(np.sqrt((one * one).sum() / (two * two).sum()))
        yield Measured(place, max(size, 1.0 / size), bad)


def wind_balance(scene: Scene, entry: Variable) -> Iterator[Measured]:
    """The correlation of the winds with those that the slope of the pressure asks for, components pooled."""
    names = (EASTWARD_WIND.name, NORTHWARD_WIND.name)
    grid = scene.grid
    size = min(grid.rows * grid.latitude_step, grid.columns * grid.longitude_step)
    if entry is not SEA_LEVEL_PRESSURE or any(name not in scene.fields for name in names) or size < SYNOPTIC_DEGREES:
        return
    pressure = scene.fields[entry.name].astype(np.float64) / (AIR_DENSITY * GRAVITY)
    found = _pooled(scene.fields[names[0]], scene.fields[names[1]], pressure, grid)
    if found is not None:
        one, two, bad = found
        yield Measured("", float((one * two).sum() / np.sqrt((one * one).sum() * (two * two).sum())), bad)


def _currents(scene: Scene) -> tuple[str, Plane, Plane, NDArray[np.bool_]] | None:
    names = (EASTWARD_VELOCITY.name, NORTHWARD_VELOCITY.name, SEA_SURFACE_HEIGHT.name)
    if any(name not in scene.fields for name in names):
        return None
    level = max((i for i, depth in enumerate(scene.depths_m) if depth <= DEEPEST_M), default=0)
    east, north = (scene.fields[name][level] for name in names[:2])
    found = _pooled(east, north, scene.fields[names[2]].astype(np.float64), scene.grid)
    return None if found is None else (f"and the currents at {scene.depths_m[level]:g} m", *found)


def _pooled(
    east: NDArray[np.float32], north: NDArray[np.float32], height: Plane, grid: Grid
) -> tuple[Plane, Plane, NDArray[np.bool_]] | None:
    """Both components of the flow and of the balanced flow where both are known, each less its own mean."""
    u, v = _balanced(height, grid)
    latitude = np.abs(grid.latitude)[:, None]
    used = np.isfinite(u) & np.isfinite(v) & np.isfinite(east) & np.isfinite(north)
    used &= (latitude >= EQUATOR_DEGREES) & (latitude <= POLE_DEGREES)
    if used.sum() < LEAST_CELLS:
        return None
    one = np.concatenate([item[used].astype(np.float64) - item[used].mean(dtype=np.float64) for item in (east, north)])
    two = np.concatenate([item[used] - item[used].mean() for item in (u, v)])
    return (one, two, used) if (one * one).sum() > 0 and (two * two).sum() > 0 else None


def _balanced(height: Plane, grid: Grid) -> tuple[Plane, Plane]:
    """The geostrophic flow of a height in metres by central differences, NaN at the rim and beside land."""
    north, east = np.full(height.shape, np.nan), np.full(height.shape, np.nan)
    rise = EARTH_RADIUS_M * np.deg2rad(2 * grid.latitude_step)
    north[1:-1] = (height[2:] - height[:-2]) / rise
    run = rise * grid.longitude_step / grid.latitude_step * np.cos(np.deg2rad(grid.latitude))[:, None]
    if grid.periodic:
        east = (np.roll(height, -1, axis=1) - np.roll(height, 1, axis=1)) / run
    else:
        east[:, 1:-1] = (height[:, 2:] - height[:, :-2]) / run
    coriolis = 2 * ROTATION * np.sin(np.deg2rad(grid.latitude))[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        return -GRAVITY / coriolis * north, GRAVITY / coriolis * east
