"""Another model's levels brought to ours, and potential temperature to in-situ temperature (TEOS-10)."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.errors import UsageError

Axis = NDArray[np.float64]


def bracketing(depths: Axis, ours: tuple[float, ...]) -> Axis:
    """Of a model's increasing depths those that the depths of ours lie at or between, metres, increasing."""
    upper = np.clip(np.searchsorted(depths, ours, side="right") - 1, 0, depths.size - 1)
    exact = np.isclose(depths[upper], ours)
    lower = np.where(exact | (depths[0] > np.asarray(ours)), upper, np.minimum(upper + 1, depths.size - 1))
    return np.asarray(depths[np.unique(np.concatenate([upper, lower]))], dtype=np.float64)


def at_depths(stack: Any, depths: Axis, ours: tuple[float, ...]) -> Any:
    """Linear between two levels, (depth, latitude, longitude); the uppermost above it; lazily for a lazy stack.

    Where only the upper of two levels has water, the upper's value as far as half way down to the lower, else NaN.
    ``ValueError`` where ours go deeper than the model.
    """
    if ours[-1] > depths[-1] + 1e-6:
        raise ValueError(f"no level at or below {ours[-1]:g} m: the deepest is {depths[-1]:g} m")
    return da.stack([_at(stack, depths, depth) for depth in ours])  # type: ignore[no-untyped-call]


def _at(stack: Any, depths: Axis, depth: float) -> Any:
    upper = int(np.clip(np.searchsorted(depths, depth, side="right") - 1, 0, depths.size - 1))
    if depth <= depths[0] or np.isclose(depths[upper], depth):
        return stack[upper]
    share = np.float32((depth - depths[upper]) / (depths[upper + 1] - depths[upper]))
    above, below = stack[upper], stack[upper + 1]
    mixed = above * (1 - share) + below * share
    return da.where(da.isnan(below), above, mixed) if share <= 0.5 else mixed


def in_situ(potential: xr.DataArray, salinity: xr.DataArray) -> xr.DataArray:
    """In-situ temperature, degC, of potential temperature (reference 0 dbar) and practical salinity, lazily.

    SA from SP, CT from (SA, pt), t from (SA, CT, p) with the pressure of the depth: TEOS-10's own functions.
    """
    gsw = _library()

    def converted(pt: Any, sp: Any, depth: Any, latitude: Any, longitude: Any) -> Any:
        pressure = gsw.p_from_z(-depth, latitude)
        absolute = gsw.SA_from_SP(sp, pressure, longitude, latitude)
        found = gsw.t_from_CT(absolute, gsw.CT_from_pt(absolute, pt), pressure)
        return np.where(np.isnan(sp), pt, found).astype(np.float32)

    result: xr.DataArray = xr.apply_ufunc(
        converted, potential, salinity, potential["depth"], potential["latitude"], potential["longitude"],
        dask="parallelized", output_dtypes=[np.float32],
    )  # fmt: skip
    return result.transpose(*potential.dims).assign_attrs(potential.attrs)


def _library() -> Any:
    try:
        import gsw
    except ImportError as error:
        raise UsageError(
            "gsw to bring potential temperature to in-situ temperature", found=str(error), where="this installation",
            action="install the project with its extra: goms[archives]",
        ) from error  # fmt: skip
    return gsw
