"""A whole service, as it is run: Prefect's server on PostgreSQL, a worker, S3, schedules; and none of it left after."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import postgres
import prefect_yaml
import pytest
import served
import xarray as xr
import yaml
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from docker.types import DeviceRequest
from prefect import events
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.events.schemas.automations import AutomationCore
from s3_server import BUCKET, S3Server
from served import Up

from flows.service import deployments
from pipeline import cycle, publish, systems
from pipeline.record import journal, lock
from pipeline.record.journal import Event
from pipeline.record.latest import Latest, latest
from pipeline.store import Store

pytestmark = pytest.mark.server

DEPLOY = Path(__file__).parents[1] / "deploy"
CYCLE, NEXT = (cycle.cycle("small-sea", day, 0) for day in ("2023-01-01", "2023-01-02"))
FIELDS = set(AutomationCore.model_fields) - {"owner_resource"}


@pytest.fixture(scope="module")
def database() -> Iterator[str | None]:
    """PostgreSQL where it is installed; else none is named, and the service uses SQLite."""
    programs = postgres.programs()
    if programs is None:
        yield None
        return
    with postgres.serving(programs) as address:
        yield address


@pytest.fixture(scope="module")
def keys(s3_server: S3Server) -> Iterator[S3Server]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment(s3_server.admin).items():
            patch.setenv(name, value)
        patch.delenv("AWS_PROFILE", raising=False)
        yield s3_server


@pytest.fixture(scope="module")
def made_up_for(keys: S3Server) -> Store:
    """The store that the service publishes into of itself."""
    return Store(f"s3://{BUCKET}/{uuid.uuid4().hex}")


@pytest.fixture(scope="module")
def up(
    tmp_path_factory: pytest.TempPathFactory, small_sea: tuple[Path, Path], database: str | None, made_up_for: Store
) -> Iterator[Up]:
    """The service; the tests of this file use it one after the other."""
    folder = tmp_path_factory.mktemp("service") / "machine"
    named = {} if database is None else {"PREFECT_API_DATABASE_CONNECTION_URL": database}
    started = served.start(folder, small_sea[1], made_up_for.uri, "--system", "small-sea", "--system", "late-sea",
                           "--forecaster", "persistence", GOMS_INPUTS=str(small_sea[0]),
                           SMALL_SEA_STOPS=str(folder / "stops"), **named)  # fmt: skip
    yield started
    started.goms("down")
    started.process.wait(served.PATIENCE_SECONDS)
    assert served.marked(folder) == []


def persistence(store: Store, **others: Any) -> dict[str, Any]:
    return {"store": store.uri, "forecaster": "persistence", **others}


def test_the_schedule_fires_and_everyone_reads_what_nobody_else_writes(up: Up, keys: S3Server, tmp_path: Path) -> None:
    """Prefect's own file, for the small sea and with an interval of seconds, until it has fired: for the next day where
    midnight came since the service's own schedule fired."""
    prefix = uuid.uuid4().hex
    store = Store(f"s3://{BUCKET}/{prefix}")
    policy = runpy.run_path(str(DEPLOY / "prepare.py"))["policy"]("public-read", BUCKET, prefix, ("small-sea",))
    client = boto3.client("s3", endpoint_url=keys.endpoint, region_name="us-east-1")
    runpy.run_path(str(DEPLOY / "bucket.py"))["open_to_readers"](client, BUCKET, json.dumps(policy))
    content = yaml.safe_load((DEPLOY / "prefect.yaml").read_text())
    daily = next(item for item in content["deployments"] if item["name"] == "daily-twin")
    daily |= {"name": "daily-soon", "parameters": persistence(store, system="small-sea"),
              "schedules": [{"interval": 20, "timezone": "UTC"}]}  # fmt: skip
    (tmp_path / "prefect.yaml").write_text(yaml.safe_dump(content | {"deployments": [daily]}))
    deployed = up.prefect("--no-prompt", "deploy", "--all", "--prefect-file", tmp_path / "prefect.yaml")
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    up.waits(lambda: lock.holder(store, CYCLE) or lock.holder(store, NEXT))
    with up.client as prefect:
        soon = prefect.read_deployment_by_name("daily/daily-soon").id
        prefect.pause_deployment(soon)
        runs = prefect.read_flow_runs(deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[soon])))
    newest = up.waits(lambda: latest(store, "small-sea"))
    meant = {CYCLE.start + timedelta(days=(run.expected_start_time.date() - up.fired.date()).days)
             for run in runs if run.start_time and run.expected_start_time}  # fmt: skip
    assert newest.start.start in meant
    _anyone_reads(keys, store, newest)
    _nobody_writes(keys, prefix, newest.cycle)


