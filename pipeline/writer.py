"""Streams a product's lead days into the store, whole shards at a time: bounded memory, errors never swallowed."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from pipeline.contracts import Product
from pipeline.cycle import Cycle
from pipeline.errors import ForecastRefused
from pipeline.produce import Facts
from pipeline.products import ProductEntry
from pipeline.shards import Shards
from pipeline.store import ObjectRecord, Store
from pipeline.systems import System


class ProductWriter:
    """The one writer of one product: a thread of its own, at most ``queue_days`` lead days handed over and not done.

    A context manager. Entering puts the metadata of all lead days; leaving waits for what was handed over and raises
    what failed; leaving by an exception drops what waits. Nothing written here exists for readers until a manifest
    says so (``publish``).
    """

    def __init__(self, store: Store, prefix: str, entry: ProductEntry, system: System, cycle: Cycle, facts: Facts,
                 *, queue_days: int = 2) -> None:  # fmt: skip
        self._store, self._prefix, self._queue_days = store, prefix, queue_days
        self._shards = Shards(entry, system, cycle, facts)
        self._records: dict[str, ObjectRecord] = {}
        self._pending: deque[Future[None]] = deque()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"writer-{entry.name}")

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
            self._thread.shutdown(wait=True, cancel_futures=True)

    def write(self, product: Product) -> None:
        """Hand over one lead day; waits while the queue is full; raises what failed before."""
        if product.sizes["time"] != 1:
            raise ForecastRefused(
                "one lead day at a time", found=f"{product.sizes['time']}", where=self._prefix,
                action="look at the stage before this one",
            )  # fmt: skip
        while len(self._pending) >= self._queue_days:
            self._pending.popleft().result()
        self._pending.append(self._thread.submit(self._encode, product))

    def drain(self) -> None:
        """Wait until everything handed over is in the store; raises what failed."""
        while self._pending:
            self._pending.popleft().result()

    @property
    def records(self) -> tuple[ObjectRecord, ...]:
        """Every object put so far, sorted by path; complete after ``drain`` or after leaving."""
        return tuple(self._records[path] for path in sorted(self._records))

    def _encode(self, product: Product) -> None:
        lead_day = int(product["forecast_period"].values[0])
        for item in self._shards.entry.variables:
            data = self._shards.encode(item.name, lead_day, product[item.name].values)
            self._put(self._shards.path(item.name, lead_day), data)

    def _put(self, path: str, data: bytes) -> None:
        record = self._store.write_bytes(f"{self._prefix}/{path}", data)
        self._records[record.path] = record
