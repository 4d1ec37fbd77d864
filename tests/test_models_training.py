"""Training on the small drifting ocean: statistics by hand, a model that beats persistence, seeds that reproduce."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch

from models import checkpoint, course, forecaster, training
from models.backbone import Backbone
from models.days import Reader, ahead
from models.errors import TrainingError
from models.heads import bicubic
from models.recipes import Recipe
from models.rollouts import RolloutPool
from models.stages import Pooled, Pretraining
from models.statistics import area_weights, coarsened, measure
from models.suite import land_filled, nearest_ocean
from tests.toy_models import ABOUT, ARCHITECTURE, PLANKTON_HEAD, REFINEMENT, WAVE_HEAD
from tests.toy_ocean import LATITUDE, ToyDays, coast

RECIPE = Recipe(
    seed=1, batch=4, pretraining_steps=160, pretraining_rate=3e-3, mask_schedule=((0.05, 0.0), (0.15, 0.5), (1.0, 0.0)),
    tuning_steps=60, tuning_rate=1e-3, tuning_lead=10, head_lead=10, pool=16, head_steps=120, head_rate=3e-3,
    latitude_weights=True, single_level_weight=4.0,
)  # fmt: skip
TINY = RECIPE.model_copy(update={"pretraining_steps": 4, "tuning_steps": 3, "head_steps": 3, "pool": 4})
HELD_OUT = ToyDays(60, phase=100.25)


def plan(recipe: Recipe = RECIPE, **changes) -> training.Plan:
    """Everything, small. The heads' floors are left to be measured."""
    heads = {"waves": WAVE_HEAD, "biogeochemistry": PLANKTON_HEAD}
    heads = {name: head.model_copy(update={"floors": ()}) for name, head in heads.items()}
    whole = training.Plan(ABOUT, ARCHITECTURE, recipe, LATITUDE, **heads, kuroshio=REFINEMENT)
    return whole._replace(**changes)


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """(forecaster, every progress report) of one training run, through a checkpoint on disk."""
    reports: list[training.Progress] = []
    card, suite = training.train(ToyDays(), plan(), reports.append)
    folder = tmp_path_factory.mktemp("trained")
    return forecaster.load(folder, checkpoint.save(folder, suite, card)), reports


def forecast(model, lead: int, start: int = 3):
    state = {name: getattr(HELD_OUT, name)(start) for name in ("ocean", "waves", "biogeochemistry")}
    return list(model.roll_out(state, HELD_OUT.forcing(start, lead)))[-1]


def rmse(first, second, *, circular: bool = False) -> float:
    difference = first - second
    if circular:
        difference = (difference + 180) % 360 - 180
    return float(np.sqrt(np.nanmean(difference**2)))


def test_the_loss_falls_in_every_stage_that_starts_from_nothing(learnt) -> None:
    _, reports = learnt
    losses = {stage: [report.loss for report in reports if report.stage == stage] for stage in ("pretraining", "heads")}
    assert losses["pretraining"][0] == pytest.approx(1.0, rel=0.15), "an untrained increment is persistence"
    assert all(np.mean(values[-20:]) < 0.5 * np.mean(values[:5]) for values in losses.values())
    assert [report.step for report in reports if report.stage == "tuning"] == list(range(1, RECIPE.tuning_steps + 1))


@pytest.mark.parametrize("lead", [1, 5, 10])
def test_every_quantity_beats_persistence_on_days_it_never_saw(learnt, lead) -> None:
    day = forecast(learnt[0], lead)
    for name, values in day.items():
        truth, before = getattr(HELD_OUT, name)(3 + lead), getattr(HELD_OUT, name)(3)
        for channel in range(values.shape[0]):
            circular = name == "waves" and channel == 1
            ours = rmse(values[channel], truth[channel], circular=circular)
            assert ours < 0.6 * rmse(before[channel], truth[channel], circular=circular), (name, channel)


def test_the_downscaling_beats_bicubic_interpolation_of_the_true_coarse_day(learnt) -> None:
    model, index = learnt[0], [0, 2]
    fine = model.derive({"ocean": HELD_OUT.ocean(7)}, HELD_OUT.forcing(7, 1)[0])["kuroshio"]
    coarse = torch.from_numpy(np.nan_to_num(HELD_OUT.ocean(7)[index]))[None]
    guess = bicubic(land_filled(coarse, nearest_ocean(coast()[index])), REFINEMENT.window, REFINEMENT.factor)[0].numpy()
    for channel in range(2):
        truth = HELD_OUT.kuroshio(7)[channel]
        assert rmse(fine[channel], truth) < 0.7 * rmse(guess[channel], truth)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    def weights(seed: int) -> list[bytes]:
        suite = training.train(ToyDays(), plan(TINY.model_copy(update={"seed": seed}))).suite
        return [tensor.numpy().tobytes() for tensor in suite.state_dict().values()]

    first = weights(4)
    assert weights(4) == first
    assert weights(5) != first


