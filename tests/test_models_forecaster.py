"""The forecaster and its checkpoint: land, restarts, forcing time, units, and everything a checkpoint refuses."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from models import checkpoint, forecaster
from models.errors import CheckpointError, ModelError
from tests.toy_models import ARCHITECTURE, card, suite
from tests.toy_ocean import CHANNELS, COLUMNS, FORCING, PLANKTON, ROWS, WAVES, ToyDays, coast

DAYS = ToyDays()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint")
    checkpoint.save(path, suite(card()), card())
    return path


@pytest.fixture
def model(folder):
    return forecaster.load(folder)


def start() -> dict[str, np.ndarray]:
    return {name: getattr(DAYS, name)(0) for name in ("ocean", "waves", "biogeochemistry")}


def copied(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def rewritten(folder, change) -> None:
    """The card with a change made to its JSON."""
    content = json.loads((folder / "card.json").read_text())
    change(content)
    (folder / "card.json").write_text(json.dumps(content))


def test_forecaster_says_what_it_is_and_what_it_takes(folder, model) -> None:
    assert (model.name, model.trained_on, model.digest) == ("toy", "a drifting pattern", checkpoint.digest(folder))
    assert (model.ocean_channels, model.forcing_channels) == (CHANNELS, FORCING)
    assert (model.wave_channels, model.biogeochemistry_channels) == (WAVES, PLANKTON)
    assert model.kuroshio_channels == ("to@0", "zos")
    assert model.shapes["kuroshio"] == (2, 12, 18)


def test_every_day_has_values_on_ocean_and_nan_on_land_exactly(model) -> None:
    for day in model.roll_out(start(), DAYS.forcing(0, 3)):
        assert set(day) == {"ocean", "waves", "biogeochemistry", "kuroshio"}
        assert all(values.dtype == np.float32 for values in day.values())
        assert np.array_equal(np.isfinite(day["ocean"]), coast())
        assert np.array_equal(np.isfinite(day["waves"]), np.stack([coast()[0]] * 2))
        assert np.array_equal(np.isfinite(day["biogeochemistry"]), coast()[:1])
        assert np.isfinite(day["kuroshio"]).all()
        assert day["kuroshio"].shape == (2, 12, 18)


def test_a_rollout_restarted_from_any_day_gives_the_same_bytes_on_any_number_of_threads(model) -> None:
    fields, threads = DAYS.forcing(0, 5), torch.get_num_threads()
    whole = list(model.roll_out(start(), fields))
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            for stop in (1, 3):
                state = {name: values for name, values in whole[stop - 1].items() if name != "kuroshio"}
                again = list(model.roll_out(state, fields[stop:], stop))
                for day, expected in zip(again, whole[stop:], strict=True):
                    assert {name: values.tobytes() for name, values in day.items()} == {
                        name: values.tobytes() for name, values in expected.items()
                    }
    finally:
        torch.set_num_threads(threads)


def test_what_a_reader_does_to_a_yielded_day_changes_nothing_after_it(model) -> None:
    expected = list(model.roll_out(start(), DAYS.forcing(0, 2)))[1]["ocean"]
    rollout = model.roll_out(start(), DAYS.forcing(0, 2))
    next(rollout)["ocean"][:] = -1.0
    assert np.array_equal(next(rollout)["ocean"], expected, equal_nan=True)


def test_forcing_of_a_day_changes_the_next_day_and_none_before(model) -> None:
    """Step start: the third forcing field is that of day 2, and makes day 3."""
    calm, windy = DAYS.forcing(0, 4), DAYS.forcing(0, 4)
    windy[2, 0] += 20.0
    days = zip(model.roll_out(start(), calm), model.roll_out(start(), windy), strict=True)
    same = [np.array_equal(first["ocean"], second["ocean"], equal_nan=True) for first, second in days]
    assert same == [True, True, False, False]


@pytest.mark.parametrize("mixing", ["sequence", "plane"])
def test_what_stands_on_land_inside_the_model_reaches_nothing(mixing) -> None:
    networks, mask = (
        suite(card(ARCHITECTURE.model_copy(update={"mixing": mixing}))),
        torch.from_numpy(coast().astype(np.float32)),
    )
    masks = {"ocean": mask, "waves": mask[:1].expand(2, -1, -1), "biogeochemistry": mask[:1]}
    dry = {name: torch.from_numpy(np.nan_to_num(values))[None] for name, values in start().items()}
    flooded = {name: torch.where(masks[name] > 0, values, 77.0) for name, values in dry.items()}
    wind = torch.from_numpy(DAYS.forcing(0, 1))
    one, other = networks.advance(dry, wind, masks), networks.advance(flooded, wind, masks)
    for name in dry:
        assert torch.equal(one.fields[name], other.fields[name]), name
        assert not one.fields[name][0][masks[name] == 0].any(), name
    surface = networks.surface(mask)
    assert surface is not None
    lead = torch.zeros(1)
    fine = [networks.downscale(state["ocean"], wind, one.features, surface, lead) for state in (dry, flooded)]
    assert torch.equal(*fine)


def test_only_the_forcing_over_land_reaches_the_ocean(model) -> None:
    """The one coupling there is: the network sees wind and elevation everywhere, and land lies beside the sea."""
    state, dry = start(), ~coast()[0]
    (day,) = model.roll_out(state, DAYS.forcing(0, 1))
    for channel in range(len(FORCING)):
        weather = DAYS.forcing(0, 1)
        weather[0, channel, dry] += 5.0
        (other,) = model.roll_out(state, weather)
        assert not np.array_equal(day["ocean"], other["ocean"], equal_nan=True)
        assert np.array_equal(np.isnan(other["ocean"]), ~coast())


def test_the_longer_the_lead_the_less_is_added_to_bicubic_interpolation() -> None:
    """It is multiplied by exp(-rate * lead)."""
    networks, mask = suite(card()), torch.from_numpy(coast().astype(np.float32))
    assert networks.kuroshio is not None
    torch.nn.init.normal_(networks.kuroshio.projection.weight)
    ocean = torch.from_numpy(np.nan_to_num(start()["ocean"]))[None]
    wind, surface = torch.from_numpy(DAYS.forcing(0, 1)), networks.surface(mask)
    assert surface is not None
    features = networks.ocean(ocean, wind, mask).features
    day_0, day_1, far = (
        networks.downscale(ocean, wind, features, surface, torch.full((1,), lead)) for lead in (0.0, 1.0, 200.0)
    )
    assert float((day_0 - far).abs().max()) > 0.1 * float(networks.kuroshio.residual.min())
    left = math.exp(-networks.kuroshio.architecture.fading_per_day)
    share = (left - left**200) / (1 - left**200)
    torch.testing.assert_close(day_1 - far, (day_0 - far) * share, rtol=1e-4, atol=1e-5)


def test_heads_without_their_state_are_left_out(model) -> None:
    (day,) = model.roll_out({"ocean": start()["ocean"]}, DAYS.forcing(0, 1))
    assert set(day) == {"ocean", "kuroshio"}


def test_the_ocean_does_not_depend_on_which_heads_run(model) -> None:
    (alone,) = model.roll_out({"ocean": start()["ocean"]}, DAYS.forcing(0, 1))
    (all_of_them,) = model.roll_out(start(), DAYS.forcing(0, 1))
    assert np.array_equal(alone["ocean"], all_of_them["ocean"], equal_nan=True)


def test_forecasts_have_no_negative_height_or_chlorophyll_and_bearings_of_a_compass(model) -> None:
    state = start()
    state["waves"][0] *= 0.01
    days = list(model.roll_out(state, DAYS.forcing(0, 20)))
    heights = np.stack([day["waves"][0] for day in days])
    assert np.nanmin(heights) == 0.0
    bearings = np.stack([day["waves"][1] for day in days])
    assert np.nanmin(bearings) >= 0
    assert np.nanmax(bearings) < 360
    assert np.nanmin([day["biogeochemistry"] for day in days]) > 0


def test_first_day_is_refined_where_there_is_a_head(model, tmp_path) -> None:
    derived = model.derive(start(), DAYS.forcing(0, 1)[0])
    assert derived["kuroshio"].shape == (2, 12, 18)
    plain = card(heads=False)
    checkpoint.save(tmp_path, suite(plain), plain)
    assert forecaster.load(tmp_path).derive(start(), DAYS.forcing(0, 1)[0]) == {}


def test_an_untrained_increment_is_persistence_and_a_state_is_not(tmp_path) -> None:
    for predicts, same in (("increment", True), ("state", False)):
        description = card(card().ocean.architecture.model_copy(update={"predicts": predicts}), heads=False)
        checkpoint.save(tmp_path, checkpoint.build(description), description)
        (day,) = forecaster.load(tmp_path).roll_out({"ocean": start()["ocean"]}, DAYS.forcing(0, 1))
        assert np.array_equal(day["ocean"], start()["ocean"], equal_nan=True) is same
        assert np.array_equal(np.isfinite(day["ocean"]), coast())


@pytest.mark.parametrize(
    ("name", "spoil", "said"),
    [
        ("ocean", lambda values: values[:, :-1], f"needed ocean as float32 \\(3, {ROWS}, {COLUMNS}\\)"),
        ("ocean", lambda values: values.astype(np.float64), "found float64"),
        ("waves", lambda values: np.full_like(values, np.nan), "a channel that is all land"),
        ("biogeochemistry", lambda values: np.where(values > 0, np.float32(np.inf), values), "infinity"),
    ],
)
def test_a_state_of_the_wrong_kind_is_refused_before_any_day(model, name, spoil, said) -> None:
    state = start()
    state[name] = spoil(state[name])
    with pytest.raises(CheckpointError, match=said):
        model.roll_out(state, DAYS.forcing(0, 1))


def test_forcing_with_a_gap_is_refused_by_the_name_of_its_channel(model) -> None:
    fields = DAYS.forcing(0, 1)
    fields[0, 1, 3, 4] = np.nan
    with pytest.raises(CheckpointError, match="v10"):
        next(model.roll_out(start(), fields))


def test_a_checkpoint_comes_back_as_it_was_saved(folder) -> None:
    original, loaded = suite(card()), checkpoint.load(folder, checkpoint.digest(folder))
    assert loaded.card.model_copy(update={"files": {}}) == card()
    assert not any(parameter.requires_grad for parameter in loaded.suite.parameters())
    found = loaded.suite.state_dict()
    assert found.keys() == original.state_dict().keys()
    assert all(torch.equal(tensor, found[name]) for name, tensor in original.state_dict().items())
    mask, fields = torch.from_numpy(coast().astype(np.float32)), torch.from_numpy(np.nan_to_num(DAYS.ocean(0)))[None]
    assert torch.equal(original.ocean.ocean(fields, mask), loaded.suite.ocean.ocean(fields, mask))


def test_saving_again_gives_the_same_digest_and_other_weights_another(folder, tmp_path) -> None:
    assert checkpoint.save(tmp_path / "same", suite(card()), card()) == checkpoint.digest(folder)
    assert checkpoint.save(tmp_path / "other", suite(card(), seed=6), card()) != checkpoint.digest(folder)


def test_a_checkpoint_without_heads_replaces_one_with_them_whole(folder, tmp_path) -> None:
    copied(folder, tmp_path)
    plain = card(heads=False)
    digest = checkpoint.save(tmp_path, suite(plain), plain)
    assert checkpoint.load(tmp_path, digest).card.parts == ("backbone",)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backbone.safetensors", "card.json"]
    assert [path.name for path in tmp_path.parent.glob(f".{tmp_path.name}.*")] == []


class Killed(BaseException):
    """Nothing runs after it."""


@pytest.mark.parametrize(("done", "there"), [("save_file", True), ("write_text", True), ("rename", False)])
def test_a_save_that_is_killed_leaves_the_checkpoint_that_was_there(folder, tmp_path, monkeypatch, done, there) -> None:
    """Killed after the first file of weights, after the card, or between the two names of the replacement."""
    place, where = tmp_path / "model", checkpoint if done == "save_file" else Path
    place.mkdir()
    copied(folder, place)
    before, step = checkpoint.digest(place), getattr(where, done)

    def killed(*given, **named):
        step(*given, **named)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(where, done, killed)
        with pytest.raises(Killed):
            checkpoint.save(place, suite(card(), seed=6), card())
    assert place.exists() is there
    assert checkpoint.digest(checkpoint.replaceable(place)) == before
    assert checkpoint.save(place, suite(card(), seed=6), card()) != before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_is_no_checkpoint_is_not_replaced(folder, tmp_path) -> None:
    (copied(folder, tmp_path) / "thesis.txt").write_text("years")
    with pytest.raises(CheckpointError, match=r"nothing but a checkpoint.*thesis"):
        checkpoint.save(tmp_path, suite(card()), card())
    with pytest.raises(CheckpointError, match="a file"):
        checkpoint.save(tmp_path / "thesis.txt", suite(card()), card())
    assert (tmp_path / "thesis.txt").read_text() == "years"


def test_an_error_has_its_four_parts(tmp_path) -> None:
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(tmp_path)
    error = caught.value
    assert isinstance(error, ModelError)
    assert isinstance(error, ValueError)
    assert str(error) == f"needed {error.needed}; found {error.found}; in {error.where}; {error.action}"


def test_a_checkpoint_other_than_the_pinned_one_is_refused(folder) -> None:
    with pytest.raises(CheckpointError, match="needed the checkpoint with SHA-256 0000"):
        checkpoint.load(folder, "0000")


def test_a_truncated_file_is_refused(folder, tmp_path) -> None:
    broken = copied(folder, tmp_path) / "backbone.safetensors"
    broken.write_bytes(broken.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"backbone\.safetensors"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("content", [
    pickle.dumps({"weight": [1.0]}), b"", b"\x08" + b"\x00" * 7 + b"{}      ", b"\xff" * 8 + b"{}",
])  # fmt: skip
def test_a_file_that_is_not_safetensors_is_refused_even_where_the_card_vouches_for_it(
    folder, tmp_path, content
) -> None:
    (copied(folder, tmp_path) / "waves.safetensors").write_bytes(content)
    digest = checkpoint._sha256(tmp_path / "waves.safetensors")
    rewritten(tmp_path, lambda it: it["files"].update({"waves.safetensors": digest}))
    with pytest.raises(CheckpointError, match=r"waves\.safetensors"):
        checkpoint.load(tmp_path)


def test_a_file_cut_off_within_its_weights_is_refused_even_where_the_card_vouches_for_it(folder, tmp_path) -> None:
    broken = copied(folder, tmp_path) / "backbone.safetensors"
    broken.write_bytes(broken.read_bytes()[:-100])
    rewritten(tmp_path, lambda it: it["files"].update({broken.name: checkpoint._sha256(broken)}))
    with pytest.raises(CheckpointError, match=r"safetensors format.*backbone\.safetensors"):
        checkpoint.load(tmp_path)


def test_a_refused_checkpoint_has_computed_nothing(folder, tmp_path, monkeypatch) -> None:
    """Neither a network nor its weights are made before the card, the pin and every file's digest agree."""
    monkeypatch.setattr(checkpoint, "build", lambda card: pytest.fail("networks were built"))
    with pytest.raises(CheckpointError, match="SHA-256 0000"):
        checkpoint.load(folder, "0000")
    broken = copied(folder, tmp_path) / "backbone.safetensors"
    broken.write_bytes(pickle.dumps({"weight": [1.0]}))
    with pytest.raises(CheckpointError, match="as the card says"):
        checkpoint.load(tmp_path)


