"""Scores of a published forecast: where they lie, how they are made product by product, and how they are kept.

``<system>/scores/<cycle>/r<N>/``: for each product ``<name>.nc`` (everything that was measured), ``<name>.json`` (the
table that people read) and the curves of skill as PNG. Verifying again, when more days have been, replaces them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import xarray as xr

from pipeline import products, report
from pipeline.cycle import from_key
from pipeline.opened import opened
from pipeline.publish import Manifest
from pipeline.store import ObjectRecord, Store
from pipeline.systems import System
from pipeline.truth import Truth
from pipeline.verify import Row, summary, verify


def prefix(manifest: Manifest) -> str:
    """Where the scores of an edition lie, relative to the store."""
    return f"{manifest.system}/scores/{manifest.cycle}/r{manifest.revision}"


def score(
    store: Store, manifest: Manifest, name: str, system: System, truth: Truth, lead_days: Sequence[int],
    progress: Callable[[int], None] = lambda lead_day: None,
) -> xr.Dataset:  # fmt: skip
    """Verify one published product at some lead days; ``InputUnavailable`` where none of them has been.

    Lead days the product does not have are left out.
    """
    entry = products.product(name)
    where = from_key(manifest.system, manifest.cycle).revision_prefix(manifest.revision)
    with ExitStack() as stack:

        def published(product: str) -> xr.Dataset:
            return stack.enter_context(opened(store, f"{where}/{manifest.products[product].path}"))

        coarse = published(products.OCEAN.name) if entry.surface_only else None
        leads = [lead for lead in lead_days if 0 < lead <= manifest.lead_days]
        return verify(published(name), entry, system, truth, coarse=coarse, lead_days=leads, progress=progress)


def keep(store: Store, manifest: Manifest, name: str, system: System, scores: xr.Dataset) -> list[ObjectRecord]:
    """Put a product's scores: dataset, table and curves of skill."""
    where, entry = prefix(manifest), products.product(name)
    content = {"product": name, "attributes": _plain(scores.attrs), "rows": [row_json(row) for row in table(scores)]}
    records = [
        store.write_bytes(f"{where}/{name}.nc", netcdf(scores)),
        store.write_json(f"{where}/{name}.json", content),
    ]
    plots = report.skill_plots(scores, entry, system)
    return [*records, *(store.write_bytes(f"{where}/{path}", data) for path, data in plots)]


def table(scores: xr.Dataset) -> tuple[Row, ...]:
    """Every variable at every lead day that was scored, all its depths together."""
    return summary(scores, [int(lead) for lead in scores["lead_day"].values])


def row_json(row: Row) -> dict[str, Any]:
    """A row as JSON: what could not be worked out is null."""
    return {name: None if isinstance(value, float) and np.isnan(value) else value
            for name, value in row._asdict().items()}  # fmt: skip


def netcdf(scores: xr.Dataset) -> bytes:
    """The whole dataset as netCDF-4."""
    return bytes(scores.assign_attrs(_plain(scores.attrs)).to_netcdf(engine="netcdf4"))


def _plain(attributes: dict[str, Any]) -> dict[str, Any]:
    """Attributes as text and numbers: lists as JSON, for an empty one has no type of its own."""
    return {name: value if isinstance(value, str | int | float) else json.dumps(value)
            for name, value in attributes.items()}  # fmt: skip
