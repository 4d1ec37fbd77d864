"""Runs as traces: what a collector on loopback is sent, read with OpenTelemetry's own definitions."""

from __future__ import annotations

from pathlib import Path

import pytest
from journeys import Goms
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from flows import traces
from pipeline.store import Store
from tests.receivers import Receiver, receiving


def spans(collector: Receiver) -> list[Span]:
    requests = [ExportTraceServiceRequest.FromString(body) for body in collector.taken]
    return [span for request in requests for resource in request.resource_spans
            for scope in resource.scope_spans for span in scope.spans]  # fmt: skip


def test_a_run_is_one_trace_with_a_span_for_each_stage_and_the_error_that_ended_it(
    goms: Goms, folder_store: Store, tmp_path: Path
) -> None:
    """A day whose atmosphere is not there: the ocean is taken in, the atmosphere fails, and so does the run."""
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    for path in goms.inputs.iterdir():
        if path.name != "era5_atmosphere.nc":
            (inputs / path.name).symlink_to(path)
    with receiving(read=bytes) as collector:
        goms.environment["GOMS_TRACES"] = f"http://127.0.0.1:{collector.server_address[1]}"
        assert goms._replace(inputs=inputs).run("2023-01-01", folder_store).code == 3
        found = {span.name: span for span in spans(collector)}
        assert collector.paths == {"/v1/traces"}
    assert list(found) == ["ocean", "surface", "cycle"]
    assert len({span.trace_id for span in found.values()}) == 1
    assert {found["ocean"].parent_span_id, found["surface"].parent_span_id} == {found["cycle"].span_id}
    about = {item.key: item.value.string_value for item in found["ocean"].attributes}
    assert (about["goms.system"], about["goms.cycle"]) == ("small-sea", "20230101T00")
    assert about["goms.run"]
    ends = {name: span.status.code for name, span in found.items()}
    failed = Status.STATUS_CODE_ERROR
    assert ends == {"ocean": Status.STATUS_CODE_UNSET, "surface": failed, "cycle": failed}
    assert "needed" in found["surface"].status.message


def test_a_collector_that_is_not_there_keeps_nothing_from_readers(goms: Goms, folder_store: Store) -> None:
    with receiving() as gone:
        port = gone.server_address[1]
    goms.environment["GOMS_TRACES"] = f"http://127.0.0.1:{port}"
    answer = goms.run("2023-01-01", folder_store)
    assert answer.code == 0, answer.err


def test_where_nobody_collects_nothing_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOMS_TRACES", raising=False)
    with traces.span("cycle"):
        assert traces._tracer.cache_info().currsize == 0
