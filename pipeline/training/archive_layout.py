"""The training Zarr itself: how it is laid out, made, opened and grown."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from pipeline.errors import UsageError
from pipeline.grids import Grid
from pipeline.training import archive_contract
from pipeline.training.archive_contract import Contract

NOT_YET, HELD, MISSING = 0, 1, 2
"""What ``held`` says of a day: no data yet; complete; its input was unavailable or refused (``missing`` says why)."""
HELD_MEANINGS = "not_yet held missing"
EPOCH = date(1970, 1, 1)
"""Day 0 of the ``time`` axis, which counts days at the system's start hour."""
COMPRESSION = BloscCodec(cname="zstd", clevel=3, shuffle="shuffle")
"""Measured on a 61 x 180 x 360 day: 19 ms to read, 3.6 times smaller; lz4 is no faster to read and half as dense."""
DIGEST_BYTES, DIGESTS_TOGETHER = 32, 64
"""Bytes of a SHA-256; days whose digests lie in one chunk."""


def held_days(path: str) -> frozenset[date]:
    """The days whose data are complete in the archive."""
    group = existing(path)
    held, begin = np.asarray(member(group, "held")[:]), first_day(group)
    return frozenset(begin + timedelta(days=int(index)) for index in np.flatnonzero(held == HELD))


def first_day(group: zarr.Group) -> date:
    """The date of the archive's day 0."""
    return date.fromisoformat(str(group.attrs["first_day"]))


def opened(contract: Contract, span: tuple[date, date], out: str, origin: dict[str, Any]) -> zarr.Group:
    """The archive at ``out``: the one that is there if it is of the same things, grown to the span, or a new one."""
    days = (span[1] - span[0]).days + 1
    if days < 1:
        raise UsageError(
            "a last day no earlier than the first", found=f"{span[0]}..{span[1]}", where="the days of the archive",
            action="give the days in order",
        )  # fmt: skip
    if not Path(out).exists():
        return _create(contract, span[0], days, out, origin)
    group = existing(out)
    archive_contract.check_same(archive_contract.read(group, out), contract, out)
    _check_origin(group, {"first_day": str(span[0]), **origin}, out)
    _grow(group, days)
    return group


def _check_origin(group: zarr.Group, origin: dict[str, Any], path: str) -> None:
    for name, value in origin.items():
        if group.attrs.get(name) != value:
            raise UsageError(
                f"an archive with {name} {value!r}", found=f"{group.attrs.get(name)!r}", where=path,
                action="give another path, or remove that archive if it is no longer needed",
            )  # fmt: skip


def _create(contract: Contract, begin: date, days: int, out: str, origin: dict[str, Any]) -> zarr.Group:
    """A new archive without data, made beside its place and moved there whole."""
    unfinished = f"{out}.new"
    group = zarr.open_group(unfinished, mode="w", zarr_format=3)
    for name in contract.channels:
        _create_array(group, name, contract, days)
    held = group.create_array(
        "held", shape=(days,), dtype="int8", chunks=(days,), fill_value=NOT_YET, dimension_names=("time",)
    )
    held.attrs.update({"flag_values": [NOT_YET, HELD, MISSING], "flag_meanings": HELD_MEANINGS})
    shape = (days, len(contract.channels), DIGEST_BYTES)
    group.create_array("sha256", shape=shape, dtype="uint8", chunks=(DIGESTS_TOGETHER, *shape[1:]), fill_value=0,
                       dimension_names=("time", "array", "byte"))  # fmt: skip
    _time_axis(group, begin, days)
    group.attrs.update({
        "title": f"Training archive of system {contract.system}: {contract.title}", "system": contract.system,
        "contract": contract.model_dump(mode="json"), "real_ocean": contract.real_ocean,
        "start_hour": contract.start_hour, "first_day": str(begin), "arrays": list(contract.channels), **origin,
        "sources": {}, "degraded": {}, "near_hours": {}, "missing": {}, "statistics": None,
    })  # fmt: skip
    Path(unfinished).rename(out)
    return zarr.open_group(out, mode="r+")


def _create_array(group: zarr.Group, name: str, contract: Contract, days: int) -> None:
    grid: Grid | None = contract.grids.get(name)
    if grid is None:
        raise UsageError(
            f"a system with a grid for {name}", found=f"system {contract.system} without",
            where="the archive's arrays", action=f"choose among {', '.join(contract.grids)}",
        )  # fmt: skip
    shape = (len(contract.channels[name]), *grid.shape)
    array = group.create_array(
        name, shape=(days, *shape), dtype="float32", chunks=(1, 1, *grid.shape), shards=(1, *shape),
        compressors=COMPRESSION, fill_value=float("nan"),
        dimension_names=("time", f"{name}_channel", f"{name}_latitude", f"{name}_longitude"),
    )  # fmt: skip
    array.attrs["channels"] = list(contract.channels[name])
    for axis, values in (("latitude", grid.latitude), ("longitude", grid.longitude)):
        group.create_array(f"{name}_{axis}", data=values, dimension_names=(f"{name}_{axis}",))


def _time_axis(group: zarr.Group, begin: date, days: int) -> None:
    values = (begin - EPOCH).days + np.arange(days, dtype=np.int64)
    axis = group.create_array("time", data=values, dimension_names=("time",), overwrite=True)
    axis.attrs.update({"units": f"days since {EPOCH:%Y-%m-%d}", "calendar": "proleptic_gregorian"})


def _grow(group: zarr.Group, days: int) -> None:
    """Every array to so many days, or as many as ``held`` has: that is the last, so that a kill leaves no other."""
    days = max(days, member(group, "held").shape[0])
    if "time" not in group or member(group, "time").shape[0] != days:
        _time_axis(group, first_day(group), days)
    for name in (*attribute(group, "arrays"), "sha256", "held"):
        array = member(group, name)
        if array.shape[0] != days:
            array.resize((days, *array.shape[1:]))


def existing(path: str) -> zarr.Group:
    """The archive at a path; ``UsageError`` where there is none."""
    if not Path(path, "zarr.json").exists():
        raise UsageError(
            "a training archive", found="none", where=path, action="build one, or give the path of one that is there"
        )
    return zarr.open_group(path, mode="r+")


def attribute(group: zarr.Group, name: str) -> Any:
    """A copy of an attribute of the archive, as plain JSON values."""
    return json.loads(json.dumps(group.attrs[name]))


def member(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """An array of the archive."""
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise TypeError(f"{name} in {group.store_path} is a group")
    return array
