"""Whether a command line that is written down somewhere is one that ``goms`` takes: its own parser says so."""

from __future__ import annotations

import shlex
from functools import cache

import typer
from typer.core import TyperGroup

_USAGE_ERROR = typer.BadParameter.__mro__[1]
"""What the parser raises against a line: typer carries its own copy of click."""
PLACES = {"DATE": "2026-01-31", "FIRST": "2026-01-01", "LAST": "2026-01-31", "SYSTEM": "twin", "STAGE": "forecast"}
"""Words that stand for what is typed in their place."""


def complaint(line: str) -> str | None:
    """What ``goms`` would say against a line that begins with ``goms``; nothing where it takes it."""
    program, *words = shlex.split(line)
    assert program == "goms", line
    name, *arguments = words or [""]
    command = _group().commands.get(name)
    if command is None:
        return f"no command {name!r}"
    try:
        command.make_context(name, [PLACES.get(word, word) for word in arguments])
    except _USAGE_ERROR as error:
        return str(error)
    return None


def named(line: str) -> str:
    """The name of the command in a line."""
    return shlex.split(line)[1]


def commands() -> set[str]:
    """Every command there is."""
    return set(_group().commands)


@cache
def _group() -> TyperGroup:
    from flows.cli import app

    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    return group
