"""A product as Zarr v3 objects: metadata for all lead days first, then one shard for one lead day of one variable.

Encoding is pure: the same product gives the same bytes. Only codecs of the Zarr v3 specification are used, which
zarr-python, tensorstore, zarrs and zarrita read.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import google_crc32c
import numcodecs.blosc  # type: ignore[import-untyped]
import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec
from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.errors import ZarrUserWarning
from zarr.storage import MemoryStore

from pipeline import produce
from pipeline.cycle import Cycle
from pipeline.errors import CheckFailed
from pipeline.produce import Facts
from pipeline.products import ProductEntry
from pipeline.systems import System
from pipeline.variables import Variable

EPOCH = np.datetime64("1950-01-01T00:00:00", "ns")
TIME_ATTRIBUTES = {"units": "hours since 1950-01-01 00:00:00", "calendar": "standard"}
"""Times on disk: whole hours since the epoch that ocean products commonly count from."""
LEAP_SECONDS = {"units_metadata": "leap_seconds: none"}
"""CF-1.11 4.4: every day has 86400 seconds."""
QUANTIZATION = "quantization_info"
HOW_QUANTIZED: dict[str, Any] = {
    "algorithm": "bitround", "implementation": "GOMS, pipeline.precision: to nearest, ties to even",
}  # fmt: skip
"""CF-1.12 8.4, which an earlier convention's readers pass over: a variable without data says how fields were rounded,
and each of them to how many bits of the mantissa (``quantization_nsb``)."""
COMPRESSION = BloscCodec(typesize=4, cname="zstd", clevel=1, shuffle="bitshuffle", blocksize=1 << 22)
"""A fifth smaller than lz4 at half its speed, still several times faster than an object store takes the bytes. Rounded
fields have bits that are all zero, which shuffling by bits gathers; a block is a whole level, for smaller ones are
slower and pack less (``python -m tests.benchmarks.writing --codecs``)."""

numcodecs.blosc.use_threads = False  # Blosc's own threads store blocks in the order they finish: other bytes each time
_BLOSC = numcodecs.blosc.Blosc(
    cname=COMPRESSION.cname.value, clevel=COMPRESSION.clevel, shuffle=numcodecs.blosc.Blosc.BITSHUFFLE,
    blocksize=COMPRESSION.blocksize, typesize=COMPRESSION.typesize,
)  # fmt: skip

Chunk = NDArray[np.float32]
Each = Callable[[Callable[[Chunk], bytes], Iterable[Chunk]], Iterable[bytes]]
"""``map``, or that of a pool of threads: compression leaves the interpreter's lock to others."""

NOWHERE = np.uint64(2**64 - 1)
"""In a shard's index: there is no such chunk."""


class Blocks(NamedTuple):
    """How an array is cut: what is compressed and read together, and what is one object."""

    chunk: tuple[int, ...]
    shard: tuple[int, ...]


class Shards:
    """The objects of one product of one cycle, encoded and decoded in memory, one shard at a time."""

    def __init__(self, entry: ProductEntry, system: System, cycle: Cycle, facts: Facts) -> None:
        self.entry = entry
        self.lead_days = range(system.forecast_days + 1)
        self._objects, self._arrays = described(entry, produce.layout(entry, system, cycle, facts), by_lead_day)
        self._metadata = {path: item.to_bytes() for path, item in sorted(self._objects.items())}

    @property
    def metadata(self) -> dict[str, bytes]:
        """Everything but the fields: Zarr metadata and coordinates, by path within the product."""
        return self._metadata

    def path(self, name: str, lead_day: int) -> str:
        """Where the shard of a variable and lead day lies within the product."""
        rank = len(self._arrays[name].shape)
        return f"{name}/c/{lead_day}" + "/0" * (rank - 1)

    @property
    def paths(self) -> list[str]:
        """Every object the finished product consists of."""
        fields = [self.path(item.name, lead) for item in self.entry.variables for lead in self.lead_days]
        return sorted([*self._metadata, *fields])

    def encode(self, name: str, lead_day: int, values: NDArray[np.float32], each: Each = map) -> bytes:
        """The shard's bytes. ``values``: (1, depth, latitude, longitude) or (1, latitude, longitude)."""
        wanted = (1, *self._arrays[name].shape[1:])
        if values.shape != wanted or values.dtype != np.float32 or lead_day not in self.lead_days:
            raise ValueError(
                f"{name} of lead day {lead_day}: needs float32 {wanted}, got {values.dtype} {values.shape}"
            )
        return sharded(list(each(compressed, values.reshape(-1, *wanted[-2:]))))

    def decode(self, name: str, lead_day: int, data: bytes) -> NDArray[np.float32]:
        """The values in a shard's bytes, without the time dimension; ``CheckFailed`` where they cannot be decoded."""
        path = self.path(name, lead_day)
        self._objects[path] = default_buffer_prototype().buffer.from_bytes(data)
        try:
            return np.asarray(self._arrays[name][lead_day])
        except (ValueError, RuntimeError, OSError) as error:
            raise CheckFailed(
                f"a shard of {name} that decodes", found=f"{type(error).__name__}: {error}",
                where=f"{self.entry.name}.zarr/{path}", action="publish the cycle again",
            ) from error  # fmt: skip
        finally:
            del self._objects[path]

    def opened(self, metadata: dict[str, bytes]) -> xr.Dataset:
        """What a reader sees of a product with this metadata, fields not read."""
        buffers = {path: default_buffer_prototype().buffer.from_bytes(data) for path, data in metadata.items()}
        dataset: xr.Dataset = xr.open_zarr(MemoryStore(buffers), chunks=None)
        return dataset


