"""The service in figures for monitoring, from the store alone: how fresh, how fast, how large, how good.

Names and units after Prometheus' practice: base units, named in the name; moments as seconds since 1970, so that ages
are worked out where they are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from pipeline.cycle import Cycle, from_key
from pipeline.errors import StoreError
from pipeline.operations import freshness
from pipeline.operations.freshness import Freshness
from pipeline.operations.storage import Room, storage
from pipeline.operations.verdict import Verdict
from pipeline.provenance import InputRecord
from pipeline.record.journal import Event, Note
from pipeline.record.shelf import is_key
from pipeline.scoring import skill
from pipeline.store import ObjectRecord, Store, parsed
from pipeline.systems import System


class Metric(NamedTuple):
    """What one figure is. ``labels``: beside ``system``, which all have."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


class Sample(NamedTuple):
    """One value of a figure; ``labels`` in the order of its metric's."""

    metric: Metric
    labels: tuple[str, ...]
    value: float


READABLE = Metric(
    "goms_store_readable", "1 where the store could be read for this system, else 0; then nothing else is."
)
SCHEDULED = Metric("goms_scheduled", "1 where a schedule makes the system's cycles and it is in service here.")
CYCLES = Metric("goms_cycles", "Cycles promised by the schedule that stand so.", ("verdict",))
ALARMS = Metric("goms_alarms", "Promised cycles that need a person.")
DEADLINE = Metric(
    "goms_open_deadline_timestamp_seconds", "Deadline of the oldest promised cycle that is not published."
)
ESTIMATE = Metric(
    "goms_open_estimate_timestamp_seconds", "When that cycle will be published at the latest, as it looks."
)
START = Metric("goms_latest_start_timestamp_seconds", "Start of the newest published forecast.")
PUBLISHED = Metric("goms_latest_published_timestamp_seconds", "When the newest published forecast was published.")
DEGRADED = Metric("goms_latest_degraded", "1 where the newest published forecast is less than the system asks for.")
REVISION = Metric("goms_latest_revision", "Revision of the newest published forecast.")
LEAD_DAYS = Metric("goms_latest_lead_days", "Days that the newest published forecast reaches.")
PRODUCT_BYTES = Metric("goms_product_size_bytes", "Bytes of a product of the newest published forecast.", ("product",))
PRODUCT_DEGRADED = Metric("goms_product_degraded", "1 where that product is degraded.", ("product",))
INPUT_AGE = Metric("goms_input_age_seconds", "Age of an input at the start of the newest forecast.", ("kind", "source"))
INPUT_RUNG = Metric("goms_input_rung", "Place of its source in the ladder: 0 is the first choice.", ("kind", "source"))
STAGE = Metric("goms_stage_duration_seconds", "What a stage took in the newest cycle that did it.", ("stage",))
STAGE_BYTES = Metric("goms_stage_written_bytes", "What that stage wrote.", ("stage",))
STAGE_MEMORY = Metric("goms_stage_peak_memory_bytes", "The most memory its process had while it ran.", ("stage",))
STAGE_DEVICE_MEMORY = Metric(
    "goms_stage_peak_device_memory_bytes", "The most memory it had on the accelerator, where it used one.", ("stage",)
)
STAGE_USUAL = Metric("goms_stage_usual_duration_seconds", "Median of the last published cycles.", ("stage",))
RUN_CODE = Metric("goms_run_exit_code", "Exit code of the run that ended last: 0 published.")
RUN_ENDED = Metric("goms_run_ended_timestamp_seconds", "When it ended.")
RMSE = Metric(
    "goms_skill_rmse", "Root mean square error in the unit said, of the newest forecast scored at that lead day.",
    ("product", "variable", "unit", "lead_day", "by"),
)  # fmt: skip
ACC = Metric(
    "goms_skill_anomaly_correlation", "Anomaly correlation of that forecast.", ("product", "variable", "lead_day")
)
SKILL_UNREAD = Metric(
    "goms_skill_unreadable_tables", "Tables of scores that are damaged: their forecasts are left out of these figures."
)
DRIFTS = Metric(
    "goms_skill_drifts", "Variables and lead days whose error left its usual range for the worse, as last verified."
)
STORE_BYTES = Metric("goms_store_bytes", "Bytes in the store.", ("part",))
STORE_OBJECTS = Metric("goms_store_objects", "Objects in the store.", ("part",))

