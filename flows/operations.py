"""What the commands do: a flow in a process that serves Prefect's API itself, and what came of it in words."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape

from flows import clock
from flows.progress import PROGRESS, Progress
from flows.server import serving
from pipeline import edition, publish, systems
from pipeline.cycle import Cycle
from pipeline.errors import StoreError, UsageError
from pipeline.latest import latest
from pipeline.publish import Manifest
from pipeline.settings import Settings
from pipeline.store import Store
from pipeline.systems import System


def run(
    day: str, system: str, inputs: str | None, store: str | None, forecaster: str, seed: int, *, debug: bool
) -> None:
    """Run a cycle and say where everything is."""
    systems.system(system)
    PROGRESS.set(Progress())
    with serving(Settings(), debug=debug):
        from flows.daily import daily

        outcome = daily(day, system, inputs, store, forecaster, seed)
    if not outcome.new:
        _say(f"{system} {outcome.run.cycle} r{outcome.run.revision} was published before: nothing to do")
    tell(Store(outcome.run.store), outcome.manifest)


def export(product: str, day: str, system: str, out: Path | None, store: str | None) -> None:
    """Write a published product as netCDF and say where."""
    from pipeline import export as netcdf

    entry, opened = systems.system(system), Store(store or Settings().store)
    manifest = published(opened, entry, day)
    if product not in manifest.products:
        raise UsageError(
            f"a product of {system} {manifest.cycle}", found=repr(product), where="the PRODUCT argument",
            action=f"choose one of {', '.join(manifest.products)}",
        )  # fmt: skip
    path = out or Path(f"goms-{system}-{manifest.cycle}-r{manifest.revision}-{product}.nc")
    netcdf.to_netcdf(opened.address(f"{prefix(manifest)}/{manifest.products[product].path}"), path)
    _say(str(path))


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
    _say(f"{manifest.system} {manifest.cycle} r{manifest.revision}{ocean}, by {manifest.facts.forecaster}")
    for name, item in manifest.products.items():
        _say(f"  {name:<16} {store.address(f'{where}/{item.path}')}")
    _say(f"  {'pictures':<16} {store.address(f'{where}/quicklooks')}")
    _say(f"  {'manifest':<16} {store.address(f'{where}/{edition.MANIFEST}')}")
    _say(f"  {'scores':<16} {store.address(f'{manifest.system}/scores/{manifest.cycle}')} (goms verify)")
    for reason in manifest.degraded_reasons:
        _say(f"  degraded: {reason}")


def _unpublished(store: Store, cycle: Cycle) -> StoreError:
    return StoreError(
        f"a published forecast of {cycle.system} from {cycle.start:%Y-%m-%d %H} UTC", found="none",
        where=f"the store {store.uri}", action=f"run it: goms run {cycle.start:%Y-%m-%d} --system {cycle.system}",
    )  # fmt: skip


def _say(text: str) -> None:
    Console(highlight=False).print(escape(text), soft_wrap=True)
