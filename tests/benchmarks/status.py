"""How long ``goms status`` takes on a store of many cycles: ``python -m tests.benchmarks.status STORE [CYCLES]``.

The store is filled with what published cycles leave (journal, lock, manifest), where it is not yet; it may be a folder
or ``s3://bucket/prefix``, with the server and its keys in the usual AWS variables. Times are of whole processes.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline.cycle import Cycle, cycle
from pipeline.store import Store

sys.path.insert(0, str(Path(__file__).parents[1]))
import kept_cycles as kept

TIMES = 7


def fill(store: Store, count: int) -> None:
    """Cycles of the twin up to the day before yesterday's, published 19 hours after their start."""
    last = datetime.now(UTC).date() - timedelta(days=2)
    every = [cycle("twin", last - timedelta(days=back), 12) for back in range(count)]

    def publish(item: Cycle) -> None:
        if not store.exists(f"{item.revision_prefix(1)}/manifest.json"):
            kept.publish(store, item, item.start + timedelta(hours=19))

    kept.publish(store, every[0], every[0].start + timedelta(hours=19))
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(publish, every[1:]))


def main() -> None:
    """Fill, time, print."""
    store, count = Store(sys.argv[1]), int((sys.argv[2:] or ["1000"])[0])
    fill(store, count)
    command, seconds = [str(Path(sys.executable).with_name("goms")), "status", "--store", store.uri], list[float]()
    for _ in range(TIMES):
        begun = time.monotonic()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.monotonic() - begun)
    print(f"goms status on {count} cycles: median {statistics.median(seconds):.2f} s, worst {max(seconds):.2f} s")


if __name__ == "__main__":
    main()
