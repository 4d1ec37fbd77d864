"""Gridded -> InitialState: every input of one start as channel arrays in AI-GOMS's order, none of them too old."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline import channels, contracts, provenance
from pipeline.channels import Channel
from pipeline.contracts import Gridded, InitialState
from pipeline.earth import relief
from pipeline.errors import InputRefused
from pipeline.grids import Grid
from pipeline.provenance import InputRecord
from pipeline.sources.instants import NEAREST_HOURS
from pipeline.systems import System
from pipeline.variables import TOPOGRAPHY, Kind


def initialise(gridded: Mapping[Kind, Gridded], system: System, start: datetime) -> InitialState:
    """The state a forecast starts from, valid at ``start`` (timezone-aware).

    ``ocean`` and ``forcing`` (channel, latitude, longitude), topography last; ``waves`` and ``biogeochemistry``
    where they are given; ``future`` (future_lead_day, future_channel, ...), the weather of the days to come, likewise;
    float32, NaN on land; ``time`` in UTC. Carries the records of all inputs. Raises
    ``InputRefused`` where ocean or surface or one of their variables is absent, or an input is older than its
    ladder allows or younger than the start.
    """
    records = tuple(r for kind in Kind if kind in gridded for r in provenance.records(gridded[kind]))
    for record in records:
        check_age(record, system, start)
    arrays = _array(gridded, Kind.OCEAN, channels.ocean(system.depths_m), system)
    arrays |= _array(gridded, Kind.SURFACE, channels.forcing(), system)
    if Kind.WAVES in gridded:
        arrays |= _array(gridded, Kind.WAVES, channels.waves(), system)
    if Kind.BIOGEOCHEMISTRY in gridded:
        arrays |= _array(gridded, Kind.BIOGEOCHEMISTRY, channels.biogeochemistry(), system)
    if Kind.FORCING in gridded:
        arrays |= _future(gridded[Kind.FORCING])
    time = np.datetime64(_naive_utc(start), "ns")
    dataset = xr.Dataset(arrays).assign_coords(time=time)
    return contracts.initial_state(provenance.attach(dataset, records), system)


def _future(foreseen: Gridded) -> dict[str, xr.DataArray]:
    """The five channels of the surface on each lead day that a weather forecast holds."""
    names = [channel.variable for channel in channels.weather()]
    values = np.stack([foreseen[name].values for name in names], axis=1)
    coords = {
        "future_lead_day": foreseen["lead_day"].values,
        "future_channel": [channel.label for channel in channels.weather()],
        "forcing_latitude": foreseen["latitude"].values,
        "forcing_longitude": foreseen["longitude"].values,
    }
    return {"future": xr.DataArray(values, coords=coords, dims=tuple(coords))}


def check_age(record: InputRecord, system: System, start: datetime) -> None:
    """Refuse an input of a later day than the start's, or of a day further back than its ladder allows.

    Days are UTC dates: a maximum age of 0 takes any hour of the start's own day, and a step as near as one that stands
    in for a missing one is taken across midnight. Inputs without a date (climatology) have no age; their record says
    that they are degraded.
    """
    ladder = system.ladder(record.kind)
    if record.valid_time is None or ladder is None:
        return
    begins, valid = _naive_utc(start), _naive_utc(record.valid_time)
    if abs(begins - valid) <= timedelta(hours=NEAREST_HOURS):
        return
    age_days = (begins.date() - valid.date()).days
    oldest = ladder.oldest_days(record.source)
    if not 0 <= age_days <= oldest:
        raise InputRefused(
            f"{record.kind} input at most {oldest:g} days older than {start:%Y-%m-%d %H}Z",
            found=f"{', '.join(record.variables)} of {record.valid_time:%Y-%m-%d %H}Z, {age_days} days old",
            where=f"source {record.source} for system {system.name}",
            action="wait for the day's own file, or start the forecast on the day there is",
        )


def _array(
    gridded: Mapping[Kind, Gridded], kind: Kind, wanted: tuple[Channel, ...], system: System
) -> dict[str, xr.DataArray]:
    if kind not in gridded:
        raise _missing(f"{kind} input", f"only {', '.join(gridded) or 'nothing'}", system)
    grid, dataset = system.grid_of(kind), gridded[kind]
    values = np.empty((len(wanted), *grid.shape), dtype=np.float32)
    for row, channel in enumerate(wanted):
        values[row] = _channel(dataset, channel, grid, system)
    name = "forcing" if kind is Kind.SURFACE else kind.value
    coords = {
        f"{name}_channel": [channel.label for channel in wanted],
        f"{name}_latitude": grid.latitude,
        f"{name}_longitude": grid.longitude,
    }
    return {name: xr.DataArray(values, coords=coords, dims=tuple(coords))}


def _channel(dataset: Gridded, channel: Channel, grid: Grid, system: System) -> NDArray[np.float32]:
    if channel.variable == TOPOGRAPHY.name:
        return relief.topography(grid)
    if channel.variable not in dataset:
        raise _missing(channel.variable, f"only {', '.join(str(name) for name in dataset.data_vars)}", system)
    field = dataset[channel.variable]
    values: NDArray[np.float32] = (field if channel.depth_m is None else field.sel(depth=channel.depth_m)).values
    return values


def _naive_utc(moment: datetime) -> datetime:
    """UTC without the label: what numpy's dates are."""
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def _missing(needed: str, found: str, system: System) -> InputRefused:
    return InputRefused(
        f"{needed} to start from", found=found, where=f"gridded input of system {system.name}",
        action="see which rung of the ladder gave up and why, and bring the missing file",
    )  # fmt: skip
