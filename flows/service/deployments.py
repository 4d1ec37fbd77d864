"""What Prefect runs for the service, when and where: deployments, work pools, the device's slot, the end of zombies.

``deploy/prefect.yaml`` is written from this (``python -m tests.prefect_yaml``), and ``goms deploy`` and ``goms up``
bring it to a server themselves.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import timedelta
from importlib import resources
from typing import Any, NamedTuple

from pipeline import systems
from pipeline.errors import UsageError
from pipeline.systems import System

DEVICE_SLOT = "goms-device"
"""The global concurrency limit of one slot that runs take around the forecast where ``GOMS_DEVICE_SLOT`` names it."""
HEARTBEAT_SECONDS = 30
"""Seconds between a flow run's signs of life to the server: the least that Prefect takes."""
BEATS_MISSED = 5
"""Signs of life that a run may miss in a row before it is taken for dead: a server that was busy for two minutes is no
death of its runs."""
TRIES_MORE = 4
"""How often a step of a scheduled run is tried again where its error may pass: nobody waits for its answer."""
SKIPPED, HELD, DEGRADED, ALARM = "Skipped", "Held", "Degraded", "Alarm"
"""Names of the endings that are Completed and yet not plainly so: too late to be made, somebody else is at it or an
operator holds it, published with something missing, trouble seen by the watch."""
ENDINGS = ("Completed", "Failed", "Cancelled", "Crashed", "AwaitingRetry", SKIPPED, HELD, DEGRADED, ALARM)
"""After these a run gives no sign of life, and need not."""
ZOMBIES = "goms: end runs that give no sign of life"
"""Name of the automation."""
FORECASTS_ON = {"GOMS_DEVICE": "cuda"}
"""What a run that is given a GPU has in its environment: without it the model runs on the processor beside it."""


class Pool(NamedTuple):
    """A kind of work pool: the package that describes it, and the job variables of a deployment that forecasts."""

    kind: str
    package: str
    device: dict[str, Any]


POOLS: dict[str, Pool] = {
    "process": Pool("process", "prefect", {}),
    "docker": Pool("docker", "prefect-docker", {"env": FORECASTS_ON, "container_create_kwargs": {
        "device_requests": [{"driver": "nvidia", "count": 1, "capabilities": [["gpu"]]}]}}),
    "kubernetes": Pool("kubernetes", "prefect-kubernetes", {"gpus": 1, "env": FORECASTS_ON}),
}  # fmt: skip
"""The work pools, by the name they have on the server."""


class Deployed(NamedTuple):
    """One deployment. ``cron`` is UTC.

    ``takes_forecaster``: it has that parameter. ``forecasts``: it runs a model itself, and is given the accelerator
    where the work pool has one. ``alone``: a run is cancelled that comes while another of it goes on.
    """

    name: str
    entrypoint: str
    description: str
    parameters: dict[str, Any]
    tags: tuple[str, ...]
    cron: str | None = None
    takes_forecaster: bool = False
    forecasts: bool = False
    alone: bool = False

    def with_parameters(self, **others: Any) -> Deployed:
        """The same with some parameters more."""
        return self._replace(parameters={**self.parameters, **others})

    def job_variables(self, pool: Pool) -> dict[str, Any]:
        """What this deployment asks of a work pool."""
        return dict(pool.device) if self.forecasts else {}


def scheduled_systems() -> tuple[System, ...]:
    """The systems that are made every day: those with a schedule and a model; others are deployed where named."""
    return tuple(entry for entry in systems.SYSTEMS if entry.schedule is not None and entry.checkpoint is not None)


def deployments(wanted: Iterable[System]) -> tuple[Deployed, ...]:
    """Everything that is deployed for some systems; what is for the whole store comes once."""
    each = [made for entry in wanted for made in (daily(entry), verification(entry), backfill(entry))]
    return (*each, *OF_THE_STORE)


def daily(system: System) -> Deployed:
    """The daily run of a system; without a schedule it is fired by hand."""
    schedule = system.schedule
    when = "Fired by hand: the system has no schedule." if schedule is None else (
        f"Fires at {schedule.cron} (UTC) for the cycle of {schedule.days_back} days before: {schedule.reason}. "
        f"Published by {schedule.publish_by_hours:g} h after the cycle's start; "
        f"not made any more after {schedule.skip_after_hours:g} h."
    )  # fmt: skip
    return Deployed(
        f"daily-{system.name}", "flows.service.scheduled.daily",
        f"{system.title}: forecast, check, publish. {when}", {"system": system.name}, (system.name, "daily"),
        None if schedule is None else schedule.cron, takes_forecaster=True, forecasts=True,
    )  # fmt: skip


def verification(system: System) -> Deployed:
    """The daily scoring of a system's published forecasts."""
    return Deployed(
        f"verification-{system.name}", "flows.service.scheduled.verification",
        f"{system.title}: scores every lead day of the published forecasts that has a truth since. Fires at "
        f"{VERIFICATION_CRON} (UTC): hours after the daily run, so that the two do not share the machine.",
        {"system": system.name}, (system.name, "verification"),
        VERIFICATION_CRON if system.schedule is not None else None, alone=True,
    )  # fmt: skip


def backfill(system: System) -> Deployed:
    """Many days of a system, fired by hand. Its run computes nothing: the daily runs that it submits do."""
    return Deployed(
        f"backfill-{system.name}", "flows.service.scheduled.backfill",
        f"{system.title}: every day from FIRST to LAST that is not published, through the daily deployment. "
        "No schedule; the same as goms backfill.", {"system": system.name}, (system.name, "backfill"),
        takes_forecaster=True,
    )  # fmt: skip


