"""A dataset as one private object between stages: exact, deterministic bytes, nothing pickled."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import xarray as xr

from pipeline import npy
from pipeline.errors import StoreError
from pipeline.store import ObjectRecord, Store


def save(store: Store, path: str, dataset: xr.Dataset) -> ObjectRecord:
    """Put a dataset: dimensions, coordinates, attributes (JSON) and every bit of its arrays (NumPy's npz)."""
    names = [str(name) for name in dataset.variables]
    layout = {
        "attrs": dataset.attrs,
        "variables": [
            {
                "name": name,
                "dims": [str(dim) for dim in dataset.variables[name].dims],
                "attrs": dataset.variables[name].attrs,
                "coordinate": name in dataset.coords,
            }
            for name in names
        ],
    }
    arrays = {f"v{index}": dataset.variables[name].values for index, name in enumerate(names)}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, layout=np.array(json.dumps(layout)), **arrays)
    return store.write_bytes(path, buffer.getvalue())


def load(store: Store, path: str) -> xr.Dataset:
    """The dataset that ``save`` put; ``StoreError`` where it is absent or not one."""
    with _opened(store, path) as archive:
        layout = json.loads(str(archive["layout"]))
        variables = {
            item["name"]: xr.Variable(item["dims"], archive[f"v{index}"], item["attrs"])
            for index, item in enumerate(layout["variables"])
        }
    coordinates = [item["name"] for item in layout["variables"] if item["coordinate"]]
    return xr.Dataset(variables, attrs=layout["attrs"]).set_coords(coordinates)


def attributes(store: Store, path: str) -> dict[str, Any]:
    """The attributes of a dataset that ``save`` put, without its arrays; ``StoreError`` where it is not one."""
    with _opened(store, path) as archive:
        found: dict[str, Any] = json.loads(str(archive["layout"]))["attrs"]
    return found


@contextmanager
def _opened(store: Store, path: str) -> Iterator[Any]:
    """A staged object's archive; what is wrong with it while it is read is a ``StoreError``."""
    data = store.read_bytes(path)
    try:
        with npy.opened(io.BytesIO(data)) as archive:
            yield archive
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise StoreError(
            f"a staged dataset in {path}", found=str(error), where=f"the store {store.uri}",
            action="run the stage that writes it again",
        ) from error  # fmt: skip
