"""61 native GLBy0.08 slabs to 720 x 1440, beside xarray-regrid: ``python -m tests.benchmarks.regridding``.

The slabs lie in one file of packed int16, 4251 x 4500 points each, with the system's land: ``regrid`` reads them level
by level, checks them against the coast and fills the rim; xarray-regrid reads the same dask arrays and averages them
conservatively, land left out of the means. Each runs in a process of its own on as many threads, one after the other.
xarray-regrid does not know that longitude is a circle: it is given some columns twice. Wants ``xarray-regrid``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr

from pipeline import computing, provenance
from pipeline.contracts import Ingested
from pipeline.earth import landmask
from pipeline.grids import Grid
from pipeline.provenance import InputRecord
from pipeline.systems import GLOBAL_QUARTER_DEGREE as SYSTEM
from pipeline.variables import Kind, variable

ROWS, COLUMNS = 4251, 4500
LATITUDE, LONGITUDE = -80.0 + 0.04 * np.arange(ROWS), 0.08 * np.arange(COLUMNS)
SCALE, FILL = 0.001, -30000
WRAPPED = 4
"""Columns of the other side that xarray-regrid is given on each side: half a target cell and more."""
ORDER = [("to", level) for level in range(15)] + [("so", level) for level in range(15)] + [
    ("uo", level) for level in range(15)] + [("vo", level) for level in range(15)] + [("zos", 0)]  # fmt: skip


def write(path: Path, slabs: int) -> None:
    """Packed slabs: planetary waves and eddies, each with phases of its own; the system's land."""
    ocean = landmask.depth_mask(SYSTEM)
    rows = ((LATITUDE - SYSTEM.grid.latitude_edges[0]) / SYSTEM.grid.latitude_step).astype(int).clip(0, 719)
    columns = ((LONGITUDE - SYSTEM.grid.longitude_edges[0]) / SYSTEM.grid.longitude_step).astype(int) % 1440
    y, x = np.deg2rad(LATITUDE)[:, None].astype(np.float32), np.deg2rad(LONGITUDE)[None, :].astype(np.float32)
    with path.open("wb") as out:
        for number, (_, level) in enumerate(ORDER[:slabs]):
            field = 2 * np.sin(3 * x + number) * np.cos(2 * y) + np.sin(60 * x + number) * np.sin(50 * y) * np.cos(y)
            packed = np.round(field / SCALE).astype(np.int16)
            packed[~ocean[level][np.ix_(rows, columns)]] = FILL
            packed.tofile(out)


def lazily(path: Path) -> da.Array:
    """The unpacked slabs, float32 with NaN on land, one chunk each."""
    count = path.stat().st_size // (2 * ROWS * COLUMNS)

    def slab(number: int) -> np.ndarray:
        packed = np.fromfile(path, np.int16, ROWS * COLUMNS, offset=2 * ROWS * COLUMNS * number).reshape(ROWS, COLUMNS)
        values = packed.astype(np.float32)
        values *= np.float32(SCALE)
        values[packed == FILL] = np.nan
        return values

    return da.stack([da.from_delayed(dask.delayed(slab)(n), (ROWS, COLUMNS), np.float32) for n in range(count)])


def ours(path: Path, threads: int) -> np.ndarray:
    """``regrid`` of the file, slabs in order."""
    from pipeline import regrid

    slabs = lazily(path)
    names = list(dict.fromkeys(name for name, _ in ORDER[: len(slabs)]))
    fields: dict[str, Any] = {}
    place = 0
    for name in names:
        count = sum(one == name for one, _ in ORDER[: len(slabs)])
        dims = ("depth", "latitude", "longitude") if variable(name).has_depth else ("latitude", "longitude")
        part = slabs[place : place + count]
        fields[name] = (dims, part if variable(name).has_depth else part[0], {"units": variable(name).units})
        place += count
    coords = {"depth": list(SYSTEM.depths_m), "latitude": LATITUDE, "longitude": LONGITUDE}
    record = InputRecord(kind=Kind.OCEAN, variables=tuple(names), source="hycom-espc", rung=0,
                         valid_time=None, age_hours=0.0)  # fmt: skip
    dataset = provenance.attach(xr.Dataset(fields, coords=coords), (record,))
    with computing.on(None, threads):
        gridded = regrid.regrid((Ingested(dataset),), Kind.OCEAN, SYSTEM)
    return np.concatenate([gridded[name].values.reshape(-1, *SYSTEM.grid.shape) for name in names])


