"""Scores of a published forecast: where they lie, how they are made product by product, and how they are kept.

``<system>/scores/<cycle>/r<N>/``: for each product ``<name>.json`` (the table that people read, every lead day that was
scored), and of the lead days that are drawn ``<name>.nc`` (everything that was measured) and the curves of skill as
PNG. Verifying again, when more days have been, adds to them. ``scoreboard`` has everything of every forecast.
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
from pipeline.errors import CheckFailed
from pipeline.objects.opened import opened
from pipeline.publish import Manifest
from pipeline.store import ObjectRecord, Store
from pipeline.systems import System
from pipeline.truth import Truth
from pipeline.verify import Climatology, Row, as_published, summary, verify


def prefix(manifest: Manifest) -> str:
    """Where the scores of an edition lie, relative to the store."""
    return f"{manifest.system}/scores/{manifest.cycle}/r{manifest.revision}"


def score(
    store: Store, manifest: Manifest, name: str, system: System, truth: Truth, lead_days: Sequence[int],
    progress: Callable[[int], None] = lambda lead_day: None, normal: Climatology | None = None,
) -> xr.Dataset:  # fmt: skip
    """Verify one published product at some lead days; ``InputUnavailable`` where none of them has been.

    ``CheckFailed`` where it is not as it was published any more. Lead days the product does not have are left out.
    """
    entry = products.product(name)
    where = from_key(manifest.system, manifest.cycle).revision_prefix(manifest.revision)
    with ExitStack() as stack:

        def published(product: str) -> xr.Dataset:
            path = f"{where}/{manifest.products[product].path}"
            with as_published(product, store.address(path)):
                return stack.enter_context(opened(store, path))

        coarse = published(products.OCEAN.name) if entry.surface_only else None
        leads = [lead for lead in lead_days if 0 < lead <= manifest.lead_days]
        return verify(published(name), entry, system, truth, coarse=coarse, lead_days=leads, progress=progress,
                      normal=normal)  # fmt: skip


def keep(store: Store, manifest: Manifest, name: str, system: System, scores: xr.Dataset) -> list[ObjectRecord]:
    """Put a product's scores, beside those of other lead days that are there: dataset, table and curves of skill."""
    where, entry = prefix(manifest), products.product(name)
    whole = _with_what_is_there(store, f"{where}/{name}.nc", scores)
    record = keep_table(store, manifest, name, scores)
    records = [store.write_bytes(f"{where}/{name}.nc", netcdf(whole)), record]
    plots = report.skill_plots(whole, entry, system)
    return [*records, *(store.write_bytes(f"{where}/{path}", data) for path, data in plots)]


def keep_day(
    store: Store, manifest: Manifest, name: str, system: System, scores: xr.Dataset, *, drawn: bool
) -> None:  # fmt: skip
    """Put the scores of one lead day: into the table, and where it is ``drawn`` into the dataset and the curves."""
    if drawn:
        keep(store, manifest, name, system, scores)
    else:
        keep_table(store, manifest, name, scores)


def keep_table(store: Store, manifest: Manifest, name: str, scores: xr.Dataset) -> ObjectRecord:
    """Put the rows of some lead days into a product's table, in place of those of these days that are there.

    ``CheckFailed`` where what is there is no table.
    """
    path = f"{prefix(manifest)}/{name}.json"
    found = store.find(path)
    try:
        rows = {_place(row): row for row in (json.loads(found.data)["rows"] if found is not None else ())}
    except (ValueError, LookupError, TypeError) as error:
        raise _damaged("a table of scores", path, error) from error
    rows |= {_place(row): row for row in map(row_json, table(scores))}
    days = {row["lead_day"] for row in rows.values()}
    lacking = [lead for lead in scores.attrs.get("unverified", ()) if lead not in days]
    order = list(dict.fromkeys(row["variable"] for row in rows.values()))
    content = {
        "product": name, "attributes": _plain({**scores.attrs, "unverified": lacking}),
        "rows": sorted(rows.values(), key=lambda row: (order.index(row["variable"]), row["lead_day"])),
    }  # fmt: skip
    return store.write_json(path, content)


def _damaged(needed: str, path: str, error: Exception) -> CheckFailed:
    return CheckFailed(needed, found=f"{type(error).__name__}: {error}", where=path,
                       action="delete it and verify the forecast again")  # fmt: skip


def _place(row: dict[str, Any]) -> tuple[str, int]:
    return str(row["variable"]), int(row["lead_day"])


def _with_what_is_there(store: Store, path: str, scores: xr.Dataset) -> xr.Dataset:
    """Scores with those of other lead days that were kept before; what another version measured is left behind."""
    found = store.find(path)
    if found is None:
        return scores
    try:
        with xr.open_dataset(found.data, engine="netcdf4") as opened_before:
            before = opened_before.load()
    except (OSError, ValueError, RuntimeError) as error:
        raise _damaged("a dataset of scores", path, error) from error
    same = all(before[name].values.tolist() == scores[name].values.tolist() for name in ("by", "channel", "region"))
    if not same or set(before) != set(scores):
        return scores
    others = [lead for lead in before["lead_day"].values if lead not in scores["lead_day"].values]
    if not others:
        return scores
    both = xr.concat([before.sel(lead_day=others), scores], "lead_day", data_vars="minimal", coords="minimal",
                     compat="override", join="exact", combine_attrs="override")  # fmt: skip
    return both.sortby("lead_day").assign_attrs(scores.attrs)


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