def _anyone_reads(keys: S3Server, store: Store, newest: Latest) -> None:
    options = {"anon": True, "endpoint_url": keys.endpoint}
    with xr.open_zarr(store.address(f"{newest.prefix}/ocean.zarr"), storage_options=options, chunks=None) as ocean:
        assert str(ocean["forecast_reference_time"].values)[:10] == f"{newest.start.start:%Y-%m-%d}"
        assert float(ocean["to"].isel(time=6).max()) == pytest.approx(24.5, abs=1.5)  # 22 + 5 * plane, see the files


def _nobody_writes(keys: S3Server, prefix: str, made: str) -> None:
    anyone = boto3.client("s3", endpoint_url=keys.endpoint, region_name="us-east-1",
                          config=Config(signature_version=UNSIGNED))  # fmt: skip
    assert anyone.get_object(Bucket=BUCKET, Key=f"{prefix}/small-sea/latest.json")["ContentLength"] > 0
    for refused in (
        lambda: anyone.put_object(Bucket=BUCKET, Key=f"{prefix}/small-sea/latest.json", Body=b"{}"),
        lambda: anyone.put_object(Bucket=BUCKET, Key=f"{prefix}/small-sea/cycles/{made}/r1/new", Body=b""),
        lambda: anyone.delete_object(Bucket=BUCKET, Key=f"{prefix}/small-sea/latest.json"),
        lambda: anyone.get_object(Bucket=BUCKET, Key=f"{prefix}/small-sea/runs/{made}/journal.json"),
    ):
        with pytest.raises(ClientError, match=r"AccessDenied|Forbidden|403"):
            refused()


def test_what_failed_says_why_and_retry_goes_on_after_what_was_done(
    up: Up, folder_store: Store, small_sea: tuple[Path, Path], tmp_path: Path
) -> None:
    """The atmosphere is not there: the ocean was taken in before. Then it comes, and Retry is pressed."""
    inputs = Path(shutil.copytree(small_sea[0], tmp_path / "inputs"))
    atmosphere = (inputs / "era5_atmosphere.nc").rename(tmp_path / "era5_atmosphere.nc")
    run = up.fire("daily/daily-small-sea", **persistence(folder_store, day="2023-01-01", inputs=str(inputs)))
    failed = up.ended(run)
    assert (failed.name, str(failed.message).partition(" ")[0]) == ("Failed", "needed"), failed
    assert "Traceback" not in str(failed.message)
    with up.client as client:
        shown = client.read_flow_run(run.id)
    assert (shown.name, "20230101T00" in shown.tags) == ("small-sea 2023-01-01", True)
    page = artifact(up, run, "failure-small-sea-20230101t00")
    assert str(failed.message) in page
    assert "goms run 2023-01-01 --system small-sea" in page
    atmosphere.rename(inputs / "era5_atmosphere.nc")
    assert up.prefect("flow-run", "retry", run.id).returncode == 0
    again = up.ended(run, after=failed)
    assert (again.name, str(again.message)) == ("Completed", "published r1: ocean, waves"), again
    reused = [note.stage for note in journal.read(folder_store, CYCLE) if note.event is Event.REUSED]
    assert reused == ["ocean"]
    page = artifact(up, run, "stages-small-sea-20230101t00")
    assert "| ocean | reused |" in page
    assert "| forecast | done |" in page
    assert "![quicklooks/ocean_to.png](data:image/png;base64," in page


def artifact(up: Up, run: Any, key: str) -> str:
    """The data of the newest artifact of a key that a run made."""
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey

    with up.client as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(
            key=ArtifactFilterKey(any_=[key]), flow_run_id=ArtifactFilterFlowRunId(any_=[run.id])))  # fmt: skip
    return str(found[-1].data)


def test_a_cycle_that_was_missed_while_no_service_was_up_is_made(up: Up, made_up_for: Store) -> None:
    assert "small-sea         runs now for the start 2023-01-01" in up.said()
    assert up.waits(lambda: latest(made_up_for, "small-sea")).cycle == "20230101T00"


