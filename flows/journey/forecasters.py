"""Which forecaster a run uses, and how its days are streamed into the store."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flows.journey import device, stages
from flows.journey.holding import alive
from flows.journey.stages import Run
from flows.progress import Advance
from pipeline import edition
from pipeline.addresses import from_anywhere
from pipeline.contracts import InitialState
from pipeline.errors import UsageError
from pipeline.forecast import Forecaster, Persistence
from pipeline.output_gate.judging import Judge
from pipeline.record.marks import Mark
from pipeline.settings import Settings
from pipeline.store import ObjectRecord

if TYPE_CHECKING:
    from models.forecaster import ModelForecaster

CHECKPOINT, PERSISTENCE = "checkpoint", "persistence"
"""What a run may ask for, besides a checkpoint's folder."""


def choose(run: Run) -> Persistence | ModelForecaster:
    """The forecaster a run asks for; ``UsageError`` where it is the pinned checkpoint and the system has none."""
    if run.forecaster == PERSISTENCE:
        return Persistence(run.of)
    pin = run.of.checkpoint
    if run.forecaster == CHECKPOINT and pin is None:
        raise UsageError(
            f"a checkpoint for system {run.system}", found="none pinned", where="pipeline/systems.py",
            action="train one (goms train), or ask for --forecaster persistence",
        )  # fmt: skip
    from flows.journey import trained  # brings torch in, which persistence can do without

    if run.forecaster == CHECKPOINT and pin is not None:
        return trained.pinned(pin, Settings())
    return trained.from_folder(Path(run.forecaster), Settings())


def from_elsewhere(forecaster: str) -> str:
    """What a run may ask for, so that it means the same to a process that works in another folder."""
    return forecaster if forecaster in (CHECKPOINT, PERSISTENCE) else from_anywhere(forecaster)


def prepare(forecaster: str) -> None:
    """Bring in what a forecaster needs, which takes seconds; to be called while there is something to wait for."""
    if forecaster != PERSISTENCE:
        importlib.import_module("flows.journey.trained")


def fitted(run: Run, initial: InitialState) -> Forecaster:
    """The forecaster a run asks for, as the pipeline takes it."""
    forecaster = choose(run)
    if isinstance(forecaster, Persistence):
        return forecaster
    from flows.journey.trained import OnOcean

    return OnOcean(forecaster, initial, run.of)


def lacking(run: Run) -> dict[str, str]:
    """The products that the forecaster cannot make, each with the reason."""
    forecaster = choose(run)
    if isinstance(forecaster, Persistence):
        return {}
    from flows.journey.trained import heads_missing

    return heads_missing(forecaster, run.of)


def made_from(run: Run, initial: Mark, left_out: Mapping[str, str]) -> list[str]:
    """What the forecast stage depends on, as texts."""
    forecaster = choose(run)
    publisher = Settings().publisher.model_dump_json()
    proven = stages.skill_of(run, forecaster.name, forecaster.digest)
    return [
        stages.text_of(run), initial.outputs_digest, forecaster.name, forecaster.digest, f"r{run.revision}", publisher,
        json.dumps(dict(left_out), sort_keys=True),
        json.dumps({name: note.model_dump(mode="json") for name, note in proven.items()}, sort_keys=True),
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

    with device.slot(settings.device_slot):
        return edition.write(
            stages.edition(run, state, forecaster, left_out), state, forecaster, inputs_digest=inputs_digest,
            restart_every_days=settings.restart_every_days, queue_days=settings.queue_days, progress=progress,
            judge=Judge(run.opened, run.of, run.start, run.revision),
        )  # fmt: skip
