import errno
import multiprocessing
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Barrier, Event, Thread

import numpy as np
import pytest
import xarray as xr

from pipeline import cycle
from pipeline.errors import CycleHeld, StoreError, UsageError
from pipeline.objects import staged
from pipeline.record import latest, lock, marks
from pipeline.store import Put, Store
from tests.s3_server import S3Server

CYCLE = cycle.cycle("twin", "2026-01-31", 12)
NOON = datetime(2026, 2, 1, 12, tzinfo=UTC)
RACERS = 8


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def race(attempt) -> list[Put]:
    """What eight threads are told who start at the same moment."""
    barrier = Barrier(RACERS)

    def start(number: int) -> Put:
        barrier.wait()
        return attempt(number)

    with ThreadPoolExecutor(RACERS) as threads:
        return list(threads.map(start, range(RACERS)))


# ---------------------------------------------------------------------------------------------------- objects


def test_an_object_reads_back_as_written_with_its_size_and_digest(any_store: Store) -> None:
    made = any_store.write_bytes("a/b/c.bin", b"ocean")
    assert any_store.read_bytes("a/b/c.bin") == b"ocean"
    assert (made.path, made.size_bytes) == ("a/b/c.bin", 5)
    # printf ocean | sha256sum
    assert made.sha256 == "47afad612b1f9cc8fd0ab7ba2360845d7b932a9d88e6b704e1f5804295c6ee97"
    assert any_store.size("a/b/c.bin") == 5


def test_listing_gives_every_object_under_the_folder_and_no_neighbour_of_like_name(any_store: Store) -> None:
    for path in ("x/r1/a", "x/r1/deep/b", "x/r10/c", "x/r1.json"):
        any_store.write_bytes(path, b"12")
    assert any_store.objects("x/r1") == [("x/r1/a", 2), ("x/r1/deep/b", 2)]
    assert any_store.folders("x") == ["r1", "r10"]
    assert any_store.objects("nothing/here") == []
    assert any_store.folders("nothing/here") == []


def test_deleting_a_prefix_leaves_its_neighbours(any_store: Store) -> None:
    for path in ("x/r1/a", "x/r1/deep/b", "x/r10/c"):
        any_store.write_bytes(path, b"12")
    any_store.delete("x/r1")
    any_store.delete("x/never")
    assert any_store.objects("x") == [("x/r10/c", 2)]


def test_absence_is_none_or_a_sentence_but_never_empty_bytes(any_store: Store) -> None:
    assert any_store.find("no") is None
    assert any_store.size("no") is None
    assert not any_store.exists("no")
    with pytest.raises(StoreError, match=r"needed the object no; found nothing there") as caught:
        any_store.read_bytes("no")
    assert caught.value.exit_code == 6


def test_equal_json_has_equal_bytes_whatever_the_order_of_keys(any_store: Store) -> None:
    assert any_store.write_json("a", {"b": 1, "a": [2]}).sha256 == any_store.write_json("b", {"a": [2], "b": 1}).sha256
    assert any_store.read_json("a") == {"a": [2], "b": 1}
    any_store.write_bytes("broken.json", b"{")
    with pytest.raises(StoreError, match=r"JSON in broken\.json"):
        any_store.read_json("broken.json")


def test_a_store_survives_pickling(any_store: Store) -> None:
    any_store.write_bytes("a", b"1")
    assert pickle.loads(pickle.dumps(any_store)).read_bytes("a") == b"1"


@pytest.mark.parametrize("path", ["/etc/passwd", "a/../../b", ".."])
def test_no_path_leads_out_of_the_store(folder_store: Store, path: str) -> None:
    with pytest.raises(UsageError):
        folder_store.write_bytes(path, b"")


def test_a_store_of_another_scheme_is_refused() -> None:
    with pytest.raises(UsageError, match="s3://bucket/prefix"):
        Store("gs://bucket/prefix")
    with pytest.raises(UsageError, match="a bucket"):
        Store("s3://")


# --------------------------------------------------------------------------------------------- conditional puts


def test_of_eight_that_create_at_once_exactly_one_wins_and_its_bytes_stay(any_store: Store) -> None:
    for attempt in range(2):
        path = f"race/{attempt}"
        answers = race(lambda number, path=path: any_store.put_if_absent(path, b"%d" % number))
        assert sorted(answers) == [Put.LOST] * (RACERS - 1) + [Put.WON]
        assert any_store.read_bytes(path) == b"%d" % answers.index(Put.WON)