FRESH = (
    READABLE, SCHEDULED, CYCLES, ALARMS, DEADLINE, ESTIMATE, START, PUBLISHED, DEGRADED, REVISION, LEAD_DAYS,
    PRODUCT_BYTES, PRODUCT_DEGRADED, INPUT_AGE, INPUT_RUNG, STAGE, STAGE_BYTES, STAGE_MEMORY, STAGE_DEVICE_MEMORY,
    STAGE_USUAL, RUN_CODE, RUN_ENDED,
)  # fmt: skip
"""Figures that cost some dozens of small requests."""
SLOW = (RMSE, ACC, SKILL_UNREAD, DRIFTS, STORE_BYTES, STORE_OBJECTS)
"""Figures that list everything or read many documents: to be asked for now and then."""

SCORED_CYCLES = 60
"""Cycles looked back through for scores: a lead day of 30 is scored a month after its start."""
BY = ("forecast", "persistence", "damped", "climatology", "bicubic")


class _Manifest(BaseModel):
    """What is read of a manifest, whichever version of the code wrote it."""

    model_config = ConfigDict(frozen=True)
    lead_days: int
    products: dict[str, _Product]
    objects: tuple[ObjectRecord, ...]
    facts: _Facts


class _Product(BaseModel):
    path: str
    degraded: bool


class _Facts(BaseModel):
    inputs: tuple[InputRecord, ...]


class _Row(BaseModel):
    """A row of a table of scores: each error under the name of whose it is."""

    variable: str
    units: str
    lead_day: int
    rmse: float | None = None
    persistence: float | None = None
    damped: float | None = None
    climatology: float | None = None
    bicubic: float | None = None
    acc: float | None = None

    def error(self, by: str) -> float | None:
        """The error of the forecast, or of what it is measured against."""
        found: float | None = getattr(self, "rmse" if by == "forecast" else by)
        return found


class _Table(BaseModel):
    """What is read of a product's table of scores."""

    product: str
    rows: tuple[_Row, ...]


def fresh(store: Store, system: System, moment: datetime) -> Iterator[Sample]:
    """How a system stands at a moment; ``StoreError`` where the store cannot be read."""
    standing = freshness.of(store, system, moment)
    yield Sample(READABLE, (), 1)
    yield Sample(SCHEDULED, (), standing.scheduled)
    yield from _verdicts(standing)
    if standing.newest is not None:
        yield from _newest(store, standing.newest)
    yield from (Sample(STAGE_USUAL, (item.stage,), item.median_seconds) for item in standing.stages)
    yield from _runs(store, system)


def slow(store: Store, system: System, moment: datetime) -> Iterator[Sample]:
    """How good a system's forecasts are and what room it takes."""
    yield from _skill(store, system)
    standing = skill.read(store, system.name)
    if standing is not None:
        yield Sample(DRIFTS, (), len(standing.drifts))
    parts = dict[str, Room]()
    for (part, _), room in storage(store, system, moment).parts.items():
        before = parts.get(part, Room())
        parts[part] = Room(before.size_bytes + room.size_bytes, before.objects + room.objects)
    for part, room in parts.items():
        yield Sample(STORE_BYTES, (part,), room.size_bytes)
        yield Sample(STORE_OBJECTS, (part,), room.objects)


def _verdicts(standing: Freshness) -> Iterator[Sample]:
    found = [item.verdict for item in standing.cycles if item.promised]
    yield from (Sample(CYCLES, (verdict.value,), found.count(verdict)) for verdict in Verdict)
    yield Sample(ALARMS, (), len(standing.alarms))
    waited = [item for item in standing.cycles if item.deadline is not None and item.published is None]
    if waited and waited[-1].deadline is not None:
        yield Sample(DEADLINE, (), waited[-1].deadline.timestamp())
        if waited[-1].estimate is not None:
            yield Sample(ESTIMATE, (), waited[-1].estimate.latest.timestamp())


