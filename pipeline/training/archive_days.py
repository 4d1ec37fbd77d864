"""One day brought to a training archive: the nearest step of each input within three hours, or the day is missing."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import dask
import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from pipeline import channels, truth
from pipeline.channels import Channel
from pipeline.cycle import cycle
from pipeline.earth import relief
from pipeline.errors import GomsError, InputRefused, InputUnavailable
from pipeline.grids import Grid
from pipeline.precision import round_mantissa
from pipeline.provenance import InputRecord, degradations, records
from pipeline.sources.netcdf import closed_after
from pipeline.systems import System
from pipeline.training import archive_contract
from pipeline.training import archive_layout as layout
from pipeline.variables import STATIC, Kind, variable

NEAR_HOURS = (0, -1, 1, -2, 2, -3, 3)
"""Steps that may stand for a missing one, in hours after the start, nearest first: an eighth of a day at most."""
KINDS = {"ocean": Kind.OCEAN, "forcing": Kind.SURFACE, "waves": Kind.WAVES, "biogeochemistry": Kind.BIOGEOCHEMISTRY}
"""The kind of input an array of the archive is of."""


class Task(NamedTuple):
    """One day to be archived: everything a worker process needs to know."""

    system: System
    day: date
    position: int
    out: str
    arrays: tuple[str, ...]
    inputs: str | None
    scratch: Path
    seed: int
    threads: int
    archives: dict[str, str]


class Outcome(NamedTuple):
    """What became of a day: ``missing`` is the reason it is not held, else ``None``.

    ``near_hours``: by kind, how far the step that was taken lies from the start, where it does. ``sha256``: of each
    array's shard, in the order of the arrays.
    """

    position: int
    day: date
    sources: dict[str, list[str]]
    degraded: tuple[str, ...]
    near_hours: dict[str, float]
    sha256: tuple[bytes, ...]
    missing: str | None


@closed_after()
def archive_day(task: Task) -> Outcome:
    """Bring one day to the archive: its data, not yet its flag. Its scratch folder is removed whatever happens.

    It is this call's own: another build may be bringing the same day of another system.
    """
    task.scratch.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f"{task.day:%Y%m%d}-", dir=task.scratch))
    try:
        with dask.config.set(scheduler="threads", num_workers=task.threads):
            fields, found = _fields(task, scratch)
    except (InputUnavailable, InputRefused) as reason:
        return Outcome(task.position, task.day, {}, (), {}, (), str(reason))
    finally:
        shutil.rmtree(scratch)
    group = zarr.open_group(task.out, mode="r+")
    for name, values in fields.items():
        entries = archive_contract.channels_of(task.system, name)
        layout.member(group, name)[task.position : task.position + 1] = _rounded(values, entries)[None]
    sources: dict[str, list[str]] = {}
    for record in found.records:
        sources.setdefault(record.kind.value, []).append(record.source)
    digests = tuple(shard_sha256(task.out, name, task.position) for name in task.arrays)
    return Outcome(task.position, task.day, sources, found.degraded, found.near_hours, digests, None)


def shard_sha256(out: str, name: str, position: int) -> bytes:
    """SHA-256 of the bytes of one day of one array, as they lie in the archive; of nothing where there is none."""
    path = Path(out, name, "c", str(position), "0", "0", "0")
    if not path.is_file():
        return hashlib.sha256().digest()
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


class _Found(NamedTuple):
    records: tuple[InputRecord, ...]
    degraded: tuple[str, ...]
    near_hours: dict[str, float]


def _fields(task: Task, scratch: Path) -> tuple[dict[str, NDArray[np.float32]], _Found]:
    """The arrays of a day, and what is known of where they are from."""
    system, edge = task.system, truth.Edge(task.inputs, scratch, task.seed, task.archives)
    when = cycle(system.name, task.day, system.start_hour).start
    fields, inputs, near = {}, list[InputRecord](), dict[str, float]()
    degraded: list[str] = []
    for name in task.arrays:
        if name == "kuroshio":
            moment = when + timedelta(hours=near.get("ocean", 0.0))
            fine = truth.kuroshio(system, moment, edge)
            fields[name] = np.stack([fine[c.variable].values for c in archive_contract.channels_of(system, name)])
            continue
        gridded = _nearest(system, KINDS[name], when, edge)
        grid = system.grid_of(KINDS[name])
        fields[name] = _stacked(gridded, archive_contract.channels_of(system, name), grid)
        own = records(gridded)
        inputs += own
        degraded += degradations(gridded)
        hours = max((_hours(record.valid_time, when) for record in own if record.valid_time), key=abs, default=0.0)
        near |= {KINDS[name].value: hours} if hours else {}
    return fields, _Found(tuple(inputs), tuple(degraded), near)


def _nearest(system: System, kind: Kind, when: datetime, edge: truth.Edge) -> xr.Dataset:
    """The input of the start, or of the nearest step within three hours; else what was wrong with the start's own.

    A start that its archive has a forecast of is waited for: the steps beside it are of that forecast too.
    """
    first: GomsError | None = None
    for hours in NEAR_HOURS:
        try:
            gridded = truth.of_kind(system, kind, when + timedelta(hours=hours), edge)
        except truth.NotAnalysed:
            raise
        except (InputUnavailable, InputRefused) as reason:
            if isinstance(reason, InputRefused) and reason.check != "time stamps":
                raise
            first = first or reason
            continue
        if all(_near(record, when) for record in records(gridded)):
            return gridded
        first = first or _stale(kind, when, records(gridded))
    assert first is not None
    raise first


def _near(record: InputRecord, when: datetime) -> bool:
    return record.valid_time is None or abs(_hours(record.valid_time, when)) <= max(NEAR_HOURS)


def _hours(valid: datetime, when: datetime) -> float:
    moment = valid if valid.tzinfo else valid.replace(tzinfo=UTC)
    return (moment - when).total_seconds() / 3600.0


def _stale(kind: Kind, when: datetime, found: tuple[InputRecord, ...]) -> InputUnavailable:
    said = ", ".join(f"{r.source} of {r.valid_time:%Y-%m-%d %H}Z" for r in found if r.valid_time)
    return InputUnavailable(f"{kind} input within {max(NEAR_HOURS)} h of {when:%Y-%m-%d %H}Z", found=said,
                            where="the system's ladder", action="wait for the day's own analysis")  # fmt: skip


def _stacked(gridded: xr.Dataset, entries: tuple[Channel, ...], grid: Grid) -> NDArray[np.float32]:
    static = {entry.name for entry in STATIC}
    values = np.empty((len(entries), *grid.shape), dtype=np.float32)
    for row, channel in enumerate(entries):
        values[row] = relief.topography(grid) if channel.variable in static else _field(gridded, channel)
    return values


def _field(gridded: xr.Dataset, channel: Channel) -> NDArray[np.float32]:
    if channel.variable not in gridded:
        raise InputRefused(f"{channel.variable} to archive", found=f"only {', '.join(map(str, gridded.data_vars))}",
                           where="gridded input", action="bring the missing file", field=channel.variable)  # fmt: skip
    field = gridded[channel.variable]
    values: NDArray[np.float32] = (field if channel.depth_m is None else field.sel(depth=channel.depth_m)).values
    return values


def _rounded(values: NDArray[np.float32], entries: tuple[channels.Channel, ...]) -> NDArray[np.float32]:
    """A copy with each channel rounded to the precision its variable is published with."""
    copy = np.array(values, dtype=np.float32, order="C")
    for field, channel in zip(copy, entries, strict=True):
        round_mantissa(field, variable(channel.variable).mantissa_bits)
    return copy
