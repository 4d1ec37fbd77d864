"""What a training run is asked to do, and what it says while it does it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.backbone import Architecture
from models.checkpoint import About, Card, Checkpoint
from models.heads import DownscalingArchitecture, StateHeadArchitecture
from models.recipes import Recipe
from models.suite import Suite


class Progress(NamedTuple):
    """One training step done: ``step`` of ``steps`` of a ``stage``, its ``loss`` and learning ``rate``.

    ``gradient``: norm of the gradient before it was limited. ``validation``: the loss on the validation span, on the
    steps where that was looked at.
    """

    stage: str
    step: int
    steps: int
    loss: float
    rate: float
    gradient: float = float("nan")
    validation: float | None = None


Report = Callable[[Progress], None]
"""Called after every step."""


class Plan(NamedTuple):
    """What to train. ``latitude``: degrees north of the ocean's rows, for area weights; ``None``: all rows alike.

    ``span``: first and last day (indices) that training may see; ``validation``: those it is judged on meanwhile.
    Heads that are ``None`` are not trained. Their floors may be left out: they are measured. ``backbone``: a
    checkpoint whose backbone is kept, frozen, with what other heads it has; ``None``: the backbone is trained.
    ``days``: what tells these training days from all others, to the byte: a state of others is not gone on with.
    """

    about: About
    architecture: Architecture
    recipe: Recipe
    latitude: NDArray[np.float64] | None = None
    span: tuple[int, int | None] = (0, None)
    waves: StateHeadArchitecture | None = None
    biogeochemistry: StateHeadArchitecture | None = None
    kuroshio: DownscalingArchitecture | None = None
    backbone: Checkpoint | None = None
    validation: tuple[int, int] | None = None
    days: str = ""

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the heads that are trained."""
        return tuple(name for name in ("waves", "biogeochemistry", "kuroshio") if getattr(self, name) is not None)


class Trained(NamedTuple):
    """The networks and the card to save them with."""

    card: Card
    suite: Suite


class Keeping(NamedTuple):
    """Where a run keeps its state, and after how many steps of a stage it does (at its end it always does)."""

    folder: Path
    every: int
