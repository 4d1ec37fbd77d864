"""What a person sees of a training: a bar on a terminal, lines elsewhere, and curves that TensorBoard reads."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from tensorboardX import SummaryWriter

from flows.progress import Advance, progress
from models.plans import Progress
from models.recipes import Recipe

SAID_EVERY = 50
"""Training steps between two lines."""


class Curves:
    """A run's reports: call it after every step, within ``with``.

    Steps are counted through all stages, so that a run that is gone on with writes over what it repeats.
    """

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self.folder, self._things, self._stage = folder, ExitStack(), ""
        self._writer: SummaryWriter | None = None
        self._advance: Advance = lambda step: None
        before = {"pretraining": 0, "tuning": recipe.pretraining_steps}
        self._before = {**before, "heads": recipe.pretraining_steps + recipe.tuning_steps}

    def __enter__(self) -> Curves:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._things.close()
        if self._writer is not None:
            self._writer.close()

    @property
    def silent(self) -> bool:
        """Whether no step was reported."""
        return self._writer is None

    def __call__(self, step: Progress) -> None:
        """Show and write one step."""
        number = self._before.get(step.stage, 0) + step.step
        if self._writer is None:
            self._writer = SummaryWriter(str(self.folder), purge_step=number)
        values = {"loss": step.loss, "rate": step.rate, "gradient": step.gradient, "validation": step.validation}
        for name, value in values.items():
            if value is not None:
                self._writer.add_scalar(f"{step.stage}/{name}", value, number)
        self._show(step)

    def _show(self, step: Progress) -> None:
        if step.stage != self._stage:
            self._things.close()
            self._stage = step.stage
            if progress().console.is_terminal:
                self._advance = self._things.enter_context(progress().stage(step.stage, step.steps))
        self._advance(step.step)
        if step.validation is not None or step.step % SAID_EVERY == 0 or step.step == step.steps:
            judged = "" if step.validation is None else f", validation {step.validation:.4f}"
            said = f"{step.stage} {step.step} of {step.steps}: loss {step.loss:.4f}{judged}, rate {step.rate:.2e}"
            progress().say(said)
