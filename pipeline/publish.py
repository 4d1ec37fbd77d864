"""Written -> published: read back, manifest, mark, ``latest``. Without its manifest an edition does not exist."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from pipeline import signature
from pipeline.cycle import Cycle
from pipeline.earth import landmask
from pipeline.edition import MANIFEST, Edition, forget_restart
from pipeline.errors import CheckFailed
from pipeline.forecast import Masks
from pipeline.output_gate import channels_of
from pipeline.produce import Facts, forcing_in_words
from pipeline.products import ProductEntry
from pipeline.record import journal, marks
from pipeline.record.latest import advance_latest
from pipeline.shards import Shards
from pipeline.store import ObjectRecord, Put, Store, parsed, record, to_json


class ProductRecord(BaseModel):
    """One product as published: its Zarr store beside the manifest, and for each variable the NaN share off land."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    path: str
    nan_share_off_land: dict[str, float]
    degraded: bool
    degraded_reasons: tuple[str, ...]


class Manifest(BaseModel):
    """What was published, from what, by what. Object paths are relative to the manifest.

    ``signed_by``: the public key whose signature lies beside it, in hexadecimal; empty where it is not signed.
    ``sha256``: of this manifest's own bytes with this field empty.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    system: str
    cycle: str
    revision: int
    forecast_reference_time: datetime
    lead_days: int
    created: datetime
    real_ocean: bool
    future_forcing: str
    degraded: bool
    degraded_reasons: tuple[str, ...]
    facts: Facts
    products: dict[str, ProductRecord]
    objects: tuple[ObjectRecord, ...]
    signed_by: str = ""
    sha256: str = ""


def publish(
    edition: Edition,
    written: Iterable[ObjectRecord],
    *,
    created: datetime,
    renew: Callable[[], None] = lambda: None,
    masks: Masks | None = None,
) -> Manifest:
    """Check what was written, make it exist for readers, and move ``latest``.

    ``written``: every object of the products and beside them (``quicklooks/``). ``created``: now, for the manifest
    alone. ``renew``: called before each product's check and right before the manifest (``lock.Held.renew``), so that
    a run that lost its cycle publishes nothing. Raises ``CheckFailed`` where what is read back is not what was
    written. An edition that was published by then is left as it is and its manifest returned.
    """
    there = read_manifest(edition.store, edition.cycle, edition.facts.revision)
    if there is None:
        objects = tuple(sorted(written, key=lambda item: item.path))
        products = check(edition, objects, renew=renew, masks=masks)
        renew()
        there = _put_manifest(edition, _manifest(edition, objects, products, created))
    complete(edition.store, edition.cycle, there)
    return there


def complete(store: Store, cycle: Cycle, manifest: Manifest) -> None:
    """What follows a manifest: mark, signature, ``latest``, no restart states; after a run was killed there, too."""
    path = f"{cycle.revision_prefix(manifest.revision)}/{MANIFEST}"
    made_from = marks.digest(*(f"{item.path} {item.sha256}" for item in manifest.objects))
    if marks.marked(store, cycle, "publish", made_from) is None:
        marks.mark(store, cycle, "publish", made_from, [record(path, to_json(manifest.model_dump(mode="json")))])
    signature.sign(store, path, manifest.signed_by)
    advance_latest(store, cycle, manifest.revision)
    forget_restart(store, cycle, manifest.revision)


def published(store: Store, cycle: Cycle) -> int | None:
    """The newest published revision of a cycle, or ``None``."""
    names = [name for name in store.folders(cycle.published_prefix) if name[:1] == "r" and name[1:].isdigit()]
    for revision in sorted((int(name[1:]) for name in names), reverse=True):
        if store.exists(f"{cycle.revision_prefix(revision)}/{MANIFEST}"):
            return revision
    return None


def next_revision(store: Store, cycle: Cycle) -> int:
    """The revision a new run of a cycle makes: one after the newest published; an unfinished one is gone on with.

    A revision that housekeeping withdrew counts: what readers kept of it is never confused with another's bytes.
    """
    return max(published(store, cycle) or 0, journal.newest_revision(journal.read(store, cycle))) + 1


def read_manifest(store: Store, cycle: Cycle, revision: int) -> Manifest | None:
    """A published revision's manifest, or ``None`` where it was never published."""
    path = f"{cycle.revision_prefix(revision)}/{MANIFEST}"
    found = store.find(path)
    return None if found is None else parsed(Manifest, found.data, f"{store.uri}/{path}")


