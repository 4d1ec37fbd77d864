"""Training: statistics, masked pretraining, tuning on the model's own rollouts, heads on the frozen backbone.

A run is a function of (days, architectures, recipe): the same seed gives the same weights on the same machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.backbone import Architecture, random_visible
from models.checkpoint import FORMAT, About, Card, DownscalingCard, OceanCard, StateHeadCard, build
from models.days import Reader, TrainingDays, ahead
from models.errors import TrainingError
from models.heads import DownscalingArchitecture, StateHeadArchitecture, bicubic
from models.losses import cell_weights, channel_errors, geometric_mean, relative_error
from models.normalisation import Transforms
from models.recipes import Recipe
from models.rollouts import Draw, RolloutPool
from models.statistics import Measured, area_weights, measure
from models.suite import STATE_HEADS, Suite, land_filled, nearest_ocean

__all__ = ["Plan", "Progress", "Trained", "TrainingDays", "prepare", "pretrain", "train", "train_heads", "tune"]


STATIC = ("elevation",)
"""Forcing channels that do not change from day to day."""


class Progress(NamedTuple):
    """One training step done: ``step`` of ``steps`` of a ``stage``, its ``loss`` and learning ``rate``."""

    stage: str
    step: int
    steps: int
    loss: float
    rate: float


class Plan(NamedTuple):
    """What to train. ``latitude``: degrees north of the ocean's rows, for area weights; ``None``: all rows alike.

    ``span``: first and last day (indices) that training may see.
    Heads that are ``None`` are not trained. Their floors may be left out: they are measured.
    """

    about: About
    architecture: Architecture
    recipe: Recipe
    latitude: NDArray[np.float64] | None = None
    span: tuple[int, int | None] = (0, None)
    waves: StateHeadArchitecture | None = None
    biogeochemistry: StateHeadArchitecture | None = None
    kuroshio: DownscalingArchitecture | None = None


class Trained(NamedTuple):
    """The networks and the card to save them with."""

    card: Card
    suite: Suite


def train(days: TrainingDays, plan: Plan, report: Callable[[Progress], None] = lambda progress: None,
          hold_bytes: int = 0) -> Trained:  # fmt: skip
    """All of it. ``hold_bytes``: memory that days already read may fill. ``report`` is called after every step."""
    torch.manual_seed(plan.recipe.seed)
    reader = Reader(days, hold_bytes, plan.span)
    trained = prepare(reader, plan)
    pretrain(trained.suite, reader, plan, report)
    tune(trained.suite, reader, plan, report)
    train_heads(trained.suite, reader, plan, report)
    trained.suite.eval().requires_grad_(False)
    return trained


def prepare(reader: Reader, plan: Plan) -> Trained:
    """Measure the training days and build the networks with fresh weights; ``TrainingError`` where they do not fit."""
    days, a = reader.days, plan.architecture
    if reader.mask("ocean").shape != (a.out_channels, a.rows, a.columns):
        raise TrainingError(f"an ocean of {(a.out_channels, a.rows, a.columns)}", found=f"{reader.mask('ocean').shape}",
                            where="the training days", action="choose the architecture for this grid")  # fmt: skip
    ocean, forcing = _measured_ocean(reader, plan), _measured_forcing(reader, plan)
    heads = {name: _measured_head(reader, plan, name) for name in STATE_HEADS if getattr(plan, name) is not None}
    made_by = {"recipe": plan.recipe.model_dump_json(), "seed": plan.recipe.seed}
    parts = {name: part for name, (part, _) in heads.items()}
    card = Card(
        format=FORMAT, about=plan.about.model_copy(update=made_by),
        waves=parts.get("waves"), biogeochemistry=parts.get("biogeochemistry"),
        ocean=OceanCard(architecture=a, channels=days.channels["ocean"], forcing=days.channels["forcing"],
                        statistics=ocean.statistics, forcing_statistics=forcing.statistics),
        kuroshio=_measured_downscaling(reader, plan),
    )  # fmt: skip
    suite = build(card)
    found = [(suite.ocean.ocean, ocean), (suite.ocean.forcing, forcing)]
    found += [(suite.head(name).state, measured) for name, (_, measured) in heads.items()]
    for normalisation, measured in found:
        normalisation.background.copy_(measured.background)
        normalisation.refresh()
    return Trained(card, suite)


def pretrain(suite: Suite, reader: Reader, plan: Plan, report: Callable[[Progress], None]) -> None:
    """One-day steps from true days, under the recipe's mask schedule."""
    recipe, generator = plan.recipe, torch.Generator().manual_seed(plan.recipe.seed + 1)
    mask, course = reader.mask("ocean"), _Course("pretraining", suite.ocean, recipe.pretraining_steps,
                                                 recipe.pretraining_rate, plan.recipe, report)  # fmt: skip
    loss_of, tokens = _OceanLoss(suite, mask, plan), plan.architecture.tokens
    starts = reader.starts(1)
    batches = (starts[torch.randint(0, starts.size, (recipe.batch,), generator=generator).numpy()].tolist()
               for _ in range(recipe.pretraining_steps))  # fmt: skip
    masking = torch.Generator().manual_seed(recipe.seed + 2)
    for number, (today, tomorrow, forcing) in enumerate(ahead(lambda batch: _pairs(reader, batch), batches)):
        ratio = recipe.mask_ratio((number + 1) / recipe.pretraining_steps)
        with _precision(recipe):
            step = suite.ocean(today, forcing, mask, random_visible(recipe.batch, tokens, ratio, masking))
        course.take(loss_of(step.ocean, tomorrow))