def test_a_late_run_of_an_old_cycle_is_skipped_with_a_word(up: Up, made_up_for: Store) -> None:
    assert "late-sea          runs now" not in up.said()
    state = up.ended(up.fire("daily/daily-late-sea"))
    assert (state.type.value, state.name) == ("COMPLETED", "Skipped")
    assert "more than the 72 h after which the schedule makes it no more" in str(state.message)
    (note,) = journal.read(made_up_for, cycle.cycle("late-sea", "2023-01-01", 0))
    assert (note.event, note.words) == (Event.SKIPPED, state.message)


def test_a_cycle_that_an_operator_holds_is_not_failed(up: Up, folder_store: Store) -> None:
    held = up.goms("hold", "2023-01-01", "--system", "small-sea", "--store", folder_store.uri, "--reason", "new files")
    assert held.returncode == 0, held.stderr
    state = up.ended(up.fire("daily/daily-small-sea", **persistence(folder_store)))
    assert (state.type.value, state.name) == ("COMPLETED", "Held")
    assert "new files" in str(state.message)


def test_a_backfill_goes_through_the_work_pool_where_one_serves(
    up: Up, folder_store: Store, small_sea: tuple[Path, Path]
) -> None:
    """Of two days the second has no files: exit 3, and the other is published by the service's worker."""
    words = ("backfill", "2023-01-02", "2023-01-03", "--system", "small-sea", "--store", folder_store.uri,
             "--forecaster", "persistence", "--inputs", small_sea[0], "--workers", "2")  # fmt: skip
    filled = up.goms(*words)
    assert filled.returncode == 3, filled.stderr
    assert "2 cycles to run on the work pool, 0 not" in filled.stderr
    second, third = (CYCLE._replace(start=CYCLE.start + timedelta(days=day)) for day in (1, 2))
    assert (publish.published(folder_store, second), publish.published(folder_store, third)) == (1, None)
    with up.client as client:
        tags = [run.tags for run in client.read_flow_runs() if run.name == "small-sea 2023-01-02"]
    assert any("backfill" in found for found in tags)


def test_a_run_whose_machine_is_lost_ends_and_its_device_is_free(up: Up, folder_store: Store) -> None:
    """Worker and run die together amid the forecast: nobody is left to say so. Then Retry is pressed."""
    stops = Path(up.environment["SMALL_SEA_STOPS"])
    stops.write_text("forecast: mid-rollout, day 4")
    run = up.fire("daily/daily-small-sea", **persistence(folder_store))
    stopped = up.waits(lambda: [process for process in served.marked(up.folder) if is_stopped(process)] or None)
    stops.unlink()
    assert slots_taken(up) == 1
    lost = [process for process in served.marked(up.folder) if is_of_the_worker(process)]
    for process in (*lost, *stopped):
        os.kill(process, signal.SIGKILL)
    with up.client as client:
        assert client.read_flow_run(run.id).state_name == "Running"
    let_zombies_end_after(up, timedelta(seconds=1.5 * deployments.HEARTBEAT_SECONDS))  # from its next sign on
    last_sign_of_life(up, run)
    crashed = up.ended(run)
    assert (crashed.name, "no sign of life for" in str(crashed.message)) == ("Crashed", True), crashed
    let_zombies_end_after(up, QUIET)
    up.waits(lambda: slots_taken(up) == 0 or None)
    assert up.prefect("flow-run", "retry", run.id).returncode == 0
    again = up.ended(run, after=crashed)
    assert (again.name, str(again.message)) == ("Completed", "published r1: ocean, waves"), again
    reused = [note.stage for note in journal.read(folder_store, CYCLE) if note.event is Event.REUSED]
    assert reused == ["ocean", "surface", "waves", "initialise"]


QUIET = timedelta(seconds=deployments.BEATS_MISSED * deployments.HEARTBEAT_SECONDS)


def let_zombies_end_after(up: Up, quiet: timedelta) -> None:
    """Another patience of the automation that ends them, which is the signs of life of two and a half minutes."""
    with up.client as client:
        (there,) = client.read_automations_by_name(deployments.ZOMBIES)
        if quiet != QUIET:
            assert there.trigger.within == QUIET
        there.trigger.within = quiet
        client.update_automation(there.id, AutomationCore.model_validate(there.model_dump(include=FIELDS)))


def last_sign_of_life(up: Up, run: FlowRun) -> None:
    """The one that was still under way when the run was lost."""
    sign = events.Event(event="prefect.flow-run.heartbeat",
                        resource=events.Resource({"prefect.resource.id": f"prefect.flow-run.{run.id}"}))  # fmt: skip
    with up.client as client:
        client._client.post("/events", json=[sign.model_dump(mode="json")]).raise_for_status()


