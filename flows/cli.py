"""``goms``: what operators type.

Everything heavy is imported inside the commands, so that asking for help costs nothing.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Annotated

import typer

app = typer.Typer(
    name="goms", no_args_is_help=True, add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Forecast the ocean for thirty days, publish it whole, and say how good it was.

    [bold]goms run yesterday[/] forecasts the embedded twin ocean; [bold]goms status[/] says what is published.""",
    epilog="Exit codes: 0 done, or done before · 2 usage · 3 input absent · 4 input refused · 5 forecast refused · "
    "6 store · 7 another run holds the cycle. Settings of the machine (GOMS_STORE, GOMS_INPUTS...): README.md.",
)  # fmt: skip

Day = Annotated[str, typer.Argument(metavar="DATE", help="The forecast's start: YYYY-MM-DD, today or yesterday (UTC).")]
SystemName = Annotated[str, typer.Option("--system", "-s", help="The forecasting system.", metavar="NAME")]
Inputs = Annotated[
    str | None, typer.Option(help="Folder or URL of the archives' files; else GOMS_INPUTS.", metavar="WHERE")
]
StoreUri = Annotated[
    str | None, typer.Option("--store", help="Folder or s3://bucket/prefix; else GOMS_STORE.", metavar="WHERE")
]
Seed = Annotated[int, typer.Option(help="The twin ocean's seed.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks and Prefect's own messages.")]


@app.command()
def run(
    day: Day,
    system: SystemName = "twin",
    inputs: Inputs = None,
    store: StoreUri = None,
    forecaster: Annotated[
        str, typer.Option(help="[bold]checkpoint[/] (the system's own), [bold]persistence[/], or a checkpoint folder.")
    ] = "checkpoint",
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """Forecast from DATE and publish. A published cycle is left as it is; a killed run is gone on with."""
    with sentences(debug):
        from flows import operations

        operations.run(day, system, inputs, store, forecaster, seed, debug=debug)


@app.command()
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
        from flows import operations

        operations.verify(day, system, inputs, store, leads, seed, debug=debug)


@app.command()
def status(
    system: Annotated[str | None, typer.Option("--system", "-s", help="One system; else all.", metavar="NAME")] = None,
    store: StoreUri = None,
    debug: Debug = False,
) -> None:
    """What is published, how old it is, whether it is degraded, and what is being made."""
    with sentences(debug):
        from flows import status as shown

        shown.show(system, store)


@app.command()
def export(
    product: Annotated[str, typer.Argument(metavar="PRODUCT", help="ocean, waves, biogeochemistry or kuroshio.")],
    day: Annotated[str, typer.Argument(metavar="[DATE]", help="The forecast's start; else the latest.")] = "latest",
    system: SystemName = "twin",
    out: Annotated[
        Path | None, typer.Option(help="The file to write; else named after the product.", metavar="FILE")
    ] = None,
    store: StoreUri = None,
    debug: Debug = False,
) -> None:
    """Write a published product as one netCDF-4 file."""
    with sentences(debug):
        from flows import operations

        operations.export(product, day, system, out, store)


@app.command()
def archive(
    first: Annotated[str, typer.Argument(metavar="FIRST", help="First day, YYYY-MM-DD.")],
    last: Annotated[str, typer.Argument(metavar="LAST", help="Last day, YYYY-MM-DD.")],
    out: Annotated[str, typer.Option(help="Folder of the training archive; one that is there is gone on with.")],
    system: SystemName = "twin",
    inputs: Inputs = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes at a time.")] = 1,
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """Bring many days onto a system's grids, as one Zarr to train on."""
    with sentences(debug):
        from flows import training

        training.archive(first, last, out, system, inputs, workers, seed)


@app.command()
def train(
    archive_path: Annotated[str, typer.Argument(metavar="ARCHIVE", help="What `goms archive` made.")],
    out: Annotated[Path, typer.Option(help="Folder of the checkpoint.", metavar="FOLDER")],
    preset: Annotated[str, typer.Option(help="Architecture and recipe: paper, twin or regional.")] = "twin",
    system: SystemName = "twin",
    seed: Annotated[int, typer.Option(help="Of the weights and of the order of days.")] = 0,
    debug: Debug = False,
) -> None:
    """Train a checkpoint for a system: backbone, fine-tuning, heads."""
    with sentences(debug):
        from flows import training

        training.train(archive_path, out, preset, system, seed)


@contextmanager
def sentences(debug: bool) -> Iterator[None]:
    """Failures that the service knows leave as one sentence on stderr and with their exit code."""
    from models.errors import ModelError
    from pipeline.errors import ForecastRefused, GomsError

    try:
        check_settings()
        yield
    except (GomsError, ModelError) as error:
        code = error.exit_code if isinstance(error, GomsError) else ForecastRefused.exit_code
        if debug:
            typer.echo(traceback.format_exc(), err=True)
        typer.echo(f"goms: {error}", err=True)
        raise typer.Exit(code) from error


def check_settings() -> None:
    """``UsageError`` where the environment holds a setting that cannot be one."""
    from pydantic import ValidationError

    from pipeline.errors import UsageError
    from pipeline.settings import Settings

    try:
        Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "GOMS_" + "__".join(str(part) for part in first["loc"]).upper()
        raise UsageError(
            f"a setting {name} that holds", found=f"{first['input']!r}: {first['msg']}", where="the environment",
            action="correct it or unset it",
        ) from error  # fmt: skip


def record(text: str) -> Path:
    """Keep a traceback where ``GOMS_SCRATCH`` says; returns the file."""
    from flows.clock import now
    from pipeline.settings import Settings

    path = Settings().scratch / "tracebacks.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as log:
        log.write(f"{now():%Y-%m-%dT%H:%M:%SZ} goms {' '.join(sys.argv[1:])}\n{text}\n")
    return path


def unknown(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A failure that the service does not know: one sentence, and where its traceback is. Exit code 1."""
    path = record("".join(traceback.format_exception(kind, error, trace)))
    typer.echo(f"goms: a fault in goms itself, {kind.__name__}: {error}; its traceback is in {path}", err=True)


def main() -> None:
    """The console command."""
    sys.excepthook = unknown
    typer.main.get_command(app)(prog_name="goms")  # not app(): it would put its own hook in the place of ours