def tune(suite: Suite, reader: Reader, plan: Plan, report: Callable[[Progress], None]) -> None:
    """Several days with gradient, from wherever the model's own rollouts stand."""
    recipe, steps = plan.recipe, plan.recipe.rollout_days
    mask, course = reader.mask("ocean"), _Course("tuning", suite.ocean, recipe.tuning_steps, recipe.tuning_rate,
                                                 plan.recipe, report)  # fmt: skip
    loss_of, pool = _OceanLoss(suite, mask, plan), _pool(reader, plan, ("ocean",), steps, recipe.tuning_lead)
    for draw in pool.draws(recipe.tuning_steps, ("ocean",)):
        ocean, loss = draw.fields()["ocean"], torch.zeros(())
        for number in range(steps):
            with _precision(recipe):
                ocean = suite.ocean(ocean, draw.forcing(number), mask).ocean
            loss = loss + loss_of(ocean, draw.truth["ocean"][:, number]) / steps
        _settle(course.take(loss, relative=recipe.relative_tuning), draw, {"ocean": ocean}, steps)


def train_heads(suite: Suite, reader: Reader, plan: Plan, report: Callable[[Progress], None]) -> None:
    """Every head at once on rollouts of the frozen backbone and of the heads themselves, one day with gradient."""
    recipe, states = plan.recipe, tuple(suite.heads)
    modules = nn.ModuleList([*suite.heads.values(), *([suite.kuroshio] if suite.kuroshio is not None else [])])
    if not len(modules):
        return
    suite.ocean.requires_grad_(False)
    course = _Course("heads", modules, recipe.head_steps, recipe.head_rate, recipe, report)
    losses, refine = (
        {name: _HeadLoss(suite, reader, name, plan) for name in states},
        _RefinementLoss(suite, reader, plan),
    )
    masks = {name: reader.mask(name) for name in ("ocean", *states)}
    pool = _pool(reader, plan, ("ocean", *states), 1, recipe.head_lead)
    truths = ("ocean", "kuroshio", *states) if suite.kuroshio is not None else states
    for draw in pool.draws(recipe.head_steps, truths):
        fields, forcing = draw.fields(), draw.forcing(0)
        with _precision(recipe):
            with torch.no_grad():
                step = suite.ocean(fields["ocean"], forcing, masks["ocean"])
            variables = suite.advance_heads(fields, forcing, masks, step.features)
        errors = [losses[name](values, draw.truth[name][:, 0]) for name, values in variables.items()]
        if suite.kuroshio is not None:
            errors.append(refine(draw, fields["ocean"], step.ocean, step.features))
        following = {name: suite.head(name).physical(values) * masks[name] for name, values in variables.items()}
        _settle(course.take(geometric_mean(torch.stack(errors)), relative=True), draw,
                {"ocean": step.ocean, **following}, 1)  # fmt: skip


