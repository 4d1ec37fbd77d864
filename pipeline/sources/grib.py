"""GRIB, edition 1 and 2: messages as fields on regular latitudes and longitudes, each known by its own header.

A message is decoded only when it is whole: its own length and its closing 7777 are looked at first, for the library
reads some cut messages without an error. Winds along the grid, other grids than regular ones, and anything that is
a mean or a sum over its step are refused: what is taken in is instantaneous. eccodes is an extra (``goms[archives]``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import dask.array as da
import numpy as np
import xarray as xr
from dask.delayed import delayed
from numpy.typing import NDArray

from pipeline.errors import InputRefused, UsageError

SUFFIXES = (".grib", ".grb", ".grib1", ".grib2", ".grb2")
NAMES: Mapping[str, str] = {
    "10u": "u10", "10v": "v10", "2t": "t2m", "msl": "msl", "prmsl": "msl", "sp": "sp", "swh": "swh", "mwp": "mwp",
    "mwd": "mwd",
}  # fmt: skip
"""eccodes's short names of what we read -> the names of the Climate Data Store's netCDF files."""
INSTANT = ("instant", "")
MISSING = 1e36
"""What the library is told to give where a bitmap says that there is no value: no quantity comes near it."""
Axis = NDArray[np.float64]


class Header(NamedTuple):
    """What a message says of itself. ``issued``: its reference time; ``valid``: when its field holds, both UTC."""

    name: str
    units: str
    issued: np.datetime64
    valid: np.datetime64
    latitude: tuple[float, float, int]
    longitude: tuple[float, float, int]
    version: int
    member: int

    @property
    def axes(self) -> tuple[Axis, Axis]:
        """Latitudes and longitudes in the order of the field's rows and columns, degrees."""
        (north, south, rows), (west, step, columns) = self.latitude, self.longitude
        return np.round(np.linspace(north, south, rows), 6), np.round((west + step * np.arange(columns)) % 360.0, 6)


class _Placed(NamedTuple):
    header: Header
    offset: int
    length: int


def decoded(message: bytes, where: str) -> tuple[Header, NDArray[np.float64]]:
    """A message's header and its field (latitude, longitude), NaN where it has no value.

    ``InputRefused`` where the bytes are not one whole message of an instantaneous field on a regular grid.
    """
    eccodes = _library()
    _check_whole(message, where)
    try:
        handle = eccodes.codes_new_from_message(message)
        try:
            header = _header(eccodes, handle, where)
            eccodes.codes_set(handle, "missingValue", MISSING)
            values = eccodes.codes_get_values(handle)
            values = np.where(values == MISSING, np.nan, values)
        finally:
            eccodes.codes_release(handle)
    except eccodes.CodesInternalError as error:
        raise _refused("a GRIB message that can be decoded", str(error), where) from error
    return header, values.reshape(header.latitude[2], header.longitude[2])


def open_file(path: Path) -> tuple[xr.Dataset, ...]:
    """The known fields of a file, one lazy dataset each: (time, latitude, longitude), seconds since 1970.

    ``ValueError`` where it is no whole GRIB file, or an ensemble. Where a field is there twice for an instant, the
    final product's is taken (``expver`` 1 before 5).
    """
    placed = sorted(_placed(path), key=_kind_of)
    if not placed:
        raise ValueError("no field that is known by name")
    members = {item.header.member for item in placed}
    if len(members) > 1:
        raise ValueError(f"an ensemble of {len(members)} members where one realisation is wanted")
    return tuple(_dataset(path, list(items)) for _, items in groupby(placed, key=_kind_of))


def _kind_of(item: _Placed) -> tuple[Any, ...]:
    return item.header.name, item.header.latitude, item.header.longitude


def _dataset(path: Path, placed: list[_Placed]) -> xr.Dataset:
    ordered = sorted(placed, key=lambda item: (item.header.valid, -item.header.version))
    best = list({item.header.valid: item for item in ordered}.values())
    latitude, longitude = best[0].header.axes
    shape = (latitude.size, longitude.size)
    layers = [da.from_delayed(delayed(_values)(path, item), shape, float) for item in best]  # type: ignore[no-untyped-call]
    stack = da.stack(layers)  # type: ignore[no-untyped-call]
    seconds = np.array([item.header.valid for item in best]).astype("datetime64[s]").astype(np.int64)
    return xr.Dataset(
        {best[0].header.name: (("time", "latitude", "longitude"), stack, {"units": best[0].header.units})},
        coords={"time": ("time", seconds, {"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian"}),
                "expver": ("time", np.array([item.header.version for item in best])),
                "latitude": latitude, "longitude": longitude},
    )  # fmt: skip


