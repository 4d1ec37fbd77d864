"""What training goes down: the loss of a step, as modules that take a batch and give a number.

Each is one forward pass, so that processes that train together exchange gradients once a step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from models.days import Reader
from models.losses import cell_weights, channel_errors, geometric_mean, relative_error, step_weights, stepped
from models.ocean import OceanModel, Step
from models.plans import Plan
from models.preparing import rows_weights
from models.recipes import Recipe
from models.suite import Suite

Fields = dict[str, Tensor]


class Batch(NamedTuple):
    """What a step is computed from, on the device.

    ``fields`` by kind (batch, channels, rows, columns): where the rollouts stand; ``truth`` by kind (batch, steps,
    channels, rows, columns): the days that followed; ``forcing`` (batch, steps, channels, rows, columns); ``lead``
    (batch,): days since each rollout's start; ``visible``: see ``Backbone.forward``; ``initial``: of the downscaled
    window, (fresh rollouts, ...), the true fine fields of the starts.
    """

    fields: Fields
    truth: Fields
    forcing: Tensor
    lead: Tensor
    visible: Tensor | None = None
    initial: Tensor | None = None


class Result(NamedTuple):
    """The ``loss``, and by kind where the rollouts stand after the step (no gradient)."""

    loss: Tensor
    fields: Fields


class OceanError(nn.Module):
    """The backbone's error: in one-day changes for increments, in spreads for states; a part of it of differences."""

    weights: Tensor

    def __init__(self, suite: Suite, mask: Tensor, plan: Plan) -> None:
        super().__init__()
        importance = [1.0 if "@" in label else plan.recipe.single_level_weight for label in suite.labels.ocean]
        self.register_buffer("weights", cell_weights(mask, rows_weights(plan, mask), torch.tensor(importance)))
        self.increments, self.share = plan.architecture.predicts == "increment", plan.recipe.gradient_weight
        for axis in (2, 1):
            self.register_buffer(f"_pairs_{axis}", step_weights(self.weights, axis), persistent=False)

    def forward(self, forecast: Tensor, truth: Tensor, model: OceanModel) -> Tensor:
        """Mean over the batch of (batch, channels, rows, columns) against the truth."""
        scale = model.ocean.change if self.increments else model.ocean.spread
        error = relative_error(forecast, truth, scale, self.weights)
        if not self.share:
            return error
        sides = [relative_error(stepped(forecast, axis + 1), stepped(truth, axis + 1), scale,
                                getattr(self, f"_pairs_{axis}")) for axis in (2, 1)]  # fmt: skip
        return error + self.share * (sides[0] + sides[1]) / 2


class RolloutObjective(nn.Module):
    """The mean error of one or several days stepped on from where the rollouts stand, with gradient through all."""

    mask: Tensor

    def __init__(self, suite: Suite, reader: Reader, plan: Plan) -> None:
        super().__init__()
        mask = reader.mask("ocean")
        self.model, self.error, self.recipe = suite.ocean, OceanError(suite, mask, plan), plan.recipe
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, batch: Batch) -> Result:
        """See ``Batch``; as many days as it has truths of."""
        ocean, losses = batch.fields["ocean"], list[Tensor]()
        days = batch.truth["ocean"].shape[1]
        for day in range(days):
            with precision(self.recipe, ocean.device):
                ocean = self._stepped(ocean, batch.forcing[:, day], batch.visible).ocean
            losses.append(self.error(ocean, batch.truth["ocean"][:, day], self.model))
        return Result(torch.stack(losses).mean(), {"ocean": ocean.detach()})

    def _stepped(self, ocean: Tensor, forcing: Tensor, visible: Tensor | None) -> Step:
        if not self.recipe.recompute_activations:
            step: Step = self.model(ocean, forcing, self.mask, visible)
            return step
        recomputed: Step = checkpoint(self.model, ocean, forcing, self.mask, visible, use_reentrant=False,
                                      preserve_rng_state=False)  # fmt: skip
        return recomputed


