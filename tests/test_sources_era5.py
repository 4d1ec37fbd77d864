"""ERA5's layouts, old and new, its versions and its age, and three real files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr

from pipeline.errors import InputRefused, InputUnavailable
from pipeline.grids import Grid
from pipeline.ingest import ingest
from pipeline.provenance import records
from pipeline.sources import Native, Request
from pipeline.sources.era5 import Era5Source
from pipeline.systems import CORAL_SEA, Ladder, System, rungs
from pipeline.variables import Kind, of_kind
from tests import native_files as native


def era5_only(kind: Kind, grid: Grid = CORAL_SEA.grid, age_days: float = 0.0) -> System:
    """The Coral Sea system, or another place, with nothing below ERA5 on its ladder."""
    ladder = Ladder(kind=kind, rungs=rungs("era5", maximum_age_days=age_days), required=True)
    return CORAL_SEA.model_copy(update={"grid": grid, "wave_grid": grid, "ladders": (ladder,)})


def fetched(folder: Path, kind: Kind = Kind.SURFACE, names: Sequence[str] = (), age_days: float = 0.0) -> Native:
    wanted = tuple(names) or tuple(entry.name for entry in of_kind(kind))
    return Era5Source().fetch(
        Request(
            kind, native.START, wanted, (), CORAL_SEA.grid, str(folder), folder / "scratch", maximum_age_days=age_days
        )
    )


def surface(folder: Path, age_days: float = 0.0) -> xr.Dataset:
    (part,) = ingest(
        era5_only(Kind.SURFACE, age_days=age_days), Kind.SURFACE, native.START, inputs=str(folder), scratch=folder
    )
    return part


@pytest.mark.parametrize("form", ["NETCDF3_64BIT_OFFSET", "NETCDF4"])
def test_the_old_layout_is_unpacked_to_its_own_precision(tmp_path: Path, form: str) -> None:
    """Packing is to range / 65532; half of that is the error, which for 600 Pa of range is 0.005 Pa."""
    native.write_era5(tmp_path / "a.nc", form=form)
    part = surface(tmp_path)
    for name in native.ATMOSPHERE:
        expected = native.era5_values(name, 0, part["latitude"].values, part["longitude"].values)
        rounding = np.abs(expected).max() * 6e-8
        np.testing.assert_allclose(
            part[name].values, expected, rtol=0, atol=np.ptp(expected) / 65532 + rounding, err_msg=name
        )


def test_both_layouts_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    native.write_era5(tmp_path / "old" / "a.nc")
    native.write_era5(tmp_path / "new" / "a.nc", layout="new")
    old, new = surface(tmp_path / "old"), surface(tmp_path / "new")
    xr.testing.assert_allclose(old, new, rtol=1e-4, atol=1e-3)
    assert "u10: final" in records(new)[0].note


def test_the_exact_hour_is_taken_from_an_hourly_file(tmp_path: Path) -> None:
    """Each hour's field is 1 % steeper than the one before: the neighbours differ by far more than the packing."""
    native.write_era5(tmp_path / "a.nc", hours_after=range(-3, 4))
    part = surface(tmp_path)
    expected = native.era5_values("u10", 0, part["latitude"].values, part["longitude"].values)
    np.testing.assert_allclose(part["u10"].values, expected, rtol=0, atol=2e-4)
    assert part["time"].values == np.datetime64("2023-01-01")


def _with_versions(path: Path, final: bool) -> None:
    """A file with ``expver`` as a dimension: final where ``final``, and preliminary 100 Pa or 1 unit higher."""
    native.write_era5(path, layout="new")
    with xr.open_dataset(path, decode_cf=False) as opened:
        plain = opened.load().drop_vars("expver")
    versions = [plain + 0 if final else plain * np.nan, plain + 1]
    stacked = xr.concat(versions, dim="expver").assign_coords(expver=[1, 5])
    for name in native.ATMOSPHERE:
        stacked[name] = stacked[name].transpose("valid_time", "expver", "latitude", "longitude")
        stacked[name].attrs = plain[name].attrs
    stacked["valid_time"] = plain["valid_time"]
    path.unlink()
    stacked.to_netcdf(path)


