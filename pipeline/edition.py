"""Streams one edition of a forecast into the store: rollout, products, restart states, one lead day at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.contracts import ForecastDay, InitialState
from pipeline.cycle import Cycle
from pipeline.errors import ForecastRefused, StoreError
from pipeline.forecast import Forecaster, Masks, forecast
from pipeline.objects import staged
from pipeline.output_gate import report
from pipeline.output_gate.judging import Judge
from pipeline.output_gate.report import Report, Seen
from pipeline.produce import Facts, produce
from pipeline.products import ProductEntry
from pipeline.shards import Shards
from pipeline.store import ObjectRecord, Store
from pipeline.systems import System
from pipeline.writer import ProductWriter

MANIFEST = "manifest.json"
"""Name of the object that makes a revision exist for readers."""
ROOT = "zarr.json"
"""Name of the object that has a product's global attributes."""


class Edition(NamedTuple):
    """One revision of one cycle on its way to readers: ``facts.revision`` says which."""

    store: Store
    system: System
    cycle: Cycle
    facts: Facts

    @property
    def prefix(self) -> str:
        """Where it is published, relative to the store."""
        return self.cycle.revision_prefix(self.facts.revision)

    @property
    def entries(self) -> tuple[ProductEntry, ...]:
        """The products it has: the system's, but for those left out with a reason."""
        return tuple(entry for entry in self.system.products if entry.name not in self.facts.left_out)

    @property
    def manifest_path(self) -> str:
        """Where its manifest lies once it is published, relative to the store."""
        return f"{self.prefix}/{MANIFEST}"

    def product_prefix(self, entry: ProductEntry) -> str:
        """Where one product lies, relative to the store."""
        return f"{self.prefix}/{entry.name}.zarr"


class Restart(BaseModel):
    """A lead day from which the rollout can go on, and every product object that was complete by then.

    Holds for one ``inputs_digest`` alone. ``seen``: what the output gate knew by then.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    inputs_digest: str
    lead_day: int
    state: ObjectRecord
    objects: tuple[ObjectRecord, ...]
    seen: Seen | None = None


def write(
    edition: Edition,
    initial: InitialState,
    forecaster: Forecaster,
    *,
    inputs_digest: str,
    restart_every_days: int = 5,
    queue_days: int = 2,
    progress: Callable[[int], None] = lambda lead_day: None,
    masks: Masks | None = None,
    judge: Judge | None = None,
) -> tuple[ObjectRecord, ...]:
    """Forecast and write every product of an edition; return the record of every object, sorted by path.

    Goes on after the newest restart state made from the same ``inputs_digest``, with the same bytes as if it never
    stopped; without one it clears what a stopped run left there. ``StoreError`` where the revision is published.
    ``progress`` is called after each lead day is handed to the writers: renew the lock there. The ``judge``'s report is
    one of the objects.
    """
    _check_unpublished(edition)
    restart = _whole_restart(edition, inputs_digest, judge)
    resume = None if restart is None else ForecastDay(staged.load(edition.store, restart.state.path))
    done = {} if restart is None else {item.path: item for item in restart.objects}
    writers: dict[str, ProductWriter] = {}
    with ExitStack() as stack:
        days = forecast(initial, forecaster, edition.system, resume=resume, masks=masks)
        for day in _looked_at(days, judge, restart, resume):
            lead_day = int(day["lead_day"])
            if not writers:
                writers = _open(edition, day, queue_days, stack)
            for entry in edition.entries:
                writers[entry.name].write(produce(day, entry, edition.system, edition.cycle, edition.facts))
            if lead_day % restart_every_days == 0 and 0 < lead_day < edition.system.forecast_days:
                _save_restart(edition, inputs_digest, day, done | _records(writers, drain=True), judge)
            progress(lead_day)
    done |= _records(writers, drain=False) | {item.path: item for item in _judged(edition, judge)}
    return tuple(done[path] for path in sorted(done))


def _looked_at(
    days: Iterator[ForecastDay], judge: Judge | None, restart: Restart | None, resume: ForecastDay | None
) -> Iterator[ForecastDay]:  # fmt: skip
    """The days, each as the judge lets it through; what whoever is before the judge refuses gets its report too."""
    if judge is None:
        yield from days
        return
    if restart is not None and restart.seen is not None and resume is not None:
        judge.go_on(restart.seen, resume)
    while True:
        with judge.keeping():
            day = next(days, None)
        if day is None:
            return
        judge.look(day)
        yield day


def _whole_restart(edition: Edition, inputs_digest: str, judge: Judge | None) -> Restart | None:
    """The restart state to go on after; without one what a stopped run left is cleared."""
    restart = restart_of(edition, inputs_digest)
    if judge is not None and restart is not None and restart.seen is None:
        restart = None  # made without a judge, who must have seen every day
    if restart is None:
        edition.store.delete(edition.prefix)
    return restart


def labelled(edition: Edition) -> Edition:
    """The edition with what the output gate says of its products, as the report beside them has it."""
    found = report.read(edition.store, edition.cycle, edition.facts.revision)
    return edition if found is None else _with_labels(edition, found)


def _judged(edition: Edition, judge: Judge | None) -> Iterator[ObjectRecord]:
    """The judge's report, and the metadata of the products that it has something to say of."""
    if judge is None:
        return
    found, record = judge.close()
    yield record
    told = _with_labels(edition, found)
    for entry in told.entries:
        if entry.name in told.facts.labels:
            metadata = Shards(entry, told.system, told.cycle, told.facts).metadata[ROOT]
            yield told.store.write_bytes(f"{told.product_prefix(entry)}/{ROOT}", metadata)