class HeadError(nn.Module):
    """A state head's error: the geometric mean over its channels, so that each counts alike.

    Errors of the model variables in one-day changes, and of physical values, by which forecasts are judged, in
    standard deviations of the first day.
    """

    weights: Tensor
    spread: Tensor

    def __init__(self, suite: Suite, reader: Reader, name: str, plan: Plan) -> None:
        super().__init__()
        head = suite.head(name)
        mask = head.variable_mask(reader.mask(name))
        weights = mask * rows_weights(plan, mask)[:, None]
        self.register_buffer("weights", weights / weights.sum(dim=(1, 2), keepdim=True), persistent=False)
        first = head.transforms.judged(head.transforms(reader.field(name, int(reader.starts(1)[0]))[None]))[0]
        centred = first - (first * self.weights).sum(dim=(1, 2), keepdim=True)
        spread = (centred.square() * self.weights).sum(dim=(1, 2), keepdim=True).sqrt()
        self.register_buffer("spread", spread, persistent=False)

    def forward(self, suite: Suite, name: str, variables: Tensor, truth: Tensor) -> Tensor:
        """Of model variables against physical truth, both (batch, ..., rows, columns)."""
        head = suite.head(name)
        expected, judged = head.transforms(truth), head.transforms.judged
        modelled = channel_errors(variables, expected, head.state.change, self.weights)
        physical = channel_errors(judged(variables), judged(expected), self.spread, self.weights)
        return geometric_mean(torch.cat((modelled, physical)))


class HeadsObjective(nn.Module):
    """The geometric mean of the errors of the heads that are trained, one day on, the backbone frozen."""

    def __init__(self, suite: Suite, reader: Reader, plan: Plan) -> None:
        super().__init__()
        self.names, self.recipe = tuple(name for name in plan.heads if name != "kuroshio"), plan.recipe
        self.parts = nn.ModuleList([suite.heads[name] for name in self.names])
        self.errors = nn.ModuleDict({name: HeadError(suite, reader, name, plan) for name in self.names})
        self._suite: Callable[[], Suite] = lambda: suite  # not a part: only the heads above are trained
        self.masks = {name: reader.mask(name) for name in ("ocean", *suite.heads)
                      if name == "ocean" or name in self.names}  # fmt: skip
        self.fine: Tensor
        self.surface = suite.surface(self.masks["ocean"]) if plan.kuroshio is not None else None
        if plan.kuroshio is not None:
            assert suite.kuroshio is not None
            self.parts.append(suite.kuroshio)
            fine = reader.mask("kuroshio")
            self.register_buffer(
                "fine", cell_weights(fine, torch.ones(fine.shape[1]), torch.ones(fine.shape[0])), persistent=False
            )

    def forward(self, batch: Batch) -> Result:
        """See ``Batch``; one day."""
        suite, forcing = self._suite(), batch.forcing[:, 0]
        masks = {name: mask.to(forcing.device) for name, mask in self.masks.items()}
        with precision(self.recipe, forcing.device):
            with torch.no_grad():
                step = suite.ocean(batch.fields["ocean"], forcing, masks["ocean"])
            variables = suite.advance_heads(
                {name: batch.fields[name] for name in ("ocean", *self.names)}, forcing, masks, step.features
            )
        losses = [self.errors[name](suite, name, variables[name], batch.truth[name][:, 0]) for name in self.names]
        if self.surface is not None:
            losses.append(self._refined(suite, batch, step))
        following = {name: (suite.head(name).physical(variables[name]) * masks[name]).detach() for name in self.names}
        return Result(geometric_mean(torch.stack(losses)), {"ocean": step.ocean.detach(), **following})

    def _refined(self, suite: Suite, batch: Batch, step: Step) -> Tensor:
        """In units of what bicubic misses: on forecast days, on true days, and on the initial days there are."""
        assert self.surface is not None
        assert suite.kuroshio is not None
        surface, forcing, truth = self.surface, batch.forcing[:, 0], batch.truth["kuroshio"][:, 0]
        residual, lead = suite.kuroshio.residual, batch.lead + 1

        def error(ocean: Tensor, some: Tensor | slice, against: Tensor, days: Tensor) -> Tensor:
            fine = suite.downscale(ocean, forcing[some], step.features[some], surface, days)
            return relative_error(fine, against, residual, self.fine)

        every = slice(None)
        losses = [error(step.ocean, every, truth, lead), error(batch.truth["ocean"][:, 0], every, truth, 0 * lead)]
        fresh = (batch.lead == 0).nonzero().flatten()
        if batch.initial is not None:
            losses.append(error(batch.fields["ocean"][fresh], fresh, batch.initial, 0 * lead[fresh]))
        return geometric_mean(torch.stack(losses))


def precision(recipe: Recipe, device: torch.device) -> torch.autocast:
    """bfloat16 where the recipe says so; what must be float32 says so itself."""
    return torch.autocast(device.type, torch.bfloat16, enabled=recipe.mixed_precision)
