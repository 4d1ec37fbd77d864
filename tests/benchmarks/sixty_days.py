"""A service's life in one process: ``python -m tests.benchmarks.sixty_days [DAYS]``.

Every day the flows that the deployments run are run one after the other: the daily forecast, the verification, the
housekeeping, on a small piece of the twin ocean, with Prefect's API in this process and a slot of its device limit
taken for every forecast. The clock of the flows is put forward a day after each. Memory, open files, threads, children,
slots and the store are looked at at the end of each day; what grows after retention has set in fails the run.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import sys
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

SLOT = "goms-device"
SYSTEM = "small-twin"
GROWTH = 1.05
"""The most that store, scratch and memory may grow from the middle of the days with retention to their end."""
MEMORY_MIB_A_DAY = 1.0
"""The most that memory may grow a day, by a straight line through the last half of the days: sixty days cost 60 MiB.

Prefect's server keeps the numbers of the events of the last half hour by the clock on the wall, some hundreds for a
run, to know one that comes twice: sixty days within that half hour are all kept. Of the containers that grow from day
to day none is ours.
"""


class Day(NamedTuple):
    """What was seen at the end of one day."""

    number: int
    seconds: float
    memory_mib: float
    store_kb: float
    scratch_kb: float
    cycles: int
    files: int
    threads: int
    children: int
    slots: int
    scored: int

    @property
    def line(self) -> str:
        return (
            f"{self.number:4d} {self.seconds:6.1f} {self.memory_mib:8.1f} {self.store_kb:9.1f} {self.scratch_kb:9.1f}"
            f" {self.cycles:6d} {self.files:5d} {self.threads:7d} {self.children:8d} {self.slots:5d} {self.scored:6d}"
        )


HEADING = " day  seconds  MiB      store kB scratch kB cycles files threads children slots scored"


class Clock:
    """The clock of the flows, some days ahead."""

    days = 0

    def put_forward(self) -> None:
        """Let the flows know no other clock."""
        from flows import clock

        ahead = self

        class Shifted(datetime):
            @classmethod
            def now(cls, tz=None):  # type: ignore[no-untyped-def,override]
                return datetime.now(tz) + timedelta(days=ahead.days)

        clock.datetime = Shifted  # type: ignore[misc]

    def stamp(self, folder: Path, since: float) -> None:
        """Files written since then bear the time of the flows' clock, as they would after so many days."""
        for path in folder.rglob("*"):
            if path.is_file() and since <= path.stat().st_mtime <= time.time():
                os.utime(path, (time.time() + self.days * 86400.0,) * 2)


def live(days: int, folder: Path) -> list[Day]:
    """So many days of the service; prints each."""
    os.environ |= {"GOMS_SCRATCH": str(folder / "scratch"), "GOMS_STORE": str(folder / "store"),
                   "GOMS_DEVICE_SLOT": SLOT, "GOMS_LOG_FORMAT": "text"}  # fmt: skip
    os.environ.pop("PREFECT_API_URL", None)
    import small_twin

    from flows.service.server import serving
    from pipeline.settings import Settings

    small_twin.install(folder / "masks")
    clock, seen = Clock(), list[Day]()
    clock.put_forward()
    with serving(Settings()):
        _make_slot()
        print(HEADING, flush=True)
        for number in range(1, days + 1):
            seen.append(one_day(number, clock, folder))
            print(seen[-1].line, flush=True)
            clock.days += 1
    return seen


def one_day(number: int, clock: Clock, folder: Path) -> Day:
    """Forecast, verify, keep house, and look."""
    from flows.service import scheduled
    from flows.service.housekeeping import housekeeping
    from pipeline.settings import Settings
    from pipeline.store import Store

    begun, since = time.monotonic(), time.time()
    day = f"{clock_day(clock):%Y-%m-%d}"
    made = scheduled.daily(SYSTEM, day, forecaster="persistence", return_state=True)
    assert made.is_completed(), made
    assert str(made.message).startswith("published r1"), made.message
    scored = scheduled.verification(SYSTEM, [1], return_state=True)
    assert scored.is_completed(), scored
    clock.stamp(folder / "scratch", since)
    housekeeping()
    store = Store(Settings().store)
    check(store, day)
    return look(number, time.monotonic() - begun, store, folder)


