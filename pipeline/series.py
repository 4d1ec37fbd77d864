"""The same product laid out for series: every lead day and depth of a few cells in one chunk, beside the maps.

Made from what the rollout has written, when it is finished: read, checked, cut anew, compressed on all processors.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline import produce
from pipeline.edition import Edition
from pipeline.errors import CheckFailed
from pipeline.products import ProductEntry
from pipeline.shards import Blocks, Shards, compressed, described, sharded
from pipeline.store import ObjectRecord, Store

FOLDER = "series"
"""Where a product's series lie: ``series/<product>.zarr`` beside ``<product>.zarr``."""
CELLS = 16
"""Rows and columns of a chunk: thirty days at fifteen depths of so many are half a megabyte before compression."""
CHUNKS_IN_ROW = 3
"""Rows of chunks in a shard, which is as wide as the grid: its index, read with each series, stays a few kilobytes."""
BAND_BYTES = 1 << 30
"""Values of a variable held at a time, unless one row of shards is more; beside them all of it as it was read."""
READING = 8
"""Objects read together: hides the way to the store."""


def path_of(product: str) -> str:
    """Where a product's series lie, relative to the manifest."""
    return f"{FOLDER}/{product}.zarr"


def by_place(shape: tuple[int, ...]) -> Blocks:
    """Chunks of all lead days and depths of ``CELLS`` by ``CELLS`` cells; shards of some rows of them, full width."""
    rows, columns = (min(CELLS, size) for size in shape[-2:])
    wide, high = -(-shape[-1] // columns), min(CHUNKS_IN_ROW, -(-shape[-2] // rows))
    return Blocks((*shape[:-2], rows, columns), (*shape[:-2], high * rows, wide * columns))


def lay_out(
    edition: Edition, written: Iterable[ObjectRecord], progress: Callable[[], None] = lambda: None
) -> tuple[ObjectRecord, ...]:
    """Lay out the products that the system wants as series too; return the record of every object.

    ``written``: the objects of the products. ``progress`` is called after each object: renew the lock there.
    ``CheckFailed`` where what is read is not what was written.
    """
    records = {item.path: item for item in written}
    made = list[ObjectRecord]()
    with ThreadPoolExecutor(len(os.sched_getaffinity(0)), thread_name_prefix="series") as pool:
        for entry in edition.entries:
            if entry.name in edition.system.series:
                for path, data in _objects(edition, entry, records, pool):
                    made.append(edition.store.write_bytes(f"{edition.prefix}/{path_of(entry.name)}/{path}", data))
                    progress()
    return tuple(made)


class Field(NamedTuple):
    """One variable of a product as the rollout wrote it: a shard a lead day, still encoded."""

    maps: Shards
    name: str
    days: Mapping[int, bytes]

    def rows(self, first: int, end: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """All lead days of some rows of the grid. ``shape``: of the whole array, (time, ..., latitude, longitude)."""
        values = np.empty((*shape[:-2], end - first, shape[-1]), dtype=np.float32)
        for lead_day, data in self.days.items():
            values[lead_day] = self.maps.decode(self.name, lead_day, data)[..., first:end, :]
        return values


def _objects(
    edition: Edition, entry: ProductEntry, records: Mapping[str, ObjectRecord], pool: ThreadPoolExecutor
) -> Iterator[tuple[str, bytes]]:
    """Path within the series and content of every object."""
    frame = produce.layout(entry, edition.system, edition.cycle, edition.facts)
    objects, arrays = described(entry, frame, by_place)
    yield from ((path, item.to_bytes()) for path, item in sorted(objects.items()))
    maps = Shards(entry, edition.system, edition.cycle, edition.facts)
    for item in entry.variables:
        shape = tuple(int(size) for size in arrays[item.name].shape)
        yield from _variable(Field(maps, item.name, _read(edition, entry, maps, item.name, records)), shape, pool)


def _read(
    edition: Edition, entry: ProductEntry, maps: Shards, name: str, records: Mapping[str, ObjectRecord]
) -> dict[int, bytes]:
    prefix = edition.product_prefix(entry)
    paths = [f"{prefix}/{maps.path(name, lead_day)}" for lead_day in maps.lead_days]
    with ThreadPoolExecutor(READING, thread_name_prefix="series-reading") as pool:
        return dict(enumerate(pool.map(lambda path: _unaltered(edition.store, path, records), paths)))


def _unaltered(store: Store, path: str, records: Mapping[str, ObjectRecord]) -> bytes:
    data, record = store.read_bytes(path), records.get(path)
    if record is None or hashlib.sha256(data).hexdigest() != record.sha256:
        raise CheckFailed(
            f"{path} as the rollout wrote it", found="other bytes" if record else "no record of it", where=store.uri,
            action="run the cycle again: goms run DATE --from forecast",
        )  # fmt: skip
    return data


def _variable(field: Field, shape: tuple[int, ...], pool: ThreadPoolExecutor) -> Iterator[tuple[str, bytes]]:
    """Path and content of each shard of a variable, a band of rows in memory at a time."""
    cut = by_place(shape)
    high = cut.shard[-2]
    row_bytes = int(np.prod(shape[:-2])) * shape[-1] * np.dtype(np.float32).itemsize
    band = max(1, BAND_BYTES // (row_bytes * high)) * high
    for first in range(0, shape[-2], band):
        values = field.rows(first, min(first + band, shape[-2]), shape)
        for start in range(0, values.shape[-2], high):
            place = (*[0] * (len(shape) - 2), (first + start) // high, 0)
            data = _shard(values[..., start : start + high, :], cut, pool)
            yield f"{field.name}/c/{'/'.join(map(str, place))}", data
        del values  # before the next band is made


def _shard(values: NDArray[np.float32], cut: Blocks, pool: ThreadPoolExecutor) -> bytes:
    """A shard whose chunks lie within ``values``, all or in part; the part of one that does not is missing values."""
    rows, columns = cut.chunk[-2:]
    corners = itertools.product(range(0, cut.shard[-2], rows), range(0, cut.shard[-1], columns))

    def chunk(corner: tuple[int, int]) -> bytes | None:
        part = values[..., corner[0] : corner[0] + rows, corner[1] : corner[1] + columns]
        if part.size == 0:
            return None
        if part.shape != cut.chunk:
            short = [(0, wanted - found) for wanted, found in zip(cut.chunk, part.shape, strict=True)]
            part = np.pad(part, short, constant_values=np.nan)
        return compressed(part)

    return sharded(list(pool.map(chunk, corners)))
