"""Two processes train as one does, and a run that was killed goes on to the same curve and the same weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from train_processes import KILLED_AT, RECIPE, STEPS, lines

from models import resuming, training
from models.errors import TrainingError
from models.plans import Keeping
from models.ranks import ALONE, Ranks
from tests.test_models_training import TINY, plan
from tests.toy_ocean import ToyDays


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the runs: see ``train_processes``."""
    place = tmp_path_factory.mktemp("processes")
    command = [sys.executable, "-m", "tests.train_processes", str(place)]
    done = subprocess.run(
        command, check=False, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return place


def curve(folder: Path, run: str) -> dict[tuple[str, int], dict]:
    """By stage and step what was reported, the last time where it was done twice."""
    return {(line["stage"], line["step"]): line for line in lines(folder / f"{run}.jsonl")}


def test_a_run_that_was_killed_twice_has_the_curve_and_weights_of_one_that_was_not(folder: Path) -> None:
    whole, killed = curve(folder, "whole"), curve(folder, "killed")
    assert list(whole) == list(killed)
    assert len(whole) == STEPS
    for place, line in whole.items():
        assert killed[place].keys() == line.keys()
        figures = {name: line[name] for name in ("loss", "rate", "gradient", "validation") if line[name] is not None}
        assert {name: killed[place][name] for name in figures} == pytest.approx(figures, rel=1e-4), place
    assert sum(line["validation"] is not None for line in whole.values()) == 8
    weights, others = (torch.load(folder / f"{run}.pt", weights_only=True) for run in ("whole", "killed"))
    for name, tensor in weights.items():
        torch.testing.assert_close(others[name], tensor, rtol=1e-4, atol=1e-6, msg=name)


def test_every_step_that_was_repeated_was_the_same_step(folder: Path) -> None:
    """The state is kept after every third step of a stage: what came after it is done again."""
    told: dict[tuple[str, int], list[float]] = {}
    for line in lines(folder / "killed.jsonl"):
        told.setdefault((line["stage"], line["step"]), []).append(line["loss"])
    repeated = {place: losses for place, losses in told.items() if len(losses) > 1}
    assert set(KILLED_AT) <= set(repeated)
    for place, losses in repeated.items():
        assert losses == pytest.approx([losses[0]] * len(losses), rel=1e-6), place


def test_two_processes_go_down_the_curve_of_one(folder: Path) -> None:
    """Of pretraining: each takes its share of the same batches, with the same masks and noise."""
    two, one = curve(folder, "whole"), curve(folder, "alone")
    assert len(one) == RECIPE.pretraining_steps
    for place, line in one.items():
        assert two[place]["loss"] == pytest.approx(line["loss"], rel=1e-4), place
        assert two[place]["gradient"] == pytest.approx(line["gradient"], rel=1e-3), place


def test_what_each_process_has_to_say_is_heard_by_all_in_their_order_and_all_judge_alike(folder: Path) -> None:
    """Of a look at which the first sees a loss of 0 and the second of 1, the first says one half."""
    assert json.loads((folder / "whole.said").read_text()) == ["0 of 2", "1 of 2", "and last", "0.50"]
    assert json.loads((folder / "alone.said").read_text()) == ["0 of 1", "0.00"]


def test_only_the_newest_whole_state_is_kept(folder: Path) -> None:
    names = sorted(path.name.rpartition("-")[2] for path in (folder / "killed").iterdir())
    assert names == ["0.safetensors", "1.safetensors", "shared.safetensors"]
    assert resuming.newest(folder / "killed", 3) is None, "a third process has no state"


def test_a_state_is_read_as_it_was_written_and_one_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    tree = {"step": 3, "rate": 0.1, "list": [{"a": torch.arange(3.0)}, None], 0: {"none": torch.zeros(0, 2)}}
    resuming.write(tmp_path, 1, "shared", tree)
    found = resuming.read(tmp_path, 1, "shared")
    assert found["list"][0]["a"].tolist() == [0.0, 1.0, 2.0]
    assert (found["step"], found["rate"], found["list"][1], tuple(found[0]["none"].shape)) == (3, 0.1, None, (0, 2))
    path = tmp_path / "state-000000001-shared.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(TrainingError, match="training goes on from the one before"):
        resuming.read(tmp_path, 1, "shared")


@pytest.fixture(scope="module")
def over(tmp_path_factory: pytest.TempPathFactory) -> Keeping:
    """Where the state of a run of one process that is over is kept."""
    keeping = Keeping(tmp_path_factory.mktemp("over"), 2)
    training.train(ToyDays(), small("one archive"), keeping=keeping)
    return keeping


def small(days: str) -> training.Plan:
    """A few steps of the backbone on days of that name."""
    recipe = TINY.model_copy(update={"pretraining_steps": 2, "tuning_steps": 0})
    return plan(recipe, waves=None, biogeochemistry=None, kuroshio=None, days=days)


@pytest.mark.parametrize(("days", "ranks", "said"), [
    ("another archive", ALONE, "1 processes; found that of the run .*1 processes"),
    ("one archive", Ranks(0, 2), "2 processes; found that of the run .*1 processes"),
])  # fmt: skip
def test_the_state_of_other_days_or_of_fewer_processes_is_refused_and_left_as_it_is(over, days, ranks, said) -> None:
    before = {path.name: path.read_bytes() for path in over.folder.iterdir()}
    with pytest.raises(TrainingError, match=said):
        training.train(ToyDays(), small(days), ranks=ranks, keeping=over)
    assert {path.name: path.read_bytes() for path in over.folder.iterdir()} == before
    taken: list[training.Progress] = []
    training.train(ToyDays(), small("one archive"), taken.append, keeping=over)
    assert taken == [], "it is over"


def test_a_run_killed_while_it_kept_its_first_state_begins_anew_and_takes_no_part_of_it(over, tmp_path: Path) -> None:
    (shared,) = over.folder.glob("*shared*")
    (tmp_path / "state-000000001-shared.safetensors").write_bytes(shared.read_bytes())
    (tmp_path / "state-000000001-0.new").write_bytes(b"half")
    taken: list[training.Progress] = []
    training.train(ToyDays(), small("one archive"), taken.append, keeping=Keeping(tmp_path, 2))
    assert [step.step for step in taken] == [1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "state-000000003-0.safetensors", "state-000000003-shared.safetensors"
    ]  # fmt: skip


def test_a_state_is_on_the_disk_before_the_one_before_it_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File, name in the folder: each is waited for, the file before it has its name."""
    waited: list[tuple[str, list[str]]] = []

    def wait(descriptor: int) -> None:
        names = sorted(path.name for path in tmp_path.iterdir())
        waited.append((Path(os.readlink(f"/proc/self/fd/{descriptor}")).name, names))
        synchronise(descriptor)

    synchronise = os.fsync
    monkeypatch.setattr(os, "fsync", wait)
    resuming.write(tmp_path, 7, "0", {"step": 1})
    name = "state-000000007-0"
    assert waited == [(f"{name}.new", [f"{name}.new"]), (tmp_path.name, [f"{name}.safetensors"])]


def test_draws_follow_from_their_numbers_alone() -> None:
    first, again, other = (torch.rand(3, generator=resuming.seeded(1, 2, n)) for n in (7, 7, 8))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
