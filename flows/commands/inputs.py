"""Commands about what forecasts are made from."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands.options import Day, Debug, Inputs, Seed, StoreUri, SystemName
from flows.sentences import sentences


def sources(
    day: Day, system: SystemName = "twin", inputs: Inputs = None, store: StoreUri = None, seed: Seed = 0,
    debug: Debug = False,
) -> None:  # fmt: skip
    """What each archive has for the start of DATE, how old it is, and which of them a run would take."""
    with sentences(debug):
        from flows.desk import archives

        archives.show(day, system, inputs, store, seed)


def climatology(
    first: Annotated[str, typer.Argument(metavar="FIRST", help="First day, YYYY-MM-DD.")],
    last: Annotated[str, typer.Argument(metavar="LAST", help="Last day, YYYY-MM-DD.")],
    out: Annotated[str, typer.Option(help="Folder of climatologies; GOMS_ARCHIVES names it as climatology.")],
    system: SystemName = "global-quarter-degree",
    kind: Annotated[str, typer.Option(help="waves or biogeochemistry.")] = "biogeochemistry",
    every: Annotated[int, typer.Option(min=1, help="Days from one that is read to the next.")] = 5,
    inputs: Inputs = None,
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """Monthly means of what an archive has, for days on which there is nothing better."""
    with sentences(debug):
        from flows.desk import archives

        archives.climatology((first, last), out, system, kind, every, inputs, seed)
