"""The twin's ocean at a moment: climatology plus anomalies whose height, flow, temperature and salinity agree.

An anomaly has the pressure ``p' = rho0 g eta(x, y) exp(-d / H)`` at depth d, so that

- its sea surface height is ``eta``;
- its flow is geostrophic: ``u = -(g / f) d(eta)/dy exp(-d / H)``, ``v = (g / f) d(eta)/dx exp(-d / H)``;
- hydrostatics, ``dp'/dd = g rho'``, gives ``rho' = -(rho0 eta / H) exp(-d / H)``: high water is light water;
- with ``rho' = rho0 (-a T' + s S')`` and the density ratio ``R = a T' / (s S')`` (warm water is salty water, and
  salt takes back 1/R of the buoyancy), ``T' = eta exp(-d / H) / (H a (1 - 1/R))`` and ``S' = a T' / (R s)``.

Thermal wind follows from the two. Two vertical scales are used: eddies reach deeper than planetary waves.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from pipeline.earth import climatology
from pipeline.earth.climatology import FREEZING_DEGC, geostrophic
from pipeline.earth.splines import Axis, Field, mesh, single
from pipeline.twin import eddies
from pipeline.twin.census import Surface
from pipeline.variables import Kind

EXPANSION, CONTRACTION, DENSITY_RATIO = 2.0e-4, 7.6e-4, 4.0
"""Of the anomalies: thermal expansion [K-1] and haline contraction [1] of 15 degC water, T-S density ratio."""
EDDY_DEPTH_M, WAVE_DEPTH_M = 700.0, 300.0
"""H of the eddies and of the planetary and Kelvin waves."""
SPEED_CAP = 1.5
"""m s-1: the anomalies' flow is limited smoothly to this (Gulf Stream rings reach about 1.5)."""


class Anomaly(NamedTuple):
    """Anomalies at points: of one vertical scale: height [m] and surface flow [m s-1]."""

    depth_m: float
    height: Field
    eastward: Field
    northward: Field


def fields(seed: int, when: datetime, latitude: Axis, longitude: Axis, depths_m: tuple[float, ...]) -> dict[str, Field]:
    """The five ocean variables, NaN on land: registry names and units; see ``Twin.fields``."""
    result = climatology.fields(Kind.OCEAN, when, latitude, longitude, depths_m)
    parts = anomalies(seed, when, latitude, longitude)
    for level, depth in enumerate(depths_m):
        for part in parts:
            profile = np.float32(np.exp(-depth / part.depth_m))
            result["to"][level] += part.height * (profile * warming(part.depth_m))
            result["so"][level] += part.height * (profile * salting(part.depth_m))
            result["uo"][level] += part.eastward * profile
            result["vo"][level] += part.northward * profile
        land = ~climatology.is_sea(latitude, longitude, depth)
        for name in ("to", "so", "uo", "vo"):
            result[name][level][land] = np.nan
    np.maximum(result["to"], np.float32(FREEZING_DEGC), out=result["to"])
    np.clip(result["so"], 0.1, 44.0, out=result["so"])
    result["zos"] = result["zos"] + parts[0].height + parts[1].height
    result["zos"][~climatology.is_sea(latitude, longitude)] = np.nan
    return result


def warming(depth_m: float) -> np.float32:
    """Temperature anomaly at the surface per metre of height, K m-1."""
    return np.float32(1.0 / (depth_m * EXPANSION * (1.0 - 1.0 / DENSITY_RATIO)))


def salting(depth_m: float) -> np.float32:
    """Salinity anomaly at the surface per metre of height, m-1."""
    return np.float32(warming(depth_m) * EXPANSION / (DENSITY_RATIO * CONTRACTION))


def anomalies(seed: int, when: datetime, latitude: Axis, longitude: Axis) -> tuple[Anomaly, Anomaly]:
    """The anomalies of either vertical scale: eddies, then planetary and Kelvin waves."""
    days = climatology.days_since_epoch(when)
    lively = liveliness(latitude, longitude)
    eddy = _times(lively, eddies.eddy_height(seed, days, latitude, longitude))
    planetary = eddies.wave_height(seed, days, latitude, longitude)
    kelvin = _times(lively, eddies.kelvin_height(seed, days, latitude, longitude))
    planetary = _times(lively, planetary)
    wave = Surface(*(one + other for one, other in zip(planetary, kelvin, strict=True)))
    equatorial = np.exp(-((latitude / climatology.EQUATORIAL_TAPER_DEGREES) ** 4)).astype(np.float32)
    u, v = geostrophic((wave.north, wave.east), latitude)
    u = u + equatorial[:, None] * eddies.kelvin_flow(kelvin.value)
    flows = (geostrophic((eddy.north, eddy.east), latitude), (u, v))
    parts = zip((EDDY_DEPTH_M, WAVE_DEPTH_M), (eddy.value, wave.value), flows, strict=True)
    eddy_part, wave_part = (Anomaly(depth, height, *_limited(*flow)) for depth, height, flow in parts)
    return eddy_part, wave_part


def liveliness(latitude: Axis, longitude: Axis) -> Surface:
    """How lively each place is: 0 at the coast, about 1 in the open ocean, more along strong currents; fixed."""
    return _liveliness(latitude.astype(np.float64).tobytes(), longitude.astype(np.float64).tobytes())


@lru_cache(maxsize=8)
def _liveliness(latitude_bytes: bytes, longitude_bytes: bytes) -> Surface:
    """``shelf * energy * (1 + 0.2 roughness)``: standing structures of the relief modulate what passes over them."""
    latitude, longitude = np.frombuffer(latitude_bytes), np.frombuffer(longitude_bytes)
    shape = climatology.shape(latitude, longitude)
    nodes = mesh(1.0, latitude, longitude)
    energy = Surface(nodes.value(_energy()), *nodes.slopes(_energy()))
    rough = Surface(1 + np.float32(0.2) * shape.roughness, *(np.float32(0.2) * s for s in shape.roughness_slopes))
    return _times(Surface(shape.shelf, *shape.shelf_slopes), _times(energy, rough))


@lru_cache(maxsize=1)
def _energy() -> Field:
    """On 1-degree centres: 0.7 in quiet gyres to 1.7 where the mean sea surface is steep, less under ice."""
    steepness, temperature = climatology.mean_steepness()
    ice = 0.25 + 0.75 / (1.0 + np.exp(-(temperature - 2.5) / 1.0))
    return single((0.7 + 1.0 * np.tanh(steepness / 1.2e-6)) * ice)


def _times(one: Surface, other: Surface) -> Surface:
    """Product of two fields with the product rule for the derivatives."""
    return Surface(
        one.value * other.value,
        one.north * other.value + one.value * other.north,
        one.east * other.value + one.value * other.east,
    )


def _limited(u: Field, v: Field) -> tuple[Field, Field]:
    """Speed s becomes ``s / (1 + (s / cap)^4)^(1/4)``: unchanged while slow, never above the cap."""
    factor = 1.0 / (1.0 + ((u * u + v * v) / np.float32(SPEED_CAP**2)) ** 2) ** np.float32(0.25)
    return single(u * factor), single(v * factor)
