"""The twin's waves at a moment: the wind of the last days, remembered, over a background of swell.

The wind sea is that of a fully developed sea under the remembered mean square wind,
``Hs = 0.22 <U^2> / g`` (Pierson and Moskowitz 1964), which levels off in the worst storms; memory fades by 1/e in 30
hours. Swell grows with latitude and in winter. Heights add as energies; the mean period is weighted by energy; the
direction is that from which the remembered wind blows, clockwise from north.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np

from pipeline.earth import climatology
from pipeline.earth.climatology import GRAVITY
from pipeline.earth.splines import Axis, Field, single
from pipeline.twin import weather

HIGHEST_SEA_M = np.float32(16.0)
"""Where wind seas level off, since no storm blows over all the fetch that a higher one would need: 8 m of developed
sea lose 0.1 m by it, 25 m nine. Significant heights above 20 m have hardly been measured (WMO record: 19 m)."""
MEMORY_HOURS = 30.0
"""e-folding time of the memory of the wind."""
SAMPLES_HOURS = (0, 12, 24, 36, 48, 60, 72, 84)
"""Ages at which the wind is sampled; what is older weighs less than 5 %."""


def fields(seed: int, when: datetime, latitude: Axis, longitude: Axis) -> dict[str, Field]:
    """Wave height [m], mean period [s], direction from which [degrees]; NaN on land."""
    energy, east, north = remembered_wind(seed, when, latitude, longitude)
    sea = np.float32(0.22 / GRAVITY) * energy
    sea /= (1.0 + (sea / HIGHEST_SEA_M) ** 4) ** np.float32(0.25)
    swell = swell_height(when, latitude)[:, None]
    height = np.hypot(sea, swell)
    period = (sea**2 * (3.0 + 3.0 * np.sqrt(sea)) + swell**2 * (7.0 + 2.0 * swell)) / height**2
    result = {"swh": height, "mwp": period, "mwd": bearing_from(east, north)}
    land = ~climatology.is_sea(latitude, longitude)
    for field in result.values():
        field[land] = np.nan
    return result


def remembered_wind(seed: int, when: datetime, latitude: Axis, longitude: Axis) -> tuple[Field, Field, Field]:
    """Weighted means over the last days of speed squared [m2 s-2], eastward and northward wind [m s-1]."""
    weights = np.exp(-np.array(SAMPLES_HOURS) / MEMORY_HOURS)
    total: list[Field] = [np.zeros((latitude.size, longitude.size), dtype=np.float32) for _ in range(3)]
    for age, weight in zip(SAMPLES_HOURS, (weights / weights.sum()).astype(np.float32), strict=True):
        u, v = weather.wind(seed, when - timedelta(hours=age), latitude, longitude)
        total = [part + weight * values for part, values in zip(total, (u * u + v * v, u, v), strict=True)]
    return total[0], total[1], total[2]


def swell_height(when: datetime, latitude: Axis) -> Field:
    """Height of the swell [m]: 0.8 at the equator to 2 in the westerlies, a quarter more in winter; (latitude,)."""
    phase = 2 * np.pi * (climatology.days_since_epoch(when) - 20.0) / climatology.YEAR_DAYS
    winter = 1.0 + 0.25 * np.cos(phase) * np.tanh(latitude / 20.0)
    westerlies = np.exp(-(((np.abs(latitude) - 50.0) / 20.0) ** 2))
    return single((0.8 + 1.2 * westerlies) * winter)


def bearing_from(east: Field, north: Field) -> Field:
    """Direction from which a vector comes, degrees clockwise from north, 0 <= bearing < 360."""
    bearing = np.rad2deg(np.arctan2(-east, -north)) % np.float32(360.0)
    return np.where(bearing >= 360.0, np.float32(0.0), bearing).astype(np.float32)