@pytest.mark.parametrize(("final", "excess", "said"), [(True, 0.0, "final"), (False, 1.0, "preliminary")])
def test_the_final_version_is_taken_where_it_is_and_never_averaged(
    tmp_path: Path, final: bool, excess: float, said: str
) -> None:
    _with_versions(tmp_path / "a.nc", final)
    part = surface(tmp_path)
    expected = native.era5_values("v10", 0, part["latitude"].values, part["longitude"].values) + excess
    np.testing.assert_allclose(part["v10"].values, expected, rtol=0, atol=1e-5)
    assert f"v10: {said}" in records(part)[0].note


def test_an_ensemble_is_refused(tmp_path: Path) -> None:
    path = native.write_era5(tmp_path / "a.nc", layout="new")
    with xr.open_dataset(path, decode_cf=False) as opened:
        plain = opened.load().drop_vars(["expver", "number"])
    path.unlink()
    plain.expand_dims(number=3, axis=1).to_netcdf(path)
    with pytest.raises(InputRefused, match="ensemble of 3 members"):
        fetched(tmp_path)


def test_what_the_file_lacks_is_absent(tmp_path: Path) -> None:
    native.write_era5(tmp_path / "a.nc", fields=["u10", "v10", "msl"])
    assert set(fetched(tmp_path).dataset.data_vars) == {"u10", "v10", "msl"}


def test_waves_and_winds_of_one_folder_keep_their_own_grids(tmp_path: Path) -> None:
    native.write_era5(tmp_path / "winds.nc")
    half = {"latitude": np.arange(-15.0, -26.01, -0.5), "longitude": np.arange(144.0, 156.01, 0.5)}
    native.write_era5(tmp_path / "waves.nc", fields=["swh", "mwp", "mwd"], **half)
    waves = fetched(tmp_path, Kind.WAVES).dataset
    assert waves["swh"].shape == (1, 23, 25)
    assert waves["mwd"].attrs["units"] == "Degree true"
    assert fetched(tmp_path).dataset["u10"].shape == (1, 45, 49)


@pytest.mark.parametrize(("height", "calm"), [(-2e-5, True), (-3e-5, False)])
def test_rounding_beyond_a_bound_is_brought_onto_it_and_no_more(tmp_path: Path, height: float, calm: bool) -> None:
    """Heights have 25 m of range: up to 25e-6 m below zero is calm, more is not a wave height."""
    path = native.write_era5(tmp_path / "a.nc", fields=["swh", "mwp", "mwd"], layout="new")
    with netCDF4.Dataset(path, "r+") as file:
        file["swh"][0, 20, 20] = height
        file["mwd"][0, 20, 20] = 360.0001
    if calm:
        (part,) = ingest(era5_only(Kind.WAVES), Kind.WAVES, native.START, inputs=str(tmp_path), scratch=tmp_path)
        assert float(part["swh"].min()) == 0.0
        assert float(part["mwd"].max()) == 360.0
        return
    with pytest.raises(InputRefused, match=r"needed swh within 0\.\.25 m .*; found -3e-05\.\."):
        ingest(era5_only(Kind.WAVES), Kind.WAVES, native.START, inputs=str(tmp_path), scratch=tmp_path)


def test_an_allowed_age_takes_the_newest_of_the_same_hour(tmp_path: Path) -> None:
    """Held: 30 h, 24 h and 3 h before the start and 21 h after it; of the start's hour only 24 h before is."""
    native.write_era5(tmp_path / "a.nc", hours_after=[-48, -30, -24, -3, 21])
    with pytest.raises(InputRefused, match="time stamps beside it"):
        fetched(tmp_path)
    part = surface(tmp_path, age_days=7.0)
    (record,) = records(part)
    assert record.age_hours == 24.0
    assert record.valid_time == native.START - timedelta(hours=24)
    assert record.degraded is not None
    assert "24 h old" in record.degraded
    expected = native.era5_values("u10", -24, part["latitude"].values, part["longitude"].values)
    np.testing.assert_allclose(part["u10"].values, expected, rtol=0, atol=2e-4)