class _Course:
    """Optimiser, warm-up and cosine, gradient limit, report: one stage of training."""

    def __init__(self, stage: str, module: nn.Module, steps: int, rate: float, recipe: Recipe,
                 report: Callable[[Progress], None]) -> None:  # fmt: skip
        self.stage, self.steps, self.report, self.limit = stage, steps, report, recipe.gradient_limit
        self.parts = list(module.children()) if isinstance(module, nn.ModuleList) else [module]
        self.optimiser = torch.optim.AdamW(
            module.parameters(), rate, betas=(0.9, 0.95), weight_decay=recipe.weight_decay
        )
        warmup = max(1, int(recipe.warmup_share * steps))
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimiser,
            lambda step: min((step + 1) / warmup, 0.5 * (1 + math.cos(math.pi * min(step / max(steps, 1), 1.0)))),
        )
        self.step = 0

    def take(self, loss: Tensor, *, relative: bool = False) -> float:
        """One step down this loss, or its logarithm; one that is not a number moves nothing. The loss as a number."""
        value, rate = float(loss.detach()), float(self.schedule.get_last_lr()[0])
        if math.isfinite(value):
            self.optimiser.zero_grad(set_to_none=True)
            (loss.log() if relative else loss).backward()  # type: ignore[no-untyped-call]
            for part in self.parts:
                nn.utils.clip_grad_norm_(part.parameters(), self.limit)
            self.optimiser.step()
        self.schedule.step()
        self.step += 1
        self.report(Progress(self.stage, self.step, self.steps, value, rate))
        return value


LOST = 50.0
"""A rollout whose error is this many one-day changes has left the ocean: it starts again."""


def _settle(loss: float, draw: Draw, fields: dict[str, Tensor], steps: int) -> None:
    if math.isfinite(loss) and loss < LOST:
        draw.put_back(fields, steps)
    else:
        draw.abandon()


class _OceanLoss:
    """The backbone's loss: in one-day changes for increments, in spreads for states."""

    def __init__(self, suite: Suite, mask: Tensor, plan: Plan) -> None:
        normalisation = suite.ocean.ocean
        self.scale = normalisation.change if plan.architecture.predicts == "increment" else normalisation.spread
        importance = [1.0 if "@" in label else plan.recipe.single_level_weight for label in suite.labels.ocean]
        self.weights = cell_weights(mask, _rows(plan, mask), torch.tensor(importance))

    def __call__(self, forecast: Tensor, truth: Tensor) -> Tensor:
        return relative_error(forecast, truth, self.scale, self.weights)


class _HeadLoss:
    """A state head's loss: the geometric mean of its errors, channel by channel, so that each counts alike.

    Errors of the model variables in one-day changes, and of physical values, by which forecasts are judged, in
    standard deviations of the first day.
    """

    def __init__(self, suite: Suite, reader: Reader, name: str, plan: Plan) -> None:
        self.head = suite.head(name)
        mask = self.head.variable_mask(reader.mask(name))
        self.weights = mask * _rows(plan, mask)[:, None]
        self.weights /= self.weights.sum(dim=(1, 2), keepdim=True)
        first = self.head.transforms.judged(self._variables(reader.field(name, int(reader.starts(1)[0]))[None]))[0]
        centred = first - (first * self.weights).sum(dim=(1, 2), keepdim=True)
        self.spread = (centred.square() * self.weights).sum(dim=(1, 2), keepdim=True).sqrt()

    def __call__(self, variables: Tensor, truth: Tensor) -> Tensor:
        head, expected = self.head, self._variables(truth)
        modelled = channel_errors(variables, expected, head.state.change, self.weights)
        judged = head.transforms.judged
        physical = channel_errors(judged(variables), judged(expected), self.spread, self.weights)
        return geometric_mean(torch.cat((modelled, physical)))

    def _variables(self, physical: Tensor) -> Tensor:
        variables: Tensor = self.head.transforms(physical)
        return variables


