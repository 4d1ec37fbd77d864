"""Yesterday's own published forecast as today's start, for what has no analysis every day: plankton, and waves.

The newest published cycle before the start whose forecast reaches it, read at the lead day that is valid then: through
its manifest, and only bytes whose SHA-256 is the manifest's. Such an input is a forecast and never the analysis: its
age runs from the oldest input that the chain of own forecasts began with, and a chain older than the ladder allows
is not gone on with. All of those inputs are named, and where the chain began with less than was asked for, each
forecast of it says so.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import xarray as xr

from pipeline import publish, systems
from pipeline.credits import BEGUN_FROM, beginnings
from pipeline.cycle import Cycle
from pipeline.errors import CheckFailed, InputRefused, InputUnavailable, StoreError
from pipeline.products import ProductEntry
from pipeline.provenance import FileRecord, InputRecord
from pipeline.publish import Manifest
from pipeline.shards import Shards
from pipeline.sources import Native, Request, Sighting, Term
from pipeline.sources import holdings as h
from pipeline.sources.climatology import ClimatologySource
from pipeline.store import Store
from pipeline.systems import System
from pipeline.variables import Kind, of_kind, variable

KINDS = (Kind.BIOGEOCHEMISTRY, Kind.WAVES)
LEXICON = {entry.name: Term(entry.name, {entry.units: (1.0, 0.0)}) for kind in KINDS for entry in of_kind(kind)}
LESS = "its chain began with less than was asked for"
"""Among the reasons why an own forecast is degraded: its first day's own reasons are on that day's product."""
NEEDED = "an own forecast of"


class _Forecast(NamedTuple):
    """A published forecast that reaches the start.

    ``begun``: of when the oldest input is that its chain began with; ``begun_from``: the sources of all of them;
    ``less``: whether they are less than was asked for.
    """

    cycle: Cycle
    manifest: Manifest
    lead_day: int
    begun: datetime
    begun_from: str
    less: bool


class OwnForecastSource:
    """The system's own forecasts, from its own store."""

    name = "own-forecast"
    title = "own forecast"
    kinds: tuple[Kind, ...] = KINDS

    def look(self, request: Request) -> Sighting:
        """Which manifest would be used; see ``Source.look``."""
        try:
            found = _newest(request)
        except (InputUnavailable, StoreError) as lack:
            return Sighting(False, None, "the store's manifests", str(lack))
        words = f"forecast of {found.cycle.key} r{found.manifest.revision}, lead day {found.lead_day}"
        return Sighting(True, request.when, "the store's manifests", words)

    def fetch(self, request: Request) -> Native:
        """The fields of the lead day that is valid at the instant; see ``Source.fetch``."""
        store, found, system = _store(request), _newest(request), systems.system(request.system)
        entry = _product(request.kind, system, found.manifest)
        assert entry is not None
        grid = system.product_grid(entry)
        fields, files = {}, []
        for name in request.variables:
            values, record = _read(store, system, entry, found, name)
            fields[name] = (("time", "latitude", "longitude"), values[None], {"units": variable(name).units})
            files.append(record)
        time = np.array([h.instant(request.when)]).astype("datetime64[ns]")
        dataset = xr.Dataset(fields, coords={"time": time, "latitude": grid.latitude, "longitude": grid.longitude})
        beginning = f"{found.begun_from} of {found.begun:%Y-%m-%dT%HZ}"
        note = (f"own forecast of {found.cycle.key} r{found.manifest.revision}, lead day {found.lead_day}"
                f"{BEGUN_FROM}{beginning}")  # fmt: skip
        degraded = f"{LESS}, {beginning}" if found.less else ""
        return Native(dataset, LEXICON, tuple(files), note, found.begun, degraded=degraded)