def theirs(path: Path, threads: int) -> np.ndarray:
    """xarray-regrid's conservative method on the same dask arrays."""
    import xarray_regrid  # noqa: F401 (registers the accessor)

    slabs = lazily(path)
    wrapped = da.concatenate([slabs[..., -WRAPPED:], slabs, slabs[..., :WRAPPED]], axis=2).rechunk((1, -1, -1))
    step = LONGITUDE[1]
    longitude = np.concatenate(
        [LONGITUDE[-WRAPPED:] - 360, LONGITUDE, LONGITUDE[-1] + step * np.arange(1, WRAPPED + 1)]
    )
    data = xr.DataArray(wrapped, dims=("level", "latitude", "longitude"),
                        coords={"latitude": LATITUDE, "longitude": longitude})  # fmt: skip
    grid: Grid = SYSTEM.grid
    target = xr.Dataset(coords={"latitude": grid.latitude, "longitude": grid.longitude})
    with dask.config.set(scheduler="threads", num_workers=threads):
        made = data.regrid.conservative(
            target, latitude_coord="latitude", skipna=True,
            output_chunks={"latitude": grid.rows, "longitude": grid.columns},
        )  # fmt: skip
        return np.asarray(made.values, dtype=np.float32)


def _measure(sender: Any, work: Callable[[Path, int], np.ndarray], path: Path, threads: int, out: Path) -> None:
    with path.open("rb") as file:  # both find the file in the system's cache
        while file.read(1 << 24):
            pass
    begun = time.perf_counter()
    made = work(path, threads)
    seconds = time.perf_counter() - begun
    usage = resource.getrusage(resource.RUSAGE_SELF)
    np.save(out, made)
    sender.send((seconds, usage.ru_utime + usage.ru_stime, peak_mib()))


def peak_mib() -> float:
    """The largest resident memory this process has had, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(
    work: Callable[[Path, int], np.ndarray], path: Path, threads: int, out: Path
) -> tuple[float, float, float]:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(sender, work, path, threads, out))
    process.start()
    sender.close()
    try:
        found: tuple[float, float, float] = receiver.recv()
    finally:
        process.join()
    seconds, processor, memory = found
    print(f"{work.__name__:<8} {seconds:9.1f} s {processor:9.1f} s of processor {memory:9.0f} MiB at most", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slabs", type=int, default=len(ORDER), choices=(15, 30, 45, 60, len(ORDER)))
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "slabs.bin"
        write(path, asked.slabs)
        mine = measured(ours, path, asked.threads, Path(folder) / "ours.npy")
        other = measured(theirs, path, asked.threads, Path(folder) / "theirs.npy")
        one, two = (np.load(Path(folder) / f"{name}.npy", mmap_mode="r") for name in ("ours", "theirs"))
        worst = max(_difference(one[n], two[n]) for n in range(asked.slabs))
    print(f"{other[0] / mine[0]:.1f} times as fast; they differ by {worst:.1e} of the root mean square")


def _difference(one: np.ndarray, two: np.ndarray) -> float:
    """The largest difference where both are defined, over the field's root mean square."""
    both = np.isfinite(one) & np.isfinite(two)
    return float(np.abs(one - two)[both].max() / np.sqrt(np.square(one[both], dtype=np.float64).mean()))


if __name__ == "__main__":
    main()
