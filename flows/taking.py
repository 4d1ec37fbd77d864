"""Takes in one kind of input for a run: the rung the sensor chose, computed where the machine says."""

from __future__ import annotations

from flows import sensing
from flows.stages import Run
from pipeline import computing, intake
from pipeline.contracts import Gridded
from pipeline.intake import FIRST, Choice
from pipeline.settings import Settings
from pipeline.variables import Kind


def gridded(run: Run, kind: Kind, choice: Choice = FIRST) -> Gridded:
    """One kind of input on the system's grid, judged by the gate; see ``intake.take_in``."""
    settings = Settings()
    with computing.on(settings.dask_scheduler, settings.threads):
        return intake.take_in(sensing.asked(run, kind), run.opened, choice)
