"""The mean ocean and atmosphere for a day of the year, everywhere on Earth: real means, harmonic season.

Read from ``data/climatology.nc`` (provenance in its attributes). The ocean's currents are those its temperature and
salinity imply: density from a simple equation of state, dynamic height above 1000 m, geostrophic flow. Waves and
biogeochemistry have no public-domain climatology here: theirs is the twin's own mean (``data/twin_means.nc``).

Equation of state (Vallis 2006, eq. 1.154, without pressure): buoyancy
``b(T, S) = a (T - 10) + c (T - 10)^2 / 2 - s (S - 35)``, density ``rho = rho0 (1 - b)``.
Dynamic height ``D(d) = integral of b from depth d to 1000 m``; ``zos = D(0) - <D(0)>``; at depth d
``u = -(g / f) dD/dy``, ``v = (g / f) dD/dx``, which is thermal wind; no motion at and below 1000 m.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import PchipInterpolator

from pipeline.earth import splines
from pipeline.earth.splines import Axis, Field, single
from pipeline.grids import EARTH_RADIUS_M
from pipeline.variables import Kind

GRAVITY = 9.81
"""m s-2."""
ROTATION = 7.2921e-5
"""Earth's angular velocity, rad s-1."""
REFERENCE_DENSITY = 1027.0
"""kg m-3 (Vallis 2006, table 1.2)."""
EXPANSION, CABBELING, CONTRACTION = 1.67e-4, 1.0e-5, 7.8e-4
"""Thermal expansion at 10 degC [K-1], its growth [K-2], haline contraction [1] (Vallis 2006, table 1.2)."""
NO_MOTION_M = 1000.0
"""Depth of the level of no motion in metres (the classical choice of dynamic topographies)."""
SUMMER_FRESHENING = -0.04
"""Salinity per kelvin of seasonal temperature: rain and ice melt freshen the warm season (order of magnitude)."""
EQUATORIAL_TAPER_DEGREES = 3.0
"""Within about this latitude geostrophy fails and the geostrophic flow is tapered to nothing."""
POLAR_COSINE = 0.1
"""Beyond 84 degrees meridians are taken no closer together than there: the poles are points, not walls."""
FREEZING_DEGC = -1.9
"""Sea water of salinity 35 freezes at -1.9 degC (UNESCO 1983)."""
MEAN_SPEED_CAP = 1.2
"""m s-1: the mean flow is limited smoothly to this, below the swiftest mean currents (Gulf Stream, about 1.5)."""
YEAR_DAYS = 365.2425
"""Days of the mean Gregorian year."""
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_FOLDER = Path(__file__).parents[1] / "data"
_LEVELS_M = np.array([
    0, 5, 10, 15, 20, 25, 30, 40, 50, 60, 75, 100, 125, 150, 175, 200, 250, 300, 350, 400, 450, 500,
    600, 700, 800, 900, 1000, 1250, 1500, 2000, 2500, 3000, 4000, 5000,
], dtype=np.float64)  # fmt: skip


class _Ocean(NamedTuple):
    """On ``_LEVELS_M`` and 1-degree centres: means (level, 180, 360); seasons (4, level, 180, 360) by harmonic."""

    temperature: Field
    salinity: Field
    height: Field
    temperature_season: Field
    height_season: Field
    mean_height: float


class Shape(NamedTuple):
    """The shape of the sea bed at points: ``shelf`` is 0 at the coast and 1 over the deep, smooth.

    ``shelf_slopes``: its derivatives per degree of latitude and of longitude. ``roughness``: relief of 100 to 200
    km wavelength, standardised, with ``roughness_slopes`` likewise. All (latitude, longitude).
    """

    shelf: Field
    shelf_slopes: tuple[Field, Field]
    roughness: Field
    roughness_slopes: tuple[Field, Field]


def fields(
    kind: Kind, when: datetime, latitude: Axis, longitude: Axis, depths_m: tuple[float, ...]
) -> dict[str, Field]:
    """The climatology of a kind at a moment of the year, by registry name, in registry units, values everywhere.

    ``latitude`` (increasing) and ``longitude`` (increasing, 0..360): degrees, one-dimensional, any points.
    Returns float32 (depth, latitude, longitude) for what has depth, else (latitude, longitude).
    """
    if kind is Kind.OCEAN:
        return _ocean_fields(when, latitude, longitude, depths_m)
    if kind is Kind.SURFACE:
        return _surface_fields(when, latitude, longitude)
    if kind is Kind.STATIC:
        return {"elevation": elevation(latitude, longitude)}
    return _twin_means(kind, when, latitude, longitude)


def elevation(latitude: Axis, longitude: Axis) -> Field:
    """Height of the solid Earth [m], negative under the sea: the 1/3-degree cell that each point is in."""
    rows, columns = _cells(latitude, longitude)
    return _bed()[0][np.ix_(rows, columns)]


