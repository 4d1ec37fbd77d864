"""A forecast in the shape that OceanBench evaluates: its dimensions, names, depths and longitudes.

Ten days from the first after the start (``lead_day_index`` 0 to 9, one ``first_day_datetime``), potential temperature,
longitudes from -180. Depths are those it scores at, interpolated linearly between ours; the deepest, 541 m, lies
beneath our last and is left out. The horizontal grid stays ours: OceanBench scores on the challenger's own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.errors import UsageError

DEPTHS_M = (0.494025, 47.37369, 222.4752, 541.0889)
"""The depths at which OceanBench scores (its ``DepthLevel``), metres: levels of the NEMO grid of GLO12."""
LEAD_DAYS = 10
NAMES = {
    "to": ("thetao", "sea_water_potential_temperature", "Sea water potential temperature"),
    "so": ("so", "sea_water_salinity", "Sea water salinity (practical)"),
    "uo": ("uo", "eastward_sea_water_velocity", "Eastward sea water velocity"),
    "vo": ("vo", "northward_sea_water_velocity", "Northward sea water velocity"),
    "zos": ("zos", "sea_surface_height_above_geoid", "Sea surface height above geoid"),
}  # fmt: skip
"""Ours -> name, standard name and title as OceanBench has them."""


def shaped(dataset: xr.Dataset) -> xr.Dataset:
    """An ocean product in OceanBench's shape, lazily; ``UsageError`` where it lacks what that takes."""
    missing = [name for name in NAMES if name not in dataset.data_vars]
    if missing or "depth" not in dataset.dims:
        raise _lacking("to, so, uo, vo and zos with depths: the ocean product", ", ".join(missing) or "no depths")
    leads = dataset["forecast_period"].values
    days = dataset.isel(time=np.flatnonzero((leads >= 1) & (leads <= LEAD_DAYS)))
    if not days.sizes["time"]:
        raise _lacking("lead days from 1 on", "none")
    potential = xr.apply_ufunc(
        _potential_temperature, days["to"], days["so"], days["depth"], days["latitude"], days["longitude"],
        dask="parallelized", output_dtypes=[np.float32],
    ).transpose(*days["to"].dims)  # fmt: skip
    fields = {"to": potential, **{name: days[name] for name in ("so", "uo", "vo", "zos")}}
    return _labelled(days, {name: _at_depths(field) for name, field in fields.items()})


def _at_depths(field: xr.DataArray) -> xr.DataArray:
    """Linear between the two levels around each of OceanBench's depths; land at either is land."""
    if "depth" not in field.dims:
        return field
    ours = field["depth"].values
    levels = []
    for depth in DEPTHS_M:
        below = int(np.searchsorted(ours, depth))
        if 0 < below < ours.size:
            share = np.float32((depth - ours[below - 1]) / (ours[below] - ours[below - 1]))
            pair = (field.isel(depth=below - 1, drop=True), field.isel(depth=below, drop=True))
            levels.append((pair[0] * (1 - share) + pair[1] * share).expand_dims(depth=[depth]))
    if not levels:
        raise _lacking("depths around one that OceanBench scores at", f"{ours[0]:g}..{ours[-1]:g} m")
    return xr.concat(levels, "depth").transpose(*field.dims)


def _labelled(days: xr.Dataset, fields: dict[str, xr.DataArray]) -> xr.Dataset:
    renamed = {}
    for name, field in fields.items():
        short, standard_name, title = NAMES[name]
        units = {"so": "1e-3"}.get(name, str(days[name].attrs["units"]))
        bare = field.drop_vars(["time", "forecast_period", "forecast_reference_time"], errors="ignore")
        bare = bare.rename(time="lead_day_index").astype(np.float32).drop_attrs(deep=False)
        renamed[short] = bare.assign_attrs(standard_name=standard_name, long_name=title, units=units)
    shaped = xr.Dataset(renamed)
    shaped = shaped.assign_coords(
        lead_day_index=("lead_day_index", days["forecast_period"].values.astype(np.int32) - 1),
        longitude=((shaped["longitude"] + 180.0) % 360.0 - 180.0),
    ).sortby("longitude")
    start = days["forecast_reference_time"].values.astype("datetime64[D]").astype("datetime64[ns]")
    shaped = shaped.expand_dims(first_day_datetime=[start + np.timedelta64(24, "h")])
    for name in ("depth", "latitude", "longitude"):
        kept = ("standard_name", "units", "axis", "positive")
        shaped[name].attrs = {key: value for key, value in days[name].attrs.items() if key in kept}
    even = dict.fromkeys(("first_day_datetime", "lead_day_index", "depth"), 1)
    return shaped.assign_attrs(_attributes(days)).chunk(even | {"latitude": -1, "longitude": -1})


def _attributes(days: xr.Dataset) -> dict[str, Any]:
    kept = ("title", "summary", "source", "institution", "license", "id", "ocean", "forecaster", "future_forcing",
            "degraded", "degraded_reasons", "date_created")  # fmt: skip
    attributes = {name: days.attrs[name] for name in kept if name in days.attrs}
    return attributes | {
        "Conventions": "CF-1.11",
        "comment": "In the shape of an OceanBench challenger. Snapshots, not daily means; depths are interpolated "
        "linearly; 541 m is beneath the forecast's last depth; the grid is the forecast's own.",
        "history": f"{days.attrs['history']}; shaped for OceanBench by goms export",
    }


def _potential_temperature(
    temperature: NDArray[Any], salinity: NDArray[Any], depth: NDArray[Any], latitude: NDArray[Any],
    longitude: NDArray[Any],
) -> NDArray[np.float32]:  # fmt: skip
    """Potential temperature from in-situ temperature and practical salinity, by TEOS-10."""
    try:
        import gsw
    except ImportError as error:
        raise UsageError(
            "the library gsw for potential temperature", found="it is not installed", where="this environment",
            action="pip install 'goms[archives]'",
        ) from error  # fmt: skip
    pressure = gsw.p_from_z(-depth, latitude)
    absolute = gsw.SA_from_SP(salinity, pressure, longitude, latitude)
    return np.asarray(gsw.pt0_from_t(absolute, temperature, pressure), dtype=np.float32)


def _lacking(needed: str, found: str) -> UsageError:
    return UsageError(
        needed, found=found, where="the part to be shaped for OceanBench", action="export the whole ocean product"
    )
