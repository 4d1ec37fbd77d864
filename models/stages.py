"""The stages of training: what days a step is computed from, and what becomes of the rollouts after it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from models.backbone import random_visible
from models.days import Reader, ahead
from models.errors import TrainingError
from models.objectives import Batch, HeadsObjective, Result, RolloutObjective
from models.plans import Plan
from models.ranks import Ranks
from models.resuming import seeded
from models.rollouts import Draw, RolloutPool
from models.suite import Suite

LOST = 50.0
"""A rollout whose error is this many one-day changes has left the ocean: it starts again."""


class Stage(Protocol):
    """One stage. ``objective``: a module from ``Batch`` to ``Result``; ``parts``: the modules that move."""

    name: str
    steps: int
    rate: float
    relative: bool
    objective: nn.Module
    parts: list[nn.Module]

    def batches(self, first: int) -> Iterator[Batch]:
        """The batches of steps ``first`` to the last, each read while the one before it is worked on."""
        ...

    def settle(self, result: Result, loss: float) -> None:
        """A step was taken: let the rollouts stand where it ended."""
        ...

    def examples(self, reader: Reader) -> list[Batch]:
        """What the stage is judged on, from the days of a reader."""
        ...

    def state(self) -> Any:
        """Where the rollouts stand."""
        ...

    def restore(self, state: Any) -> None:
        """Let them stand there."""
        ...


class Pretraining:
    """One-day steps from true days, under the recipe's mask schedule."""

    def __init__(self, suite: Suite, reader: Reader, plan: Plan, ranks: Ranks) -> None:
        self.name, self.relative = "pretraining", False
        self.reader, self.plan, self.share = reader, plan, ranks.share(plan.recipe.batch)
        self.steps, self.rate = plan.recipe.pretraining_steps, plan.recipe.pretraining_rate
        self.objective: nn.Module = RolloutObjective(suite, reader, plan)
        self.parts: list[nn.Module] = [suite.ocean]
        self.spread = noise_of(suite, reader, plan)

    def batches(self, first: int) -> Iterator[Batch]:
        """See ``Stage``. What a step draws follows from the seed and its number, however many processes share it."""
        return ahead(self._batch, range(first, self.steps))

    def _batch(self, number: int) -> Batch:
        recipe, starts = self.plan.recipe, self.reader.starts(1)
        generator = seeded(recipe.seed, 1, number)
        days = starts[torch.randint(0, starts.size, (recipe.batch,), generator=generator).numpy()].tolist()
        ratio = recipe.mask_ratio((number + 1) / self.steps)
        visible = random_visible(recipe.batch, self.plan.architecture.tokens, ratio, generator)
        batch = pairs(self.reader, days[self.share], 1)
        if self.spread is not None:
            shape = (recipe.batch, *batch.fields["ocean"].shape[1:])
            batch.fields["ocean"].add_(self.spread * torch.randn(shape, generator=generator)[self.share])
        return batch._replace(visible=None if visible is None else visible[self.share])

    def settle(self, result: Result, loss: float) -> None:
        """Nothing stands anywhere."""

    def examples(self, reader: Reader) -> list[Batch]:
        """Whole rollouts: what counts in the end."""
        return rollouts(reader, self.plan)

    def state(self) -> Any:
        """None is needed."""
        return None

    def restore(self, state: Any) -> None:
        """Nothing to do."""


