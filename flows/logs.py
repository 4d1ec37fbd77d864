"""What the service says of itself, as lines of JSON: one file a cycle in the scratch folder, and on stderr if asked.

What a line is about (system, cycle, run, stage) is bound once around the work; every line said inside carries it.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from models.errors import ModelError
from pipeline.errors import ForecastRefused, GomsError
from pipeline.settings import Settings

FOLDER = "logs"
"""Folder of the scratch folder that has a folder of log files for each system."""
LARGEST_BYTES = 5_000_000
"""Size at which a cycle's file is put aside, over the one put aside before: a cycle has at most twice as much. A run
of thirty days writes some 10 kB."""
ABOUT = ("system", "cycle", "stage", "run")
"""What can be bound, in the order of a line."""

_BOUND: ContextVar[Mapping[str, str]] = ContextVar("bound", default=MappingProxyType({}))
_ERROR: ContextVar[dict[str, str]] = ContextVar("error")
"""What the error that is ending a run is about: filled where it was raised, said where the run ends."""
_FIGURES, _SAID = "figures", "said_in_the_log"


@contextmanager
def bound(**about: str | None) -> Iterator[None]:
    """Lines said inside are about this: ``system``, ``cycle``, ``stage``, ``run``; ``None`` leaves it as it is."""
    said = {name: value for name, value in about.items() if value is not None}
    token = _BOUND.set({**_BOUND.get(), **said})
    try:
        yield
    finally:
        if sys.exception() is not None:
            where = _ERROR.get({})
            where.update({name: value for name, value in _BOUND.get().items() if name not in where})
        _BOUND.reset(token)


@contextmanager
def of_run(system: str, cycle: str, run: str | None) -> Iterator[None]:
    """Lines said inside are about this run; the error that ends it is the last of them, with its stage."""
    where = dict[str, str]()
    token = _ERROR.set(where)
    try:
        with bound(system=system, cycle=cycle, run=run):
            yield
    finally:
        _ERROR.reset(token)
        error = sys.exception()
        if error is not None:
            with bound(**where):
                failed(error)


def event(message: str, *, level: int = logging.INFO, **figures: Any) -> None:
    """Say one line; ``figures``: seconds, bytes, exit_code... what is ``None`` is left out."""
    _logger().log(level, message, extra={_FIGURES: figures})


def failed(error: BaseException) -> None:
    """Say that work ended by an error, its sentence and its exit code; one that was said is not said again."""
    if getattr(error, _SAID, False):
        return
    setattr(error, _SAID, True)
    event(str(error) or repr(error), level=logging.ERROR, error=type(error).__name__, exit_code=exit_code(error))


def exit_code(error: BaseException) -> int:
    """What a command that failed by this error exits with."""
    if isinstance(error, ModelError):
        return ForecastRefused.exit_code
    return error.exit_code if isinstance(error, GomsError) else 1


def as_json() -> bool:
    """Whether stderr is for machines (``GOMS_LOG_FORMAT=json``): then nothing else is written there."""
    try:
        return Settings().log_format == "json"
    except ValidationError:  # whoever says so does it in a sentence
        return False


def path(scratch: Path, system: str, cycle: str) -> Path:
    """Where a cycle's lines are."""
    return scratch / FOLDER / system / f"{cycle}.jsonl"


class JsonLines(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Time first; what is bound; the message; the figures."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        about, figures = _BOUND.get(), getattr(record, _FIGURES, {})
        line = {"time": when.replace("+00:00", "Z"), "level": record.levelname.lower()}
        line |= {name: about[name] for name in ABOUT if name in about}
        line |= {"message": record.getMessage()}
        line |= {name: value for name, value in figures.items() if value is not None}
        return json.dumps(line, ensure_ascii=False, default=str)


class CycleFiles(logging.Handler):
    """Puts each line into the file of the cycle it is about, whole, whoever else writes there; no file stays open."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line; one that is about no cycle has no file."""
        about = _BOUND.get()
        if "system" not in about or "cycle" not in about:
            return
        target = path(Settings().scratch, about["system"], about["cycle"])
        line = f"{self.format(record)}\n".encode()
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _put_aside(target)
            file = os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(file, line)
            finally:
                os.close(file)
        except OSError as error:  # a full scratch disk must not end a forecast
            print(f"goms: no log line in {target}: {error}", file=sys.stderr)


class StandardError(logging.Handler):
    """Lines on stderr, where they are asked for."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line."""
        if as_json():
            print(self.format(record), file=sys.stderr, flush=True)


def _put_aside(target: Path) -> None:
    try:
        if target.stat().st_size >= LARGEST_BYTES:
            target.replace(target.with_suffix(".before.jsonl"))
    except FileNotFoundError:
        return


def _logger() -> logging.Logger:
    logger = logging.getLogger("goms")
    if not logger.handlers:
        logger.setLevel(logging.INFO)
        logger.propagate = False
        for handler in (CycleFiles(), StandardError()):
            handler.setFormatter(JsonLines())
            logger.addHandler(handler)
    return logger
