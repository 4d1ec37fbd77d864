"""What the daily verification scores: each new analysis against every forecast that is valid then, all at once."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from rich.markup import escape

from flows import clock
from flows.journey import stages
from flows.journey.stages import Run
from flows.journey.verification import Scored, alone, edge
from flows.progress import progress
from flows.service import artifacts
from flows.service.upkeep import SCORES
from pipeline import publish, systems, truth, verify
from pipeline.cycle import Cycle, from_key
from pipeline.errors import CheckFailed, ForecastRefused, GomsError, InputRefused, InputUnavailable
from pipeline.products import ProductEntry
from pipeline.publish import Manifest
from pipeline.record.shelf import is_key
from pipeline.scoring import scoreboard, scores, skill
from pipeline.scoring.scoreboard import Board
from pipeline.settings import Settings
from pipeline.store import Store
from pipeline.systems import System
from pipeline.truth import Truth

DRAWN = (1, 5, 10, 20, 30)
"""Lead days whose curves of skill are drawn and whose moments are kept beside the table: the others are in the
scoreboard alone."""
NAMED = 3
"""Refusals that a verification which ends with them says in full: of more, how many."""


class Due(NamedTuple):
    """A published forecast that is valid at a moment, and at which lead day it is."""

    manifest: Manifest
    lead_day: int


class Scoring(NamedTuple):
    """What one verification does: of which system, where, by which truth."""

    run: Run
    system: System
    store: Store
    moment: datetime


def score_all(system: str, leads: tuple[int, ...], inputs: str | None, store: str | None, seed: int) -> State[Any]:
    """Score what is due, newest analysis first; what has no truth yet is said and left for the next day.

    An analysis or an edition that is refused keeps nothing else from being scored; the end is then a failure that
    names it. ``leads``: those lead days alone; none: every one. ``CycleHeld`` where another verification of the
    system goes on.
    """
    settings, entry = Settings(), systems.system(system)
    opened = Store(store or settings.store)
    run = Run(system=system, cycle=SCORES, store=opened.uri, inputs=inputs or settings.inputs, seed=seed)
    with alone(opened, entry.name) as ours:
        return _score_all(Scoring(run, entry, ours, clock.now()), leads)


def _score_all(asked: Scoring, leads: tuple[int, ...]) -> State[Any]:
    """The same, by whoever holds the system's scores."""
    refused = list[str]()
    editions = published(asked.store, asked.system.name, refused)
    found: dict[str, list[Scored]] = {}
    for product in asked.system.products:
        for manifest, scored in score_product(asked, product, editions, leads):
            found.setdefault(manifest.cycle, []).append(scored)
    for key, each in found.items():
        if any(item.rows for item in each):
            artifacts.scored(from_key(asked.system.name, key), each)
    counted = sum(any(item.rows for item in each) for each in found.values())
    waiting = sum(any(item.reason and not item.refused for item in each) for each in found.values())
    if counted:
        stages.show_page(asked.run)
        skill.refresh(asked.store, asked.system)
    said = f"{counted} forecasts scored, {waiting} wait for their truth"
    refused += [item.reason for each in found.values() for item in each if item.refused and item.reason]
    return Failed(message=f"{said}; {_named(refused)}") if refused else Completed(message=said)


def _named(refused: Sequence[str]) -> str:
    """What was refused, each once: the first in full."""
    each = list(dict.fromkeys(refused))
    more = f"; and {len(each) - NAMED} more" if len(each) > NAMED else ""
    return f"refused: {'; '.join(each[:NAMED])}{more}"


@task(cache_policy=NO_CACHE, task_run_name="score {product.name}")
def score_product(
    asked: Scoring, product: ProductEntry, editions: Mapping[Cycle, Manifest], leads: tuple[int, ...]
) -> list[tuple[Manifest, Scored]]:  # fmt: skip
    """Score one product on every valid time that has forecasts without scores."""
    board = Board(asked.store, asked.system, product)
    found = list[tuple[Manifest, Scored]]()
    all_due = dues(asked, product, editions, leads)
    too_old = [valid for valid in all_due if not board.takes(valid)]
    if too_old:
        most = asked.system.retention.scores_days
        progress().say(f"{product.name}: {len(too_old)} days up to {max(too_old):%Y-%m-%d} are older than the scores "
                       f"that are kept (scores_days {most}): not scored")  # fmt: skip
    for valid, due in sorted(all_due.items(), reverse=True):
        if valid in too_old:
            continue
        done = board.revisions(valid)
        left = [item for item in due if done.get(item.lead_day) != item.manifest.revision]
        if left:
            found += _score_day(asked, product, board, valid, left)
    return found


