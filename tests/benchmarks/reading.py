"""What six typical reads cost on object storage, by layout: ``python -m tests.benchmarks.reading [--days N]``.

One variable of full size, (days, 15, 720, 1440), is written to a SeaweedFS three times: by the project's writer (maps),
laid out for series, and by ``xarray.to_zarr`` as it comes, a day appended to those before. Each read is done by xarray
alone; requests and bytes are those that Zarr makes, without the metadata (one request for all of it).
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
import zarr.storage

from pipeline import produce, series
from pipeline.edition import Edition
from pipeline.store import Store
from pipeline.variables import variable
from pipeline.writer import ProductWriter
from tests.benchmarks import writing

ENTRY = writing.ENTRY.model_copy(update={"variables": (variable("to"),)})
READS: dict[str, dict[str, Any]] = {
    "a map: one depth, one day, global": {"time": 10, "depth": 0},
    "a point: all days, all depths": {"latitude": 500, "longitude": 720},
    "a profile: one day, all depths, a point": {"time": 10, "latitude": 500, "longitude": 720},
    "a box of 10 degrees: one day, all depths": {"time": 10, "latitude": slice(480, 520), "longitude": slice(700, 740)},
    "a box of 10 degrees: all days, surface": {"depth": 0, "latitude": slice(480, 520), "longitude": slice(700, 740)},
    "a section along a parallel: one day": {"time": 10, "latitude": 500},
}


class Cost(NamedTuple):
    """Of one read."""

    requests: int
    size_bytes: int
    seconds: float


class Counting(zarr.storage.WrapperStore[Any]):
    """A store that counts what is asked of it."""

    requests = size_bytes = 0

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        """What is there, counted."""
        found = await super().get(key, prototype, byte_range)
        self.requests += 1
        self.size_bytes += 0 if found is None else len(found)
        return found

    async def get_partial_values(self, prototype: Any, key_ranges: Any) -> Any:
        """Several parts, each a request."""
        return [await self.get(key, prototype, part) for key, part in key_ranges]


def write(bucket: str, days: int) -> dict[str, str]:
    """All three layouts; their addresses."""
    system = writing.system(days).model_copy(update={"products": (ENTRY,), "series": (ENTRY.name,)})
    edition = Edition(Store(bucket), system, writing.START, writing.FACTS)
    plain = f"{bucket}/plain.zarr"
    with ProductWriter(edition.store, edition.product_prefix(ENTRY), ENTRY, system, edition.cycle, edition.facts) as to:
        for lead in range(days):
            (values,) = writing.fields([lead])
            day = writing.forecast_day(values, lead)
            product = produce.produce(day, ENTRY, system, edition.cycle, edition.facts)
            to.write(product)
            raw = xr.Dataset({"to": (product["to"].dims, day["ocean"].values[:15][None])}, {"time": [np.int64(lead)]})
            raw.to_zarr(plain, consolidated=False, **({"mode": "w"} if lead == 0 else {"append_dim": "time"}))
    begun, spent = time.perf_counter(), time.process_time()
    laid_out = series.lay_out(edition, to.records)
    sizes = [sum(item.size_bytes for item in part) / 1e6 for part in (to.records, laid_out)]
    print(f"maps {sizes[0]:.0f} MB; series {sizes[1]:.0f} MB, laid out in {time.perf_counter() - begun:.1f} s "
          f"({time.process_time() - spent:.1f} s of processors)")  # fmt: skip
    return {"maps": f"{bucket}/{edition.product_prefix(ENTRY)}",
            "series": f"{bucket}/{edition.prefix}/{series.path_of(ENTRY.name)}", "plain": plain}  # fmt: skip


def cost(address: str, place: dict[str, Any]) -> Cost:
    """Of one read from a store that is open already; the second of two, so that no connection is new."""
    store = Counting(zarr.storage.FsspecStore.from_url(address, read_only=True))
    field = xr.open_zarr(store, chunks=None, consolidated=False, decode_times=False)["to"]
    for _ in range(2):
        store.requests = store.size_bytes = 0
        begun = time.perf_counter()
        assert np.isfinite(field.isel(place).values).any()
    return Cost(store.requests, store.size_bytes, time.perf_counter() - begun)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=31)
    parser.add_argument("--scratch", type=Path, help="where to write; none: a temporary folder")
    options = parser.parse_args()
    with TemporaryDirectory(dir=options.scratch) as scratch, writing.object_store(Path(scratch)) as (bucket, answer):
        os.environ.update(answer)
        addresses = write(f"{bucket}/reads", options.days)
        print(f"{'read':<42} " + " ".join(f"{name:>8} {'MB':>8} {'s':>6}" for name in addresses))
        for name, place in READS.items():
            costs = [cost(address, place) for address in addresses.values()]
            told = " ".join(f"{item.requests:8d} {item.size_bytes / 1e6:8.2f} {item.seconds:6.2f}" for item in costs)
            print(f"{name:<42} {told}   load {os.getloadavg()[0]:.1f}", flush=True)


if __name__ == "__main__":
    main()