def test_the_card_tells_the_recipe_and_the_seed_that_made_the_model() -> None:
    card = training.prepare(Reader(ToyDays()), plan(TINY)).card
    assert Recipe.model_validate_json(card.about.recipe) == TINY
    assert card.about.seed == TINY.seed
    assert checkpoint.scored(card, {"zos day 5": 0.25}).about.scores == {"zos day 5": 0.25}


def test_heads_leave_the_backbone_as_it_was(tmp_path) -> None:
    """A head trained on a checkpoint's backbone: everything else of the checkpoint is in the new one, bit by bit."""
    alone = plan(TINY, biogeochemistry=None, kuroshio=None)
    card, suite = training.train(ToyDays(), alone)
    checkpoint.save(tmp_path, suite, card)
    kept = checkpoint.load(tmp_path)
    more = plan(TINY, waves=None, kuroshio=None, backbone=kept)
    stages: list[str] = []
    card, suite = training.train(ToyDays(), more, lambda step: stages.append(step.stage))
    before, after = kept.suite.state_dict(), suite.state_dict()
    assert set(stages) == {"heads"}
    assert card.parts == ("backbone", "waves", "biogeochemistry")
    assert [name for name, tensor in before.items() if not torch.equal(tensor, after[name])] == []
    assert {name.split(".")[1] for name in after if name not in before} == {"biogeochemistry"}


def test_heads_are_not_trained_on_days_with_other_channels_or_another_grid(tmp_path) -> None:
    card, suite = training.train(ToyDays(), plan(TINY, waves=None, biogeochemistry=None, kuroshio=None))
    checkpoint.save(tmp_path, suite, card)

    class Swapped(ToyDays):
        channels: ClassVar = {**ToyDays.channels, "ocean": ("to@50", "to@0", "zos")}

    class Shorter(ToyDays):
        def ocean(self, day):
            return super().ocean(day)[:, :8]

    heads = plan(TINY, kuroshio=None, backbone=checkpoint.load(tmp_path))
    with pytest.raises(TrainingError, match="to@50"):
        training.train(Swapped(), heads)
    with pytest.raises(TrainingError, match=r"an ocean of \(3, 16, 32\), as toy has it; found \(3, 8, 32\)"):
        training.train(Shorter(), heads)


def test_masking_is_in_force_in_pretraining(monkeypatch) -> None:
    """By the recipe's schedule the encoder is given 32, 8, 24 and 32 of 32 tokens, and other ones for each sample."""
    seen: list[torch.Tensor] = []
    original = Backbone.encode

    def watched(self, fields, visible=None):
        tokens = original(self, fields, visible)
        seen.append(torch.arange(32).expand(4, 32) if visible is None else visible)
        assert tokens.shape[1] == seen[-1].shape[1]
        return tokens

    monkeypatch.setattr(Backbone, "encode", watched)
    recipe = TINY.model_copy(update={"mask_schedule": ((0.25, 0.0), (0.5, 0.75), (0.75, 0.25)), "tuning_steps": 0})
    training.train(ToyDays(), plan(recipe, waves=None, biogeochemistry=None, kuroshio=None))
    assert [tokens.shape[1] for tokens in seen] == [32, 8, 24, 32]
    assert not torch.equal(seen[1][0], seen[1][1])


def test_statistics_count_ocean_cells_alone_weighted_by_area() -> None:
    """Two rows, of weights 1 and 3; the second cell of the first row is land.

    Values 0, 4, 4 with weights 1, 3, 3 of 7: mean 24/7, variance 1/7 (24/7)^2 + 6/7 (4/7)^2 = 96/49 about it. The
    background of one block for all is the plain mean of the three, 8/3: (8/3 - 24/7) / sqrt(96/49) spreads, so the
    spread about 8/3 is sqrt(96/49 + (24/7 - 8/3)^2). One-day changes 1, 2, 2: sqrt((1 + 6 * 4) / 7).
    """
    mask = torch.tensor([[[1.0, 0.0], [1.0, 1.0]]])
    today, tomorrow = torch.tensor([[[0.0, 999.0], [4.0, 4.0]]]), torch.tensor([[[1.0, -999.0], [6.0, 6.0]]])
    found = measure([(today, tomorrow)] * 2, mask, torch.tensor([1.0, 3.0]), (1, 1), labels=("to@0",), periodic=True)
    spread = np.sqrt(96 / 49 + (24 / 7 - 8 / 3) ** 2)
    assert found.statistics.mean == pytest.approx((24 / 7,), rel=1e-6)
    assert found.statistics.change == pytest.approx((np.sqrt(25 / 7),), rel=1e-6)
    expected = max(spread, np.sqrt(25 / 7))
    assert found.statistics.spread == pytest.approx((expected,), rel=1e-6)
    assert float(found.background) == pytest.approx((8 / 3 - 24 / 7) / expected, rel=1e-5)


