"""Commands that look after the service: what stands how, who is told, what goes into a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import Day, Debug, StoreUri, SystemName
from flows.sentences import sentences


def status(
    system: Annotated[str | None, typer.Option("--system", "-s", help="One system; else all.", metavar="NAME")] = None,
    store: StoreUri = None,
    as_json: Annotated[bool, typer.Option("--json", help="All of it as JSON, for programs.")] = False,
    debug: Debug = False,
) -> None:
    """What is published, what is being made, and whether it will be there by its deadline."""
    with sentences(debug):
        from flows.desk import status as shown

        shown.show(system, store, as_json)


def watch(
    store: StoreUri = None,
    every: Annotated[float, typer.Option(min=1.0, help="Seconds between two looks.", metavar="SECONDS")] = 300.0,
    once: Annotated[
        bool, typer.Option("--once", help="Look once: exit 0 all well, 8 a cycle needs somebody, 6 the store is lost.")
    ] = False,
    webhook: Annotated[
        list[str] | None, typer.Option(help="Tell this address too, beside GOMS_ALERT_...", metavar="URL")
    ] = None,
    debug: Debug = False,
) -> None:
    """Tell when a cycle is late, will be, or failed, and when it is over. Needs the store alone, not Prefect."""
    with sentences(debug):
        from flows.service import watch as watching

        watching.watch(store, every, once, webhook or ())


def incident(
    day: Day,
    system: SystemName = "twin",
    store: StoreUri = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The archive; else named after the cycle, here or in GOMS_SCRATCH.", metavar="FILE"),
    ] = None,
    debug: Debug = False,
) -> None:
    """Pack everything that is known of a cycle into one archive, without secrets."""
    with sentences(debug):
        from flows.desk import incident as packing

        packing.pack(day, system, store, out)
