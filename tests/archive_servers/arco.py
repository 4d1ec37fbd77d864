"""ERA5's cloud store in its own layout: Zarr format 2, consolidated, a chunk an hour, arrays longer than the data."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import zarr

from pipeline.sources.era5_arco import LONG_NAMES
from pipeline.twin import Twin
from pipeline.twin.native import ERA5_UNITS
from pipeline.variables import Kind
from tests.archive_servers import weather as w

BEGIN = datetime(2024, 2, 1, tzinfo=UTC)
HOURS = 24 * 60
"""The arrays end weeks after what is filled."""
TIME_CHUNK = 500


def write(
    folder: Path, hours: list[datetime], *, stop: str, stop_era5t: str, kinds: tuple[Kind, ...] = (Kind.SURFACE,),
    nulls: tuple[datetime, ...] = (),
) -> Path:  # fmt: skip
    """The twin's weather at some hours; at ``nulls`` chunks that hold no value at all."""
    group = zarr.open_group(folder, mode="w", zarr_format=2)
    group.attrs.update({"valid_time_start": f"{BEGIN:%Y-%m-%d}", "valid_time_stop": stop,
                        "valid_time_stop_era5t": stop_era5t})  # fmt: skip
    stamps = (BEGIN - datetime(1900, 1, 1, tzinfo=UTC)) // timedelta(hours=1) + np.arange(HOURS)
    axes = {"time": stamps, "latitude": w.LATITUDE.astype("f4"), "longitude": w.EASTWARD.astype("f4")}
    for name, values in axes.items():
        chunks = (TIME_CHUNK,) if name == "time" else values.shape
        axis = group.create_array(name, data=values, chunks=chunks)
        axis.attrs["_ARRAY_DIMENSIONS"] = [name]
    group["time"].attrs.update({"units": "hours since 1900-01-01", "calendar": "proleptic_gregorian"})
    for kind in kinds:
        _fields(group, kind, hours, nulls)
    zarr.consolidate_metadata(group.store)
    return folder


def _fields(group: zarr.Group, kind: Kind, hours: list[datetime], nulls: tuple[datetime, ...]) -> None:
    plane = (w.LATITUDE.size, w.EASTWARD.size)
    fields = {hour: Twin().fields(kind, hour, w.LATITUDE[::-1], w.EASTWARD) for hour in hours}
    for name in next(iter(fields.values())):
        array = group.create_array(LONG_NAMES[name], shape=(HOURS, *plane), chunks=(1, *plane), dtype="f4",
                                   fill_value=float("nan"))  # fmt: skip
        array.attrs.update({"_ARRAY_DIMENSIONS": ["time", "latitude", "longitude"], "units": ERA5_UNITS[name]})
        for hour in hours:
            array[(hour - BEGIN) // timedelta(hours=1)] = fields[hour][name][::-1]
        for hour in nulls:
            step = (hour - BEGIN) // timedelta(hours=1)
            path = Path(group.store.root) / LONG_NAMES[name] / f"{step}.0.0"  # type: ignore[attr-defined]
            array[step] = fields[hours[0]][name][::-1]
            path.write_bytes(_nothing(group, plane))


def _nothing(group: zarr.Group, plane: tuple[int, int]) -> bytes:
    """A chunk of missing values as bytes: the library itself would not store it."""
    scratch = Path(group.store.root).parent / "nothing"  # type: ignore[attr-defined]
    scratch_group = zarr.open_group(scratch, mode="w", zarr_format=2)
    array = scratch_group.create_array("nothing", shape=(1, *plane), chunks=(1, *plane), dtype="f4", fill_value=0.0)
    array[:] = np.nan
    return (scratch / "nothing" / "0.0.0").read_bytes()
