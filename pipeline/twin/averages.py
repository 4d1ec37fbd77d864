"""The twin's own mean waves and plankton -> ``pipeline/data/twin_means.nc``: their day-of-year climatology.

Run as ``python -m pipeline.twin.averages --out FILE``. Seed 0 is sampled every ``STEP_DAYS`` over ``YEARS`` years;
mean and annual harmonic are fitted by least squares. Directions are averaged as unit vectors, concentrations as
logarithms (their mean is then the typical value, as they spread over decades); gaps over land are filled.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline import climatology
from pipeline.splines import Field
from pipeline.twin import reduce
from pipeline.twin.world import Twin
from pipeline.variables import Kind

YEARS, STEP_DAYS = 10, 7.3
START = datetime(1981, 1, 1, 12, tzinfo=UTC)
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
    """Mean and annual harmonic of waves and biogeochemistry on 2-degree centres."""
    moments = [
        START + timedelta(days=STEP_DAYS * step) for step in range(round(years * climatology.YEAR_DAYS / STEP_DAYS))
    ]
    fields: dict[str, xr.DataArray] = {}
    names: dict[str, str] = {}
    for kind in KINDS:
        fitted = _fitted(twin, kind, moments)
        names[kind.value] = " ".join(fitted)
        for name, parts in fitted.items():
            for part, values in zip(("mean", "annual_cosine", "annual_sine"), parts, strict=True):
                attributes = {"long_name": f"{name}, {part}", "precision": PRECISION.get(name, LOGARITHM_PRECISION)}
                filled = reduce.filled(values)
                fields[f"{name}_{part}"] = xr.DataArray(filled, dims=("row_2", "column_2"), attrs=attributes)
    title = "Mean waves and plankton of the synthetic twin ocean: not observed"
    return xr.Dataset(fields, attrs={"title": title, "source": "python -m pipeline.twin.averages", **names})


def _fitted(twin: Twin, kind: Kind, moments: list[datetime]) -> dict[str, NDArray[np.float64]]:
    """By name, (3, rows, columns): mean, annual cosine, annual sine by least squares."""
    design = np.stack([np.concatenate([[1.0], climatology.season(moment)[:2]]) for moment in moments])
    solver = np.linalg.pinv(design)
    total: dict[str, NDArray[np.float64]] = {}
    for step, moment in enumerate(moments):
        for name, values in _averageable(twin.fields(kind, moment, LATITUDE, LONGITUDE), kind).items():
            share = solver[:, step, None, None] * values
            total[name] = np.asarray(total[name] + share if name in total else share, dtype=np.float64)
    return total


def _averageable(fields: dict[str, Field], kind: Kind) -> dict[str, Field]:
    if kind is Kind.WAVES:
        angle = np.deg2rad(fields["mwd"])
        return {"swh": fields["swh"], "mwp": fields["mwp"], "mwd_sine": np.sin(angle), "mwd_cosine": np.cos(angle)}
    return {name: np.log(values) for name, values in fields.items() if name != "chl"}


if __name__ == "__main__":
    main()
