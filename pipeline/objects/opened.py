"""A product of ours as xarray sees it, read through the store's own door: with its patience and its sentences.

What is missing is an error here. To Zarr a shard that is not there is one without values, and nobody would know.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

import xarray as xr
import zarr.abc.store
from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype

from pipeline.errors import CheckFailed
from pipeline.store import Store


def opened(store: Store, path: str, chunks: dict[str, int] | None = None) -> xr.Dataset:
    """The Zarr store under a path, lazily; ``CheckFailed`` where something of it is not there.

    ``chunks``: those of dask (``{}``: a map of one level at a time); none: without dask.
    """
    if not store.exists(f"{path}/zarr.json"):
        raise _missing(store, f"{path}/zarr.json")
    dataset: xr.Dataset = xr.open_zarr(_Door(store, path), chunks=chunks, zarr_format=3)
    return dataset


class _Door(zarr.abc.store.Store):
    """The objects under a path of our store, for Zarr to read."""

    supports_writes = supports_deletes = supports_listing = False

    def __init__(self, store: Store, path: str) -> None:
        super().__init__(read_only=True)
        self._store, self._path = store, path

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Door) and (self._store.uri, self._path) == (other._store.uri, other._path)

    def __hash__(self) -> int:
        return hash((self._store.uri, self._path))

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """The bytes asked for; ``CheckFailed`` for a shard that is not there."""
        data = await asyncio.to_thread(self._store.find_part, f"{self._path}/{key}", *_bounds(byte_range))
        if data is None and "c" in key.split("/")[1:]:  # of a scalar the only chunk is its key and no more
            raise _missing(self._store, f"{self._path}/{key}")
        return None if data is None else (prototype or default_buffer_prototype()).buffer.from_bytes(data)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Several parts."""
        return await asyncio.gather(*(self.get(key, prototype, byte_range) for key, byte_range in key_ranges))

    async def exists(self, key: str) -> bool:
        """Whether an object is there."""
        return await asyncio.to_thread(self._store.exists, f"{self._path}/{key}")

    async def set(self, key: str, value: Buffer) -> None:
        """Refuses: what is read here is not written."""
        self._check_writable()

    async def delete(self, key: str) -> None:
        """Refuses: what is read here is not removed."""
        self._check_writable()

    async def list(self) -> AsyncIterator[str]:
        """Every object."""
        async for key in self.list_prefix(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Every object under a prefix."""
        cut = len(self._path) + 1
        for path, _ in await asyncio.to_thread(self._store.objects, f"{self._path}/{prefix}"):
            yield path[cut:]

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Names directly under a prefix."""
        for name in await asyncio.to_thread(self._store.folders, f"{self._path}/{prefix}"):
            yield name


def _bounds(part: ByteRequest | None) -> tuple[int, int | None]:
    """First byte and the one after the last, as ``Store.find_part`` takes them."""
    if isinstance(part, RangeByteRequest):
        return part.start, part.end
    if isinstance(part, SuffixByteRequest):
        return -part.suffix, None
    return (part.offset if isinstance(part, OffsetByteRequest) else 0), None


def _missing(store: Store, path: str) -> CheckFailed:
    return CheckFailed(
        f"the object {path}", found="nothing there", where=f"the store {store.uri}",
        action="restore it from a copy, or make the next revision: goms run DATE --supersede REASON",
    )  # fmt: skip
