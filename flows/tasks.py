"""The journey's steps as Prefect tasks: read a reference, call one verb, write, mark, return a reference."""

from __future__ import annotations

from collections.abc import Mapping

from prefect import task
from prefect.cache_policies import NO_CACHE

from flows import forecasters, stages
from flows.clock import now
from flows.holding import alive
from flows.stages import Run
from pipeline import ingest, initialise, marks, publish, regrid, report, staged
from pipeline.marks import Mark
from pipeline.publish import Manifest
from pipeline.variables import Kind

# Marks own what is done and what is not: Prefect's own cache would be a second opinion.


@task(cache_policy=NO_CACHE, task_run_name="take in {kind}")
def take_in(run: Run, kind: Kind) -> Mark:
    """One kind of input, on the system's grid, staged."""
    system, start = run.of, run.start.start
    return stages.once(run, kind.value, [stages.text_of(run)], lambda _: [staged.save(
        run.opened, run.staged(kind.value),
        regrid.regrid(ingest.ingest(system, kind, start, inputs=run.inputs, scratch=run.scratch, seed=run.seed),
                      kind, system))])  # fmt: skip


@task(cache_policy=NO_CACHE)
def initialise_state(run: Run, taken: Mapping[Kind, Mark]) -> Mark:
    """The state the forecaster starts from, staged."""
    made_from = [f"{kind} {mark.outputs_digest}" for kind, mark in taken.items()]
    return stages.once(run, "initialise", made_from, lambda _: [staged.save(
        run.opened, run.staged("initial"),
        initialise.initialise(stages.gridded(run, taken), run.of, run.start.start))])  # fmt: skip


@task(cache_policy=NO_CACHE)
def forecast_days(run: Run, initial: Mark, left_out: Mapping[str, str]) -> Mark:
    """Every lead day of every product, written; nothing of it exists for readers yet."""
    made_from = forecasters.made_from(run, initial, left_out)
    return stages.once(run, "forecast", made_from, lambda advance: forecasters.stream(
        run, initial, left_out, marks.digest(stages.code_version(), *made_from), advance),
        steps=run.of.forecast_days)  # fmt: skip


@task(cache_policy=NO_CACHE)
def draw_quicklooks(run: Run, written: Mark) -> Mark:
    """A picture of each variable at some lead days, beside the products."""
    return stages.once(run, "quicklooks", [written.outputs_digest], lambda _: report.quicklooks(
        run.opened, run.of, run.start, run.revision))  # fmt: skip


@task(cache_policy=NO_CACHE)
def publish_edition(run: Run, initial: Mark, left_out: Mapping[str, str], written: tuple[Mark, ...]) -> Manifest:
    """Check, manifest, mark, latest."""
    state = stages.initial_state(run, initial)
    made = stages.edition(run, state, forecasters.fitted(run, state), left_out)
    objects = [item for mark in written for item in mark.outputs]
    return publish.publish(made, objects, created=now(), renew=alive)
