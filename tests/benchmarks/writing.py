"""How fast a forecast of full size is written, and by whom: ``python -m tests.benchmarks.writing [--days N]``.

Thirty lead days of 61 x 720 x 1440: smooth fields whose energy falls with the third power of the wavenumber, with
land. Three distinct days are made beforehand and given in turn; each way to write them runs in a process of its own.
The floor is what cannot be saved: the same fields compressed and nothing else, the same bytes put and nothing else.
Peers get the same fields and do what they do by default; earth2studio's run where it is installed
(``--earth2studio PYTHON``, for ``--peer-days``).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline import cycle, produce, products, systems
from pipeline.contracts import ForecastDay, Product
from pipeline.credits import Publisher
from pipeline.earth import landmask
from pipeline.output_gate import channels_of
from pipeline.produce import Facts
from pipeline.shards import Shards, compressed
from pipeline.store import Store
from pipeline.variables import variable
from pipeline.writer import PUTS, ProductWriter

ENTRY = products.OCEAN
DISTINCT_DAYS = 3
SPECTRUM = {"to": (12.0, 6.0), "so": (34.7, 0.8), "uo": (0.0, 0.25), "vo": (0.0, 0.25), "zos": (0.0, 0.4)}
"""Mean and spread of the synthetic fields, in the variables' units."""
FACTS = Facts(revision=1, forecaster="synthetic", checkpoint_sha256="", trained_on="nothing", code_version="0",
              inputs=(), publisher=Publisher())  # fmt: skip
Fields = NDArray[np.float32]


def system(days: int) -> systems.System:
    """The system of full size, with so many days written: lead days 0 to one less."""
    return systems.GLOBAL_QUARTER_DEGREE.model_copy(update={"forecast_days": days - 1})


START = cycle.cycle(systems.GLOBAL_QUARTER_DEGREE.name, "2024-01-01", systems.GLOBAL_QUARTER_DEGREE.start_hour)


def fields(days: Iterable[int] = range(DISTINCT_DAYS), state: str = ENTRY.state) -> list[Fields]:
    """Some days of one of the forecaster's arrays, each (channel, latitude, longitude)."""
    ocean = landmask.ocean_mask(system(2), state)
    patterns = [_pattern(seed, *ocean.shape[1:]) for seed in range(6)]
    labels = channels_of(state, system(2))
    made = []
    for day in days:
        values = np.empty(ocean.shape, np.float32)
        for number, label in enumerate(labels):
            entry = variable(label.variable)
            mean, spread = SPECTRUM.get(entry.name, ((entry.lower + entry.upper) / 2, (entry.upper - entry.lower) / 16))
            phase, one, other = 0.15 * day + 0.1 * number, patterns[number % 6], patterns[(number + 1) % 6]
            fade = spread * np.exp(-(label.depth_m or 0.0) / 800)
            values[number] = mean + fade * (np.cos(phase) * one + np.sin(phase) * other)
        values[~ocean] = np.nan
        made.append(values)
    return made


def _pattern(seed: int, rows: int, columns: int) -> Fields:
    """A field whose energy per wavenumber falls with its third power, of unit spread."""
    white = np.fft.rfft2(np.random.default_rng(seed).standard_normal((rows, columns)))
    across, along = np.fft.fftfreq(rows)[:, None] * rows, np.fft.rfftfreq(columns)[None] * columns / 2
    field = np.fft.irfft2(white * np.maximum(np.hypot(across, along), 3.0) ** -2.0, s=(rows, columns))
    return np.asarray(field / field.std(), dtype=np.float32)


def forecast_day(values: Fields, lead_day: int, **others: Fields) -> ForecastDay:
    """A lead day as a forecaster gives it: the ocean, and other arrays by name."""
    when = np.datetime64(START.valid_time(lead_day).replace(tzinfo=None), "ns")
    arrays = {name: ((f"{name}_channel", f"{name}_latitude", f"{name}_longitude"), array)
              for name, array in {"ocean": values, **others}.items()}  # fmt: skip
    return ForecastDay(xr.Dataset(arrays, coords={"time": when, "lead_day": lead_day}))


