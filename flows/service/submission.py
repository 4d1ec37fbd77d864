"""Daily runs given to a Prefect server: one per cycle at a time, however often and by whomever they are asked for."""

from __future__ import annotations

from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound

from flows.service.server import admitted
from pipeline.errors import UsageError


@admitted()
def submit(system: str, day: str, parameters: dict[str, Any], tags: tuple[str, ...] = ()) -> FlowRun:
    """The run of a cycle that waits or goes on, made where there is none.

    Its idempotency key is the cycle's; where a run of that key has ended, the key of the next is made from it, so
    that two who submit the same cycle at the same time get the same run.
    """
    with get_client(sync_client=True) as client:
        deployment, key = _deployment(client, system), f"{system} {day} {parameters.get('store')}"
        while True:
            run = client.create_flow_run_from_deployment(
                deployment, parameters={"day": day, **{k: v for k, v in parameters.items() if v is not None}},
                idempotency_key=key, name=f"{system} {day}", tags=[system, *tags],
            )  # fmt: skip
            if run.state is None or not run.state.is_final():
                return run
            key = f"after {run.id}"


@admitted()
def look(run: FlowRun) -> FlowRun:
    """The run as it is now."""
    with get_client(sync_client=True) as client:
        return client.read_flow_run(run.id)


@admitted()
def is_deployed(system: str) -> bool:
    """Whether the server knows the daily deployment of a system."""
    with get_client(sync_client=True) as client:
        try:
            client.read_deployment_by_name(f"daily/daily-{system}")
        except ObjectNotFound:
            return False
        return True


def _deployment(client: SyncPrefectClient, system: str) -> Any:
    name = f"daily/daily-{system}"
    try:
        return client.read_deployment_by_name(name).id
    except ObjectNotFound as error:
        raise UsageError(
            f"the deployment {name}", found="none of this name", where=f"Prefect's server {client.api_url}",
            action=f"bring it there: goms deploy --system {system}",
        ) from error  # fmt: skip
