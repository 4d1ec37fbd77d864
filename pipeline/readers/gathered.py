"""One product of all cycles as one Zarr group: init_time x lead_day x [depth] x latitude x longitude.

A shard of a published product has the very bytes that a shard of one cycle has here, because the new dimension is of
length one in it: nothing is decoded. What a product says of itself travels along ``init_time``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import numpy as np
import zarr
import zarr.abc.store
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from pipeline.cycle import from_key
from pipeline.edition import ROOT
from pipeline.errors import CheckFailed, UsageError
from pipeline.publish import Manifest
from pipeline.readers.public import Published
from pipeline.shards import LEAP_SECONDS, TIME_ATTRIBUTES
from pipeline.store import ObjectRecord, to_json

INIT_TIME, LEAD_DAY, VALID_TIME = "init_time", "lead_day", "valid_time"
CYCLES_IN_CHUNK = 256
"""Cycles of a variable along ``init_time`` alone that are read together."""
LAYOUT = "layout_sha256"
_EPOCH = from_key("", "19500101T00").start
_OF_ONE_CYCLE = ("time", "forecast_reference_time")
"""A product's variables that differ from cycle to cycle: here ``valid_time`` and ``init_time``."""
_OF_EVERY_CYCLE = (
    "Conventions", "summary", "keywords", "keywords_vocabulary", "standard_name_vocabulary", "naming_authority",
    "processing_level", "cdm_data_type", "project", "program", "platform", "platform_vocabulary", "instrument",
    "instrument_vocabulary", "references", "metadata_link", "license", "institution", "creator_name",
    "creator_institution", "creator_type", "creator_url", "creator_email", "publisher_name", "publisher_institution",
    "publisher_type", "publisher_url", "publisher_email", "forecast_system", "real_ocean", "ocean",
)  # fmt: skip
"""Global attributes of the newest cycle that are the group's own; all of each cycle are in ``product_attributes``."""
_MUST_STAY = ("forecast_system", "real_ocean", "ocean")
_TIME = TIME_ATTRIBUTES | LEAP_SECONDS
_COLUMNS: dict[str, tuple[str, dict[str, Any]]] = {
    INIT_TIME: ("int32", {"standard_name": "forecast_reference_time", "long_name": "start of the forecast"} | _TIME),
    "revision": ("int16", {"long_name": "revision of the cycle"}),
    "published": ("int64", {"long_name": "when it was published", "units": "seconds since 1970-01-01 00:00:00",
                            "calendar": "standard"} | LEAP_SECONDS),
    "degraded": ("bool", {"long_name": "whether the product is less than its system asks for"}),
    "degraded_reasons": ("string", {"long_name": "why it is degraded"}),
    "forecaster": ("string", {"long_name": "what made the forecast"}),
    "forecaster_checkpoint_sha256": ("string", {"long_name": "SHA-256 of the forecaster's checkpoint"}),
    "forecaster_trained_on": ("string", {"long_name": "what the forecaster was trained on"}),
    "future_forcing": ("string", {"long_name": "what was known of the future atmosphere"}),
    "product_attributes": ("string", {"long_name": "all global attributes of the published product, as JSON"}),
    "edition": ("string", {"long_name": "where it was published"}),
    "manifest_sha256": ("string", {"long_name": "SHA-256 that the edition's manifest gives itself"}),
    "copied": ("bool", {"long_name": "whether the values are in this archive, not in the published forecast"}),
    "withdrawn": ("bool", {"long_name": "whether the edition is no longer published: values are there only if copied"}),
}  # fmt: skip
"""What is known of each cycle: its type on disk and its attributes."""
_EMPTY = {"string": "", "bool": False}


class Entry(NamedTuple):
    """A cycle in an archive, as one product has it."""

    key: str
    revision: int
    copied: bool
    withdrawn: bool
    edition: str


class Shard(NamedTuple):
    """A shard of a published product: its variable, which one, and its record beside the manifest."""

    name: str
    place: tuple[int, ...]
    record: ObjectRecord


class Cut(NamedTuple):
    """A published product without its fields: ``said`` its global attributes, ``fixed`` what is the same every cycle.

    ``arrays``: the Zarr metadata of every variable; ``digests``: of what must not change from cycle to cycle.
    """

    manifest: Manifest
    product: str
    said: dict[str, Any]
    arrays: dict[str, dict[str, Any]]
    fixed: tuple[Shard, ...]
    shards: tuple[Shard, ...]
    digests: dict[str, str]


