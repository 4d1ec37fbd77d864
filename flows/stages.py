"""One run of one cycle as its tasks see it: what was asked, where things lie, and what is done already."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from flows.holding import alive
from flows.progress import Advance, progress
from pipeline import cycle, marks, produce, staged, systems
from pipeline.contracts import Gridded, InitialState
from pipeline.cycle import Cycle
from pipeline.edition import Edition
from pipeline.forecast import Forecaster
from pipeline.marks import Mark
from pipeline.settings import Settings
from pipeline.store import ObjectRecord, Store
from pipeline.systems import System
from pipeline.variables import Kind

TITLES = {
    "ocean": "take in the ocean",
    "surface": "take in the atmosphere",
    "waves": "take in the waves",
    "biogeochemistry": "take in the plankton",
    "initialise": "initialise",
    "forecast": "forecast",
    "quicklooks": "draw the maps",
}
"""What an operator reads while a stage runs."""


class Run(BaseModel):
    """What one run was asked to do, in values that any process understands.

    ``forecaster``: ``checkpoint`` (the system's pinned one), ``persistence``, or a checkpoint's folder.
    ``seed``: of the twin. ``revision``: the one this run makes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    system: str
    cycle: str
    store: str
    inputs: str | None = None
    forecaster: str = "checkpoint"
    seed: int = 0
    revision: int = 1

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
        """The store, open."""
        return Store(self.store)

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
    digest, title = marks.digest(stage, code_version(), *made_from), TITLES.get(stage, stage)
    found = marks.marked(run.opened, run.start, stage, digest)
    if found is not None:
        progress().reused(title, _size(found))
        return found
    alive()
    begun = time.monotonic()
    with progress().stage(title, steps) as advance:
        records = tuple(make(advance))
    alive()
    made = marks.mark(run.opened, run.start, stage, digest, records)
    progress().done(title, time.monotonic() - begun, _size(made))
    return made


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
        left_out=left_out,
    )  # fmt: skip
    return Edition(run.opened, run.of, run.start, facts)


def tidy(run: Run) -> None:
    """Remove what was staged for a cycle that is published: its marks say what it was, its products hold the rest."""
    run.opened.delete(f"{run.start.run_prefix}/staged")


def text_of(run: Run) -> str:
    """What a run's inputs depend on, as text: the system's definition and what the operator said."""
    definition = run.of.model_dump_json(exclude={"schedule"})
    return json.dumps({"system": json.loads(definition), "inputs": run.inputs, "seed": run.seed})


def code_version() -> str:
    """The version of this code."""
    return version("goms")


def _size(mark: Mark) -> int:
    return sum(item.size_bytes for item in mark.outputs)
