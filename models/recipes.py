"""Training options, as data: everything that shapes a training run, so that a seed and a recipe make it again."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Until = Annotated[float, Field(ge=0, le=1)]
"""A fraction of a stage."""
Masked = Annotated[float, Field(ge=0, lt=1)]
"""A share of tokens: one is left to see."""
Days = Annotated[int, Field(ge=1)]
"""So many days in a row."""


class Recipe(BaseModel):
    """One way to train.

    Three stages: ``pretraining_steps`` of one-day steps with masking; ``tuning_steps`` of several days with
    gradient, started anywhere in rollouts of up to ``tuning_lead`` days that the model itself made; ``head_steps`` of
    the heads on the frozen backbone, on such rollouts of up to ``head_lead`` days. ``batch`` is that of all processes.

    ``mask_schedule``: (until this fraction of pretraining, this share of tokens is masked). ``rollout_schedule``:
    (until this fraction of tuning, so many days with gradient). ``relative_tuning``: tuning goes down the logarithm of
    the loss, so that short leads, whose errors are small, count as much as long ones. ``pool``: rollouts kept going at
    once. ``statistics_days``: pairs of days, spread evenly, that statistics are measured on where the archive has none
    of the training span; 0: all.

    Beyond the paper, each off at its default here: ``latitude_weights`` by cell area and ``single_level_weight``, the
    weight of a channel that has no depth against one that has; ``gradient_weight`` of an error of horizontal
    differences, against blur; ``noise`` on the initial state, in one-day changes; ``averaging``, the decay a step of
    an exponential moving average of the weights, which is what is kept. (The increment, the halo and the mixing are
    the architecture's.) ``mixed_precision``: perceptrons in bfloat16 (spectral blocks and embeddings stay float32).
    ``recompute_activations``: the backward pass computes each day of a rollout again: memory of one day.
    ``sharded_optimiser``: each process keeps a part of the optimiser's state. ``validate_every`` steps the validation
    span is forecast ``validation_lead`` days from ``validation_starts`` days; after ``patience`` such looks without a
    better one the stage ends, and its best weights are kept. 0: never. ``forcing_policy``: what a rollout is given for
    the weather to come; the system's unless given.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    seed: int = Field(default=0, ge=0, lt=2**63)
    batch: int = Field(default=1, gt=0)
    pretraining_steps: int = Field(ge=0)
    pretraining_rate: float = Field(default=1e-3, gt=0)
    mask_schedule: tuple[tuple[Until, Masked], ...] = ((1.0, 0.0),)
    tuning_steps: int = Field(ge=0)
    tuning_rate: float = Field(default=1e-4, gt=0)
    rollout_schedule: tuple[tuple[Until, Days], ...] = Field(default=((1.0, 2),), min_length=1)
    relative_tuning: bool = True
    tuning_lead: int = Field(default=10, ge=1)
    head_lead: int = Field(default=30, ge=1)
    pool: int = Field(default=12, gt=0)
    head_steps: int = Field(default=0, ge=0)
    head_rate: float = Field(default=1e-3, gt=0)
    warmup_share: float = Field(default=0.03, ge=0, lt=1)
    weight_decay: float = Field(default=0.01, ge=0)
    gradient_limit: float = Field(default=1.0, gt=0)
    latitude_weights: bool = False
    single_level_weight: float = Field(default=1.0, gt=0)
    gradient_weight: float = Field(default=0.0, ge=0)
    noise: float = Field(default=0.0, ge=0)
    averaging: float = Field(default=0.0, ge=0, lt=1)
    mixed_precision: bool = False
    recompute_activations: bool = False
    sharded_optimiser: bool = False
    statistics_days: int = Field(default=0, ge=0)
    forcing_policy: Literal["analysis", "persistence", "relaxed", "forecast"] | None = None
    validate_every: int = Field(default=0, ge=0)
    patience: int = Field(default=0, ge=0)
    validation_lead: int = Field(default=10, ge=1)
    validation_starts: int = Field(default=4, ge=1)

    def mask_ratio(self, fraction: float) -> float:
        """The share of tokens masked at this fraction (0 to 1) of pretraining."""
        return next((ratio for until, ratio in self.mask_schedule if fraction <= until), 0.0)

    def rollout_days(self, fraction: float) -> int:
        """How many days have a gradient at this fraction (0 to 1) of tuning."""
        return next((days for until, days in self.rollout_schedule if fraction <= until), self.rollout_schedule[-1][1])


PAPER_MASKING = ((3 / 150, 0.0), (20 / 150, 0.75), (40 / 150, 0.25), (1.0, 0.0))
"""AI-GOMS by epoch of 150: until 3 none, until 20 three quarters, until 40 a quarter, then none (arXiv 2308.03152)."""

SHORT_MASKING = ((0.02, 0.0), (0.08, 0.5), (0.15, 0.25), (1.0, 0.0))
"""The same shape for a run of a few thousand steps, in which a masked step teaches less than a whole one."""

PAPER_RECIPE = Recipe(
    batch=32, pretraining_steps=150 * 4015 // 32, mask_schedule=PAPER_MASKING, tuning_steps=4015 // 32,
    tuning_lead=2, pool=64, head_steps=100 * 4015 // 32, mixed_precision=True, relative_tuning=False,
    recompute_activations=True,
)  # fmt: skip
"""AI-GOMS: 150 epochs of 11 years, batch 32, fine-tuned over 2 steps, heads 100 epochs (arXiv 2308.03152)."""

TWIN_RECIPE = Recipe(
    batch=1, pretraining_steps=2600, mask_schedule=SHORT_MASKING, tuning_steps=120, tuning_lead=20, head_steps=2000,
    head_lead=40, mixed_precision=True, statistics_days=40, latitude_weights=True, single_level_weight=4.0,
    averaging=0.998,
)  # fmt: skip
"""The twin at 1 degree in about three quarters of an hour on two cores."""

REGIONAL_RECIPE = Recipe(
    batch=8, pretraining_steps=400, mask_schedule=SHORT_MASKING, tuning_steps=60, pool=32, latitude_weights=True,
    single_level_weight=4.0,
)  # fmt: skip
"""A small sea in a few minutes on two cores."""

AGULHAS_RECIPE = Recipe(
    batch=8, pretraining_steps=250, tuning_steps=120, tuning_rate=5e-4, gradient_weight=1.0,
    rollout_schedule=((0.5, 2), (1.0, 4)), tuning_lead=30, relative_tuning=False, pool=32, latitude_weights=True,
    averaging=0.99, noise=0.3, weight_decay=0.1, validate_every=100, validation_lead=13, validation_starts=2,
)  # fmt: skip
"""Nine months of observed currents of a small region, in less than a minute on one core; masking did not help there."""
