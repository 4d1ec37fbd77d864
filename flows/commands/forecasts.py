"""Commands about forecasts: make, score."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands.options import Day, Debug, Inputs, Seed, StoreUri, SystemName
from flows.sentences import sentences


def run(
    day: Day,
    system: SystemName = "twin",
    inputs: Inputs = None,
    store: StoreUri = None,
    forecaster: Annotated[
        str, typer.Option(help="[bold]checkpoint[/] (the system's own), [bold]persistence[/], or a checkpoint folder.")
    ] = "checkpoint",
    seed: Seed = 0,
    start_again_from: Annotated[
        str | None, typer.Option("--from", help="Do this stage and those after it again.", metavar="STAGE")
    ] = None,
    supersede: Annotated[
        str | None, typer.Option(help="Make a new revision of a published cycle, and why.", metavar="REASON")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be reused, done again and overwritten, and why.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Forecast from DATE and publish. A published cycle is left as it is; a killed run is gone on with."""
    with sentences(debug):
        from flows.service.beside import begun

        with begun(debug=debug, wanted=not dry_run) as api:
            from flows.desk import operations

            request = operations.Request(day, system, inputs, store, forecaster, seed, start_again_from, supersede)
            operations.rehearse(request) if dry_run else operations.run(request, api)


def verify(
    day: Day,
    system: SystemName = "twin",
    inputs: Inputs = None,
    store: StoreUri = None,
    leads: Annotated[
        str, typer.Option(help="Lead days to score, by comma; those that have not been are left out.", metavar="DAYS")
    ] = "1,5,10,20,30",
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """Score a published forecast against the analyses of its valid days, beside persistence and climatology."""
    with sentences(debug):
        from flows.service.beside import begun

        with begun(debug=debug) as api:
            from flows.desk import operations

            operations.verify(day, system, inputs, store, leads, seed, api)
