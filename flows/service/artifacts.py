"""What the person on call sees of a flow run on Prefect's page: its stages, its map, its skill, or what to type."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from math import isnan
from typing import TYPE_CHECKING

from PIL import Image
from prefect import runtime
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectHTTPStatusError
from rich.markup import escape

from flows.progress import progress, readable
from flows.service.server import admitted
from pipeline import edition
from pipeline.cycle import Cycle
from pipeline.errors import ForecastRefused, GomsError
from pipeline.operations import alerts
from pipeline.publish import Manifest
from pipeline.record import journal
from pipeline.record.journal import Event, Note
from pipeline.settings import Settings
from pipeline.store import Store

if TYPE_CHECKING:
    from flows.journey.verification import Scored
    from flows.service.backfill import Ended

FIRST_MAP = "quicklooks/ocean_to.png"
"""The map that is shown where there is one: temperature says most at a glance."""
WIDEST, COLOURS = 900, 64
"""Pixels and colours of the map on the page: some 60 kB, for it is kept in Prefect's database."""


@contextmanager
def _beside(what: str) -> Iterator[None]:
    """What stands on Prefect's page: its failure is told, and is none of the forecast that it is about."""
    try:
        with admitted():
            yield
    except (GomsError, PrefectHTTPStatusError) as error:
        progress().say(f"[yellow]{what} not on Prefect's page[/]: {escape(str(error))}")


@_beside("the cycle's name is")
def announce(cycle: Cycle) -> None:
    """Name the flow run after its cycle and tag it, so that it is found by what it is for."""
    run = runtime.flow_run.id
    if run is not None:
        with get_client(sync_client=True) as client:
            tags = sorted({*runtime.flow_run.tags, cycle.system, cycle.key})
            client.update_flow_run(run, name=f"{cycle.system} {cycle.start:%Y-%m-%d}", tags=tags)


@_beside("what was published is")
def published(store: Store, cycle: Cycle, manifest: Manifest) -> None:
    """The stages, a map, what was published and where, on one page."""
    where = cycle.revision_prefix(manifest.revision)
    ocean = "" if manifest.real_ocean else " (synthetic twin: not the real ocean)"
    lines = [
        f"# {cycle.system} {cycle.key} r{manifest.revision}{ocean}",
        f"Forecaster: {manifest.facts.forecaster}. Manifest: `{store.address(f'{where}/{edition.MANIFEST}')}`", "",
        *(f"- **degraded**: {reason}" for reason in manifest.degraded_reasons), "",
        stage_table(journal.read(store, cycle)), "", "| product | where |", "|---|---|",
        *(f"| {name} | `{store.address(f'{where}/{item.path}')}` |" for name, item in manifest.products.items()), "",
        picture(store, cycle, manifest),
    ]  # fmt: skip
    create_markdown_artifact("\n".join(lines), key=key("stages", cycle), description="Stages, products, a map")


@_beside("why it failed is")
def failed(store: Store, cycle: Cycle, error: Exception) -> None:
    """The sentence, what to look at and what to type."""
    create_markdown_artifact(
        failure_page(cycle, error, journal.read(store, cycle)), key=key("failure", cycle),
        description=f"Why {cycle.system} {cycle.key} failed, and what to type",
    )  # fmt: skip


def failure_page(cycle: Cycle, error: Exception, notes: Sequence[Note]) -> str:
    """What is read at night: the sentence first, then the command, then how far the cycle is."""
    code = error.exit_code if isinstance(error, GomsError) else ForecastRefused.exit_code
    at = journal.failure(tuple(notes))
    stage = f", in stage **{at.stage}**" if at is not None and at.stage else ""
    day, option = f"{cycle.start:%Y-%m-%d}", f"--system {cycle.system}"
    return "\n".join([
        f"# {cycle.system} {cycle.key} failed{stage}", "", f"> {error}", "",
        f"Look at `{runbook(code)}`; exit code {code}.", "", "Then press **Retry**, or type", "",
        f"```\ngoms run {day} {option}\n```", "", "Finished stages are not done again.", "", stage_table(notes),
    ])  # fmt: skip


def runbook(code: int) -> str:
    """The runbook's entry for an exit code."""
    return f"{Settings().runbook}#{alerts.ANCHORS.get(code, alerts.FAULT)}"


@_beside("the table of skill is")
def scored(cycle: Cycle, found: Sequence[Scored]) -> None:
    """The table of skill."""
    rows = [
        {"product": product.product, "variable": row.variable, "day": row.lead_day, "forecast": f"{row.rmse:.3g}",
         "persistence": f"{row.persistence:.3g}",
         "climatology": "" if isnan(row.climatology) else f"{row.climatology:.3g}", "unit": row.units}
        for product in found for row in product.rows
    ]  # fmt: skip
    create_table_artifact(rows, key=key("skill", cycle), description=f"Skill of {cycle.system} {cycle.key}")


@_beside("how the cycles came out is")
def filled(system: str, ended: Sequence[Ended]) -> None:
    """How each cycle of a backfill came out."""
    rows = [{"cycle": item.cycle.key, "how": item.how, "seconds": round(item.seconds), "exit": item.code,
             "why": item.words} for item in sorted(ended, key=lambda item: item.cycle.start)]  # fmt: skip
    create_table_artifact(rows, key=f"backfill-{system}", description=f"Backfill of {system}")


def stage_table(notes: Sequence[Note]) -> str:
    """The journal's entries about stages since the cycle was begun last, as a table."""
    begun = max((place for place, entry in enumerate(notes) if entry.event is Event.BEGUN), default=0)
    rows = ["| stage | what | seconds | size | at (UTC) |", "|---|---|---:|---:|---|"]
    for entry in notes[begun:]:
        if entry.event in (Event.STAGE, Event.REUSED, Event.FAILED):
            seconds = "" if entry.seconds is None else f"{entry.seconds:.1f}"
            size = "" if entry.size_bytes is None else readable(entry.size_bytes)
            what = "done" if entry.event is Event.STAGE else entry.event.value
            rows.append(f"| {entry.stage or ''} | {what} | {seconds} | {size} | {entry.when:%Y-%m-%d %H:%M:%S} |")
    return "\n".join(rows)


def key(kind: str, cycle: Cycle) -> str:
    """An artifact's key: lower case letters, digits and dashes, as Prefect asks."""
    return f"{kind}-{cycle.system}-{cycle.key}".lower()


def picture(store: Store, cycle: Cycle, manifest: Manifest) -> str:
    """A map of the edition, inside the page: a store need not be reachable from where the page is read."""
    maps = [item for item in manifest.objects if item.path.startswith("quicklooks/") and item.path.endswith(".png")]
    chosen = next((item for item in maps if item.path == FIRST_MAP), maps[0] if maps else None)
    if chosen is None:
        return ""
    data = smaller(store.read_bytes(f"{cycle.revision_prefix(manifest.revision)}/{chosen.path}"))
    return f"![{chosen.path}](data:image/png;base64,{b64encode(data).decode()})"


def smaller(png: bytes) -> bytes:
    """A picture as small as a page needs it."""
    with Image.open(BytesIO(png)) as image:
        flat = image.convert("RGB")
        flat.thumbnail((WIDEST, WIDEST))
        made = BytesIO()
        flat.quantize(COLOURS).save(made, format="PNG", optimize=True)
    return made.getvalue()
