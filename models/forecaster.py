"""Normalise -> roll out -> heads -> physical units again: numpy in, numpy out, one day at a time.

``ModelForecaster`` satisfies the service's forecaster protocol without knowing it. Every day is computed from nothing
but the arrays of the day before as they were yielded, the forcing of that day, and its lead: no random number is drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import checkpoint, cost
from models.checkpoint import Checkpoint
from models.engine import REFERENCE, Engine, installed, products, settled
from models.errors import CheckpointError
from models.streaming import Landing, Transfers
from models.suite import STATE_HEADS, Suite, Surface

Array = NDArray[np.float32]
Arrays = Mapping[str, Array]


def load(
    folder: Path, sha256: str | None = None, threads: int | None = None, engine: Engine = REFERENCE
) -> ModelForecaster:
    """The forecaster in a checkpoint folder; ``CheckpointError`` unless it is what the pin says.

    ``threads``: of torch, for the whole process; ``None`` leaves them. The bytes of a forecast do not depend on it.
    ``engine``: where and how it runs; ``DeviceError`` where the machine cannot.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    return ModelForecaster(checkpoint.load(folder, sha256), engine)


class _Day(NamedTuple):
    """What a step needs of the day before: physical fields on the device, zero on land."""

    fields: dict[str, Tensor]
    masks: dict[str, Tensor]
    surface: Surface | None


