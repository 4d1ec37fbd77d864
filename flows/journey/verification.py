"""A published forecast against what happened: each product's scores, kept beside the forecasts."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows import clock
from flows.journey import holding, stages
from flows.journey.stages import Run
from flows.progress import progress
from pipeline import truth
from pipeline.errors import CycleHeld, InputUnavailable
from pipeline.publish import Manifest, read_manifest
from pipeline.record.lock import Scores
from pipeline.scoring import scores
from pipeline.settings import Settings
from pipeline.store import Store
from pipeline.verify import Row, day_of_year

PATIENCE_SECONDS, ASKED_AGAIN_SECONDS = 20.0, 0.5
"""How long a verification waits for another of the same system: one that only looks what is due has ended by then."""


class Scored(NamedTuple):
    """One product's table of scores, or why there is none (yet).

    ``refused``: the analysis or the edition is there and is not what it says it is, which no waiting mends.
    """

    product: str
    rows: tuple[Row, ...]
    reason: str | None = None
    refused: bool = False


@flow(name="verification", flow_run_name="verify {run.system} {run.cycle}", validate_parameters=False)
def verification(run: Run, leads: Sequence[int]) -> list[Scored]:
    """Score every product of an edition; ``InputUnavailable`` where not one of them has a truth yet.

    ``CycleHeld`` where another verification of the system is going on.
    """
    with alone(run.opened, run.system):
        return _scored(run, leads)


@contextmanager
def alone(store: Store, system: str) -> Iterator[Store]:
    """Hold a system's scores, with a sign of life while it lasts; gives the store to change them by.

    ``CycleHeld`` (exit 7), after a short wait, says who holds them. The store takes no change once they are another's.
    """
    until = time.monotonic() + PATIENCE_SECONDS
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(holding.holding(store, Scores(system), Settings().lease_seconds))
                break
            except CycleHeld:
                if time.monotonic() > until:
                    raise
                time.sleep(ASKED_AGAIN_SECONDS)
        yield holding.opened(store.uri)


def _scored(run: Run, leads: Sequence[int]) -> list[Scored]:
    manifest = read_manifest(run.opened, run.start, run.revision)
    assert manifest is not None
    found, absent = list[Scored](), list[InputUnavailable]()
    for name in manifest.products:
        try:
            found.append(Scored(name, score_product(run, manifest, name, leads)))
        except InputUnavailable as absence:
            absent.append(absence)
            found.append(Scored(name, (), str(absence)))
    if len(absent) == len(found):
        raise absent[0]
    stages.show_page(run)
    return found


def edge(run: Run) -> truth.Edge:
    """Where the truth of a run's forecasts comes from: the archives that the forecasts were made from."""
    return truth.Edge(run.inputs, run.scratch, run.seed, Settings().archives)


@task(cache_policy=NO_CACHE, task_run_name="score {name}")
def score_product(run: Run, manifest: Manifest, name: str, leads: Sequence[int]) -> tuple[Row, ...]:
    """Verify one product and keep its scores."""
    begun, usual = time.monotonic(), day_of_year(run.of, edge(run).archives)
    happened = truth.until(clock.now(), run.of, truth.analysed(run.of, edge(run)))
    with progress().stage(f"score {name}", max(leads)) as advance:
        made = scores.score(run.opened, manifest, name, run.of, happened, leads, advance, usual)
        records = scores.keep(run.opened, manifest, name, run.of, made)
    progress().done(f"score {name}", time.monotonic() - begun, sum(item.size_bytes for item in records))
    return scores.table(made)
