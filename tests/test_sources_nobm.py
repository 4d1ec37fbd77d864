"""NOBM's daily layout: its names, its fill value, its dates."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import netCDF4
import numpy as np
import pytest

from pipeline.errors import InputRefused, InputUnavailable
from pipeline.ingest import ingest
from pipeline.provenance import records
from pipeline.systems import TWIN, Ladder, rungs
from pipeline.variables import BIOGEOCHEMISTRY, Kind
from tests import native_files as native

SYSTEM = TWIN.model_copy(update={"ladders": (Ladder(kind=Kind.BIOGEOCHEMISTRY, rungs=rungs("nobm"), required=False),)})
NOON = native.START + timedelta(hours=12)


def read(folder: Path, days: int = 0):
    when = NOON + timedelta(days=days)
    (part,) = ingest(SYSTEM, Kind.BIOGEOCHEMISTRY, when, inputs=str(folder), scratch=folder)
    return part


@pytest.mark.parametrize("fill_attribute", [True, False])
@pytest.mark.parametrize(("name", "days_after"), [("a.nc", [0.0, 1.0]), ("day20230101.nc", None)])
def test_a_daily_mean_is_read_for_an_instant_of_its_day(
    tmp_path: Path, name: str, days_after: list[float] | None, fill_attribute: bool
) -> None:
    native.write_nobm(tmp_path / name, days_after=days_after, fill_attribute=fill_attribute)
    part = read(tmp_path)
    roll = np.argsort(native.NOBM_LONGITUDE % 360)
    for place, entry in enumerate(BIOGEOCHEMISTRY):
        expected = native.nobm_values(place)[:, roll].astype(np.float32)
        np.testing.assert_array_equal(part[entry.name].values, expected, err_msg=entry.name)
    assert records(part)[0].note == "daily mean of 2023-01-01"
    assert records(part)[0].age_hours == 0.0


def test_another_day_is_unavailable(tmp_path: Path) -> None:
    native.write_nobm(tmp_path / "a.nc")
    with pytest.raises(InputUnavailable, match="nothing nearer than 2023-01-01"):
        read(tmp_path, days=1)


def test_two_means_of_one_day_are_refused(tmp_path: Path) -> None:
    native.write_nobm(tmp_path / "a.nc", days_after=[0.0, 0.5])
    with pytest.raises(InputRefused, match="one step of 2023-01-01"):
        read(tmp_path)


def test_a_file_without_a_date_is_refused(tmp_path: Path) -> None:
    native.write_nobm(tmp_path / "a.nc", days_after=None)
    with pytest.raises(InputRefused, match="with a time coordinate"):
        read(tmp_path)


def test_a_file_without_units_is_refused_with_the_accepted_ones(tmp_path: Path) -> None:
    path = native.write_nobm(tmp_path / "a.nc")
    with netCDF4.Dataset(path, "r+") as file:
        del file["irn"].units
    with pytest.raises(InputRefused, match=r"'nmol/L', .*; found units ''"):
        read(tmp_path)


def test_other_archives_use_of_the_same_names_is_not_nobm(tmp_path: Path) -> None:
    with netCDF4.Dataset(tmp_path / "bathymetry.nc", "w") as file:
        for name, size in (("lat", 180), ("lon", 360)):
            file.createDimension(name, size)
            file.createVariable(name, "f8", (name,))[:] = np.arange(size) + 0.5 - 90 * (name == "lat")
        file.createVariable("h", "f4", ("lat", "lon"))[:] = 1.0
    with pytest.raises(InputUnavailable, match="none among 1 files"):
        read(tmp_path)