class ModelForecaster:
    """A trained model as a forecaster.

    ``name``, ``digest`` (SHA-256 of the checkpoint) and ``trained_on`` say which; the ``..._channels`` say what arrays
    it takes, as labels in order (empty: it has no such head), so that they can be checked before anything is computed.
    An engine other than the reference is part of the name, since it is part of what makes a forecast's bytes.
    The networks go to the device when they are first needed there.
    """

    def __init__(self, loaded: Checkpoint, engine: Engine = REFERENCE) -> None:
        card, self._loaded, self.engine = loaded.card, loaded.suite, settled(engine)
        label = self.engine.label
        self.name = f"{card.about.name} ({label})" if label else card.about.name
        self.digest, self.trained_on = loaded.digest, card.about.trained_on
        self.card = card
        self.ocean_channels, self.forcing_channels = card.ocean.channels, card.ocean.forcing
        self.forcing_memory_days = card.ocean.forcing_memory_days
        self.wave_channels = card.waves.architecture.channels if card.waves else ()
        self.biogeochemistry_channels = card.biogeochemistry.architecture.channels if card.biogeochemistry else ()
        self.kuroshio_channels = card.kuroshio.architecture.channels if card.kuroshio else ()

    @property
    def shapes(self) -> dict[str, tuple[int, int, int]]:
        """(channel, latitude, longitude) of every array this forecaster knows, ``forcing`` included."""
        card, ocean = self.card, self.card.ocean.architecture
        result = {name: (len(labels), ocean.rows, ocean.columns)
                  for name, labels in (("ocean", self.ocean_channels), ("forcing", self.forcing_channels))}  # fmt: skip
        for name in STATE_HEADS:
            if (part := getattr(card, name)) is not None:
                result[name] = (len(part.architecture.channels), part.architecture.rows, part.architecture.columns)
        if card.kuroshio is not None:
            rows, columns = card.kuroshio.architecture.window.shape
            factor = card.kuroshio.architecture.factor
            result["kuroshio"] = (len(self.kuroshio_channels), rows * factor, columns * factor)
        return result

    def roll_out(self, state: Arrays, forcing: Iterable[Array], after: int = 0) -> Iterator[dict[str, Array]]:
        """Yield one day per forcing field: ``ocean``, the heads whose state is there, and ``kuroshio``.

        ``state``: ``ocean`` and any of ``waves``, ``biogeochemistry`` (a head without its state is left out): physical
        units, float32, (channel, latitude, longitude), NaN on land. ``forcing``: for each step, the fields (channel,
        latitude, longitude) valid at the *start* of the step, no NaN. ``after``: lead day of ``state``.
        What is yielded has NaN on the same land; ``kuroshio`` has values everywhere. Quantities modelled as
        "nonnegative" that come out below zero are zero. ``CheckpointError`` where the arrays are not what this model
        was trained on.
        """
        days = {name: state[name] for name in ("ocean", *STATE_HEADS) if name in state and name in self.shapes}
        for name, values in days.items():
            self._check(name, values)
        return self._days(days, forcing, after)

    def derive(self, state: Arrays, forcing: Array) -> dict[str, Array]:
        """What is derived from a day itself, for the initial state: ``kuroshio``, values everywhere, or nothing.

        ``state``: as for ``roll_out``; ``forcing``: of that day.
        """
        self._check("ocean", state["ocean"])
        self._check_forcing(forcing)
        if not self.kuroshio_channels:
            return {}
        with self._running():
            day = self._begun({"ocean": state["ocean"]})
            assert day.surface is not None
            ocean, atmosphere = day.fields["ocean"], self._transfers.put(forcing)
            features = self._suite.ocean(ocean, atmosphere, day.masks["ocean"]).features
            lead = torch.zeros(1, device=self._transfers.device)
            fine = self._suite.downscale(ocean, atmosphere, features, day.surface, lead)
            return self._transfers.fetch({"kuroshio": fine}).arrays()

    def _days(self, state: Arrays, forcing: Iterable[Array], after: int) -> Iterator[dict[str, Array]]:
        """On a device that works beside the host, a day is yielded when the one after it has been set going."""
        day, travelling = None, None
        for lead, fields in enumerate(forcing, start=after + 1):
            self._check_forcing(fields)
            with self._running():
                day, landing = self._step(self._begun(state) if day is None else day, fields, lead)
            if not self._transfers.ahead:
                yield landing.arrays()
            elif travelling is not None:
                yield travelling.arrays()
            travelling = landing
        if travelling is not None and self._transfers.ahead:
            yield travelling.arrays()

    def _begun(self, state: Arrays) -> _Day:
        masks = {name: self._transfers.put(np.isfinite(values))[0] for name, values in state.items()}
        fields = {name: self._transfers.put(values) for name, values in state.items()}
        return _Day(fields, masks, self._suite.surface(masks["ocean"]))

    def _step(self, day: _Day, forcing: Array, lead: int) -> tuple[_Day, Landing]:
        """The next day, to step on from, and the same on its way to the reader, with NaN on land."""
        atmosphere = self._transfers.put(forcing)
        step = self._suite.advance(day.fields, atmosphere, day.masks)
        ocean = {name: mask > 0 for name, mask in day.masks.items()}
        following = {name: torch.where(ocean[name], values, 0.0) for name, values in step.fields.items()}
        given = {name: torch.where(ocean[name], values, torch.nan) for name, values in following.items()}
        if day.surface is not None:
            days_on = torch.full((1,), float(lead), device=self._transfers.device)
            fine = self._suite.downscale(following["ocean"], atmosphere, step.features, day.surface, days_on)
            given["kuroshio"] = fine
        return day._replace(fields=following), self._transfers.fetch(given)

    @cached_property
    def _transfers(self) -> Transfers:
        return Transfers(torch.device(self.engine.device))

    @cached_property
    def _suite(self) -> Suite:
        """The networks where they run; ``DeviceError`` where the device has no room for a rollout."""
        cost.check_memory(self.card.about.name, self.card.ocean.architecture, self.engine)
        return installed(self._loaded, self.engine)

    @contextmanager
    def _running(self) -> Iterator[None]:
        about = self.card.about.name, self.card.ocean.architecture, self.engine
        with torch.inference_mode(), products(self.engine), cost.memory_told(*about):
            yield

    def _check(self, name: str, values: Array) -> None:
        if values.shape != self.shapes[name] or values.dtype != np.float32:
            raise self._refused(f"{name} as float32 {self.shapes[name]}", f"{values.dtype} {values.shape}")
        if bool(np.isinf(values).any()) or not bool(np.isfinite(values).any(axis=(1, 2)).all()):
            raise self._refused(f"{name} finite on ocean, NaN on land", "infinity, or a channel that is all land")

    def _check_forcing(self, fields: Array) -> None:
        if fields.shape != self.shapes["forcing"]:
            raise self._refused(f"forcing {self.shapes['forcing']} {self.forcing_channels}", f"{fields.shape}")
        if not bool(np.isfinite(fields).all()):
            gaps = [label for label, field in zip(self.forcing_channels, fields, strict=True)
                    if not bool(np.isfinite(field).all())]  # fmt: skip
            raise self._refused("forcing without gaps", f"NaN or infinity in {', '.join(gaps)}")

    def _refused(self, needed: str, found: str) -> CheckpointError:
        action = "give it the grid and channels its card lists, or train a model for these"
        return CheckpointError(needed, found=found, where=f"the input of the model {self.name!r}", action=action)
