"""Bad input is refused before the model sees it: one clear sentence and the right exit code, whatever is wrong.

Every fault is put into a small file in HYCOM's layout and, where the archives' files are at hand, into a copy of the
real one; both hold 2023-01-01 and 2023-01-02 at 00Z, and both are accepted as they are.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import netCDF4
import numpy as np
import pytest
from xarray.backends.netCDF4_ import NETCDF4_PYTHON_LOCK

from pipeline.errors import GomsError, InputRefused, InputUnavailable
from pipeline.ingest import ingest
from pipeline.regrid import regrid
from pipeline.systems import CORAL_SEA
from pipeline.variables import Kind
from tests import native_files as native

REAL = "hycom_coral_sea_20230101_20230102.nc"
Edit = Callable[[netCDF4.Dataset], None]


class Fault(NamedTuple):
    """What is done to the file, and what the sentence must say."""

    edit: Edit
    says: str


def _renamed(file: netCDF4.Dataset) -> None:
    file.renameVariable("salinity", "salt")


def _depth_moved(file: netCDF4.Dataset) -> None:
    depth = file["depth"][:]
    file["depth"][:] = np.where(depth == 125, 126, depth)


def _depth_twice(file: netCDF4.Dataset) -> None:
    depth = file["depth"][:]
    file["depth"][:] = np.where(depth == 8, 6, depth)


def _units(name: str, units: str) -> Edit:
    return lambda file: file[name].setncattr("units", units)


def _no_units(file: netCDF4.Dataset) -> None:
    del file["water_u"].units


def _kelvin(file: netCDF4.Dataset) -> None:
    """The packed integers now unpack to kelvin; the label still says degC."""
    file["water_temp"].add_offset = 293.15


def _emptied(share: float) -> Edit:
    def edit(file: netCDF4.Dataset) -> None:
        values = file["water_v"][:]
        values[np.random.default_rng(7).random(values.shape) < share] = native.HYCOM_FILL
        file["water_v"][:] = values

    return edit


def _constant(file: netCDF4.Dataset) -> None:
    values = file["salinity"][:]
    file["salinity"][:] = np.where(values == native.HYCOM_FILL, values, 15000)


def _level_repeated(file: netCDF4.Dataset) -> None:
    place = int(np.flatnonzero(file["depth"][:] == 20)[0])
    above = int(np.flatnonzero(file["depth"][:] == 10)[0])
    file["water_u"][:, place] = file["water_u"][:, above]


def _out_of_bounds(file: netCDF4.Dataset) -> None:
    values = file["surf_el"][:]
    values[:, 20, 20] = 7300
    file["surf_el"][:] = values


def _shifted(hours: float) -> Edit:
    def edit(file: netCDF4.Dataset) -> None:
        file["time"][:] = file["time"][:] + hours

    return edit


def _duplicated(file: netCDF4.Dataset) -> None:
    file["time"][:] = np.full(2, file["time"][0])


def _backwards(file: netCDF4.Dataset) -> None:
    file["time"][:] = file["time"][:][::-1]


def _time_units(file: netCDF4.Dataset) -> None:
    file["time"].units = "hours since analysis"


def _latitude_gap(file: netCDF4.Dataset) -> None:
    file["lat"][:] = np.where(np.arange(47) < 20, file["lat"][:], file["lat"][:] + 1.0)


def _longitude_repeated(file: netCDF4.Dataset) -> None:
    file["lon"][:] = np.where(np.arange(25) == 12, file["lon"][11], file["lon"][:])


FAULTS = {
    "missing variable": Fault(_renamed, r"found HYCOM does not hold so for 2023.*; in the ladder hycom over \S+;"),
    "missing depth": Fault(_depth_moved, r"found no level at 125 m"),
    "depth given twice": Fault(_depth_twice, r"found several at 6 m"),
    "temperature in K": Fault(_units("water_temp", "K"), r"written as one of 'degC'.*; found units 'K'"),
    "currents in cm/s": Fault(_units("water_u", "cm/s"), r"one of 'm/s'.*; found units 'cm/s'"),
    "no units": Fault(_no_units, r"one of 'm/s'.*; found units ''"),
    "kelvin labelled degC": Fault(
        _kelvin, r"needed to within -3\.\.40 degC .*; found 2\d\d\.\d*\.\.[23]\d\d\.\d* degC"
    ),
    "98 % NaN": Fault(_emptied(0.98), r"needed vo with at most 90 % missing; found 9[89]\.\d % of the level at 0 m"),
    "all NaN": Fault(_emptied(1.1), r"needed vo with at most 90 % missing; found 100\.0 %"),
    "constant field": Fault(_constant, r"needed so that varies from place to place; found 35 1 in all \d+ cells"),
    "level written twice": Fault(_level_repeated, r"needed uo that varies with depth; found the level at 20 m equal"),
    "out of bounds": Fault(_out_of_bounds, r"needed zos within -5\.\.5 m .*; found -?\d\S*\.\.7\.3 m"),
    "stamps six hours late": Fault(_shifted(6), r"time stamps beside it, the nearest 2023-01-01T06:00:00"),
    "stamps three hours early": Fault(_shifted(-3), r"time stamps beside it, the nearest 2022-12-31T21:00:00"),
    "stamps half an hour late": Fault(_shifted(0.5), r"time stamps beside it, the nearest 2023-01-01T00:30:00"),
    "duplicated stamps": Fault(_duplicated, r"needed time stamps that increase; found 2023-01-01T00:00:00 after 2023"),
    "stamps that go back": Fault(_backwards, r"found 2023-01-01T00:00:00 after 2023-01-02T00:00:00"),
    "undecodable time": Fault(_time_units, r"found units 'hours since analysis'"),
    "latitude with a gap": Fault(_latitude_gap, r"needed latitude in even steps of one sign; found -25\.04"),
    "longitude twice": Fault(_longitude_repeated, r"needed longitude in even steps of one sign"),
}


@pytest.fixture
def small_file(tmp_path: Path) -> Path:
    """Two days of a small ocean in HYCOM's layout."""
    start = native.hours(native.START)
    return native.write_hycom(tmp_path / "hycom.nc", stamps=[start, start + 24])