def cut(found: Published, manifest: Manifest, product: str) -> Cut:
    """A product of an edition, from its metadata alone; ``CheckFailed`` where that is not what was published."""
    prefix = f"{manifest.products[product].path}/"
    records = {item.path.removeprefix(prefix): item for item in manifest.objects if item.path.startswith(prefix)}
    root = json.loads(unaltered(found, records[ROOT]))
    arrays = root["consolidated_metadata"]["metadata"]
    parts = [Shard(name, tuple(int(number) for number in place.split("/") if number), item)
             for path, item in records.items() for name, there, place in [path.partition("/c")] if there]  # fmt: skip
    shards = tuple(item for item in parts if len(arrays[item.name].get("dimension_names") or ()) > 2
                   and arrays[item.name]["dimension_names"][0] == "time")  # fmt: skip
    fixed = tuple(item for item in parts if item not in shards and item.name not in _OF_ONE_CYCLE)
    digests = {name: _digest([array, *(item.record.sha256 for item in fixed if item.name == name)])
               for name, array in arrays.items() if name not in _OF_ONE_CYCLE}  # fmt: skip
    digests |= {name: _digest(root["attributes"].get(name)) for name in _MUST_STAY}
    return Cut(manifest, product, root["attributes"], arrays, fixed, shards, digests)


def unaltered(found: Published, record: ObjectRecord) -> bytes:
    """The bytes of an object as its manifest tells of it; ``CheckFailed`` where it has others, or is gone."""
    there = found.store.find(found.path(record.path))
    if there is None or hashlib.sha256(there.data).hexdigest() != record.sha256:
        raise CheckFailed(
            f"{record.path} as it was published", found="nothing there" if there is None else "other bytes",
            where=found.address, action="see what is wrong with the edition: goms check",
        )  # fmt: skip
    return there.data


def entries(store: zarr.abc.store.Store, product: str) -> list[Entry]:
    """The cycles of a product, in order; none where the archive has no such product."""
    group = _group(store, product)
    if group is None:
        return []
    arrays = dict(group.arrays())
    columns = [arrays[name][:] for name in (INIT_TIME, "revision", "copied", "withdrawn", "edition")]
    rows = zip(*(np.asarray(column).tolist() for column in columns), strict=True)
    return [Entry(_key(hours), *rest) for hours, *rest in rows]


def products(store: zarr.abc.store.Store) -> list[str]:
    """The products of an archive."""
    try:
        return sorted(zarr.open_group(store, mode="r", zarr_format=3).group_keys())
    except FileNotFoundError:
        return []


def add(store: zarr.abc.store.Store, found: Published, product: Cut, position: int, *, new: bool, copied: bool) -> None:
    """Say all that is known of a cycle at a place along ``init_time``: a new place, or that of what it replaces.

    ``UsageError`` where the product is laid out otherwise than the archive's. Its fields are the caller's to write.
    """
    group = _group(store, product.product)
    if group is None:
        group = _created(store, found, product)
    _check_layout(group, product)
    row = _row(found, product, copied)
    arrays = dict(group.arrays())
    for name in (*_COLUMNS, VALID_TIME):
        array = arrays[name]
        after = np.asarray(array[position:]) if new and position < array.shape[0] else None
        if new:
            array.resize((array.shape[0] + 1, *array.shape[1:]))
        array[position] = row[name]
        if after is not None:
            array[position + 1 :] = after
    for name in sorted({item.name for item in product.shards}) if new else ():
        arrays[name].resize((arrays[name].shape[0] + 1, *arrays[name].shape[1:]))
    group.update_attributes({name: product.said[name] for name in _OF_EVERY_CYCLE if name in product.said})


def withdraw(store: zarr.abc.store.Store, product: str, position: int) -> None:
    """Say that a cycle is no longer published."""
    group = _group(store, product)
    assert group is not None
    _array(group, "withdrawn")[position] = True


