"""What a run would do, and why, without doing it: ``goms run DATE --dry-run``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pydantic import ValidationError
from rich.markup import escape
from rich.table import Table

from flows.clock import now
from flows.journey import daily, forecasters, holding, stages, tasks
from flows.journey.stages import Run
from flows.progress import readable
from pipeline import signature
from pipeline.edition import Restart
from pipeline.errors import CycleHeld
from pipeline.record import judgement, lock, marks
from pipeline.record.marks import Mark
from pipeline.variables import Kind

REUSED, DONE, LEFT_OUT, REFUSED, NOTHING = "reused", "done", "left out", "refused", "nothing"
"""What can become of a stage, or of the whole run."""


class Step(NamedTuple):
    """A stage (or ``run`` for all of it), what would become of it, and why."""

    stage: str
    action: str
    why: str


def table(run: Run, start_again_from: str | None, supersede: str | None) -> Table:
    """What would be reused, done (again), left out and overwritten; ``UsageError`` where the run would be one."""
    forecasters.choose(run)
    signature.public_key()
    run = daily.next_edition(run, supersede)
    daily.check_start(run, start_again_from)
    title = f"{run.system} {run.cycle} r{run.revision} in {run.store}: a dry run, nothing was done"
    shown = Table(title=escape(title), title_justify="left")
    for heading in ("stage", "would be", "because"):
        shown.add_column(heading, overflow="fold")
    for step in steps(run, start_again_from):
        shown.add_row(*(escape(cell) for cell in step))
    return shown


def steps(run: Run, start_again_from: str | None) -> list[Step]:
    """Each stage's fate. A stage whose inputs would be made again is done unless they come out the same."""
    if stages.is_published(run):
        return [Step("run", NOTHING, f"r{run.revision} is published; --supersede REASON makes the next revision")]
    refusal = _refusal(run)
    if refusal is not None:
        return [Step("run", REFUSED, refusal)]
    found = _taken(run, start_again_from)
    fresh = all(step.action != DONE for step in found)
    taken = {Kind(step.stage): _mark(run, step.stage) for step in found if step.action == REUSED}
    found.append(_step(run, "initialise", start_again_from, fresh, tasks.initial(taken)))
    initial = _mark(run, "initialise")
    left_out = {**forecasters.lacking(run), **{step.stage: step.why for step in found if step.action == LEFT_OUT}}
    fresh = found[-1].action == REUSED
    made_from = forecasters.made_from(run, initial, left_out) if fresh else []
    found.append(_step(run, "forecast", start_again_from, fresh, made_from))
    if found[-1].action == DONE:
        found[-1] = found[-1]._replace(why=f"{found[-1].why}; {_overwritten(run, start_again_from, made_from)}")
    return [*found, *_after(run, start_again_from, found[-1].action == REUSED)]


def _after(run: Run, start_again_from: str | None, forecast_stands: bool) -> Iterable[Step]:
    outputs = [_mark(run, "forecast").outputs_digest] if forecast_stands else []
    for stage, wanted in (("quicklooks", ()), ("series", run.of.series)):
        without = stages.without(run, stage)
        if without is not None:
            yield Step(stage, LEFT_OUT, without)
        elif stage != "series" or wanted:
            yield _step(run, stage, start_again_from, forecast_stands, [*outputs, *wanted])
    yield Step("publish", DONE, "checked anew before every publication")


def _refusal(run: Run) -> str | None:
    """Why the run would exit with 7 at once."""
    try:
        judgement.refuse_if_held(run.opened, run.start)
    except CycleHeld as held:
        return str(held)
    lease = lock.holder(run.opened, run.start)
    if lease is None or lease.released or lease.expires <= now() or holding.is_dead(lease.owner):
        return None
    return f"held by {lease.owner} until {lease.expires:%Y-%m-%d %H:%M:%S} UTC"


def _taken(run: Run, start_again_from: str | None) -> list[Step]:
    found = []
    for ladder in run.of.ladders:
        reason = daily.passed_over(run, ladder.kind)
        if reason is not None:
            found.append(Step(ladder.kind.value, LEFT_OUT, reason))
        else:
            found.append(_step(run, ladder.kind.value, start_again_from, True, tasks.intake(run, ladder.kind)))
    return found


def _step(run: Run, stage: str, start_again_from: str | None, inputs_stand: bool, made_from: list[str]) -> Step:
    if start_again_from is not None and marks.STAGES.index(stage) >= marks.STAGES.index(start_again_from):
        return Step(stage, DONE, f"asked for by --from {start_again_from}")
    recorded = marks.recorded(run.opened, run.start, stage)
    if recorded is None:
        return Step(stage, DONE, "not done yet")
    if not inputs_stand:
        return Step(stage, DONE, "what it is made from is made again (reused should it come out the same)")
    digest = marks.digest(stage, stages.code_version(), *made_from)
    if recorded.inputs_digest != digest:
        return Step(stage, DONE, "done before, but from other inputs, options or code")
    if marks.marked(run.opened, run.start, stage, digest) is None:
        return Step(stage, DONE, "done before, but what it made is not there any more")
    return Step(stage, REUSED, f"done, {len(recorded.outputs)} objects, {_bytes(recorded)}")


def _overwritten(run: Run, start_again_from: str | None, made_from: list[str]) -> str:
    """What of an unfinished edition would be kept or replaced."""
    prefix = run.start.revision_prefix(run.revision)
    there = run.opened.objects(prefix)
    kept = None if start_again_from in marks.STAGES[: marks.STAGES.index("forecast") + 1] else _restart_day(run)
    if kept is not None and made_from:
        return f"goes on after lead day {kept}, whose restart state is there, if it was made from the same"
    if not there:
        return "nothing is overwritten"
    return f"overwrites {len(there)} unpublished objects, {readable(sum(size for _, size in there))}, in {prefix}"


def _restart_day(run: Run) -> int | None:
    found = run.opened.find(f"{run.start.run_prefix}/restart/r{run.revision}/state.json")
    if found is None:
        return None
    try:
        return Restart.model_validate_json(found.data).lead_day
    except ValidationError:
        return None


def _mark(run: Run, stage: str) -> Mark:
    return marks.recorded(run.opened, run.start, stage) or Mark(stage=stage, inputs_digest="", outputs=())


def _bytes(mark: Mark) -> str:
    return readable(sum(item.size_bytes for item in mark.outputs))
