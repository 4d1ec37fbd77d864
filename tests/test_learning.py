"""``goms archive`` and ``goms train`` on a few days of a real layout, and what an archive of years says of itself."""

from __future__ import annotations

import hashlib
import re
import shutil
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from tensorboardX.proto.event_pb2 import Event

from flows import clock
from flows.desk import training
from models import checkpoint
from models.errors import TrainingError
from models.forecaster import load
from pipeline import computing
from pipeline.earth import landmask
from pipeline.errors import InputRefused, UsageError
from pipeline.systems import AGULHAS, TWIN
from pipeline.training import archive, archive_check, archive_layout, archive_statistics
from pipeline.training.archive_contract import contract_of
from pipeline.training.training_archive import TrainingArchive
from tests.benchmarks import options

FIRST = date(2002, 1, 1)
SMALL = ("encoder_dim=16", "decoder_dim=16", "encoder_depth=1", "decoder_depth=1", "pretraining_steps=6",
         "tuning_steps=4", "batch=2", "validate_every=2", "validation_lead=2", "tuning_lead=4", "pool=4",
         'rollout_schedule=[[1.0,2]]')  # fmt: skip


@pytest.fixture(scope="module")
def currents(tmp_path_factory) -> Path:
    """Twelve days in GlobCurrent's layout: a jet that drifts, with the coast of the system's mask."""
    ocean = np.pad(landmask.depth_mask(AGULHAS)[0], ((0, 1), (0, 1)), mode="edge")
    row, column = np.indices(ocean.shape)
    fields = [
        np.where(ocean, 0.5 * np.sin(row / 4 + 0.3 * day) + 0.2 * np.cos(column / 5), np.nan) for day in range(12)
    ]
    data = np.stack(fields).astype(np.float32)
    dims = ("time", "lat", "lon")
    file = xr.Dataset(
        {"u": (dims, data, {"units": "m s-1"}), "v": (dims, -0.5 * data, {"units": "m s-1"})},
        coords={"time": ("time", np.arange(12), {"units": "days since 2002-01-01"}),
                "lat": -40.125 + 0.25 * np.arange(41), "lon": 14.875 + 0.25 * np.arange(81)},
    )  # fmt: skip
    path = tmp_path_factory.mktemp("currents") / "currents.nc"
    file.to_netcdf(path, engine="netcdf4")
    return path


@pytest.fixture(scope="module")
def archived(currents) -> str:
    """Of all days, the first nine fitted, as the command makes it."""
    out = str(currents.parent / "days.zarr")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOMS_SCRATCH", str(currents.parent / "scratch"))
        training.archive(("2002-01-01", "2002-01-12"), out, "agulhas", str(currents), 1, 0, "2002-01-09")
    return out


def test_what_is_said_of_a_day_is_said_as_it_is_and_too_few_days_are_told(currents, tmp_path, monkeypatch, capsys):
    """The files lie where the marks of a line's colours would be read: of two days the last is not in them."""
    inputs = tmp_path / "[red]" / "[" / "currents[]"
    inputs.mkdir(parents=True)
    shutil.copy(currents, inputs)
    monkeypatch.setenv("GOMS_SCRATCH", str(tmp_path / "scratch"))
    out = tmp_path / "[red]" / "days.zarr"
    training.archive(("2002-01-12", "2002-01-13"), str(out), "agulhas", str(inputs), 1, 0, None)
    said = capsys.readouterr().err
    assert re.search(rf"2 of 2  2002-01-13: .*{re.escape(str(inputs))}", said)
    assert f"1 days held, 1 missing, in {out};" in said
    assert "cannot be trained on yet: 1 of the days to fit, 2002-01-12..2002-01-13, are held" in said


def test_currents_alone_are_an_archive_with_two_channels_and_no_forcing(archived, currents):
    days = TrainingArchive(archived, AGULHAS)
    assert days.channels == {"ocean": ("uo@0", "vo@0")}
    assert (days.held.all(), days.fit, days.forcing(3, 2).shape) == (True, (0, 8), (2, 0, 40, 80))
    with xr.open_dataset(currents) as file:
        expected = file["u"].values[4, :40, :80]
    np.testing.assert_allclose(days.ocean(4)[0], expected, rtol=2.0**-10)