def by_lead_day(shape: tuple[int, ...]) -> Blocks:
    """One shard is one lead day; one chunk in it is one level, so that a map is one ranged read."""
    return Blocks((*[1] * (len(shape) - 2), *shape[-2:]), (1, *shape[1:]))


def described(
    entry: ProductEntry, frame: xr.Dataset, blocks: Callable[[tuple[int, ...]], Blocks]
) -> tuple[dict[str, Buffer], dict[str, zarr.Array[Any]]]:
    """A product without its fields as objects by path, and its fields' arrays over them.

    ``frame``: coordinates and attributes (``produce.layout``). ``blocks``: how an array of a shape is cut.
    """
    objects = dict[str, Buffer]()
    memory = MemoryStore(objects)
    group = zarr.create_group(memory, zarr_format=3, attributes=_root_attributes(frame))
    for name in frame.variables:
        _coordinate(group, str(name), frame.variables[name])
    sizes = {str(dim): int(size) for dim, size in frame.sizes.items()}
    group.create_array(QUANTIZATION, shape=(), dtype="int8", compressors=None, fill_value=0, attributes=HOW_QUANTIZED,
                       dimension_names=[], config={"write_empty_chunks": True})[...] = 0  # fmt: skip
    arrays = {item.name: _field(group, item, entry, sizes, blocks) for item in entry.variables}
    with warnings.catch_warnings():  # says that other readers may ignore it, which costs them only time
        warnings.simplefilter("ignore", ZarrUserWarning)
        zarr.consolidate_metadata(memory, zarr_format=3)
    return objects, arrays


def compressed(chunk: Chunk) -> bytes:
    """One chunk's bytes: little-endian, then Blosc. Several threads may be at it."""
    return bytes(_BLOSC.encode(np.ascontiguousarray(chunk, dtype="<f4")))


def sharded(chunks: Sequence[bytes | None]) -> bytes:
    """A shard of chunks in C order: all of them, then where each begins and how long it is, then a CRC-32C of that.

    The specification's ``sharding_indexed`` with its index at the end, as zarr-python writes a column of chunks, to
    the byte. ``None``: a chunk beyond the array.
    """
    there = np.array([chunk is not None for chunk in chunks])
    sizes = np.array([len(chunk or b"") for chunk in chunks], dtype="<u8")
    places = np.where(there[:, None], np.stack([np.cumsum(sizes) - sizes, sizes], axis=1), NOWHERE)
    index = places.astype("<u8").tobytes()
    return b"".join([*(chunk or b"" for chunk in chunks), index, google_crc32c.value(index).to_bytes(4, "little")])


def _root_attributes(frame: xr.Dataset) -> dict[str, Any]:
    """Global attributes; ``coordinates`` makes xarray take what is no field for coordinates."""
    bounds = [str(name) for name in frame.variables if "_bounds" in str(name)]
    return {**frame.attrs, "coordinates": " ".join([*bounds, QUANTIZATION])}


def _coordinate(group: zarr.Group, name: str, variable: xr.Variable) -> None:
    values, attributes = variable.values, dict(variable.attrs)
    if np.issubdtype(values.dtype, np.datetime64):
        values = ((values - EPOCH) // np.timedelta64(1, "h")).astype(np.int32)
        attributes |= TIME_ATTRIBUTES | LEAP_SECONDS
    array = group.create_array(
        name, shape=values.shape, chunks=values.shape or "auto", dtype=values.dtype, compressors=None,
        fill_value=0 if values.dtype.kind == "i" else np.nan, attributes=attributes,
        dimension_names=[str(dim) for dim in variable.dims], config={"write_empty_chunks": True},
    )  # fmt: skip
    array[...] = values


def _field(
    group: zarr.Group, item: Variable, entry: ProductEntry, sizes: dict[str, int],
    blocks: Callable[[tuple[int, ...]], Blocks],
) -> zarr.Array[Any]:  # fmt: skip
    """Chunks of nothing but land are written too: an object that is not there is a loss, never a convention."""
    dims = produce.dims(item, entry)
    shape = tuple(sizes[dim] for dim in dims)
    cut = blocks(shape)
    attributes = produce.field_attributes(item, entry) | {
        "coordinates": produce.auxiliary_coordinates(item, entry),
        "quantization": QUANTIZATION, "quantization_nsb": item.mantissa_bits,
    }  # fmt: skip
    return group.create_array(
        item.name, shape=shape, dtype="float32", shards=cut.shard, chunks=cut.chunk,
        compressors=[COMPRESSION], fill_value=np.nan, attributes=attributes, dimension_names=dims,
        config={"write_empty_chunks": True},
    )  # fmt: skip
