"""The twin's own mean waves and plankton -> ``pipeline/data/twin_means.nc``: their day-of-year climatology.

Run as ``python -m pipeline.twin.averages --out FILE``. Seed 0 is averaged over each month of ``YEARS`` years, and the
months are fitted with a mean and annual and semi-annual harmonics: those of the logarithm for biogeochemistry, which
keeps it positive. Directions are averaged as unit vectors; gaps over land are filled.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.earth import climatology
from pipeline.earth.splines import Field
from pipeline.twin import reduce
from pipeline.twin.world import Twin
from pipeline.variables import Kind

FIRST_YEAR, YEARS, SAMPLES_PER_MONTH = 1981, 20, 3
LATITUDE, LONGITUDE = np.arange(-89.0, 90.0, 2.0), np.arange(1.0, 360.0, 2.0)
PRECISION = {"swh": 0.002, "mwp": 0.002, "mwd_sine": 0.0005, "mwd_cosine": 0.0005}
LOGARITHM_PRECISION = 0.001
KINDS = (Kind.WAVES, Kind.BIOGEOCHEMISTRY)


def main() -> None:
    """The command line: ``--out FILE``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="netCDF file to write")
    reduce.write(averaged(Twin(0)), parser.parse_args().out)


def averaged(twin: Twin, years: int = YEARS) -> xr.Dataset:
    """Mean, annual and semi-annual harmonics of waves and biogeochemistry on 2-degree centres."""
    fields: dict[str, xr.DataArray] = {}
    names: dict[str, str] = {}
    for kind in KINDS:
        months = _monthly(twin, kind, years)
        names[kind.value] = " ".join(months)
        for name, values in months.items():
            logarithmic = kind is Kind.BIOGEOCHEMISTRY
            filled = np.stack([reduce.filled(month) for month in (np.log(values) if logarithmic else values)])
            for part, harmonic in reduce.harmonics(filled).items():
                attributes = {"long_name": f"{name}, {part}", "precision": PRECISION.get(name, LOGARITHM_PRECISION)}
                fields[f"{name}_{part}"] = xr.DataArray(harmonic, dims=("row_2", "column_2"), attrs=attributes)
    title = "Mean waves and plankton of the synthetic twin ocean: not observed"
    return xr.Dataset(fields, attrs={"title": title, "source": "python -m pipeline.twin.averages", **names})


def _monthly(twin: Twin, kind: Kind, years: int) -> dict[str, NDArray[np.float64]]:
    """By name, the means of the twelve equal months over all years, (12, rows, columns); NaN on land."""
    total: dict[str, NDArray[np.float64]] = {}
    for month in range(12):
        for sample in range(years * SAMPLES_PER_MONTH):
            part = (sample // years + 0.5) / SAMPLES_PER_MONTH
            start = datetime(FIRST_YEAR + sample % years, 1, 1, tzinfo=UTC)
            moment = start + timedelta(days=(month + part) / 12 * climatology.YEAR_DAYS)
            for name, values in _averageable(twin.fields(kind, moment, LATITUDE, LONGITUDE), kind).items():
                shape = (12, LATITUDE.size, LONGITUDE.size)
                total.setdefault(name, np.zeros(shape))[month] += values / (years * SAMPLES_PER_MONTH)
    return total


def _averageable(fields: dict[str, Field], kind: Kind) -> dict[str, Field]:
    if kind is Kind.WAVES:
        angle = np.deg2rad(fields["mwd"])
        return {"swh": fields["swh"], "mwp": fields["mwp"], "mwd_sine": np.sin(angle), "mwd_cosine": np.cos(angle)}
    return {name: values for name, values in fields.items() if name != "chl"}


if __name__ == "__main__":
    main()