def test_a_background_block_without_ocean_takes_its_nearest() -> None:
    mask = torch.ones(1, 2, 6)
    mask[:, :, 2:4] = 0
    field = torch.arange(6.0).expand(1, 2, 6)
    assert coarsened(field.double(), mask, (1, 3)).flatten().tolist() in ([0.5, 0.5, 4.5], [0.5, 4.5, 4.5])


def test_area_weights_are_cosines_of_latitude_with_mean_one() -> None:
    weights = area_weights(3, np.array([-60.0, 0.0, 60.0]))
    torch.testing.assert_close(weights, torch.tensor([0.75, 1.5, 0.75]))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda days: setattr(days, "ocean", lambda day: ToyDays().ocean(0)), "to@0 that changes"),
        (lambda days: setattr(days, "days", 5), "days in a row"),
        (lambda days: setattr(days, "ocean", lambda day: ToyDays().ocean(day)[:, :8]), "needed an ocean of"),
    ],
)
def test_days_that_cannot_teach_are_refused(spoil, said) -> None:
    days = ToyDays()
    spoil(days)
    with pytest.raises(TrainingError, match=said):
        training.train(days, plan(TINY))


@pytest.mark.parametrize(("changed", "said"), [
    ({"head_lead": 40}, "41 days in a row for head_lead 40; found at most 31; .* no more than 30"),
    ({"tuning_lead": 31}, "tuning_lead 31"), ({"rollout_schedule": ((1.0, 31),)}, "rollout_schedule 31"),
    ({"validate_every": 1, "validation_lead": 9}, "10 days in a row for validation_lead 9; found at most 9;"),
])  # fmt: skip
def test_a_rollout_longer_than_the_days_is_refused_before_the_first_step(changed, said) -> None:
    taken: list[training.Progress] = []
    whole = plan(TINY.model_copy(update=changed), span=(0, 30), validation=(31, 39))
    with pytest.raises(TrainingError, match=said):
        training.train(ToyDays(), whole, taken.append)
    assert taken == []


def test_a_step_whose_gradient_is_no_number_moves_nothing_and_many_in_a_row_end_the_run() -> None:
    """The root of nothing has a finite value and no gradient there."""
    recipe = Recipe(pretraining_steps=50, tuning_steps=0, averaging=0.9)
    module = torch.nn.Linear(1, 1)
    on_its_way = course.Course([module], 50, 1e-3, recipe, training.ALONE)

    def step(spoilt: bool) -> course.Taken:
        loss = module(torch.ones(1, 1)).square().sum()
        return on_its_way.take(loss + (0 * loss).sqrt() if spoilt else loss)

    before = [weight.detach().clone() for weight in module.parameters()]
    taken = step(spoilt=True)
    assert (np.isfinite(taken.loss), np.isfinite(taken.gradient)) == (True, False)
    assert all(torch.equal(*pair) for pair in zip(before, module.parameters(), strict=True))
    for _ in range(course.STUCK - 2):
        step(spoilt=True)
    assert np.isfinite(step(spoilt=False).gradient)
    assert all(torch.isfinite(weight).all() for weight in (*module.parameters(), *on_its_way.average.values()))
    assert not torch.equal(before[0], module.weight)
    again = course.Course([module], 50, 1e-3, recipe, training.ALONE)
    for _ in range(course.STUCK - 1):
        step(spoilt=True)
    again.restore(on_its_way.state())
    on_its_way = again
    with pytest.raises(TrainingError, match="none in 20 steps in a row; in steps 21 to 40 of 50"):
        step(spoilt=True)


def test_a_day_with_a_gap_in_its_ocean_or_weather_is_refused_before_it_is_learnt_from() -> None:
    class Holed(ToyDays):
        def ocean(self, day):
            field = super().ocean(day)
            field[2, 9, 4] = np.nan if day == 7 else field[2, 9, 4]
            return field

    class Windless(ToyDays):
        def forcing(self, start, steps):
            return np.where(start == 7, np.nan, super().forcing(start, steps)).astype(np.float32)

    with pytest.raises(TrainingError, match="1 cells that are not so, the first zos in row 9, column 4"):
        training.train(Holed(), plan(TINY))
    with pytest.raises(TrainingError, match="the forcing of day 7 without gaps"):
        training.train(Windless(), plan(TINY))


def test_training_sees_no_day_outside_its_span() -> None:
    seen: set[int] = set()

    class Watched(ToyDays):
        def ocean(self, day):
            seen.add(day)
            return super().ocean(day)

    training.train(Watched(), plan(TINY.model_copy(update={"pretraining_steps": 40}), span=(6, 25)))
    assert min(seen) == 6
    assert max(seen) <= 25


