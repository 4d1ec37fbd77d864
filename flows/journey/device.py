"""One forecast at a time on a device: a slot of a limit on Prefect's server, held around the forecast alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.settings import PREFECT_API_URL

from pipeline.errors import UsageError

LEASE_SECONDS = 60.0
"""How long a slot stays taken after its holder's last sign of life: the least that Prefect's server takes."""


@contextmanager
def slot(name: str | None) -> Iterator[None]:
    """Wait for a slot of the limit ``name`` and hold it; nothing where there is no name.

    ``UsageError`` where the server has no such limit. Where the server cannot be reached for longer than a lease, the
    forecast goes on: two on one device are slow, a forecast that is broken off is late.
    """
    with ExitStack() as stack:
        if name:
            try:
                stack.enter_context(
                    concurrency(name, strict=True, lease_duration=LEASE_SECONDS, raise_on_lease_renewal_failure=False)
                )
            except ConcurrencySlotAcquisitionError as error:
                raise _absent(name, error) from error
        yield


def _absent(name: str, error: ConcurrencySlotAcquisitionError) -> UsageError:
    return UsageError(
        f"the concurrency limit {name} that GOMS_DEVICE_SLOT names", found=str(error),
        where=f"Prefect's server {PREFECT_API_URL.value()}",
        action="goms deploy makes it; for a run by hand without that server unset GOMS_DEVICE_SLOT",
    )  # fmt: skip
