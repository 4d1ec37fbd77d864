"""A store that fails: the server's errors, lost connections and full disks cost time or a sentence, never a byte."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_proxy import FAULTS, FaultProxy
from forked import Forks
from journeys import contents
from s3_server import S3Server
from small_disk import SmallDisk

from pipeline import cycle, publish
from pipeline.errors import StoreError
from pipeline.objects import patience
from pipeline.record.latest import latest
from pipeline.store import Put, Store

DAY = "2023-01-01"
CYCLE = cycle.cycle("small-sea", DAY, 0)
LOSS_SECONDS = float(os.environ.get("GOMS_LOSS_SECONDS", "8"))
"""How long the connection is lost; 60 s are tried by hand."""

pytestmark = pytest.mark.server


@pytest.fixture
def proxy(s3_keys: S3Server, s3_store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """A proxy before the server that passes everything on; stores opened after it go through it."""
    made = FaultProxy(s3_keys.endpoint, share=0.0)
    with made.serving() as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        yield made


@pytest.fixture
def through(proxy: FaultProxy, s3_store: Store) -> Store:
    """The store as seen through the proxy."""
    return Store(s3_store.uri)


def published(store: Store) -> dict[str, str]:
    prefix = CYCLE.revision_prefix(1)
    return {path: digest for path, digest in contents(store, prefix).items() if not path.endswith("manifest.json")}


# ------------------------------------------------------------------------------------------------- single requests


def _lists(store: Store) -> Any:
    return store.objects("a"), store.folders("")


def _deletes(store: Store) -> Any:
    store.delete("a")
    return store.objects("a")


def _swaps(store: Store) -> Any:
    found = store.find("a/1")
    assert found is not None
    return store.put_if_version("a/1", b"swapped", found.version), store.read_bytes("a/1")


REQUESTS: dict[str, tuple[Callable[[Store], Any], Any]] = {
    "read": (lambda store: store.read_bytes("a/1"), b"one" * 1000),
    "nothing there": (lambda store: store.find("a/none"), None),
    "size": (lambda store: store.size("a/1"), 3000),
    "list": (_lists, ([("a/1", 3000), ("a/2", 3)], ["a"])),
    "write": (lambda store: (store.write_bytes("b", b"new").size_bytes, store.read_bytes("b")), (3, b"new")),
    "create": (lambda store: (store.put_if_absent("c", b"new"), store.read_bytes("c")), (Put.WON, b"new")),
    "swap": (_swaps, (Put.WON, b"swapped")),
    "delete": (_deletes, []),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_request_that_meets_a_fault_is_made_again_and_answers_the_same(
    through: Store, proxy: FaultProxy, s3_store: Store, fault: str
) -> None:
    for name, (request, answer) in REQUESTS.items():
        for path, data in (("a/1", b"one" * 1000), ("a/2", b"two")):
            s3_store.write_bytes(path, data)
        s3_store.delete("b")
        s3_store.delete("c")
        before = proxy.met[fault]
        proxy.next = [fault]
        assert request(through) == answer, name
        assert proxy.met[fault] == before + 1, name


@pytest.mark.parametrize("fault", ["reset after", "truncated", "503 SlowDown"])
def test_a_put_of_ones_own_is_known_by_its_content_when_its_answer_is_lost(
    through: Store, proxy: FaultProxy, s3_store: Store, fault: str
) -> None:
    proxy.next = [fault]
    assert through.put_if_absent("lock", b"mine") is Put.WON
    proxy.next = [fault]
    assert through.put_if_absent("lock", b"another's") is Put.LOST
    assert s3_store.read_bytes("lock") == b"mine"
    found = s3_store.find("lock")
    assert found is not None
    proxy.next = [fault]
    assert through.put_if_version("lock", b"next", found.version) is Put.WON
    proxy.next = [fault]
    assert through.put_if_version("lock", b"late", found.version) is Put.LOST
    assert s3_store.read_bytes("lock") == b"next"


def test_what_is_refused_for_good_is_asked_once(
    proxy: FaultProxy, s3_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not the secret")
    with pytest.raises(StoreError, match="accepted AWS keys"):
        Store(s3_store.uri).write_bytes("a", b"1")
    assert proxy.requests == 1


class Waits:
    """A clock on which nothing takes time but what is waited, and that takes none."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def test_patience_ends_with_the_last_error_and_the_number_of_tries(
    proxy: FaultProxy, s3_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Waits()
    monkeypatch.setattr(patience, "time", clock)
    monkeypatch.setenv("GOMS_STORE_PATIENCE_SECONDS", "20")
    proxy.share, proxy.faults = 1.0, ("503 SlowDown",)
    with pytest.raises(StoreError, match=r"an unhurried S3 server to write a .*SlowDown.*\(\d+ tries\)") as caught:
        Store(s3_store.uri).write_bytes("a", b"1")
    assert f"({proxy.requests} tries)" in str(caught.value)
    assert proxy.requests > 7, "0.1 s, 0.2 s... 6.4 s at the longest"
    assert 10 < clock.seconds <= 20
    assert not s3_store.exists("a")


