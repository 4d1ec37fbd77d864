"""``goms metrics``: the service's figures for Prometheus, over HTTP or once. It reads the store alone."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from flows import clock, logs
from flows.service.upkeep import wanted_systems
from pipeline.errors import StoreError, UsageError
from pipeline.operations import figures
from pipeline.operations.figures import Sample
from pipeline.settings import Settings
from pipeline.store import Store
from pipeline.systems import System

SLOW_SECONDS = 1800.0
"""Seconds between two looks at what is slow to look at: scores and sizes change once a day."""
BUILD = "goms_build_info"
TAKEN = "goms_metrics_duration_seconds"

STORE_SECONDS = 5.0
"""Patience with a store that is away: a scrape is to say so before Prometheus gives it up."""

Samples = dict[str, list[Sample]]
UNREADABLE = [Sample(figures.READABLE, (), 0)]
"""The figures of a system whose store cannot be read."""


class StoreFigures(Collector):
    """The figures of some systems, read anew at each scrape, but for the slow ones, which are kept."""

    def __init__(self, store: Store, systems: Iterable[System]) -> None:
        self._store, self._systems = store, tuple(systems)
        self._slow: Samples = {}

    def collect(self) -> Iterator[Metric]:
        """Every figure there is; a system whose store cannot be read says so and nothing else."""
        begun = clock.now()
        found = self._look(figures.fresh)
        yield from _families(figures.FRESH, found)
        yield from _families(figures.SLOW, self._slow)
        yield _build()
        yield GaugeMetricFamily(TAKEN, "What it took to read the store.", (clock.now() - begun).total_seconds())

    def look_slowly(self) -> None:
        """Read what takes its time; until then there is none of it, and what cannot be read stays as it was.

        Else one failed look would begin the days anew that an alert waits.
        """
        found = self._look(figures.slow)
        self._slow |= {name: samples for name, samples in found.items() if samples is not UNREADABLE}

    def _look(self, read: Callable[..., Iterator[Sample]]) -> Samples:
        """Each system's figures, or that they cannot be read; where nobody answers, no system is waited for."""
        try:
            self._store.folders("")
        except StoreError as error:
            logs.event(f"no figures: {error}")
            return {system.name: UNREADABLE for system in self._systems}
        found: Samples = {}
        for system in self._systems:
            try:
                found[system.name] = list(read(self._store, system, clock.now()))
            except StoreError as error:
                logs.event(f"no figures of {system.name}: {error}", system=system.name)
                found[system.name] = UNREADABLE
        return found


def show(system: str | None, store: str | None) -> None:
    """Print every figure once, the slow ones too."""
    collector = StoreFigures(_patient(store), wanted_systems(system))
    collector.look_slowly()
    print(generate_latest(_registry(collector)).decode(), end="")


def serve(system: str | None, store: str | None, port: int, address: str) -> None:
    """Answer scrapes until SIGTERM or Ctrl-C."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    collector = StoreFigures(_patient(store), wanted_systems(system))
    server, thread = _listening(port, address, collector)
    logs.event(f"figures at http://{address}:{server.server_port}/metrics")
    print(f"http://{address}:{server.server_port}/metrics", flush=True)
    collector.look_slowly()
    while not ended.wait(SLOW_SECONDS):
        collector.look_slowly()
    server.shutdown()
    thread.join()


def _listening(port: int, address: str, collector: StoreFigures) -> tuple[WSGIServer, Thread]:
    try:
        return start_http_server(port, address, _registry(collector))
    except OSError as error:
        raise UsageError(
            "a free port of this machine", found=error.strerror or str(error), where=f"{address}:{port}",
            action="name another by --port or --address",
        ) from error  # fmt: skip


def _patient(store: str | None) -> Store:
    return Store(store or Settings().store, patience_seconds=STORE_SECONDS)


def _registry(collector: StoreFigures) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(collector)
    return registry


def _build() -> Metric:
    family = GaugeMetricFamily(BUILD, "The version of GOMS that reads the store.", labels=("version",))
    family.add_metric((version("goms"),), 1)
    return family


def _families(metrics: Iterable[figures.Metric], found: Samples) -> Iterator[Metric]:
    """One family a figure, with the samples of every system."""
    for metric in metrics:
        family = GaugeMetricFamily(metric.name, metric.help, labels=("system", *metric.labels))
        for system, samples in found.items():
            for sample in samples:
                if sample.metric is metric:
                    family.add_metric((system, *sample.labels), sample.value)
        yield family
