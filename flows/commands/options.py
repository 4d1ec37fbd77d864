"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Day = Annotated[str, typer.Argument(metavar="DATE", help="The forecast's start: YYYY-MM-DD, today or yesterday (UTC).")]
SystemName = Annotated[str, typer.Option("--system", "-s", help="The forecasting system.", metavar="NAME")]
Inputs = Annotated[
    str | None, typer.Option(help="Folder or URL of the archives' files; else GOMS_INPUTS.", metavar="WHERE")
]
StoreUri = Annotated[
    str | None, typer.Option("--store", help="Folder or s3://bucket/prefix; else GOMS_STORE.", metavar="WHERE")
]
Seed = Annotated[int, typer.Option(min=0, help="The twin ocean's seed.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks and Prefect's own messages.")]