def test_an_input_older_than_allowed_is_unavailable(tmp_path: Path) -> None:
    native.write_era5(tmp_path / "a.nc", hours_after=[-192, -168])
    assert records(surface(tmp_path, age_days=7.0))[0].age_hours == 168.0
    with pytest.raises(InputUnavailable, match="nothing nearer than 2022-12-25"):
        fetched(tmp_path, age_days=6.9)


def test_a_series_that_ends_before_the_hour_is_late_not_wrong(tmp_path: Path) -> None:
    native.write_era5(tmp_path / "a.nc", hours_after=range(-30, 0))
    with pytest.raises(InputUnavailable, match="nothing nearer than 2022-12-31T23:00:00"):
        fetched(tmp_path)


def _unpacked(path: Path, name: str, step: int) -> np.ndarray:
    """A field by netCDF4 and arithmetic alone, latitude made to increase."""
    with netCDF4.Dataset(path) as file:
        file.set_auto_maskandscale(False)
        variable = file[name]
        raw = variable[step].astype(np.float64)
        if variable.dtype == np.int16:
            raw = np.where(raw == variable._FillValue, np.nan, raw * variable.scale_factor + variable.add_offset)
        return raw[::-1].astype(np.float32)


@pytest.mark.realdata
def test_the_real_winds_are_the_files_own_values(realdata: Path) -> None:
    names = ("u10", "v10", "msl")
    request = Request(Kind.SURFACE, native.START, names, (), CORAL_SEA.grid, str(realdata), realdata)
    found = Era5Source().fetch(request)
    path = realdata / "era5_winds_coral_sea_20230101_20230104.nc"
    assert [record.uri for record in found.files] == [str(path)]
    for name in names:
        np.testing.assert_array_equal(
            found.dataset[name].values[0, ::-1].astype(np.float32), _unpacked(path, name, 0), err_msg=name
        )


@pytest.mark.realdata
def test_real_packed_waves_are_unpacked_and_their_coast_kept(realdata: Path, tmp_path: Path) -> None:
    """The Dutch coast, 50.5..54.5 N, 0..8 E, at 2017-10-28T06."""
    grid = Grid(south=50.5, west=0.0, latitude_step=0.5, longitude_step=0.5, rows=9, columns=17)
    when = datetime(2017, 10, 28, 6, tzinfo=UTC)
    (part,) = ingest(era5_only(Kind.WAVES, grid), Kind.WAVES, when, inputs=str(realdata), scratch=tmp_path)
    path = realdata / "era5_waves_dutch_coast_20171027_20171029.nc"
    with netCDF4.Dataset(path) as file:
        hours = (when - datetime(1900, 1, 1, tzinfo=UTC)).total_seconds() / 3600
        (step,) = np.flatnonzero(file["time"][:] == hours)
        longitude = np.asarray(file["longitude"][:], dtype=np.float64) % 360.0
    near = np.flatnonzero((longitude <= 8.75) | (longitude >= 358.75))  # the grid, and a margin of cells
    columns = near[np.argsort(longitude[near])]
    np.testing.assert_array_equal(part["longitude"].values, longitude[columns])
    for name in ("swh", "mwp", "mwd"):
        np.testing.assert_array_equal(part[name].values, _unpacked(path, name, step)[:, columns], err_msg=name)
    assert 0.3 < float(part["swh"].isnull().mean()) < 0.7
    assert records(part)[0].files[0].uri == str(path)


@pytest.mark.realdata
def test_the_real_packed_atmosphere_is_unpacked(realdata: Path, tmp_path: Path) -> None:
    grid = Grid(south=21.0, west=312.0, latitude_step=1.0, longitude_step=1.0, rows=59, columns=46)
    with netCDF4.Dataset(realdata / "era5_surface_north_atlantic_2012.nc") as file:
        when = datetime(1900, 1, 1, tzinfo=UTC) + timedelta(hours=int(file["time"][0]))
    names = ("u10", "v10", "t2m", "msl")
    found = Era5Source().fetch(Request(Kind.SURFACE, when, names, (), grid, str(realdata), tmp_path))
    path = realdata / "era5_surface_north_atlantic_2012.nc"
    for name in names:
        values = found.dataset[name].values[0, ::-1].astype(np.float32)
        np.testing.assert_array_equal(values, _unpacked(path, name, 0), err_msg=name)
