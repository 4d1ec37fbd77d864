"""One forecast at a time on a device: a slot of a limit on Prefect's server, held around the forecast alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from httpx import HTTPError, TransportError
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.settings import PREFECT_API_URL
from rich.markup import escape

from flows.progress import progress
from pipeline.errors import UsageError

LEASE_SECONDS = 60.0
"""How long a slot stays taken after its holder's last sign of life: the least that Prefect's server takes."""
ASK_AGAIN_SECONDS = 2.0
"""Between two tries to reach a server that is away."""


@contextmanager
def slot(name: str | None) -> Iterator[None]:
    """Wait for a slot of the limit ``name`` and hold it; nothing where there is no name.

    ``UsageError`` where the server has no such limit. Where the server cannot be reached for longer than a lease, the
    forecast goes on: two on one device are slow, a forecast that is broken off is late. A slot that cannot be given
    back is free when its lease has run out.
    """
    held = _taken(name) if name else ExitStack()
    try:
        yield
    finally:
        try:
            held.close()  # apart from the body: what became of the forecast is told, whatever became of the slot
        except HTTPError as error:
            progress().say(
                f"[yellow]the slot of {escape(str(name))} was not given back[/]: {_away(error)}; it is free when its "
                f"lease has run out, in {LEASE_SECONDS:g} s"
            )


def _taken(name: str) -> ExitStack:
    """The slot, or nothing where the server was away for longer than a lease."""
    held, away_since = ExitStack(), None
    while True:
        try:
            held.enter_context(
                concurrency(name, strict=True, lease_duration=LEASE_SECONDS, raise_on_lease_renewal_failure=False)
            )
        except ConcurrencySlotAcquisitionError as error:
            if not isinstance(error.__cause__, TransportError):
                raise _absent(name, error) from error
            away_since = away_since or time.monotonic()
            if time.monotonic() - away_since >= LEASE_SECONDS:
                progress().say(
                    f"[yellow]forecasting without a slot of {escape(name)}[/]: {_away(error.__cause__)} for longer "
                    f"than {LEASE_SECONDS:g} s"
                )
                return held
            time.sleep(ASK_AGAIN_SECONDS)
        else:
            return held


def _away(error: HTTPError) -> str:
    return escape(f"Prefect's server {PREFECT_API_URL.value()} is away ({error or type(error).__name__})")


def _absent(name: str, error: ConcurrencySlotAcquisitionError) -> UsageError:
    return UsageError(
        f"the concurrency limit {name} that GOMS_DEVICE_SLOT names", found=str(error),
        where=f"Prefect's server {PREFECT_API_URL.value()}",
        action="goms deploy makes it; for a run by hand without that server unset GOMS_DEVICE_SLOT",
    )  # fmt: skip