def test_a_backbone_is_trained_by_the_command_goes_on_and_rolls_out(archived, tmp_path, capsys, monkeypatch):
    """The second command of the same run finds it done, whenever it is given, and mends what was altered since.

    The curves of both stages are TensorBoard's.
    """
    out = tmp_path / "model"
    asked = training.Asked("backbone", "agulhas", changes=SMALL, validate_until="2002-01-12", device="cpu", every=2)
    training.train(archived, out, asked, "agulhas")
    first = checkpoint.digest(out)
    assert "no step was left" not in capsys.readouterr().err
    card = checkpoint.load(out).card
    assert (card.ocean.channels, card.ocean.forcing, card.parts) == (("uo@0", "vo@0"), (), ("backbone",))
    assert (card.about.data_span, card.about.trained_on[:15]) == ("2002-01-01..2002-01-09", "Agulhas Current")
    monkeypatch.setattr(clock, "today", lambda: date(2031, 1, 1))
    training.train(archived, out, asked, "agulhas")
    said = capsys.readouterr().err
    assert "no step was left to take" in said
    assert f'sha256="{first}"' in "".join(said.split("\n"))
    assert (checkpoint.digest(out), checkpoint.load(out).card) == (first, card)
    (out / "backbone.safetensors").write_bytes((out / "backbone.safetensors").read_bytes()[:-1])
    training.train(archived, out, asked, "agulhas")
    mended = checkpoint.load(out).card
    assert (mended.files, mended.about.scores) == (card.files, card.about.scores)
    assert (mended.about.created, card.about.created == mended.about.created) == ("2031-01-01", False)
    days = TrainingArchive(archived)
    assert card.about.scores == by_hand(days, load(out))
    rolled = list(load(out).roll_out({"ocean": days.ocean(0)}, days.forcing(0, 3)))
    assert [bool(np.array_equal(np.isnan(day["ocean"]), np.isnan(days.ocean(0)))) for day in rolled] == [True] * 3
    tags = [tag for tag, _ in scalars(tmp_path / "model.training" / "curves")]
    assert [tags.count(name) for name in ("pretraining/loss", "tuning/rate", "tuning/validation")] == [6, 4, 2]


def by_hand(days: TrainingArchive, model) -> dict[str, float]:
    """Errors of forecasts from the one start that has two validation days after it, the tenth day."""
    begin, weights, found = days.ocean(9).astype(np.float64), days.contract.grids["ocean"].areas_m2, {}
    for lead, day in enumerate(model.roll_out({"ocean": days.ocean(9)}, days.forcing(9, 2)), start=1):
        truth = days.ocean(9 + lead)
        for row, name in enumerate(("uo", "vo")):
            for who, forecast in (("", day["ocean"]), (" persistence", begin)):
                error = np.nansum((forecast[row] - truth[row].astype(np.float64)) ** 2 * weights)
                mean = error / weights[np.isfinite(truth[row])].sum()
                found[f"ocean {name} day {lead}{who}"] = pytest.approx(np.sqrt(mean), rel=1e-4)
    return found


def scalars(folder: Path) -> list[tuple[str, int]]:
    """Tag and step of every scalar in the event files: length (8 bytes), its check (4), the record, its check (4)."""
    found = []
    for path in folder.iterdir():
        data, place = path.read_bytes(), 0
        while place < len(data):
            size = int.from_bytes(data[place : place + 8], "little")
            event = Event.FromString(data[place + 12 : place + 12 + size])
            found += [(value.tag, event.step) for value in event.summary.value]
            place += size + 16
    return found


@pytest.mark.parametrize(("changed", "said"), [
    ({"part": "fins"}, "one of all, backbone"), ({"preset": "big"}, "--preset"),
    ({"part": "waves", "backbone": Path("nowhere")}, "a checkpoint with its card"),
    ({"part": "waves"}, "--backbone"), ({"changes": ("bach=2",)}, "bach"),
    ({"changes": ("patch=7",)}, "do not divide"), ({"changes": ("blocks=7",)}, "multiple of blocks, 7"),
    ({"changes": ("encoder_dim=30", "blocks=2")}, "encoder_dim 30 .* of 4"), ({"seed": -1}, "seed: .* or equal to 0"),
    ({"changes": ("rollout_schedule=[[1.0,0]]",)}, "rollout_schedule.0.1: .* or equal to 1"),
    ({"changes": ("mask_schedule=[[1.0,-0.5]]",)}, "mask_schedule.0.1: .* or equal to 0"),
    ({"changes": ("mask_schedule=[[1.0,1.0]]",)}, "mask_schedule.0.1: .* less than 1"),
    ({"changes": ("noise=Infinity",)}, "noise: .* finite number"),
    ({"validate_until": "2002-01-05"}, "a day after 2002-01-09"),
    ({"validate_until": "15/01/2002"}, "15/01/2002"), ({"device": "cuda:1"}, "cpu, cuda or auto; found 'cuda:1'"),
    ({"device": "gpu"}, "cpu, cuda or auto"), ({"backbone": Path("nowhere")}, "backbone trains one; found nowhere"),
    ({"part": "waves", "backbone": Path("nowhere"), "changes": ("patch=4", "batch=2")}, "has its own; found patch;"),
])  # fmt: skip
def test_what_cannot_be_trained_is_said_before_anything_is(archived, tmp_path, changed, said):
    asked = training.Asked(**{"part": "backbone", "preset": "agulhas", "device": "cpu", **changed})
    with pytest.raises((UsageError, checkpoint.CheckpointError, TrainingError), match=said):
        training.train(archived, tmp_path / "model", asked, None)
    with pytest.raises(UsageError, match="an archive with system 'twin'"):
        TrainingArchive(archived, TWIN)


