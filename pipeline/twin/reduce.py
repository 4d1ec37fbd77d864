"""Public-domain climatologies -> ``pipeline/data/climatology.nc``: the mean ocean, its season, the sea bed.

Run as ``python -m pipeline.twin.reduce --datasets FOLDER --out FILE`` on the folder of Debian's package
``ferret-datasets``. What is done to each field is written in the file's attributes (``PROVENANCE``).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float64]

PROVENANCE = """\
Reduced from the data files of Debian's package ferret-datasets (NOAA/PMEL; in the public domain):
levitus_climatology.cdf: annual mean temperature and salinity, 1 degree, Climatological Atlas of the World
Ocean (S. Levitus, NOAA, 1982);
ocean_atlas_subset.nc: monthly temperature, World Ocean Atlas 1994 (NOAA/NODC), every second degree, to 1000 m;
coads_climatology.cdf: monthly air temperature and sea level pressure, COADS (NOAA), 2 degrees;
monthly_navy_winds.cdf: monthly winds 1982-1992, Fleet Numerical Oceanography Center (US Navy), 2.5 degrees;
etopo20.cdf: relief, ETOPO5 (NOAA/NGDC) averaged to 20 minutes.
Each was rolled to longitudes 0..360, gaps and land were filled from the nearest known values and smoothed there,
monthly fields were fitted with a mean and annual and semi-annual harmonics (the season's alone for ocean temperature),
noisy ship-borne fields were smoothed, pressure south of 50S follows from the wind by geostrophic balance, `ocean` is
the sea below 0 m that is connected or that the atlas knows, and all were packed as 16-bit integers.
"""

AIR_DENSITY = 1.22
"""kg m-3 (US Standard Atmosphere, 15 degrees C)."""


def main() -> None:
    """The command line: ``--datasets FOLDER --out FILE``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", type=Path, required=True, help="folder with the files of ferret-datasets")
    parser.add_argument("--out", type=Path, required=True, help="netCDF file to write")
    arguments = parser.parse_args()
    write(reduced(arguments.datasets), arguments.out)


def reduced(folder: Path) -> xr.Dataset:
    """All fields of the reduced climatology, filled, on cell centres of 1, 2 and 1/3 degrees."""
    fields = {**_annual_mean(folder), **_temperature_season(folder), **_surface(folder), **_relief(folder)}
    return xr.Dataset(fields, attrs={"title": "Mean ocean, its season and the sea bed", "source": PROVENANCE})


def write(dataset: xr.Dataset, path: Path) -> None:
    """Pack as 16-bit integers (each variable's ``precision`` attribute is the step) and compress."""
    encoding = {}
    for name, field in dataset.data_vars.items():
        step = field.attrs.pop("precision")
        middle = round(float(field.max() + field.min()) / 2 / step) * step
        packing = {"dtype": "int16", "scale_factor": step, "add_offset": middle, "_FillValue": -32768}
        encoding[name] = {**packing, "zlib": True, "complevel": 9, "shuffle": True}
    dataset.to_netcdf(path, encoding=encoding, engine="netcdf4")


def _open(folder: Path, name: str) -> xr.Dataset:
    return xr.open_dataset(folder / name, decode_times=False)


def _values(field: xr.DataArray, west: float) -> Array:
    """The field with its first column at longitude ``west``; land and gaps NaN."""
    longitude = field[field.dims[-1]].values % 360.0
    start = int(np.argmin(np.abs((longitude - west + 180.0) % 360.0 - 180.0)))
    return np.roll(field.values.astype(np.float64), -start, axis=-1)


def filled(field: Array) -> Array:
    """NaN replaced by ever wider weighted means of what is known, then relaxed to be smooth; (rows, columns)."""
    known = np.isfinite(field)
    result, have = np.where(known, field, 0.0), known.copy()
    for width in (1.0, 2.0, 4.0, 8.0, 16.0, 32.0):
        weight = _smooth(have.astype(np.float64), width)
        mean = _smooth(np.where(have, result, 0.0), width) / np.maximum(weight, 1e-12)
        near = ~have & (weight > 1e-3)
        result[near], have = mean[near], have | near
    for _ in range(60):
        result = np.where(known, field, _smooth(result, 1.0))
    return result


def _smooth(field: Array, width: float) -> Array:
    return np.asarray(ndimage.gaussian_filter(field, width, mode=("nearest", "wrap")))


def harmonics(months: Array) -> dict[str, Array]:
    """Mean and annual and semi-annual cosine and sine of twelve mid-month fields (12, ...).

    Month m is at phase 2 pi (m + 1/2) / 12 of the year; sums of the harmonics over twelve equal steps are orthogonal.
    """
    phase = 2 * np.pi * (np.arange(12) + 0.5) / 12
    parts = {"mean": months.mean(0)}
    for order, name in ((1, "annual"), (2, "semiannual")):
        parts[f"{name}_cosine"] = np.tensordot(np.cos(order * phase), months, 1) / 6
        parts[f"{name}_sine"] = np.tensordot(np.sin(order * phase), months, 1) / 6
    return parts


def _annual_mean(folder: Path) -> dict[str, xr.DataArray]:
    atlas = _open(folder, "levitus_climatology.cdf")
    entries = (("temperature", "TEMP", "degC", 0.005), ("salinity", "SALT", "1", 0.002))
    fields = {}
    for name, native, units, precision in entries:
        levels = np.stack([filled(level) for level in _values(atlas[native], 0.5)])
        attributes = {"long_name": f"annual mean {name}", "units": units, "precision": precision}
        coordinates = {"level": atlas["ZAXLEVITR"].values}
        fields[name] = xr.DataArray(levels, coordinates, ("level", "row_1", "column_1"), attrs=attributes)
    return fields


def _temperature_season(folder: Path) -> dict[str, xr.DataArray]:
    """The season's departure from the annual mean at 19 levels, tapered to nothing at 1000 m."""
    atlas = _open(folder, "ocean_atlas_subset.nc")
    levels = atlas["ZAXLEVIT19"].values
    months = _values(atlas["TEMP"], 0.5)
    months = np.stack([[_smooth(filled(level), 0.8) for level in month] for month in months])
    taper = np.clip((1000.0 - levels) / 700.0, 0.0, 1.0)[:, None, None]
    fields = {}
    for name, values in harmonics(months).items():
        if name != "mean":
            attributes = {"long_name": f"season of temperature, {name}", "units": "K", "precision": 0.01}
            season = np.clip(values, -9.0, 9.0) * taper
            dims = ("season_level", "row_atlas", "column_atlas")
            fields[f"temperature_{name}"] = xr.DataArray(season, {"season_level": levels}, dims, attrs=attributes)
    return fields


def _surface(folder: Path) -> dict[str, xr.DataArray]:
    """Winds [m s-1], air temperature [degC] and sea level pressure [hPa] on 2-degree cell centres, with season."""
    wind = _open(folder, "monthly_navy_winds.cdf")
    months = {
        name: _two_degrees(_values(wind[name], 0.0).reshape(11, 12, 73, 144).mean(0)) for name in ("UWND", "VWND")
    }
    ships = _open(folder, "coads_climatology.cdf")
    months["AIRT"] = np.stack([_smooth(filled(month), 1.5) for month in _values(ships["AIRT"], 1.0)])
    pressure = _values(ships["SLP"], 1.0)
    pressure = np.stack([_with_southern_ocean(p, u) for p, u in zip(pressure, months["UWND"], strict=True)])
    months["SLP"] = np.stack([_smooth(filled(month), 1.5) for month in pressure])
    names = {"UWND": ("eastward_wind", "m s-1", 0.01), "VWND": ("northward_wind", "m s-1", 0.01),
             "AIRT": ("air_temperature", "degC", 0.02), "SLP": ("sea_level_pressure", "hPa", 0.02)}  # fmt: skip
    fields = {}
    for native, (name, units, precision) in names.items():
        for part, values in harmonics(months[native]).items():
            attributes = {"long_name": f"{name}, {part}", "units": units, "precision": precision}
            fields[f"{name}_{part}"] = xr.DataArray(values, dims=("row_2", "column_2"), attrs=attributes)
    return fields


def _two_degrees(months: Array) -> Array:
    """From 2.5-degree nodes to 2-degree cell centres, bilinearly: (12, 73, 144) -> (12, 90, 180)."""
    rows = (np.arange(-89.0, 90.0, 2.0) + 90.0) / 2.5
    columns = np.arange(1.0, 360.0, 2.0) / 2.5
    at = np.meshgrid(rows, columns, indexing="ij")
    wrapped = np.concatenate([months, months[..., :1]], axis=-1)
    return np.stack([_smooth(ndimage.map_coordinates(month, at, order=1), 1.0) for month in wrapped])


def _with_southern_ocean(pressure: Array, eastward_wind: Array) -> Array:
    """Pressure [hPa] south of 50S, where ships are few, from dp/dy = -rho f u / 0.7 (surface drag takes 30 %)."""
    rows = np.arange(-89.0, 90.0, 2.0)
    result, first = pressure.copy(), int(np.flatnonzero(rows > -50.0)[0])
    zonal = np.nanmean(pressure[first])
    result[:first] = np.nan
    for row in range(first - 1, int(np.flatnonzero(rows > -68.0)[0]) - 1, -1):
        coriolis = 2 * 7.292e-5 * np.sin(np.deg2rad(rows[row]))
        zonal += AIR_DENSITY * coriolis * eastward_wind[row].mean() / 0.7 * np.deg2rad(2.0) * 6.371e6 / 100.0
        result[row] = zonal
    return result


def _relief(folder: Path) -> dict[str, xr.DataArray]:
    relief = _values(_open(folder, "etopo20.cdf")["ROSE"].isel(ETOPO20X1_1081=slice(0, 1080)), 1.0 / 6.0)
    atlas = np.isfinite(_values(_open(folder, "levitus_climatology.cdf")["TEMP"][0], 0.5))
    ocean = _connected_sea(relief < 0.0, np.kron(atlas, np.ones((3, 3), dtype=bool)))
    dims = ("row_third", "column_third")
    return {
        "relief": xr.DataArray(relief, dims=dims, attrs={"long_name": "relief", "units": "m", "precision": 1.0}),
        "ocean": xr.DataArray(
            ocean.astype(np.float64), dims=dims, attrs={"long_name": "1 where sea", "units": "1", "precision": 1.0}
        ),
    }


def _connected_sea(below: NDArray[np.bool_], atlas: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Cells below 0 m of pieces of at least 30 cells that the atlas has data in; pieces join across longitude 0."""
    doubled = np.concatenate([below, below], axis=1)
    pieces, _ = ndimage.label(doubled, structure=np.ones((3, 3)))
    sizes = np.bincount(pieces.ravel())
    known = np.bincount(pieces.ravel(), weights=np.concatenate([atlas, atlas], axis=1).ravel())
    good = (sizes >= 30) & (known >= 0.2 * sizes)
    good[0] = False
    columns = below.shape[1]
    sea: NDArray[np.bool_] = good[pieces[:, :columns]] | good[pieces[:, columns:]]
    return sea


if __name__ == "__main__":
    main()
