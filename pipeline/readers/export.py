"""A published product, or a part of it, in formats that other tools read: netCDF-4, Zarr v2, OceanBench's shape."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numcodecs  # type: ignore[import-untyped]
import numpy as np
import xarray as xr

from pipeline.errors import StoreError, UsageError
from pipeline.readers import oceanbench
from pipeline.readers.public import Published, find
from pipeline.readers.reading import open_product
from pipeline.readers.subset import Subset, select
from pipeline.shards import TIME_ATTRIBUTES

ALL = Subset()


def export(found: Published, product: str, path: Path, layout: str = "netcdf", part: Subset = ALL) -> Path:
    """Write a product of a published edition, or a part of it, in one of ``FORMATS``; returns where.

    The values are the product's, bit for bit, but for what OceanBench wants otherwise. The dates of creation and issue
    are the manifest's. It appears whole or not at all, in the place of a file or of
    an earlier export, never of another folder. One map at a time is in memory.
    ``UsageError`` where there is no such part, ``StoreError`` where it cannot be read or written.
    """
    _refuse_to_replace(path, layout)
    partial = path.with_name(f".{path.name}.partial")
    dataset = _described(select(open_product(found, product), part))
    try:
        FORMATS[layout](dataset, partial)
        _remove(path)
        partial.replace(path)
    except (OSError, RuntimeError) as error:
        if not isinstance(error, OSError) and not str(error).startswith("NetCDF: "):  # so it says that a disk is full
            raise
        raise StoreError(
            f"to write {product} as {layout}", found=getattr(error, "strerror", None) or str(error), where=str(path),
            action="free space or name another file, then export again",
        ) from error  # fmt: skip
    finally:
        _remove(partial)
    return path


def to_netcdf(product_uri: str | Path, path: Path, part: Subset = ALL) -> Path:
    """A published product by its address (``.../r1/ocean.zarr``, folder or S3 with the own keys) as netCDF-4."""
    edition, _, name = str(product_uri).rstrip("/").rpartition("/")
    return export(find(edition or ".", signed=True), name.removesuffix(".zarr"), path, "netcdf", part)


def _netcdf(dataset: xr.Dataset, path: Path) -> None:
    """CF-1.11 and ACDD-1.3 as the product is."""
    fields: dict[str, object] = {"zlib": True, "complevel": 1, "shuffle": True}
    dataset.to_netcdf(path, engine="netcdf4", encoding=_encoding(dataset, fields, "chunksizes"))


def _zarr2(dataset: xr.Dataset, path: Path) -> None:
    """Zarr v2, one chunk a map, no shards, consolidated, uncompressed.

    netCDF-C without its filters' plugins (Debian's 4.9.0) gives compressed bytes out as values, without a word.
    """
    _zarr(dataset, path, None)


def _oceanbench(dataset: xr.Dataset, path: Path) -> None:
    """Zarr v2 for Python's readers."""
    _zarr(oceanbench.shaped(dataset), path, numcodecs.Zlib(level=1))


def _zarr(dataset: xr.Dataset, path: Path, compressor: numcodecs.Zlib | None) -> None:
    encoding = _encoding(dataset, {"compressors": compressor}, "chunks")
    bare = {name: {"compressors": None, **encoding[name]} for name in encoding if name in dataset.coords}
    dataset.to_zarr(path, mode="w", zarr_format=2, consolidated=True, encoding=encoding | bare)


FORMATS: Mapping[str, Callable[[xr.Dataset, Path], None]] = {
    "netcdf": _netcdf, "zarr2": _zarr2, "oceanbench": _oceanbench,
}  # fmt: skip
"""What ``goms export --format`` takes."""


def _described(dataset: xr.Dataset) -> xr.Dataset:
    """Attributes in the types that netCDF wants, bounds of validity in the type of the variable; all dates."""
    date = dataset.attrs["date_created"]
    described = dataset.assign_attrs(date_issued=date, date_modified=date, date_metadata_modified=date)
    del described.attrs["edition"]
    described.encoding = {}
    for name, field in described.data_vars.items():
        described[name].attrs |= {
            bound: field.dtype.type(field.attrs[bound]) for bound in ("valid_min", "valid_max") if bound in field.attrs
        }
    return described


def _encoding(dataset: xr.Dataset, fields: Mapping[str, object], chunks: str) -> dict[str, dict[str, Any]]:
    """How each variable is stored; of fields one chunk is one map. Forgets how the product has stored them."""
    encoding: dict[str, dict[str, Any]] = {}
    for name, variable in dataset.variables.items():
        known = variable.encoding.get("coordinates")
        variable.encoding = {} if known is None else {"coordinates": known}
        if name not in dataset.coords:
            shape = (*(1 for _ in variable.shape[:-2]), *variable.shape[-2:])
            encoding[str(name)] = {**fields, chunks: shape, "_FillValue": np.float32("nan")}
        elif np.issubdtype(variable.dtype, np.datetime64):
            encoding[str(name)] = {**TIME_ATTRIBUTES, "dtype": "int32", "_FillValue": None}
        else:
            encoding[str(name)] = {"_FillValue": None}
    return encoding


def _refuse_to_replace(path: Path, layout: str) -> None:
    """``UsageError`` where a folder is in the way that an export did not make: nobody means to lose it."""
    if path.is_dir() and (layout == "netcdf" or not (path / ".zgroup").is_file()):
        raise UsageError(
            "a name for the export that is free, or an earlier export's", found="a folder that is neither",
            where=str(path), action=f"name a file in it: {path / 'NAME'}",
        )  # fmt: skip


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