def test_days_archived_under_another_policy_than_the_systems_are_not_trained_on_unasked(archived, tmp_path):
    """The archive says "analysis", the system something else: one of them must be chosen."""
    out = str(shutil.copytree(archived, tmp_path / "days.zarr"))
    group = archive_layout.existing(out)
    group.attrs["contract"] = {**archive_layout.attribute(group, "contract"), "forcing_policy": "analysis"}
    asked = training.Asked("backbone", "agulhas", device="cpu")
    with pytest.raises(UsageError, match=rf"forcing_policy={AGULHAS.forcing_policy}, or =analysis"):
        training.train(out, tmp_path / "model", asked, "agulhas")
    recipe = training.recipe_of(asked)
    chosen = recipe.model_copy(update={"forcing_policy": AGULHAS.forcing_policy})
    assert training.opened(out, chosen, "agulhas").forcing_policy == AGULHAS.forcing_policy != "analysis"
    assert training.opened(out, recipe, None).forcing_policy == "analysis"


FIT_DAY, VALIDATION_DAY = 4, 9
"""Of the archive: 2002-01-05, which statistics are of, and 2002-01-10, the first that judges."""


def asked_of(**changed) -> training.Asked:
    """A small run of the backbone, judged on the last three days."""
    small = {"part": "backbone", "preset": "agulhas", "changes": SMALL, "validate_until": "2002-01-12"}
    return training.Asked(**{**small, "device": "cpu", **changed})


def hole(out: Path, day: int) -> None:
    """A day rewritten with a cell of the ocean missing."""
    ocean = archive_layout.member(archive_layout.existing(str(out)), "ocean")
    ocean[day, 1, 9, 33] = np.nan


def flip(out: Path, day: int) -> None:
    """One bit of a day's bytes."""
    path = out / "ocean" / "c" / str(day) / "0" / "0" / "0"
    content = bytearray(path.read_bytes())
    content[300] ^= 1
    path.write_bytes(content)


def cut(out: Path, day: int) -> None:
    """A day's last bytes are lost."""
    path = out / "ocean" / "c" / str(day) / "0" / "0" / "0"
    path.write_bytes(path.read_bytes()[:-9])


def forget(out: Path, day: int) -> None:
    """A statistic is removed."""
    shutil.rmtree(out / "ocean_changes")


PLACE = r"in 1 place, the first vo@0 in row 9, column 33 \(-37.875 N, 23.125 E\)"


@pytest.mark.parametrize(("spoil", "day", "said"), [
    (hole, FIT_DAY, f"ocean of 2002-01-05: no value on ocean {PLACE}"),
    (hole, VALIDATION_DAY, f"ocean of 2002-01-10: no value on ocean {PLACE}"),
    (cut, VALIDATION_DAY, "ocean of 2002-01-10: bytes that cannot be decoded, of uo@0, vo@0"),
    (flip, FIT_DAY, "ocean of 2002-01-05: (other values|bytes)"), (forget, FIT_DAY, "the statistic ocean_changes"),
])  # fmt: skip
def test_an_archive_that_was_altered_is_refused_before_the_first_step(archived, tmp_path, spoil, day, said):
    out = Path(shutil.copytree(archived, tmp_path / "days.zarr"))
    spoil(out, day)
    with pytest.raises((InputRefused, UsageError), match=said):
        training.train(str(out), tmp_path / "model", asked_of(), None)
    assert [path.name for path in tmp_path.iterdir()] == ["days.zarr"], "nothing was begun"


def test_days_that_are_trusted_are_not_looked_at(archived, tmp_path, monkeypatch):
    monkeypatch.setattr(archive_check, "wrong", lambda *given: pytest.fail("looked at"))
    with pytest.raises(pytest.fail.Exception, match="looked at"):
        training.train(archived, tmp_path / "model", asked_of(), None)
    with pytest.raises(TrainingError, match="14 days in a row"):
        training.train(
            archived, tmp_path / "model", asked_of(changes=("validation_lead=13",), trust_archive=True), None
        )
    steps = tuple(f"{stage}_steps=0" for stage in ("pretraining", "tuning"))
    training.train(archived, tmp_path / "model", asked_of(changes=(*SMALL, *steps), trust_archive=True), None)
    assert (tmp_path / "model" / "card.json").is_file()


