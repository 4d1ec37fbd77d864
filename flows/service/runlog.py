"""What a flow run's log says on Prefect's page: progress as lines, and a failure as its sentence, no traceback.

A fault of the service itself is there with its traceback, and in the scratch folder's ``tracebacks.log`` as well.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from prefect import get_run_logger, runtime
from prefect.exceptions import FailedRun
from rich.text import Text

from flows.progress import PROGRESS, Progress
from flows.sentences import record
from models.errors import ModelError
from pipeline.errors import GomsError

LOGGERS = ("prefect.flow_runs", "prefect.task_runs")
"""Where Prefect's engine logs what became of runs."""
KNOWN = GomsError | ModelError | FailedRun
"""Failures that are a sentence."""


class RunLog(Progress):
    """Progress as lines of the flow run's log, where the person on call reads them."""

    def show(self, text: str) -> None:
        """One line, without its colours."""
        get_run_logger().info(Text.from_markup(text).plain)


class Sentences(logging.Filter):
    """Puts the sentence of an error that the service knows in the place of Prefect's words and the traceback.

    ``FailedRun`` is what the engine raises after a flow has said itself that it failed, and with what sentence.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, KNOWN):
            record.msg, record.args, record.exc_info, record.exc_text = str(error), (), None, None
        return True


def begin() -> None:
    """Make the log of the flow run that is going on so; a second time changes nothing."""
    PROGRESS.set(RunLog())
    for name in LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(item, Sentences) for item in logger.filters):
            logger.addFilter(Sentences())


@contextmanager
def faults_kept() -> Iterator[None]:
    """Around every flow that a deployment runs: an error that is no sentence is recorded, as a command's is."""
    try:
        yield
    finally:
        error = sys.exception()
        if isinstance(error, Exception) and not isinstance(error, KNOWN):
            run = runtime.flow_run
            try:
                record("".join(traceback.format_exception(error)), f"flow run {run.flow_name} {run.name} {run.id}")
            except OSError as fault:  # a full scratch disk hides no fault: Prefect's log has it
                logging.getLogger("prefect.flow_runs").warning("its traceback cannot be recorded: %s", fault)
