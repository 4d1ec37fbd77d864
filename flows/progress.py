"""What an operator sees of a run: stages, lead days, bytes, seconds. Bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.text import Text

from flows import logs

Advance = Callable[[int], None]
"""Told how far a stage is: the number of steps done."""

PLAIN_STEPS = 5
"""Steps between two lines where there is no terminal: a log wants a sign of life, not thirty lines."""


class Progress:
    """Stages as they run, for people on stderr (stdout is kept for the answer), and as lines of the log."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)

    def show(self, text: str) -> None:
        """One line for people; none where stderr is for machines."""
        if not logs.as_json():
            self.console.print(text, soft_wrap=True)

    def say(self, text: str) -> None:
        """One line, for people and in the log."""
        self.show(text)
        logs.event(Text.from_markup(text).plain)

    def done(self, title: str, seconds: float, size_bytes: int) -> None:
        """A stage has ended."""
        self.show(f"[green]done[/]    {title:<28} {seconds:7.1f} s  {readable(size_bytes):>10}")
        logs.event(f"done: {title}", seconds=round(seconds, 3), bytes=size_bytes)

    def reused(self, title: str, size_bytes: int) -> None:
        """A stage was done by an earlier run, from the same inputs."""
        self.show(f"[cyan]reused[/]  {title:<28} {'':>9}  {readable(size_bytes):>10}")
        logs.event(f"reused: {title}", bytes=size_bytes)

    @contextmanager
    def stage(self, title: str, steps: int | None = None) -> Iterator[Advance]:
        """Show a stage while it runs; ``steps``: how many it has, where that is known."""
        logs.event(f"begun: {title}")
        if not self.console.is_terminal or logs.as_json():
            yield self._lines(title, steps)
            return
        columns = (SpinnerColumn(), TextColumn("{task.description}"))
        counted = (BarColumn(), MofNCompleteColumn()) if steps else ()
        with Bars(*columns, *counted, TimeElapsedColumn(), console=self.console, transient=True) as bars:
            task = bars.add_task(title, total=steps)
            yield lambda step: bars.update(task, completed=step)

    def _lines(self, title: str, steps: int | None) -> Advance:
        start = time.monotonic()

        def advance(step: int) -> None:
            if step and step % PLAIN_STEPS == 0 and step != steps:
                seconds = time.monotonic() - start
                self.show(f"        {title}: {step} of {steps}, {seconds:.0f} s")
                logs.event(f"{title}: {step} of {steps}", seconds=round(seconds, 3))

        return advance


def readable(size_bytes: int) -> str:
    """``12.3 MB``: bytes for people, decimal."""
    size, unit = float(size_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


PROGRESS: ContextVar[Progress | None] = ContextVar("progress", default=None)
"""Where the run that is going on is shown."""


def progress() -> Progress:
    """Where the run that is going on is shown: plain lines unless somebody set something else."""
    return PROGRESS.get() or Progress()


def left_out(where: str) -> Callable[[str], None]:
    """Says which editions are left out of what is made from the manifests, and why."""
    return lambda words: progress().say(f"[yellow]left out of {where}[/]: {escape(words)}")
