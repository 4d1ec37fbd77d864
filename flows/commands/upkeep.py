"""Commands that look after the store: retention, storage, pins; and its figures for monitoring."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands.options import Day, Debug, StoreUri, SystemName
from flows.sentences import sentences

OneOrAll = Annotated[str | None, typer.Option("--system", "-s", help="One system; else all.", metavar="NAME")]


def housekeeping(
    apply: Annotated[bool, typer.Option("--apply", help="Remove what the plan shows.")] = False,
    system: OneOrAll = None,
    store: StoreUri = None,
    debug: Debug = False,
) -> None:
    """What is past its time and why; with --apply it is removed. The latest good forecast never is."""
    with sentences(debug):
        from flows.service import upkeep

        upkeep.housekeeping(system, store, apply=apply)


def storage(system: OneOrAll = None, store: StoreUri = None, debug: Debug = False) -> None:
    """Bytes and objects by system, product and age, and the largest cycles."""
    with sentences(debug):
        from flows.service import upkeep

        upkeep.show_storage(system, store)


def pin(
    day: Day,
    reason: Annotated[str, typer.Option("--reason", help="Who needs it and for what.", metavar="TEXT")],
    system: SystemName = "twin",
    store: StoreUri = None,
    debug: Debug = False,
) -> None:
    """Keep the published cycle of DATE whatever its age, until it is unpinned."""
    with sentences(debug):
        from flows.service import upkeep

        upkeep.pin(day, system, store, reason)


def unpin(day: Day, system: SystemName = "twin", store: StoreUri = None, debug: Debug = False) -> None:
    """Let the cycle of DATE be removed like any other."""
    with sentences(debug):
        from flows.service import upkeep

        upkeep.unpin(day, system, store)


def metrics(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 9108,
    address: Annotated[str, typer.Option(help="Where to listen; 0.0.0.0 for other machines.")] = "127.0.0.1",
    once: Annotated[bool, typer.Option("--once", help="Print the figures and end.")] = False,
    system: OneOrAll = None,
    store: StoreUri = None,
    debug: Debug = False,
) -> None:
    """The service's figures for Prometheus: freshness, durations, sizes, skill. Needs the store alone."""
    with sentences(debug):
        from flows.desk import metrics as exporter

        if once:
            exporter.show(system, store)
        else:
            exporter.serve(system, store, port, address)
