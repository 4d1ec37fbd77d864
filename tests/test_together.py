"""The services of ``deploy/compose.yaml`` run together, without containers, and one cycle is published through them."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import composed
import debian
import postgres
import pytest
import small_goms
import xarray as xr
from composed import DEPLOY, Machine, waits

pytestmark = pytest.mark.server

SERVICES = ("deploy", "worker", "watch", "metrics")
CYCLE = "small-sea/cycles/20230101T00/r1"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, small_sea: tuple[Path, Path]) -> Machine:
    """The profile ``production`` where PostgreSQL and Redis are installed, else ``laptop``; with secrets of its own."""
    inputs, masks = small_sea
    programs = postgres.programs() is not None and (shutil.which("redis-server") or _needed_where_all_must_run())
    here = Path(__file__).parent
    made = composed.machine(
        tmp_path_factory.mktemp("together"), "production" if programs else "laptop",
        PYTHONPATH=f"{here / 'small_site'}:{here}:{here.parent}", SMALL_SEA_MASKS=str(masks),
        SMALL_SEA_FIRED=small_goms.fired(), GOMS_INPUTS=str(inputs), OMP_NUM_THREADS="1",
        PREFECT_WORKER_QUERY_SECONDS="1", AWS_CONFIG_FILE="/dev/null",
    )  # fmt: skip
    (made.folder / "deploy").symlink_to(DEPLOY)  # as it lies in the image
    prepare = [sys.executable, DEPLOY / "prepare.py", "--systems", "small-sea", "--out", made.secrets]
    subprocess.run(prepare, check=True, capture_output=True)
    redis = made.secrets / "redis_url"
    redis.write_text(redis.read_text().replace("@redis:6379", f"@127.0.0.1:{made.ports['redis']}"))
    return made


def _needed_where_all_must_run() -> str | None:
    try:
        return debian.program("redis-server", "redis-server")
    except pytest.skip.Exception:
        return None


@pytest.fixture(scope="module")
def together(place: Machine) -> Iterator[Machine]:
    """Every service of the profile, in the order that it asks for."""
    with ExitStack() as stack:
        servers = ["prefect-laptop"]
        if place.profile == "production":
            programs = postgres.programs()
            assert programs is not None
            (place.secrets / "database_url").write_text(stack.enter_context(postgres.serving(programs)))
            stack.enter_context(composed.started(place, "redis"))
            servers = ["prefect", "prefect-services"]
        begun = stack.enter_context(composed.started(place, "s3", "bucket", *servers))
        assert begun["bucket"].wait(composed.PATIENCE_SECONDS) == 0, place.log("bucket")
        begun |= stack.enter_context(composed.started(place, *SERVICES))
        assert begun["deploy"].wait(composed.PATIENCE_SECONDS) == 0, place.log("deploy")
        yield place


def ask(place: Machine, path: str, body: Any = None, password: str | None = None) -> Any:
    """Prefect's answer to a request with the installation's password, or another."""
    secret = (place.secrets / "prefect_auth").read_text() if password is None else password
    request = urllib.request.Request(
        f"http://127.0.0.1:{place.ports['prefect']}/api/{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": "Basic " + base64.b64encode(secret.encode()).decode(),
                 "Content-Type": "application/json"},
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def answered(place: Machine, path: str) -> Any:
    """The answer, or nothing where there is none this time: the server is busy, or not there yet."""
    try:
        return ask(place, path)
    except OSError:
        return None


def asked_until(place: Machine, path: str, *names: str) -> Any:
    """The answer as soon as there is one."""
    return waits(lambda: answered(place, path), place, *names)


def object_at(place: Machine, path: str) -> bytes | None:
    """What anyone reads at a path of the store, or nothing."""
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{place.ports['s3']}/forecasts/goms/{path}", timeout=30
        ) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        if error.code in (403, 404):
            return None
        raise


@pytest.fixture(scope="module")
def published(together: Machine) -> Machine:
    """After a run of the daily deployment that was asked for through Prefect's API and made by the worker."""
    server = "prefect" if together.profile == "production" else "prefect-laptop"
    found = asked_until(together, "deployments/name/daily/daily-small-sea", server, "deploy")
    due = {"type": "SCHEDULED", "state_details": {"scheduled_time": together.extra["SMALL_SEA_FIRED"]}}
    wanted = {"parameters": {"forecaster": "persistence"}, "state": due}
    run = ask(together, f"deployments/{found['id']}/create_flow_run", wanted)

    def ended() -> str | None:
        state = (answered(together, f"flow_runs/{run['id']}") or {"state": {"type": None}})["state"]
        return state["type"] if state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None

    assert waits(ended, together, "worker", server) == "COMPLETED", together.log("worker")[-5000:]
    return together