@pytest.fixture
def real_file(tmp_path: Path, realdata: Path) -> Path:
    """A copy of the real Coral Sea file that may be written to."""
    copy = Path(shutil.copyfile(realdata / REAL, tmp_path / REAL))
    copy.chmod(0o644)
    return copy


def edited(path: Path, edit: Edit) -> Path:
    """The library bears no two threads: xarray's lock is held by any that still reads."""
    with NETCDF4_PYTHON_LOCK, netCDF4.Dataset(path, "r+") as file:
        file.set_auto_maskandscale(False)
        edit(file)
    return path.parent


def refusal(folder: Path, days: int = 0) -> GomsError:
    """What ingest says of the ocean in a folder."""
    with pytest.raises(GomsError) as caught:
        ingest(
            CORAL_SEA, Kind.OCEAN, native.START + timedelta(days=days), inputs=str(folder), scratch=folder / "scratch"
        )
    return caught.value


def assert_one_sentence(error: GomsError, exit_code: int, says: str) -> None:
    assert error.exit_code == exit_code
    assert re.search(says, str(error)), str(error)
    assert "\n" not in str(error)
    assert all((error.needed, error.found, error.where, error.action))
    assert ".nc" in error.where or "ladder" in error.where or error.where.startswith("/")


def test_the_small_file_without_a_fault_is_accepted(small_file: Path, tmp_path: Path) -> None:
    assert ingest(CORAL_SEA, Kind.OCEAN, native.START, inputs=str(small_file), scratch=tmp_path)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_a_small_file_is_refused(small_file: Path, name: str) -> None:
    assert_one_sentence(refusal(edited(small_file, FAULTS[name].edit)), 4, FAULTS[name].says)