def _newest(request: Request) -> _Forecast:
    """The newest forecast that may be used, or ``InputUnavailable`` with what there is."""
    tried = []
    for found in _published(request):
        if request.when - found.begun <= timedelta(days=request.maximum_age_days):
            return found
        tried.append(f"that of {found.cycle.key} was begun from {found.begun_from} of {found.begun:%Y-%m-%dT%HZ}")
    raise InputUnavailable(
        f"{NEEDED} {request.kind} for {request.when:%Y-%m-%dT%HZ}, begun at most "
        f"{request.maximum_age_days:g} days before", found="; ".join(tried[:2]) or "none published that reaches it",
        where=f"the store of {request.system}", action="take the next rung, or forecast the days between",
    )  # fmt: skip


def _published(request: Request) -> Iterator[_Forecast]:
    store, system = _store(request), systems.system(request.system)
    for lead_day in range(1, min(int(request.maximum_age_days), system.forecast_days) + 1):
        cycle = Cycle(system.name, request.when.astimezone(UTC) - timedelta(days=lead_day))
        revision = publish.published(store, cycle)
        manifest = publish.read_manifest(store, cycle, revision) if revision else None
        if manifest is None or lead_day > manifest.lead_days or _product(request.kind, system, manifest) is None:
            continue
        records = [record for record in manifest.facts.inputs if record.kind is request.kind]
        if records:
            begun = min(cycle.start - timedelta(hours=record.age_hours) for record in records)
            names = dict.fromkeys(name for record in records for name in beginnings(record))
            yield _Forecast(cycle, manifest, lead_day, begun, " and ".join(names), any(map(_is_less, records)))


def _is_less(record: InputRecord) -> bool:
    """Whether a chain that goes on from this input rests on less than was asked for.

    Not for want of an own forecast alone: that is what the chain has been since, unless a climatology stood in for it.
    """
    if record.degraded is None or record.source == OwnForecastSource.name:
        return LESS in (record.degraded or "")
    alone = re.fullmatch(f"[^:]*: needed {NEEDED} .* in the store of [^ ;]*", record.degraded)
    return alone is None or record.source == ClimatologySource.name


def _product(kind: Kind, system: System, manifest: Manifest) -> ProductEntry | None:
    entries = [entry for entry in system.products if entry.state == kind.value and entry.name in manifest.products]
    return entries[0] if entries else None


def _store(request: Request) -> Store:
    if request.store is None or not request.system:
        raise InputUnavailable(
            "the store of the own forecasts", found="none named", where="the request", action="take the next rung"
        )
    return Store(request.store)


def _read(
    store: Store, system: System, entry: ProductEntry, found: _Forecast, name: str
) -> tuple[np.ndarray, FileRecord]:
    """One variable's field of the lead day, (latitude, longitude), held to the manifest byte by byte."""
    shards = Shards(entry, system, found.cycle, found.manifest.facts)
    path = f"{entry.name}.zarr/{shards.path(name, found.lead_day)}"
    promised = next((item for item in found.manifest.objects if item.path == path), None)
    data = store.find(f"{found.cycle.revision_prefix(found.manifest.revision)}/{path}")
    digest = hashlib.sha256(data.data).hexdigest() if data else "nothing there"
    if promised is None or data is None or digest != promised.sha256:
        raise _damaged(path, found, f"SHA-256 {promised.sha256 if promised else 'in the manifest'}", digest)
    try:
        values = shards.decode(name, found.lead_day, data.data)
    except CheckFailed as error:
        raise _damaged(path, found, "a shard that decodes", error.found) from error
    return values, FileRecord(uri=f"{found.cycle.key}/r{found.manifest.revision}/{path}", size_bytes=len(data.data),
                              sha256=digest)  # fmt: skip


def _damaged(path: str, found: _Forecast, needed: str, what: str) -> InputRefused:
    return InputRefused(
        needed, found=what, where=f"{path} of the published forecast {found.cycle.key}",
        action="publish a new revision of that forecast, or take this rung off the ladder",
    )  # fmt: skip
