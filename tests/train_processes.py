"""Training runs of the small drifting ocean in processes of their own: ``python -m tests.train_processes FOLDER``.

torch is imported once and the processes are forked from it, with the environment that ``torchrun`` gives. Runs, each
into its own folder of states and with a line of JSON for each step of the first process (``<run>.jsonl``):

``whole``: two processes, from the first step to the last. ``killed``: the same with the optimiser's state sharded;
killed by SIGKILL after some steps of tuning, then of the heads, and gone on with both times. ``alone``: one process.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch.distributed import TCPStore

from models import training
from models.days import TrainingDays
from models.objectives import Batch, Result
from models.plans import Keeping, Plan, Progress
from models.ranks import Ranks, joined
from models.recipes import Recipe
from tests.toy_models import ABOUT, ARCHITECTURE, PLANKTON_HEAD, REFINEMENT
from tests.toy_ocean import LATITUDE, ToyDays

RECIPE = Recipe(
    seed=3, batch=4, pretraining_steps=5, mask_schedule=((0.4, 0.5), (1.0, 0.0)), tuning_steps=7, tuning_rate=1e-3,
    rollout_schedule=((0.5, 1), (1.0, 2)), tuning_lead=5, pool=8, head_steps=7, head_lead=4, averaging=0.9, noise=0.1,
    gradient_weight=0.5, recompute_activations=True, validate_every=3, validation_lead=3, validation_starts=2,
)  # fmt: skip
STEPS = RECIPE.pretraining_steps + RECIPE.tuning_steps + RECIPE.head_steps
KILLED_AT = (("tuning", 4), ("heads", 5))
"""Stage and step after which the processes are killed: not steps at which the state was just kept."""


def plan(recipe: Recipe) -> Plan:
    """The backbone, plankton and the downscaling."""
    head = PLANKTON_HEAD.model_copy(update={"floors": ()})
    return Plan(ABOUT, ARCHITECTURE, recipe, LATITUDE, (0, 29), biogeochemistry=head, kuroshio=REFINEMENT,
                validation=(30, 39))  # fmt: skip


def work(folder: Path, name: str, recipe: Recipe, last: tuple[str, int] | None) -> None:
    """What one process does; the first writes the curve, and the weights in the end. After step ``last`` it waits."""
    days: TrainingDays = ToyDays()
    with joined("cpu") as mine, (folder / f"{name}.jsonl").open("a") as curve:

        def report(step: Progress) -> None:
            if mine.first:
                curve.write(json.dumps(step._asdict()) + "\n")
                curve.flush()
            if (step.stage, step.step) == last:
                signal.pause()

        trained = training.train(days, plan(recipe), report, 0, mine, Keeping(folder / name, 3))
        said = mine.gathered([f"{mine.rank} of {mine.world}", *["and last"] * mine.rank])
        said += [f"{judged(mine):.2f}"]
        if mine.first:
            (folder / f"{name}.said").write_text(json.dumps(said))
            torch.save(trained.suite.state_dict(), folder / f"{name}.pt")


def judged(mine: Ranks) -> float:
    """What a judge finds whose example this process sees another loss of than the others: its own number."""
    example = Batch({}, {}, torch.zeros(1), torch.zeros(1))
    stage = SimpleNamespace(objective=lambda batch: Result(torch.tensor(float(mine.rank)), {}))
    course = SimpleNamespace(averaged=nullcontext, kept=dict)
    return training.Judge([example], 1).look(stage, course, mine)  # type: ignore[arg-type]


class Running(NamedTuple):
    """The ids of a run's processes, and where they meet: a store that listens as long as they run."""

    children: list[int]
    store: TCPStore


def start(folder: Path, name: str, recipe: Recipe, world: int, last: tuple[str, int] | None = None) -> Running:
    """Fork the processes of a run."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    children: list[int] = []
    for rank in range(world):
        child = os.fork()
        if child:
            children.append(child)
            continue
        if world > 1:
            os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), MASTER_ADDR="127.0.0.1",
                              MASTER_PORT=str(store.port), TORCHELASTIC_RUN_ID="test",
                              TORCHELASTIC_USE_AGENT_STORE="True")  # fmt: skip
        work(folder, name, recipe, last)
        os._exit(0)
    return Running(children, store)


def ended(run: Running) -> None:
    """Wait for them; they must have ended well."""
    codes = exit_codes(run)
    assert codes == [0] * len(codes), codes


def killed(run: Running, curve: Path, last: tuple[str, int]) -> None:
    """Kill them when a step is on the curve; none may have ended before."""
    while not any((line["stage"], line["step"]) == last for line in lines(curve)):
        if any(os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) for child in run.children):
            break
        time.sleep(0.005)
    for child in run.children:
        os.kill(child, signal.SIGKILL)
    codes = exit_codes(run)
    assert codes == [-signal.SIGKILL] * len(codes), codes


def exit_codes(run: Running) -> list[int]:
    """How they ended, once they all have."""
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in run.children]


def lines(curve: Path) -> list[dict]:
    """The whole lines of a curve."""
    text = curve.read_text() if curve.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def main(folder: Path) -> None:
    """All runs, one after the other; what torch imports late is imported before the processes are forked."""
    import torch._dynamo
    import torch.distributed.optim

    torch.set_num_threads(1)
    ended(start(folder, "whole", RECIPE, 2))
    sharded = RECIPE.model_copy(update={"sharded_optimiser": True})
    for last in KILLED_AT:
        killed(start(folder, "killed", sharded, 2, last), folder / "killed.jsonl", last)
    ended(start(folder, "killed", sharded, 2))
    ended(start(folder, "alone", RECIPE.model_copy(update={"tuning_steps": 0, "head_steps": 0}), 1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
