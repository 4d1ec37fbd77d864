"""``goms``: what operators type.

Everything heavy is imported inside the commands, so that asking for help costs nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from flows.commands import forecasts, inputs, learning, operate, readers, service, upkeep, watching
from flows.sentences import unknown

app = typer.Typer(
    name="goms", no_args_is_help=True, add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Forecast the ocean for thirty days, publish it whole, and say how good it was.

    [bold]goms run yesterday[/] forecasts the embedded twin ocean; [bold]goms status[/] says what is published.""",
    epilog="Exit codes: 0 done, or done before · 2 usage · 3 input absent · 4 input refused · 5 forecast refused · "
    "6 store · 7 another run holds the cycle · 8 a cycle is late or failed (watch). "
    "Settings of the machine (GOMS_STORE, GOMS_INPUTS...): README.md.",
)  # fmt: skip

COMMANDS: tuple[Callable[..., None], ...] = (
    forecasts.run, watching.status, forecasts.verify,
    readers.check, readers.export, readers.collect, readers.catalogue, readers.view,
    inputs.sources, inputs.climatology,
    operate.stages, operate.hold, operate.release, operate.set_complete,
    service.up, service.down, service.deploy, service.backfill,
    upkeep.housekeeping, upkeep.storage, upkeep.pin, upkeep.unpin, upkeep.metrics,
    watching.watch, watching.incident,
    learning.archive, learning.train,
)  # fmt: skip
"""Every command, in the order of the help."""

for command in COMMANDS:
    app.command()(command)


def main() -> None:
    """The console command."""
    sys.excepthook = unknown
    typer.main.get_command(app)(prog_name="goms")  # not app(): it would put its own hook in the place of ours