def check(
    edition: Edition,
    objects: tuple[ObjectRecord, ...],
    *,
    renew: Callable[[], None] = lambda: None,
    masks: Masks | None = None,
) -> dict[str, ProductRecord]:
    """Read back every object, decode every array; ``CheckFailed`` names the first that is not as it must be.

    Every object: present, of the recorded bytes and SHA-256. Every product: complete, nothing else in it, its
    lead days valid at start plus lead, values on all ocean and NaN on all land.
    """
    by_path = {item.path: item for item in objects}
    stray = {path for path, _ in edition.store.objects(edition.prefix)} - set(by_path) - {edition.manifest_path}
    if stray:
        raise _failed(f"the {len(by_path)} objects written", f"{len(stray)} others, first {min(stray)}", edition.prefix)
    products = {}
    for entry in edition.entries:
        renew()
        products[entry.name] = _check_product(edition, entry, by_path, masks)
    product_folders = tuple(f"{edition.product_prefix(entry)}/" for entry in edition.entries)
    for item in objects:
        if not item.path.startswith(product_folders):
            _read_back(edition.store, item)
    return products


def _check_product(
    edition: Edition, entry: ProductEntry, by_path: dict[str, ObjectRecord], masks: Masks | None
) -> ProductRecord:
    prefix = edition.product_prefix(entry)
    shards = Shards(entry, edition.system, edition.cycle, edition.facts)
    _check_complete(shards, by_path, prefix)
    metadata = {path: _read_back(edition.store, by_path[f"{prefix}/{path}"]) for path in shards.metadata}
    _check_times(shards, metadata, edition, prefix)
    for path, data in shards.metadata.items():
        if metadata[path] != data:
            raise _failed(f"{path} of these facts, system and registry", "one made from others", prefix)
    ocean = landmask.ocean_mask(edition.system, entry.state) if masks is None else masks[entry.state]
    shares = {}
    for item in entry.variables:
        rows = [i for i, label in enumerate(channels_of(entry.state, edition.system)) if label.variable == item.name]
        objects = [by_path[f"{prefix}/{shards.path(item.name, lead_day)}"] for lead_day in shards.lead_days]
        shares[item.name] = _check_fields(edition.store, shards, item.name, objects, ocean[rows[0] : rows[-1] + 1])
    reasons = edition.facts.degraded(entry)
    return ProductRecord(
        path=f"{entry.name}.zarr", nan_share_off_land=shares, degraded=bool(reasons), degraded_reasons=reasons
    )


def _check_complete(shards: Shards, by_path: dict[str, ObjectRecord], prefix: str) -> None:
    wanted = {f"{prefix}/{path}" for path in shards.paths}
    recorded = {path for path in by_path if path.startswith(f"{prefix}/")}
    for what, odd in (("not written", wanted - recorded), ("too many", recorded - wanted)):
        if odd:
            raise _failed(f"the {len(wanted)} objects of {prefix}", f"{len(odd)} {what}, first {min(odd)}", prefix)


def _check_fields(
    store: Store, shards: Shards, name: str, objects: list[ObjectRecord], ocean: NDArray[np.bool_]
) -> float:
    """The largest NaN share off land of a variable's lead days, one shard in memory at a time."""
    worst = 0.0
    for lead_day, item in zip(shards.lead_days, objects, strict=True):
        values = shards.decode(name, lead_day, _read_back(store, item)).reshape(ocean.shape)
        worst = max(worst, _nan_share(values, ocean, f"{item.path}, lead day {lead_day}"))
    return worst