def chunks(store: zarr.abc.store.Store, product: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Variable and index within a cycle of every chunk that a cycle of a product has."""
    group = _group(store, product)
    assert group is not None
    for name, array in sorted(group.arrays()):
        if array.ndim > 3:
            grid = [-(-size // part) for size, part in zip(array.shape, array.shards or array.chunks, strict=True)]
            yield from ((name, cast("tuple[int, ...]", index)) for index in np.ndindex(*grid[1:]))


def key(product: str, name: str, position: int, index: tuple[int, ...]) -> str:
    """Where Zarr looks for a chunk of a cycle."""
    return f"{product}/{name}/c/{'/'.join(map(str, (position, *index)))}"


def put(store: zarr.abc.store.Store, path: str, data: bytes) -> None:
    """Put an object as it is."""
    sync(store.set(path, default_buffer_prototype().buffer.from_bytes(data)))


def get(store: zarr.abc.store.Store, path: str) -> bytes:
    """An object that must be there."""
    data = sync(store.get(path, default_buffer_prototype()))
    assert data is not None, path
    return data.to_bytes()


def _created(store: zarr.abc.store.Store, found: Published, product: Cut) -> zarr.Group:
    """The product's group without a cycle."""
    fixed = sorted(product.arrays.keys() - set(_OF_ONE_CYCLE) - {item.name for item in product.shards})
    beside = [VALID_TIME, *(name for name in _COLUMNS if name != INIT_TIME)]
    kept = [name for name in fixed if "_bounds" in name or name == "quantization_info"]
    attributes: dict[str, Any] = {
        "title": f"{product.manifest.system}: {product.product}, all forecasts, by start and lead day",
        "coordinates": " ".join([*kept, *beside]), LAYOUT: product.digests,
    }  # fmt: skip
    group = zarr.create_group(store, path=product.product, zarr_format=3, attributes=attributes)
    for name in sorted({item.name for item in product.shards}):
        put(store, f"{product.product}/{name}/zarr.json", to_json(_field(product.arrays[name])))
    for name in fixed:
        array = product.arrays[name]
        if name == "forecast_period":
            array = array | {"dimension_names": [LEAD_DAY]}
        put(store, f"{product.product}/{_renamed(name)}/zarr.json", to_json(array))
    for item in product.fixed:
        path = "/".join(map(str, ("c", *item.place)))
        put(store, f"{product.product}/{_renamed(item.name)}/{path}", unaltered(found, item.record))
    for name, (kind, attributes) in _COLUMNS.items():
        group.create_array(name, shape=(0,), chunks=(CYCLES_IN_CHUNK,), dtype=kind, fill_value=_EMPTY.get(kind, 0),
                           attributes=attributes, dimension_names=[INIT_TIME])  # fmt: skip
    leads = product.manifest.lead_days + 1
    valid: dict[str, Any] = {"standard_name": "time", "long_name": "valid time"} | _TIME
    group.create_array(
        VALID_TIME, shape=(0, leads), chunks=(CYCLES_IN_CHUNK, leads), dtype="int32", fill_value=0, attributes=valid,
        dimension_names=[INIT_TIME, LEAD_DAY],
    )  # fmt: skip
    return group


def _field(array: dict[str, Any]) -> dict[str, Any]:
    """A field's metadata with the new dimension before all others, of length one in every chunk and shard."""
    grid, codec = array["chunk_grid"], array["codecs"][0]
    inner = codec["configuration"] | {"chunk_shape": [1, *codec["configuration"]["chunk_shape"]]}
    depth = ["depth"] if "depth" in array["attributes"].get("coordinates", "").split() else []
    return array | {
        "shape": [0, *array["shape"]], "dimension_names": [INIT_TIME, LEAD_DAY, *array["dimension_names"][1:]],
        "chunk_grid": grid | {"configuration": {"chunk_shape": [1, *grid["configuration"]["chunk_shape"]]}},
        "codecs": [codec | {"configuration": inner}, *array["codecs"][1:]],
        "attributes": array["attributes"] | {"coordinates": " ".join([VALID_TIME, *depth])},
    }  # fmt: skip


def _check_layout(group: zarr.Group, product: Cut) -> None:
    there = cast("dict[str, str]", group.attrs[LAYOUT])
    other = sorted(name for name in there.keys() | product.digests.keys()
                   if there.get(name) != product.digests.get(name))  # fmt: skip
    if other:
        raise UsageError(
            f"{product.product} laid out like that of the cycles before it", found=f"another {', '.join(other)}",
            where=f"{product.manifest.system} {product.manifest.cycle} r{product.manifest.revision}",
            action="collect it and what follows into an archive of its own: --out",
        )  # fmt: skip


def _row(found: Published, product: Cut, copied: bool) -> dict[str, Any]:
    manifest, said = product.manifest, product.said
    hours = _hours(manifest.cycle)
    told = {name: str(said[name]) for name in ("degraded_reasons", "forecaster", "forecaster_checkpoint_sha256",
                                                "forecaster_trained_on", "future_forcing")}  # fmt: skip
    return told | {
        INIT_TIME: hours, VALID_TIME: hours + 24 * np.arange(manifest.lead_days + 1), "revision": manifest.revision,
        "published": int(manifest.created.timestamp()), "degraded": said["degraded"] == "true",
        "product_attributes": json.dumps(said, sort_keys=True, ensure_ascii=False), "edition": found.address,
        "manifest_sha256": manifest.sha256, "copied": copied, "withdrawn": False,
    }  # fmt: skip


def _group(store: zarr.abc.store.Store, product: str) -> zarr.Group | None:
    try:
        return zarr.open_group(store, path=product, mode="r+", zarr_format=3)
    except FileNotFoundError:
        return None


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    array = group[name]
    assert isinstance(array, zarr.Array)
    return array


def _renamed(name: str) -> str:
    return LEAD_DAY if name == "forecast_period" else name


def _hours(cycle: str) -> int:
    return round((from_key("", cycle).start - _EPOCH).total_seconds() / 3600)


def _key(hours: int) -> str:
    moment = np.datetime64("1950-01-01T00", "h") + np.timedelta64(hours, "h")
    return str(moment).replace("-", "")


def _digest(content: object) -> str:
    return hashlib.sha256(to_json(content)).hexdigest()
