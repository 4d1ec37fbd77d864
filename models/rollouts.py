"""Rollouts kept going while the model trains, so that it learns from its own forecasts at every lead at no extra cost.

Each training step takes some rollouts, steps them on with gradient, is scored against the days that really followed,
and puts what it forecast back. A rollout that has reached its end starts again on another day.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from models.days import Reader, ahead


@dataclass
class Rollout:
    """One forecast under way: ``fields`` on day ``start + lead``, and all the forcing it will see."""

    start: int
    lead: int
    end: int
    fields: dict[str, Tensor]
    forcing: Tensor


class Draw(NamedTuple):
    """Rollouts to step on, and by kind what really followed: (batch, steps, channels, rows, columns)."""

    rollouts: list[Rollout]
    truth: dict[str, Tensor]

    def fields(self) -> dict[str, Tensor]:
        """By kind (batch, channels, rows, columns): where the rollouts stand."""
        kinds = self.rollouts[0].fields
        return {kind: torch.stack([rollout.fields[kind] for rollout in self.rollouts]) for kind in kinds}

    def forcing(self, step: int) -> Tensor:
        """(batch, channels, rows, columns): of the step that many after where the rollouts stand."""
        return torch.stack([rollout.forcing[rollout.lead + step] for rollout in self.rollouts])

    def put_back(self, fields: dict[str, Tensor], steps: int) -> None:
        """Let the rollouts stand at what was forecast ``steps`` later."""
        for number, rollout in enumerate(self.rollouts):
            for kind, values in fields.items():
                rollout.fields[kind].copy_(values[number].detach())
            rollout.lead += steps

    def abandon(self) -> None:
        """Start these rollouts again on other days at their next turn."""
        for rollout in self.rollouts:
            rollout.lead = rollout.end


class RolloutPool:
    """``size`` rollouts, drawn ``batch`` at a time in turn; every random choice follows from ``generator``."""

    def __init__(self, reader: Reader, kinds: tuple[str, ...], *, size: int, batch: int, steps: int, longest: int,
                 generator: torch.Generator) -> None:  # fmt: skip
        self.reader, self.kinds, self.batch, self.steps = reader, kinds, batch, steps
        self.longest, self.generator = longest, generator
        self._starts = {length: reader.starts(length) for length in range(steps, longest + 1)}
        turns = max(2, -(-size // batch))
        self._turns: list[list[Rollout | None]] = [[None] * batch for _ in range(turns)]

    def draws(self, count: int, truths: tuple[str, ...]) -> Iterator[Draw]:
        """``count`` draws, each read while the one before it is being worked on; ``truths``: kinds of truth to read."""
        turns = (self._turns[number % len(self._turns)] for number in range(count))
        return ahead(lambda turn: self._draw(turn, truths), turns)

    def _draw(self, turn: list[Rollout | None], truths: tuple[str, ...]) -> Draw:
        for place, rollout in enumerate(turn):
            if rollout is None or rollout.lead + self.steps > rollout.end:
                turn[place] = self._begin(rollout)
        rollouts = [rollout for rollout in turn if rollout is not None]
        return Draw(rollouts, {kind: torch.stack([self._followed(kind, rollout) for rollout in rollouts])
                               for kind in truths})  # fmt: skip

    def _followed(self, kind: str, rollout: Rollout) -> Tensor:
        first = rollout.start + rollout.lead + 1
        return torch.stack([self.reader.field(kind, day) for day in range(first, first + self.steps)])

    def _begin(self, ended: Rollout | None) -> Rollout:
        """A rollout from another day, in the place of one that has ended: its tensors are used again."""
        end = self._random(self.steps, self.longest + 1)
        start = int(self._starts[end][self._random(0, self._starts[end].size)])
        fields = {kind: self.reader.field(kind, start) for kind in self.kinds}
        if ended is not None:
            fields = {kind: ended.fields[kind].copy_(values) for kind, values in fields.items()}
        return Rollout(start, 0, end, fields, self.reader.forcing(start, end))

    def _random(self, low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=self.generator))
