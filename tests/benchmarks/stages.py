"""Seconds and peak memory of each stage: ``python -m tests.benchmarks.stages [--day YYYY-MM-DD] [--full-size-only]``.

The twin's cycle, stage by stage as the daily flow runs them, then one day of AI-GOMS's full size (61 x 720 x 1440):
the step of the network with random weights, and the writing of that day. Each stage runs in a process of its own,
so that its peak is its own; they hand on what they make through a store, as the flow's tasks do.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import resource
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

os.environ.setdefault("DO_NOT_TRACK", "1")


class Measured(NamedTuple):
    """One stage."""

    stage: str
    seconds: float
    before_mib: float
    peak_mib: float


def peak_mib() -> float:
    """The largest resident memory this process has had, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(stage: str, prepare: Callable[..., Callable[[], object]], *arguments: object) -> Measured:
    """Run a stage in a fresh process: ``prepare`` imports and reads, and returns what is timed."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(sender, stage, prepare, arguments))
    process.start()
    sender.close()
    try:
        result: Measured = receiver.recv()
    finally:
        process.join()
    print(f"{result.stage:<44} {result.seconds:9.2f} {result.before_mib:9.0f} {result.peak_mib:9.0f}", flush=True)
    return result


def _measure(sender, stage: str, prepare: Callable[..., Callable[[], object]], arguments: tuple[object, ...]) -> None:  # type: ignore[no-untyped-def]
    work = prepare(*arguments)
    before, begun = peak_mib(), time.perf_counter()
    work()
    sender.send(Measured(stage, time.perf_counter() - begun, before, peak_mib()))


def take_in(run_json: str, kind: str) -> Callable[[], object]:
    from flows.journey import tasks
    from flows.journey.stages import Run
    from pipeline.variables import Kind

    run = Run.model_validate_json(run_json)
    return lambda: tasks.take_in.fn(run, Kind(kind))


def _marks(run_json: str):  # type: ignore[no-untyped-def]
    from flows.journey.stages import Run
    from pipeline.record import marks
    from pipeline.variables import Kind

    run = Run.model_validate_json(run_json)
    found = {stage: marks.recorded(run.opened, run.start, stage) for stage in
             (*Kind, "initialise", "forecast", "quicklooks")}  # fmt: skip
    return run, {stage: mark for stage, mark in found.items() if mark is not None}


def initialise(run_json: str) -> Callable[[], object]:
    from flows.journey import tasks
    from pipeline.variables import Kind

    run, marks = _marks(run_json)
    taken = {Kind(kind): mark for kind, mark in marks.items() if kind in tuple(Kind)}
    return lambda: tasks.initialise_state.fn(run, taken)


def forecast(run_json: str) -> Callable[[], object]:
    from flows.journey import forecasters, tasks

    run, marks = _marks(run_json)
    forecasters.choose(run)
    return lambda: tasks.forecast_days.fn(run, marks["initialise"], forecasters.lacking(run))


def quicklooks(run_json: str) -> Callable[[], object]:
    from flows.journey import tasks

    run, marks = _marks(run_json)
    return lambda: tasks.draw_quicklooks.fn(run, marks["forecast"])


def publish(run_json: str) -> Callable[[], object]:
    from flows.journey import forecasters, tasks

    run, marks = _marks(run_json)
    written = (marks["forecast"], marks["quicklooks"])
    return lambda: tasks.publish_edition.fn(run, marks["initialise"], forecasters.lacking(run), written)


def verify(run_json: str, name: str) -> Callable[[], object]:
    from flows.journey import verification
    from pipeline.publish import read_manifest

    run, _ = _marks(run_json)
    manifest = read_manifest(run.opened, run.start, run.revision)
    return lambda: verification.score_product.fn(run, manifest, name, (1,))


def full_step(threads: int) -> Callable[[], object]:
    """One day-step of the paper's network, random weights, float32."""
    import numpy as np
    import torch

    from models import checkpoint
    from models.backbone import PAPER
    from models.checkpoint import About, Card, Checkpoint, OceanCard
    from models.forecaster import ModelForecaster
    from models.normalisation import Statistics
    from pipeline import channels

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    ocean, forcing = ([c.label for c in entries] for entries in (channels.ocean(), channels.forcing()))
    about = About(name="full-size", trained_on="nothing", data_span="", recipe="", seed=0, created="", code_version="")
    flat = {count: Statistics(mean=(0.0,) * count, spread=(1.0,) * count, change=(0.1,) * count) for count in (61, 6)}
    card = Card(format=1, about=about, ocean=OceanCard(
        architecture=PAPER, channels=tuple(ocean), forcing=tuple(forcing), statistics=flat[61],
        forcing_statistics=flat[6]))  # fmt: skip
    model = ModelForecaster(Checkpoint(card, checkpoint.build(card).eval().requires_grad_(False), ""))
    generator = np.random.default_rng(0)
    state = generator.standard_normal((61, 720, 1440), dtype=np.float32)
    air = generator.standard_normal((6, 720, 1440), dtype=np.float32)
    return lambda: next(iter(model.roll_out({"ocean": state}, [air])))