def slots_taken(up: Up) -> int:
    with up.client as client:
        return client.read_global_concurrency_limit_by_name(deployments.DEVICE_SLOT).active_slots


def is_stopped(process: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    return False


def is_of_the_worker(process: int) -> bool:
    """Whether it is the worker, or a flow run that it started."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return b"\0server\0" not in Path(f"/proc/{process}/cmdline").read_bytes()
    return False


def test_a_second_service_of_this_machine_is_refused(up: Up) -> None:
    second = up.goms("up", "--port", up.port + 1)
    assert second.returncode == 2
    assert f"found process {up.process.pid} serving {up.api}" in second.stderr


def test_a_service_that_was_killed_leaves_nothing_that_hinders_the_next(up: Up, request: pytest.FixtureRequest) -> None:
    """The last test of this service: its end. Server and worker die with it; the next one is on SQLite, and ended."""
    up.kill()
    inputs = os.path.relpath(up.environment["GOMS_INPUTS"], up.folder)
    again = served.start(up.folder, Path(up.environment["SMALL_SEA_MASKS"]), "here", "--system", "small-sea",
                         "--forecaster", "persistence", GOMS_INPUTS=inputs)  # fmt: skip
    request.addfinalizer(again.kill)
    patience = time.monotonic() + served.PATIENCE_SECONDS
    while len(served.marked(up.folder)) < 2:  # its server, and then its worker
        assert again.process.poll() is None
        assert time.monotonic() < patience
        time.sleep(0.1)
    with again.client as client:
        (first,) = [run for run in client.read_flow_runs() if "missed" in run.tags]
    assert again.ended(first).name == "Completed"
    assert again.ended(again.fire("daily/daily-small-sea", day="2023-01-02")).name == "Completed"
    assert Store(up.folder / "here").exists("small-sea/latest.json"), "a place by half its path is where it was typed"
    down = again.goms("down")
    assert (down.returncode, down.stdout) == (0, "the service has ended\n"), down.stderr
    assert again.process.wait(served.PATIENCE_SECONDS) == 0
    assert served.marked(up.folder) == []
    assert again.goms("down").stdout == "no service was running\n"


def test_prefects_file_is_what_the_code_deploys() -> None:
    """After a change: ``python -m tests.prefect_yaml``."""
    assert prefect_yaml.PATH.read_text() == prefect_yaml.text()


@pytest.mark.parametrize("entry", deployments.scheduled_systems(), ids=lambda entry: entry.name)
def test_each_systems_cron_is_its_schedules(entry: systems.System) -> None:
    content = yaml.safe_load(prefect_yaml.PATH.read_text())
    (daily,) = [item for item in content["deployments"] if item["name"] == f"daily-{entry.name}"]
    assert entry.schedule is not None
    assert [(item["cron"], item["timezone"]) for item in daily["schedules"]] == [(entry.schedule.cron, "UTC")]
    assert entry.schedule.reason in daily["description"]
    assert daily["parameters"] == {"system": entry.name}


@pytest.mark.parametrize("pool", deployments.POOLS.values(), ids=lambda pool: pool.kind)
def test_a_forecast_asks_its_work_pool_for_what_the_pool_can_give(pool: deployments.Pool) -> None:
    template = deployments.job_template(pool, "goms:1")
    variables = template["variables"]["properties"]
    forecasting = [item for item in deployments.deployments(deployments.scheduled_systems()) if item.forecasts]
    assert forecasting
    assert all(set(item.job_variables(pool)) <= set(variables) for item in forecasting)
    assert all(f'"{{{{ {name} }}}}"' in json.dumps(template["job_configuration"])
               for item in forecasting for name in item.job_variables(pool))  # fmt: skip
    if pool.kind == "docker":
        (asked,) = forecasting[0].job_variables(pool)["container_create_kwargs"]["device_requests"]
        assert DeviceRequest(**asked)["Capabilities"] == [["gpu"]]
    if pool.kind == "kubernetes":
        text = json.dumps(template["job_configuration"]["job_manifest"])
        assert '"nvidia.com/gpu": "{{ gpus }}"' in text
        assert forecasting[0].job_variables(pool) == {"gpus": 1, "env": {"GOMS_DEVICE": "cuda"}}
        assert variables["image"]["default"] == "goms:1"