def _with_labels(edition: Edition, found: Report) -> Edition:
    said = found.labels()
    by_name = {entry.name: said[entry.state] for entry in edition.entries if entry.state in said}
    return edition._replace(facts=edition.facts.model_copy(update={"labels": by_name}))


def restart_of(edition: Edition, inputs_digest: str) -> Restart | None:
    """The restart state, if it was made from these very inputs and everything it counts on is there."""
    found = edition.store.find(_pointer(edition))
    if found is None:
        return None
    try:
        restart = Restart.model_validate_json(found.data)
    except ValidationError:
        return None
    if restart.inputs_digest != inputs_digest:
        return None
    sizes = dict(edition.store.objects(edition.prefix))
    sizes[restart.state.path] = edition.store.size(restart.state.path) or 0
    whole = all(sizes.get(item.path) == item.size_bytes for item in (*restart.objects, restart.state))
    return restart if whole else None


def forget_restart(store: Store, cycle: Cycle, revision: int) -> None:
    """Remove a revision's restart states: it is complete, or to be made from the beginning."""
    store.delete(restart_prefix(cycle, revision))


def restart_prefix(cycle: Cycle, revision: int) -> str:
    """Where a revision's restart states lie, relative to the store."""
    return f"{cycle.run_prefix}/restart/r{revision}"


def _check_unpublished(edition: Edition) -> None:
    if edition.store.exists(edition.manifest_path):
        raise StoreError(
            f"an unpublished revision {edition.facts.revision}", found="its manifest",
            where=f"{edition.store.uri}/{edition.prefix}", action="nothing published is edited: make the next revision",
        )  # fmt: skip


def _open(edition: Edition, day: ForecastDay, queue_days: int, stack: ExitStack) -> dict[str, ProductWriter]:
    missing = [entry.name for entry in edition.entries if entry.state not in day]
    if missing:
        raise ForecastRefused(
            f"the products {', '.join(missing)} or the reason why they are left out", found="neither",
            where=f"lead day {int(day['lead_day'])} of system {edition.system.name}",
            action="give the reason in the facts (left_out), or have the initial state and the forecaster yield them",
        )  # fmt: skip
    return {
        entry.name: stack.enter_context(
            ProductWriter(
                edition.store, edition.product_prefix(entry), entry, edition.system, edition.cycle, edition.facts,
                queue_days=queue_days,
            )
        )
        for entry in edition.entries
    }  # fmt: skip


def _records(writers: Mapping[str, ProductWriter], *, drain: bool) -> dict[str, ObjectRecord]:
    found: dict[str, ObjectRecord] = {}
    for writer in writers.values():
        if drain:
            writer.drain()
        found |= {item.path: item for item in writer.records}
    return found


def _save_restart(
    edition: Edition, inputs_digest: str, day: ForecastDay, objects: Mapping[str, ObjectRecord], judge: Judge | None
) -> None:  # fmt: skip
    """State first, then the pointer to it, then the older states go: a kill between leaves a whole one."""
    lead_day = int(day["lead_day"])
    path = f"{_restart_prefix(edition)}/day-{lead_day:03d}.npz"
    restart = Restart(
        inputs_digest=inputs_digest, lead_day=lead_day, state=staged.save(edition.store, path, day),
        objects=tuple(objects[name] for name in sorted(objects)), seen=None if judge is None else judge.seen,
    )  # fmt: skip
    edition.store.write_json(_pointer(edition), restart.model_dump(mode="json"))
    for older, _ in edition.store.objects(_restart_prefix(edition)):
        if older not in (path, _pointer(edition)):
            edition.store.delete(older)


def _restart_prefix(edition: Edition) -> str:
    return restart_prefix(edition.cycle, edition.facts.revision)


def _pointer(edition: Edition) -> str:
    return f"{_restart_prefix(edition)}/state.json"
