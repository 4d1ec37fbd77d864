"""Trained models as the pipeline's forecasters: the only door from the flows to torch's weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import models
from models.engine import Engine
from models.forecaster import ModelForecaster, load
from pipeline.contracts import InitialState
from pipeline.earth import landmask
from pipeline.forecast import Arrays
from pipeline.settings import Settings
from pipeline.systems import CheckpointPin, System

CHECKPOINTS = Path(models.__file__).parent / "checkpoints"
"""Where the checkpoints that systems pin are kept."""


def pinned(pin: CheckpointPin, settings: Settings) -> ModelForecaster:
    """The model a system pins; ``CheckpointError`` unless it is that one to the byte."""
    return load(CHECKPOINTS / pin.folder, pin.sha256, settings.threads, engine(settings))


def from_folder(folder: Path, settings: Settings) -> ModelForecaster:
    """The model in a folder, whichever it is: its digest goes onto the products."""
    return load(folder, None, settings.threads, engine(settings))


def engine(settings: Settings) -> Engine:
    """Where and how this machine runs models."""
    return Engine(device=settings.device, precision=settings.precision, compiled=settings.compiled)


def heads_missing(model: ModelForecaster, system: System) -> dict[str, str]:
    """The products the model has no head for, each with the reason."""
    reason = f"the checkpoint {model.name} has no head for it"
    return {entry.name: reason for entry in system.products if entry.state not in model.shapes}


class OnOcean:
    """A trained model as the pipeline's ``Forecaster``: what it gives everywhere is kept to the system's ocean."""

    def __init__(self, model: ModelForecaster, initial: InitialState, system: System) -> None:
        self.name, self.digest, self.trained_on = model.name, model.digest, model.trained_on
        self.ocean_channels, self.forcing_channels = model.ocean_channels, model.forcing_channels
        self.forcing_memory_days: Mapping[str, float] = model.forcing_memory_days
        self._model, self._system = model, system
        self._forcing = np.asarray(initial["forcing"].values, dtype=np.float32)

    def derive(self, state: Arrays) -> dict[str, NDArray[np.float32]]:
        """``kuroshio`` of the initial state, where the model has the head and the system the grid."""
        return self._masked(self._model.derive(state, self._forcing))

    def roll_out(
        self, state: Arrays, forcing: Iterable[NDArray[np.float32]], after: int = 0
    ) -> Iterator[dict[str, NDArray[np.float32]]]:
        """The model's days, NaN on the system's land."""
        for day in self._model.roll_out(state, forcing, after):
            yield self._masked(day)

    def _masked(self, day: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        if "kuroshio" not in day:
            return day
        ocean = landmask.ocean_mask(self._system, "kuroshio")
        return {**day, "kuroshio": np.where(ocean, day["kuroshio"], np.float32("nan"))}
