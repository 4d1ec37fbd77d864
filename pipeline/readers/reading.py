"""A published forecast for analysts: found, followed by ``latest``, refused unless it is published, lazy."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import xarray as xr

from pipeline.errors import CheckFailed, StoreError, UsageError
from pipeline.objects.opened import opened
from pipeline.readers.public import Published, find
from pipeline.series import path_of

Layout = Literal["maps", "series"]
"""How the same values lie there: a level of a lead day together, or all lead days and depths of a few cells."""


def open_forecast(
    where: str | Path,
    product: str = "ocean",
    *,
    layout: Layout = "maps",
    system: str | None = None,
    cycle: str | None = None,
    signed: bool = False,
) -> xr.Dataset:
    """A product of the latest forecast, or of a cycle, as a dataset of dask arrays; nothing of the fields is read.

    ``where``: ``s3://bucket/prefix``, ``http(s)://...`` or a folder: the store, the system's folder in it, or an
    edition's. ``layout``: ``series`` reads all lead days and depths at a point in two requests and a map in thousands,
    ``maps`` the other way round; the values are the same. ``system``: which, where the store has several. ``cycle``:
    ``YYYY-MM-DD`` or ``YYYYMMDDTHH``. ``signed``: ask S3 with your own keys. An object that is lost is an error when
    it is read, never missing values.
    ``StoreError`` where the forecast is not published, lies in the place of another or lacks the product,
    ``UsageError`` for what cannot be meant.
    """
    return open_product(find(where, system=system, cycle=cycle, signed=signed), product, layout)


def open_product(found: Published, product: str, layout: Layout = "maps") -> xr.Dataset:
    """A product of an edition; ``attrs`` say where it is, when it was made, and all that the product says itself."""
    manifest = found.manifest
    if found.mismatch:
        raise CheckFailed(
            "the forecast that belongs there", found=found.mismatch, where=found.address,
            action="do not use it: take another cycle, and tell the publisher",
        )  # fmt: skip
    if product in manifest.facts.left_out:
        raise StoreError(
            f"the product {product} of {manifest.system} {manifest.cycle}", found="it was left out: "
            f"{manifest.facts.left_out[product]}", where=found.address, action="take another cycle or product",
        )  # fmt: skip
    if product not in manifest.products:
        raise UsageError(
            f"a product of {manifest.system} {manifest.cycle}", found=repr(product), where=found.address,
            action=f"choose one of {', '.join(manifest.products)}",
        )  # fmt: skip
    if layout == "series" and not any(item.path.startswith(f"{path_of(product)}/") for item in manifest.objects):
        raise UsageError(
            f"{product} of {manifest.system} {manifest.cycle} laid out for series", found="its maps alone",
            where=found.address, action='leave layout="series" out: the values are the same',
        )  # fmt: skip
    path = found.path(path_of(product) if layout == "series" else manifest.products[product].path)
    dataset = opened(found.store, path, chunks={})
    date = f"{manifest.created:%Y-%m-%dT%H:%M:%SZ}"
    return dataset.assign_attrs(date_created=date, edition=found.address)
