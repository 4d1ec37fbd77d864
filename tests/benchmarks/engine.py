"""What the full-size model costs to run: ``python -m tests.benchmarks.engine [--device cuda] [--days 30]``.

Random weights: the forecast means nothing, the work is the same. Prints the seconds of the first day-step after the
warm-up and of a rollout with every day in host memory, the peak of memory after one day and after the last, and beside
them the floor: products at the rate that this device gives them, and bytes at the rate at which it moves them.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Iterator
from itertools import repeat

import numpy as np
import torch
from torch.nn import functional

from models import checkpoint, cost
from models.backbone import Architecture
from models.checkpoint import About, Card, Checkpoint, DownscalingCard, OceanCard, StateHeadCard
from models.engine import Engine, products
from models.forecaster import ModelForecaster
from models.heads import DownscalingArchitecture, StateHeadArchitecture, Window
from models.layers import PatchProjection
from models.normalisation import Statistics

GIGA = 1e9


def main() -> None:
    """Build, warm up, time, say."""
    options = _options()
    torch.set_num_threads(options.threads)
    a = cost.PRESETS[options.preset].model_copy(update={"mixing": options.mixing})
    engine = Engine(device=options.device, precision=options.precision, compiled=options.compiled)
    model = random_model(a, engine, heads=options.heads)
    print(f"{cost.described(model.name, a)}, random weights: the forecast means nothing", flush=True)
    state, air = fields_of(model)
    before = peak_bytes(model.engine)
    begun = time.perf_counter()
    for _ in model.roll_out(state, [air]):
        pass
    print(f"warm-up                   {time.perf_counter() - begun:8.2f} s", flush=True)
    seconds, user, peaks = timed(model, state, air, options.days)
    say(model, seconds, user, [peak - before for peak in peaks])
    floor(model, sum(seconds) / len(seconds))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="bfloat16", choices=("float32", "bfloat16", "fastest"))
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--preset", default="paper", choices=tuple(cost.PRESETS))
    parser.add_argument("--mixing", default="sequence", choices=("sequence", "plane"))
    parser.add_argument("--heads", action="store_true", help="waves, biogeochemistry and downscaling as well")
    return parser.parse_args()


def random_model(a: Architecture, engine: Engine, *, heads: bool) -> ModelForecaster:
    """The architecture with random weights: channels, statistics and heads of no particular ocean."""
    torch.manual_seed(0)
    about = About(name="random", trained_on="nothing", data_span="", created="", code_version="")
    ocean = tuple(f"channel {number}" for number in range(a.out_channels))
    forcing = tuple(f"forcing {number}" for number in range(a.in_channels - a.out_channels))
    card = Card(
        format=checkpoint.FORMAT, about=about,
        ocean=OceanCard(architecture=a, channels=ocean, forcing=forcing, statistics=flat(len(ocean)),
                        forcing_statistics=flat(len(forcing))),
        **(heads_of(a, ocean, forcing) if heads else {}),
    )  # fmt: skip
    suite = checkpoint.build(card)
    for module in suite.modules():
        if isinstance(module, PatchProjection):
            torch.nn.init.normal_(module.projection.weight, std=0.01)
    return ModelForecaster(Checkpoint(card, suite.eval().requires_grad_(False), ""), engine)


def heads_of(a: Architecture, ocean: tuple[str, ...], forcing: tuple[str, ...]) -> dict:
    """Waves on half the points each way, eight plankton fields on a quarter, and a sixth refined three times."""
    waves = StateHeadArchitecture(
        channels=("height", "period", "bearing"),
        transforms=("nonnegative", "nonnegative", "angle"),
        floors=(0.0,) * 3,
        forcing=forcing[:2],
        rows=a.rows // 2,
        columns=a.columns // 2,
        patch=patch_of(a, 2),
    )
    plankton = StateHeadArchitecture(
        channels=tuple(f"plankton {number}" for number in range(8)), transforms=("log",) * 8, floors=(1e-4,) * 8,
        rows=a.rows // 4, columns=a.columns // 4, patch=patch_of(a, 4))  # fmt: skip
    south, west = a.rows // 2, a.columns // 3
    window = Window(south=south, north=south + a.rows // 6, west=west, east=west + a.columns // 6)
    fine = DownscalingArchitecture(channels=(*ocean[:4], ocean[-1]), window=window, patch=a.patch, static=forcing[-1:])
    return {"waves": StateHeadCard(architecture=waves, statistics=flat(4)),
            "biogeochemistry": StateHeadCard(architecture=plankton, statistics=flat(8)),
            "kuroshio": DownscalingCard(architecture=fine, residual=(0.1,) * 5)}  # fmt: skip


def patch_of(a: Architecture, part: int) -> int:
    """The largest patch up to the backbone's that cuts a grid of fewer points evenly."""
    sides = a.rows // part, a.columns // part
    return next(patch for patch in range(a.patch, 0, -1) if not any(side % patch for side in sides))


def flat(count: int) -> Statistics:
    """Statistics of fields that are normal already."""
    return Statistics(mean=(0.0,) * count, spread=(1.0,) * count, change=(0.01,) * count)


