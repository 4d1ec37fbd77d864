"""``goms`` without the seconds of its imports: ``python fork_goms.py MASKS_FOLDER`` forks once for every request.

A request is one line of JSON on stdin: ``arguments``, ``folder``, ``environment``, ``answer`` (a folder for ``out``,
``err`` and ``code``), and the name of a ``point`` at which the process is to be sent the ``signal``, or none. The
reply is the process's number. The process that forks has imported everything, has worked out the climatology that every
run compares its ocean with, and has drawn one map; it has one thread.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import kill_points
import small_goms
from matplotlib.figure import Figure

from pipeline import drawing
from pipeline.earth import climatology
from pipeline.variables import DEPTHS_M, Kind

IMPORTED = (
    "flows.cli", "flows.desk.operations", "flows.journey.daily", "flows.service.server", "pipeline.report",
    "pipeline.objects.bucket",
    "prefect.flow_engine", "prefect.task_engine", "prefect.concurrency.services", "prefect.telemetry.run_telemetry",
    "prefect.utilities.visualization", "anyio._backends._asyncio", "fastapi", "psutil", "rich._emoji_codes",
    "dask.array", "dask.threaded", "dask.multiprocessing", "xarray.computation.nanops", "s3fs", "netCDF4",
    "scipy.fftpack", "cmocean", "matplotlib.backends.backend_agg", "PIL.JpegImagePlugin", "PIL.GifImagePlugin",
)  # fmt: skip
"""What a run imports on its way, at the latest when it needs it."""


def serve() -> None:
    """Fork for every line of stdin."""
    for line in sys.stdin:
        _reap(os.WNOHANG)
        request = json.loads(line)
        reading, writing = os.pipe()
        if os.fork() == 0:
            os.close(reading)
            _watch(request, writing)
        os.close(writing)
        print(os.read(reading, 32).decode(), flush=True)
        os.close(reading)
    _reap()


def _reap(options: int = 0) -> None:
    """Wait for those who wait and have ended, or for all: what they cost is counted with this process."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, options)[0]:
            pass


def _watch(request: dict[str, Any], writing: int) -> None:
    """Fork the process, tell its number, and keep how it ended: what is killed cannot say so itself."""
    process = os.fork()
    if process == 0:
        os.close(writing)
        _run(request)
    os.write(writing, str(process).encode())
    os.close(writing)
    _, status = os.waitpid(process, 0)
    draft = Path(request["answer"], "code.draft")
    draft.write_text(str(os.waitstatus_to_exitcode(status)))
    draft.rename(draft.with_name("code"))
    os._exit(0)


def _made_ready() -> None:
    """What is the same in every run: the season's ocean, which is kept, and the fonts and styles of a map."""
    grid = small_goms.SMALL_SEA.grid
    climatology.fields(Kind.OCEAN, small_goms.START, grid.latitude, grid.longitude, DEPTHS_M)
    figure = Figure()
    drawing.draw_heading(figure, "Fonts", "Loaded once", ())
    figure.add_axes((0.1, 0.1, 0.8, 0.8)).plot((0, 1), (0, 1))
    drawing.png(figure)


def _run(request: dict[str, Any]) -> None:
    for descriptor, name, flags in ((0, "/dev/null", os.O_RDONLY), (1, "out", os.O_WRONLY), (2, "err", os.O_WRONLY)):
        os.dup2(os.open(Path(request["answer"], name), flags | os.O_CREAT, 0o644), descriptor)
    os.chdir(request["folder"])
    os.environ.update(request["environment"])
    sys.argv = ["goms", *request["arguments"]]
    if request["point"]:
        kill_points.arm(kill_points.point(request["point"]), signal.Signals(request["signal"]))
    from flows.cli import main

    code = 1
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:  # nothing of the process that forked may run in this one
        if (error := sys.exception()) is not None and not isinstance(error, SystemExit):
            sys.excepthook(type(error), error, error.__traceback__)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    small_goms.install(Path(sys.argv[1]))
    for name in IMPORTED:
        importlib.import_module(name)
    _made_ready()
    assert threading.active_count() == 1, threading.enumerate()
    gc.freeze()
    print("ready", flush=True)
    serve()