def test_of_eight_that_swap_at_once_exactly_one_wins_and_its_bytes_stay(any_store: Store) -> None:
    any_store.write_bytes("race", b"start")
    for _ in range(2):
        found = any_store.find("race")
        assert found is not None
        answers = race(
            lambda number, found=found: any_store.put_if_version("race", found.data + b"%d" % number, found.version)
        )
        assert sorted(answers) == [Put.LOST] * (RACERS - 1) + [Put.WON]
        assert any_store.read_bytes("race") == found.data + b"%d" % answers.index(Put.WON)


def test_eight_processes_that_count_by_swapping_lose_no_count(any_store: Store) -> None:
    any_store.write_json("count", 0)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_count, args=(any_store.uri, 5)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert any_store.read_json("count") == 15


def _count(uri: str, times: int) -> None:
    store, done = Store(uri), 0
    while done < times:
        found = store.find("count")
        assert found is not None
        done += store.put_if_version("count", b"%d" % (int(found.data) + 1), found.version) is Put.WON


def test_swapping_what_is_not_there_or_was_changed_loses(any_store: Store) -> None:
    any_store.write_bytes("a", b"1")
    found = any_store.find("a")
    assert found is not None
    any_store.write_bytes("a", b"2")
    assert any_store.put_if_version("a", b"3", found.version) is Put.LOST
    assert any_store.put_if_version("b", b"3", found.version) is Put.LOST
    assert any_store.read_bytes("a") == b"2"
    assert not any_store.exists("b")


# ------------------------------------------------------------------------------------------------------- failures


def test_a_full_disk_is_a_sentence_and_leaves_no_part(folder_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    folder_store.write_bytes("a", b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"needed free space to write a \(3 bytes\); found no space left"):
        folder_store.write_bytes("a", b"new")
    monkeypatch.undo()
    assert folder_store.read_bytes("a") == b"old"
    assert [path.name for path in Path(folder_store.uri).rglob("*") if path.is_file()] == ["a"]


def test_a_file_in_place_of_a_folder_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"")
    with pytest.raises(StoreError, match="found a file in its place"):
        Store(tmp_path / "store").write_bytes("a/b", b"1")