def is_sea(latitude: Axis, longitude: Axis, depth_m: float = 0.0) -> NDArray[np.bool_]:
    """True where there is sea water at a depth: the 1/3-degree cell is sea and its bed is no shallower."""
    rows, columns = _cells(latitude, longitude)
    relief, sea = _bed()
    chosen = np.ix_(rows, columns)
    return sea[chosen] & (relief[chosen] <= -depth_m)


def shape(latitude: Axis, longitude: Axis) -> Shape:
    """The smoothed shape of the sea bed at points; cached."""
    return _shape(latitude.astype(np.float64).tobytes(), longitude.astype(np.float64).tobytes())


@lru_cache(maxsize=6)
def _shape(latitude: bytes, longitude: bytes) -> Shape:
    shelf, roughness = _shapes()
    mesh = splines.mesh(1.0 / 3.0, np.frombuffer(latitude), np.frombuffer(longitude))
    return Shape(mesh.value(shelf), mesh.slopes(shelf), mesh.value(roughness), mesh.slopes(roughness))


def mean_surface(when: datetime, latitude: Axis, longitude: Axis) -> dict[str, Field]:
    """Winds [m s-1], air temperature [degC] and pressure [hPa], all at sea level, by their names in the file."""
    mesh, phase = splines.mesh(2.0, latitude, longitude), season(when)
    return {name: mesh.value(mean + np.tensordot(phase, cycle, 1)) for name, (mean, cycle) in _surface().items()}


def seasonal_warmth(when: datetime, latitude: Axis, longitude: Axis) -> Field:
    """The season's departure of surface temperature from its annual mean, K."""
    departure = np.tensordot(season(when), _ocean().temperature_season[:, 0], 1)
    return splines.mesh(1.0, latitude, longitude).value(departure)


def mean_steepness() -> tuple[Field, Field]:
    """Slope of the mean sea surface [m per m], smoothed over 2 degrees, and mean surface temperature [degC].

    Both on 1-degree centres, (180, 360).
    """
    ocean = _ocean()
    rows = np.maximum(np.cos(np.deg2rad(np.arange(-89.5, 90.0))), POLAR_COSINE)[:, None]
    degree_m = EARTH_RADIUS_M * np.deg2rad(1.0)
    north, east = np.gradient(ndimage.gaussian_filter(ocean.height[0], 1.0, mode=("nearest", "wrap")), degree_m)
    slope = ndimage.gaussian_filter(np.hypot(north, east / rows), 2.0, mode=("nearest", "wrap"))
    return slope.astype(np.float32), ocean.temperature[0]


def days_since_epoch(when: datetime) -> float:
    """Days since 2000-01-01 00Z; a moment without a zone is UTC."""
    moment = when if when.tzinfo else when.replace(tzinfo=UTC)
    return (moment - _EPOCH).total_seconds() / 86400.0


def season(when: datetime) -> NDArray[np.float32]:
    """Annual cosine and sine, semi-annual cosine and sine of the moment's phase in the year: (4,)."""
    moment = when if when.tzinfo else when.replace(tzinfo=UTC)
    start = datetime(moment.year, 1, 1, tzinfo=UTC)
    phase = 2 * np.pi * (moment - start).total_seconds() / 86400.0 / YEAR_DAYS
    return np.array([np.cos(phase), np.sin(phase), np.cos(2 * phase), np.sin(2 * phase)], dtype=np.float32)


def coriolis(latitude: Axis) -> Axis:
    """The Coriolis parameter f = 2 omega sin(latitude), s-1."""
    return 2 * ROTATION * np.sin(np.deg2rad(latitude))


def inverse_coriolis(latitude: Axis, taper_degrees: float = EQUATORIAL_TAPER_DEGREES) -> Axis:
    """1/f [s], tapered to 0 at the equator: ``(1 - exp(-(latitude / taper)^4)) / f``, 1/f beyond twice the taper."""
    safe = np.where(np.abs(latitude) < 1e-3, 1e-3, latitude)
    return -np.expm1(-((safe / taper_degrees) ** 4)) / coriolis(safe)


def geostrophic(slopes: tuple[Field, Field], latitude: Axis) -> tuple[Field, Field]:
    """Eastward and northward flow [m s-1] of a height [m] with these derivatives per degree, tapered at the equator."""
    scale = GRAVITY * inverse_coriolis(latitude) / (EARTH_RADIUS_M * np.deg2rad(1.0))
    cosine = np.maximum(np.cos(np.deg2rad(latitude)), POLAR_COSINE)
    north, east = slopes
    return single(-north * single(scale)[:, None]), single(east * single(scale / cosine)[:, None])


