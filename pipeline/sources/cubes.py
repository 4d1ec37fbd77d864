"""Zarr stores at an address, read chunk by chunk: what is absent is absent, never a fill value.

The Zarr library reads a missing chunk as fill values without a word. Here the wanted objects are fetched first, each
whole or not there, and the library decodes no others. Formats 2 (consolidated) and 3 are known.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.buffer import cpu
from zarr.storage import MemoryStore

from pipeline.errors import InputRefused
from pipeline.sources.transfer import Asked, Part, fetch, join, shown, unavailable

CONSOLIDATED = (".zmetadata", "zarr.json")
"""What tells of a whole store, in format 2 and in format 3."""


class Place(NamedTuple):
    """One chunk: its array and its position in the array's grid of chunks."""

    name: str
    position: tuple[int, ...]


class Cube:
    """One store. ``archive``: its name in sentences; every call has the deadline to itself."""

    def __init__(self, address: str, archive: str, deadline_seconds: float) -> None:
        """Fetch the consolidated metadata; ``InputUnavailable`` where there are none, ``InputRefused`` if not such."""
        self.address, self.archive, self.deadline_seconds = address, archive, deadline_seconds
        parts = self._fetch(CONSOLIDATED)
        found = next((part for part in parts if part is not None), None)
        if found is None:
            raise unavailable(archive, "neither .zmetadata nor zarr.json: no Zarr store is there", address)
        self.metadata = found.record(f"{shown(address)}/{shown(found.asked.url).rsplit('/', 1)[-1]}")
        self._objects = self._described(found, old=found is parts[0])
        try:
            self._group = self._open()
            self.attrs: dict[str, Any] = dict(self._group.attrs)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._refused("the metadata of a Zarr store", str(error)) from error

    def names(self) -> tuple[str, ...]:
        """Every array's name."""
        return tuple(sorted(name for name, _ in self._group.arrays()))

    def array(self, name: str) -> zarr.Array[Any]:
        """An array's metadata; ``InputRefused`` where the store has none of this name."""
        if name not in self.names():
            raise self._refused(f"an array {name}", f"only {', '.join(self.names()) or 'none'}")
        found = self._group[name]
        assert isinstance(found, zarr.Array)
        return found

    def dims(self, name: str) -> tuple[str, ...]:
        """The names of an array's dimensions."""
        array = self.array(name)
        given: Any = array.attrs.get("_ARRAY_DIMENSIONS") or getattr(array.metadata, "dimension_names", None) or ()
        return tuple(map(str, given))

    def chunks(self, places: Iterable[Place]) -> dict[Place, tuple[NDArray[Any], Part] | None]:
        """The values of chunks, cut at the array's end, with the bytes they came from; ``None`` where not there."""
        wanted = tuple(places)
        keys = [f"{place.name}/{self.array(place.name).metadata.encode_chunk_key(place.position)}" for place in wanted]
        parts = self._fetch(keys)
        held = {key: part.data for key, part in zip(keys, parts, strict=True) if part is not None}
        self._objects |= held
        self._group = self._open()
        read = {
            place: None if part is None else (self._decoded(place), part)
            for place, part in zip(wanted, parts, strict=True)
        }
        for key in held:
            del self._objects[key]
        return read

    def whole(self, name: str) -> NDArray[Any]:
        """A coordinate, all its chunks; ``InputRefused`` where one of them is not there."""
        array = self.array(name)
        counts = [-(-size // chunk) for size, chunk in zip(array.shape, array.chunks, strict=True)]
        places = [Place(name, tuple(map(int, index))) for index in np.ndindex(*counts)]
        found = self.chunks(places)
        if None in found.values():
            raise self._refused(f"every chunk of {name}", "some that are not there")
        return np.concatenate([item[0] for item in found.values() if item is not None])

    def _decoded(self, place: Place) -> NDArray[Any]:
        array = self.array(place.name)
        box = tuple(
            slice(index * chunk, min((index + 1) * chunk, size))
            for index, chunk, size in zip(place.position, array.chunks, array.shape, strict=True)
        )
        try:
            return np.asarray(array[box])
        except (RuntimeError, ValueError, TypeError) as error:
            raise self._refused(
                f"chunk {place.position} of {place.name}", f"bytes that do not decode ({error})"
            ) from error

    def _fetch(self, keys: Iterable[str]) -> list[Part | None]:
        asked = [Asked(join(self.address, key)) for key in keys]
        return fetch(asked, archive=self.archive, deadline_seconds=self.deadline_seconds)

    def _described(self, part: Part, *, old: bool) -> dict[str, bytes]:
        try:
            document = json.loads(part.data)
            if not old:
                return {"zarr.json": part.data}
            return {str(key): json.dumps(value).encode() for key, value in document["metadata"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._refused("the metadata of a Zarr store as JSON", str(error)) from error

    def _open(self) -> zarr.Group:
        store = MemoryStore({key: cpu.Buffer.from_bytes(data) for key, data in self._objects.items()}, read_only=True)
        return zarr.open_group(store, mode="r", zarr_format=3 if "zarr.json" in self._objects else 2)

    def _refused(self, needed: str, found: str) -> InputRefused:
        return InputRefused(
            f"{needed} of {self.archive}", found=found, where=shown(self.address),
            action="fetch it again, or tell its provider",
        )  # fmt: skip
