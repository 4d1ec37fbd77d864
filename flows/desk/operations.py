"""What the commands do: a flow, with Prefect's API beside it, and what came of it in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from rich.table import Table

from flows import clock
from flows.journey.stages import Run
from flows.progress import PROGRESS, Progress
from flows.screen import say, wide
from flows.service.beside import Api
from flows.service.server import prepared
from pipeline import edition, publish, sources, systems
from pipeline.cycle import Cycle
from pipeline.errors import StoreError, UsageError
from pipeline.publish import Manifest
from pipeline.record.latest import latest
from pipeline.scoring import scores
from pipeline.settings import Settings
from pipeline.store import Store
from pipeline.systems import System

if TYPE_CHECKING:
    from flows.journey.verification import Scored


class Request(NamedTuple):
    """A run as an operator asks for it: the arguments of the daily flow, in their order."""

    day: str
    system: str
    inputs: str | None
    store: str | None
    forecaster: str
    seed: int
    start_again_from: str | None = None
    supersede: str | None = None


def run(request: Request, api: Api) -> None:
    """Run a cycle and say where everything is."""
    sources.refuse_unread(systems.system(request.system), request.inputs)
    PROGRESS.set(Progress())
    from flows.journey import forecasters
    from flows.journey.daily import daily

    forecasters.prepare(request.forecaster)
    with api():
        outcome = daily(*request)
    if not outcome.new:
        say(f"{request.system} {outcome.run.cycle} r{outcome.run.revision} was published before: nothing to do")
    tell(Store(outcome.run.store), outcome.manifest)


def rehearse(request: Request) -> None:
    """Say what a run would do, and do nothing."""
    prepared(Settings())
    from flows.journey import daily, rehearsal

    run = daily.asked(*request[:6])
    wide().print(rehearsal.table(run, request.start_again_from, request.supersede))


def verify(
    day: str, system: str, inputs: str | None, store: str | None, leads: str, seed: int, api: Api
) -> None:  # fmt: skip
    """Score a published forecast, keep the scores and print them."""
    settings, wanted = Settings(), lead_days(leads)
    sources.refuse_unread(systems.system(system), inputs)
    opened = Store(store or settings.store)
    manifest = published(opened, systems.system(system), day)
    request = Run(
        system=system, cycle=manifest.cycle, store=opened.uri, inputs=inputs or settings.inputs, seed=seed,
        revision=manifest.revision,
    )  # fmt: skip
    PROGRESS.set(Progress())
    from flows.journey.verification import verification

    with api():
        found = verification(request, wanted)
    wide().print(score_table(found, manifest))
    for product in found:
        if product.reason is not None:
            say(f"{product.product} was not scored: {product.reason}")
    say(f"scores and curves of skill: {opened.address(scores.prefix(manifest))}")


def lead_days(text: str) -> tuple[int, ...]:
    """The lead days in ``1,5,10``; ``UsageError`` for anything else."""
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(
            "lead days as numbers from 1, by comma", found=repr(text), where="--leads", action="type them like 1,5,10"
        )
    return tuple(sorted({int(part) for part in parts}))


def score_table(found: Sequence[Scored], manifest: Manifest) -> Table:
    """What a person reads first: each variable's error beside those of the yardsticks."""
    ocean = "" if manifest.real_ocean else ", synthetic twin"
    title = f"{manifest.system} {manifest.cycle} r{manifest.revision}{ocean}: root mean square errors, all depths"
    table = Table(title=title, title_justify="left")
    for heading in ("product", "variable", "day", "forecast", "persistence", "climatology", "bicubic", "unit", "acc"):
        table.add_column(
            heading, justify="left" if heading in ("product", "variable", "unit") else "right", no_wrap=True
        )
    for product in found:
        for row in product.rows:
            errors = (row.rmse, row.persistence, row.climatology, row.bicubic)
            cells = ("" if math.isnan(error) else f"{error:.3g}" for error in errors)
            agreement = "" if math.isnan(row.acc) else f"{row.acc:.3f}"
            table.add_row(product.product, row.variable, str(row.lead_day), *cells, row.units, agreement)
        table.add_section()
    return table


def published(store: Store, system: System, day: str) -> Manifest:
    """The manifest of a day's forecast (or of the ``latest``); ``StoreError`` where it is not published."""
    newest = latest(store, system.name) if day == "latest" else None
    cycle = newest.start if newest else clock.cycle_of(system, clock.today().isoformat() if day == "latest" else day)
    revision = newest.revision if newest else publish.published(store, cycle)
    manifest = None if revision is None else publish.read_manifest(store, cycle, revision)
    if manifest is None:
        raise _unpublished(store, cycle)
    return manifest


def prefix(manifest: Manifest) -> str:
    """Where an edition lies, relative to the store."""
    from pipeline.cycle import from_key

    return from_key(manifest.system, manifest.cycle).revision_prefix(manifest.revision)


def tell(store: Store, manifest: Manifest) -> None:
    """Where the products, the pictures and the scores of an edition are, and what is less than it should be."""
    where = prefix(manifest)
    ocean = "" if manifest.real_ocean else " (synthetic twin: not the real ocean)"
    say(f"{manifest.system} {manifest.cycle} r{manifest.revision}{ocean}, by {manifest.facts.forecaster}")
    for name, item in manifest.products.items():
        say(f"  {name:<16} {store.address(f'{where}/{item.path}')}")
    say(f"  {'pictures':<16} {store.address(f'{where}/quicklooks')}")
    say(f"  {'manifest':<16} {store.address(f'{where}/{edition.MANIFEST}')}")
    say(f"  {'scores':<16} {store.address(scores.prefix(manifest))} (goms verify)")
    for reason in manifest.degraded_reasons:
        say(f"  degraded: {reason}")


def _unpublished(store: Store, cycle: Cycle) -> StoreError:
    return StoreError(
        f"a published forecast of {cycle.system} from {cycle.start:%Y-%m-%d %H} UTC", found="none",
        where=f"the store {store.uri}", action=f"run it: goms run {cycle.start:%Y-%m-%d} --system {cycle.system}",
    )  # fmt: skip
