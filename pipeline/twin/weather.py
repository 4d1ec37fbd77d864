"""The twin's atmosphere at a moment: climatology plus pressure systems and the winds that balance them.

Wind is geostrophic, weakened by surface drag to 0.7 and turned 20 degrees towards low pressure, and nothing of it
at the equator; air comes warm from the equator and cold from the poles. Systems are of either sign alike, so that
the long-term mean is the climatology.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np

from pipeline.earth import climatology
from pipeline.earth.climatology import POLAR_COSINE, inverse_coriolis
from pipeline.earth.splines import Axis, Field
from pipeline.twin.census import DEGREE_M, Surface, Vortices, alive, surface

BIRTHS_PER_DAY = 30
SHORTEST_LIFE_DAYS, LONGEST_LIFE_DAYS = 5.0, 11.0
"""Life of pressure systems (extratropical cyclones: about a week)."""
TROPICAL_SHARE = 0.25
"""Of all systems, those of the trades, weak and westward."""
AIR_DENSITY = 1.22
"""kg m-3 (US Standard Atmosphere, 15 degrees C)."""
DRAG, TURNING_DEGREES = 0.7, 20.0
"""Surface wind over geostrophic wind, and its angle towards low pressure, over sea (Holton 2004, chapter 5)."""
WARM_ADVECTION = 0.3
"""K per m s-1 of poleward wind anomaly."""
WIND_TAPER_DEGREES = 10.0
_STREAM = 3


def systems(seed: int, days: float) -> Vortices:
    """Pressure systems alive: amplitude in hPa.

    Storm tracks: about 48 degrees either side, 7 to 15 hPa, radius 550 to 900 km, moving east at 6 to 13 m/s,
    a third stronger in the northern winter than on average and weaker in summer. Trades: about 15 degrees, 1 to 2
    hPa, moving west at 3 to 8 m/s. Amplitude rises and falls as ``sin(pi age / life)``.
    """
    drawn = alive(seed, _STREAM, days, BIRTHS_PER_DAY, LONGEST_LIFE_DAYS)
    age = days - drawn.day
    part = age / (SHORTEST_LIFE_DAYS + (LONGEST_LIFE_DAYS - SHORTEST_LIFE_DAYS) * drawn.life)
    tropical = drawn.place < TROPICAL_SHARE
    spread = (drawn.place - TROPICAL_SHARE) / (1.0 - TROPICAL_SHARE)
    poleward = np.where(tropical, 8.0 + 56.0 * drawn.place, 34.0 + 30.0 * spread)
    north = np.where(drawn.amplitude < 0.5, 1.0, -1.0)
    uniform = (2.0 * drawn.amplitude) % 1.0
    sign = np.where(uniform < 0.5, -1.0, 1.0)
    strength = 7.0 + 16.0 * np.abs(uniform - 0.5)
    winter = 1.0 + 0.33 * np.cos(2 * np.pi * (days - 20.0) / climatology.YEAR_DAYS) * (north > 0)
    amplitude = sign * strength * np.where(tropical, 0.13, winter) * np.sin(np.pi * np.clip(part, 0.0, 1.0))
    speed = np.where(tropical, -3.0 - 5.0 * drawn.drift, 6.0 + 7.0 * drawn.drift)
    latitude = north * (poleward + np.where(tropical, 0.2, 0.7) * age)
    east = speed * 86400.0 * age / (DEGREE_M * np.cos(np.deg2rad(poleward)))
    living = (part > 0) & (part < 1)
    radius = 1e3 * (550.0 + 350.0 * drawn.size)
    return Vortices(latitude[living], ((360.0 * drawn.longitude + east) % 360.0)[living], radius[living],
                    amplitude[living])  # fmt: skip


def wind_anomaly(pressure: Surface, latitude: Axis) -> tuple[Field, Field]:
    """Eastward and northward wind [m s-1] of a pressure anomaly [hPa] with derivatives per degree."""
    balance = 100.0 * DRAG * inverse_coriolis(latitude, WIND_TAPER_DEGREES) / (AIR_DENSITY * DEGREE_M)
    cosine = np.maximum(np.cos(np.deg2rad(latitude)), POLAR_COSINE)
    u = -pressure.north * balance[:, None].astype(np.float32)
    v = pressure.east * (balance / cosine)[:, None].astype(np.float32)
    turn = np.deg2rad(TURNING_DEGREES) * np.tanh(latitude / WIND_TAPER_DEGREES)[:, None]
    cosine_turn, sine_turn = np.cos(turn).astype(np.float32), np.sin(turn).astype(np.float32)
    return u * cosine_turn - v * sine_turn, u * sine_turn + v * cosine_turn


def wind(seed: int, when: datetime, latitude: Axis, longitude: Axis) -> tuple[Field, Field]:
    """Wind at 10 m, eastward and northward, m s-1."""
    mean = climatology.mean_surface(when, latitude, longitude)
    pressure = surface(systems(seed, climatology.days_since_epoch(when)), latitude, longitude)
    u, v = wind_anomaly(pressure, latitude)
    return mean["eastward_wind"] + u, mean["northward_wind"] + v


def fields(seed: int, when: datetime, latitude: Axis, longitude: Axis) -> dict[str, Field]:
    """The five surface fields, values everywhere: registry names and units; see ``Twin.fields``."""
    mean = climatology.mean_surface(when, latitude, longitude)
    pressure = surface(systems(seed, climatology.days_since_epoch(when)), latitude, longitude)
    u, v = wind_anomaly(pressure, latitude)
    warmth = np.clip(np.float32(WARM_ADVECTION) * v * np.sign(latitude)[:, None], -8.0, 8.0).astype(np.float32)
    height = np.maximum(climatology.elevation(latitude, longitude), 0.0)
    return climatology.surface_from(
        mean["eastward_wind"] + u, mean["northward_wind"] + v, mean["air_temperature"] + warmth,
        mean["sea_level_pressure"] + pressure.value, height,
    )  # fmt: skip