class _RefinementLoss:
    """The downscaling head's loss, in units of what bicubic misses: on forecast days, true days and initial days."""

    def __init__(self, suite: Suite, reader: Reader, plan: Plan) -> None:
        self.suite = suite
        if suite.kuroshio is None:
            return
        self.reader, self.head, self.surface = reader, suite.kuroshio, suite.surface(reader.mask("ocean"))
        fine = reader.mask("kuroshio")
        self.weights = cell_weights(fine, torch.ones(fine.shape[1]), torch.ones(fine.shape[0]))

    def __call__(self, draw: Draw, today: Tensor, forecast: Tensor, features: Tensor) -> Tensor:
        truth, forcing = draw.truth["kuroshio"][:, 0], draw.forcing(0)
        lead = torch.tensor([float(rollout.lead + 1) for rollout in draw.rollouts])
        losses = [self._of(forecast, forcing, features, truth, lead),
                  self._of(draw.truth["ocean"][:, 0], forcing, features, truth, 0 * lead)]  # fmt: skip
        fresh = [number for number, rollout in enumerate(draw.rollouts) if rollout.lead == 0]
        if fresh:
            starts = torch.stack([self.reader.field("kuroshio", draw.rollouts[number].start) for number in fresh])
            losses.append(self._of(today[fresh], forcing[fresh], features[fresh], starts, torch.zeros(len(fresh))))
        return geometric_mean(torch.stack(losses))

    def _of(self, ocean: Tensor, forcing: Tensor, features: Tensor, truth: Tensor, lead: Tensor) -> Tensor:
        assert self.surface is not None
        fine = self.suite.downscale(ocean, forcing, features, self.surface, lead)
        return relative_error(fine, truth, self.head.residual, self.weights)


def _pool(reader: Reader, plan: Plan, kinds: tuple[str, ...], steps: int, longest: int) -> RolloutPool:
    r = plan.recipe
    return RolloutPool(reader, kinds, size=r.pool, batch=r.batch, steps=steps, longest=longest,
                       generator=torch.Generator().manual_seed(r.seed + len(kinds)))  # fmt: skip


def _pairs(reader: Reader, batch: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """(today, tomorrow, forcing of today), each (batch, channels, rows, columns)."""
    today = torch.stack([reader.field("ocean", day) for day in batch])
    tomorrow = torch.stack([reader.field("ocean", day + 1) for day in batch])
    return today, tomorrow, torch.stack([reader.forcing(day, 1)[0] for day in batch])


def _precision(recipe: Recipe) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=recipe.mixed_precision)


def _rows(plan: Plan, mask: Tensor) -> Tensor:
    """Area weights of a mask's rows, whose number may differ from the ocean's: the area is the same."""
    if plan.latitude is None or not plan.recipe.latitude_weights:
        return area_weights(mask.shape[1], None)
    edges = np.interp(np.linspace(-0.5, plan.latitude.size - 0.5, mask.shape[1] + 1), np.arange(plan.latitude.size),
                      plan.latitude)  # fmt: skip
    return area_weights(mask.shape[1], (edges[1:] + edges[:-1]) / 2)


def _sampled(reader: Reader, recipe: Recipe) -> Iterator[int]:
    starts = reader.starts(1)
    wanted = min(recipe.statistics_days or starts.size, starts.size)
    return (int(starts[place]) for place in np.unique(np.linspace(0, starts.size - 1, wanted).round().astype(int)))


def _measured_ocean(reader: Reader, plan: Plan) -> Measured:
    mask, a = reader.mask("ocean"), plan.architecture
    pairs = ((reader.field("ocean", day), reader.field("ocean", day + 1)) for day in _sampled(reader, plan.recipe))
    return measure(pairs, mask, _rows(plan, mask), a.token_shape, labels=reader.days.channels["ocean"],
                   periodic=a.periodic)  # fmt: skip