def _values(path: Path, item: _Placed) -> NDArray[np.float64]:
    with path.open("rb") as stream:
        stream.seek(item.offset)
        header, values = decoded(stream.read(item.length), str(path))
    if header != item.header:
        raise _refused(f"{item.header.name} at {item.header.valid}", f"{header.name} at {header.valid}", str(path))
    return values


def _placed(path: Path) -> Iterator[_Placed]:
    eccodes = _library()
    size = path.stat().st_size
    with path.open("rb") as stream:
        try:
            while (handle := eccodes.codes_grib_new_from_file(stream, headers_only=True)) is not None:
                try:
                    offset, length = (int(eccodes.codes_get(handle, key)) for key in ("offset", "totalLength"))
                    if offset + length > size:
                        raise ValueError(f"the last message ends at {offset + length} of {size} bytes")
                    if eccodes.codes_get(handle, "shortName") in NAMES:
                        yield _Placed(_header(eccodes, handle, str(path)), offset, length)
                finally:
                    eccodes.codes_release(handle)
        except eccodes.CodesInternalError as error:
            raise ValueError(str(error)) from error


def _header(eccodes: Any, handle: Any, where: str) -> Header:
    def get(key: str, default: Any = None) -> Any:
        try:
            return eccodes.codes_get(handle, key)
        except eccodes.KeyValueNotFoundError:
            return default

    short = get("shortName")
    if get("gridType") != "regular_ll" or get("iScansNegatively") or get("jPointsAreConsecutive"):
        raise _refused(f"{short} on regular latitudes and longitudes", f"grid {get('gridType')}", where)
    if get("stepType", "") not in INSTANT:
        raise _refused(f"{short} at an instant", f"its {get('stepType')} over a step", where)
    if get("uvRelativeToGrid", 0):
        raise _refused(f"{short} eastward and northward", "components along the grid", where)
    north, south = (float(get(f"latitudeOf{end}GridPointInDegrees")) for end in ("First", "Last"))
    return Header(
        NAMES.get(short, short), get("units"), _moment(get("dataDate"), get("dataTime")),
        _moment(get("validityDate"), get("validityTime")), (north, south, int(get("Nj"))),
        (float(get("longitudeOfFirstGridPointInDegrees")) % 360.0, float(get("iDirectionIncrementInDegrees")),
         int(get("Ni"))),
        int(get("expver", 1)) if str(get("expver", 1)).isdigit() else 1, int(get("number", 0) or 0),
    )  # fmt: skip


def _moment(date: int, time: int) -> np.datetime64:
    text = f"{date:08d}"
    hours, minutes = divmod(int(time), 100)
    day = np.datetime64(f"{text[:4]}-{text[4:6]}-{text[6:]}", "s")
    return day + np.timedelta64(hours * 60 + minutes, "m")


def _check_whole(message: bytes, where: str) -> None:
    if message[:4] != b"GRIB" or len(message) < 16:
        raise _refused("a GRIB message", f"{len(message)} bytes beginning {message[:8]!r}", where)
    edition = message[7]
    length = int.from_bytes(message[8:16], "big") if edition == 2 else int.from_bytes(message[4:7], "big")
    if edition == 1 and length & 0x800000:
        length = len(message)  # the large-message convention: its own length is not in these three bytes
    if length != len(message) or message[-4:] != b"7777":
        raise _refused(f"a whole GRIB message of {length} bytes", f"{len(message)} ending {message[-4:]!r}", where)


def _library() -> Any:
    try:
        import eccodes
    except ImportError as error:
        raise UsageError(
            "eccodes to read GRIB", found=str(error), where="this installation",
            action="install the project with its extra: goms[archives]",
        ) from error  # fmt: skip
    return eccodes


def _refused(needed: str, found: str, where: str) -> InputRefused:
    return InputRefused(needed, found=found, where=where, action="fetch it again, or tell its provider")
