"""Slabs in the store: found again by what they are, whole or not at all, and removed by days."""

from __future__ import annotations

import gc
import pickle
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Thread

import numpy as np
import pytest

from pipeline.objects.slab_cache import PREFIX, SlabCache, slab_key
from pipeline.store import Store

TODAY = datetime(2025, 3, 4, 6, tzinfo=UTC)
SLAB = np.arange(12, dtype=np.int16).reshape(3, 4)


@pytest.mark.parametrize("array", [SLAB, SLAB.astype(np.float32), np.asfortranarray(SLAB), SLAB[:, :0]])
def test_what_is_put_is_found_again(any_store: Store, array: np.ndarray) -> None:
    SlabCache(any_store, TODAY).put("key", array)
    found = SlabCache(any_store, TODAY + timedelta(days=1)).get("key")
    assert found is not None
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_another_process_finds_it_too(any_store: Store) -> None:
    cache = SlabCache(any_store, TODAY)
    cache.put("key", SLAB)
    found = pickle.loads(pickle.dumps(cache)).get("key")
    np.testing.assert_array_equal(found, SLAB)


def test_what_was_never_put_is_absent(folder_store: Store) -> None:
    assert SlabCache(folder_store, TODAY).get("key") is None


@pytest.mark.parametrize("place", [0, 70, 140, -1])
def test_an_entry_with_one_wrong_bit_is_as_good_as_absent(folder_store: Store, place: int) -> None:
    cache = SlabCache(folder_store, TODAY)
    cache.put("key", SLAB)
    ((path, _),) = folder_store.objects(PREFIX)
    entry = bytearray(folder_store.read_bytes(path))
    entry[place] ^= 1
    folder_store.write_bytes(path, bytes(entry))
    assert cache.get("key") is None
    folder_store.write_bytes(path, bytes(entry[:50]))
    assert cache.get("key") is None
    folder_store.delete(path)
    assert cache.get("key") is None


def test_old_days_are_removed_whole_and_counted(any_store: Store) -> None:
    for days in (0, 2, 5):
        SlabCache(any_store, TODAY - timedelta(days=days)).put(f"key{days}", SLAB)
    sizes = dict(any_store.objects(PREFIX))
    cache = SlabCache(any_store, TODAY)
    freed = cache.prune(TODAY, timedelta(days=3))
    assert freed == sizes[f"{PREFIX}/20250227/key5"]
    assert [cache.get(key) is not None for key in ("key0", "key2", "key5")] == [True, True, False]


def test_keys_tell_every_fact_apart() -> None:
    facts = ("archive", "dataset", "water_temp", np.datetime64("2025-03-04T12"), 100.0, "version")
    others = [(*facts[:place], "x", *facts[place + 1 :]) for place in range(len(facts))]
    keys = {slab_key(*item) for item in (facts, *others, facts[:-1], ("archivedataset", *facts[2:]))}
    assert len(keys) == len(facts) + 3


class SlowlyListed(Store):
    """A store from which, while it is listed first, another thread puts an entry, or would like to."""

    other: Thread | None = None
    let_it: Callable[[], None]

    def objects(self, prefix: str) -> list[tuple[str, int]]:
        found = super().objects(prefix)
        if self.other is None:
            self.other = Thread(target=self.let_it)
            self.other.start()
            self.other.join(0.5)
        return found


def test_what_one_thread_puts_while_another_lists_is_not_lost(folder_store: Store) -> None:
    store = SlowlyListed(folder_store.uri)
    cache = SlabCache(store, TODAY)
    store.let_it = lambda: cache.put("key", SLAB)
    assert cache.get("another") is None
    assert store.other is not None
    store.other.join()
    assert cache.get("key") is not None


def test_threads_read_at_once(folder_store: Store) -> None:
    """A collection in the middle of one header lets another thread in, over which Python before 3.11.8 stumbles."""
    cache = SlabCache(folder_store, TODAY)
    cache.put("key", SLAB)
    let_others_in, threshold = (lambda *_: time.sleep(0)), gc.get_threshold()
    gc.callbacks.append(let_others_in)
    gc.set_threshold(20, 10_000, 10_000)
    try:
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(lambda _: cache.get("key"), range(400)))
    finally:
        gc.set_threshold(*threshold)
        gc.callbacks.remove(let_others_in)
    assert all(one is not None and np.array_equal(one, SLAB) for one in found)