VERIFICATION_CRON = "47 9 * * *"
OF_THE_STORE = (
    Deployed(
        "housekeeping", "flows.service.housekeeping.housekeeping",
        "Removes what every system's retention says is past its time, and what dead runs left. Fires at 27 3 * * * "
        "(UTC): before the day's first run, when nothing is being made.",
        {"apply": True}, ("housekeeping",), "27 3 * * *", alone=True,
    ),
    Deployed(
        "watch", "flows.service.lookout.watch",
        "Looks at every system's freshness, writes status.json and alerts before a deadline is missed. Fires every "
        "quarter of an hour. It needs Prefect, and where the store is lost it fails and tells nobody: goms watch, run "
        "by the machine's own timer, needs no Prefect and tells that too.",
        {}, ("watch",), "*/15 * * * *", alone=True,
    ),
)  # fmt: skip
"""What is deployed once for the whole store."""


def pool_of(name: str) -> Pool:
    """The work pool of this name; ``UsageError`` lists what there is."""
    if name not in POOLS:
        raise UsageError("a work pool", found=repr(name), where="--pool", action=f"one of {', '.join(POOLS)}")
    return POOLS[name]


def job_template(pool: Pool, image: str | None = None) -> dict[str, Any]:
    """A work pool's template of jobs: Prefect's own, with the service's image and, on Kubernetes, accelerators."""
    text = resources.files("prefect.server.api.collections_data").joinpath("views/aggregate-worker-metadata.json")
    template = json.loads(text.read_text())[pool.package][pool.kind]["default_base_job_configuration"]
    variables = template["variables"]["properties"]
    if image is not None and "image" in variables:
        variables["image"]["default"] = image
    if pool.kind == "docker":  # its worker takes them, and the list that comes with Prefect's server lacks them
        variables["container_create_kwargs"] = {
            "title": "Container Configuration", "description": "Further arguments of docker-py's container creation.",
            "type": "object",
        }  # fmt: skip
        template["job_configuration"]["container_create_kwargs"] = "{{ container_create_kwargs }}"
    if pool.kind == "kubernetes":
        variables["gpus"] = {
            "title": "GPUs", "description": "NVIDIA GPUs that the job is given for itself.", "type": "integer",
            "default": 0,
        }  # fmt: skip
        container = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]["containers"][0]
        container["resources"]["limits"]["nvidia.com/gpu"] = "{{ gpus }}"
    return dict(template)


def apply(wanted: Sequence[Deployed], pool_name: str = "process", image: str | None = None) -> dict[str, Any]:
    """Bring deployments, their work pool, the device's slot and the automation to the server; their ids by name.

    What is there is brought up to date. Runs that were scheduled and not begun are scheduled anew.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate

    pool = pool_of(pool_name)
    with get_client(sync_client=True) as client:
        made = WorkPoolCreate(name=pool_name, type=pool.kind, base_job_template=job_template(pool, image),
                              description=f"Where goms runs its flows ({pool.kind}).")  # fmt: skip
        client.create_work_pool(made, overwrite=True)
        client.upsert_global_concurrency_limit_by_name(DEVICE_SLOT, 1)
        _end_zombies(client)
        return {item.name: _deploy(client, item, pool_name) for item in wanted}


def _deploy(client: Any, item: Deployed, pool_name: str) -> Any:
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
    from prefect.client.schemas.schedules import CronSchedule
    from prefect.flows import load_flow_from_entrypoint
    from prefect.utilities.callables import parameter_schema

    from flows.journey.stages import code_version

    flow: Any = load_flow_from_entrypoint(item.entrypoint)
    schedules = [] if item.cron is None else [
        DeploymentScheduleCreate(schedule=CronSchedule(cron=item.cron, timezone="UTC"), slug="daily", active=True)
    ]  # fmt: skip
    one = {"concurrency_limit": 1, "concurrency_options": ConcurrencyOptions(
        collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)} if item.alone else {}  # fmt: skip
    return client.create_deployment(
        client.create_flow_from_name(flow.name), item.name, version=code_version(), schedules=schedules,
        parameters=item.parameters, description=item.description, work_pool_name=pool_name, tags=list(item.tags),
        entrypoint=item.entrypoint, pull_steps=[], job_variables=item.job_variables(POOLS[pool_name]),
        parameter_openapi_schema=parameter_schema(flow).model_dump_for_openapi(), enforce_parameter_schema=True, **one,
    )  # fmt: skip


def _end_zombies(client: Any) -> None:
    """An automation that declares a run crashed whose heartbeat has stopped: its machine or its process is gone."""
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification

    beat, silence = "prefect.flow-run.heartbeat", timedelta(seconds=BEATS_MISSED * HEARTBEAT_SECONDS)
    begun = {"prefect.flow-run.Running", "prefect.flow-run.Retrying"}  # one killed right then gave no sign at all
    ends = {f"prefect.flow-run.{name}" for name in ENDINGS}
    automation = AutomationCore(
        name=ZOMBIES,
        description="A run whose process or machine is gone stays Running for ever otherwise, with its slots.",
        trigger=EventTrigger(
            after={beat, *begun}, expect={beat, *ends}, for_each={"prefect.resource.id"}, posture=Posture.Proactive,
            threshold=1, within=silence, match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
        ),
        actions=[ChangeFlowRunState(
            state=StateType.CRASHED,
            message=f"no sign of life for {silence.total_seconds():g} s: its process or machine is gone; "
                    "Retry goes on after the last finished stage",
        )],
    )  # fmt: skip
    there = client.read_automations_by_name(ZOMBIES)
    if there:
        client.update_automation(there[0].id, automation)
    else:
        client.create_automation(automation)