def test_missing_and_unlisted_files_are_refused(folder, tmp_path) -> None:
    (copied(folder, tmp_path) / "kuroshio.safetensors").unlink()
    with pytest.raises(CheckpointError, match="kuroshio"):
        checkpoint.load(tmp_path)
    (copied(folder, tmp_path) / "ice.safetensors").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="ice"):
        checkpoint.load(tmp_path)


def remove_statistics(content) -> None:
    del content["ocean"]["statistics"]


def lose_a_mean(content) -> None:
    content["ocean"]["statistics"]["mean"].pop()


def rename_forcing(content) -> None:
    content["ocean"]["forcing"][0] = "wind"


def drop_a_channel(content) -> None:
    content["ocean"]["channels"].pop()


def move_the_window(content) -> None:
    content["kuroshio"]["architecture"]["window"]["north"] = ROWS + 1


def widen(content) -> None:
    content["ocean"]["architecture"]["decoder_dim"] = 64


def add_a_word(content) -> None:
    content["colour"] = "blue"


def age(content) -> None:
    content["format"] = 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (remove_statistics, "statistics"), (lose_a_mean, "needed 3 values of mean for ocean; found 2"),
        (rename_forcing, "needed forcing of waves among"), (drop_a_channel, "needed 3 ocean channel labels; found 2"),
        (move_the_window, "needed a window"), (widen, "float32"), (add_a_word, "colour"), (age, "needed layout 1"),
    ],
)  # fmt: skip
def test_a_card_that_does_not_fit_is_refused(folder, tmp_path, change, said) -> None:
    rewritten(copied(folder, tmp_path), change)
    with pytest.raises(CheckpointError, match=said):
        checkpoint.load(tmp_path)


def test_weights_that_are_not_numbers_are_refused(tmp_path) -> None:
    networks = suite(card())
    networks.ocean.backbone.mask_token.data[3] = torch.nan
    checkpoint.save(tmp_path, networks, card())
    with pytest.raises(CheckpointError, match=r"backbone\.mask_token; found NaN"):
        checkpoint.load(tmp_path)