@pytest.mark.server
def test_wrong_keys_are_a_sentence(s3_keys: S3Server, s3_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not the secret")
    with pytest.raises(StoreError, match=r"accepted AWS keys.*check AWS_ACCESS_KEY_ID") as caught:
        Store(s3_store.uri).write_bytes("a", b"1")
    assert caught.value.exit_code == 6


@pytest.mark.server
def test_keys_that_may_only_read_are_a_sentence_when_they_write(
    s3_keys: S3Server, s3_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3_store.write_bytes("a", b"1")
    for name, value in s3_keys.environment(s3_keys.reader).items():
        monkeypatch.setenv(name, value)
    reader = Store(s3_store.uri)
    assert reader.read_bytes("a") == b"1"
    with pytest.raises(StoreError, match=r"needed the right to write a .* found AccessDenied"):
        reader.write_bytes("a", b"2")
    with pytest.raises(StoreError, match="needed the right to put b on a condition"):
        reader.put_if_absent("b", b"2")


def test_an_endpoint_that_is_no_address_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:9000")
    with pytest.raises(StoreError, match=r"Invalid endpoint: localhost:9000; .*check AWS_ENDPOINT_URL"):
        Store("s3://bucket/prefix")


@pytest.mark.server
def test_no_such_bucket_and_no_server_are_sentences(s3_keys: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMS_STORE_PATIENCE_SECONDS", "0")
    with pytest.raises(StoreError, match="needed an existing bucket to read a"):
        Store("s3://never-made/x").read_bytes("a")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # the discard port: nobody listens
    with pytest.raises(StoreError, match=r"an S3 server to read a.*AWS_ENDPOINT_URL"):
        Store("s3://forecasts/x").read_bytes("a")


def test_who_has_little_patience_does_not_wait_long_for_a_server_that_is_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It takes connections, and says long after that there is nothing."""
    ended = Event()

    class Slow(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            ended.wait(8.0)
            self.send_response(404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    for name, value in (("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        try:
            with pytest.raises(StoreError, match="ReadTimeoutError"):
                Store("s3://forecasts/x", patience_seconds=0.2).exists("a")
        finally:
            ended.set()
            server.shutdown()


# ----------------------------------------------------------------------------------------------------------- lock


def test_the_loser_is_told_who_holds_the_cycle_and_since_when(any_store: Store) -> None:
    clock = Clock()
    with lock.hold(any_store, CYCLE, "run 1", 60, clock):
        clock.forward(59)
        with pytest.raises(CycleHeld, match="held by run 1 since 2026-02-01 12:00:00 UTC") as caught:
            lock.hold(any_store, CYCLE, "run 2", 60, clock).__enter__()
    assert caught.value.exit_code == 7


def test_of_eight_that_take_a_free_cycle_at_once_exactly_one_holds_it(any_store: Store) -> None:
    held = []

    def take(number: int) -> Put:
        try:
            held.append(lock._take(any_store, CYCLE, f"run {number}", 60, Clock()))
        except CycleHeld:
            return Put.LOST
        return Put.WON

    assert sorted(race(take)) == [Put.LOST] * (RACERS - 1) + [Put.WON]
    assert lock.holder(any_store, CYCLE) == held[0]


def test_an_expired_lease_is_taken_over_with_a_larger_fence_and_its_old_holder_is_stopped(any_store: Store) -> None:
    clock = Clock()
    with lock.hold(any_store, CYCLE, "stalled", 60, clock) as old:
        clock.forward(61)
        with lock.hold(any_store, CYCLE, "fresh", 60, clock) as new:
            assert new.fence == old.fence + 1
            with pytest.raises(CycleHeld, match="held by fresh"):
                old.renew()
            new.renew()
    assert lock.holder(any_store, CYCLE).owner == "fresh"


def test_renewing_keeps_the_cycle_beyond_the_first_lease(any_store: Store) -> None:
    clock = Clock()
    with lock.hold(any_store, CYCLE, "run 1", 60, clock) as held:
        clock.forward(50)
        held.renew()
        clock.forward(50)
        with pytest.raises(CycleHeld):
            lock.hold(any_store, CYCLE, "run 2", 60, clock).__enter__()


def test_who_lost_the_cycle_may_change_nothing_and_a_fresh_lease_is_not_asked_about(any_store: Store) -> None:
    """Half of a lease of 60 s is fresh: at 29 s nothing is asked, at 31 s it is renewed, at 61 s it is lost."""
    clock = Clock()
    with lock.hold(any_store, CYCLE, "paused", 60, clock) as held:
        guarded, before = Store(any_store.uri, held.permit), lock.holder(any_store, CYCLE)
        clock.forward(29)
        guarded.write_bytes("a", b"1")
        assert lock.holder(any_store, CYCLE) == before
        clock.forward(2)
        guarded.write_bytes("a", b"2")
        assert lock.holder(any_store, CYCLE).expires == before.expires + timedelta(seconds=31)
        clock.forward(61)
        with lock.hold(any_store, CYCLE, "fresh", 60, clock):
            for change in (
                lambda: guarded.write_bytes("a", b"3"),
                lambda: guarded.put_if_absent("b", b"3"),
                lambda: guarded.put_if_version("a", b"3", any_store.find("a").version),
                lambda: guarded.delete("a"),
            ):
                with pytest.raises(CycleHeld, match="held by fresh"):
                    change()
    assert any_store.read_bytes("a") == b"2"
    assert not any_store.exists("b")


def test_the_fence_grows_over_released_leases_too(any_store: Store) -> None:
    fences = []
    for number in range(3):
        with lock.hold(any_store, CYCLE, f"run {number}", 60, Clock()) as held:
            fences.append(held.fence)
    assert fences == [1, 2, 3]


def test_a_run_that_fails_gives_the_cycle_back(any_store: Store) -> None:
    with pytest.raises(ZeroDivisionError), lock.hold(any_store, CYCLE, "run 1", 60, Clock()):
        raise ZeroDivisionError
    with lock.hold(any_store, CYCLE, "run 2", 60, Clock()) as held:
        assert held.fence == 2


# ---------------------------------------------------------------------------------------------------------- marks


def test_a_mark_holds_only_for_its_inputs_and_while_its_outputs_are_there_whole(any_store: Store) -> None:
    made = [any_store.write_bytes("out/b", b"22"), any_store.write_bytes("out/a", b"1")]
    marked = marks.mark(any_store, CYCLE, "regrid", "inputs", made)
    assert [item.path for item in marked.outputs] == ["out/a", "out/b"]
    assert marks.marked(any_store, CYCLE, "regrid", "inputs") == marked
    assert marks.marked(any_store, CYCLE, "regrid", "other inputs") is None
    assert marks.marked(any_store, CYCLE, "ingest", "inputs") is None
    any_store.write_bytes("out/a", b"longer")
    assert marks.marked(any_store, CYCLE, "regrid", "inputs") is None
    any_store.delete("out/a")
    assert marks.marked(any_store, CYCLE, "regrid", "inputs") is None
    assert marks.recorded(any_store, CYCLE, "regrid") == marked
    marks.unmark(any_store, CYCLE, "regrid")
    assert marks.recorded(any_store, CYCLE, "regrid") is None


def test_digests_of_parts_know_where_a_part_ends() -> None:
    assert marks.digest("ab", "c") != marks.digest("a", "bc")
    assert marks.digest("ab") == marks.digest("ab")


# --------------------------------------------------------------------------------------------------------- latest


def test_latest_moves_forward_only(any_store: Store) -> None:
    earlier, later = cycle.cycle("twin", "2026-01-30", 12), cycle.cycle("twin", "2026-02-01", 12)
    assert latest.latest(any_store, "twin") is None
    assert latest.advance_latest(any_store, CYCLE, 1)
    assert not latest.advance_latest(any_store, earlier, 7)
    assert not latest.advance_latest(any_store, CYCLE, 1)
    assert latest.advance_latest(any_store, CYCLE, 2)
    assert latest.advance_latest(any_store, later, 1)
    found = latest.latest(any_store, "twin")
    assert (found.cycle, found.revision, found.prefix) == ("20260201T12", 1, "twin/cycles/20260201T12/r1")
    assert found.start == later


def test_a_damaged_latest_or_lock_is_a_sentence(any_store: Store) -> None:
    any_store.write_bytes(latest.path("twin"), b"{}")
    any_store.write_bytes(lock.path(CYCLE), b"half")
    with pytest.raises(StoreError, match=r"a whole Latest; found .* in .*latest\.json"):
        latest.latest(any_store, "twin")
    with pytest.raises(StoreError, match=r"a whole Lease; found .* in .*lock\.json"):
        lock.hold(any_store, CYCLE, "run", 60, Clock()).__enter__()


def test_of_many_that_advance_latest_at_once_the_newest_stays(any_store: Store) -> None:
    days = [cycle.cycle("twin", f"2026-03-{day:02d}", 12) for day in range(1, RACERS + 1)]

    def advance(number: int) -> Put:
        return Put.WON if latest.advance_latest(any_store, days[number], 1) else Put.LOST

    race(advance)
    assert latest.latest(any_store, "twin").start == days[-1]


# --------------------------------------------------------------------------------------------------------- staged


def test_a_staged_dataset_comes_back_identical_and_its_bytes_depend_on_it_alone(any_store: Store) -> None:
    dataset = xr.Dataset(
        {"ocean": (("channel", "y"), np.array([[1.5, np.nan, -0.0], [3, 4, 5]], dtype=np.float32), {"units": "m"})},
        coords={"channel": ["to@0", "zos"], "time": np.datetime64("2026-01-31T12", "ns"), "lead_day": 3},
        attrs={"inputs": '["ü"]'},
    )
    first = staged.save(any_store, "a.npz", dataset)
    found = staged.load(any_store, "a.npz")
    assert found.identical(dataset)
    assert found["ocean"].dtype == np.float32
    assert found["ocean"].values.tobytes() == dataset["ocean"].values.tobytes()
    assert staged.save(any_store, "b.npz", found).sha256 == first.sha256


def test_a_staged_dataset_that_is_cut_short_is_a_sentence(any_store: Store) -> None:
    staged.save(any_store, "a.npz", xr.Dataset({"x": ("y", np.arange(1000.0))}))
    any_store.write_bytes("a.npz", any_store.read_bytes("a.npz")[:500])
    with pytest.raises(StoreError, match=r"a staged dataset in a\.npz"):
        staged.load(any_store, "a.npz")


def test_a_killed_write_leaves_the_old_object(tmp_path: Path) -> None:
    """The process dies by its own SIGKILL between writing the bytes and renaming them."""
    store = Store(tmp_path)
    store.write_bytes("a", b"old")
    code = (
        "import os, signal, pathlib\n"
        "from pipeline.store import Store\n"
        "pathlib.Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"Store({str(tmp_path)!r}).write_bytes('a', b'new')\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert store.read_bytes("a") == b"old"
    assert store.objects("") == [("a", 3)]
