"""Room that a day of scores takes: ``python -m tests.benchmarks.scores_room [SYSTEM ...]``. It set ``scores_days``.

Made-up moments of every lead day, rival, channel and region, which compress as badly as real ones.
"""

from __future__ import annotations

import sys
import tempfile
from datetime import UTC, datetime

import numpy as np
import xarray as xr

from pipeline import systems
from pipeline.products import ProductEntry
from pipeline.scoring import regions
from pipeline.scoring.scoreboard import Board, Scored
from pipeline.store import Store
from pipeline.systems import System

DAYS = [datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2)]
"""The first has the coordinates as well; the second is what each day costs."""


def day_bytes(system: System, entry: ProductEntry) -> tuple[int, int]:
    """Bytes and objects that a further day of a product adds."""
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        store, there = Store(folder), list[int]()
        for day in DAYS:
            board = Board(store, system, entry)
            board.add(day, [Scored(lead, 1, 1, _moments(board, system, entry, random))
                            for lead in range(1, system.forecast_days + 1)])  # fmt: skip
            there.append(sum(size for _, size in store.objects("")))
        return there[1] - there[0], len(board.objects_before(DAYS[1]))


def _moments(board: Board, system: System, entry: ProductEntry, random: np.random.Generator) -> xr.Dataset:
    fields = {name: (dims[2:], random.normal(size=shape[2:]) ** 2)
              for name, (dims, shape, kind) in board._shapes.items() if kind == "float32"}  # fmt: skip
    return xr.Dataset(fields, coords={"region": [item.name for item in regions.of(system.product_grid(entry))]})


def main() -> None:
    """One line a product and one a system."""
    for name in sys.argv[1:] or ("twin", "global-quarter-degree"):
        system, total = systems.system(name), 0
        for entry in system.products:
            size, objects = day_bytes(system, entry)
            total += size
            print(f"{name} {entry.name}: {size / 1e6:.2f} MB and {objects} objects a day")
        print(f"{name}: {total / 1e6:.2f} MB a day, 1 GB in {1e9 / total / 365:.1f} years")


if __name__ == "__main__":
    main()