def dues(
    asked: Scoring, product: ProductEntry, editions: Mapping[Cycle, Manifest], leads: tuple[int, ...]
) -> dict[datetime, list[Due]]:  # fmt: skip
    """By valid time that has been, the forecasts of a product that are valid then.

    Lead days that the system does not forecast any more have no place among its scores.
    """
    found: dict[datetime, list[Due]] = {}
    for start, manifest in editions.items():
        last = min(manifest.lead_days, asked.system.forecast_days)
        for lead in leads or range(1, last + 1):
            valid = start.valid_time(lead)
            if lead <= last and valid <= asked.moment and product.name in manifest.products:
                found.setdefault(valid, []).append(Due(manifest, lead))
    return found


def published(store: Store, system: str, refused: list[str]) -> dict[Cycle, Manifest]:
    """Every published forecast of a system, by its start; manifests that are damaged are said among ``refused``."""
    found = {}
    for key in filter(is_key, store.folders(f"{system}/cycles")):
        start = from_key(system, key)
        revision = publish.published(store, start)
        try:
            manifest = None if revision is None else publish.read_manifest(store, start, revision)
        except CheckFailed as damage:
            refused.append(_told(f"the forecast of {start.start:%Y-%m-%d}", "is refused", damage))
            continue
        if manifest is not None:
            found[start] = manifest
    return found


def _score_day(
    asked: Scoring, product: ProductEntry, board: Board, valid: datetime, due: list[Due]
) -> list[tuple[Manifest, Scored]]:  # fmt: skip
    """Score the forecasts that are valid at one time against its analysis; their tables first, the board last."""
    begun, what = time.monotonic(), f"score {product.name} of {valid:%Y-%m-%d}"
    happened = _truth(asked)
    usual = lru_cache(2 * len(due) + 2)(verify.day_of_year(asked.system, edge(asked.run).archives))
    kept, told = list[scoreboard.Scored](), list[tuple[Manifest, Scored]]()
    with progress().stage(what, len(due)) as advance:
        for number, item in enumerate(due, start=1):
            try:
                made = scores.score(asked.store, item.manifest, product.name, asked.system, happened,
                                    [item.lead_day], normal=usual)  # fmt: skip
                scores.keep_day(asked.store, item.manifest, product.name, asked.system, made,
                                drawn=item.lead_day in DRAWN)  # fmt: skip
            except (InputUnavailable, InputRefused) as lack:  # of the day: whatever is valid then lacks it
                refused = isinstance(lack, InputRefused)
                reason = _told(f"{product.name} of {valid:%Y-%m-%d}", "is refused" if refused else "waits", lack)
                told += [(each.manifest, Scored(product.name, (), reason, refused)) for each in due[number - 1 :]]
                break
            except (CheckFailed, ForecastRefused) as damage:  # of one edition, or of its scores
                reason = _told(f"{product.name} of the forecast of {item.manifest.cycle}", "is refused", damage)
                told.append((item.manifest, Scored(product.name, (), reason, refused=True)))
                continue
            facts = item.manifest.facts
            who = scoreboard.identity(facts.forecaster, facts.checkpoint_sha256)
            kept.append(scoreboard.Scored(item.lead_day, item.manifest.revision, who, made))
            told.append((item.manifest, Scored(product.name, scores.table(made))))
            advance(number)
        if kept:
            board.add(valid, kept)
    if kept:
        progress().done(what, time.monotonic() - begun, 0)
    return told


def _told(what: str, how: str, why: GomsError) -> str:
    """Say why something is not scored, and give it back as one line."""
    progress().say(escape(words := f"{what} {how}: {why}"))
    return words


def _truth(asked: Scoring) -> Truth:
    return truth.remembered(truth.analysed(asked.system, edge(asked.run)))
