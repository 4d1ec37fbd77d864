"""How commands fail: one sentence on stderr and an exit code, its traceback only for those who ask."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import typer


@contextmanager
def sentences(debug: bool) -> Iterator[None]:
    """Failures that the service knows leave as one sentence on stderr and with their exit code."""
    from models.errors import ModelError
    from pipeline.errors import GomsError

    try:
        check_settings()
        yield
    except (GomsError, ModelError) as error:
        from flows import logs

        if debug:
            typer.echo(traceback.format_exc(), err=True)
        if logs.as_json():
            logs.failed(error)
        else:
            typer.echo(f"goms: {error}", err=True)
        raise typer.Exit(logs.exit_code(error)) from error


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
            f"a setting {name} that holds", found=first["msg"], where="the environment",
            action="correct it or unset it",
        ) from error  # fmt: skip  # what stands there is not repeated: it may be a secret under a wrong name


def record(text: str, what: str | None = None) -> Path:
    """Keep a traceback of something, else of this command, where ``GOMS_SCRATCH`` says; returns the file."""
    from flows.clock import now
    from pipeline.settings import Settings

    path = Settings().scratch / "tracebacks.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as log:
        log.write(f"{now():%Y-%m-%dT%H:%M:%SZ} {what or ' '.join(('goms', *sys.argv[1:]))}\n{text}\n")
    return path


def unknown(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A failure that the service does not know: one sentence, and where its traceback is. Exit code 1."""
    from flows import logs

    path = record("".join(traceback.format_exception(kind, error, trace)))
    sentence = f"a fault in goms itself, {kind.__name__}: {error}; its traceback is in {path}"
    if logs.as_json():
        logs.event(sentence, level=logging.ERROR, error=kind.__name__, exit_code=1)
    else:
        typer.echo(f"goms: {sentence}", err=True)
