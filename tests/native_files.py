"""Small files in the archives' own layouts, written value by value with netCDF4: what the sources must read.

The ocean is asymmetric in latitude, longitude and depth, so that transposes and flips show: each field is a plane
plus a bump, and its land is the south-west corner, the larger the deeper.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np

START = datetime(2023, 1, 1, tzinfo=UTC)
HYCOM_DEPTHS = (0, 2, 6, 8, 10, 20, 30, 50, 70, 100, 125, 150, 200, 250, 300, 350, 400, 500, 600)
HYCOM_FIELDS = ("water_temp", "salinity", "water_u", "water_v", "surf_el")
HYCOM_UNITS = {"water_temp": "degC", "salinity": "psu", "water_u": "m/s", "water_v": "m/s", "surf_el": "m"}
SCALE, HYCOM_FILL = 0.001, -30000
LATITUDE = -25.04 + 0.2 * np.arange(47)
LONGITUDE = 144.96 + 0.4 * np.arange(25)
"""The coral-sea system's points and a margin."""


def hours(when: datetime) -> float:
    """Hours since 2000-01-01, HYCOM's time."""
    return (when - datetime(2000, 1, 1, tzinfo=UTC)).total_seconds() / 3600


def plane(latitude: np.ndarray, longitude: np.ndarray, depth: float = 0.0) -> np.ndarray:
    """A field between about -1 and 1 that tells every place and depth apart, (latitude, longitude)."""
    y, x = np.meshgrid((latitude + 20.0) / 10.0, (longitude % 360.0 - 150.0) / 10.0, indexing="ij")
    return 0.4 * y + 0.3 * x + 0.2 * np.exp(-((y - 0.2) ** 2) - (x + 0.1) ** 2) - depth / 2000.0


def ocean(latitude: np.ndarray, longitude: np.ndarray, depth: float = 0.0) -> np.ndarray:
    """True on ocean: land is the south-west corner, the larger the deeper."""
    y, x = np.meshgrid(latitude, longitude % 360.0, indexing="ij")
    return (y + 25.04) + (x - 144.96) > 1.013 + depth / 251.0


def hycom_values(
    name: str, latitude: np.ndarray, longitude: np.ndarray, depth: float = 0.0, step: int = 0
) -> np.ndarray:
    """The field a HYCOM-layout file holds at a step, before packing; NaN on land. No two steps are the same sea."""
    middle, spread = {"water_temp": (22, 5), "salinity": (35, 1), "surf_el": (0.6, 0.3)}.get(name, (0.1, 0.5))
    sign = -1.0 if name == "water_v" else 1.0
    values = middle + sign * spread * (1 + 0.012 * step) * plane(latitude, longitude, depth)
    return np.where(ocean(latitude, longitude, depth), values, np.nan)


def write_hycom(
    path: Path,
    *,
    stamps: Sequence[float] = (hours(START),),
    latitude: np.ndarray = LATITUDE,
    longitude: np.ndarray = LONGITUDE,
    depths: Sequence[float] = HYCOM_DEPTHS,
    fields: Sequence[str] = HYCOM_FIELDS,
    surface_time: str = "time",
    tau: bool = True,
    form: str = "NETCDF4",
) -> Path:
    """A file in HYCOM's layout: packed int16, ``tau`` with units no calendar decodes, optionally ``time1``."""
    with netCDF4.Dataset(path, "w", format=form) as file:
        file.createDimension("depth", len(depths))
        _axis(file, "depth", np.asarray(depths, float), "m")
        _axis(file, "lat", latitude, "degrees_north")
        _axis(file, "lon", longitude, "degrees_east")
        for time in dict.fromkeys(("time", surface_time)):
            _axis(file, time, np.asarray(stamps, float), "hours since 2000-01-01 00:00:00")
        if tau:
            file.createVariable("tau", "f8", ("time",))[:] = 0.0
            file["tau"].units = "hours since analysis"
        for name in fields:
            time = surface_time if name == "surf_el" else "time"
            dims = (time, "lat", "lon") if name == "surf_el" else (time, "depth", "lat", "lon")
            variable = file.createVariable(name, "i2", dims, fill_value=np.int16(HYCOM_FILL))
            offset = 20.0 if name in ("water_temp", "salinity") else 0.0
            attrs = {"units": HYCOM_UNITS[name], "scale_factor": np.float32(SCALE), "add_offset": np.float32(offset)}
            variable.setncatts(attrs | {"missing_value": np.int16(HYCOM_FILL)})
            variable.set_auto_maskandscale(False)
            for step in range(len(stamps)):
                if name == "surf_el":
                    variable[step] = packed(hycom_values(name, latitude, longitude, step=step), offset)
                else:
                    for level, depth in enumerate(depths):
                        variable[step, level] = packed(hycom_values(name, latitude, longitude, depth, step), offset)
    return path


def packed(values: np.ndarray, offset: float) -> np.ndarray:
    """HYCOM's int16."""
    whole = np.round((np.nan_to_num(values, nan=0.0) - offset) / SCALE)
    return np.where(np.isnan(values), HYCOM_FILL, whole).astype(np.int16)


