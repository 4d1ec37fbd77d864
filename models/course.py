"""Going down a loss: optimiser, warm-up and cosine, gradient limit, and the average of the weights that is kept."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn, optim

from models.errors import TrainingError
from models.ranks import Ranks
from models.recipes import Recipe

BETAS = (0.9, 0.95)
"""Decay of Adam's two moments; the second is shorter than usual, for runs of a few thousand steps."""
STUCK = 20
"""So many steps in a row without a finite loss and gradient are no misfortune: the run stops."""


class Taken(NamedTuple):
    """The loss of a step over all processes, the rate it was taken at, and the gradient's norm before the limit."""

    loss: float
    rate: float
    gradient: float


class Course:
    """The way of one stage. ``parts``: the modules that move, whose gradients are limited each by itself."""

    def __init__(self, parts: list[nn.Module], steps: int, rate: float, recipe: Recipe, ranks: Ranks) -> None:
        self.parts, self.steps, self.rate, self.recipe, self.ranks = parts, steps, rate, recipe, ranks
        self.weights = {f"{number}.{name}": weight for number, part in enumerate(parts)
                        for name, weight in part.named_parameters()}  # fmt: skip
        self.optimiser = _optimiser(list(self.weights.values()), rate, recipe, ranks)
        self.step, self.stuck = 0, 0
        self.average = {name: weight.detach().clone() for name, weight in self.weights.items()}

    def take(self, loss: Tensor, *, relative: bool = False) -> Taken:
        """One step down this loss, or its logarithm; one whose loss or gradient is no number anywhere moves nothing.

        ``TrainingError`` where nothing has moved for ``STUCK`` steps.
        """
        value, rate, norm = self.ranks.mean(loss), self.rate * self._share(), float("nan")
        if math.isfinite(value):
            self.optimiser.zero_grad(set_to_none=True)
            (loss.log() if relative else loss).backward()  # type: ignore[no-untyped-call]
            norms = [nn.utils.clip_grad_norm_(part.parameters(), self.recipe.gradient_limit) for part in self.parts]
            norm = float(torch.stack(norms).norm())
        if math.isfinite(norm):  # of gradients that are the mean of all processes': each finds the same
            for group in self.optimiser.param_groups:
                group["lr"] = rate
            self.optimiser.step()
        self.step += 1
        self._count(moved=math.isfinite(norm))
        self._follow()
        return Taken(value, rate, norm)

    def _count(self, *, moved: bool) -> None:
        self.stuck = 0 if moved else self.stuck + 1
        if self.stuck == STUCK:
            raise TrainingError("a loss and a gradient that are numbers", found=f"none in {STUCK} steps in a row",
                                where=f"steps {self.step - STUCK + 1} to {self.step} of {self.steps} of a stage",
                                action="lower the rates, or see what the days of the archive hold")  # fmt: skip

    def _share(self) -> float:
        """Of the full rate: a straight warm-up, then half a cosine down to nothing."""
        warmup = max(1, int(self.recipe.warmup_share * self.steps))
        return min((self.step + 1) / warmup, 0.5 * (1 + math.cos(math.pi * min(self.step / max(self.steps, 1), 1.0))))

    def _follow(self) -> None:
        """The average follows the weights, faster in the beginning: it must forget where they came from."""
        if not self.recipe.averaging:
            return
        decay = min(self.recipe.averaging, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, weight in self.weights.items():
                self.average[name].lerp_(weight, 1 - decay)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within it the modules have the averaged weights, where the recipe wants an average."""
        if not self.recipe.averaging:
            yield
            return
        now = {name: weight.detach().clone() for name, weight in self.weights.items()}
        self.put(self.average)
        try:
            yield
        finally:
            self.put(now)

    def kept(self) -> dict[str, Tensor]:
        """A copy of the weights that would be kept if the stage ended here."""
        source = self.average if self.recipe.averaging else self.weights
        return {name: weight.detach().clone() for name, weight in source.items()}

    def put(self, weights: dict[str, Tensor]) -> None:
        """Let the modules have these weights."""
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(weights[name])

    def state(self) -> dict[str, Any] | None:
        """All that the next step depends on; every process must ask, and the first gets it."""
        if consolidate := getattr(self.optimiser, "consolidate_state_dict", None):  # a sharded optimiser's parts
            consolidate(to=0)
        if not self.ranks.first:
            return None
        weights = {name: weight.detach() for name, weight in self.weights.items()}
        return {
            "step": self.step,
            "stuck": self.stuck,
            "weights": weights,
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.step, self.stuck = state["step"], state["stuck"]
        self.put(state["weights"])
        for name, values in state["average"].items():
            self.average[name].copy_(values)
        self.optimiser.load_state_dict(state["optimiser"])


def _optimiser(weights: list[nn.Parameter], rate: float, recipe: Recipe, ranks: Ranks) -> optim.Optimizer:
    options: dict[str, Any] = {"lr": rate, "betas": BETAS, "weight_decay": recipe.weight_decay}
    if recipe.sharded_optimiser and ranks.world > 1:
        from torch.distributed.optim import ZeroRedundancyOptimizer

        return ZeroRedundancyOptimizer(weights, optim.AdamW, **options)
    return optim.AdamW(weights, **options)
