"""What no forecast may be published with: values out of bounds, negative concentrations, impossible currents."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline import channels
from pipeline.channels import Channel
from pipeline.contracts import ForecastDay
from pipeline.errors import ForecastRefused, Offence
from pipeline.grids import Grid
from pipeline.systems import System
from pipeline.variables import EASTWARD_VELOCITY, NORTHWARD_VELOCITY, variable

BOUNDS, NEGATIVE, SPEED = "bounds", "non-negative", "current speed cap"
"""How a report names what is looked at here."""

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
        place = _Place(str(name), grid, _where(day, system))
        for row, channel in enumerate(entries):
            _bounds(channel, row, values[row], place)
        _speed(entries, values, place)


class _Place(NamedTuple):
    """Where a value was found: the forecaster's array, its grid, the day in words."""

    array: str
    grid: Grid
    where: str


def _bounds(channel: Channel, row: int, field: NDArray[np.float32], place: _Place) -> None:
    entry = variable(channel.variable)
    outside = (field < entry.lower) | (field > entry.upper)
    if outside.any():
        excess = np.where(outside, np.maximum(entry.lower - field, field - entry.upper), -np.inf)
        needed = f"{channel.label} within {entry.lower:g}..{entry.upper:g} {entry.units} ({entry.bounds_from})"
        value = float(field.flat[int(np.argmax(excess))])
        below = value < entry.lower
        offence = Offence(NEGATIVE if below and entry.lower == 0 else BOUNDS, place.array, row, value,
                          entry.lower if below else entry.upper, entry.units, field, outside)  # fmt: skip
        raise _refused(needed, excess, offence, place)


def _speed(entries: tuple[Channel, ...], values: NDArray[np.float32], place: _Place) -> None:
    eastward = [i for i, channel in enumerate(entries) if channel.variable == EASTWARD_VELOCITY.name]
    northward = [i for i, channel in enumerate(entries) if channel.variable == NORTHWARD_VELOCITY.name]
    for east, north in zip(eastward, northward, strict=True):
        speed = np.hypot(values[east], values[north])
        fast = speed > SPEED_CAP_M_S
        if fast.any():
            depth = "" if entries[east].depth_m is None else f" at {entries[east].depth_m:g} m"
            offence = Offence(SPEED, place.array, east, float(np.nanmax(speed)),
                              SPEED_CAP_M_S, "m s-1", speed, fast)  # fmt: skip
            raise _refused(f"a current speed{depth} of at most {SPEED_CAP_M_S:g} m s-1",
                           np.where(fast, speed, -np.inf), offence, place)  # fmt: skip


def _refused(needed: str, excess: NDArray[np.floating], offence: Offence, place: _Place) -> ForecastRefused:
    row, column = np.unravel_index(int(np.argmax(excess)), excess.shape)
    latitude, longitude = place.grid.latitude[row], place.grid.longitude[column]
    found = (
        f"{offence.values[row, column]:.6g} {offence.units} at {latitude:g}N {longitude:g}E, "
        f"the worst of {int(offence.bad.sum())} cells"
    )
    return ForecastRefused(needed, found=found, where=place.where, offence=offence,
                           action="look at the initial state and the forecaster")  # fmt: skip


def _where(day: ForecastDay, system: System) -> str:
    return f"lead day {int(day['lead_day'])} of system {system.name}"
