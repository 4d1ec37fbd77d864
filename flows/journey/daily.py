"""One cycle from its inputs to its readers: the journey as a Prefect flow that can be killed and run again."""

from __future__ import annotations

from typing import NamedTuple

from prefect import flow
from prefect.runtime import flow_run
from rich.markup import escape

from flows import clock, logs, traces
from flows.journey import forecasters, holding, sensing, stages, tasks
from flows.journey.stages import Run
from flows.progress import progress
from pipeline import publish, signature, sources, systems
from pipeline.errors import InputUnavailable, UsageError
from pipeline.publish import Manifest
from pipeline.record import judgement, marks
from pipeline.record.journal import Event
from pipeline.record.marks import Mark
from pipeline.settings import Settings
from pipeline.store import Store
from pipeline.systems import System
from pipeline.variables import Kind


class Outcome(NamedTuple):
    """What a run came to. ``new``: False where the cycle had been published before and nothing was done."""

    run: Run
    manifest: Manifest
    new: bool


@flow(name="daily", flow_run_name="{system} {day}", validate_parameters=False)
def daily(
    day: str,
    system: str = "twin",
    inputs: str | None = None,
    store: str | None = None,
    forecaster: str = forecasters.CHECKPOINT,
    seed: int = 0,
    start_again_from: str | None = None,
    supersede: str | None = None,
) -> Outcome:
    """Forecast from ``day`` (YYYY-MM-DD, today, yesterday) and publish; a published cycle is left as it is.

    ``inputs``: folder or URL of the archives' files; ``store``: where to publish; both else as the settings say.
    ``start_again_from``: a stage that is done again, with those after it, though it was done. ``supersede``: why a
    published cycle gets a new revision. Raises the errors of ``pipeline.errors``; ``CycleHeld`` where another run is
    at it or an operator holds it.
    """
    run = asked(day, system, inputs, store, forecaster, seed)
    forecasters.choose(run)  # refuses what cannot be run before anything is done
    signature.public_key()  # and so does a signing key that cannot be read
    judgement.refuse_if_held(run.opened, run.start)
    with (
        logs.of_run(run.system, run.cycle, flow_run.id),
        traces.span("cycle", system=run.system, cycle=run.cycle, run=flow_run.id),
        holding.holding(run.opened, run.start, Settings().lease_seconds),
    ):
        run = next_edition(run, supersede)
        check_start(run, start_again_from)
        return _again(run) if stages.is_published(run) else _anew(run, start_again_from)


def asked(day: str, system: str, inputs: str | None, store: str | None, forecaster: str, seed: int) -> Run:
    """What a person or a schedule asks for, with what the settings say."""
    settings, entry = Settings(), systems.system(system)
    sources.refuse_unread(entry, inputs)
    start = clock.cycle_of(entry, day)
    clock.refuse_future(start)
    return Run(
        system=system, cycle=start.key, store=Store(store or settings.store).uri,
        inputs=inputs or settings.inputs, forecaster=forecaster, seed=seed,
    )  # fmt: skip


def next_edition(run: Run, supersede: str | None) -> Run:
    """The run with the revision it is about: the published one, or with a reason to supersede it the next.

    ``UsageError`` where nothing is published that could be superseded.
    """
    revision = publish.published(run.opened, run.start)
    if supersede is None:
        return run.model_copy(update={"revision": revision or publish.next_revision(run.opened, run.start)})
    if revision is None:
        raise UsageError(
            f"a published forecast of {run.system} {run.cycle} to supersede", found="none published",
            where="--supersede", action="run it without --supersede",
        )  # fmt: skip
    following = publish.next_revision(run.opened, run.start)
    return run.model_copy(update={"revision": following, "superseding": supersede})


def check_start(run: Run, stage: str | None) -> None:
    """``UsageError`` where a run cannot start again from that stage."""
    if stage is None:
        return
    if stage not in marks.STAGES:
        raise UsageError("a stage", found=repr(stage), where="--from", action=f"one of {', '.join(marks.STAGES)}")
    if stages.is_published(run):
        raise UsageError(
            f"an unpublished forecast of {run.system} {run.cycle} to start again from {stage}",
            found=f"r{run.revision} published, and nothing published is edited", where="--from",
            action="give --supersede REASON as well: it makes the next revision",
        )  # fmt: skip


def _again(run: Run) -> Outcome:
    """What is published; a run that was killed after its manifest is completed."""
    manifest = publish.read_manifest(run.opened, run.start, run.revision)
    assert manifest is not None
    publish.complete(run.opened, run.start, manifest)
    stages.note_published(run, manifest)
    stages.tell_catalogue(run)
    stages.show_page(run)
    stages.tidy(run, manifest)
    return Outcome(run, manifest, new=False)


def _anew(run: Run, start_again_from: str | None) -> Outcome:
    stages.note(run, Event.BEGUN, words=f"r{run.revision}")
    if run.superseding:
        stages.note(run, Event.SUPERSEDED, words=f"{run.superseding} ({holding.this_person()})")
    if start_again_from is not None:
        stages.forget_from(run, start_again_from)
    taken, left_out = take_in(run)
    initial = tasks.initialise_state(run, taken)
    left_out = {**forecasters.lacking(run), **left_out}
    for product, reason in left_out.items():
        progress().say(f"[yellow]without[/] {product}: {escape(reason)}")
    written = tasks.forecast_days(run, initial, left_out)
    drawn = tasks.draw_quicklooks(run, written)
    laid_out = tasks.lay_out_series(run, initial, left_out, written)
    manifest = tasks.publish_edition(run, initial, left_out, (written, drawn, laid_out))
    stages.tell_catalogue(run)
    stages.show_page(run)
    stages.tidy(run, manifest)
    return Outcome(run, manifest, new=True)


def take_in(run: Run) -> tuple[dict[Kind, Mark], dict[str, str]]:
    """Every kind of input there is, and for those that may be lacking and are, the reason: never silently."""
    system, taken, left_out = run.of, dict[Kind, Mark](), dict[str, str]()
    for ladder in system.ladders:
        reason = passed_over(run, ladder.kind)
        if reason is None:
            try:
                taken[ladder.kind] = tasks.take_in(run, ladder.kind, sensing.rung_for(run, ladder.kind))
                continue
            except InputUnavailable as absence:
                if ladder.required:
                    raise
                reason = str(absence)
        left_out[ladder.kind.value] = reason
    return taken, left_out


def passed_over(run: Run, kind: Kind) -> str | None:
    """Why a kind of input is left out without a look; the weather to come never is: it relaxes, and says why."""
    return not_asked(run.of, kind) or (None if kind is Kind.FORCING else stages.without(run, kind))


def not_asked(system: System, kind: Kind) -> str | None:
    """Why a kind of input is not looked for: nothing that the system publishes starts from it."""
    if kind in (Kind.OCEAN, Kind.SURFACE, Kind.FORCING) or kind.value in {entry.state for entry in system.products}:
        return None
    return f"system {system.name} has no grid for {kind.value}: its input was not looked for"