class Told(NamedTuple):
    """What one way came to. ``note``: of its own, such as what part of it was what."""

    seconds: float
    processor_seconds: float
    raw_bytes: int
    stored_bytes: int
    peak_mib: float
    note: str = ""


class Clock:
    """Seconds and processor seconds of a block."""

    def __enter__(self) -> Clock:
        self._wall, self._processor = time.perf_counter(), _processor()
        return self

    def __exit__(self, *error: object) -> None:
        self.seconds, self.processor = time.perf_counter() - self._wall, _processor() - self._processor

    def told(self, raw_bytes: int, stored_bytes: int, note: str = "") -> Told:
        """With what was written."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return Told(self.seconds, self.processor, raw_bytes, stored_bytes, peak, note)


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def ours(where: str, days: int) -> Told:
    """Forecast days labelled, rounded, checked, encoded and put."""
    made, store, labelling = fields(), Store(where), Clock()
    spent = 0.0
    with Clock() as clock, ProductWriter(store, "ocean.zarr", ENTRY, system(days), START, FACTS) as writer:
        for lead_day in range(days):
            day = forecast_day(made[lead_day % DISTINCT_DAYS], lead_day)
            with labelling:
                product = produce.produce(day, ENTRY, system(days), START, FACTS)
            spent += labelling.processor
            writer.write(product)
    stored = sum(item.size_bytes for item in writer.records)
    return clock.told(made[0].nbytes * days, stored, f"rounding, labels and checks beside it: {spent:.1f} s or less")


def every_product(where: str, days: int) -> Told:
    """The ocean with the waves, the plankton and the Kuroshio beside it, as a forecast has them."""
    store, of = Store(where), system(days)
    made = [{entry.state: values for entry in of.products for values in fields((day,), entry.state)}
            for day in range(DISTINCT_DAYS)]  # fmt: skip
    with Clock() as clock, ExitStack() as stack:
        writers = [stack.enter_context(ProductWriter(store, f"{entry.name}.zarr", entry, of, START, FACTS))
                   for entry in of.products]  # fmt: skip
        for lead_day in range(days):
            arrays = dict(made[lead_day % DISTINCT_DAYS])
            day = forecast_day(arrays.pop("ocean"), lead_day, **arrays)
            for entry, writer in zip(of.products, writers, strict=True):
                writer.write(produce.produce(day, entry, of, START, FACTS))
    raw = days * sum(values.nbytes for values in made[0].values())
    return clock.told(raw, sum(item.size_bytes for writer in writers for item in writer.records))


def rounded() -> list[dict[str, Fields]]:
    """The distinct days as they are encoded, by variable."""
    made = [produce.produce(forecast_day(values, lead), ENTRY, system(DISTINCT_DAYS), START, FACTS)
            for lead, values in enumerate(fields())]  # fmt: skip
    return [{item.name: product[item.name].values for item in ENTRY.variables} for product in made]


def produced(where: str, days: int) -> Told:
    """Days that are rounded and labelled already: what the writer itself takes."""
    store, made = Store(where), fields()
    entry, of = ENTRY, system(days)
    ready = [produce.produce(forecast_day(values, lead), entry, of, START, FACTS) for lead, values in enumerate(made)]
    raw = made.pop().nbytes * days
    made.clear()
    with Clock() as clock, ProductWriter(store, "ocean.zarr", entry, of, START, FACTS) as writer:
        for lead in range(days):
            day = ready[lead % DISTINCT_DAYS]
            writer.write(Product(day.assign_coords(forecast_period=("time", [lead]))))
    return clock.told(raw, sum(item.size_bytes for item in writer.records))


def compression(where: str, days: int) -> Told:
    """The floor: every level compressed on both processors, and thrown away."""
    made = rounded()
    levels = [level for lead in range(days) for values in made[lead % DISTINCT_DAYS].values()
              for level in values.reshape(-1, *values.shape[-2:])]  # fmt: skip
    with ThreadPoolExecutor(os.cpu_count()) as pool, Clock() as clock:
        stored = sum(len(data) for data in pool.map(compressed, levels))
    return clock.told(sum(level.nbytes for level in levels), stored)


def putting(where: str, days: int) -> Told:
    """The floor: bytes that are ready, put as the writer puts them."""
    made, store, shards = rounded(), Store(where), Shards(ENTRY, system(days), START, FACTS)
    ready = [{name: shards.encode(name, 0, values) for name, values in day.items()} for day in made]
    todo = [(shards.path(name, lead), data) for lead in range(days)
            for name, data in ready[lead % DISTINCT_DAYS].items()]  # fmt: skip
    with ThreadPoolExecutor(PUTS) as pool, Clock() as clock:
        list(pool.map(lambda item: store.write_bytes(f"ocean.zarr/{item[0]}", item[1]), todo))
    return clock.told(sum(values.nbytes for values in made[0].values()) * days, sum(len(data) for _, data in todo))


def to_zarr(where: str, days: int) -> Told:
    """``xarray.to_zarr``, a day appended to those before."""
    made, target = fields(), f"{where}/plain.zarr"
    labels = channels_of(ENTRY.state, system(2))
    names = list(dict.fromkeys(label.variable for label in labels))
    with Clock() as clock:
        for lead in range(days):
            values, datasets = made[lead % DISTINCT_DAYS], {}
            for name in names:
                rows = [at for at, label in enumerate(labels) if label.variable == name]
                deep = len(rows) > 1
                part = values[rows[0] : rows[-1] + 1][None] if deep else values[rows[0]][None]
                dims = ("time", "depth", "latitude", "longitude") if deep else ("time", "latitude", "longitude")
                datasets[name] = (dims, part)
            frame = xr.Dataset(datasets, coords={"time": [np.int64(lead)]})
            frame.to_zarr(target, consolidated=False, **({"mode": "w"} if lead == 0 else {"append_dim": "time"}))
    return clock.told(made[0].nbytes * days, _stored(where))


def zarr_backend(where: str, days: int) -> Told:
    """earth2studio's ``ZarrBackend``, as its workflows use it: an array for each channel, a chunk for each lead."""
    from earth2studio.io import ZarrBackend  # type: ignore[import-not-found]

    return _earth2studio(lambda coords: ZarrBackend(f"{where}/e2.zarr"), where, days)


