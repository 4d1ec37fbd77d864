"""One cycle from its inputs to its readers: the journey as a Prefect flow that can be killed and run again."""

from __future__ import annotations

from typing import NamedTuple

from prefect import flow

from flows import clock, forecasters, holding, stages, tasks
from flows.progress import progress
from flows.stages import Run
from pipeline import publish, systems
from pipeline.cycle import Cycle
from pipeline.errors import InputUnavailable
from pipeline.latest import advance_latest
from pipeline.marks import Mark
from pipeline.publish import Manifest
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
) -> Outcome:
    """Forecast from ``day`` (YYYY-MM-DD, today, yesterday) and publish; a published cycle is left as it is.

    ``inputs``: folder or URL of the archives' files; ``store``: where to publish; both else as the settings say.
    Raises the errors of ``pipeline.errors``; ``CycleHeld`` where another run is at it.
    """
    settings, entry = Settings(), systems.system(system)
    opened, cycle = Store(store or settings.store), clock.cycle_of(entry, day)
    run = Run(
        system=system, cycle=cycle.key, store=opened.uri, inputs=inputs or settings.inputs,
        forecaster=forecaster, seed=seed,
    )  # fmt: skip
    forecasters.choose(run)  # refuses what cannot be run before anything is done
    with holding.holding(opened, cycle, settings.lease_seconds):
        return _again(run, opened, cycle) or _anew(run)


def _again(run: Run, store: Store, cycle: Cycle) -> Outcome | None:
    """What there is, where the cycle is published; a run that was killed before it moved ``latest`` is completed."""
    revision = publish.published(store, cycle)
    if revision is None:
        return None
    manifest = publish.read_manifest(store, cycle, revision)
    assert manifest is not None
    advance_latest(store, cycle, revision)
    stages.tidy(run)
    return Outcome(run.model_copy(update={"revision": revision}), manifest, new=False)


def _anew(run: Run) -> Outcome:
    taken, left_out = take_in(run)
    initial = tasks.initialise_state(run, taken)
    left_out = {**forecasters.lacking(run), **left_out}
    for product, reason in left_out.items():
        progress().say(f"[yellow]without[/] {product}: {reason}")
    written = tasks.forecast_days(run, initial, left_out)
    drawn = tasks.draw_quicklooks(run, written)
    manifest = tasks.publish_edition(run, initial, left_out, (written, drawn))
    stages.tidy(run)
    return Outcome(run, manifest, new=True)


def take_in(run: Run) -> tuple[dict[Kind, Mark], dict[str, str]]:
    """Every kind of input there is, and for those that may be lacking and are, the reason: never silently."""
    system, taken, left_out = run.of, dict[Kind, Mark](), dict[str, str]()
    for ladder in system.ladders:
        reason = _not_asked(system, ladder.kind)
        if reason is None:
            try:
                taken[ladder.kind] = tasks.take_in(run, ladder.kind)
                continue
            except InputUnavailable as absence:
                if ladder.required:
                    raise
                reason = str(absence)
        left_out[ladder.kind.value] = reason
    return taken, left_out


def _not_asked(system: System, kind: Kind) -> str | None:
    """Why a kind of input is not looked for: nothing that the system publishes starts from it."""
    if kind in (Kind.OCEAN, Kind.SURFACE) or kind.value in {entry.state for entry in system.products}:
        return None
    return f"system {system.name} has no grid for {kind.value}: its input was not looked for"
