"""Streams a product's lead days into the store, whole shards at a time: bounded memory, errors never swallowed."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts import Product
from pipeline.cycle import Cycle
from pipeline.errors import ForecastRefused
from pipeline.produce import Facts
from pipeline.products import ProductEntry
from pipeline.shards import Shards
from pipeline.store import ObjectRecord, Store
from pipeline.systems import System

PUTS = 4
"""Shards on their way into the store together: hides the way to it, and so many at most are in memory encoded."""


class ProductWriter:
    """The one writer of one product: threads of its own, at most ``queue_days`` lead days handed over and not done.

    Every shard is written once, by one thread; its levels are compressed by ``threads`` of them (none: as many as
    there are processors), while other shards are on their way into the store.

    A context manager. Entering puts the metadata of all lead days; leaving waits for what was handed over and raises
    what failed; leaving by an exception drops what waits. Nothing written here exists for readers until a manifest
    says so (``publish``).
    """

    def __init__(self, store: Store, prefix: str, entry: ProductEntry, system: System, cycle: Cycle, facts: Facts,
                 *, queue_days: int = 2, threads: int | None = None) -> None:  # fmt: skip
        self._store, self._prefix, self._queue_days = store, prefix, queue_days
        self._shards = Shards(entry, system, cycle, facts)
        self._records: dict[str, ObjectRecord] = {}
        self._pending: deque[list[Future[None]]] = deque()
        threads = threads or len(os.sched_getaffinity(0))
        self._compressing = ThreadPoolExecutor(threads, thread_name_prefix=f"writer-{entry.name}-compressing")
        self._putting = ThreadPoolExecutor(PUTS, thread_name_prefix=f"writer-{entry.name}-putting")

    def __enter__(self) -> ProductWriter:
        for path, data in self._shards.metadata.items():
            self._put(path, data)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.drain()
        finally:
            self._putting.shutdown(wait=True, cancel_futures=True)
            self._compressing.shutdown(wait=True, cancel_futures=True)

    def write(self, product: Product) -> None:
        """Hand over one lead day; waits while the queue is full; raises what failed before."""
        if product.sizes["time"] != 1:
            raise ForecastRefused(
                "one lead day at a time", found=f"{product.sizes['time']}", where=self._prefix,
                action="look at the stage before this one",
            )  # fmt: skip
        while len(self._pending) >= self._queue_days:
            self._finish_oldest()
        lead_day = int(product["forecast_period"].values[0])
        fields = {item.name: product[item.name].values for item in self._shards.entry.variables}
        self._pending.append([
            self._putting.submit(self._write_shard, name, lead_day, values) for name, values in fields.items()
        ])  # fmt: skip

    def drain(self) -> None:
        """Wait until everything handed over is in the store; raises what failed."""
        while self._pending:
            self._finish_oldest()

    @property
    def records(self) -> tuple[ObjectRecord, ...]:
        """Every object put so far, sorted by path; complete after ``drain`` or after leaving."""
        return tuple(self._records[path] for path in sorted(self._records))

    def _finish_oldest(self) -> None:
        for shard in self._pending.popleft():
            shard.result()

    def _write_shard(self, name: str, lead_day: int, values: NDArray[np.float32]) -> None:
        data = self._shards.encode(name, lead_day, values, self._compressing.map)
        self._put(self._shards.path(name, lead_day), data)

    def _put(self, path: str, data: bytes) -> None:
        record = self._store.write_bytes(f"{self._prefix}/{path}", data)
        self._records[record.path] = record
