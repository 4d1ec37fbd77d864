"""The twin in its archives' clothes: native layouts, read back as they were meant; faults that are refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import netCDF4
import numpy as np
import pytest

from pipeline import systems
from pipeline.earth import climatology
from pipeline.errors import InputRefused, InputUnavailable
from pipeline.grids import Grid
from pipeline.ingest import ingest
from pipeline.sources import SOURCES, Request
from pipeline.sources.twin import TwinSource
from pipeline.twin import Twin, native
from pipeline.twin.faults import Fault
from pipeline.variables import DEPTHS_M, Kind, of_kind

WHEN = datetime(2015, 3, 8, 12, tzinfo=UTC)
SOUTH_WEST = np.arange(-46.5, -30.0, 1.5), np.arange(165.0, 181.0, 2.0)
"""Around New Zealand, more columns a degree than rows: land, sea, and no symmetry."""
REGION = Grid(south=30.0, west=138.0, latitude_step=0.5, longitude_step=0.75, rows=24, columns=20)


def request(kind: Kind, scratch: Path, grid: Grid = REGION, seed: int = 0) -> Request:
    names = tuple(entry.name for entry in of_kind(kind))
    return Request(kind, WHEN, names, DEPTHS_M, grid, None, scratch, seed)


def test_hycom_file_has_hycoms_layout_and_the_twins_values(tmp_path):
    path = native.write_hycom(tmp_path / "a.nc", [WHEN, WHEN + timedelta(days=1)], Twin(0), *SOUTH_WEST)
    with netCDF4.Dataset(path) as file:
        assert file.data_model == "NETCDF3_64BIT_OFFSET"
        assert file["time"].units == "hours since 2000-01-01 00:00:00"
        assert np.diff(file["time"][:]).tolist() == [24.0]
        assert file["tau"].units == "hours since analysis"
        assert tuple(file["depth"][:]) == native.HYCOM_DEPTHS_M
        assert len(native.HYCOM_DEPTHS_M) == 40
        assert set(DEPTHS_M) <= set(native.HYCOM_DEPTHS_M)
        expected = Twin(0).fields(Kind.OCEAN, WHEN + timedelta(days=1), *SOUTH_WEST, native.HYCOM_DEPTHS_M)
        for name, (ours, units) in native.HYCOM_NAMES.items():
            variable = file[name]
            assert (variable.dtype, variable._FillValue, variable.units) == (np.int16, -30000, units)
            found = variable[1].astype(float).filled(np.nan)
            np.testing.assert_allclose(found, expected[ours], atol=0.00051, equal_nan=True)
        assert float(file["water_temp"].add_offset) == 20.0
        assert float(file["surf_el"].add_offset) == 0.0


def test_hycom_global_grid_is_a_third_of_a_degree_within_its_limits():
    assert native.HYCOM_LATITUDE[[0, -1]] == pytest.approx([-79.833333, 89.833333])
    assert native.HYCOM_LONGITUDE[[0, -1]] == pytest.approx([0.166667, 359.833333])


@pytest.mark.parametrize("layout", ["old", "new"])
@pytest.mark.parametrize("kind", [Kind.SURFACE, Kind.WAVES])
def test_era5_files_have_the_stores_layouts_and_the_twins_values(layout, kind, tmp_path):
    latitude, longitude = SOUTH_WEST[0][::-1], SOUTH_WEST[1]
    path = native.write_era5(
        tmp_path / "a.nc", kind, [WHEN], Twin(0), layout=layout, latitude=latitude, longitude=longitude
    )
    expected = Twin(0).fields(kind, WHEN, *SOUTH_WEST)
    with netCDF4.Dataset(path) as file:
        assert ("valid_time" in file.variables) == (layout == "new") == ("expver" in file.variables)
        assert file["latitude"][0] > file["latitude"][-1]
        for name, values in expected.items():
            found = file[name][0].astype(float).filled(np.nan)[::-1]
            assert file[name].dtype == (np.float32 if layout == "new" else np.int16)
            step = 1e-5 * np.nanmax(np.abs(values)) if layout == "new" else np.nanmax(values) - np.nanmin(values)
            np.testing.assert_allclose(found, values, atol=step / 65532 if layout == "old" else step, equal_nan=True)
        assert bool(np.isnan(expected["swh"]).any() if kind is Kind.WAVES else True)


def test_nobm_file_has_nobms_points_limits_and_fill(tmp_path):
    path = native.write_nobm(tmp_path / "a.nc", WHEN.replace(hour=3), Twin(0))
    with netCDF4.Dataset(path) as file:
        assert file["tot"].shape == (1, 234, 288)
        assert file["lat"][[0, -1]].tolist() == pytest.approx([-83.666667, 71.666667])
        assert file["lon"][[0, -1]].tolist() == pytest.approx([-179.375, 179.375])
        assert file["irn"]._FillValue == np.float32(9.99e11)
        deep = climatology.is_sea(native.NOBM_LATITUDE, native.NOBM_LONGITUDE, 200.0)
        expected = Twin(0).fields(Kind.BIOGEOCHEMISTRY, WHEN, native.NOBM_LATITUDE, native.NOBM_LONGITUDE)
        for name, (ours, units) in native.NOBM_NAMES.items():
            assert file[name].units == units
            assert np.array_equal(~np.ma.getmaskarray(file[name][0]), deep)
            np.testing.assert_array_equal(np.asarray(file[name][0])[deep], expected[ours][deep])


@pytest.mark.parametrize("kind", [Kind.OCEAN, Kind.SURFACE, Kind.WAVES])
def test_source_gives_a_regions_own_points_through_the_archives_reader(kind, tmp_path):
    answer = SOURCES["twin"].fetch(request(kind, tmp_path, seed=4))
    assert "synthetic twin ocean, seed 4" in answer.note
    assert len(answer.files) == 1
    axes = {"lat": REGION.latitude, "lon": REGION.longitude, "latitude": REGION.latitude, "longitude": REGION.longitude}
    expected = Twin(4).fields(kind, WHEN, REGION.latitude, REGION.longitude, DEPTHS_M)
    for name, values in expected.items():
        field = (
            answer.dataset[answer.lexicon[name].native].isel(time=0)
            if "time" in answer.dataset.dims
            else answer.dataset[name]
        )
        field = field.sel({dim: axes[dim] for dim in field.dims if dim in axes}, method="nearest")
        spread = float(np.nanmax(values) - np.nanmin(values)) if kind is Kind.WAVES else 0.0
        np.testing.assert_allclose(field.values, values, atol=max(6e-4, spread / 1e4), rtol=1e-5, equal_nan=True)


def test_source_writes_once_and_uses_it_again(tmp_path):
    first = SOURCES["twin"].fetch(request(Kind.SURFACE, tmp_path))
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert len(written) == 1
    again = SOURCES["twin"].fetch(request(Kind.SURFACE, tmp_path))
    assert again.files == first.files
    assert written == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    other = SOURCES["twin"].fetch(request(Kind.SURFACE, tmp_path, seed=1))
    assert other.files[0].sha256 != first.files[0].sha256


def test_files_of_the_same_request_have_the_same_bytes(tmp_path):
    digests = {SOURCES["twin"].fetch(request(Kind.WAVES, tmp_path / part)).files[0].sha256 for part in ("a", "b")}
    assert len(digests) == 1


def test_climatology_is_the_lower_rung_of_the_atmosphere_and_says_so(tmp_path):
    sources = {name: SOURCES[name] for name in ("climatology",)}
    ladder = systems.Ladder(kind=Kind.SURFACE, rungs=systems.rungs("climatology"), required=True)
    system = systems.TWIN.model_copy(update={"ladders": (ladder,), "grid": REGION})
    (part,) = ingest(system, Kind.SURFACE, WHEN, inputs=None, scratch=tmp_path, sources=sources)
    expected = climatology.fields(Kind.SURFACE, WHEN, REGION.latitude, REGION.longitude, ())
    for name, values in expected.items():
        np.testing.assert_allclose(part[name].values, values, rtol=1e-6)
    assert "climatology" in part.attrs["inputs"]


REFUSED = sorted(set(Fault) - {Fault.LATE, Fault.OTHER_DATE, Fault.MOVED_LAND, Fault.FLIPPED_LATITUDE})
"""Land that is not where it was is for the regridding to see, which knows the mask."""


@pytest.mark.parametrize("fault", REFUSED)
def test_a_twin_told_to_be_wrong_is_refused(fault, tmp_path):
    ladder = systems.Ladder(kind=Kind.OCEAN, rungs=systems.rungs("twin"), required=True)
    system = systems.TWIN.model_copy(update={"ladders": (ladder,), "grid": REGION})
    ingest(system, Kind.OCEAN, WHEN, inputs=None, scratch=tmp_path, sources={"twin": TwinSource()})
    with pytest.raises(InputRefused):
        ingest(system, Kind.OCEAN, WHEN, inputs=None, scratch=tmp_path, sources={"twin": TwinSource(fault)})


@pytest.mark.parametrize("fault", [Fault.LATE, Fault.OTHER_DATE])
def test_a_twin_told_to_be_late_is_not_there(fault, tmp_path):
    with pytest.raises(InputUnavailable):
        TwinSource(fault).fetch(request(Kind.OCEAN, tmp_path))
