"""What deployments ask of Prefect's server and of a work pool, on the server itself."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import pytest
import small_ocean
from ports import free_port
from prefect import runtime
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun, State
from prefect.flow_engine import run_flow
from prefect.flows import load_flow_from_entrypoint
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from prefect.states import Pending, Scheduled
from receivers import receiving

from flows import clock
from flows.journey.daily import Outcome
from flows.journey.stages import Run
from flows.service import artifacts, deploying, deployments, lookout, notify, runlog, scheduled, submission, watch
from flows.service import local as service
from flows.service.server import serving
from pipeline import publish
from pipeline.errors import UsageError
from pipeline.settings import Settings
from pipeline.store import Store

EVERY = {item.name: item for item in deployments.deployments(deployments.scheduled_systems())}


@pytest.fixture
def client(prefect_server: str) -> Iterator[SyncPrefectClient]:
    with temporary_settings({PREFECT_API_URL: prefect_server}), SyncPrefectClient(prefect_server) as opened:
        opened.create_work_pool(WorkPoolCreate(name="process", type="process"), overwrite=True)
        yield opened
        opened.delete_work_pool("process")


@pytest.fixture
def late(client: SyncPrefectClient, tmp_path: Path) -> Iterator[list[FlowRun]]:
    """Two looks of a day ago that a worker finds when it comes back, of the deployment as it is brought there."""
    watch = EVERY["watch"].with_parameters(store=str(tmp_path / "store"))
    deployments._deploy(client, watch, "process")
    found = deployments._deploy(client, watch, "process")  # a second time, as every new version does
    missed: State[Any] = Scheduled(scheduled_time=clock.now() - timedelta(hours=24))
    yield [client.create_flow_run_from_deployment(found, state=missed) for _ in range(2)]
    client.delete_deployment(found)


def moved(client: SyncPrefectClient, run: FlowRun, state: State[Any]) -> str | None:
    """The state that the server gives a run that asks for one."""
    given = client.set_flow_run_state(run.id, state).state
    return None if given is None else given.name


def test_of_two_looks_that_a_worker_finds_late_one_is_cancelled_and_the_other_skipped(
    client: SyncPrefectClient, late: list[FlowRun], tmp_path: Path
) -> None:
    assert [moved(client, run, Pending()) for run in late] == ["Pending", "Cancelled"]
    ended: Any = run_flow(lookout.watch, flow_run=client.read_flow_run(late[0].id),
                          parameters={"store": str(tmp_path / "store")}, return_type="state")  # fmt: skip
    assert ended.name == "Skipped"
    assert re.fullmatch(r"24\.\d h behind its time: the next one sees the same", ended.message)
    assert not (tmp_path / "store").exists()


def test_a_look_in_its_time_is_one(client: SyncPrefectClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMS_SCRATCH", str(tmp_path))
    ended = list[State[Any]]()
    for minutes in (14, 16):
        late = timedelta(minutes=minutes)
        monkeypatch.setattr(clock, "now", lambda late=late: runtime.flow_run.scheduled_start_time + late)
        ended.append(lookout.watch(store=str(tmp_path / "store"), return_state=True))
    assert [state.name for state in ended] == ["Completed", "Skipped"]


@pytest.mark.parametrize("entrypoint", sorted({item.entrypoint for item in EVERY.values()}))
def test_a_fault_in_a_flow_that_is_deployed_leaves_its_traceback(
    entrypoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow: Any = load_flow_from_entrypoint(entrypoint)
    monkeypatch.setenv("GOMS_SCRATCH", str(tmp_path))
    with pytest.raises(TypeError):
        flow.fn(no_such_parameter=1)
    (line, *trace) = (tmp_path / "tracebacks.log").read_text().splitlines()
    assert " flow run " in line
    assert trace[-2].startswith("TypeError: ")


def test_a_failure_that_is_a_sentence_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMS_SCRATCH", str(tmp_path))
    with pytest.raises(UsageError), runlog.faults_kept():
        raise UsageError("a day", found="none", where="DATE", action="name one")
    assert not (tmp_path / "tracebacks.log").exists()


def test_a_look_at_a_lost_store_fails_and_leaves_the_alert_to_goms_watch(
    client: SyncPrefectClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run of it has a scratch folder of its own, and would tell it again, and never that it is over."""
    (tmp_path / "store").write_text("a file")
    with receiving() as receiver:
        monkeypatch.setenv("GOMS_ALERT_WEBHOOKS", receiver.url)
        monkeypatch.setenv("GOMS_SCRATCH", str(tmp_path / "scratch"))
        ended: Any = lookout.watch(store=str(tmp_path / "store"), return_state=True)
        assert (ended.name, receiver.taken) == ("Failed", [])
        assert watch.look(str(tmp_path / "store"), notify.channels(Settings()), Settings()).lost is not None
        assert [item["key"] for item in receiver.taken] == ["store"]
    assert "needed a folder" in str(ended.message)