def async_zarr_backend(where: str, days: int) -> Told:
    """earth2studio's ``AsyncZarrBackend``, not blocking, eight threads: its defaults for speed."""
    from earth2studio.io import AsyncZarrBackend

    def opened(coords: dict[str, NDArray[Any]]) -> Any:
        leading = {name: coords[name] for name in ("time", "lead_time")}
        if where.startswith("s3://"):
            from obstore.store import S3Store  # type: ignore[import-not-found]

            bucket, _, prefix = where.removeprefix("s3://").partition("/")
            store = S3Store(bucket, prefix=f"{prefix}/async.zarr", endpoint=os.environ["AWS_ENDPOINT_URL"],
                            client_options={"allow_http": True})  # fmt: skip
            return AsyncZarrBackend(None, leading, blocking=False, store=store)
        return AsyncZarrBackend(f"{where}/async.zarr", leading, blocking=False)

    return _earth2studio(opened, where, days)


def _earth2studio(open_backend: Callable[[dict[str, NDArray[Any]]], Any], where: str, days: int) -> Told:
    import torch

    made, grid = fields(), system(2).grid
    names = [label.label for label in channels_of(ENTRY.state, system(2))]
    coords = {
        "time": np.array([np.datetime64("2024-01-01T12", "ns")]),
        "lead_time": np.array([np.timedelta64(24 * lead, "h") for lead in range(days)]).astype("timedelta64[ns]"),
        "lat": grid.latitude, "lon": grid.longitude,
    }  # fmt: skip
    with Clock() as clock:
        backend = open_backend(coords)
        backend.add_array(coords, names)
        for lead in range(days):
            days_values = torch.from_numpy(made[lead % DISTINCT_DAYS])
            part = {**coords, "lead_time": coords["lead_time"][lead : lead + 1]}
            backend.write([days_values[at][None, None] for at in range(len(names))], part, names)
        if hasattr(backend, "close"):
            backend.close()
    return clock.told(made[0].nbytes * days, _stored(where))


