"""What the daily verification scores: every published forecast at the lead days that have come to pass since."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows import artifacts, clock, stages
from flows.progress import progress
from flows.stages import Run
from flows.verification import Scored, score_product
from pipeline import publish, scores, systems
from pipeline.cycle import from_key
from pipeline.errors import InputUnavailable
from pipeline.publish import Manifest
from pipeline.settings import Settings
from pipeline.store import Store

LEADS = (1, 5, 10, 20, 30)
"""Lead days that are scored unless others are asked for."""


def score_all(system: str, leads: tuple[int, ...], inputs: str | None, store: str | None, seed: int) -> State[Any]:
    """Score what is due, newest forecast first; what has no truth yet is said and left for the next day."""
    settings, entry = Settings(), systems.system(system)
    opened, moment, counted, waiting = Store(store or settings.store), clock.now(), 0, 0
    for key in sorted(opened.folders(f"{entry.name}/cycles"), reverse=True):
        manifest = _published(opened, entry.name, key)
        if manifest is None:
            continue
        run = Run(system=system, cycle=key, store=opened.uri, inputs=inputs or settings.inputs, seed=seed,
                  revision=manifest.revision)  # fmt: skip
        found = score_edition(run, manifest, leads, moment)
        counted += any(item.rows for item in found)
        waiting += any(item.reason for item in found)
        if any(item.rows for item in found):
            artifacts.scored(run.start, found)
            stages.show_page(run)
    return Completed(message=f"{counted} forecasts scored, {waiting} wait for their truth")


def score_edition(run: Run, manifest: Manifest, leads: tuple[int, ...], moment: datetime) -> list[Scored]:
    """The scores of each product that had some due, or why it has none yet."""
    found = []
    for name in manifest.products:
        past = passed(manifest, leads, moment)
        if set(past) <= scored_leads(run.opened, manifest, name):
            continue
        try:
            found.append(Scored(name, score_product(run, manifest, name, past)))
        except InputUnavailable as absence:
            progress().say(f"{run.cycle} {name} waits: {absence}".replace("[", "\\["))
            found.append(Scored(name, (), str(absence)))
    return found


def passed(manifest: Manifest, leads: Iterable[int], moment: datetime) -> tuple[int, ...]:
    """The lead days of a forecast that lie in the past."""
    start = from_key(manifest.system, manifest.cycle)
    return tuple(lead for lead in leads if lead <= manifest.lead_days and start.valid_time(lead) <= moment)


def scored_leads(store: Store, manifest: Manifest, name: str) -> set[int]:
    """The lead days of a product that have scores."""
    found = store.find(f"{scores.prefix(manifest)}/{name}.json")
    return set() if found is None else {int(row["lead_day"]) for row in json.loads(found.data)["rows"]}


def _published(store: Store, system: str, key: str) -> Manifest | None:
    cycle = from_key(system, key)
    revision = publish.published(store, cycle)
    return None if revision is None else publish.read_manifest(store, cycle, revision)
