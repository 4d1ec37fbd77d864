"""What can be wrong with an archive's file: named faults, each done to a native file in HYCOM's layout.

The twin can be told to be late, missing, corrupt or wrong, to show that each is refused and how.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import netCDF4
import numpy as np


class Fault(StrEnum):
    """One thing that goes wrong with files, by the name operators would give it."""

    MISSING_VARIABLE = "missing variable"
    MISSING_DEPTH = "missing depth"
    WRONG_UNITS = "wrong units"
    MOSTLY_MISSING = "98 % missing"
    CONSTANT_FIELD = "constant field"
    KELVIN_AS_CELSIUS = "Kelvin labelled degC"
    FLIPPED_LATITUDE = "latitude flipped without its data"
    DUPLICATED_TIME = "duplicated time stamps"
    SHIFTED_TIME = "shifted time stamps"
    TRUNCATED = "truncated file"
    OTHER_DATE = "date not held"
    MOVED_LAND = "moved land mask"
    LATE = "late"


def inflict(fault: Fault, path: Path) -> None:
    """Do the fault to the file at ``path``, in place; ``LATE`` takes the file away.

    Time faults want a file with two steps or more for duplicates; all others one or more.
    """
    if fault is Fault.LATE:
        path.unlink()
    elif fault is Fault.TRUNCATED:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) * 2 // 3])
    else:
        with netCDF4.Dataset(path, "a") as file:
            file.set_auto_maskandscale(False)
            _EDITS[fault](file)


def _missing_variable(file: netCDF4.Dataset) -> None:
    file.renameVariable("salinity", "salt")


def _missing_depth(file: netCDF4.Dataset) -> None:
    depths = file["depth"][:]
    file["depth"][:] = np.where(depths == 100.0, 101.0, depths)


def _wrong_units(file: netCDF4.Dataset) -> None:
    file["water_u"].units = "cm/s"


def _mostly_missing(file: netCDF4.Dataset) -> None:
    values = file["water_temp"][:]
    keep = np.random.default_rng(0).random(values.shape) < 0.02
    file["water_temp"][:] = np.where(keep, values, file["water_temp"]._FillValue)


def _constant_field(file: netCDF4.Dataset) -> None:
    values = file["surf_el"][:]
    file["surf_el"][:] = np.where(values == file["surf_el"]._FillValue, values, np.int16(250))


def _kelvin(file: netCDF4.Dataset) -> None:
    """Packed values that unpack 273.15 higher: the offset moves, the label stays."""
    file["water_temp"].add_offset = np.float32(20.0 + 273.15)


def _flipped_latitude(file: netCDF4.Dataset) -> None:
    file["lat"][:] = file["lat"][:][::-1].copy()


def _duplicated_time(file: netCDF4.Dataset) -> None:
    file["time"][:] = np.full(file["time"].shape, file["time"][0])


def _shifted_time(file: netCDF4.Dataset) -> None:
    file["time"][:] = file["time"][:] + 1.5


def _other_date(file: netCDF4.Dataset) -> None:
    file["time"][:] = file["time"][:] + 24.0 * 400


def _moved_land(file: netCDF4.Dataset) -> None:
    """Everything moves by a tenth of the file's width; the coordinates stay."""
    for name in ("water_temp", "salinity", "water_u", "water_v", "surf_el"):
        file[name][:] = np.roll(file[name][:], file["lon"].size // 10, axis=-1)


_EDITS: dict[Fault, Callable[[netCDF4.Dataset], None]] = {
    Fault.MISSING_VARIABLE: _missing_variable,
    Fault.MISSING_DEPTH: _missing_depth,
    Fault.WRONG_UNITS: _wrong_units,
    Fault.MOSTLY_MISSING: _mostly_missing,
    Fault.CONSTANT_FIELD: _constant_field,
    Fault.KELVIN_AS_CELSIUS: _kelvin,
    Fault.FLIPPED_LATITUDE: _flipped_latitude,
    Fault.DUPLICATED_TIME: _duplicated_time,
    Fault.SHIFTED_TIME: _shifted_time,
    Fault.OTHER_DATE: _other_date,
    Fault.MOVED_LAND: _moved_land,
}
