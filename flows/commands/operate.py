"""Commands for an operator's judgement on one cycle."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands.options import Day, Debug, StoreUri, SystemName
from flows.sentences import sentences

Reason = Annotated[str, typer.Option("--reason", help="Why: recorded with who and when.", metavar="TEXT")]


def stages(day: Day, system: SystemName = "twin", store: StoreUri = None, debug: Debug = False) -> None:
    """How far the cycle of DATE is, stage by stage, and everything that happened to it."""
    with sentences(debug):
        from flows.desk import operator

        operator.stages(day, system, store)


def hold(day: Day, reason: Reason, system: SystemName = "twin", store: StoreUri = None, debug: Debug = False) -> None:
    """Keep the cycle of DATE from being run, by hand or by schedule, until it is released."""
    with sentences(debug):
        from flows.desk import operator
        from pipeline.record.judgement import Kind

        operator.judge(day, system, store, Kind.HELD, reason)


def release(
    day: Day, reason: Reason, system: SystemName = "twin", store: StoreUri = None, debug: Debug = False
) -> None:
    """Lift what `goms hold` and `goms set-complete` decided on the cycle of DATE."""
    with sentences(debug):
        from flows.desk import operator

        operator.release(day, system, store, reason)


def set_complete(
    day: Day,
    reason: Reason,
    system: SystemName = "twin",
    stage: Annotated[
        str | None, typer.Option(help="Only waves, biogeochemistry, forcing, quicklooks or series.", metavar="STAGE")
    ] = None,
    store: StoreUri = None,
    debug: Debug = False,
) -> None:
    """Count the cycle of DATE as complete without running it; or publish it without an optional stage."""
    with sentences(debug):
        from flows.desk import operator
        from pipeline.record.judgement import Kind

        operator.judge(day, system, store, Kind.COMPLETE, reason, stage)
