"""Missing values of a published product, counted again from its shards, beside its system's land mask."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.storage import MemoryStore

from pipeline import products, systems
from pipeline.earth import landmask
from pipeline.errors import GomsError
from pipeline.forecast import Masks
from pipeline.output_gate import channels_of

Mask = NDArray[np.bool_]
_SHARD = re.compile(r"(?P<name>[^/]+)/c/(?P<place>[\d/]+)")


class Share(NamedTuple):
    """The largest share of ocean cells without a value that one shard of a variable has; and land cells with one."""

    missing: float
    on_land: int


class Gaps:
    """Counts one product's missing values, shard by shard, in the order they come.

    ``metadata``: every object of the product that is no shard of a field, by its path within. Cells are land where
    the system's mask says so; of a system that is not known here, where the first shard seen has no value.
    """

    def __init__(self, metadata: Mapping[str, bytes], system: str, product: str, masks: Masks | None = None) -> None:
        self._objects: dict[str, Buffer] = {path: _buffer(data) for path, data in metadata.items()}
        group = zarr.open_group(MemoryStore(self._objects), mode="r", zarr_format=3)
        self._arrays: dict[str, zarr.Array[Any]] = {
            name: array for name, array in group.arrays() if "time" in dims(array) and "latitude" in dims(array)
        }
        self._ocean = {name: _ocean(system, product, name, masks) for name in self._arrays}
        self._seen: dict[tuple[str, str], Mask] = {}
        self.shares: dict[str, Share] = dict.fromkeys(self._arrays, Share(0.0, 0))

    @property
    def by_mask(self) -> bool:
        """Whether all variables were compared with a land mask."""
        return all(mask is not None for mask in self._ocean.values())

    def is_field(self, path: str) -> bool:
        """Whether the object of this path within the product is a shard of a field."""
        found = _SHARD.fullmatch(path)
        return found is not None and found["name"] in self._arrays

    def count(self, path: str, data: bytes) -> None:
        """Take in one shard; ``ValueError``, ``RuntimeError`` or ``OSError`` where it cannot be decoded."""
        found = _SHARD.fullmatch(path)
        assert found is not None
        name, array = found["name"], self._arrays[found["name"]]
        place = [int(number) for number in found["place"].split("/")]
        shape = array.shards or array.chunks
        region = tuple(slice(at * size, (at + 1) * size) for at, size in zip(place, shape, strict=True))
        self._objects[path] = _buffer(data)
        try:
            missing = np.isnan(np.asarray(array[region]))
        finally:
            del self._objects[path]
        ocean = self._ocean_of(name, dims(array), region, missing)
        share = Share(float((missing & ocean).sum() / max(1, ocean.sum())), int((~missing & ~ocean).sum()))
        before = self.shares[name]
        self.shares[name] = Share(max(before.missing, share.missing), before.on_land + share.on_land)

    def _ocean_of(self, name: str, names: tuple[str, ...], region: tuple[slice, ...], missing: Mask) -> Mask:
        mask = self._ocean[name]
        inner = tuple(part for part, dim in zip(region, names, strict=True) if dim != "time")
        if mask is None:
            first = self._seen.setdefault((name, str(inner)), np.asarray(~missing.all(axis=names.index("time"))))
        else:
            first = mask[inner] if len(inner) == mask.ndim else mask[0][inner]
        return np.broadcast_to(np.expand_dims(first, names.index("time")), missing.shape)


def dims(array: zarr.Array[Any]) -> tuple[str, ...]:
    """The names of an array's dimensions."""
    return tuple(str(name) for name in getattr(array.metadata, "dimension_names", None) or ())


def _ocean(system: str, product: str, name: str, masks: Masks | None) -> Mask | None:
    """True on ocean, (depth, latitude, longitude); ``None`` where the system's land is not known here."""
    try:
        entry, state = systems.system(system), products.product(product).state
        rows = [at for at, label in enumerate(channels_of(state, entry)) if label.variable == name]
        mask = landmask.ocean_mask(entry, state) if masks is None else masks[state]
    except (GomsError, KeyError):
        return None
    return mask[rows[0] : rows[-1] + 1] if rows else None


def _buffer(data: bytes) -> Buffer:
    return default_buffer_prototype().buffer.from_bytes(data)
