"""The twin in the archives' own layouts: files that HYCOM, ERA5 and NOBM could have written.

- HYCOM: netCDF-3 with 64-bit offsets, int16 at 0.001, fill -30000, ``tau`` in "hours since analysis", which no
  calendar decodes; latitudes within -80..90, 1/3 degree on the cell centres of the packaged relief.
- ERA5, old layout: netCDF-3, ``time`` in hours since 1900, int16 with its own scale and offset; new layout: netCDF-4,
  ``valid_time`` in seconds since 1970, ``number``, ``expver``; latitude from north to south. Waves miss on land.
- NOBM: 288 x 234 points, 84 S to 72 N and water deeper than 200 m only, fill 9.99e11, a day's mean (here the noon).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import netCDF4
import numpy as np

from pipeline.earth import climatology
from pipeline.earth.splines import Axis, Field
from pipeline.twin.world import Twin
from pipeline.variables import Kind

HYCOM_DEPTHS_M: tuple[float, ...] = (
    0, 2, 4, 6, 8, 10, 12, 15, 20, 25, 30, 35, 40, 45, 50, 60, 70, 80, 90, 100, 125, 150, 200, 250, 300, 350, 400, 500,
    600, 700, 800, 900, 1000, 1250, 1500, 2000, 2500, 3000, 4000, 5000,
)  # fmt: skip
"""HYCOM's forty depths in metres."""
HYCOM_LATITUDE: Axis = np.round(np.arange(510) / 3.0 - 80.0 + 1.0 / 6.0, 6)
HYCOM_LONGITUDE: Axis = np.round(np.arange(1080) / 3.0 + 1.0 / 6.0, 6)
ERA5_LATITUDE: Axis = np.arange(90.0, -90.1, -0.5)
ERA5_LONGITUDE: Axis = np.arange(0.0, 360.0, 0.5)
NOBM_LATITUDE: Axis = np.round(-84.0 + 2.0 / 3.0 * (np.arange(234) + 0.5), 6)
NOBM_LONGITUDE: Axis = np.round(-180.0 + 1.25 * (np.arange(288) + 0.5), 6)
HYCOM_NAMES = {
    "water_temp": ("to", "degC"), "salinity": ("so", "psu"), "water_u": ("uo", "m/s"), "water_v": ("vo", "m/s"),
    "surf_el": ("zos", "m"),
}  # fmt: skip
ERA5_UNITS = {"u10": "m s**-1", "v10": "m s**-1", "t2m": "K", "msl": "Pa", "sp": "Pa", "swh": "m", "mwp": "s",
              "mwd": "Degree true"}  # fmt: skip
NOBM_NAMES = {
    "tot": ("chl", "mg m-3"), "chl": ("chlorophytes", "mg m-3"), "dia": ("diatoms", "mg m-3"),
    "coc": ("coccolithophores", "mg m-3"), "cya": ("cyanobacteria", "mg m-3"), "irn": ("fe", "nmol/L"),
    "rnh": ("no3", "umol/L"), "h": ("mld", "m"),
}  # fmt: skip
HYCOM_SCALE, HYCOM_FILL, NOBM_FILL, ERA5_FILL = 0.001, -30000, 9.99e11, -32767
NOBM_LEAST_DEPTH_M = 200.0
"""NOBM has only water deeper than this (Gregg and Casey 2007)."""
TITLE = "Synthetic twin ocean in the layout of {}: not the real ocean"


def write_hycom(
    path: Path,
    moments: Sequence[datetime],
    twin: Twin,
    latitude: Axis = HYCOM_LATITUDE,
    longitude: Axis = HYCOM_LONGITUDE,
    depths_m: tuple[float, ...] = HYCOM_DEPTHS_M,
) -> Path:
    """The five ocean fields at the moments, in HYCOM's layout."""
    with netCDF4.Dataset(path, "w", format="NETCDF3_64BIT_OFFSET") as file:
        file.title = TITLE.format("HYCOM")
        hours = [(_utc(moment) - datetime(2000, 1, 1, tzinfo=UTC)).total_seconds() / 3600.0 for moment in moments]
        _axis(file, "time", "time", np.array(hours), "hours since 2000-01-01 00:00:00")
        _axis(file, "depth", "depth", np.array(depths_m, dtype=np.float64), "m")
        file["depth"].positive = "down"
        _axis(file, "lat", "lat", latitude, "degrees_north")
        _axis(file, "lon", "lon", longitude, "degrees_east")
        file.createVariable("tau", "f8", ("time",))[:] = np.zeros(len(hours))
        file["tau"].units = "hours since analysis"
        for name, (ours, units) in HYCOM_NAMES.items():
            dims = ("time", "lat", "lon") if ours == "zos" else ("time", "depth", "lat", "lon")
            variable = file.createVariable(name, "i2", dims, fill_value=np.int16(HYCOM_FILL))
            offset = 20.0 if ours in ("to", "so") else 0.0
            variable.setncatts({"units": units, "scale_factor": np.float32(HYCOM_SCALE),
                                "add_offset": np.float32(offset), "missing_value": np.int16(HYCOM_FILL)})  # fmt: skip
            variable.set_auto_maskandscale(False)
        for step, moment in enumerate(moments):
            fields = twin.fields(Kind.OCEAN, moment, latitude, longitude, depths_m)
            for name, (ours, _) in HYCOM_NAMES.items():
                file[name][step] = _packed(fields[ours], HYCOM_SCALE, float(file[name].add_offset), HYCOM_FILL)
    return path