@pytest.mark.realdata
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_the_real_file_is_refused(real_file: Path, name: str) -> None:
    assert_one_sentence(refusal(edited(real_file, FAULTS[name].edit)), 4, FAULTS[name].says)


def test_a_date_the_file_does_not_hold_is_unavailable(small_file: Path) -> None:
    assert_one_sentence(refusal(small_file.parent, days=9), 3, r"nothing nearer than 2023-01-02T00:00:00 in hycom\.nc")


def test_a_whole_day_of_shift_is_a_date_not_held(small_file: Path) -> None:
    assert_one_sentence(refusal(edited(small_file, _shifted(24))), 3, r"nothing nearer than 2023-01-02T00:00:00")


def test_an_absent_folder_is_unavailable(tmp_path: Path) -> None:
    assert_one_sentence(refusal(tmp_path / "absent"), 3, r"found no such folder or file")


@pytest.mark.parametrize("share", [0.02, 0.6, 0.98])
def test_a_truncated_file_is_refused(small_file: Path, share: float) -> None:
    whole = small_file.read_bytes()
    small_file.write_bytes(whole[: int(share * len(whole))])
    assert_one_sentence(refusal(small_file.parent), 4, r"needed a whole netCDF file; found \d+ bytes")


def test_a_truncated_classic_file_is_refused_not_read_as_zeros(tmp_path: Path) -> None:
    path = native.write_hycom(tmp_path / "hycom.nc", form="NETCDF3_64BIT_OFFSET")
    whole = path.read_bytes()
    path.write_bytes(whole[:-2000])
    assert_one_sentence(refusal(tmp_path), 4, rf"found {len(whole) - 2000} bytes .*the header promises \d+ bytes")


@pytest.mark.realdata
def test_damage_inside_the_real_file_is_refused(real_file: Path) -> None:
    """Compressed values overwritten in the middle: the header is whole, reading a level fails."""
    whole = bytearray(real_file.read_bytes())
    for start in range(len(whole) // 4, len(whole) - 20_000, 20_000):
        whole[start : start + 2000] = bytes(2000)
    real_file.write_bytes(whole)
    assert isinstance(refusal(real_file.parent), InputRefused)


def _latitude_flipped(file: netCDF4.Dataset) -> None:
    """The axis turned over, the fields left as they were."""
    file["lat"][:] = file["lat"][:][::-1]


def _land_moved(file: netCDF4.Dataset) -> None:
    for name in native.HYCOM_FIELDS:
        file[name][:] = np.roll(file[name][:], 5, axis=-1)


def _one_level_emptied(file: netCDF4.Dataset) -> None:
    place = int(np.flatnonzero(file["depth"][:] == 100)[0])
    file["water_u"][:, place, 5:] = native.HYCOM_FILL


@pytest.mark.realdata
@pytest.mark.parametrize("edit", [_latitude_flipped, _land_moved, _one_level_emptied])
def test_land_where_the_system_has_none_is_refused(real_file: Path, edit: Edit) -> None:
    folder = edited(real_file, edit)
    parts = ingest(CORAL_SEA, Kind.OCEAN, native.START, inputs=str(folder), scratch=folder / "scratch")
    with pytest.raises(InputRefused, match="land") as caught:
        regrid(parts, Kind.OCEAN, CORAL_SEA)
    assert caught.value.exit_code == 4


def test_optional_input_that_is_absent_is_unavailable(small_file: Path) -> None:
    """Waves and biogeochemistry are not required: what is absent is said in the way the flow can go on from."""
    for kind in (Kind.WAVES, Kind.BIOGEOCHEMISTRY):
        with pytest.raises(InputUnavailable):
            ingest(CORAL_SEA, kind, native.START, inputs=str(small_file.parent), scratch=small_file.parent)
