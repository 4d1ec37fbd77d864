"""One cycle, one writer: of many runs at once one publishes, and one that was paused too long changes nothing."""

from __future__ import annotations

import signal
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from forked import Forks, Process
from journeys import contents

from flows.clock import now
from pipeline import cycle, publish
from pipeline.record import journal, lock
from pipeline.record.journal import Event
from pipeline.record.latest import latest
from pipeline.record.lock import Lease
from pipeline.store import Store, to_json

DAY = "2023-01-01"
CYCLE = cycle.cycle("small-sea", DAY, 0)
SHORTEST_LEASE = "10"
PAUSED_AT = (
    "ocean: before its mark",
    "forecast: before the restart state",
    "forecast: mid-shard, between its bytes",
    "publish: between check and manifest",
    "publish: between manifest and latest",
)


@pytest.fixture(params=["folder_store", pytest.param("s3_store", marks=pytest.mark.server)])
def stores(request: pytest.FixtureRequest) -> list[Store]:
    """As many empty stores as there are pauses."""
    one: Store = request.getfixturevalue(request.param)
    return [Store(f"{one.uri}/{number}") for number in range(len(PAUSED_AT))]


def published(store: Store) -> dict[str, str]:
    prefix = CYCLE.revision_prefix(1)
    return {path: digest for path, digest in contents(store, prefix).items() if not path.endswith("manifest.json")}


def state(store: Store) -> dict[str, Any]:
    """Everything there is, and when it was written: bytes, version, and a file's number and time stamp."""
    found = {path: store.find(path) for path, _ in store.objects("")}
    if store.uri.startswith("s3://"):
        return {path: (both, _written(store, path)) for path, both in found.items()}
    return {path: (both, _stamp(Path(store.address(path)))) for path, both in found.items()}


def _stamp(path: Path) -> tuple[int, int]:
    return path.stat().st_ino, path.stat().st_mtime_ns


def _written(store: Store, path: str) -> Any:
    bucket: Any = store._backend
    return bucket._client.head_object(Bucket=bucket.bucket, Key=bucket._key(path))["LastModified"]


@pytest.mark.parametrize(
    ("runs", "left"), [(2, False), (8, False), (8, True)], ids=["two", "eight", "eight over a dead run's lease"]
)
def test_of_runs_at_once_one_publishes_and_the_others_say_who_is_at_it(
    forks: Forks, both_days: tuple[Store, Store], any_store: Store, runs: int, left: bool
) -> None:
    """Each waits, stopped, right before its request for the lock, until all are there."""
    point = "lock: before it is taken"
    if left:
        _leave_lease(any_store)
        point = "lock: before it is taken over"
    started = [forks.run(DAY, any_store, point, signal.SIGSTOP) for _ in range(runs)]
    for process in started:
        process.await_stop()
    for process in started:
        process.send_signal(signal.SIGCONT)
    answers = [process.finish() for process in started]
    assert sorted(answer.code for answer in answers) == [0] + [7] * (runs - 1), [answer.err for answer in answers]
    winner = next(process for process, answer in zip(started, answers, strict=True) if answer.code == 0)
    for answer in answers:
        assert answer.code == 0 or f"held by process {winner.pid} on " in answer.sentence
    assert published(any_store) == published(both_days[0]) != {}
    events = [entry.event for entry in journal.read(any_store, CYCLE)]
    assert (events.count(Event.BEGUN), events.count(Event.PUBLISHED)) == (1, 1)
    assert Event.FAILED not in events
    held = lock.holder(any_store, CYCLE)
    assert held is not None
    assert (held.fence, held.released) == (2 if left else 1, True)


def _leave_lease(store: Store) -> None:
    """The lease of a run on another machine, which has expired."""
    then = now() - timedelta(hours=1)
    lease = Lease(owner="process 7 on elsewhere, started at 1", token="x", fence=1, since=then, expires=then)
    store.write_bytes(lock.path(CYCLE), to_json(lease.model_dump(mode="json")))


def test_a_run_that_was_paused_past_its_lease_writes_nothing_when_it_wakes(
    forks: Forks, both_days: tuple[Store, Store], stores: list[Store]
) -> None:
    """It is stopped at one point in each store; when its lease has expired another run publishes there; it goes on."""
    environment = {"GOMS_LEASE_SECONDS": SHORTEST_LEASE, "GOMS_RESTART_EVERY_DAYS": "2"}
    paused = [forks.run(DAY, store, name, signal.SIGSTOP, **environment)
              for store, name in zip(stores, PAUSED_AT, strict=True)]  # fmt: skip
    for process in paused:
        process.await_stop()
    _await_expiry(stores)
    others = [forks.run(DAY, store).finish() for store in stores]
    assert [answer.code for answer in others] == [0] * len(stores), [answer.err for answer in others]
    before = [state(store) for store in stores]
    for process in paused:
        process.send_signal(signal.SIGCONT)
    woken = dict(zip(PAUSED_AT, [process.finish() for process in paused], strict=True))
    for name, store, there in zip(PAUSED_AT, stores, before, strict=True):
        after = state(store)
        changed = sorted(path for path in after.keys() | there if after.get(path) != there.get(path))
        assert (name, changed) == (name, [])
    assert {name: answer.code for name, answer in woken.items()} == dict.fromkeys(PAUSED_AT, 7), woken
    assert all("held by process" in answer.sentence for answer in woken.values())
    assert [published(store) for store in stores] == [published(both_days[0])] * len(stores)
    assert all(publish.published(store, CYCLE) == 1 and latest(store, "small-sea") for store in stores)


def _await_expiry(stores: list[Store]) -> None:
    for store in stores:
        held = lock.holder(store, CYCLE)
        assert held is not None
        time.sleep(max(0.0, (held.expires - now()).total_seconds() + 0.01))


def test_a_paused_run_that_wakes_within_its_lease_goes_on(forks: Forks, any_store: Store) -> None:
    process: Process = forks.run(DAY, any_store, "forecast: before the restart state", signal.SIGSTOP,
                                 GOMS_RESTART_EVERY_DAYS="2")  # fmt: skip
    process.await_stop()
    assert forks.run(DAY, any_store).finish().code == 7
    process.send_signal(signal.SIGCONT)
    assert process.finish().code == 0
