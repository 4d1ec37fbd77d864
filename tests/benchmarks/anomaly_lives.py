"""How long anomalies live: ``python -m tests.benchmarks.anomaly_lives``. It set ``pipeline.scoring.damping``.

For each variable the share of an anomaly that is left after some days (its regression on itself, all levels together,
area-weighted) and the days in which it would fall to 1/e if it fell evenly.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from pipeline import systems, truth, verify
from pipeline.systems import System
from pipeline.truth import Edge


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--system", default="twin")
    parser.add_argument("--inputs", help="folder of real files")
    parser.add_argument("--starts", nargs="+", default=["2023-01-15:0", "2023-07-15:1"], help="DAY:SEED")
    parser.add_argument("--days", nargs="+", type=int, default=[1, 5, 10, 20, 30])
    asked = parser.parse_args()
    system = systems.system(asked.system)
    sums: dict[tuple[str, int], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for text in asked.starts:
        day, _, seed = text.partition(":")
        when = datetime.fromisoformat(day).replace(tzinfo=UTC, hour=system.start_hour)
        with TemporaryDirectory() as scratch:
            edge = Edge(asked.inputs, Path(scratch), int(seed or 0))
            for entry in system.products:
                if entry.state == "kuroshio":
                    continue
                first = _anomalies(system, entry.name, when, edge)
                for lead in asked.days:
                    later = _anomalies(system, entry.name, when + timedelta(days=lead), edge)
                    for name, values in first.items():
                        both = np.isfinite(values) & np.isfinite(later[name])
                        weight = np.broadcast_to(np.cos(np.deg2rad(system.product_grid(entry).latitude))[:, None],
                                                 values.shape)[both]  # fmt: skip
                        found = sums[name, lead]
                        found[0] += float((weight * values[both] * later[name][both]).sum())
                        found[1] += float((weight * values[both] ** 2).sum())
    for (name, lead), (shared, own) in sums.items():
        left = shared / own
        print(f"{name:<18}{lead:>3} days: {left:6.3f} left, e-folding {-lead / np.log(max(left, 1e-6)):7.1f} days")


def _anomalies(system: System, product: str, when: datetime, edge: Edge) -> dict[str, NDArray[np.float64]]:
    entry = next(item for item in system.products if item.name == product)
    found, usual = truth.analysed(system, edge)(entry, when), verify.day_of_year(system)(entry, when)
    return {item.name: np.asarray(found[item.name]).astype(np.float64) - usual[item.name]
            for item in entry.variables if not item.circular}  # fmt: skip


if __name__ == "__main__":
    main()
