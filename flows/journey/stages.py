"""One run of one cycle as its tasks see it: what was asked, where things lie, and what is done already."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from prefect.runtime import flow_run
from pydantic import BaseModel, ConfigDict
from rich.markup import escape

from flows import logs, traces
from flows.clock import now
from flows.journey import holding
from flows.journey.holding import alive
from flows.peaks import Watch
from flows.progress import Advance, left_out, progress
from pipeline import cycle, produce, systems
from pipeline.contracts import Gridded, InitialState
from pipeline.cycle import Cycle
from pipeline.edition import MANIFEST, Edition
from pipeline.errors import CycleHeld, GomsError
from pipeline.forecast import Forecaster
from pipeline.gate import memory
from pipeline.objects import staged
from pipeline.operations import freshness
from pipeline.publish import Manifest
from pipeline.readers import catalogue, view
from pipeline.record import journal, judgement, marks
from pipeline.record.journal import Event, Note
from pipeline.record.marks import Mark
from pipeline.scoring import scoreboard, skill
from pipeline.scoring.reliability import Reliability
from pipeline.settings import Settings
from pipeline.store import ObjectRecord, Store
from pipeline.systems import System
from pipeline.variables import Kind

TURNS = (Event.BEGUN, Event.WAITING, Event.ARRIVED, Event.STAGE, Event.FAILED, Event.PUBLISHED)
"""Events after which ``status.json`` says something else."""
TITLES = {
    "ocean": "take in the ocean",
    "surface": "take in the atmosphere",
    "waves": "take in the waves",
    "biogeochemistry": "take in the plankton",
    "forcing": "take in the weather to come",
    "initialise": "initialise",
    "forecast": "forecast",
    "quicklooks": "draw the maps",
    "series": "lay out the series",
    "publish": "check and publish",
}
"""What an operator reads while a stage runs."""


class Run(BaseModel):
    """What one run was asked to do, in values that any process understands.

    ``forecaster``: ``checkpoint`` (the system's pinned one), ``persistence``, or a checkpoint's folder.
    ``seed``: of the twin. ``revision``: the one this run makes, ``superseding``: why over one that is published.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    system: str
    cycle: str
    store: str
    inputs: str | None = None
    forecaster: str = "checkpoint"
    seed: int = 0
    revision: int = 1
    superseding: str = ""

    @property
    def of(self) -> System:
        """The forecasting system."""
        return systems.system(self.system)

    @property
    def start(self) -> Cycle:
        """The cycle."""
        return cycle.from_key(self.system, self.cycle)

    @property
    def opened(self) -> Store:
        """The store, open: it takes no change from a run that lost its cycle."""
        return holding.opened(self.store)

    @property
    def scratch(self) -> Path:
        """A folder for this cycle's files that may be lost."""
        folder = Settings().scratch / self.system / self.cycle
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def staged(self, name: str) -> str:
        """Where a private dataset of this run lies in the store."""
        return f"{self.start.run_prefix}/staged/{name}.npz"


def once(
    run: Run, stage: str, made_from: Iterable[str], make: Callable[[Advance], Iterable[ObjectRecord]],
    steps: int | None = None,
) -> Mark:  # fmt: skip
    """Do a stage, unless its mark says that it was done from these very inputs by this very code.

    ``made_from``: texts that say what the stage depends on, the marks of the stages before it by their digests.
    ``make``: does the work and returns every object it put; it is told where to report its steps.
    """
    with logs.bound(stage=stage):
        digest, title = marks.digest(stage, code_version(), *made_from), TITLES.get(stage, stage)
        found = marks.marked(run.opened, run.start, stage, digest)
        if found is not None:
            progress().reused(title, _size(found))
            note(run, Event.REUSED, stage=stage, size_bytes=_size(found))
            return found
        alive()
        begun, watch = time.monotonic(), Watch()
        with traced(run, stage), failures_noted(run, stage), progress().stage(title, steps) as advance:
            records = tuple(make(advance))
            alive()
            made = marks.mark(run.opened, run.start, stage, digest, records)
        seconds = time.monotonic() - begun
        progress().done(title, seconds, _size(made))
        note(run, Event.STAGE, stage=stage, seconds=round(seconds, 3), size_bytes=_size(made), **_most(watch))
        return made


def publication(run: Run, objects: Iterable[ObjectRecord], publish: Callable[[], Manifest]) -> Manifest:
    """Publish, which is never reused: what was written is checked each time; how long it took is noted."""
    title, begun, watch = TITLES["publish"], time.monotonic(), Watch()
    with traced(run, "publish"), failures_noted(run, "publish"), progress().stage(title):
        manifest = publish()
    seconds = time.monotonic() - begun
    progress().done(title, seconds, sum(item.size_bytes for item in objects))
    note(run, Event.STAGE, stage="publish", seconds=round(seconds, 3), **_most(watch))
    note_published(run, manifest)
    return manifest


def note_published(run: Run, manifest: Manifest) -> None:
    """Put into the journal that a revision was published, once."""
    words = f"r{manifest.revision}"
    told = {entry.words for entry in journal.read(run.opened, run.start) if entry.event is Event.PUBLISHED}
    if words not in told:
        note(run, Event.PUBLISHED, words=words)


@contextmanager
def failures_noted(run: Run, stage: str) -> Iterator[None]:
    """What ends the block by an error stands in the cycle's journal; of a run that lost its cycle nothing does."""
    try:
        yield
    finally:
        error = sys.exception()
        if error is not None and not isinstance(error, CycleHeld):
            with suppress(GomsError):  # the store may be what failed: the first error is the one to be raised
                note(run, Event.FAILED, stage=stage, words=str(error) or repr(error), exit_code=logs.exit_code(error))


def traced(run: Run, stage: str) -> AbstractContextManager[None]:
    """The stage as a span, where traces are asked for."""
    return traces.span(stage, system=run.system, cycle=run.cycle, run=flow_run.id)


def note(run: Run, event: Event, **details: Any) -> None:
    """Put an entry into the journal of the run's cycle; ``details``: further fields of ``Note``."""
    entry = Note(when=now(), event=event, who=holding.this_process(), run=flow_run.id, **details)
    journal.note(run.opened, run.start, entry)
    if event in TURNS:
        _say_how_it_stands(run)


def _say_how_it_stands(run: Run) -> None:
    """Refresh the system's ``status.json``."""
    with _beside("status.json"):
        freshness.refresh(run.opened, run.of, now(), (run.start,))


def tell_catalogue(run: Run) -> None:
    """Have the catalogue say what is published."""
    with _beside("the catalogue"):
        catalogue.refresh(run.opened, run.of, left_out("the catalogue"))


def show_page(run: Run) -> None:
    """Put the page to look at beside the products."""
    with _beside("the page to look at"):
        view.refresh(run.opened, run.of, left_out("the page to look at"))


@contextmanager
def _beside(what: str) -> Iterator[None]:
    """What readers have beside the products: its failure is told, and keeps no forecast from them."""
    try:
        yield
    except CycleHeld:
        raise
    except GomsError as error:
        progress().say(f"[yellow]{what} was not refreshed[/]: {escape(str(error))}")


def permitted(run: Run) -> None:
    """``CycleHeld`` where the run has lost its cycle, or a person has put it on hold since the run began."""
    alive()
    judgement.refuse_if_held(run.opened, run.start)


def is_published(run: Run) -> bool:
    """Whether the revision the run is about exists for readers."""
    return run.opened.exists(f"{run.start.revision_prefix(run.revision)}/{MANIFEST}")


def without(run: Run, stage: str) -> str | None:
    """Why an operator decided to go on without an optional stage, or ``None``."""
    found = judgement.judgements(run.opened, run.start).stages.get(stage)
    return None if found is None else f"left out by {found.who}, {found.when:%Y-%m-%d %H:%M} UTC: {found.why}"


def forget_from(run: Run, stage: str) -> None:
    """Do this stage and those after it again, though they were done: their marks and restart states go."""
    place = marks.STAGES.index(stage)
    for later in marks.STAGES[place:]:
        marks.unmark(run.opened, run.start, later)
    if place <= marks.STAGES.index("forecast"):
        run.opened.delete(f"{run.start.run_prefix}/restart/r{run.revision}")
        run.opened.delete(skill.settled_folder(run.start, run.revision))
    note(run, Event.CLEARED, stage=stage, words=f"from {stage} on, as {holding.this_person()} asked")


def gridded(run: Run, taken: Mapping[Kind, Mark]) -> dict[Kind, Gridded]:
    """What the stages that took input in have staged."""
    return {kind: Gridded(staged.load(run.opened, mark.outputs[0].path)) for kind, mark in taken.items()}


def initial_state(run: Run, mark: Mark) -> InitialState:
    """What the stage that initialised has staged."""
    return InitialState(staged.load(run.opened, mark.outputs[0].path))


def edition(run: Run, initial: InitialState, forecaster: Forecaster, left_out: Mapping[str, str]) -> Edition:
    """The revision this run makes, with everything that must be said on it."""
    facts = produce.facts(
        initial, forecaster, revision=run.revision, code_version=code_version(), publisher=Settings().publisher,
        left_out=left_out, superseding=run.superseding, skill=skill_of(run, forecaster.name, forecaster.digest),
    )  # fmt: skip
    return Edition(run.opened, run.of, run.start, facts)


def skill_of(run: Run, forecaster: str, digest: str) -> dict[str, Reliability]:
    """How good each product was lately, as it was decided when the forecast was first begun; a look decides nothing."""
    who, decide = scoreboard.identity(forecaster, digest), holding.HEARTBEAT.get() is not None
    return skill.settled(run.opened, run.of, run.start, run.revision, who, decide=decide)


def tidy(run: Run, manifest: Manifest) -> None:
    """Remove what was staged for a cycle that is published: its marks say what it was, its products hold the rest.

    What no product holds stays for the gate of the next cycle, which compares with it; housekeeping removes it.
    """
    kept = {run.staged(kind) for kind in memory.kept_staged(run.of, manifest.products)}
    for path, _ in run.opened.objects(f"{run.start.run_prefix}/staged"):
        if path not in kept:
            run.opened.delete(path)


def text_of(run: Run) -> str:
    """What a run's inputs depend on, as text: the system's definition and what the operator said."""
    definition = run.of.model_dump_json(exclude={"schedule"})
    return json.dumps({"system": json.loads(definition), "inputs": run.inputs, "seed": run.seed,
                       "revision": run.revision, "superseding": run.superseding})  # fmt: skip


def code_version() -> str:
    """The version of this code."""
    return version("goms")


def _most(watch: Watch) -> dict[str, int | None]:
    most = watch.peaks()
    return {"peak_memory_bytes": most.memory_bytes, "peak_device_memory_bytes": most.device_memory_bytes}


def _size(mark: Mark) -> int:
    return sum(item.size_bytes for item in mark.outputs)