def test_what_comes_every_so_often_goes_on_once_at_a_time() -> None:
    scored = {f"verification-{entry.name}" for entry in deployments.scheduled_systems()}
    assert {name for name, item in EVERY.items() if item.alone} == {"watch", "housekeeping", *scored}


@pytest.mark.parametrize("pool", deployments.POOLS.values(), ids=lambda pool: pool.kind)
def test_only_what_runs_a_model_is_given_a_gpu_and_then_it_runs_there(pool: deployments.Pool) -> None:
    asked = {name: item.job_variables(pool) for name, item in EVERY.items()}
    given = {name: wanted for name, wanted in asked.items() if wanted}
    assert set(given) == (set() if pool.kind == "process" else {"daily-twin"})
    assert all(wanted["env"] == {"GOMS_DEVICE": "cuda"} for wanted in given.values())
    assert all(len(wanted) == 2 for wanted in given.values())  # and the GPU itself


def test_a_forecaster_is_for_what_takes_one() -> None:
    from prefect.flows import load_flow_from_entrypoint

    flows: dict[str, Any] = {name: load_flow_from_entrypoint(item.entrypoint) for name, item in EVERY.items()}
    assert {name for name, item in EVERY.items() if item.takes_forecaster} == {
        name for name, flow in flows.items() if "forecaster" in flow.parameters.properties}  # fmt: skip


def test_the_steps_of_a_service_are_tried_again(tmp_path: Path) -> None:
    """In a process with the environment that ``goms up`` gives its worker."""
    place = service.Home(tmp_path)
    environment = service.environment_of(place, Settings(), Store(tmp_path / "store"), "http://127.0.0.1:1/api")
    tries = "from flows.journey.tasks import take_in, publish_edition as p; print(take_in.retries, p.retries)"
    said = subprocess.run([sys.executable, "-c", tries], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout == f"{deployments.TRIES_MORE} {deployments.TRIES_MORE}\n"


@pytest.fixture
def locked_server() -> Iterator[str]:
    """The address of a server that answers as Prefect's does whom it does not know."""
    with HTTPServer(("127.0.0.1", 0), _Refusing) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()


class _Refusing(BaseHTTPRequestHandler):
    def _refuse(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        text = b'{"exception_message":"Unauthorized"}'
        self.send_response(401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = _refuse  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the tests' own output is enough."""


@pytest.mark.parametrize("password", [None, "goms:guess"])
def test_who_has_not_the_servers_password_is_told_so(locked_server: str, password: str | None) -> None:
    from flows.journey.daily import daily

    asked = (
        lambda: deploying.deploy(["twin"], "process"),
        lambda: submission.is_deployed("twin"),
        lambda: submission.submit("twin", "2026-01-01", {}),
        lambda: served(lambda: daily("2026-01-01", "twin")),
    )
    with temporary_settings({PREFECT_API_URL: locked_server, PREFECT_API_AUTH_STRING: password}):
        for ask in asked:
            with pytest.raises(UsageError, match="PREFECT_API_AUTH_STRING; found") as refused:
                ask()
            assert refused.value.found == f"{'another' if password else 'none'}: it answers 401"


@pytest.fixture
def nobody() -> Iterator[None]:
    """A server is named, and nobody listens there."""
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}):
        yield


@pytest.mark.usefixtures("nobody")
def test_that_the_server_is_away_is_a_sentence_with_the_command_that_does_without_it() -> None:
    from flows.journey.daily import daily

    asked = (
        lambda: submission.is_deployed("twin"),
        lambda: submission.look(FlowRun(flow_id=uuid4())),
        lambda: served(lambda: daily("2023-01-01", "twin")),
    )
    for ask in asked:
        with pytest.raises(UsageError, match="needed a Prefect server that answers; found ConnectError: ") as away:
            ask()
        assert "prefect-down" in away.value.action
        assert "env -u PREFECT_API_URL -u GOMS_DEVICE_SLOT goms" in away.value.action


@pytest.mark.usefixtures("nobody")
@pytest.mark.filterwarnings("ignore:Artifact creation outside of a flow:FutureWarning")
def test_what_is_published_did_not_fail_because_prefects_page_cannot_be_written(
    small_cycle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, start = Store(small_cycle), small_ocean.CYCLE
    manifest = publish.read_manifest(store, start, 1)
    assert manifest is not None
    run = Run(system=start.system, cycle=start.key, store=store.uri)
    made = Outcome(run, manifest.model_copy(update={"objects": ()}), new=True)  # its picture is none
    assert scheduled._made(store, start, lambda: made).is_completed()
    assert "what was published is not on Prefect's page: needed a Prefect server" in capsys.readouterr().err
    artifacts.filled(start.system, ())
    assert "how the cycles came out is not on Prefect's page" in capsys.readouterr().err


def served(ask: Callable[[], object]) -> None:
    with serving(Settings()):
        ask()