def _ocean_fields(when: datetime, latitude: Axis, longitude: Axis, depths_m: tuple[float, ...]) -> dict[str, Field]:
    ocean, phase = _ocean(), season(when)
    at_depths = _depth_weights(depths_m)
    mesh = splines.mesh(1.0, latitude, longitude)
    seasonal = np.tensordot(at_depths, np.tensordot(phase, ocean.temperature_season, 1), 1)
    temperature = np.tensordot(at_depths, ocean.temperature, 1) + seasonal
    salinity = np.tensordot(at_depths, ocean.salinity, 1) + np.float32(SUMMER_FRESHENING) * seasonal
    height = ocean.height + np.tensordot(phase, ocean.height_season, 1)
    u, v = _mean_flow(np.tensordot(at_depths, height, 1), height[0], latitude, longitude)
    return {
        "to": np.maximum(mesh.value(temperature), np.float32(FREEZING_DEGC)),
        "so": np.clip(mesh.value(salinity), 0.5, 42.0),
        "uo": u,
        "vo": v,
        "zos": mesh.value(height[0]) - np.float32(ocean.mean_height),
    }


def _mean_flow(heights: Field, surface: Field, latitude: Axis, longitude: Axis) -> tuple[Field, Field]:
    """Geostrophic flow of dynamic heights (depth, 180, 360), weakened over the shelf and limited at the surface."""
    mesh = splines.mesh(1.0, latitude, longitude)
    u, v = geostrophic(mesh.slopes(surface), latitude)
    factor = shape(latitude, longitude).shelf / (1.0 + ((u * u + v * v) / MEAN_SPEED_CAP**2) ** 2) ** 0.25
    u, v = geostrophic(mesh.slopes(heights), latitude)
    return single(u * factor), single(v * factor)


def _surface_fields(when: datetime, latitude: Axis, longitude: Axis) -> dict[str, Field]:
    parts = mean_surface(when, latitude, longitude)
    height = np.maximum(elevation(latitude, longitude), 0.0)
    return surface_from(parts["eastward_wind"], parts["northward_wind"], parts["air_temperature"],
                        parts["sea_level_pressure"], height)  # fmt: skip


def surface_from(
    eastward: Field, northward: Field, celsius: Field, hectopascal: Field, height_m: Field
) -> dict[str, Field]:
    """The surface fields in registry units, over land at its height: 6.5 K km-1 colder, hydrostatically lighter.

    ``sp = msl (1 - 0.0065 h / T0)^5.255``, T0 the temperature at sea level (ICAO standard atmosphere).
    """
    at_sea_level = np.clip(celsius, -45.0, 45.0) + np.float32(273.15)
    pressure = hectopascal * np.float32(100.0)
    return {
        "u10": eastward,
        "v10": northward,
        "t2m": (at_sea_level - np.float32(0.0065) * height_m).astype(np.float32),
        "msl": pressure,
        "sp": (pressure * (1 - np.float32(0.0065) * height_m / at_sea_level) ** np.float32(5.255)).astype(np.float32),
    }


def _twin_means(kind: Kind, when: datetime, latitude: Axis, longitude: Axis) -> dict[str, Field]:
    mesh, phase = splines.mesh(2.0, latitude, longitude), season(when)
    parts = {name: mesh.value(mean + np.tensordot(phase, cycle, 1)) for name, (mean, cycle) in _means(kind).items()}
    if kind is Kind.WAVES:
        bearing = np.rad2deg(np.arctan2(parts.pop("mwd_sine"), parts.pop("mwd_cosine"))) % 360.0
        return {**parts, "mwd": bearing.astype(np.float32)}
    groups = {name: np.exp(values) for name, values in parts.items()}
    total = groups["chlorophytes"] + groups["diatoms"] + groups["coccolithophores"] + groups["cyanobacteria"]
    return {"chl": total, **groups}


def _depth_weights(depths_m: tuple[float, ...]) -> Field:
    """Linear interpolation in depth from ``_LEVELS_M``: (depths, levels)."""
    basis = np.eye(_LEVELS_M.size)
    return np.stack([np.interp(depths_m, _LEVELS_M, row) for row in basis], axis=1).astype(np.float32)


def _cells(latitude: Axis, longitude: Axis) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    rows = np.clip(np.floor((latitude + 90.0) * 3.0 + 1e-6), 0, 539).astype(np.intp)
    return rows, (np.floor((longitude % 360.0) * 3.0 + 1e-6).astype(np.intp)) % 1080


@lru_cache(maxsize=1)
def _file() -> xr.Dataset:
    return xr.load_dataset(_FOLDER / "climatology.nc", engine="netcdf4")


@lru_cache(maxsize=1)
def _bed() -> tuple[Field, NDArray[np.bool_]]:
    return _file()["relief"].values.astype(np.float32), _file()["ocean"].values > 0.5


