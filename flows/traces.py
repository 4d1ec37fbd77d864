"""Runs as OpenTelemetry traces, for those who collect them: a span for the run, and in it one for each stage."""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from typing import Any

from pipeline.errors import UsageError
from pipeline.settings import Settings

PATIENCE_SECONDS = 5
"""What a collector that does not answer may cost at a run's end; spans are sent beside the work, and lost at worst."""


@contextmanager
def span(name: str, **about: str | None) -> Iterator[None]:
    """What is done inside is a span of this name, with its error if it ends by one; nothing where no one collects."""
    address = Settings().traces
    if address is None:
        yield
        return
    attributes = {f"goms.{key}": value for key, value in about.items() if value is not None}
    with _tracer(address).start_as_current_span(name, attributes=attributes):
        yield


@cache
def _tracer(address: str) -> Any:
    """Spans go to ``address`` by OTLP over HTTP, whatever else of OpenTelemetry this process uses."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise UsageError(
            "OpenTelemetry's SDK and its exporter by OTLP over HTTP", found=str(error), where="GOMS_TRACES",
            action="pip install 'goms[traces]', or unset GOMS_TRACES",
        ) from error  # fmt: skip
    resource = Resource.create({"service.name": "goms", "service.version": version("goms")})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(f"{address.rstrip('/')}/v1/traces", timeout=PATIENCE_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(exporter, export_timeout_millis=1000.0 * PATIENCE_SECONDS))
    atexit.register(provider.shutdown)
    return provider.get_tracer("goms")