def _read_back(store: Store, item: ObjectRecord) -> bytes:
    found = store.find(item.path)
    if found is None:
        raise _failed(f"the object {item.path} ({item.size_bytes} bytes)", "nothing there", store.uri)
    sha256 = hashlib.sha256(found.data).hexdigest()
    if len(found.data) != item.size_bytes or sha256 != item.sha256:
        raise _failed(
            f"{item.path} with {item.size_bytes} bytes and SHA-256 {item.sha256[:12]}...",
            f"{len(found.data)} bytes and SHA-256 {sha256[:12]}...", store.uri,
        )  # fmt: skip
    return found.data


def _check_times(shards: Shards, metadata: dict[str, bytes], edition: Edition, prefix: str) -> None:
    dataset = shards.opened(metadata)
    start = np.datetime64(edition.cycle.start.replace(tzinfo=None), "ns")
    wanted = start + np.arange(edition.system.forecast_days + 1) * np.timedelta64(24, "h")
    if dataset["forecast_reference_time"].values != start or not np.array_equal(dataset["time"].values, wanted):
        raise _failed(
            f"times {wanted[0]}..{wanted[-1]} from {start}",
            f"{dataset['time'].values} from {dataset['forecast_reference_time'].values}", prefix,
        )  # fmt: skip


def _nan_share(values: NDArray[np.float32], ocean: NDArray[np.bool_], where: str) -> float:
    missing, leaking = int((np.isnan(values) & ocean).sum()), int((~np.isnan(values) & ~ocean).sum())
    if missing or leaking:
        raise _failed(
            f"values on {int(ocean.sum())} ocean cells and NaN on land",
            f"{missing} ocean cells without a value and {leaking} land cells with one", where,
        )  # fmt: skip
    return missing / max(1, int(ocean.sum()))


def _manifest(
    edition: Edition, objects: tuple[ObjectRecord, ...], products: dict[str, ProductRecord], created: datetime
) -> Manifest:
    facts, system = edition.facts, edition.system
    reasons = [reason for item in products.values() for reason in item.degraded_reasons]
    reasons += [f"product {name} is left out: {reason}" for name, reason in sorted(facts.left_out.items())]
    cut = len(edition.prefix) + 1
    return sealed(Manifest(
        system=system.name,
        cycle=edition.cycle.key,
        revision=facts.revision,
        forecast_reference_time=edition.cycle.start,
        lead_days=system.forecast_days,
        created=created,
        real_ocean=system.real_ocean,
        future_forcing=forcing_in_words(system.forcing_policy, facts.inputs),
        degraded=bool(reasons),
        degraded_reasons=tuple(dict.fromkeys(reasons)),
        facts=facts,
        products=products,
        objects=tuple(item.model_copy(update={"path": item.path[cut:]}) for item in objects),
        signed_by=signature.public_key(),
    ))  # fmt: skip


def sealed(manifest: Manifest) -> Manifest:
    """The manifest with the digest of itself."""
    empty = to_json(manifest.model_copy(update={"sha256": ""}).model_dump(mode="json"))
    return manifest.model_copy(update={"sha256": hashlib.sha256(empty).hexdigest()})


def _put_manifest(edition: Edition, manifest: Manifest) -> Manifest:
    put = edition.store.put_if_absent(edition.manifest_path, to_json(manifest.model_dump(mode="json")))
    if put is Put.WON:
        return manifest
    there = read_manifest(edition.store, edition.cycle, edition.facts.revision)
    if there is None or there.objects != manifest.objects:
        raise _failed(
            f"to publish {edition.prefix}", "another run's manifest there, over other objects", edition.store.uri,
            "goms run DATE",
        )  # fmt: skip
    return there


def _manifest_path(edition: Edition) -> str:
    return f"{edition.prefix}/{MANIFEST}"


def _failed(needed: str, found: str, where: str, again: str = "goms run DATE --from forecast") -> CheckFailed:
    """``again``: marks know sizes alone, so that a run would take what was altered for what is done."""
    action = f"nothing was published; run the cycle again: {again}"
    return CheckFailed(needed, found=found, where=where, action=action)