def _stored(where: str) -> int:
    return sum(size for _, size in Store(where).objects(""))


def engine(name: str) -> Callable[[str, int], Told]:
    """The same arrays with the same codecs written by another engine into a folder: zarr-python, zarrs, tensorstore."""

    def written(where: str, days: int) -> Told:
        made = rounded()
        shards = Shards(ENTRY, system(days), START, FACTS)
        for path, data in shards.metadata.items():
            (Path(where) / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(where) / path).write_bytes(data)
        put = _engine(name, where)
        with Clock() as clock:
            for lead in range(days):
                for variable, values in made[lead % DISTINCT_DAYS].items():
                    put(variable, lead, values)
        return clock.told(sum(values.nbytes for values in made[0].values()) * days, _stored(where))

    return written


def _engine(name: str, where: str) -> Callable[[str, int, Fields], None]:
    if name == "tensorstore":
        import tensorstore  # type: ignore[import-not-found,import-untyped,unused-ignore]

        held = {item.name: tensorstore.open({
            "driver": "zarr3", "kvstore": {"driver": "file", "path": f"{where}/{item.name}"},
        }).result() for item in ENTRY.variables}  # fmt: skip

        def by_tensorstore(variable: str, lead: int, values: Fields) -> None:
            held[variable][lead : lead + 1].write(values).result()

        return by_tensorstore
    import zarr

    if name == "zarrs":
        zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"})
    arrays = {item.name: zarr.open_array(f"{where}/{item.name}", mode="r+") for item in ENTRY.variables}

    def by_zarr(variable: str, lead: int, values: Fields) -> None:
        arrays[variable][lead : lead + 1] = values

    return by_zarr


CODECS = (
    ("zstd", "bitshuffle", 1 << 22), ("zstd", "bitshuffle", 1 << 19), ("zstd", "bitshuffle", 0),
    ("zstd", "shuffle", 1 << 22), ("lz4", "bitshuffle", 1 << 22), ("lz4", "shuffle", 1 << 22),
)  # fmt: skip
"""Blosc's codec, its shuffle and its block (none: its own choice), each at level 1."""


def codecs() -> None:
    """What each codec makes of one day on one processor, by processor time."""
    from numcodecs.blosc import Blosc  # type: ignore[import-untyped]

    levels = [level for values in rounded()[0].values() for level in values.reshape(-1, *values.shape[-2:])]
    raw = sum(level.nbytes for level in levels)
    print(f"{'codec':<8} {'shuffle':<12} {'block, KiB':>10} {'packs GB/s':>11} {'unpacks GB/s':>13} {'size':>7}")
    for name, shuffle, block in CODECS:
        codec = Blosc(name, 1, getattr(Blosc, shuffle.upper()), block)
        with Clock() as packing:
            packed = [codec.encode(level) for level in levels]
        with Clock() as unpacking:
            for data in packed:
                codec.decode(data)
        print(f"{name:<8} {shuffle:<12} {block >> 10:>10} {raw / packing.processor / 1e9:11.2f} "
              f"{raw / unpacking.processor / 1e9:13.2f} {sum(map(len, packed)) / raw:7.4f}", flush=True)  # fmt: skip


WAYS: dict[str, Callable[[str, int], Told]] = {
    "ours": ours, "ours, every product": every_product, "the writer alone": produced,
    "compression alone": compression, "putting alone": putting,
    "engine zarr-python": engine("zarr-python"), "engine zarrs": engine("zarrs"),
    "engine tensorstore": engine("tensorstore"),
    "xarray.to_zarr": to_zarr, "earth2studio ZarrBackend": zarr_backend,
    "earth2studio AsyncZarrBackend": async_zarr_backend,
}  # fmt: skip
PEERS = ("xarray.to_zarr", "earth2studio ZarrBackend", "earth2studio AsyncZarrBackend")
ON_S3 = (
    "ours",
    "ours, every product",
    "the writer alone",
    "putting alone",
    "xarray.to_zarr",
    "earth2studio AsyncZarrBackend",
)
"""Those that write to object storage; the others know folders alone, or no place at all."""


