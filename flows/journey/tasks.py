"""The journey's steps as Prefect tasks: read a reference, call one verb, write, mark, return a reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from flows import logs
from flows.clock import now
from flows.journey import forecasters, stages, taking
from flows.journey.holding import alive
from flows.journey.stages import Run
from pipeline import foresight, initialise, publish, report, series
from pipeline.contracts import Gridded
from pipeline.edition import labelled
from pipeline.errors import GomsError
from pipeline.intake import FIRST, Choice
from pipeline.objects import staged
from pipeline.publish import Manifest
from pipeline.record import marks
from pipeline.record.marks import Mark
from pipeline.settings import Settings
from pipeline.variables import Kind


def may_pass(task: Task[..., Any], attempt: TaskRun, state: State[Any]) -> bool:
    """Whether a task that failed is worth another try: only errors that say so of themselves (``retryable``)."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, GomsError) and error.retryable


# Marks own what is done and what is not: Prefect's own cache would be a second opinion. How often a task is tried
# again is the machine's matter (PREFECT_TASK_DEFAULT_RETRIES): never where a person waits for the answer.
PAUSES, SPREAD = exponential_backoff(10), 0.5
"""Between the tries of a task: 10, 20, 40 s..., longer by up to half at random, so that runs do not march in step."""


@task(cache_policy=NO_CACHE, retry_condition_fn=may_pass, retry_delay_seconds=PAUSES, retry_jitter_factor=SPREAD,
      task_run_name="take in {kind}")  # fmt: skip
def take_in(run: Run, kind: Kind, choice: Choice = FIRST) -> Mark:
    """One kind of input, on the system's grid, staged."""
    return stages.once(run, kind.value, intake(run, kind), lambda _: [staged.save(
        run.opened, run.staged(kind.value), gridded(run, kind, choice))])  # fmt: skip


@task(cache_policy=NO_CACHE, retry_condition_fn=may_pass, retry_delay_seconds=PAUSES, retry_jitter_factor=SPREAD,
      task_run_name="initialise")  # fmt: skip
def initialise_state(run: Run, taken: Mapping[Kind, Mark]) -> Mark:
    """The state the forecaster starts from, staged."""
    return stages.once(run, "initialise", initial(taken), lambda _: [staged.save(
        run.opened, run.staged("initial"),
        initialise.initialise(stages.gridded(run, taken), run.of, run.start.start))])  # fmt: skip


@task(cache_policy=NO_CACHE, retry_condition_fn=may_pass, retry_delay_seconds=PAUSES, retry_jitter_factor=SPREAD,
      task_run_name="forecast")  # fmt: skip
def forecast_days(run: Run, initial: Mark, left_out: Mapping[str, str]) -> Mark:
    """Every lead day of every product, written; nothing of it exists for readers yet."""
    made_from = forecasters.made_from(run, initial, left_out)
    return stages.once(run, "forecast", made_from, lambda advance: forecasters.stream(
        run, initial, left_out, marks.digest(stages.code_version(), *made_from), advance),
        steps=run.of.forecast_days)  # fmt: skip


@task(cache_policy=NO_CACHE, retry_condition_fn=may_pass, retry_delay_seconds=PAUSES, retry_jitter_factor=SPREAD,
      task_run_name="draw the maps")  # fmt: skip
def draw_quicklooks(run: Run, written: Mark) -> Mark:
    """A picture of each variable at some lead days, beside the products."""
    if stages.without(run, "quicklooks"):
        run.opened.delete(f"{run.start.revision_prefix(run.revision)}/{report.FOLDER}")  # of a run that began them
        return Mark(stage="quicklooks", inputs_digest=written.outputs_digest, outputs=())
    return stages.once(run, "quicklooks", [written.outputs_digest], lambda _: report.quicklooks(
        run.opened, run.of, run.start, run.revision))  # fmt: skip


@task(cache_policy=NO_CACHE, retry_condition_fn=may_pass, retry_delay_seconds=PAUSES, retry_jitter_factor=SPREAD,
      task_run_name="lay out the series")  # fmt: skip
def lay_out_series(run: Run, initial: Mark, left_out: Mapping[str, str], written: Mark) -> Mark:
    """The products a second time, for series at a point, where the system has them."""
    if not run.of.series or stages.without(run, "series"):
        run.opened.delete(f"{run.start.revision_prefix(run.revision)}/{series.FOLDER}")  # of a run that began them
        return Mark(stage="series", inputs_digest=written.outputs_digest, outputs=())
    state = stages.initial_state(run, initial)
    made = labelled(stages.edition(run, state, forecasters.fitted(run, state), left_out))
    return stages.once(run, "series", [written.outputs_digest, *run.of.series], lambda _: series.lay_out(
        made, written.outputs, alive))  # fmt: skip


@task(cache_policy=NO_CACHE, retry_condition_fn=may_pass, retry_delay_seconds=PAUSES, retry_jitter_factor=SPREAD,
      task_run_name="check and publish")  # fmt: skip
@logs.bound(stage="publish")
def publish_edition(run: Run, initial: Mark, left_out: Mapping[str, str], written: tuple[Mark, ...]) -> Manifest:
    """Check, manifest, mark, latest."""
    state = stages.initial_state(run, initial)
    made = labelled(stages.edition(run, state, forecasters.fitted(run, state), left_out))
    objects = [item for mark in written for item in mark.outputs]
    return stages.publication(run, objects, lambda: publish.publish(
        made, objects, created=now(), renew=lambda: stages.permitted(run)))  # fmt: skip


def gridded(run: Run, kind: Kind, choice: Choice) -> Gridded:
    """One kind of input on the system's grid; of future forcing, every lead day that a weather forecast holds."""
    if kind is not Kind.FORCING:
        return taking.gridded(run, kind, choice)
    return foresight.foresee(run.of, run.start.start, inputs=run.inputs, scratch=run.scratch, seed=run.seed,
                             archives=Settings().archives, without=_without_weather(run))  # fmt: skip


def intake(run: Run, kind: Kind) -> list[str]:
    """What a kind of input depends on, as texts."""
    decided = _without_weather(run) if kind is Kind.FORCING else None
    return [stages.text_of(run), *([decided] if decided else [])]


def _without_weather(run: Run) -> str | None:
    """Why no weather forecast is to be used, in the operator's words, or ``None``."""
    reason = stages.without(run, Kind.FORCING)
    return reason and f"the weather forecast {reason}"


def initial(taken: Mapping[Kind, Mark]) -> list[str]:
    """What the initial state depends on, as texts."""
    return [f"{kind} {mark.outputs_digest}" for kind, mark in taken.items()]