def full_write(folder: str) -> Callable[[], object]:
    """One lead day of the full-size ocean product: rounded, labelled, encoded, put into a folder."""
    import numpy as np
    import xarray as xr

    from pipeline import cycle, produce, products, systems
    from pipeline.contracts import ForecastDay
    from pipeline.credits import Publisher
    from pipeline.output_gate import channels_of
    from pipeline.produce import Facts
    from pipeline.store import Store
    from pipeline.writer import ProductWriter

    system, entry = systems.GLOBAL_QUARTER_DEGREE, products.OCEAN
    start = cycle.cycle(system.name, "2024-01-01", system.start_hour)
    facts = Facts(revision=1, forecaster="full-size", checkpoint_sha256="", trained_on="nothing", code_version="0",
                  inputs=(), publisher=Publisher())  # fmt: skip
    labels = channels_of("ocean", system)
    row, column = np.indices(system.grid.shape, dtype=np.float32)
    wave = np.sin(row / 37) * np.cos(column / 53)
    fields = np.stack([wave * np.float32(1 + 0.01 * number) for number in range(len(labels))])
    fields += np.random.default_rng(0).normal(0, 0.01, fields.shape).astype(np.float32)
    when = np.datetime64(start.start.replace(tzinfo=None), "ns")
    dims = ("ocean_channel", "ocean_latitude", "ocean_longitude")
    day = ForecastDay(xr.Dataset({"ocean": (dims, fields)}, coords={"time": when, "lead_day": 0}))

    def work() -> None:
        with ProductWriter(Store(folder), "full/ocean.zarr", entry, system, start, facts) as writer:
            writer.write(produce.produce(day, entry, system, start, facts))

    return work


def twin_cycle(day: str, forecaster: str, folder: Path) -> list[Measured]:
    """Every stage of one twin cycle and the verification of its first day."""
    from flows.journey.stages import Run
    from pipeline import cycle, systems

    start = cycle.cycle("twin", day, systems.TWIN.start_hour)
    run = Run(system="twin", cycle=start.key, store=str(folder / "store"), forecaster=forecaster).model_dump_json()
    stages: Mapping[str, Callable[..., Callable[[], object]]] = {
        "initialise": initialise, f"forecast 30 days, write ({forecaster})": forecast, "quicklooks": quicklooks,
        "publish (read back, manifest, latest)": publish,
    }  # fmt: skip
    found = [measured(f"ingest + regrid {ladder.kind}", take_in, run, ladder.kind.value)
             for ladder in systems.TWIN.ladders]  # fmt: skip
    found += [measured(stage, prepare, run) for stage, prepare in stages.items()]
    return found + [measured(f"verify {entry.name}, day 1", verify, run, entry.name)
                    for entry in systems.TWIN.products]  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.stages", description=__doc__)
    parser.add_argument("--day", default="2024-03-10")
    parser.add_argument("--forecaster", default="checkpoint")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--full-size-only", action="store_true")
    arguments = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{'stage':<44} {'seconds':>9} {'MiB start':>9} {'MiB peak':>9}")
    with TemporaryDirectory(prefix="goms-benchmark-") as name:
        os.environ["GOMS_SCRATCH"] = str(Path(name, "scratch"))
        total = [] if arguments.full_size_only else twin_cycle(arguments.day, arguments.forecaster, Path(name))
        if total:
            print(f"{'the twin cycle in all':<44} {sum(item.seconds for item in total):9.2f} {'':>9} "
                  f"{max(item.peak_mib for item in total):9.0f}")  # fmt: skip
        measured("full size: one day-step, float32", full_step, arguments.threads)
        measured("full size: produce and write one day", full_write, str(Path(name, "store")))


if __name__ == "__main__":
    main()
