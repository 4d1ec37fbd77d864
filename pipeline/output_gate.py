"""What no forecast may be published with: values out of bounds, negative concentrations, impossible currents."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline import channels
from pipeline.channels import Channel
from pipeline.contracts import ForecastDay
from pipeline.errors import ForecastRefused
from pipeline.grids import Grid
from pipeline.systems import System
from pipeline.variables import EASTWARD_VELOCITY, NORTHWARD_VELOCITY, variable

SPEED_CAP_M_S = EASTWARD_VELOCITY.upper
"""Fastest current that may be published, m s-1: the bound of a component (its origin is there) put on the speed."""


def channels_of(array: str, system: System) -> tuple[Channel, ...]:
    """The channels of a forecaster's array, in order."""
    return {
        "ocean": channels.ocean(system.depths_m),
        "waves": channels.waves(),
        "biogeochemistry": channels.biogeochemistry(),
        "kuroshio": channels.surface_ocean(),
    }[array]


def grid_of(array: str, system: System) -> Grid:
    """The grid of a forecaster's array; ``ForecastRefused`` where the system has none."""
    grid = {
        "ocean": system.grid,
        "waves": system.wave_grid,
        "biogeochemistry": system.biogeochemistry_grid,
        "kuroshio": system.kuroshio_grid,
    }[array]
    if grid is None:
        raise ForecastRefused(
            f"a grid for {array}", found="none", where=f"system {system.name}", action="look at the forecaster"
        )
    return grid


def check(day: ForecastDay, system: System) -> None:
    """``ForecastRefused``, naming variable, value, unit, place and lead day, unless the day may be published."""
    for name in day.data_vars:
        values = day[name].values
        entries, grid = channels_of(str(name), system), grid_of(str(name), system)
        if values.shape != (len(entries), *grid.shape):
            raise ForecastRefused(
                f"{name} of shape {(len(entries), *grid.shape)}", found=f"{values.shape}",
                where=_where(day, system), action="look at the forecaster",
            )  # fmt: skip
        for channel, field in zip(entries, values, strict=True):
            _bounds(channel, field, grid, _where(day, system))
        _speed(entries, values, grid, _where(day, system))


def _bounds(channel: Channel, field: NDArray[np.float32], grid: Grid, where: str) -> None:
    entry = variable(channel.variable)
    outside = (field < entry.lower) | (field > entry.upper)
    if outside.any():
        excess = np.where(outside, np.maximum(entry.lower - field, field - entry.upper), -np.inf)
        raise _refused(
            f"{channel.label} within {entry.lower:g}..{entry.upper:g} {entry.units} ({entry.bounds_from})",
            field, excess, entry.units, int(outside.sum()), grid, where,
        )  # fmt: skip


def _speed(entries: tuple[Channel, ...], values: NDArray[np.float32], grid: Grid, where: str) -> None:
    eastward = [i for i, channel in enumerate(entries) if channel.variable == EASTWARD_VELOCITY.name]
    northward = [i for i, channel in enumerate(entries) if channel.variable == NORTHWARD_VELOCITY.name]
    for east, north in zip(eastward, northward, strict=True):
        speed = np.hypot(values[east], values[north])
        fast = speed > SPEED_CAP_M_S
        if fast.any():
            depth = "" if entries[east].depth_m is None else f" at {entries[east].depth_m:g} m"
            raise _refused(
                f"a current speed{depth} of at most {SPEED_CAP_M_S:g} m s-1",
                speed, np.where(fast, speed, -np.inf), "m s-1", int(fast.sum()), grid, where,
            )  # fmt: skip


def _refused(
    needed: str, field: NDArray[np.float32], excess: NDArray[np.floating], units: str, cells: int, grid: Grid,
    where: str,
) -> ForecastRefused:  # fmt: skip
    row, column = np.unravel_index(int(np.argmax(excess)), excess.shape)
    latitude, longitude = grid.latitude[row], grid.longitude[column]
    found = f"{field[row, column]:.6g} {units} at {latitude:g}N {longitude:g}E, the worst of {cells} cells"
    return ForecastRefused(needed, found=found, where=where, action="look at the initial state and the forecaster")


def _where(day: ForecastDay, system: System) -> str:
    return f"lead day {int(day['lead_day'])} of system {system.name}"
