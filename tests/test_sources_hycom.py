"""HYCOM's native layouts, each quirk of it, and the real Coral Sea file."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import netCDF4
import numpy as np
import pytest

from pipeline.errors import InputRefused, InputUnavailable
from pipeline.ingest import ingest
from pipeline.sources import Native, Request
from pipeline.sources.hycom import HycomSource
from pipeline.systems import CORAL_SEA
from pipeline.variables import Kind, of_kind
from tests import native_files as native

HALF_PACKING_STEP = 0.0005 + 1e-5
"""Half of 0.001, and float32's own rounding near 35."""
OURS = {"to": "water_temp", "so": "salinity", "uo": "water_u", "vo": "water_v", "zos": "surf_el"}


def request(folder: Path, **changes: object) -> Request:
    names = tuple(entry.name for entry in of_kind(Kind.OCEAN))
    wanted = Request(
        Kind.OCEAN, native.START, names, CORAL_SEA.depths_m, CORAL_SEA.grid, str(folder), folder / "scratch"
    )
    return wanted._replace(**changes)


def fetched(folder: Path, **changes: object) -> Native:
    return HycomSource().fetch(request(folder, **changes))


def assert_is_the_written_ocean(folder: Path) -> None:
    """Every value, at every point and depth, is the analytic field to half a packing step; land where it was."""
    (part,) = ingest(CORAL_SEA, Kind.OCEAN, native.START, inputs=str(folder), scratch=folder / "scratch")
    latitude, longitude = part["latitude"].values, part["longitude"].values
    for ours, theirs in OURS.items():
        for depth in part["depth"].values if theirs != "surf_el" else [0.0]:
            field = part[ours].sel(depth=depth) if theirs != "surf_el" else part[ours]
            expected = native.hycom_values(theirs, latitude, longitude, depth)
            np.testing.assert_allclose(field.values, expected, rtol=0, atol=HALF_PACKING_STEP, err_msg=ours)


def test_one_file_with_everything_is_read_whole(tmp_path: Path) -> None:
    native.write_hycom(tmp_path / "a.nc")
    assert_is_the_written_ocean(tmp_path)


def test_one_variable_a_file_is_read_as_one_ocean(tmp_path: Path) -> None:
    names = {"t3z": "water_temp", "s3z": "salinity", "u3z": "water_u", "v3z": "water_v", "ssh": "surf_el"}
    for name, field in names.items():
        native.write_hycom(tmp_path / f"{name}.nc", fields=[field])
    assert_is_the_written_ocean(tmp_path)
    assert [record.uri.rsplit("/", 1)[-1] for record in fetched(tmp_path).files] == sorted(f"{n}.nc" for n in names)


@pytest.mark.parametrize("turn", [-360.0, 0.0, 360.0])
@pytest.mark.parametrize("southward", [False, True])
def test_longitudes_may_turn_and_latitudes_may_descend(tmp_path: Path, turn: float, southward: bool) -> None:
    """The Coral Sea at 145 E is also at 215 W and at 505 E; the fields are known by place, not by index."""
    latitude = native.LATITUDE[::-1] if southward else native.LATITUDE
    native.write_hycom(tmp_path / "a.nc", latitude=latitude, longitude=native.LONGITUDE + turn)
    assert_is_the_written_ocean(tmp_path)


@pytest.mark.parametrize("west", [-180.0, 0.0, 74.0])
def test_a_global_file_is_rolled_and_cut_to_the_region(tmp_path: Path, west: float) -> None:
    longitude = west + 0.5 * np.arange(720)
    native.write_hycom(tmp_path / "a.nc", longitude=longitude)
    assert_is_the_written_ocean(tmp_path)
    (part,) = ingest(CORAL_SEA, Kind.OCEAN, native.START, inputs=str(tmp_path), scratch=tmp_path)
    # The outer edges of the grid are 144.76 and 154.36; two native cells of 0.5 beyond them: 143.76..155.36.
    assert (part["longitude"].values[[0, -1]] == [144.0, 155.0]).all()


def test_steps_of_the_sea_level_may_lie_along_another_time(tmp_path: Path) -> None:
    native.write_hycom(tmp_path / "a.nc", surface_time="time1")
    assert_is_the_written_ocean(tmp_path)


def test_old_unpadded_binary_files_are_read_too(tmp_path: Path) -> None:
    native.write_hycom(tmp_path / "a.nc", form="NETCDF3_64BIT_OFFSET")
    assert_is_the_written_ocean(tmp_path)


def test_only_the_wanted_step_and_levels_are_kept(tmp_path: Path) -> None:
    native.write_hycom(tmp_path / "a.nc", stamps=[native.hours(native.START) + 24 * day for day in (-1, 0, 1)])
    dataset = fetched(tmp_path).dataset
    assert dataset.sizes["time"] == 1
    assert dataset["time"].values[0] == np.datetime64("2023-01-01T00")
    (part,) = ingest(CORAL_SEA, Kind.OCEAN, native.START, inputs=str(tmp_path), scratch=tmp_path)
    assert tuple(part["depth"].values) == CORAL_SEA.depths_m
    assert part["to"].chunks is not None
    assert part["to"].chunks[0] == (1,) * 15