def _measured_forcing(reader: Reader, plan: Plan) -> Measured:
    a = plan.architecture
    mask = torch.ones(a.in_channels - a.out_channels, a.rows, a.columns)
    pairs = ((reader.forcing(day, 1)[0], reader.forcing(day + 1, 1)[0]) for day in _sampled(reader, plan.recipe))
    return measure(pairs, mask, _rows(plan, mask), a.token_shape, labels=reader.days.channels["forcing"],
                   periodic=a.periodic, static=STATIC)  # fmt: skip


def _measured_head(reader: Reader, plan: Plan, name: str) -> tuple[StateHeadCard, Measured]:
    architecture: StateHeadArchitecture = getattr(plan, name)
    if not architecture.floors:
        limits = {"floors": _floors(reader, plan, name, architecture), "ceilings": _ceilings(reader, plan, name)}
        architecture = architecture.model_copy(update=limits)
    transforms, mask = Transforms(architecture.transforms, architecture.floors), reader.mask(name)
    repeats = torch.tensor([2 if kind == "angle" else 1 for kind in architecture.transforms])
    labels = tuple(np.repeat(architecture.channels, repeats.numpy()).tolist())
    pairs = ((transforms(reader.field(name, day)[None])[0], transforms(reader.field(name, day + 1)[None])[0])
             for day in _sampled(reader, plan.recipe))  # fmt: skip
    mask = mask.repeat_interleave(repeats, dim=0)
    measured = measure(pairs, mask, _rows(plan, mask), architecture.token_shape, labels=labels,
                       periodic=architecture.periodic)  # fmt: skip
    return StateHeadCard(architecture=architecture, statistics=measured.statistics), measured


FLOOR_QUANTILE = 0.001
"""A logarithmic channel's floor: the value (physical units) below which this share of its positive cells lies."""


def _floors(reader: Reader, plan: Plan, name: str, architecture: StateHeadArchitecture) -> tuple[float, ...]:
    first = next(_sampled(reader, plan.recipe))
    floors = []
    for field, kind in zip(reader.field(name, first), architecture.transforms, strict=True):
        positive = field[field > 0]
        if kind == "log" and not positive.numel():
            raise TrainingError(f"positive values of {name}", found="none", where=f"day {first} of the training days",
                                action="do not model this channel by its logarithm")  # fmt: skip
        floors.append(float(np.quantile(positive.numpy(), FLOOR_QUANTILE)) if kind == "log" else 0.0)
    return tuple(floors)


def _ceilings(reader: Reader, plan: Plan, name: str) -> tuple[float, ...]:
    """The largest value of each channel of a head on the sampled days, in physical units."""
    most = torch.stack([reader.field(name, day).amax(dim=(1, 2)) for day in _sampled(reader, plan.recipe)])
    return tuple(float(value) for value in most.amax(dim=0))


def _measured_downscaling(reader: Reader, plan: Plan) -> DownscalingCard | None:
    """The standard deviation, per channel, of what bicubic interpolation of the true coarse surface misses."""
    if (a := plan.kuroshio) is None:
        return None
    index = [reader.days.channels["ocean"].index(label) for label in a.channels]
    nearest, fine = nearest_ocean(reader.mask("ocean")[index].numpy() > 0), reader.mask("kuroshio")
    squares, days = torch.zeros(len(index), dtype=torch.float64), list(_sampled(reader, plan.recipe))
    for day in days:
        guess = bicubic(land_filled(reader.field("ocean", day)[None, index], nearest), a.window, a.factor)[0]
        squares += ((guess - reader.field("kuroshio", day)) * fine).double().square().sum(dim=(1, 2))
    residual = (squares / (len(days) * fine.sum(dim=(1, 2)))).sqrt()
    return DownscalingCard(architecture=a, residual=tuple(float(value) for value in residual.float().tolist()))