def _newest(store: Store, newest: freshness.Newest) -> Iterator[Sample]:
    yield Sample(START, (), newest.start.timestamp())
    yield Sample(DEGRADED, (), newest.degraded)
    yield Sample(REVISION, (), newest.revision)
    if newest.published is None:
        return
    yield Sample(PUBLISHED, (), newest.published.timestamp())
    path = f"{newest.prefix}/manifest.json"
    found = store.find(path)
    if found is not None:
        yield from _edition(parsed(_Manifest, found.data, f"{store.uri}/{path}"))


def _edition(manifest: _Manifest) -> Iterator[Sample]:
    yield Sample(LEAD_DAYS, (), manifest.lead_days)
    for name, product in manifest.products.items():
        sizes = (item.size_bytes for item in manifest.objects if item.path.startswith(f"{product.path}/"))
        yield Sample(PRODUCT_BYTES, (name,), sum(sizes))
        yield Sample(PRODUCT_DEGRADED, (name,), product.degraded)
    oldest = dict[tuple[str, str], InputRecord]()
    for record in manifest.facts.inputs:
        place = (record.kind.value, record.source)
        if place not in oldest or record.age_hours > oldest[place].age_hours:
            oldest[place] = record
    for place, record in oldest.items():
        yield Sample(INPUT_RUNG, place, record.rung)
        if record.valid_time is not None:
            yield Sample(INPUT_AGE, place, record.age_hours * 3600)


def _runs(store: Store, system: System) -> Iterator[Sample]:
    """The last end of a run and the last duration of each stage, from the newest cycles' journals."""
    keys = [name for name in store.folders(f"{system.name}/runs") if re.fullmatch(r"\d{8}T\d{2}", name)]
    notes = [note for key in keys[-freshness.HISTORY_CYCLES :]
             for note in freshness.notes(store, from_key(system.name, key))]  # fmt: skip
    notes.sort(key=lambda note: note.when)
    stages = {note.stage: note for note in notes if note.event is Event.STAGE and note.stage}
    for stage, note in stages.items():
        said = ((STAGE, note.seconds), (STAGE_BYTES, note.size_bytes), (STAGE_MEMORY, note.peak_memory_bytes),
                (STAGE_DEVICE_MEMORY, note.peak_device_memory_bytes))  # fmt: skip
        yield from (Sample(metric, (stage,), value) for metric, value in said if value is not None)
    ends = [note for note in notes if note.event in (Event.PUBLISHED, Event.FAILED)]
    yield from _end(ends[-1:])


def _end(last: Iterable[Note]) -> Iterator[Sample]:
    for note in last:
        code = 0 if note.event is Event.PUBLISHED else note.exit_code
        yield Sample(RUN_CODE, (), 1 if code is None else code)
        yield Sample(RUN_ENDED, (), note.when.timestamp())


def _skill(store: Store, system: System) -> Iterator[Sample]:
    """For each product, variable and lead day the newest forecast that has its score."""
    said, damaged = set[tuple[str, str, int]](), 0
    keys = [name for name in store.folders(f"{system.name}/scores") if is_key(name)]
    for key in reversed(keys[-SCORED_CYCLES:]):
        for table in _tables(store, from_key(system.name, key)):
            if table is None:
                damaged += 1
                continue
            for row in table.rows:
                place = (table.product, row.variable, row.lead_day)
                if place not in said:
                    said.add(place)
                    yield from _row(row, *place)
    yield Sample(SKILL_UNREAD, (), damaged)


def _row(row: _Row, product: str, variable: str, lead_day: int) -> Iterator[Sample]:
    lead = str(lead_day)
    for by in BY:
        error = row.error(by)
        if error is not None:
            yield Sample(RMSE, (product, variable, row.units, lead, by), error)
    if row.acc is not None:
        yield Sample(ACC, (product, variable, lead), row.acc)


def _tables(store: Store, cycle: Cycle) -> Iterator[_Table | None]:
    """Each product's table of the newest scored revision; ``None`` for one that is damaged."""
    prefix = f"{cycle.system}/scores/{cycle.key}"
    revisions = sorted(store.folders(prefix), key=lambda name: int(name[1:]) if name[1:].isdigit() else 0)
    for path, _ in store.objects(f"{prefix}/{revisions[-1]}") if revisions else ():
        if path.endswith(".json"):
            content = store.read_bytes(path)
            try:
                yield parsed(_Table, content, f"{store.uri}/{path}")
            except StoreError:
                yield None


_Manifest.model_rebuild()
