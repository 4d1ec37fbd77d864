"""What training days are measured for, and the networks with fresh weights that follow from it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from models.checkpoint import FORMAT, Card, DownscalingCard, OceanCard, StateHeadCard, build
from models.days import Reader
from models.errors import TrainingError
from models.heads import StateHeadArchitecture, bicubic
from models.normalisation import Normalisation, Transforms
from models.plans import Plan, Trained
from models.recipes import Recipe
from models.statistics import Measured, Sums, area_weights, measure, measured, nothing
from models.suite import STATE_HEADS, land_filled, nearest_ocean

STATIC = ("elevation",)
"""Forcing channels that do not change from day to day."""


def prepare(reader: Reader, plan: Plan) -> Trained:
    """Measure the training days and build the networks with fresh weights; ``TrainingError`` where they do not fit.

    A backbone that is kept comes with its own statistics and its other heads.
    """
    card, found = _fresh(reader, plan) if plan.backbone is None else _continued(reader, plan)
    heads = {name: _measured_head(reader, plan, name) for name in STATE_HEADS if getattr(plan, name) is not None}
    parts: dict[str, object] = {name: part for name, (part, _) in heads.items()}
    if plan.kuroshio is not None:
        parts["kuroshio"] = _measured_downscaling(reader, plan)
    made_by = {"recipe": plan.recipe.model_dump_json(), "seed": plan.recipe.seed}
    card = card.model_copy(update={"about": plan.about.model_copy(update=made_by), "files": {}, **parts})
    suite = build(card)
    if plan.backbone is not None:
        kept = {name: values for name, values in plan.backbone.suite.state_dict().items()
                if not name.startswith(tuple(f"heads.{head}." for head in heads))
                and not (plan.kuroshio is not None and name.startswith("kuroshio."))}  # fmt: skip
        suite.load_state_dict(kept, strict=False)
    measures = [(getattr(suite.ocean, name), one) for name, one in found.items()]
    measures += [(suite.head(name).state, one) for name, (_, one) in heads.items()]
    for normalisation, one in measures:
        normalisation.background.copy_(one.background)
    for module in suite.modules():
        if isinstance(module, Normalisation):
            module.refresh()
    return Trained(card, suite)


def _fresh(reader: Reader, plan: Plan) -> tuple[Card, dict[str, Measured]]:
    """The card of a backbone to be trained, and what its normalisations are of."""
    days, a = reader.days, plan.architecture
    if reader.mask("ocean").shape != (a.out_channels, a.rows, a.columns):
        raise TrainingError(f"an ocean of {(a.out_channels, a.rows, a.columns)}", found=f"{reader.mask('ocean').shape}",
                            where="the training days", action="choose the architecture for this grid")  # fmt: skip
    ocean, forcing = _measured_ocean(reader, plan), _measured_forcing(reader, plan)
    card = OceanCard(architecture=a, channels=days.channels["ocean"], forcing=days.channels.get("forcing", ()),
                     statistics=ocean.statistics, forcing_statistics=forcing.statistics,
                     forcing_memory_days=reader.forcing_memory_days)  # fmt: skip
    return Card(format=FORMAT, about=plan.about, ocean=card), {"ocean": ocean, "forcing": forcing}


def _continued(reader: Reader, plan: Plan) -> tuple[Card, dict[str, Measured]]:
    """The card of a backbone that is kept; ``TrainingError`` unless the days have its channels and its grid."""
    assert plan.backbone is not None
    card, days = plan.backbone.card, reader.days
    pairs = (("ocean", card.ocean.channels), ("forcing", card.ocean.forcing))
    for name, wanted in pairs:
        there = tuple(days.channels.get(name, ()))
        if there != wanted:
            place = next(
                (n for n, (a, b) in enumerate(zip(there, wanted, strict=False)) if a != b), min(len(there), len(wanted))
            )
            raise TrainingError(
                f"channels of {name} as {card.about.name} has them, {wanted[place:place + 3]} from {place}",
                found=f"{there[place:place + 3]} of {len(there)}", where="the training days",
                action="train on an archive with the channels of the backbone, in its order",
            )  # fmt: skip
    a, shape = card.ocean.architecture, tuple(reader.mask("ocean").shape)
    if shape != (a.out_channels, a.rows, a.columns):
        raise TrainingError(f"an ocean of {(a.out_channels, a.rows, a.columns)}, as {card.about.name} has it",
                            found=str(shape), where="the training days",
                            action="train on an archive with the grid of the backbone")  # fmt: skip
    return card, {}


def rows_weights(plan: Plan, mask: Tensor) -> Tensor:
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
    if (sums := _moments(reader, "ocean")) is not None:
        return measured(sums, mask, rows_weights(plan, mask), a.token_shape, labels=reader.days.channels["ocean"],
                        periodic=a.periodic)  # fmt: skip
    pairs = ((reader.field("ocean", day), reader.field("ocean", day + 1)) for day in _sampled(reader, plan.recipe))
    return measure(pairs, mask, rows_weights(plan, mask), a.token_shape, labels=reader.days.channels["ocean"],
                   periodic=a.periodic)  # fmt: skip


def _measured_forcing(reader: Reader, plan: Plan) -> Measured:
    a = plan.architecture
    count = a.in_channels - a.out_channels
    if not count:
        return nothing(a.token_shape)
    mask = torch.ones(count, a.rows, a.columns)
    if (sums := _moments(reader, "forcing")) is not None:
        return measured(sums, mask, rows_weights(plan, mask), a.token_shape, labels=reader.days.channels["forcing"],
                        periodic=a.periodic, static=STATIC)  # fmt: skip
    pairs = ((reader.forcing(day, 1)[0], reader.forcing(day + 1, 1)[0]) for day in _sampled(reader, plan.recipe))
    return measure(pairs, mask, rows_weights(plan, mask), a.token_shape, labels=reader.days.channels["forcing"],
                   periodic=a.periodic, static=STATIC)  # fmt: skip


def _moments(reader: Reader, name: str) -> Sums | None:
    """What the days themselves know of the span, where they do."""
    moments = reader.moments(name)
    if moments is None:
        return None
    average, squares, changes = (torch.from_numpy(np.nan_to_num(values, nan=0.0)) for values in moments)
    return Sums(1, average, squares, changes)


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
    measured = measure(pairs, mask, rows_weights(plan, mask), architecture.token_shape, labels=labels,
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
