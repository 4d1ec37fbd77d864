"""What ``goms backfill`` prints: progress as it goes, a table at the end, and where the cycles were run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.markup import escape
from rich.table import Table

from flows.screen import wide
from flows.service import backfill as filled
from flows.service import local as service
from flows.service.backfill import Ended
from pipeline.settings import Settings, prefect_defaults


def backfill(
    first: str, last: str, system: str, store: str | None, inputs: str | None, forecaster: str, seed: int, *,
    workers: int, newest_first: bool, cap: int | None,
) -> int:  # fmt: skip
    """Fill a span of days, print how each came out, and return the exit code."""
    asked = filled.asked_for(system, store, inputs, forecaster, seed)
    with server() as address:
        served = False
        if address is not None:
            from flows.service import submission

            served = submission.is_deployed(system)
        ended = filled.fill(asked, first, last, workers=workers, newest_first=newest_first, cap=cap, served=served)
    show(ended, f"{system} {first}..{last} in {asked.store.uri}")
    return filled.exit_code(ended)


@contextmanager
def server() -> Iterator[str | None]:
    """The API of the Prefect server that runs are given to: ``PREFECT_API_URL``, else that of ``goms up``; or none."""
    settings = Settings()
    prefect_defaults(settings, "CRITICAL")
    from prefect.settings import PREFECT_API_URL, temporary_settings

    there = service.running(service.home(settings))
    address = PREFECT_API_URL.value() or (None if there is None else there.address)
    with temporary_settings({} if address is None else {PREFECT_API_URL: address}):
        yield address


def show(ended: Sequence[Ended], title: str) -> None:
    """A row for each cycle, by date."""
    table = Table(title=escape(title), title_justify="left")
    for heading in ("cycle", "how", "seconds", "exit", "why"):
        table.add_column(heading, overflow="fold", justify="right" if heading in ("seconds", "exit") else "left")
    for item in sorted(ended, key=lambda item: item.cycle.start):
        seconds = f"{item.seconds:.0f}" if item.seconds else ""
        table.add_row(item.cycle.key, item.how, seconds, str(item.code or ""), escape(item.words))
    wide().print(table)
