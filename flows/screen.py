"""What commands print for people: lines as they are, tables as wide as the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

LINE = 120
"""Characters of a table's line where there is no terminal to fit."""


def say(text: str) -> None:
    """Print a line, however long."""
    Console(highlight=False).print(escape(text), soft_wrap=True)


def wide(width: int = LINE) -> Console:
    """Where tables are printed: as wide as the terminal, or as ``width`` where there is none."""
    screen = Console(highlight=False)
    return screen if screen.is_terminal else Console(highlight=False, width=width)
