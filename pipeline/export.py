"""A published product as one netCDF-4 file, for tools that do not read Zarr v3."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from pipeline.edition import MANIFEST
from pipeline.errors import StoreError
from pipeline.opened import opened
from pipeline.publish import Manifest
from pipeline.shards import TIME_ATTRIBUTES
from pipeline.store import Store


def to_netcdf(product_uri: str | Path, path: Path) -> Path:
    """Write a published product (``.../r1/ocean.zarr``, folder or S3) as netCDF-4; returns the file.

    The values are the product's, bit for bit. The dates of creation and issue are the manifest's. The file appears
    whole or not at all. ``StoreError`` where the product is not published or the file cannot be written.
    """
    edition_uri, _, name = str(product_uri).rstrip("/").rpartition("/")
    store = Store(edition_uri or ".")
    created = Manifest.model_validate(store.read_json(MANIFEST)).created
    date = f"{created:%Y-%m-%dT%H:%M:%SZ}"
    partial = path.with_name(f".{path.name}.partial")
    try:
        with opened(store, name) as dataset:
            dated = _described(dataset).assign_attrs(
                date_created=date, date_issued=date, date_modified=date, date_metadata_modified=date
            )
            dated.to_netcdf(partial, engine="netcdf4", encoding=_encoding(dated))
        partial.replace(path)
    except OSError as error:
        raise StoreError(
            f"to write {name} as netCDF", found=error.strerror or str(error), where=str(path),
            action="free space or name another file, then export again",
        ) from error  # fmt: skip
    finally:
        partial.unlink(missing_ok=True)
    return path


def _described(dataset: xr.Dataset) -> xr.Dataset:
    """Attributes in the types that netCDF wants: bounds of validity in the type of the variable."""
    described = dataset.copy()
    described.encoding.pop("coordinates", None)
    for name, field in described.data_vars.items():
        for bound in ("valid_min", "valid_max"):
            described[name].attrs[bound] = field.dtype.type(field.attrs[bound])
    return described


def _encoding(dataset: xr.Dataset) -> dict[str, dict[str, object]]:
    encoding: dict[str, dict[str, object]] = {}
    for name, variable in dataset.variables.items():
        if name not in dataset.coords:
            chunks = (*(1 for _ in variable.shape[:-2]), *variable.shape[-2:])
            encoding[str(name)] = {"zlib": True, "complevel": 1, "shuffle": True, "chunksizes": chunks,
                                   "_FillValue": np.float32("nan")}  # fmt: skip
        elif np.issubdtype(variable.dtype, np.datetime64):
            encoding[str(name)] = {**TIME_ATTRIBUTES, "dtype": "int32", "_FillValue": None}
        else:
            encoding[str(name)] = {"_FillValue": None}
    return encoding