def test_a_run_that_lost_its_cycle_does_not_go_on_trying(proxy: FaultProxy, s3_store: Store) -> None:
    """The permit is asked before every try, not once a request."""

    def permit() -> None:
        if proxy.requests:
            raise KeyError("lost")

    store = Store(s3_store.uri, permit)
    proxy.next = ["503 SlowDown"]
    for change in (lambda: store.write_bytes("a", b"1"), lambda: store.put_if_absent("a", b"1")):
        proxy.requests, proxy.next = 0, ["503 SlowDown"]
        with pytest.raises(KeyError):
            change()
        assert proxy.requests == 1
    assert not s3_store.exists("a")


# ------------------------------------------------------------------------------------------------------ whole runs


def test_a_run_publishes_the_same_bytes_though_one_request_in_ten_fails(
    forks: Forks, both_days: tuple[Store, Store], proxy: FaultProxy, s3_store: Store
) -> None:
    proxy.share = 0.1
    answer = forks.run(DAY, s3_store).finish()
    assert answer.code == 0, answer.err
    assert all(proxy.met[fault] > 0 for fault in FAULTS), proxy.met
    assert proxy.met.total() > 0.05 * proxy.requests
    assert published(s3_store) == published(both_days[0]) != {}
    newest = latest(s3_store, "small-sea")
    assert newest is not None
    assert newest.cycle == CYCLE.key


@pytest.mark.parametrize("passed", [40, 150], ids=["taking in", "forecasting"])
def test_a_run_outlives_the_loss_of_its_connection(
    forks: Forks, both_days: tuple[Store, Store], proxy: FaultProxy, s3_store: Store, passed: int
) -> None:
    with proxy.lost_for(LOSS_SECONDS, after=passed):
        answer = forks.run(DAY, s3_store).finish()
    assert answer.code == 0, answer.err
    assert proxy.met["away"] > 0
    assert published(s3_store) == published(both_days[0]) != {}


def test_a_loss_beyond_patience_is_a_sentence_and_the_next_run_publishes(
    forks: Forks, both_days: tuple[Store, Store], proxy: FaultProxy, s3_store: Store
) -> None:
    with proxy.lost_for(3600, after=100):
        answer = forks.run(DAY, s3_store, GOMS_STORE_PATIENCE_SECONDS="1").finish()
    assert answer.code == 6, answer.err
    assert answer.sentence.startswith("goms: needed an S3 server to ")
    assert "Traceback" not in answer.err
    assert publish.published(s3_store, CYCLE) is None
    assert latest(s3_store, "small-sea") is None
    again = forks.run(DAY, s3_store).finish()
    assert again.code == 0, again.err
    assert published(s3_store) == published(both_days[0]) != {}


# ------------------------------------------------------------------------------------------------------- full disk


@pytest.mark.parametrize("left_kilobytes", [0, 60, 300, 700], ids=["at once", "taking in", "forecasting", "drawing"])
def test_a_full_disk_is_a_sentence_shows_readers_nothing_and_once_freed_the_next_run_publishes(
    forks: Forks, both_days: tuple[Store, Store], small_disk: SmallDisk, left_kilobytes: int
) -> None:
    store = Store(small_disk.folder / "store")
    small_disk.leave(left_kilobytes)
    answer = forks.run(DAY, store).finish()
    assert answer.code == 6, answer
    assert "needed free space to " in answer.sentence
    assert "no space left on the device" in answer.sentence
    assert "free space or move the store, then run again" in answer.sentence
    assert "Traceback" not in answer.err
    assert publish.published(store, CYCLE) is None
    assert latest(store, "small-sea") is None
    assert [path for path in Path(store.uri).glob(".incoming/*") if path.is_file()] == []
    small_disk.free()
    again = forks.run(DAY, store).finish()
    assert again.code == 0, again.err
    assert published(store) == published(both_days[0]) != {}