def test_absent_variables_are_absent_from_what_is_found(tmp_path: Path) -> None:
    native.write_hycom(tmp_path / "a.nc", fields=["water_temp", "surf_el"])
    assert set(fetched(tmp_path).dataset.data_vars) == {"water_temp", "surf_el"}


def test_files_whose_name_promises_another_instant_are_passed_over(tmp_path: Path) -> None:
    """2022-12-31 12Z and twelve hours is the start; the other file holds its stamp but promises three hours later."""
    for tau in ("012", "015"):
        native.write_hycom(tmp_path / f"hycom_GLBv0.08_930_2022123112_t{tau}.nc")
    (record,) = fetched(tmp_path).files
    assert record.uri.endswith("_t012.nc")


def test_the_same_instant_in_two_files_is_refused(tmp_path: Path) -> None:
    for name in ("a.nc", "b.nc"):
        native.write_hycom(tmp_path / name)
    with pytest.raises(InputRefused, match=r"found it in a\.nc and in b\.nc"):
        fetched(tmp_path)


def test_files_on_different_axes_are_refused(tmp_path: Path) -> None:
    native.write_hycom(tmp_path / "t3z.nc", fields=["water_temp"])
    native.write_hycom(tmp_path / "ssh.nc", fields=["surf_el"], latitude=native.LATITUDE + 0.1)
    with pytest.raises(InputRefused, match="on the same axes"):
        fetched(tmp_path)


def test_a_file_of_the_date_but_of_another_region_is_no_candidate(tmp_path: Path) -> None:
    native.write_hycom(tmp_path / "atlantic.nc", longitude=native.LONGITUDE - 180.0)
    with pytest.raises(InputUnavailable, match=r"another region: atlantic\.nc covers -25\.04\.\.-15\.84 N") as caught:
        fetched(tmp_path)
    assert caught.value.exit_code == 3
    native.write_hycom(tmp_path / "coral.nc")
    assert [record.uri.rsplit("/", 1)[-1] for record in fetched(tmp_path).files] == ["coral.nc"]


def test_a_file_that_stops_short_of_the_grid_is_no_candidate(tmp_path: Path) -> None:
    """The grid's last row is -16.04; a file that ends at -16.44 reaches -16.34 by half its step of 0.2."""
    native.write_hycom(tmp_path / "a.nc", latitude=native.LATITUDE[:-3])
    with pytest.raises(InputUnavailable, match="another region"):
        fetched(tmp_path)
    native.write_hycom(tmp_path / "a.nc", latitude=native.LATITUDE[:-1])
    assert "water_temp" in fetched(tmp_path).dataset


def test_a_broken_file_matters_only_where_something_is_missing(tmp_path: Path) -> None:
    (tmp_path / "other.nc").write_bytes(b"CDF\x01")
    with pytest.raises(InputRefused, match=r"other\.nc"):
        fetched(tmp_path)
    native.write_hycom(tmp_path / "a.nc", fields=["water_temp"])
    with pytest.raises(InputRefused, match=r"other\.nc"):
        fetched(tmp_path)
    native.write_hycom(tmp_path / "b.nc", fields=native.HYCOM_FIELDS[1:])
    assert set(fetched(tmp_path).dataset.data_vars) == set(native.HYCOM_FIELDS)


def test_temperature_labelled_potential_is_kept_and_noted(tmp_path: Path) -> None:
    path = native.write_hycom(tmp_path / "a.nc")
    assert fetched(tmp_path).note == ""
    with netCDF4.Dataset(path, "r+") as file:
        file["water_temp"].standard_name = "sea_water_potential_temperature"
    assert "labelled sea_water_potential_temperature" in fetched(tmp_path).note
    assert_is_the_written_ocean(tmp_path)


def test_a_date_not_held_names_the_nearest_that_is(tmp_path: Path) -> None:
    native.write_hycom(tmp_path / "a.nc")
    with pytest.raises(InputUnavailable, match=r"nothing nearer than 2023-01-01T00:00:00 in a\.nc"):
        fetched(tmp_path, when=native.START + timedelta(days=2))


@pytest.mark.realdata
@pytest.mark.parametrize(("step", "day"), [(0, 0), (1, 1)])
def test_the_real_ocean_is_the_files_own_integers_unpacked(realdata: Path, tmp_path: Path, step: int, day: int) -> None:
    when = native.START + timedelta(days=day)
    (part,) = ingest(CORAL_SEA, Kind.OCEAN, when, inputs=str(realdata), scratch=tmp_path)
    with netCDF4.Dataset(realdata / "hycom_coral_sea_20230101_20230102.nc") as file:
        file.set_auto_maskandscale(False)
        levels = [int(np.flatnonzero(file["depth"][:] == depth)[0]) for depth in CORAL_SEA.depths_m]
        for ours, theirs in OURS.items():
            raw = file[theirs][step] if theirs == "surf_el" else file[theirs][step][levels]
            offset = 20.0 if theirs in ("water_temp", "salinity") else 0.0
            expected = np.where(raw == -30000, np.nan, raw * 0.001 + offset).astype(np.float32)
            np.testing.assert_array_equal(part[ours].values, expected, err_msg=ours)
        np.testing.assert_array_equal(part["latitude"].values, file["lat"][:])
        np.testing.assert_allclose(part["longitude"].values, file["lon"][:], rtol=0, atol=1e-9)
