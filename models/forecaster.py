"""Normalise -> roll out -> heads -> physical units again: numpy in, numpy out, one day at a time.

``ModelForecaster`` satisfies the service's forecaster protocol without knowing it. Every day is computed from nothing
but the arrays of the day before as they were yielded, the forcing of that day, and its lead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import checkpoint
from models.checkpoint import Checkpoint
from models.errors import CheckpointError
from models.suite import STATE_HEADS, Surface

Array = NDArray[np.float32]
Arrays = Mapping[str, Array]


def load(folder: Path, sha256: str | None = None, threads: int | None = None) -> ModelForecaster:
    """The forecaster in a checkpoint folder, on the processor; ``CheckpointError`` unless it is what the pin says.

    ``threads``: of torch, for the whole process; ``None`` leaves them. The bytes of a forecast do not depend on it.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    return ModelForecaster(checkpoint.load(folder, sha256))


class ModelForecaster:
    """A trained model as a forecaster.

    ``name``, ``digest`` (SHA-256 of the checkpoint) and ``trained_on`` say which; the ``..._channels`` say what arrays
    it takes, as labels in order (empty: it has no such head), so that they can be checked before anything is computed.
    """

    def __init__(self, loaded: Checkpoint) -> None:
        card, self._suite = loaded.card, loaded.suite
        self.name, self.digest, self.trained_on = card.about.name, loaded.digest, card.about.trained_on
        self.card = card
        self.ocean_channels, self.forcing_channels = card.ocean.channels, card.ocean.forcing
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
        masks = {name: _tensor(np.isfinite(values))[0] for name, values in days.items()}
        return self._days(days, forcing, masks, self._suite.surface(masks["ocean"]), after)

    def derive(self, state: Arrays, forcing: Array) -> dict[str, Array]:
        """What is derived from a day itself, for the initial state: ``kuroshio``, values everywhere, or nothing.

        ``state``: as for ``roll_out``; ``forcing``: of that day.
        """
        self._check("ocean", state["ocean"])
        self._check_forcing(forcing)
        mask = _tensor(np.isfinite(state["ocean"]))[0]
        surface = self._suite.surface(mask)
        if surface is None:
            return {}
        with torch.inference_mode():
            ocean, atmosphere = _tensor(state["ocean"]), _tensor(forcing)
            features = self._suite.ocean(ocean, atmosphere, mask).features
            return {"kuroshio": _array(self._suite.downscale(ocean, atmosphere, features, surface, torch.zeros(1)))}

    def _days(self, days: Arrays, forcing: Iterable[Array], masks: dict[str, Tensor],
              surface: Surface | None, after: int) -> Iterator[dict[str, Array]]:  # fmt: skip
        for lead, fields in enumerate(forcing, start=after + 1):
            self._check_forcing(fields)
            following = self._day(days, fields, masks, surface, lead)
            days = {name: values.copy() for name, values in following.items() if name != "kuroshio"}
            yield following

    def _day(self, days: Arrays, forcing: Array, masks: dict[str, Tensor], surface: Surface | None,
             lead: int) -> dict[str, Array]:  # fmt: skip
        with torch.inference_mode():
            atmosphere = _tensor(forcing)
            step = self._suite.advance({name: _tensor(values) for name, values in days.items()}, atmosphere, masks)
            result = {name: _array(torch.where(masks[name] > 0, values, torch.nan))
                      for name, values in step.fields.items()}  # fmt: skip
            if surface is not None:
                days_on = torch.full((1,), float(lead))
                fine = self._suite.downscale(step.fields["ocean"], atmosphere, step.features, surface, days_on)
                result["kuroshio"] = _array(fine)
        return result

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


def _tensor(values: NDArray[np.floating] | NDArray[np.bool_]) -> Tensor:
    """(channel, latitude, longitude) with NaN on land -> (1, channel, latitude, longitude) float32, zero on land."""
    return torch.from_numpy(np.nan_to_num(values.astype(np.float32), copy=False, nan=0.0))[None]


def _array(fields: Tensor) -> Array:
    return fields[0].numpy()