class Pooled:
    """Steps from wherever the model's own rollouts stand: tuning the backbone, or the heads on it."""

    def __init__(self, name: str, suite: Suite, reader: Reader, plan: Plan, ranks: Ranks) -> None:
        r, self.name, self.plan, self.reader = plan.recipe, name, plan, reader
        tuning = name == "tuning"
        self.steps, self.rate = (r.tuning_steps, r.tuning_rate) if tuning else (r.head_steps, r.head_rate)
        self.relative = r.relative_tuning if tuning else True
        states = tuple(head for head in plan.heads if head != "kuroshio")
        self.kinds = ("ocean",) if tuning else ("ocean", *states)
        self.truths = self.kinds if tuning or plan.kuroshio is None else (*self.kinds, "kuroshio")
        self.objective: nn.Module = (
            RolloutObjective(suite, reader, plan) if tuning else HeadsObjective(suite, reader, plan)
        )
        self.parts: list[nn.Module] = [suite.ocean] if tuning else list(self.objective.parts)  # type: ignore[arg-type]
        share = ranks.share(r.batch)
        self.pool = RolloutPool(
            reader, self.kinds, size=max(1, r.pool // ranks.world), batch=share.stop - share.start, steps=self._days,
            longest=r.tuning_lead if tuning else r.head_lead, seed=(r.seed, 2 if tuning else 3, ranks.rank),
            noise=noise_of(suite, reader, plan) if tuning else None,
        )  # fmt: skip
        self._draw: Draw | None = None

    def _days(self, number: int) -> int:
        return self.plan.recipe.rollout_days((number + 1) / self.steps) if self.name == "tuning" else 1

    def batches(self, first: int) -> Iterator[Batch]:
        """See ``Stage``."""
        for number, draw in enumerate(self.pool.draws(self.steps, self.truths, first), start=first):
            self._draw = draw
            batch = Batch(draw.fields(), draw.truth, draw.forcing(self._days(number)), draw.leads())
            yield batch._replace(initial=self._initial(draw)) if "kuroshio" in self.truths else batch

    def _initial(self, draw: Draw) -> Tensor | None:
        fresh = [rollout.start for rollout in draw.rollouts if rollout.lead == 0]
        return torch.stack([self.reader.field("kuroshio", start) for start in fresh]) if fresh else None

    def settle(self, result: Result, loss: float) -> None:
        """Let the rollouts stand where the step ended, or start again where it left the ocean."""
        assert self._draw is not None
        if math.isfinite(loss) and loss < LOST:
            fields = {kind: values.cpu() for kind, values in result.fields.items()}
            self._draw.put_back(fields, self._draw.truth["ocean"].shape[1])
        else:
            self._draw.abandon()

    def examples(self, reader: Reader) -> list[Batch]:
        """Whole rollouts of the ocean; one day of the heads."""
        if self.name == "tuning":
            return rollouts(reader, self.plan)
        starts = evenly(reader, 1, self.plan.recipe.validation_starts)
        return [_example(reader, start, 1, self.kinds, self.truths) for start in starts]

    def state(self) -> Any:
        """See ``RolloutPool.state``."""
        return self.pool.state()

    def restore(self, state: Any) -> None:
        """See ``RolloutPool.restore``."""
        self.pool.restore(state)


def check_leads(reader: Reader, judged_on: Reader | None, plan: Plan) -> None:
    """``TrainingError`` where a rollout of some stage is longer than any days in a row: before the first step."""
    r, whole = plan.recipe, plan.backbone is None
    leads = {"rollout_schedule": max(days for _, days in r.rollout_schedule), "tuning_lead": r.tuning_lead}
    wanted = [(reader, name, lead) for name, lead in leads.items() if whole and r.tuning_steps]
    wanted += [(reader, "head_lead", r.head_lead)] if plan.heads and r.head_steps else []
    if judged_on is not None and r.validate_every and whole and (r.pretraining_steps or r.tuning_steps):
        wanted.append((judged_on, "validation_lead", r.validation_lead))
    for days, name, lead in wanted:
        if not days.longest(lead) >= lead:
            raise TrainingError(
                f"{lead + 1} days in a row for {name} {lead}", found=f"at most {days.longest(lead) + 1}",
                where=f"days {days.span[0]} to {'the last' if days.span[1] is None else days.span[1]} of the archive",
                action=f"give a longer archive, or --set {name} of no more than {days.longest(lead)}",
            )  # fmt: skip


def noise_of(suite: Suite, reader: Reader, plan: Plan) -> Tensor | None:
    """(channels, rows, columns): spread of the noise on the initial ocean, zero on land; ``None``: no noise."""
    if not plan.recipe.noise:
        return None
    return plan.recipe.noise * suite.ocean.ocean.change.cpu() * reader.mask("ocean")


def pairs(reader: Reader, days: Sequence[int], steps: int) -> Batch:
    """The true ocean of some days, the days that followed, and the forcing of each step's start."""
    fields = torch.stack([reader.field("ocean", day) for day in days])
    truth = torch.stack([torch.stack([reader.field("ocean", day + n) for n in range(1, steps + 1)]) for day in days])
    forcing = torch.stack([reader.forcing(day, steps) for day in days])
    return Batch({"ocean": fields}, {"ocean": truth}, forcing, torch.zeros(len(days)))


def rollouts(reader: Reader, plan: Plan) -> list[Batch]:
    """Rollouts of the ocean over the recipe's validation lead, from starts spread evenly over the reader's days."""
    lead = plan.recipe.validation_lead
    return [pairs(reader, [start], lead) for start in evenly(reader, lead, plan.recipe.validation_starts)]


def _example(reader: Reader, start: int, steps: int, kinds: tuple[str, ...], truths: tuple[str, ...]) -> Batch:
    batch = pairs(reader, [start], steps)
    truth = {kind: torch.stack([reader.field(kind, start + n) for n in range(1, steps + 1)])[None] for kind in truths}
    initial = reader.field("kuroshio", start)[None] if "kuroshio" in truths else None
    return batch._replace(
        fields={kind: reader.field(kind, start)[None] for kind in kinds}, truth=truth, initial=initial
    )


def evenly(reader: Reader, lead: int, count: int) -> list[int]:
    """Up to ``count`` starts with ``lead`` days after them, spread evenly over the reader's days."""
    starts = reader.starts(lead)
    wanted = min(count, starts.size)
    return [int(starts[place]) for place in np.unique(np.linspace(0, starts.size - 1, wanted).round().astype(int))]