def test_a_state_is_of_the_days_it_was_made_from_and_of_the_weather_they_were_given(archived, tmp_path):
    """Another value on a fitted or a validation day, another policy: other days. Days nobody sees count for nothing."""
    out = Path(shutil.copytree(archived, tmp_path / "days.zarr"))
    group, asked = archive_layout.existing(str(out)), asked_of(validate_until="2002-01-11")

    def days(policy: str | None = None) -> str:
        found = TrainingArchive(str(out), None, policy)
        return training.plan_of(found, asked, training.recipe_of(asked)).days

    def rewrite(day: int) -> None:
        digests = archive_layout.member(group, "sha256")
        digests[day] = 255 - np.asarray(digests[day])
        group.attrs["statistics"] = {
            **archive_layout.attribute(group, "statistics"),
            "made_of": hashlib.sha256(np.asarray(digests[:9]).tobytes()).hexdigest(),
        }

    found = [days(), days("analysis"), days("relaxed")]
    for day in (FIT_DAY, VALIDATION_DAY):
        rewrite(day)
        found.append(days())
    assert len(set(found)) == len(found), "each is another"
    rewrite(VALIDATION_DAY + 2)
    assert days() == found[-1]


def test_every_option_that_is_compared_changes_the_recipe_or_the_network(archived):
    contract = TrainingArchive(archived).contract
    usual = asked_of(changes=())
    made = {(training.recipe_of(asked), training.fitted(asked, contract)) for asked in
            (usual._replace(changes=changes) for _, changes in options.OPTIONS.values())}  # fmt: skip
    assert len(made) == len(options.OPTIONS)


@pytest.mark.server
def test_days_are_archived_by_the_workers_of_a_scheduler(archived, currents, tmp_path):
    """To the same shards as this process makes."""
    from distributed import LocalCluster

    out, span = str(tmp_path / "days.zarr"), (FIRST, FIRST + timedelta(days=3))
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        workers = archive.Workers(scheduler=cluster.scheduler_address)
        built = archive.build(AGULHAS, *span, out, scratch=tmp_path / "scratch", inputs=str(currents), workers=workers)
    assert built.held == 4
    mine, theirs = (np.asarray(archive_layout.member(archive_layout.existing(path), "sha256")[:4])
                    for path in (archived, out))  # fmt: skip
    np.testing.assert_array_equal(mine, theirs)


def test_years_give_a_climatology_of_harmonics_and_the_memory_of_the_weather(tmp_path):
    """Two years of a 2 x 3 sea: u = 1 + 2 cos - 0.5 sin(2 phase); winds that forget with 1/e in three days."""
    grid = AGULHAS.grid.model_copy(update={"rows": 2, "columns": 3})
    entry = AGULHAS.model_copy(update={"grid": grid, "ocean_variables": ("uo",), "ladders": TWIN.ladders[:2]})
    contract, days = contract_of(entry, ("ocean", "forcing")), 731
    out, last = str(tmp_path / "days.zarr"), FIRST + timedelta(days=days - 1)
    group = archive_layout.opened(contract, (FIRST, last), out, {"inputs": "", "seed": 0})
    dates = [FIRST + timedelta(days=day) for day in range(days)]
    design = archive_statistics.seasons(dates, 0, 2)
    ocean = (design @ [1.0, 2.0, 0.0, 0.0, -0.5])[:, None, None, None] * np.ones((1, 1, 2, 3))
    ocean[..., 1, 2] = np.nan
    noise, wind = np.random.default_rng(1).normal(size=(days, 6, 2, 3)), np.zeros((days, 6, 2, 3))
    memory = np.exp(-1 / 3)
    for day in range(1, days):
        wind[day] = memory * wind[day - 1] + noise[day]
    archive_layout.member(group, "ocean")[:] = ocean.astype(np.float32)
    archive_layout.member(group, "forcing")[:] = (wind + 5).astype(np.float32)
    archive_layout.member(group, "held")[:] = archive_layout.HELD
    archive_statistics.finish(out, (FIRST, last), None, 1)
    found = np.asarray(archive_layout.member(group, "ocean_climatology")[:, 0, 0, 0])
    np.testing.assert_allclose(found, [1.0, 2.0, 0.0, 0.0, -0.5], atol=1e-5)
    remembered = np.asarray(archive_layout.member(group, "forcing_memory_days")[:])
    assert np.abs(remembered - 3.0).max() < 1.0
    assert abs(remembered.mean() - 3.0) < 0.3
    with computing.on(None, 1):
        july = TrainingArchive(out).climatology("ocean", date(2010, 7, 2))[0, 0, 0]
    assert july == pytest.approx(float(archive_statistics.seasons([date(2010, 7, 2)], 0, 2)[0] @ found), rel=1e-6)
