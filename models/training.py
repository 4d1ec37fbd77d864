"""Training: statistics, masked pretraining, tuning on the model's own rollouts, heads on the frozen backbone.

A run is a function of (days, architectures, recipe, number of processes): the same seed gives the same weights on the
same machine, whether it was killed and gone on with or not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from models import resuming
from models.course import Course
from models.days import Reader, TrainingDays
from models.errors import TrainingError
from models.objectives import Batch, Result
from models.plans import Keeping, Plan, Progress, Report, Trained
from models.preparing import prepare
from models.ranks import ALONE, Ranks
from models.stages import Pooled, Pretraining, Stage, check_leads
from models.suite import Suite

__all__ = ["ALONE", "Keeping", "Plan", "Progress", "Trained", "TrainingDays", "prepare", "stages_of", "train"]


def train(days: TrainingDays, plan: Plan, report: Report = lambda progress: None, hold_bytes: int = 0,
          ranks: Ranks = ALONE, keeping: Keeping | None = None) -> Trained:  # fmt: skip
    """All of it. ``hold_bytes``: memory that days already read may fill. ``report`` is called after every step.

    ``ranks``: the processes that share each batch. ``keeping``: where the run's state is kept; one that is there is
    gone on with, to the same weights.
    """
    torch.manual_seed(plan.recipe.seed)
    reader = Reader(days, hold_bytes, plan.span)
    judged_on = None if plan.validation is None else Reader(days, 0, plan.validation)
    check_leads(reader, judged_on, plan)
    trained = prepare(reader, plan)
    trained.suite.to(ranks.device)
    state = _kept(plan, ranks, keeping)
    if state is not None:
        trained.suite.load_state_dict(state["suite"])
    for number, begin in enumerate(stages_of(trained.suite, reader, plan, ranks)):
        if state is not None and number < state["stage"]:
            continue
        run = _Run(number, begin(), trained.suite, plan, ranks, report, keeping, judged_on)
        run.through(state if state is not None and state["course"] is not None else None)
        state = None
    trained.suite.to("cpu").eval().requires_grad_(False)
    if ranks.device.type == "cuda":
        torch.cuda.empty_cache()  # so that what was trained can be run beside this process, or by it
    return trained


def stages_of(suite: Suite, reader: Reader, plan: Plan, ranks: Ranks = ALONE) -> list[Callable[[], Stage]]:
    """What begins each stage of a plan, in order; those without steps are left out."""
    recipe, found = plan.recipe, list[Callable[[], Stage]]()

    def heads() -> Stage:
        suite.ocean.requires_grad_(False)
        return Pooled("heads", suite, reader, plan, ranks)

    if plan.backbone is None and recipe.pretraining_steps:
        found.append(lambda: Pretraining(suite, reader, plan, ranks))
    if plan.backbone is None and recipe.tuning_steps:
        found.append(lambda: Pooled("tuning", suite, reader, plan, ranks))
    if plan.heads and recipe.head_steps:
        found.append(heads)
    return found


class _Run:
    """One stage on its way."""

    def __init__(self, number: int, stage: Stage, suite: Suite, plan: Plan, ranks: Ranks, report: Report,
                 keeping: Keeping | None, judged_on: Reader | None) -> None:  # fmt: skip
        self.number, self.stage, self.suite, self.plan, self.ranks = number, stage, suite, plan, ranks
        self.report, self.keeping = report, keeping
        stage.objective.to(ranks.device)
        self.objective = ranks.parallel(stage.objective)
        self.course = Course(stage.parts, stage.steps, stage.rate, plan.recipe, ranks)
        examples = stage.examples(judged_on) if judged_on is not None and plan.recipe.validate_every else []
        self.judge = Judge(examples, plan.recipe.patience)

    def through(self, state: dict[str, Any] | None) -> None:
        """Every step from where the state says, or from the first; then the weights that are kept."""
        if state is not None:
            self.course.restore(state["course"])
            self.judge.restore(state["judge"])
            self.stage.restore(state["stage_state"])
        for batch in self.stage.batches(self.course.step):
            self._take(batch)
            if self.judge.tired:
                break
            if self.keeping is not None and self.course.step % self.keeping.every == 0:
                self._keep(self.number, over=False)
        self.course.put(self.judge.best or self.course.kept())
        if self.keeping is not None:
            self._keep(self.number + 1, over=True)

    def _take(self, batch: Batch) -> None:
        result: Result = self.objective(on(batch, self.ranks.device))
        taken = self.course.take(result.loss, relative=self.stage.relative)
        self.stage.settle(result, taken.loss)
        step, every, validation = self.course.step, self.plan.recipe.validate_every, None
        if self.judge.examples and (step % every == 0 or step == self.stage.steps):
            validation = self.judge.look(self.stage, self.course, self.ranks)
        self.report(
            Progress(self.stage.name, step, self.stage.steps, taken.loss, taken.rate, taken.gradient, validation)
        )

    def _keep(self, number: int, *, over: bool) -> None:
        """The state of a run whose next step is in stage ``number``: of all processes, then the older ones go."""
        assert self.keeping is not None
        folder, course = self.keeping.folder, None if over else self.course.state()
        mark = resuming.following(folder)
        self.ranks.wait()
        if self.ranks.first:
            shared = {"of": _identity(self.plan, self.ranks), "stage": number, "suite": self.suite.state_dict(),
                      "course": course, "judge": None if over else self.judge.state()}  # fmt: skip
            resuming.write(folder, mark, "shared", shared)
        resuming.write(folder, mark, str(self.ranks.rank), None if over else self.stage.state())
        self.ranks.wait()
        if self.ranks.first:
            resuming.tidy(folder, mark)
        self.ranks.wait()


class Judge:
    """Looks at the validation span now and then, and remembers the weights that did best."""

    def __init__(self, examples: list[Batch], patience: int) -> None:
        self.examples, self.patience = examples, patience
        self.least, self.worse, self.best = float("inf"), 0, dict[str, Tensor]()

    @property
    def tired(self) -> bool:
        """Whether there were enough looks without a better one."""
        return bool(self.patience) and self.worse >= self.patience

    def look(self, stage: Stage, course: Course, ranks: Ranks) -> float:
        """The mean loss over the examples, of the weights that would be kept now; every process finds the same."""
        with torch.no_grad(), course.averaged():
            losses = [stage.objective(on(batch, ranks.device)).loss for batch in self.examples]
        loss = ranks.mean(torch.stack(losses).mean())  # of one judgement all make the same decision
        if loss < self.least:
            self.least, self.worse, self.best = loss, 0, course.kept()
        else:
            self.worse += 1
        return loss

    def state(self) -> dict[str, Any]:
        """What it remembers."""
        return {"least": self.least, "worse": self.worse, "best": self.best}

    def restore(self, state: dict[str, Any]) -> None:
        """Remember that."""
        self.least, self.worse, self.best = state["least"], state["worse"], dict(state["best"])


def on(batch: Batch, device: torch.device) -> Batch:
    """The batch on a device."""

    def moved(values: Tensor) -> Tensor:
        return values.to(device, non_blocking=True)

    return Batch(
        {kind: moved(values) for kind, values in batch.fields.items()},
        {kind: moved(values) for kind, values in batch.truth.items()}, moved(batch.forcing), moved(batch.lead),
        None if batch.visible is None else moved(batch.visible),
        None if batch.initial is None else moved(batch.initial),
    )  # fmt: skip


def _kept(plan: Plan, ranks: Ranks, keeping: Keeping | None) -> dict[str, Any] | None:
    """The newest state of this very run, if there is one; ``TrainingError`` where it is another run's."""
    if keeping is None:
        return None
    whole = resuming.newest(keeping.folder, ranks.world)
    number = resuming.newest(keeping.folder, 0) if whole is None else whole
    if number is None:
        return None
    state: dict[str, Any] = resuming.read(keeping.folder, number, "shared")
    if state["of"] != (wanted := _identity(plan, ranks)):
        raise TrainingError(f"the state of the run {wanted}", found=f"that of the run {state['of']}",
                            where=str(keeping.folder),
                            action="give the same recipe, days and number of processes as before, or another folder; "
                                   "to begin anew, remove that one")  # fmt: skip
    if whole is None:
        return None  # this very run was killed while it kept its first state
    return {**state, "stage_state": resuming.read(keeping.folder, number, str(ranks.rank))}


def _identity(plan: Plan, ranks: Ranks) -> str:
    """What a run must have in common with another to go on from its state."""
    parts = [plan.recipe.model_dump_json(), plan.architecture.model_dump_json(), f"{plan.span} {plan.validation}"]
    parts += [getattr(plan, head).model_dump_json() for head in plan.heads]
    parts += [] if plan.backbone is None else [plan.backbone.digest]
    parts += [plan.days]
    return f"{hashlib.sha256(' '.join(parts).encode()).hexdigest()[:16]}, {ranks.world} processes"
