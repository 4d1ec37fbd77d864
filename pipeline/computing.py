"""Where dask computes: on the run's own threads, or on the workers of a scheduler at an address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dask

from pipeline.errors import UsageError

CONNECT_SECONDS = 30
"""How long a scheduler may take to answer at first."""


@contextmanager
def on(scheduler: str | None, threads: int) -> Iterator[None]:
    """Compute on so many threads, or on a scheduler's workers, which must see the same files and have this code.

    So many levels of a native input are in memory at a time: about half a GB each at 1/12 degree.
    """
    if scheduler is None:
        with dask.config.set(scheduler="threads", num_workers=threads):
            yield
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError(
            "dask's distributed to reach a scheduler", found="none installed", where=f"GOMS_DASK_SCHEDULER={scheduler}",
            action="install it: pip install 'goms[cluster]'",
        ) from error  # fmt: skip
    try:
        client = Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=True)  # type: ignore[no-untyped-call]
    except OSError as error:
        raise UsageError(
            "a dask scheduler", found="no answer", where=f"GOMS_DASK_SCHEDULER={scheduler}",
            action="start it, or unset the variable to compute here",
        ) from error  # fmt: skip
    with client:
        yield
