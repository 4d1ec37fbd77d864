"""Which forecaster a run uses, and how its days are streamed into the store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import models
from flows import stages
from flows.holding import alive
from flows.progress import Advance
from flows.stages import Run
from models.forecaster import ModelForecaster, load
from pipeline import edition, landmask
from pipeline.contracts import InitialState
from pipeline.errors import UsageError
from pipeline.forecast import Arrays, Forecaster, Persistence
from pipeline.marks import Mark
from pipeline.settings import Settings
from pipeline.store import ObjectRecord
from pipeline.systems import System

CHECKPOINT, PERSISTENCE = "checkpoint", "persistence"
CHECKPOINTS = Path(models.__file__).parent / "checkpoints"
"""Where the checkpoints that systems pin are kept."""


def choose(run: Run) -> Persistence | ModelForecaster:
    """The forecaster a run asks for; ``UsageError`` where it is the pinned checkpoint and the system has none."""
    threads = Settings().threads
    if run.forecaster == PERSISTENCE:
        return Persistence(run.of)
    if run.forecaster != CHECKPOINT:
        return load(Path(run.forecaster), None, threads)
    pin = run.of.checkpoint
    if pin is None:
        raise UsageError(
            f"a checkpoint for system {run.system}", found="none pinned", where="pipeline/systems.py",
            action="train one (goms train), or ask for --forecaster persistence",
        )  # fmt: skip
    return load(CHECKPOINTS / pin.folder, pin.sha256, threads)


def fitted(run: Run, initial: InitialState) -> Forecaster:
    """The forecaster a run asks for, as the pipeline takes it."""
    forecaster = choose(run)
    return forecaster if isinstance(forecaster, Persistence) else OnOcean(forecaster, initial, run.of)


def lacking(run: Run) -> dict[str, str]:
    """The products that the forecaster cannot make, each with the reason."""
    forecaster = choose(run)
    if isinstance(forecaster, Persistence):
        return {}
    reason = f"the checkpoint {forecaster.name} has no head for it"
    return {entry.name: reason for entry in run.of.products if entry.state not in forecaster.shapes}


def made_from(run: Run, initial: Mark, left_out: Mapping[str, str]) -> list[str]:
    """What the forecast stage depends on, as texts."""
    forecaster = choose(run)
    facts = Settings().publisher.model_dump_json()
    return [
        stages.text_of(run), initial.outputs_digest, forecaster.name, forecaster.digest, f"r{run.revision}", facts,
        json.dumps(dict(left_out), sort_keys=True),
    ]  # fmt: skip


def stream(
    run: Run, initial: Mark, left_out: Mapping[str, str], inputs_digest: str, advance: Advance
) -> tuple[ObjectRecord, ...]:
    """Roll out and write every lead day of every product; each day is a sign of life."""
    settings, state = Settings(), stages.initial_state(run, initial)
    for product in left_out:  # what an earlier try may have begun with other inputs
        run.opened.delete(f"{run.start.revision_prefix(run.revision)}/{product}.zarr")
    forecaster = fitted(run, state)

    def progress(lead_day: int) -> None:
        alive()
        advance(lead_day)

    return edition.write(
        stages.edition(run, state, forecaster, left_out), state, forecaster, inputs_digest=inputs_digest,
        restart_every_days=settings.restart_every_days, queue_days=settings.queue_days, progress=progress,
    )  # fmt: skip


class OnOcean:
    """A trained model as the pipeline's ``Forecaster``: what it gives everywhere is kept to the system's ocean."""

    def __init__(self, model: ModelForecaster, initial: InitialState, system: System) -> None:
        self.name, self.digest, self.trained_on = model.name, model.digest, model.trained_on
        self.ocean_channels, self.forcing_channels = model.ocean_channels, model.forcing_channels
        self._model, self._system = model, system
        self._forcing = np.asarray(initial["forcing"].values, dtype=np.float32)

    def derive(self, state: Arrays) -> dict[str, NDArray[np.float32]]:
        """``kuroshio`` of the initial state, where the model has the head and the system the grid."""
        return self._masked(self._model.derive(state, self._forcing))

    def roll_out(
        self, state: Arrays, forcing: Iterable[NDArray[np.float32]]
    ) -> Iterator[dict[str, NDArray[np.float32]]]:
        """The model's days, NaN on the system's land."""
        for day in self._model.roll_out(state, forcing):
            yield self._masked(day)

    def _masked(self, day: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        if "kuroshio" not in day:
            return day
        ocean = landmask.ocean_mask(self._system, "kuroshio")
        return {**day, "kuroshio": np.where(ocean, day["kuroshio"], np.float32("nan"))}
