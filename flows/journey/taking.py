"""Takes in one kind of input for a run: the rung the sensor chose, computed where the machine says."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rich.markup import escape

from flows.journey import sensing
from flows.journey.stages import Run
from flows.progress import Progress, progress
from pipeline import computing, intake
from pipeline.contracts import Gridded
from pipeline.intake import FIRST, Choice
from pipeline.settings import Settings
from pipeline.variables import Kind

ARCHIVES = logging.getLogger("pipeline.sources")
"""Where sources say how far a fetch is, and why they ask again."""


def gridded(run: Run, kind: Kind, choice: Choice = FIRST) -> Gridded:
    """One kind of input on the system's grid, judged by the gate; see ``intake.take_in``."""
    settings = Settings()
    with heard(), computing.on(settings.dask_scheduler, settings.threads):
        return intake.take_in(sensing.asked(run, kind), run.opened, choice)


class _Lines(logging.Handler):
    """What sources say, shown beside the run's stages; it is told from the threads that fetch."""

    def __init__(self, shown: Progress) -> None:
        super().__init__(logging.INFO)
        self.shown = shown

    def emit(self, record: logging.LogRecord) -> None:
        """One line."""
        self.shown.show(f"        {escape(record.getMessage())}")


@contextmanager
def heard() -> Iterator[None]:
    """Within the block a fetch's progress (slabs, bytes, why it is asked again) is shown with the run's."""
    lines, before = _Lines(progress()), ARCHIVES.level
    ARCHIVES.addHandler(lines)
    ARCHIVES.setLevel(logging.INFO)
    try:
        yield
    finally:
        ARCHIVES.removeHandler(lines)
        ARCHIVES.setLevel(before)