def clock_day(clock: Clock) -> datetime:
    """Yesterday, by the flows' clock."""
    from flows.clock import now

    return now() - timedelta(days=1)


def check(store, day: str) -> None:  # type: ignore[no-untyped-def]
    """The day's forecast is what readers are shown, is whole, and was scored."""
    from pipeline import cycle, publish
    from pipeline.record.latest import latest

    start = cycle.cycle(SYSTEM, day, 0)
    named, manifest = latest(store, SYSTEM), publish.read_manifest(store, start, 1)
    assert named is not None
    assert named.cycle == start.key
    assert manifest is not None
    prefix = start.revision_prefix(1)
    assert all(store.size(f"{prefix}/{item.path}") == item.size_bytes for item in manifest.objects)
    assert not manifest.degraded, manifest.degraded_reasons
    for product in manifest.products:
        assert store.exists(f"{SYSTEM}/scores/{start.key}/r1/{product}.json"), product


def look(number: int, seconds: float, store, folder: Path) -> Day:  # type: ignore[no-untyped-def]
    """What there is of everything now."""
    gc.collect()
    process = psutil.Process()
    objects = store.objects("")
    return Day(
        number, seconds, process.memory_info().rss / 2**20, sum(size for _, size in objects) / 1e3,
        sum(path.stat().st_size for path in (folder / "scratch").rglob("*")
            if path.is_file() and "prefect" not in path.relative_to(folder / "scratch").parts) / 1e3,
        len(store.folders(f"{SYSTEM}/cycles")), process.num_fds(), threading.active_count(),
        len(process.children(recursive=True)), _slots_taken(), len(store.folders(f"{SYSTEM}/scores")),
    )  # fmt: skip


def faults(seen: list[Day], keep_days: float) -> list[str]:
    """What is not as it must be, in words: nothing where all is flat."""
    late = [day for day in seen if day.number > 2 * keep_days + 2]
    half = len(late) // 2
    assert half >= 2, f"{len(seen)} days are too few to tell: retention sets in after {2 * keep_days + 2:g}"
    found = [f"day {day.number}: {day.slots} slots taken, {day.children} children"
             for day in seen if day.slots or day.children]  # fmt: skip
    for name in ("store_kb", "scratch_kb", "cycles", "files", "threads"):
        first, last = (max(getattr(day, name) for day in part) for part in (late[:half], late[half:]))
        if last > GROWTH * first:
            found.append(f"{name} grew from {first:g} to {last:g}")
    slope = statistics.linear_regression([day.number for day in late[half:]], [day.memory_mib for day in late[half:]])
    if slope.slope > MEMORY_MIB_A_DAY:
        found.append(f"memory grew by {slope.slope:.2f} MiB a day")
    return found


def _make_slot() -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate

    with get_client(sync_client=True) as client:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=SLOT, limit=1))


def _slots_taken() -> int:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        answer = client.request("POST", "/v2/concurrency_limits/filter", json={})
        answer.raise_for_status()
        return sum(int(item["active_slots"]) for item in answer.json())


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.sixty_days", description=__doc__)
    parser.add_argument("days", nargs="?", type=int, default=60)
    days = parser.parse_args().days
    with TemporaryDirectory(prefix="goms-sixty-days-") as name:
        begun = time.monotonic()
        seen = live(days, Path(name))
        print(f"{days} days in {time.monotonic() - begun:.0f} s, each published, checked and scored")
    import small_twin

    found = faults(seen, small_twin.SMALL_TWIN.retention.keep_days)
    print("\n".join(found) or "flat: store, scratch, memory, files and threads; no slot taken, no child left")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
