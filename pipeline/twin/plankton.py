"""The twin's biogeochemistry at a moment: plankton that follows light and nutrients, nutrients that follow mixing.

- Mixed layer: deep where the season is cold, under strong wind and inside warm eddies.
- Light: daily mean insolation at the top of the atmosphere, averaged over the mixed layer.
- Nitrate: plenty below cold water, little above warm (Kamykowski and Zentara 1986), more where mixing is deep and
  cold eddies lift it. Iron: from dust, shelves and deep mixing.
- Each group grows where its needs of light, nitrate, iron and warmth are met; chlorophyll is their sum.

All rules are smooth functions of the moment's surface temperature, eddy height, wind and place.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import numpy as np

from pipeline.earth import climatology
from pipeline.earth.splines import Axis, Field, single
from pipeline.twin import ocean, seas
from pipeline.variables import Kind

CLEAR_ATTENUATION = 0.06
"""m-1: of light in ocean water with a little chlorophyll (Morel 1988)."""
DUST_SOURCES = (
    (20.0, 340.0, 18.0, 30.0),
    (15.0, 60.0, 12.0, 18.0),
    (38.0, 140.0, 12.0, 25.0),
    (-25.0, 130.0, 10.0, 25.0),
)
"""Where dust brings iron: latitude, longitude, and their spreads, degrees: Sahara, Arabia, Asia, Australia."""


class Needs(NamedTuple):
    """What a group needs to grow, and how much of it there is when all is met.

    Half saturations of ``light`` [share of 400 W m-2], ``nitrate`` [mmol m-3] and ``iron`` [umol m-3]; the best
    ``warmth`` and its ``spread`` [degC]; ``most``: chlorophyll when all is met [mg m-3].
    """

    light: float
    nitrate: float
    iron: float
    warmth: float
    spread: float
    most: float


GROUPS = {
    "chlorophytes": Needs(0.10, 1.0, 0.10, 16.0, 12.0, 0.5),
    "diatoms": Needs(0.08, 3.0, 0.15, 8.0, 10.0, 4.0),
    "coccolithophores": Needs(0.15, 0.7, 0.12, 18.0, 10.0, 0.4),
    "cyanobacteria": Needs(0.12, 0.1, 0.05, 27.0, 9.0, 0.25),
}
LEAST = 0.004
"""mg m-3: a seed stock of every group is everywhere."""


def fields(seed: int, when: datetime, latitude: Axis, longitude: Axis) -> dict[str, Field]:
    """The eight biochemical variables; NaN on land."""
    warmth, lift, depth = _physics(seed, when, latitude, longitude)
    light = single(_light(when, latitude)[:, None] * _mean_attenuation(depth))
    supply = 0.05 + 30.0 / (1.0 + np.exp((warmth - 11.0 - 8.0 * lift) / 3.5)) * (depth / (depth + 25.0))
    nitrate = single(supply * (1.0 - 0.5 * light / (light + 0.3)))
    iron = single(0.03 + _dust(latitude, longitude) + 0.12 * depth / (depth + 120.0)) + _shelf_iron(latitude, longitude)
    groups = {name: _grown(needs, light, nitrate, iron, warmth) for name, needs in GROUPS.items()}
    total = groups["chlorophytes"] + groups["diatoms"] + groups["coccolithophores"] + groups["cyanobacteria"]
    result = {"chl": total, **groups, "fe": iron, "no3": nitrate, "mld": depth}
    land = ~climatology.is_sea(latitude, longitude)
    for name, field in result.items():
        result[name] = np.where(land, np.float32(np.nan), field).astype(np.float32)
    return result


def _physics(seed: int, when: datetime, latitude: Axis, longitude: Axis) -> tuple[Field, Field, Field]:
    """Surface temperature [degC], uplift by eddies (-eta / 0.1 m, between -3 and 3), mixed layer depth [m]."""
    parts = ocean.anomalies(seed, when, latitude, longitude)
    mean = climatology.fields(Kind.OCEAN, when, latitude, longitude, (0.0,))["to"][0]
    warmth = mean + sum(part.height * ocean.warming(part.depth_m) for part in parts)
    height = parts[0].height + parts[1].height
    departure = climatology.seasonal_warmth(when, latitude, longitude)
    energy, _, _ = seas.remembered_wind(seed, when, latitude, longitude)
    wind = np.sqrt(energy) / 8.0
    convective = 1.0 + 1.5 * np.exp(-(((mean - 4.0) / 7.0) ** 2))
    depth = 38.0 * convective * np.exp(-0.28 * departure) * (0.6 + 0.4 * wind) * np.exp(1.5 * height)
    depth = 8.0 + 600.0 * np.tanh(depth / 600.0)
    return warmth.astype(np.float32), np.clip(-height / 0.1, -3.0, 3.0), depth.astype(np.float32)


def _light(when: datetime, latitude: Axis) -> Axis:
    """Daily mean insolation at the top of the atmosphere over 400 W m-2, at least 0.01; (latitude,).

    ``Q = S/pi (h sin(lat) sin(dec) + cos(lat) cos(dec) sin(h))``, h the half-day's hour angle (Peixoto and Oort
    1992, eq. 6.20), declination 23.44 degrees times the season's sine, S = 1361 W m-2.
    """
    phase = 2 * np.pi * (climatology.days_since_epoch(when) - 80.0) / climatology.YEAR_DAYS
    declination, angle = np.deg2rad(23.44) * np.sin(phase), np.deg2rad(latitude)
    half_day = np.arccos(np.clip(-np.tan(angle) * np.tan(declination), -1.0, 1.0))
    daily = half_day * np.sin(angle) * np.sin(declination) + np.cos(angle) * np.cos(declination) * np.sin(half_day)
    return np.asarray(np.maximum(1361.0 / np.pi * daily / 400.0, 0.01))


def _mean_attenuation(depth: Field) -> Field:
    """Mean of exp(-k z) over the mixed layer: (1 - exp(-k d)) / (k d)."""
    path = np.float32(CLEAR_ATTENUATION) * depth
    return single(-np.expm1(-path) / path)


def _dust(latitude: Axis, longitude: Axis) -> Axis:
    total = np.zeros((latitude.size, longitude.size))
    for north, east, tall, wide in DUST_SOURCES:
        away = (longitude - east + 180.0) % 360.0 - 180.0
        total += 0.5 * np.exp(-(((latitude - north) / tall) ** 2))[:, None] * np.exp(-((away / wide) ** 2))
    return total


def _shelf_iron(latitude: Axis, longitude: Axis) -> Field:
    return single(0.4 * (1.0 - climatology.shape(latitude, longitude).shelf))


def _grown(needs: Needs, light: Field, nitrate: Field, iron: Field, warmth: Field) -> Field:
    """Chlorophyll of a group: its most times the product of what limits it, nutrients by the scarcer."""
    scarcer = np.minimum(nitrate / (nitrate + needs.nitrate), iron / (iron + needs.iron))
    comfort = np.exp(-(((warmth - needs.warmth) / needs.spread) ** 2))
    return single(LEAST + needs.most * light / (light + needs.light) * scarcer * comfort)
