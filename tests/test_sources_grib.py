"""ERA5 from GRIB files in the inputs folder: the same reader, gate and truth as of its netCDF files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import eccodes
import numpy as np
import pytest

from pipeline.errors import InputRefused, InputUnavailable
from pipeline.sources import Request
from pipeline.sources.era5 import Era5Source
from pipeline.variables import Kind, of_kind
from tests.archive_servers import weather as w
from tests.test_weather_forecasts import GRID

DAY = datetime(2024, 3, 1, 12, tzinfo=UTC)


def asked(folder: Path, kind: Kind, when: datetime = DAY, **changes: object) -> Request:
    names = tuple(entry.name for entry in of_kind(kind))
    return Request(kind, when, names, (), GRID, str(folder), folder / "scratch")._replace(**changes)


def write(path: Path, kind: Kind, moments: list[datetime], *, edition: int = 1) -> Path:
    messages = []
    for moment in moments:
        for name, values in w.truth(kind, moment).items():
            short = w.SHORT_NAMES[name]
            messages.append(w.message(short, values[::-1], moment, 0, longitude=w.EASTWARD, edition=edition))
    path.write_bytes(b"".join(messages))
    return path


@pytest.mark.parametrize("edition", [1, 2])
@pytest.mark.parametrize("kind", [Kind.SURFACE, Kind.WAVES])
def test_a_grib_file_is_read_as_a_netcdf_file_is(kind: Kind, edition: int, tmp_path: Path) -> None:
    write(tmp_path / "era5.grib", kind, [DAY - timedelta(hours=12), DAY], edition=edition)
    native = Era5Source().fetch(asked(tmp_path, kind))
    for name, values in w.truth(kind, DAY).items():
        found = native.dataset[name].isel(time=0).sortby("latitude").values
        np.testing.assert_allclose(found, values, atol=2e-6 * np.nanmax(np.abs(values)) + 1e-5, err_msg=name)
    assert len(native.files) == 1
    assert native.files[0].uri.endswith("era5.grib")


def test_an_instant_that_a_grib_file_lacks_is_not_there(tmp_path: Path) -> None:
    write(tmp_path / "era5.grib", Kind.SURFACE, [DAY])
    with pytest.raises(InputUnavailable, match="nothing nearer"):
        Era5Source().fetch(asked(tmp_path, Kind.SURFACE, DAY + timedelta(days=3)))


def test_a_grib_file_cut_short_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "era5.grib", Kind.SURFACE, [DAY])
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputRefused, match="a whole GRIB file"):
        Era5Source().fetch(asked(tmp_path, Kind.SURFACE))


def test_the_final_product_is_taken_before_the_preliminary_one(tmp_path: Path) -> None:
    """The same field twice, as mixed requests give it: version 5 tells another value than version 1."""
    messages = []
    for version, shift in (("0005", 5.0), ("0001", 0.0)):
        for name, values in w.truth(Kind.SURFACE, DAY).items():
            data = w.message(w.SHORT_NAMES[name], values[::-1] + shift, DAY, 0, longitude=w.EASTWARD, edition=1)
            handle = eccodes.codes_new_from_message(data)
            eccodes.codes_set(handle, "setLocalDefinition", 1)
            eccodes.codes_set(handle, "expver", version)
            messages.append(eccodes.codes_get_message(handle))
            eccodes.codes_release(handle)
    (tmp_path / "era5.grib").write_bytes(b"".join(messages))
    native = Era5Source().fetch(asked(tmp_path, Kind.SURFACE))
    found = native.dataset["t2m"].isel(time=0).sortby("latitude").values
    np.testing.assert_allclose(found, w.truth(Kind.SURFACE, DAY)["t2m"], atol=1e-3)
    assert "t2m: final" in native.note