def test_rollouts_are_scored_against_the_days_that_really_follow() -> None:
    days = ToyDays()
    pool = RolloutPool(Reader(days), ("ocean",), size=4, batch=2, steps=lambda number: 2, longest=6, seed=(2,))
    leads = []
    for draw in pool.draws(30, ("ocean",)):
        for number, rollout in enumerate(draw.rollouts):
            valid = rollout.start + rollout.lead
            leads.append(rollout.lead)
            assert rollout.lead + 2 <= rollout.end <= 6
            for step in (0, 1):
                expected = np.nan_to_num(days.ocean(valid + step + 1))
                assert np.array_equal(draw.truth["ocean"][number, step].numpy(), expected)
                policy = days.forcing(rollout.start, rollout.lead + step + 1)[-1]
                assert np.array_equal(draw.forcing(2)[number, step].numpy(), policy)
        draw.put_back({"ocean": draw.truth["ocean"][:, 1]}, 2)
        assert np.array_equal(draw.fields()["ocean"].numpy(), draw.truth["ocean"][:, 1].numpy())
    assert set(leads) == {0, 2, 4}


SPIKE_DAY = 12


class Spiky(ToyDays):
    """A hindcast's weather: that of each step's own day, and on one day it is far out of the ordinary."""

    def forcing(self, start, steps):
        days = [ToyDays().forcing(start + step, 1)[0] for step in range(steps)]
        return np.stack([field + 1e4 * (start + step == SPIKE_DAY) for step, field in enumerate(days)])


def spikes(forcing) -> list[bool]:
    return [bool((field > 5e3).any()) for field in forcing]


def test_a_spike_of_the_forcing_meets_the_step_that_starts_on_its_day_in_training_and_rollout(learnt) -> None:
    """FORCING_TIME is the start of the step: weather of day 12 takes the ocean of day 12 to day 13, everywhere."""
    reader, whole = Reader(Spiky()), plan(TINY.model_copy(update={"pretraining_steps": 30, "tuning_steps": 30}))
    suite = training.prepare(Reader(ToyDays()), whole).suite
    met = 0
    for batch in Pretraining(suite, reader, whole, training.ALONE).batches(0):
        for today, tomorrow, forcing in zip(batch.fields["ocean"], batch.truth["ocean"], batch.forcing, strict=True):
            day = next(day for day in range(40) if np.array_equal(today.numpy(), np.nan_to_num(Spiky().ocean(day))))
            assert np.array_equal(tomorrow[0].numpy(), np.nan_to_num(Spiky().ocean(day + 1)))
            assert spikes(forcing) == [day == SPIKE_DAY]
            met += day == SPIKE_DAY
    tuning = Pooled("tuning", suite, reader, whole, training.ALONE)
    for batch in tuning.batches(0):
        for rollout, forcing in zip(tuning._draw.rollouts, batch.forcing, strict=True):
            first = rollout.start + rollout.lead
            assert spikes(forcing) == [first + step == SPIKE_DAY for step in range(2)]
            met += any(spikes(forcing))
        tuning._draw.put_back({"ocean": batch.truth["ocean"][:, -1]}, 2)
    assert met > 1
    calm, wild = ([*learnt[0].roll_out({"ocean": days.ocean(10)}, [days.forcing(10 + n, 1)[0] for n in range(4)])]
                  for days in (ToyDays(), Spiky()))  # fmt: skip
    changed = [not np.array_equal(*(day["ocean"] for day in pair), equal_nan=True)
               for pair in zip(calm, wild, strict=True)]  # fmt: skip
    assert changed == [False, False, True, True], "days 11, 12, 13 and 14"


def test_held_days_are_read_once_stay_as_they_were_and_give_way_to_newer_ones() -> None:
    reads: list[int] = []

    class Counted(ToyDays):
        def ocean(self, day):
            reads.append(day)
            return super().ocean(day)

    size = ToyDays().ocean(0).nbytes
    reader = Reader(Counted(), hold_bytes=2 * size)
    reads.clear()
    for day in (0, 1, 0, 2, 0, 1):
        assert np.array_equal(reader.field("ocean", day).numpy(), np.nan_to_num(ToyDays().ocean(day)))
        reader.field("ocean", day).zero_()
    assert reads == [0, 1, 2, 1]


def test_an_error_while_reading_ahead_is_raised() -> None:
    def read(item: int) -> int:
        if item == 2:
            raise TrainingError("a day", found="none", where="here", action="look")
        return 10 * item

    results = ahead(read, range(4))
    assert [next(results), next(results)] == [0, 10]
    with pytest.raises(TrainingError):
        next(results)