def test_a_cycle_is_published_and_anyone_reads_it(published: Machine) -> None:
    latest = json.loads(object_at(published, "small-sea/latest.json") or b"{}")
    assert latest["prefix"] == CYCLE
    endpoint = f"http://127.0.0.1:{published.ports['s3']}"
    with xr.open_zarr(f"s3://forecasts/goms/{CYCLE}/ocean.zarr", chunks=None,
                      storage_options={"anon": True, "endpoint_url": endpoint}) as ocean:  # fmt: skip
        assert bool(ocean["to"].isel(depth=0).notnull().any("time").any())


def test_nobody_else_reads_its_private_state(published: Machine) -> None:
    assert object_at(published, "small-sea/runs/20230101T00/journal.json") is None
    assert object_at(published, "small-sea/runs/watch.json") is None


def test_prefect_answers_nobody_without_the_password(published: Machine) -> None:
    assert ask(published, "flow_runs/count", {}) >= 1
    for password in ("", "goms:guess"):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            ask(published, "flow_runs/count", {}, password)


def test_what_the_runbook_types_in_a_container_is_known_to_prefect(published: Machine) -> None:
    """What ``exec`` starts has the container's environment, where the password is a file, and no entry point."""
    goms = ["goms", "run", "2023-01-01", "--system", "small-sea", "--forecaster", "persistence"]
    environment = published.environment("worker") | {"WAIT_FOR": ""}
    bare, typed = (
        subprocess.run([*before, *goms], cwd=published.folder, env=environment, capture_output=True, text=True,
                       check=False)
        for before in ([], [str(DEPLOY / "entrypoint.sh")])
    )  # fmt: skip
    assert (bare.returncode, "PREFECT_API_AUTH_STRING; found none" in bare.stderr) == (2, True), bare.stderr
    assert (typed.returncode, "was published before" in typed.stdout + typed.stderr) == (0, True), typed.stderr


def test_the_pool_the_slot_and_the_automation_are_there(published: Machine) -> None:
    assert ask(published, "work_pools/process")["type"] == "process"
    assert ask(published, "v2/concurrency_limits/goms-device")["limit"] == 1
    assert ask(published, "automations/filter", {})


def test_metrics_speak_of_the_cycle(published: Machine) -> None:
    address = f"http://127.0.0.1:{published.ports['metrics']}/metrics"

    def look() -> str | None:
        try:
            with urllib.request.urlopen(address, timeout=30) as answer:
                text: str = answer.read().decode()
        except OSError:
            return None
        return text if 'system="small-sea"' in text else None

    assert re.search(r'^goms_\w+\{.*system="small-sea"', waits(look, published, "metrics"), flags=re.MULTILINE)


def test_watch_looks_with_its_own_keys(published: Machine) -> None:
    assert "s3://forecasts/goms" in waits(lambda: published.log("watch"), published, "watch")
    once = published.run("watch", "--once")
    assert (once.returncode, "all well" in once.stdout) == (0, True), once.stdout + once.stderr
    status = json.loads(object_at(published, "small-sea/status.json") or b"{}")
    assert status["newest"]["prefix"] == CYCLE


def test_health_is_what_the_containers_say(published: Machine) -> None:
    for name in ("worker", "metrics", "prefect" if published.profile == "production" else "prefect-laptop"):
        assert waits(lambda name=name: published.healthy(name), published, name)
    assert not published._replace(ports={**published.ports, "worker": 1}).healthy("worker")
