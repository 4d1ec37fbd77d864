"""The twin's sea level anomaly: mesoscale eddies, planetary waves, equatorial Kelvin waves.

All are drawn for the deep ocean of no particular place; ``ocean`` then multiplies them with a fixed map of how
lively each place is, which is nothing at the coast.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.earth.climatology import GRAVITY, coriolis
from pipeline.earth.splines import Axis, Field
from pipeline.grids import EARTH_RADIUS_M
from pipeline.twin.census import DEGREE_M, Surface, Vortices, alive, surface

BIRTHS_PER_DAY = 45
LONGEST_LIFE_DAYS = 180.0
SHORTEST_LIFE_DAYS = 50.0
POLEWARD_LIMIT_DEGREES = 74.0
"""Eddies are born no nearer the poles, where they are too small for any grid of the twin."""
WAVE_SPEED = 2.7
"""m s-1: internal gravity wave speed of the first baroclinic mode, a global typical value (Chelton 1998)."""
HASTE = 2.0
"""How much faster than the long Rossby wave the twin's anomalies drift: a lively ocean (Chelton and Schlax 1996
find 1 to 2 times outside the tropics)."""
SLOWEST, FASTEST = 0.03, 0.6
"""m s-1: limits of the westward drift."""
KELVIN_SPEED = 2.5
"""m s-1, eastward: equatorial Kelvin wave (first baroclinic mode)."""
_EDDY_STREAM, _WAVE_STREAM = 1, 2
_BAND_CENTRES = np.arange(-66.0, 67.0, 6.0)
_WAVELENGTHS_KM = (700.0, 1100.0, 1800.0)
_KELVIN_NUMBERS = (2, 3, 5)


class Waves(NamedTuple):
    """Planetary waves: ``a exp(-((lat - centre) / 4)^2 / 2) cos(number lon + tilt lat + rate t + phase)``; (count,).

    ``centre`` in degrees, ``tilt`` in radians per degree, ``rate`` in radians per day, ``amplitude`` a in metres.
    """

    centre: NDArray[np.float64]
    number: NDArray[np.float64]
    tilt: NDArray[np.float64]
    rate: NDArray[np.float64]
    phase: NDArray[np.float64]
    amplitude: NDArray[np.float64]


def westward_speed(latitude: NDArray[np.float64]) -> NDArray[np.float64]:
    """Drift of anomalies towards the west, m s-1: ``slowest + haste beta c^2 / f^2``, at most ``FASTEST``."""
    f = np.maximum(np.abs(coriolis(np.asarray(latitude))), coriolis(np.array([2.0]))[0])
    beta = 2 * 7.2921e-5 * np.cos(np.deg2rad(latitude)) / EARTH_RADIUS_M
    return np.asarray(np.minimum(SLOWEST + HASTE * beta * WAVE_SPEED**2 / f**2, FASTEST))


def eddies(seed: int, days: float) -> Vortices:
    """The eddies alive: amplitude in metres.

    Radius 95 km in high latitudes, 245 km at the equator, a fifth smaller at birth and a fifth larger at the end:
    a small one grows and a large one fades. Amplitude rises and falls as ``sin(pi age / life)``, is larger away
    from the equator (where a given slope would drive a swifter flow), of either sign alike.
    """
    drawn = alive(seed, _EDDY_STREAM, days, BIRTHS_PER_DAY, LONGEST_LIFE_DAYS)
    life = SHORTEST_LIFE_DAYS + (LONGEST_LIFE_DAYS - SHORTEST_LIFE_DAYS) * drawn.life
    part = (days - drawn.day) / life
    born = np.rad2deg(np.arcsin((2 * drawn.place - 1) * np.sin(np.deg2rad(POLEWARD_LIMIT_DEGREES))))
    sign = np.where(drawn.amplitude < 0.5, -1.0, 1.0)
    strength = 0.5 + 2.0 * np.abs(drawn.amplitude - 0.5)
    age_s = (days - drawn.day) * 86400.0
    latitude = born - sign * np.sign(born) * 0.008 * age_s / DEGREE_M
    drift = westward_speed(born) * (0.85 + 0.3 * drawn.drift)
    longitude = 360.0 * drawn.longitude - drift * age_s / (DEGREE_M * np.cos(np.deg2rad(born)))
    radius = 1e3 * (95.0 + 150.0 * np.exp(-((born / 22.0) ** 2))) * (0.85 + 0.3 * drawn.size) * (0.8 + 0.4 * part)
    typical = 0.05 + 0.11 * -np.expm1(-((born / 15.0) ** 2))
    amplitude = sign * strength * typical * np.sin(np.pi * np.clip(part, 0.0, 1.0))
    living = (part > 0) & (part < 1)
    return Vortices(latitude[living], longitude[living] % 360.0, radius[living], amplitude[living])


def eddy_height(seed: int, days: float, latitude: Axis, longitude: Axis) -> Surface:
    """Sea level anomaly of the eddies [m] at points."""
    return surface(eddies(seed, days), latitude, longitude)


@lru_cache(maxsize=8)
def planetary_waves(seed: int) -> Waves:
    """The waves of a seed: three wavelengths in each band of 6 degrees.

    Frequency is the speed at the band's centre times wavenumber: long waves do not disperse.
    """
    random = np.random.default_rng([seed, _WAVE_STREAM])
    centre = np.repeat(_BAND_CENTRES, len(_WAVELENGTHS_KM))
    circle_m = 2 * np.pi * EARTH_RADIUS_M * np.cos(np.deg2rad(centre))
    number = np.maximum(np.round(circle_m / (1e3 * np.tile(_WAVELENGTHS_KM, _BAND_CENTRES.size))), 2.0)
    rate = westward_speed(centre) * number * 2 * np.pi / circle_m * 86400.0
    count = centre.size
    taper = np.clip(np.abs(centre) / 12.0, 0.4, 1.0) * np.cos(np.deg2rad(centre)) ** 0.5
    amplitude = taper * (0.012 + 0.018 * random.random(count))
    tilt = random.uniform(-0.15, 0.15, count)
    return Waves(centre, number, tilt, rate, random.uniform(0, 2 * np.pi, count), amplitude)


def wave_height(seed: int, days: float, latitude: Axis, longitude: Axis) -> Surface:
    """Sea level anomaly of the planetary waves [m] at points, with derivatives."""
    waves = planetary_waves(seed)
    offset = (latitude[:, None] - waves.centre) / 4.0
    shape = np.exp(-offset * offset / 2) * waves.amplitude
    angle = waves.tilt * latitude[:, None] + waves.rate * days + waves.phase
    bend = -offset / 4.0
    rows = np.concatenate([shape * np.cos(angle), -shape * np.sin(angle)], axis=1)
    slopes = np.concatenate(
        [shape * (bend * np.cos(angle) - waves.tilt * np.sin(angle)),
         -shape * (bend * np.sin(angle) + waves.tilt * np.cos(angle))], axis=1,
    )  # fmt: skip
    return _along(rows, slopes, waves.number, longitude)


def kelvin_height(seed: int, days: float, latitude: Axis, longitude: Axis) -> Surface:
    """Sea level anomaly of equatorial Kelvin waves [m]: Gaussian about the equator with the radius ``sqrt(c / beta)``.

    Their eastward flow is ``g / c`` times the height, which balances them geostrophically at every latitude.
    """
    random = np.random.default_rng([seed, _WAVE_STREAM, 1])
    number = np.array(_KELVIN_NUMBERS, dtype=np.float64)
    phase = random.uniform(0, 2 * np.pi, number.size) - KELVIN_SPEED * number / EARTH_RADIUS_M * 86400.0 * days
    radius = np.rad2deg(kelvin_radius_m() / EARTH_RADIUS_M)
    shape = 0.025 * np.exp(-((latitude / radius) ** 2) / 2)[:, None] * np.ones(number.size)
    rows = np.concatenate([shape * np.cos(phase), -shape * np.sin(phase)], axis=1)
    return _along(rows, rows * (-latitude / radius**2)[:, None], number, longitude)


def kelvin_radius_m() -> float:
    """Equatorial radius of deformation, sqrt(c / beta), m."""
    return float(np.sqrt(KELVIN_SPEED * EARTH_RADIUS_M / (2 * 7.2921e-5)))


def kelvin_flow(height: Field) -> Field:
    """Eastward flow of Kelvin waves of this height [m], m s-1."""
    return height * np.float32(GRAVITY / KELVIN_SPEED)


def _along(
    rows: NDArray[np.float64], slopes: NDArray[np.float64], number: NDArray[np.float64], longitude: Axis
) -> Surface:
    """Rows (latitude, cosine then sine of each wave) times the waves along longitude."""
    angle = np.deg2rad(longitude) * number[:, None]
    columns = np.concatenate([np.cos(angle), np.sin(angle)])
    turned = np.deg2rad(np.tile(number, 2))[:, None] * np.concatenate([-np.sin(angle), np.cos(angle)])
    rows32, columns32 = rows.astype(np.float32), columns.astype(np.float32)
    return Surface(rows32 @ columns32, slopes.astype(np.float32) @ columns32, rows32 @ turned.astype(np.float32))
