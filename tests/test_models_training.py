"""Training on the small drifting ocean: statistics by hand, a model that beats persistence, seeds that reproduce."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models import checkpoint, forecaster, training
from models.backbone import Backbone
from models.days import Reader, ahead
from models.errors import TrainingError
from models.heads import bicubic
from models.recipes import Recipe
from models.rollouts import RolloutPool
from models.statistics import area_weights, coarsened, measure
from models.suite import land_filled, nearest_ocean
from tests.toy_models import ABOUT, ARCHITECTURE, PLANKTON_HEAD, REFINEMENT, WAVE_HEAD
from tests.toy_ocean import FORCING, LATITUDE, ToyDays, coast

RECIPE = Recipe(
    seed=1, batch=4, pretraining_steps=160, pretraining_rate=3e-3, mask_schedule=((0.05, 0.0), (0.15, 0.5), (1.0, 0.0)),
    tuning_steps=60, tuning_rate=1e-3, tuning_lead=10, head_lead=10, pool=16, head_steps=120, head_rate=3e-3,
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
    assert all(np.mean(values[-20:]) < 0.4 * np.mean(values[:5]) for values in losses.values())
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


def test_heads_leave_the_backbone_as_it_was() -> None:
    reader = Reader(ToyDays())
    torch.manual_seed(0)
    suite = training.prepare(reader, plan(TINY)).suite
    before = {name: tensor.clone() for name, tensor in suite.state_dict().items()}
    training.train_heads(suite, reader, plan(TINY), lambda progress: None)
    moved = {name.split(".")[0] for name, tensor in suite.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {"heads", "kuroshio"}


def test_masking_is_in_force_in_pretraining(monkeypatch) -> None:
    lengths: list[int] = []
    original = Backbone.encode

    def watched(self, fields, visible=None):
        tokens = original(self, fields, visible)
        lengths.append(tokens.shape[1])
        return tokens

    monkeypatch.setattr(Backbone, "encode", watched)
    recipe = TINY.model_copy(update={"pretraining_steps": 4, "mask_schedule": ((0.25, 0.0), (0.5, 0.75), (0.75, 0.25))})
    reader = Reader(ToyDays())
    training.pretrain(training.prepare(reader, plan(recipe)).suite, reader, plan(recipe), lambda progress: None)
    assert lengths == [32, 8, 24, 32]


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
    pool = RolloutPool(Reader(days), ("ocean",), size=4, batch=2, steps=2, longest=6,
                       generator=torch.Generator().manual_seed(2))  # fmt: skip
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
                assert np.array_equal(draw.forcing(step)[number].numpy(), policy)
        draw.put_back({"ocean": draw.truth["ocean"][:, 1]}, 2)
        assert np.array_equal(draw.fields()["ocean"].numpy(), draw.truth["ocean"][:, 1].numpy())
    assert set(leads) == {0, 2, 4}


def test_forcing_of_training_is_that_of_the_start_of_the_step() -> None:
    """The forcing paired with (today, tomorrow) is today's analysis, FORCING_TIME step_start."""
    today, tomorrow, forcing = training._pairs(Reader(ToyDays()), [5, 9])
    days = ToyDays()
    assert np.array_equal(today[1].numpy(), np.nan_to_num(days.ocean(9)))
    assert np.array_equal(tomorrow[1].numpy(), np.nan_to_num(days.ocean(10)))
    assert np.array_equal(forcing[1].numpy(), days.forcing(9, 1)[0])
    assert forcing.shape[1] == len(FORCING)


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
