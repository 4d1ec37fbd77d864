"""Rollouts kept going while the model trains, so that it learns from its own forecasts at every lead at no extra cost.

Each training step takes some rollouts, steps them on with gradient, is scored against the days that really followed,
and puts what it forecast back. A rollout that has reached its end starts again on another day.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Lock
from typing import Any, NamedTuple

import torch
from torch import Tensor

from models.days import Reader, ahead
from models.resuming import seeded


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

    def forcing(self, steps: int) -> Tensor:
        """(batch, steps, channels, rows, columns): of the steps from where the rollouts stand."""
        return torch.stack([rollout.forcing[rollout.lead : rollout.lead + steps] for rollout in self.rollouts])

    def leads(self) -> Tensor:
        """(batch,): days since each rollout's start."""
        return torch.tensor([float(rollout.lead) for rollout in self.rollouts])

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
    """``size`` rollouts, drawn ``batch`` at a time in turn, of up to ``longest`` days.

    Every random choice of a draw follows from ``seed`` and the draw's number. ``steps``: how many days draw ``n`` is
    stepped on. ``noise``: (channels, 1, 1), standard deviation of what is added to the ocean a rollout starts from.
    """

    def __init__(self, reader: Reader, kinds: tuple[str, ...], *, size: int, batch: int, steps: Callable[[int], int],
                 longest: int, seed: tuple[int, ...], noise: Tensor | None = None) -> None:  # fmt: skip
        self.reader, self.kinds, self.batch, self.steps = reader, kinds, batch, steps
        self.longest, self.seed, self.noise, self._drawing = longest, seed, noise, Lock()
        turns = max(2, -(-size // batch))
        self._turns: list[list[Rollout | None]] = [[None] * batch for _ in range(turns)]

    def draws(self, count: int, truths: tuple[str, ...], first: int = 0) -> Iterator[Draw]:
        """Draws ``first`` to ``count``, each read while the one before it is being worked on; ``truths``: kinds."""
        return ahead(lambda number: self._draw(number, truths), range(first, count))

    def state(self) -> list[Any]:
        """Where every rollout stands."""
        with self._drawing:
            return [[None if one is None else {"start": one.start, "lead": one.lead, "end": one.end,
                                               "fields": dict(one.fields)} for one in turn]
                    for turn in self._turns]  # fmt: skip

    def restore(self, state: list[Any]) -> None:
        """Let every rollout stand where it stood."""
        self._turns = [[None if one is None else Rollout(**one, forcing=self.reader.forcing(one["start"], one["end"]))
                        for one in turn] for turn in state]  # fmt: skip

    def _draw(self, number: int, truths: tuple[str, ...]) -> Draw:
        generator, steps = seeded(*self.seed, number), self.steps(number)
        with self._drawing:
            turn = self._turns[number % len(self._turns)]
            for place, rollout in enumerate(turn):
                if rollout is None or rollout.lead + steps > rollout.end:
                    turn[place] = self._begin(rollout, steps, generator)
            rollouts = [rollout for rollout in turn if rollout is not None]
        return Draw(rollouts, {kind: torch.stack([self._followed(kind, rollout, steps) for rollout in rollouts])
                               for kind in truths})  # fmt: skip

    def _followed(self, kind: str, rollout: Rollout, steps: int) -> Tensor:
        first = rollout.start + rollout.lead + 1
        return torch.stack([self.reader.field(kind, day) for day in range(first, first + steps)])

    def _begin(self, ended: Rollout | None, steps: int, generator: torch.Generator) -> Rollout:
        """A rollout from another day, in the place of one that has ended: its tensors are used again."""
        end = _random(steps, max(self.longest, steps) + 1, generator)
        starts = self.reader.starts(end)
        start = int(starts[_random(0, starts.size, generator)])
        fields = {kind: self.reader.field(kind, start) for kind in self.kinds}
        if self.noise is not None:
            fields["ocean"] += self.noise * torch.randn(fields["ocean"].shape, generator=generator)
        if ended is not None:
            fields = {kind: ended.fields[kind].copy_(values) for kind, values in fields.items()}
        return Rollout(start, 0, end, fields, self.reader.forcing(start, end))


def _random(low: int, high: int, generator: torch.Generator) -> int:
    return int(torch.randint(low, high, (), generator=generator))
