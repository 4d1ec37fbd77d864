"""Source -> ``Gridded``, judged: read, regridded and through the gate, with a report of it whatever the outcome."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from pipeline import ingest, provenance, regrid
from pipeline.contracts import Gridded, Ingested
from pipeline.cycle import Cycle
from pipeline.errors import InputRefused
from pipeline.gate import judging, memory, picture
from pipeline.gate.limits import OF_YESTERDAY, Check
from pipeline.gate.report import GateRefused, Report, of_refusal
from pipeline.gate.scene import climatology_of, scene_of
from pipeline.gate.thresholds import Outcome
from pipeline.provenance import InputRecord
from pipeline.sources import SOURCES, Slabs, Source
from pipeline.sources.netcdf import closed_after
from pipeline.store import ObjectRecord, Store, to_json
from pipeline.systems import System
from pipeline.variables import Kind

UNDATED = ("climatology",)
"""Sources whose fields are of no day: they do not change from one to the next."""


class Choice(NamedTuple):
    """The rung a ladder is entered at, and why not above it (empty for the first)."""

    rung: int = 0
    because: str = ""


FIRST = Choice()
"""The ladder from its first rung."""


class Asked(NamedTuple):
    """What is taken in, from where: as ``ingest`` has it."""

    system: System
    cycle: Cycle
    kind: Kind
    inputs: str | None
    scratch: Path
    seed: int = 0
    archives: Mapping[str, str] = MappingProxyType({})
    cache: Slabs | None = None


@closed_after()
def take_in(
    asked: Asked, store: Store, choice: Choice = FIRST, sources: Mapping[str, Source] = SOURCES
) -> Gridded:  # fmt: skip
    """One kind of input on the system's grid, as the gate lets it through.

    What the gate labels stands in the records' ``degraded``. The report is put beside the cycle's marks, with a picture
    where something was found. Raises as ``ingest`` and ``regrid`` do, and ``GateRefused``.
    """
    try:
        parts = _read(asked, choice, store, sources)
        gridded = regrid.regrid(parts, asked.kind, asked.system)
    except InputRefused as refusal:
        report = Report(system=asked.system.name, cycle=asked.cycle.key, kind=asked.kind, outcome=Outcome.REFUSE,
                        findings=(of_refusal(refusal),))  # fmt: skip
        _keep(asked, store, report, None)
        raise
    with ExitStack() as stack:
        return _judged(asked, store, gridded, stack)


def report_path(cycle: Cycle, kind: Kind) -> str:
    """Where the report on a kind of input lies, relative to the store; its picture has the same name."""
    return f"{cycle.run_prefix}/inputs/{kind.value}.json"


def _read(asked: Asked, choice: Choice, store: Store, sources: Mapping[str, Source]) -> tuple[Ingested, ...]:
    return ingest.ingest(
        asked.system, asked.kind, asked.cycle.start, inputs=asked.inputs, scratch=asked.scratch, seed=asked.seed,
        sources=sources, first_rung=choice.rung, passed_over=choice.because, archives=asked.archives,
        cache=asked.cache, store=store.uri,
    )  # fmt: skip


def _judged(asked: Asked, store: Store, gridded: Gridded, stack: ExitStack) -> Gridded:
    system, kind, records = asked.system, asked.kind, provenance.records(gridded)
    past = memory.remembered(store, system, asked.cycle, kind, stack)
    scene = scene_of(
        gridded, system.grid_of(kind), asked.cycle.start, yesterday=past.yesterday, forecast=past.forecast,
        normal=climatology_of(kind, gridded, asked.cycle.start), absent=past.absent,
    )  # fmt: skip
    judged = judging.judge(scene, kind, system.name, asked.cycle.key, tuple(r.source for r in records),
                           _excused(records))  # fmt: skip
    report = judged.report
    drawn = None
    if judged.offence is not None:
        title = f"{system.name} {asked.cycle.key}: the {kind} input is {_WORDS[report.outcome]}"
        drawn = picture.draw(scene, *judged.offence, title)
    kept = _keep(asked, store, report, drawn)
    if report.outcome is Outcome.REFUSE:
        where = f"{kind} input from {'+'.join(dict.fromkeys(r.source for r in records))} for system {system.name}"
        raise GateRefused(report.findings[0], report, where, drawn)
    if report.outcome is Outcome.ACCEPT:
        return gridded
    labelled = tuple(_labelled(record, report, kept) for record in records)
    return Gridded(provenance.attach(gridded, labelled))


_WORDS = {Outcome.ACCEPT: "accepted", Outcome.LABEL: "accepted with a label", Outcome.REFUSE: "refused"}


def _excused(records: tuple[InputRecord, ...]) -> list[tuple[Check, str]]:
    """What has no day does not change; what is old may be yesterday's own, and says so by its age."""
    still = [record for record in records if record.source in UNDATED or record.age_hours > 0]
    return [(check, name) for record in still for name in record.variables for check in OF_YESTERDAY]


def _keep(asked: Asked, store: Store, report: Report, drawn: bytes | None) -> ObjectRecord:
    path = report_path(asked.cycle, asked.kind)
    if drawn is not None:
        store.write_bytes(f"{path.removesuffix('.json')}.png", drawn)
    return store.write_bytes(path, to_json(report.model_dump(mode="json")))


def _labelled(record: InputRecord, report: Report, kept: ObjectRecord) -> InputRecord:
    mine = [finding.sentence for finding in report.findings if finding.field in record.variables]
    if not mine:
        return record
    note = f"input report {kept.path.rsplit('/', 1)[-1]} of the cycle, SHA-256 {kept.sha256}"
    return record.model_copy(update={
        "degraded": "; ".join(filter(None, (record.degraded, *mine))),
        "note": "; ".join(filter(None, (record.note, note))),
    })  # fmt: skip
