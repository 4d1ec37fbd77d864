"""What rounding costs and saves, per variable: ``python -m tests.benchmarks.precision [--bits 7 8 ...]``.

For each number of mantissa bits kept: the root mean square of what rounding adds, also relative to the field's own
spread; the same of the gradient from cell to cell, relative to the gradient; of sea level the geostrophic current it
stands for (more than 5 degrees off the equator); and how many times smaller the field is stored. A star marks the
registry's choice. Ocean: the synthetic fields of ``tests.benchmarks.writing``, 1/4 degree, at the surface and, where
there are depths, deeper; waves and plankton: the twin's, 1 degree.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from pipeline import products, systems, truth
from pipeline.output_gate import channels_of
from pipeline.precision import round_mantissa
from pipeline.shards import compressed
from pipeline.variables import Variable, variable
from tests.benchmarks import writing

DAY = datetime(2024, 1, 1, 12, tzinfo=UTC)
GRAVITY_M_S2, EARTH_TURNS_RAD_S, DEGREE_M = 9.80665, 7.292115e-5, 111_195.0
"""Standard gravity; WGS 84; a degree of latitude on a sphere of 6371 km."""
LEAST_LATITUDE = 5.0
DEPTHS_M = (0.0, 500.0)
Field = NDArray[np.float32]


def fields() -> Iterator[tuple[Variable, str, Field, systems.System]]:
    """Every variable of the products: entry, where it is taken, values, and the system whose grid they are on."""
    day, full = writing.fields()[0], writing.system(2)
    for values, label in zip(day, channels_of("ocean", full), strict=True):
        if label.depth_m is None or label.depth_m in DEPTHS_M:
            depth = "" if label.depth_m is None else f"{label.depth_m:g} m"
            yield variable(label.variable), depth, values, full
    with TemporaryDirectory() as scratch:
        happened = truth.analysed(systems.TWIN, truth.Edge(None, Path(scratch)))
        for product in (products.WAVES, products.BIOGEOCHEMISTRY):
            found = happened(product, DAY)
            for entry in product.variables:
                yield entry, "", np.ascontiguousarray(found[entry.name].values.squeeze(), np.float32), systems.TWIN


def rms(values: NDArray[np.floating]) -> float:
    """Over what is not missing."""
    return float(np.sqrt(np.nanmean(np.square(values, dtype=np.float64))))


def eastward(values: Field) -> NDArray[np.float64]:
    """Difference from each cell to the next in the east."""
    return np.diff(values.astype(np.float64), axis=1)


def geostrophic(height: Field, system: systems.System) -> NDArray[np.float64]:
    """Northward geostrophic current, m/s: g/f times the slope to the east."""
    latitude = np.deg2rad(system.grid.latitude)[:, None]
    far = np.abs(system.grid.latitude)[:, None] >= LEAST_LATITUDE
    coriolis = np.where(far, 2 * EARTH_TURNS_RAD_S * np.sin(latitude), np.nan)
    metres = np.maximum(system.grid.longitude_step * DEGREE_M * np.cos(latitude), 1.0)
    return GRAVITY_M_S2 / coriolis * eastward(height) / metres


def row(entry: Variable, where: str, values: Field, system: systems.System, bits: int) -> str:
    """One line of the table."""
    rounded = values.copy()
    round_mantissa(rounded, bits)
    added = rms(rounded - values.astype(np.float64))
    slopes = eastward(values)
    slope = rms(eastward(rounded) - slopes) / rms(slopes)
    current = ""
    if entry.name == "zos":
        true = geostrophic(values, system)
        error = rms(geostrophic(rounded, system) - true)
        current = f"{error:.2g} m/s of {rms(true):.2g}"
    star = "*" if bits == entry.mantissa_bits else " "
    smaller = values.nbytes / len(compressed(rounded))
    return (f"{entry.name:<18} {where:<6} {bits:3d}{star} {added:10.2g} {added / np.nanstd(values):9.1e} "
            f"{slope:9.1e} {smaller:7.2f}  {current}")  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bits", type=int, nargs="+", default=[7, 8, 9, 10, 11, 12, 13, 14, 23])
    options = parser.parse_args()
    print(
        f"{'variable':<18} {'at':<6} {'bits':<4} {'rmse':>10} {'/spread':>9} {'slope':>9} {'smaller':>7}  geostrophic"
    )
    for entry, where, values, system in fields():
        for bits in sorted({*options.bits, entry.mantissa_bits}):
            print(row(entry, where, values, system, bits), flush=True)


if __name__ == "__main__":
    main()
