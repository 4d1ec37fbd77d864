"""What a flow run's log says on Prefect's page: progress as lines, and a failure as its sentence, no traceback."""

from __future__ import annotations

import logging

from prefect import get_run_logger
from prefect.exceptions import FailedRun
from rich.text import Text

from flows.progress import PROGRESS, Progress
from models.errors import ModelError
from pipeline.errors import GomsError

LOGGERS = ("prefect.flow_runs", "prefect.task_runs")
"""Where Prefect's engine logs what became of runs."""


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
        if isinstance(error, GomsError | ModelError | FailedRun):
            record.msg, record.args, record.exc_info, record.exc_text = str(error), (), None, None
        return True


def begin() -> None:
    """Make the log of the flow run that is going on so; a second time changes nothing."""
    PROGRESS.set(RunLog())
    for name in LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(item, Sentences) for item in logger.filters):
            logger.addFilter(Sentences())