@lru_cache(maxsize=1)
def _shapes() -> tuple[Field, Field]:
    """Shelf and roughness on 1/3-degree centres (see ``Shape``)."""
    relief, sea = _bed()
    mode = ("nearest", "wrap")
    depth = np.where(sea, np.clip(-relief, 0.0, 4000.0), 0.0)
    shallow = ndimage.gaussian_filter(1.0 - np.exp(-((depth / 400.0) ** 2)), 1.5, mode=mode)
    shelf = np.clip(shallow, 0.0, 1.0) ** 2
    rough = ndimage.gaussian_filter(depth, 0.8, mode=mode) - ndimage.gaussian_filter(depth, 1.6, mode=mode)
    rough = np.tanh(rough / np.std(rough[shelf > 0.9]) / 2.0) * 2.0 * shelf
    return shelf.astype(np.float32), rough.astype(np.float32)


@lru_cache(maxsize=1)
def _ocean() -> _Ocean:
    """Temperature, salinity and dynamic height on ``_LEVELS_M``."""
    file = _file()
    temperature = PchipInterpolator(file["level"].values, file["temperature"].values)(_LEVELS_M)
    salinity = PchipInterpolator(file["level"].values, file["salinity"].values)(_LEVELS_M)
    cycle = _temperature_season()
    buoyancy = EXPANSION * (temperature - 10) + CABBELING / 2 * (temperature - 10) ** 2 - CONTRACTION * (salinity - 35)
    expansion = EXPANSION + CABBELING * (temperature - 10) - CONTRACTION * SUMMER_FRESHENING
    height = _integral(buoyancy)
    rows = np.cos(np.deg2rad(np.arange(-89.5, 90.0)))[:, None]
    sea = _bed()[1].reshape(180, 3, 360, 3).mean((1, 3)) * rows
    return _Ocean(
        temperature.astype(np.float32),
        salinity.astype(np.float32),
        height.astype(np.float32),
        cycle,
        np.stack([_integral(expansion * part).astype(np.float32) for part in cycle]),
        float((height[0] * sea).sum() / sea.sum()),
    )


def _temperature_season() -> Field:
    """The four harmonics of temperature from the atlas's 2-degree nodes to 1 degree, on ``_LEVELS_M``."""
    file = _file()
    rows = splines.weights(np.arange(-89.5, 90.0, 2.0), np.arange(-89.5, 90.0))
    columns = splines.weights(np.arange(0.5, 360.0, 2.0), np.arange(0.5, 360.0), period=360.0)
    mesh = splines.Mesh(rows, columns)
    levels = file["season_level"].values
    depth = np.stack([np.interp(_LEVELS_M, levels, row, right=0.0) for row in np.eye(levels.size)], axis=1)
    parts = ("annual_cosine", "annual_sine", "semiannual_cosine", "semiannual_sine")
    return np.stack([np.tensordot(depth, mesh.value(file[f"temperature_{part}"].values), 1) for part in parts]).astype(
        np.float32
    )


def _integral(buoyancy: NDArray[np.float64]) -> NDArray[np.float64]:
    """From each level down to the level of no motion, trapezoidal; 0 below. (..., level, rows, columns)."""
    upper = int(np.flatnonzero(_LEVELS_M == NO_MOTION_M)[0])
    thickness = np.diff(_LEVELS_M[: upper + 1])[:, None, None]
    layers = (buoyancy[..., :upper, :, :] + buoyancy[..., 1 : upper + 1, :, :]) / 2 * thickness
    height = np.zeros_like(buoyancy)
    height[..., :upper, :, :] = np.flip(np.cumsum(np.flip(layers, -3), axis=-3), -3)
    return height


@lru_cache(maxsize=1)
def _surface() -> dict[str, tuple[Field, Field]]:
    names = ("eastward_wind", "northward_wind", "air_temperature", "sea_level_pressure")
    return {name: _harmonics(_file(), name, ("annual", "semiannual")) for name in names}


@lru_cache(maxsize=2)
def _means(kind: Kind) -> dict[str, tuple[Field, Field]]:
    file = xr.load_dataset(_FOLDER / "twin_means.nc", engine="netcdf4")
    return {name: _harmonics(file, name, ("annual", "semiannual")) for name in file.attrs[kind.value].split()}


def _harmonics(file: xr.Dataset, name: str, orders: tuple[str, ...]) -> tuple[Field, Field]:
    """Mean (rows, columns) and the harmonics (2 per order, rows, columns)."""
    cycle = [file[f"{name}_{order}_{part}"].values for order in orders for part in ("cosine", "sine")]
    return file[f"{name}_mean"].values.astype(np.float32), np.stack(cycle).astype(np.float32)