ERA5_LATITUDE = np.arange(-15.0, -26.01, -0.25)
ERA5_LONGITUDE = np.arange(144.0, 156.01, 0.25)
ERA5_UNITS = {
    "u10": "m s**-1", "v10": "m s**-1", "t2m": "K", "msl": "Pa", "sp": "Pa",
    "swh": "m", "mwp": "s", "mwd": "Degree true",
}  # fmt: skip
ERA5_LEVELS = {
    "u10": (-6, 4), "v10": (3, 2), "t2m": (299, 3), "msl": (101000, 300), "sp": (100900, 320),
    "swh": (2.5, 1), "mwp": (8, 2), "mwd": (180, 90),
}  # fmt: skip
ATMOSPHERE = ("u10", "v10", "t2m", "msl", "sp")


def era5_values(name: str, hour: float, latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """The field an ERA5-layout file holds, ``hour`` hours after ``START``."""
    middle, spread = ERA5_LEVELS[name]
    return middle + spread * (plane(latitude, longitude) * (1 + 0.01 * hour))


def write_era5(
    path: Path,
    *,
    hours_after: Sequence[float] = (0.0,),
    fields: Sequence[str] = ATMOSPHERE,
    layout: str = "old",
    latitude: np.ndarray = ERA5_LATITUDE,
    longitude: np.ndarray = ERA5_LONGITUDE,
    form: str = "NETCDF4",
) -> Path:
    """A file in the store's old layout (``time``, int16) or its new one (``valid_time``, float32, ``expver``)."""
    time = "time" if layout == "old" else "valid_time"
    origin = datetime(1900, 1, 1, tzinfo=UTC) if layout == "old" else datetime(1970, 1, 1, tzinfo=UTC)
    unit, seconds = ("hours", 3600.0) if layout == "old" else ("seconds", 1.0)
    stamps = [(START - origin).total_seconds() / seconds + hour * 3600.0 / seconds for hour in hours_after]
    with netCDF4.Dataset(path, "w", format=form) as file:
        _axis(file, time, np.asarray(stamps), f"{unit} since {origin:%Y-%m-%d}")
        _axis(file, "latitude", latitude, "degrees_north")
        _axis(file, "longitude", longitude, "degrees_east")
        if layout == "new":
            file.createVariable("number", "i8", ())[...] = 0
            file.createVariable("expver", str, (time,))[:] = np.array(["0001"] * len(stamps), dtype=object)
        for name in fields:
            values = np.stack([era5_values(name, hour, latitude, longitude) for hour in hours_after])
            if layout == "old":
                _pack(file, name, (time, "latitude", "longitude"), values)
            else:
                file.createVariable(name, "f4", (time, "latitude", "longitude"), fill_value=np.nan)[:] = values
            file[name].units = ERA5_UNITS[name]
    return path


NOBM_LATITUDE = -84.0 + 1 / 3 + 2 / 3 * np.arange(234)
NOBM_LONGITUDE = -180.0 + 1.25 * np.arange(288)
NOBM_UNITS = {
    "tot": "mg m-3", "chl": "mg m-3", "dia": "mg m-3", "coc": "mg m-3", "cya": "mg m-3",
    "irn": "nmol/L", "rnh": "umol/L", "h": "m",
}  # fmt: skip


def nobm_values(place: int) -> np.ndarray:
    """The field of the ``place``-th of NOBM's variables; NaN south of 78 S."""
    y, x = np.meshgrid(NOBM_LATITUDE / 90, NOBM_LONGITUDE / 180, indexing="ij")
    return np.where(y * 90 > -78, (place + 1) * (2 + y + 0.5 * x), np.nan)


def write_nobm(path: Path, *, days_after: Sequence[float] | None = (0.0,), fill_attribute: bool = True) -> Path:
    """A file in NOBM's layout; without a time axis where ``days_after`` is ``None``."""
    dims = ("lat", "lon") if days_after is None else ("time", "lat", "lon")
    with netCDF4.Dataset(path, "w") as file:
        if days_after is not None:
            _axis(file, "time", np.asarray(days_after), f"days since {START:%Y-%m-%d}")
        _axis(file, "lat", NOBM_LATITUDE, "degrees_north")
        _axis(file, "lon", NOBM_LONGITUDE, "degrees_east")
        for place, (name, units) in enumerate(NOBM_UNITS.items()):
            fill: Any = np.float32(9.99e11) if fill_attribute else False
            variable = file.createVariable(name, "f4", dims, fill_value=fill)
            variable.units = units
            if fill_attribute:
                variable.missing_value = np.float32(9.99e11)
            variable.set_auto_mask(False)
            values = np.nan_to_num(nobm_values(place), nan=9.99e11)
            variable[:] = values if days_after is None else np.stack([values] * len(days_after))
    return path


def _axis(file: netCDF4.Dataset, name: str, values: np.ndarray, units: str) -> None:
    if name not in file.dimensions:
        file.createDimension(name, len(values))
    file.createVariable(name, "f8", (name,))[:] = values
    file[name].units = units


def _pack(file: netCDF4.Dataset, name: str, dims: tuple[str, ...], values: np.ndarray) -> None:
    """As the store packs: the range of the file over 65,534 steps; -32767 is missing."""
    least, greatest = float(np.nanmin(values)), float(np.nanmax(values))
    scale = (greatest - least) / 65532
    variable = file.createVariable(name, "i2", dims, fill_value=np.int16(-32767))
    offset = (greatest + least) / 2
    variable.setncatts({"scale_factor": scale, "add_offset": offset, "missing_value": np.int16(-32767)})
    variable.set_auto_maskandscale(False)
    whole = np.round((np.nan_to_num(values, nan=offset) - offset) / scale)
    variable[:] = np.where(np.isnan(values), -32767, whole).astype(np.int16)
