"""Every vortex that is alive at a moment: born at random on its day, drifting, growing and fading by rule.

A day's births come from a generator seeded with (seed, stream, day): any moment of any century is evaluated
directly, with no step before it. A vortex is a Gaussian in latitude and longitude, so the sum over all of them
is one product of matrices: (rows x vortices) (vortices x columns).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.earth.splines import Axis, Field
from pipeline.grids import EARTH_RADIUS_M

DEGREE_M = EARTH_RADIUS_M * np.deg2rad(1.0)
"""Metres in one degree of latitude."""
REACH = 5.0
"""A Gaussian is nothing (4e-6) beyond five of its radii."""
_DAY_OFFSET = 10_000_000
"""Makes the number of any day positive, as seeds must be."""


class Births(NamedTuple):
    """What a day brings: uniform random numbers, (count,) each, which a population reads in its own way."""

    day: int
    place: NDArray[np.float64]
    longitude: NDArray[np.float64]
    amplitude: NDArray[np.float64]
    size: NDArray[np.float64]
    life: NDArray[np.float64]
    drift: NDArray[np.float64]


class Vortices(NamedTuple):
    """Those alive: centres (degrees), radius (m; the Gaussian's standard deviation), signed amplitude. (count,)."""

    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]
    radius_m: NDArray[np.float64]
    amplitude: NDArray[np.float64]


class Surface(NamedTuple):
    """A height (or pressure) and its derivatives per degree of latitude and longitude; (latitude, longitude)."""

    value: Field
    north: Field
    east: Field


@lru_cache(maxsize=4096)
def births(seed: int, stream: int, day: int, count: int) -> Births:
    """The births of a day (days since 2000-01-01) of one population (``stream``)."""
    draws = np.random.default_rng([seed, stream, day + _DAY_OFFSET]).random((6, count))
    return Births(day, *draws)


def alive(seed: int, stream: int, days: float, count: int, longest_days: float) -> Births:
    """All births of the last ``longest_days`` before a moment; ``day`` is then the birth moments, (count,)."""
    last = int(np.floor(days))
    cohorts = [births(seed, stream, day, count) for day in range(last - int(longest_days), last + 1)]
    moments = np.concatenate([cohort.day + np.linspace(0.0, 1.0, count, endpoint=False) for cohort in cohorts])
    parts = (np.concatenate([cohort[index] for cohort in cohorts]) for index in range(1, 7))
    return Births(moments, *parts)  # type: ignore[arg-type]


def surface(vortices: Vortices, latitude: Axis, longitude: Axis) -> Surface:
    """The sum of the vortices and its exact derivatives at rectilinear points (degrees)."""
    near = _near(vortices, latitude, longitude)
    y = (latitude[:, None] - near.latitude) * (DEGREE_M / near.radius_m)
    east_m = DEGREE_M * np.cos(np.deg2rad(near.latitude))
    away = (longitude[None, :] - near.longitude[:, None]).astype(np.float32)
    away -= np.float32(360.0) * np.round(away / np.float32(360.0))
    x = away * (east_m / near.radius_m).astype(np.float32)[:, None]
    rows = (np.exp(-y * y / 2) * near.amplitude).astype(np.float32)
    columns = np.exp(-x * x / 2)
    row_slopes = (-rows * y * (DEGREE_M / near.radius_m)).astype(np.float32)
    column_slopes = -columns * x * (east_m / near.radius_m).astype(np.float32)[:, None]
    return Surface(rows @ columns, row_slopes @ columns, rows @ column_slopes)


def _near(vortices: Vortices, latitude: Axis, longitude: Axis) -> Vortices:
    """Those that reach the points."""
    reach = REACH * vortices.radius_m / DEGREE_M
    middle, half = (longitude[0] + longitude[-1]) / 2, (longitude[-1] - longitude[0]) / 2
    away = np.abs((vortices.longitude - middle + 180.0) % 360.0 - 180.0) - half
    inside = (away * np.cos(np.deg2rad(vortices.latitude)) < reach) & (vortices.latitude < latitude[-1] + reach)
    inside &= vortices.latitude > latitude[0] - reach
    return Vortices(*(part[inside] for part in vortices))
