"""A forecast holds a slot of its device, and is neither refused nor broken off where Prefect's server is away."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.journey import device
from pipeline.errors import ForecastRefused, UsageError
from tests.fault_proxy import FaultProxy


@pytest.fixture
def limit(prefect_server: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """Of one slot, by a name of its own: Prefect keeps a connection for each name that this process asked for."""
    with SyncPrefectClient(prefect_server) as client:
        client.upsert_global_concurrency_limit_by_name(request.node.name, 1)
        yield request.node.name
        client.delete_global_concurrency_limit_by_name(request.node.name)


@pytest.mark.server
@pytest.mark.parametrize("refused", [False, True])
def test_a_server_that_goes_away_changes_nothing_about_what_was_forecast(
    limit: str, prefect_server: str, refused: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Between the slot's being taken and given back: a forecast that is written is one, a refusal is that refusal."""
    with ExitStack() as there, SyncPrefectClient(prefect_server) as client:
        address = there.enter_context(FaultProxy(prefect_server, share=0).serving())

        def forecast() -> None:
            with temporary_settings({PREFECT_API_URL: f"{address}/api"}), device.slot(limit):
                assert client.read_global_concurrency_limit_by_name(limit).active_slots == 1
                there.close()
                if refused:
                    raise ForecastRefused("seas", found="none", where="the forecast", action="look")

        with pytest.raises(ForecastRefused, match="seas") if refused else nullcontext():
            forecast()
    assert f"the slot of {limit} was not given back: Prefect's server" in capsys.readouterr().err


@pytest.mark.server
def test_a_server_that_is_away_is_waited_for_and_one_that_lacks_the_limit_is_not(
    prefect_server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody listens at a port, and after the patience the forecast goes on; no patience makes a limit."""
    monkeypatch.setattr(device, "LEASE_SECONDS", 0.0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{taken.getsockname()[1]}/api"
        with temporary_settings({PREFECT_API_URL: closed}), device.slot("nobody-is-asked"):
            pass
    assert f"forecasting without a slot of nobody-is-asked: Prefect's server {closed}" in capsys.readouterr().err
    with (
        temporary_settings({PREFECT_API_URL: prefect_server}),
        pytest.raises(UsageError, match="goms deploy makes it"),
        device.slot("nobody-made-this"),
    ):
        pytest.fail("there is no such limit")
