"""Commands about the service: start it, end it, bring its deployments to a server, fill many days."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands.options import Debug, Inputs, Seed, StoreUri, SystemName
from flows.sentences import sentences

Systems = Annotated[list[str] | None, typer.Option("--system", "-s", help="May be given several times.",
                                                   metavar="NAME")]  # fmt: skip

Forecaster = Annotated[str | None, typer.Option(help="checkpoint, persistence, or a checkpoint folder; else the "
                                                "system's own checkpoint.")]  # fmt: skip


def up(
    system: Systems = None,
    store: StoreUri = None,
    forecaster: Forecaster = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where Prefect's pages and API listen.")] = 4200,
    runs_at_once: Annotated[int, typer.Option(min=1, help="Flow runs that may go on at a time.")] = 3,
    at_once: Annotated[bool, typer.Option("--now", help="Make the newest cycle right away too.")] = False,
    debug: Debug = False,
) -> None:
    """Serve: Prefect, a worker and the schedules on this machine, for the twin, until Ctrl-C."""
    with sentences(debug):
        from flows.service import local as service

        service.up(system or ["twin"], port, store, forecaster, runs_at_once, at_once=at_once)


def down(debug: Debug = False) -> None:
    """End the service that goms up started here (by GOMS_SCRATCH)."""
    with sentences(debug):
        from flows.service import local as service

        typer.echo("the service has ended" if service.down() else "no service was running")


def deploy(
    system: Systems = None,
    pool: Annotated[str, typer.Option(help="Work pool: process, docker or kubernetes.")] = "process",
    image: Annotated[str | None, typer.Option(help="Image of the pool's jobs.")] = None,
    store: StoreUri = None,
    forecaster: Forecaster = None,
    debug: Debug = False,
) -> None:
    """Bring the deployments to the Prefect server of PREFECT_API_URL; all scheduled systems unless some are named."""
    with sentences(debug):
        from flows.service import local as service

        service.deploy(system or [], pool, image, store, forecaster)


def backfill(
    first: Annotated[str, typer.Argument(metavar="FIRST", help="First start, YYYY-MM-DD, today or yesterday.")],
    last: Annotated[str, typer.Argument(metavar="LAST", help="Last start, the same way.")],
    system: SystemName = "twin",
    workers: Annotated[int, typer.Option(min=1, help="Cycles at a time.")] = 1,
    newest_first: Annotated[bool, typer.Option("--newest-first/--oldest-first", help="In which order.")] = False,
    cap: Annotated[int | None, typer.Option(min=1, help="Run no more than so many now.")] = None,
    inputs: Inputs = None,
    store: StoreUri = None,
    forecaster: Annotated[str, typer.Option(help="As of goms run.")] = "checkpoint",
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """Make every day from FIRST to LAST that is not published: on the work pool where one serves, else here."""
    with sentences(debug):
        from flows.desk import filling

        code = filling.backfill(
            first, last, system, store, inputs, forecaster, seed, workers=workers, newest_first=newest_first, cap=cap
        )
    raise typer.Exit(code)