def measure(way: str, where: str, days: int, python: str, environment: dict[str, str]) -> Told | None:
    """One way in a process of its own, told; ``None`` where it failed, which is said."""
    command = [python, "-m", "tests.benchmarks.writing", "--inside", way, "--where", where, "--days", str(days)]
    answer = subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ, **environment})
    if answer.returncode:
        last = answer.stderr.strip().splitlines()[-1:] or ["nothing said"]
        print(f"{way:<32} failed: {last[0][:120]}", flush=True)
        return None
    told = Told(*json.loads(answer.stdout.splitlines()[-1]))
    rate, times = told.raw_bytes / told.seconds / 1e9, told.raw_bytes / max(1, told.stored_bytes)
    load = os.getloadavg()[0]
    print(f"{way:<32} {days:4d} {told.seconds:8.1f} {told.processor_seconds:8.1f} {rate:7.2f} "
          f"{told.stored_bytes / 1e6:8.0f} {times:6.2f} {told.peak_mib:7.0f} {load:6.1f}  {told.note}",
          flush=True)  # fmt: skip
    return told


def table(place: str, options: argparse.Namespace, where: Callable[[], str], environment: dict[str, str]) -> None:
    """Every way that is asked for, at one place; what it wrote is removed before the next."""
    print(f"\n{place}\n{'way':<32} {'days':>4} {'seconds':>8} {'cpu s':>8} {'GB/s':>7} {'MB':>8} {'ratio':>6} "
          f"{'MiB':>7} {'load':>6}")  # fmt: skip
    for way in options.only or WAYS:
        if environment and way not in ON_S3:
            continue
        peer = way.startswith("earth2studio")
        if peer and options.earth2studio is None:
            print(f"{way:<32} not run: name a Python that has it by --earth2studio")
            continue
        days = (
            options.days if way not in PEERS and not way.startswith("engine") else min(options.peer_days, options.days)
        )
        target = where()
        measure(way, target, days, options.earth2studio if peer else sys.executable, environment)
        if not environment:
            shutil.rmtree(target, ignore_errors=True)


@contextmanager
def object_store(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """A bucket on a SeaweedFS of our own, and what the environment must say."""
    from tests.s3_server import BUCKET, S3Server, serving

    admin = ("ADMINKEY", "admin-secret")
    rights = {"name": "admin", "actions": ["Admin", "Read", "Write", "List", "Tagging"],
              "credentials": [{"accessKey": admin[0], "secretKey": admin[1]}]}  # fmt: skip
    with serving(folder, json.dumps({"identities": [rights]}), admin) as endpoint:
        yield f"s3://{BUCKET}", S3Server(endpoint, admin, admin).environment(admin)


def main() -> None:
    """Print a table for a folder and one for object storage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=31)
    parser.add_argument("--peer-days", type=int, default=4)
    parser.add_argument("--only", nargs="+", choices=tuple(WAYS))
    parser.add_argument("--place", choices=("folder", "s3", "both"), default="both")
    parser.add_argument("--earth2studio", help="a Python with earth2studio")
    parser.add_argument("--codecs", action="store_true", help="compare codecs instead")
    parser.add_argument("--scratch", type=Path, help="where to write; none: a temporary folder")
    parser.add_argument("--inside", choices=tuple(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--where", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(WAYS[options.inside](options.where, options.days)))
        return
    if options.codecs:
        codecs()
        return
    with TemporaryDirectory(dir=options.scratch) as scratch:
        if options.place in ("folder", "both"):
            table("a folder", options, lambda: str(_made(Path(scratch) / uuid.uuid4().hex)), {})
        if options.place in ("s3", "both"):
            with object_store(_made(Path(scratch) / "s3")) as (bucket, environment):
                table("SeaweedFS", options, lambda: f"{bucket}/{uuid.uuid4().hex}", environment)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    main()