def fields_of(model: ModelForecaster) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """A state with a third of it land, and a forcing."""
    generator = np.random.default_rng(0)
    state = {name: np.abs(generator.standard_normal(shape, dtype=np.float32)) + np.float32(0.1)
             for name, shape in model.shapes.items() if name not in ("forcing", "kuroshio")}  # fmt: skip
    for values in state.values():
        values[:, values.shape[1] // 3 : 2 * values.shape[1] // 3, : values.shape[2] // 2] = np.nan
    return state, generator.standard_normal(model.shapes["forcing"], dtype=np.float32)


def timed(model: ModelForecaster, state: dict, air: np.ndarray, days: int) -> tuple[list[float], float, list[int]]:
    """Seconds until each day was in host memory, CPU seconds of all, and the peak of memory after each."""
    seconds, peaks, used = [], [], time.process_time()
    begun = time.perf_counter()
    for day in model.roll_out(state, repeat(air, days)):
        float(day["ocean"][0, 0, 0])
        seconds.append(time.perf_counter() - begun)
        peaks.append(peak_bytes(model.engine))
        begun = time.perf_counter()
    return seconds, time.process_time() - used, peaks


def peak_bytes(engine: Engine) -> int:
    """The most memory that was ever held: of the device, or of this process."""
    if torch.device(engine.device).type == "cuda":
        return torch.cuda.max_memory_allocated(engine.device)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def say(model: ModelForecaster, seconds: list[float], user: float, peaks: list[int]) -> None:
    """What was measured."""
    a, precision = model.card.ocean.architecture, model.engine.precision
    print(f"one day-step              {seconds[0]:8.2f} s")
    print(f"{len(seconds):3d} days to host memory   {sum(seconds):8.2f} s, {user:.1f} CPU s; the slowest day "
          f"{max(seconds):.2f} s")  # fmt: skip
    first, last, need = (value / cost.GIB for value in (peaks[0], peaks[-1], cost.need_bytes(a, precision)))
    print(f"peak memory over the start: {first:.2f} GiB after 1 day, {last:.2f} GiB after {len(peaks)}; "
          f"asked for before: {need:.2f} GiB")  # fmt: skip


def floor(model: ModelForecaster, seconds: float) -> None:
    """The least that a day can take on this device, by the rates that it reaches on large simple work."""
    a, engine = model.card.ocean.architecture, model.engine
    needed = cost.cost(a, engine.precision)
    with products(engine):
        blocks = product_rate(engine.device, torch.bfloat16 if engine.precision == "bfloat16" else torch.float32)
        others = product_rate(engine.device, torch.float32)
    work = needed.block_operations / blocks + needed.other_operations / others
    moved = needed.moved_bytes / copy_rate(engine.device)
    print(
        f"floor of a day: products  {work:8.3f} s ({needed.block_operations / GIGA:.0f} GFLOP in the blocks at "
        f"{blocks / GIGA:.0f} GFLOP/s, {needed.other_operations / GIGA:.0f} others at {others / GIGA:.0f})"
    )
    print(f"                memory    {moved:8.3f} s ({needed.moved_bytes / GIGA:.1f} GB)")
    if torch.device(engine.device).type == "cuda":
        print(f"                to host   {needed.host_bytes / host_rate(engine.device):8.3f} s "
              f"({needed.host_bytes / GIGA:.2f} GB, beside the next day)")  # fmt: skip
    print(f"a day takes {seconds:.2f} s, {seconds / max(work, moved):.1f} times its floor; the products of the blocks "
          f"alone need {100 * needed.block_operations / blocks / seconds:.0f} % of it at that rate")  # fmt: skip


def product_rate(device: str, kind: torch.dtype) -> float:
    """Operations a second of a large product."""
    tokens, weight = torch.randn(16384, 1024, device=device, dtype=kind), torch.randn(4096, 1024, device=device)
    weight = weight.to(kind)
    return 2 * tokens.numel() * weight.shape[0] / best(lambda: functional.linear(tokens, weight), device)


def copy_rate(device: str) -> float:
    """Bytes a second, read and written."""
    one, other = torch.zeros(2, 2**26, device=device).unbind()
    return 2 * one.nbytes / best(lambda: other.copy_(one), device)


def host_rate(device: str) -> float:
    """Bytes a second from the device to page-locked memory."""
    here, there = torch.zeros(2**26, pin_memory=True), torch.zeros(2**26, device=device)
    return here.nbytes / best(lambda: here.copy_(there, non_blocking=True), device)


def best(work: Callable[[], object], device: str) -> float:
    """The shortest of some trials, in seconds; the first is not counted."""

    def trials() -> Iterator[float]:
        for _ in range(6):
            begun = time.perf_counter()
            work()
            if torch.device(device).type == "cuda":
                torch.cuda.synchronize(device)
            yield time.perf_counter() - begun

    with torch.inference_mode():
        return min(list(trials())[1:])


if __name__ == "__main__":
    main()