def write_era5(
    path: Path,
    kind: Kind,
    moments: Sequence[datetime],
    twin: Twin,
    *,
    layout: str = "new",
    latitude: Axis = ERA5_LATITUDE,
    longitude: Axis = ERA5_LONGITUDE,
) -> Path:
    """The surface or the waves at the moments in the Climate Data Store's ``old`` or ``new`` layout.

    ``latitude`` decreases, as theirs does.
    """
    steps = [twin.fields(kind, moment, latitude[::-1], longitude) for moment in moments]
    with netCDF4.Dataset(path, "w", format="NETCDF4" if layout == "new" else "NETCDF3_64BIT_OFFSET") as file:
        file.title = TITLE.format("ERA5")
        dims = (_era5_times(file, layout, moments), "latitude", "longitude")
        _axis(file, "latitude", "latitude", latitude, "degrees_north")
        _axis(file, "longitude", "longitude", longitude, "degrees_east")
        for name in steps[0]:
            values = np.stack([fields[name][::-1] for fields in steps])
            if layout == "new":
                variable = file.createVariable(name, "f4", dims, fill_value=np.float32(np.nan))
                variable[:] = values
            else:
                low, high = float(np.nanmin(values)), float(np.nanmax(values))
                scale, offset = max(high - low, 1e-9) / 65532.0, (high + low) / 2.0
                variable = file.createVariable(name, "i2", dims, fill_value=np.int16(ERA5_FILL))
                variable.setncatts({"scale_factor": scale, "add_offset": offset, "missing_value": np.int16(ERA5_FILL)})
                variable.set_auto_maskandscale(False)
                variable[:] = _packed(values, scale, offset, ERA5_FILL)
            variable.units = ERA5_UNITS[name]
    return path


def write_nobm(
    path: Path, day: datetime, twin: Twin, latitude: Axis = NOBM_LATITUDE, longitude: Axis = NOBM_LONGITUDE
) -> Path:
    """The eight biochemical fields of a day (at its noon) in NOBM's layout; longitudes may run from -180."""
    noon = _utc(day).replace(hour=12, minute=0, second=0, microsecond=0)
    fields = twin.fields(Kind.BIOGEOCHEMISTRY, noon, latitude, longitude)
    shallow = ~climatology.is_sea(latitude, longitude, NOBM_LEAST_DEPTH_M)
    with netCDF4.Dataset(path, "w", format="NETCDF4_CLASSIC") as file:
        file.title = TITLE.format("NASA NOBM")
        days = (noon - datetime(1998, 1, 1, tzinfo=UTC)).days
        _axis(file, "time", "time", np.array([float(days)]), "days since 1998-01-01")
        _axis(file, "lat", "lat", latitude, "degrees_north")
        _axis(file, "lon", "lon", longitude, "degrees_east")
        for name, (ours, units) in NOBM_NAMES.items():
            variable = file.createVariable(name, "f4", ("time", "lat", "lon"), fill_value=np.float32(NOBM_FILL))
            values = np.where(shallow | np.isnan(fields[ours]), np.float32(NOBM_FILL), fields[ours])
            variable.set_auto_mask(False)
            variable[0] = values
            variable.units = units
    return path


def _era5_times(file: netCDF4.Dataset, layout: str, moments: Sequence[datetime]) -> str:
    """Write the layout's time coordinate and what goes with it; its name."""
    if layout == "old":
        hours = [(_utc(moment) - datetime(1900, 1, 1, tzinfo=UTC)).total_seconds() // 3600 for moment in moments]
        _axis(file, "time", "time", np.array(hours, dtype=np.int32), "hours since 1900-01-01 00:00:00.0")
        file["time"].calendar = "gregorian"
        return "time"
    seconds = [(_utc(moment) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() for moment in moments]
    _axis(file, "valid_time", "valid_time", np.array(seconds, dtype=np.int64), "seconds since 1970-01-01")
    file["valid_time"].calendar = "proleptic_gregorian"
    file.createVariable("number", "i8", ())[...] = 0
    file.createVariable("expver", str, ("valid_time",))[:] = np.array(["0001"] * len(moments), dtype=object)
    return "valid_time"


def _axis(file: netCDF4.Dataset, name: str, dimension: str, values: np.ndarray, units: str) -> None:
    file.createDimension(dimension, values.size)
    variable = file.createVariable(name, values.dtype, (dimension,))
    variable[:] = values
    variable.units = units


def _packed(values: Field, scale: float, offset: float, fill: int) -> np.ndarray:
    """As int16: round((value - offset) / scale), ``fill`` where there is none."""
    land = np.isnan(values)
    whole = np.rint((np.where(land, offset, values).astype(np.float64) - offset) / scale)
    return np.where(land, fill, np.clip(whole, -29999 if fill == HYCOM_FILL else -32766, 32767)).astype(np.int16)


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
