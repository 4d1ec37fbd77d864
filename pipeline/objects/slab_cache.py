"""Slabs that were fetched from the archives, kept in the store under keys that name their content.

A fetch that was killed goes on where it stopped: what is here is not fetched again. Nothing here is needed once the
ocean of a cycle is regridded, so entries lie in a folder of the day they were kept, and old days are removed whole.
"""

from __future__ import annotations

import hashlib
import io
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import npy
from pipeline.store import Store

PREFIX = "cache/slabs"
DAY = "%Y%m%d"
DIGEST_BYTES = 64
"""An entry begins with the SHA-256 of the rest, in hexadecimal."""

_LISTING = Lock()


def slab_key(*facts: object) -> str:
    """The key of what these facts name: archive, dataset, variable, instant, level, box, the archive's version."""
    return hashlib.sha256("\n".join(map(str, facts)).encode()).hexdigest()


class SlabCache:
    """The slabs of a store; ``moment`` (aware) is now, and says under which day new entries are kept.

    May be used from several threads and sent to other processes. An entry that is damaged, or was removed meanwhile, is
    as good as absent.
    """

    def __init__(self, store: Store, moment: datetime) -> None:
        self.store = store
        self._day = moment.astimezone(UTC).strftime(DAY)
        self._paths: dict[str, str] | None = None

    def get(self, key: str) -> NDArray[Any] | None:
        """The array kept under the key, whole and as it was put, or ``None``."""
        path = self._kept().get(key)
        found = self.store.find(path) if path else None
        return None if found is None else _unpacked(found.data)

    def put(self, key: str, array: NDArray[Any]) -> None:
        """Keep an array under the key: it is safe on return."""
        path = f"{PREFIX}/{self._day}/{key}"
        self.store.write_bytes(path, _packed(array))
        self._kept()[key] = path

    def outdated(self, moment: datetime, older_than: timedelta) -> dict[str, int]:
        """The days whose entries are older than this at ``moment``, with their bytes."""
        oldest = (moment.astimezone(UTC) - older_than).strftime(DAY)
        days = [day for day in self.store.folders(PREFIX) if day < oldest]
        return {day: sum(size for _, size in self.store.objects(f"{PREFIX}/{day}")) for day in days}

    def prune(self, moment: datetime, older_than: timedelta) -> int:
        """Remove every day's entries that are older than this at ``moment``; the bytes that were freed."""
        found = self.outdated(moment, older_than)
        for day in found:
            self.store.delete(f"{PREFIX}/{day}")
        self._paths = None
        return sum(found.values())

    def _kept(self) -> dict[str, str]:
        """Where each entry lies; listed once, or an entry that one thread put is lost to another's older list."""
        with _LISTING:
            if self._paths is None:
                self._paths = {path.rpartition("/")[2]: path for path, _ in self.store.objects(PREFIX)}
            return self._paths


def _packed(array: NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    content = stream.getbuffer()
    return hashlib.sha256(content).hexdigest().encode() + content


def _unpacked(entry: bytes) -> NDArray[Any] | None:
    """The array, or ``None`` where the bytes are not the ones that were put."""
    digest, content = entry[:DIGEST_BYTES], memoryview(entry)[DIGEST_BYTES:]
    if hashlib.sha256(content).hexdigest().encode() != digest:
        return None
    with npy.opened(io.BytesIO(content)) as found:
        array: NDArray[Any] = found
    return array
