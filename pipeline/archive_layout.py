"""The training Zarr itself: how it is laid out, made, opened, grown, and what it must agree with."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from pipeline import channels
from pipeline.errors import UsageError
from pipeline.grids import Grid
from pipeline.systems import System

NOT_YET, HELD, MISSING = 0, 1, 2
"""What ``held`` says of a day: no data yet; complete; its input was unavailable or refused (``missing`` says why)."""
HELD_MEANINGS = "not_yet held missing"
EPOCH = date(1970, 1, 1)
"""Day 0 of the ``time`` axis, which counts days at the system's start hour."""
COMPRESSION = BloscCodec(cname="zstd", clevel=3, shuffle="shuffle")
"""Measured on a 61 x 180 x 360 day: 19 ms to read, 3.6 times smaller; lz4 is no faster to read and half as dense."""


def arrays_of(system: System) -> tuple[str, ...]:
    """The arrays a system has grids for, in the order they are written."""
    return ("ocean", "forcing", *(name for name in ("waves", "biogeochemistry", "kuroshio") if grid_of(system, name)))


def channels_of(system: System, name: str) -> tuple[channels.Channel, ...]:
    """The channels of an array of the archive, in order."""
    every = {
        "forcing": channels.forcing(),
        "waves": channels.waves(),
        "biogeochemistry": channels.biogeochemistry(),
        "kuroshio": channels.surface_ocean(),
    }
    return every[name] if name in every else channels.ocean(system.depths_m)


def held_days(path: str) -> frozenset[date]:
    """The days whose data are complete in the archive."""
    group = existing(path)
    held, begin = np.asarray(member(group, "held")[:]), first_day(group)
    return frozenset(begin + timedelta(days=int(index)) for index in np.flatnonzero(held == HELD))


def first_day(group: zarr.Group) -> date:
    """The date of the archive's day 0."""
    return date.fromisoformat(str(group.attrs["first_day"]))


def grid_of(system: System, name: str) -> Grid | None:
    """The grid of an array of the archive, if the system has it."""
    grids = {
        "waves": system.wave_grid,
        "biogeochemistry": system.biogeochemistry_grid,
        "kuroshio": system.kuroshio_grid,
    }
    return grids.get(name, system.grid)


def opened(
    system: System, span: tuple[date, date], out: str, arrays: tuple[str, ...], origin: dict[str, Any]
) -> zarr.Group:
    """The archive at ``out``: the one that is there if it is of the same things, grown to the span, or a new one."""
    days = (span[1] - span[0]).days + 1
    if days < 1:
        raise UsageError(
            "a last day no earlier than the first", found=f"{span[0]}..{span[1]}", where="the days of the archive",
            action="give the days in order",
        )  # fmt: skip
    if not Path(out).exists():
        return _create(system, span[0], days, out, arrays, origin)
    group = existing(out)
    check_same(group, system, out, {"first_day": str(span[0]), "arrays": list(arrays), **origin})
    _grow(group, days)
    return group


def _create(
    system: System, begin: date, days: int, out: str, arrays: tuple[str, ...], origin: dict[str, Any]
) -> zarr.Group:
    """A new archive without data, made beside its place and moved there whole."""
    unfinished = f"{out}.new"
    group = zarr.open_group(unfinished, mode="w", zarr_format=3)
    for name in arrays:
        _create_array(group, name, system, days)
    held = group.create_array(
        "held", shape=(days,), dtype="int8", chunks=(days,), fill_value=NOT_YET, dimension_names=("time",)
    )
    held.attrs.update({"flag_values": [NOT_YET, HELD, MISSING], "flag_meanings": HELD_MEANINGS})
    _time_axis(group, begin, days)
    group.attrs.update({
        "title": f"Training archive of system {system.name}: {system.title}", "system": system.name,
        "real_ocean": system.real_ocean, "start_hour": system.start_hour, "first_day": str(begin),
        "grids": grids_of(system, arrays), "depths_m": list(system.depths_m),
        "channels": {name: [channel.label for channel in channels_of(system, name)] for name in arrays},
        "arrays": list(arrays), **origin, "sources": {}, "degraded": {}, "missing": {},
    })  # fmt: skip
    Path(unfinished).rename(out)
    return zarr.open_group(out, mode="r+")


def _create_array(group: zarr.Group, name: str, system: System, days: int) -> None:
    grid = grid_of(system, name)
    if grid is None:
        raise UsageError(
            f"a system with a grid for {name}", found=f"system {system.name} without", where="the archive's arrays",
            action=f"choose among {', '.join(arrays_of(system))}",
        )  # fmt: skip
    shape = (len(channels_of(system, name)), *grid.shape)
    array = group.create_array(
        name, shape=(days, *shape), dtype="float32", chunks=(1, 1, *grid.shape), shards=(1, *shape),
        compressors=COMPRESSION, fill_value=float("nan"),
        dimension_names=("time", f"{name}_channel", f"{name}_latitude", f"{name}_longitude"),
    )  # fmt: skip
    array.attrs["channels"] = [channel.label for channel in channels_of(system, name)]
    for axis, values in (("latitude", grid.latitude), ("longitude", grid.longitude)):
        group.create_array(f"{name}_{axis}", data=values, dimension_names=(f"{name}_{axis}",))


def _time_axis(group: zarr.Group, begin: date, days: int) -> None:
    values = (begin - EPOCH).days + np.arange(days, dtype=np.int64)
    axis = group.create_array("time", data=values, dimension_names=("time",), overwrite=True)
    axis.attrs.update({"units": f"days since {EPOCH:%Y-%m-%d}", "calendar": "proleptic_gregorian"})


def _grow(group: zarr.Group, days: int) -> None:
    if days <= member(group, "held").shape[0]:
        return
    for name in (*attribute(group, "arrays"), "held"):
        array = member(group, name)
        array.resize((days, *array.shape[1:]))
    _time_axis(group, first_day(group), days)


def existing(path: str) -> zarr.Group:
    """The archive at a path; ``UsageError`` where there is none."""
    if not Path(path, "zarr.json").exists():
        raise UsageError(
            "a training archive", found="none", where=path, action="build one, or give the path of one that is there"
        )
    return zarr.open_group(path, mode="r+")


def check_same(group: zarr.Group, system: System, path: str, origin: dict[str, Any] | None = None) -> None:
    """``UsageError`` unless the archive is of this system, with these days, arrays and inputs."""
    arrays = tuple(attribute(group, "arrays"))
    wanted = {
        "system": system.name, "start_hour": system.start_hour, "depths_m": list(system.depths_m),
        "grids": grids_of(system, arrays), **(origin or {}),
    }  # fmt: skip
    for name, value in wanted.items():
        if group.attrs.get(name) != value:
            raise UsageError(
                f"an archive with {name} {value!r}", found=f"{group.attrs.get(name)!r}", where=path,
                action="give another path, or remove that archive if it is no longer needed",
            )  # fmt: skip


def grids_of(system: System, arrays: tuple[str, ...]) -> dict[str, Any]:
    """What the archive remembers of its grids, by array."""
    return {name: grid.model_dump() for name in arrays if (grid := grid_of(system, name)) is not None}


def attribute(group: zarr.Group, name: str) -> Any:
    """A copy of an attribute of the archive, as plain JSON values."""
    return json.loads(json.dumps(group.attrs[name]))


def member(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """An array of the archive."""
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise TypeError(f"{name} in {group.store_path} is a group")
    return array
