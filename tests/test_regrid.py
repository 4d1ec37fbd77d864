"""The conservative weights and the journey's regrid, against sums and means worked out by hand."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from pipeline import computing, contracts, provenance
from pipeline import weights as w
from pipeline.earth import landmask
from pipeline.earth.landmask import Masks
from pipeline.earth.mask_making import ocean_of
from pipeline.errors import InputRefused
from pipeline.grids import EARTH_RADIUS_M, Grid, cell_areas, edges
from pipeline.ingest import ingest
from pipeline.regrid import regrid, regrid_kuroshio
from pipeline.systems import CORAL_SEA, TWIN, System
from pipeline.variables import Kind, variable

START = datetime(2023, 1, 1, tzinfo=UTC)
TEN_DEGREES = Grid(south=-85.0, west=0.0, latitude_step=10.0, longitude_step=10.0, rows=18, columns=36)


def irregular(low, high, count, seed):
    """Increasing points with steps that differ by up to a half, as HYCOM's latitudes do."""
    steps = 1.0 + 0.5 * np.random.default_rng(seed).random(count)
    return low + (high - low) * np.cumsum(steps) / (steps.sum() + 1.0)


def test_a_constant_stays_the_same_constant_beside_any_land():
    latitude, longitude = irregular(-80, 90, 61, 1), irregular(0, 360, 97, 2)
    field = np.full((61, 97), 34.567, dtype=np.float32)
    field[np.random.default_rng(3).random(field.shape) < 0.4] = np.nan
    values, _ = w.mean(field, w.weights(latitude, longitude, TEN_DEGREES))
    known = values[np.isfinite(values)]
    assert known.size > 500
    assert np.abs(known / np.float32(34.567) - 1).max() <= np.finfo(np.float32).eps


def test_the_integral_over_the_ocean_is_kept():
    """Each piece of a source cell lies in one target cell, so sum(mean * ocean area) = sum(f * source cell area)."""
    latitude, longitude = irregular(-80, 90, 61, 4), np.arange(120) * 3.0
    rng = np.random.default_rng(5)
    field = rng.standard_normal((61, 120)).astype(np.float32)
    field[rng.random(field.shape) < 0.3] = np.nan
    grid = Grid(south=-87.5, west=1.3, latitude_step=5.0, longitude_step=7.2, rows=36, columns=50)
    values, area = w.mean(field, w.weights(latitude, longitude, grid))
    native = cell_areas(edges(latitude).clip(-90, 90), np.arange(121) * 3.0 - 1.5) / EARTH_RADIUS_M**2
    scale = np.nansum(np.abs(field) * native)
    assert abs(np.nansum(values.astype(np.float64) * area) - np.nansum(field * native)) < 1e-7 * scale
    assert area.sum() == pytest.approx(native[np.isfinite(field)].sum(), rel=1e-12)


def test_a_field_linear_in_sine_of_latitude_has_its_exact_means():
    """s = sin(latitude) has the mean (s1 + s2) / 2 between s1 and s2: the area element is ds."""
    latitude = np.arange(-89, 90, 2.0)
    sines = np.sin(np.deg2rad(edges(latitude)))
    field = np.repeat(((sines[1:] + sines[:-1]) / 2)[:, None], 40, axis=1)
    values, _ = w.mean(field, w.weights(latitude, np.arange(40) * 9.0, TEN_DEGREES))
    target = np.sin(np.deg2rad(TEN_DEGREES.latitude_edges))
    np.testing.assert_allclose(values, np.repeat(((target[1:] + target[:-1]) / 2)[:, None], 36, axis=1), atol=6e-8)


def test_points_at_the_poles_stand_for_half_cells_and_all_of_the_globe_is_covered():
    weights = w.weights(np.linspace(-90, 90, 721), np.arange(1440) * 0.25, TEN_DEGREES)
    np.testing.assert_allclose(weights.covered, 1.0, rtol=1e-12)


def test_a_global_source_wraps_and_a_regional_one_does_not():
    """The cell -5..5 E takes half of its area from 355..360 and half from 0..5."""
    grid = Grid(south=5.0, west=0.0, latitude_step=10.0, longitude_step=10.0, rows=2, columns=2)
    longitude = np.arange(72) * 5.0 + 2.5
    field = np.repeat(np.where(longitude > 180.0, 3.0, 1.0)[None], 4, axis=0).astype(np.float32)
    latitude = np.array([2.5, 7.5, 12.5, 17.5])
    values, _ = w.mean(field, w.weights(latitude, longitude, grid))
    np.testing.assert_allclose(values, [[2.0, 1.0]] * 2)
    regional = w.weights(latitude, longitude[:6], grid)
    np.testing.assert_allclose(regional.covered, [[0.5, 1.0]] * 2)


def test_a_region_astride_greenwich_stays_one_region():
    grid = Grid(south=5.0, west=350.0, latitude_step=10.0, longitude_step=4.0, rows=2, columns=5)
    longitude = np.array([1.0, 3.0, 5.0, 357.0, 359.0])
    field = np.repeat(longitude[None].astype(np.float32), 5, axis=0)
    weights = w.weights(np.array([0.0, 5.0, 10.0, 15.0, 20.0]), longitude, grid)
    values, _ = w.mean(field, weights)
    # Source 356..366; cells 348-352, 352-356, 356-360, 360-364, 364-368 (half covered).
    np.testing.assert_allclose(weights.covered, [[0.0, 0.0, 1.0, 1.0, 0.5]] * 2, atol=1e-12)
    np.testing.assert_allclose(values, [[np.nan, np.nan, 358.0, 2.0, 5.0]] * 2)


def test_a_meridian_given_twice_counts_once():
    grid = Grid(south=5.0, west=0.0, latitude_step=10.0, longitude_step=180.0, rows=2, columns=2)
    longitude = np.linspace(0.0, 360.0, 37)
    weights = w.weights(np.array([2.5, 7.5, 12.5, 17.5]), longitude, grid)
    np.testing.assert_allclose(weights.covered, 1.0)


def test_a_coastal_cell_is_the_mean_of_its_ocean_alone():
    """Rows 0-5 N and 5-10 N weigh sin 5 and sin 10 - sin 5; the north-east quarter is land."""
    grid = Grid(south=5.0, west=5.0, latitude_step=10.0, longitude_step=10.0, rows=2, columns=2)
    field = np.array([[1.0, 2.0], [4.0, np.nan]], dtype=np.float32)
    weights = w.weights(np.array([2.5, 7.5]), np.array([2.5, 7.5]), grid)
    values, area = w.mean(field, weights)
    south, north = np.sin(np.deg2rad(5)), np.sin(np.deg2rad(10)) - np.sin(np.deg2rad(5))
    assert values[0, 0] == pytest.approx((1 * south + 2 * south + 4 * north) / (2 * south + north), rel=1e-7)
    assert w.ocean_share(area, weights)[0, 0] == pytest.approx((2 * south + north) / (2 * south + 2 * north))


def test_coincident_points_keep_their_values_though_the_file_rounds_its_coordinates():
    grid = CORAL_SEA.grid
    rng = np.random.default_rng(6)
    field = rng.standard_normal((47, 25)).astype(np.float32)
    field[rng.random(field.shape) < 0.3] = np.nan
    latitude = (-25.04 + 0.2 * np.arange(47)).astype(np.float32)
    longitude = np.round((144.96 + 0.4 * np.arange(25)) * 2**14) / 2**14
    values, _ = w.mean(field, w.weights(latitude, longitude, grid))
    np.testing.assert_array_equal(values, field[2:46, :24])


# The journey's verb, on a small ocean: land in the west and in one corner of the south, wider with depth.

SMALL = CORAL_SEA.model_copy(
    update={
        "name": "small",
        "grid": Grid(south=-29.5, west=150.5, latitude_step=1.0, longitude_step=1.0, rows=20, columns=16),
        "wave_grid": Grid(south=-29.5, west=150.5, latitude_step=1.0, longitude_step=1.0, rows=20, columns=16),
        "kuroshio_grid": Grid(south=-25.75, west=155.25, latitude_step=0.5, longitude_step=0.5, rows=8, columns=10),
        "depths_m": (0.0, 6.0),
    }
)
LATITUDE = -32.0 + (np.arange(78) + 0.5) / 3
LONGITUDE = 148.0 + (np.arange(66) + 0.5) / 3
NAMES = {Kind.OCEAN: ("to", "so", "uo", "vo", "zos"), Kind.WAVES: ("swh", "mwp", "mwd"), Kind.SURFACE: ("u10", "sp")}


def native_land(depth_m, wiggle=0.0):
    """True on land; ``wiggle``: how far, in degrees, the western coast winds about its line."""
    north, east = LATITUDE[:, None] + 30.0, LONGITUDE[None, :] - 150.0
    return (east < 3.2 + 0.31 * north + 0.1 * depth_m + wiggle * np.sin(2.1 * north)) | (
        (north < 4.4) & (east > 12.2 - 0.1 * depth_m)
    )


def ingested(
    kind=Kind.OCEAN, names=None, change=lambda values: values, source="hycom", depths=SMALL.depths_m, wiggle=0.0
):
    """A native part whose values tell where they are from: 10 + latitude / 100 + longitude / 1000 + depth / 100."""
    fields = {}
    for name in names or NAMES[kind]:
        entry = variable(name)
        levels = depths if entry.has_depth else (0.0,)
        place = 10.0 + LATITUDE[:, None] / 100 + LONGITUDE[None, :] / 1000
        land = [native_land(depth, wiggle) if kind is not Kind.SURFACE else False for depth in levels]
        values = np.stack([np.where(dry, np.nan, place + d / 100) for dry, d in zip(land, levels, strict=True)])
        values = change(values.astype(np.float32))
        dims = ("depth", "latitude", "longitude") if entry.has_depth else ("latitude", "longitude")
        fields[name] = (dims, values if entry.has_depth else values[0], {"units": entry.units})
    coords = {
        "depth": list(depths),
        "latitude": LATITUDE,
        "longitude": LONGITUDE,
        "time": np.datetime64(START.replace(tzinfo=None), "ns"),
    }
    record = provenance.InputRecord(
        kind=kind, variables=tuple(fields), source=source, rung=0, valid_time=START, age_hours=0.0
    )
    return contracts.ingested(provenance.attach(xr.Dataset(fields, coords=coords), (record,)), kind)


@pytest.fixture
def small(tmp_path, monkeypatch) -> System:
    monkeypatch.setattr(landmask, "FOLDER", tmp_path)
    ocean = ocean_of((ingested(),), SMALL.grid, SMALL.depths_m)
    arrays = {"ocean": ocean, "waves": ocean[0], "kuroshio": ocean_of((ingested(),), SMALL.kuroshio_grid, (0.0,))[0]}
    landmask.save(SMALL, Masks(arrays, dict.fromkeys(arrays, "hycom"), "the small ocean of the tests"))
    return SMALL


def test_the_gridded_ocean_is_on_the_system_s_ocean_alone_and_nowhere_else(small):
    gridded = regrid((ingested(),), Kind.OCEAN, small)
    assert tuple(gridded.data_vars) == NAMES[Kind.OCEAN]
    np.testing.assert_array_equal(np.isfinite(gridded["to"].values), landmask.depth_mask(small))
    assert 0 < np.isfinite(gridded["to"].values[1]).sum() < np.isfinite(gridded["to"].values[0]).sum()
    # Far from land the mean of a field nearly linear over a cell is its value at the centre, to the curvature of
    # sin(latitude) over one degree: (1/24) (pi/180)^2 tan(latitude) 57.3 / 100 degrees < 1e-4.
    at = gridded["to"].sel(latitude=-15.5, longitude=164.5, depth=6.0)
    assert float(at) == pytest.approx(10 - 0.155 + 0.1645 + 0.06, abs=1e-4)


def test_parts_of_two_rungs_meet_on_the_grid_with_both_records(small):
    first = ingested(Kind.SURFACE, ("sp",), lambda v: v * 1000 + 90_000, source="era5")
    second = ingested(Kind.SURFACE, ("u10",), source="climatology")
    gridded = regrid((first, second), Kind.SURFACE, small)
    assert tuple(gridded.data_vars) == ("u10", "sp")
    assert [record.source for record in provenance.records(gridded)] == ["era5", "climatology"]
    with pytest.raises(InputRefused, match="u10 from one rung"):
        regrid((second, second), Kind.SURFACE, small)


def move(rows, columns):
    return lambda values: np.roll(values, (rows, columns), (-2, -1))


@pytest.mark.parametrize(
    ("rows", "columns", "words"),
    [(3, 0, "one cell north"), (-3, 0, "one cell south"), (0, 3, "one cell east"), (0, -3, "one cell west")],
)
def test_a_mask_moved_by_a_cell_is_refused_and_the_move_is_named(small, rows, columns, words):
    with pytest.raises(InputRefused, match=f"land-sea mask.* as if moved {words}"):
        regrid((ingested(change=move(rows, columns)),), Kind.OCEAN, small)


@pytest.mark.parametrize("columns", [1, -1])
def test_a_mask_moved_by_one_native_point_is_refused(small, columns):
    """A third of a cell, across a coast that runs north to south."""
    with pytest.raises(InputRefused, match="land-sea mask moved"):
        regrid((ingested(change=move(0, columns)),), Kind.OCEAN, small)


def test_a_flipped_latitude_with_unflipped_data_is_refused(small):
    with pytest.raises(InputRefused, match="latitude is flipped"):
        regrid((ingested(change=lambda values: values[:, ::-1]),), Kind.OCEAN, small)


def test_a_field_mostly_without_values_is_refused(small):
    rng = np.random.default_rng(7)
    with pytest.raises(InputRefused, match="values are missing"):
        regrid((ingested(change=lambda v: np.where(rng.random(v.shape) < 0.98, np.nan, v)),), Kind.OCEAN, small)


def test_a_mask_of_another_archive_may_differ_along_the_coast_but_not_move(small):
    relief = landmask.load(small)._replace(sources=dict.fromkeys(("ocean", "waves", "kuroshio"), "relief"))
    landmask.save(small, relief)
    gridded = regrid((ingested(wiggle=0.4),), Kind.OCEAN, small)
    np.testing.assert_array_equal(np.isfinite(gridded["to"].values), landmask.depth_mask(small))
    with pytest.raises(InputRefused, match="moved one cell east"):
        regrid((ingested(wiggle=0.4, change=move(0, 3)),), Kind.OCEAN, small)
    landmask.save(small, relief._replace(sources=dict.fromkeys(relief.sources, "hycom")))
    with pytest.raises(InputRefused, match="2% of its"):
        regrid((ingested(wiggle=0.4),), Kind.OCEAN, small)


def test_a_rim_cell_is_filled_with_the_mean_of_its_neighbours_and_told(small):
    """One cell of the mask that the source does not have: the mean of the valid ones among its eight neighbours."""
    whole = regrid((ingested(),), Kind.OCEAN, small)["to"].values[1]
    row, column = 10, int(np.flatnonzero(np.isfinite(whole[10]))[0])
    south, west = 6 + 3 * row, 6 + 3 * column

    def without(values):
        values[-1, south : south + 3, west : west + 3] = np.nan
        return values

    neighbours = whole[row - 1 : row + 2, column - 1 : column + 2].astype(np.float64)
    neighbours[1, 1] = np.nan
    expected = np.nanmean(neighbours)
    gridded = regrid((ingested(change=without),), Kind.OCEAN, small)
    assert 3 <= np.isfinite(neighbours).sum() < 8
    assert gridded["to"].values[1, row, column] == pytest.approx(expected, rel=1e-7)
    assert "filled from their ocean neighbours: to 1, so 1" in provenance.records(gridded)[0].note


def test_a_source_smaller_than_the_grid_is_refused_with_the_uncovered_box(small):
    part = ingested().isel(latitude=slice(0, 60))
    with pytest.raises(InputRefused, match=r"not covered, within -11\.50\.\.-10\.50N"):
        regrid((part,), Kind.OCEAN, small)


def test_an_atmosphere_with_gaps_is_refused(small):
    def without(values):
        values[0, 40, 30] = np.nan
        return values

    with pytest.raises(InputRefused, match="1 of 5148 points without a value"):
        regrid((ingested(Kind.SURFACE, ("u10",), without),), Kind.SURFACE, small)


def test_other_depths_than_the_system_s_are_refused(small):
    with pytest.raises(InputRefused, match=r"the 2 depths 0\.\.6 m; found 2: 0, 8 m"):
        regrid((ingested(depths=(0.0, 8.0)),), Kind.OCEAN, small)


def test_directions_are_averaged_across_north_as_vectors(small):
    """Columns alternate 350, 10, 350: sines -a, a, -a and cosines b: atan2(-a/3, b) = -atan(tan(10)/3)."""

    def directions(values):
        return np.where(np.isnan(values), np.nan, np.where(np.arange(66) % 2, 10.0, 350.0)).astype(np.float32)

    parts = (ingested(Kind.WAVES, ("swh", "mwp")), ingested(Kind.WAVES, ("mwd",), directions))
    found = regrid(parts, Kind.WAVES, small)["mwd"].sel(latitude=-15.5).values
    turn = np.rad2deg(np.arctan(np.tan(np.deg2rad(10.0)) / 3))
    expected = np.where(np.arange(16) % 2, turn, 360 - turn)
    known = np.isfinite(found)
    assert known.sum() > 5
    np.testing.assert_allclose(found[known][1:], expected[known][1:], atol=1e-4)


def test_opposite_sides_of_north_average_to_north_within_bounds():
    """350 and 10 in equal parts are 0, not 180; never 360."""
    from pipeline.regrid import _by_component

    pair = np.array([[350.0, 10.0]], dtype=np.float32)
    angle = _by_component(pair, variable("mwd"), lambda part: part.mean(axis=1, keepdims=True))
    assert angle[0, 0] == pytest.approx(0.0, abs=1e-4) or angle[0, 0] == pytest.approx(360.0, abs=1e-4)
    assert 0.0 <= angle[0, 0] < 360.0


def test_the_kuroshio_truth_is_the_surface_on_the_fine_grid(small):
    truth = regrid_kuroshio((ingested(),), small)
    assert tuple(truth.data_vars) == NAMES[Kind.OCEAN]
    assert truth["to"].dims == ("latitude", "longitude")
    np.testing.assert_array_equal(np.isfinite(truth["to"].values), landmask.ocean_mask(small, "kuroshio")[0])
    np.testing.assert_allclose(truth["to"].sel(latitude=-22.25, longitude=159.75), 10 - 0.2225 + 0.15975, atol=2e-3)


def test_levels_are_computed_once_each_and_one_at_a_time(small):
    """Two levels of 78 x 66 made to be 4 MB each by a longer axis would be 8 MB: the peak stays near one."""
    rows, columns, computed = 1200, 900, []
    latitude, longitude = np.linspace(-32, -6, rows), np.linspace(148, 170, columns)

    def level(block, block_info=None):
        computed.append(block_info[0]["chunk-location"][0])
        return np.ones(block.shape, dtype=np.float32)

    depths = tuple(float(d) for d in range(12))
    system = small.model_copy(update={"name": "deep", "depths_m": depths})
    ocean = np.ones((12, *small.grid.shape), dtype=bool)
    landmask.save(system, Masks({"ocean": ocean}, {"ocean": "hycom"}, "all ocean"))
    lazy = da.zeros((12, rows, columns), chunks=(1, rows, columns), dtype=np.float32).map_blocks(
        level, meta=np.empty((0, 0, 0), np.float32)
    )
    record = provenance.records(ingested())[0]
    fields = {"to": (("depth", "latitude", "longitude"), lazy, {"units": "degC"})}
    coords = {
        "depth": list(depths),
        "latitude": latitude,
        "longitude": longitude,
        "time": np.datetime64("2023-01-01", "ns"),
    }
    part = contracts.ingested(provenance.attach(xr.Dataset(fields, coords=coords), (record,)), Kind.OCEAN)
    w.weights(latitude, longitude, small.grid)
    tracemalloc.start()
    with computing.on(None, threads=1):
        gridded = regrid((part,), Kind.OCEAN, system)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sorted(computed) == list(range(12))
    np.testing.assert_array_equal(gridded["to"].values, 1.0)
    slab = rows * columns * 4
    assert peak < 5 * slab < 12 * slab


@pytest.mark.realdata
def test_the_real_analysis_is_gridded_to_the_file_s_own_values(realdata):
    """Day two of the file against the mask made of day one: every value within the packing's rounding."""
    with xr.open_dataset(realdata / "hycom_coral_sea_20230101_20230102.nc", decode_times=False) as file:
        native = file.isel(time=1).sel(depth=list(CORAL_SEA.depths_m)).load()
    lexicon = {"to": "water_temp", "so": "salinity", "uo": "water_u", "vo": "water_v", "zos": "surf_el"}
    part = ingested_from(native, lexicon)
    gridded = regrid((part,), Kind.OCEAN, CORAL_SEA)
    for name, theirs in lexicon.items():
        np.testing.assert_allclose(gridded[name].values, native[theirs].values[..., 2:46, :24], atol=2e-6)
    assert provenance.records(gridded)[0].note == ""


def ingested_from(native, lexicon):
    fields = {
        name: native[theirs]
        .rename(lat="latitude", lon="longitude")
        .astype(np.float32)
        .assign_attrs(units=variable(name).units)
        for name, theirs in lexicon.items()
    }
    dataset = xr.Dataset({k: v.drop_vars("time") for k, v in fields.items()}).assign_coords(
        time=np.datetime64("2023-01-02", "ns")
    )
    record = provenance.InputRecord(
        kind=Kind.OCEAN, variables=tuple(lexicon), source="hycom", rung=0, valid_time=None, age_hours=0.0
    )
    return contracts.ingested(provenance.attach(dataset, (record,)), Kind.OCEAN)


@pytest.mark.parametrize("kind", [Kind.WAVES, Kind.BIOGEOCHEMISTRY])
def test_the_twin_s_fields_of_any_day_keep_to_the_twin_s_mask_and_moved_or_flipped_ones_do_not(kind, tmp_path):
    parts = ingest(TWIN, kind, datetime(2025, 11, 22, 12, tzinfo=UTC), inputs=None, scratch=tmp_path)
    gridded = regrid(parts, kind, TWIN)
    name = next(iter(gridded.data_vars))
    np.testing.assert_array_equal(np.isfinite(gridded[name].values), landmask.array_mask(TWIN, kind.value))
    assert not any("filled" in record.note for record in provenance.records(gridded))
    part = parts[0].load()
    moved = part.copy(data={item: np.roll(part[item].values, 1, axis=1) for item in part.data_vars})
    with pytest.raises(InputRefused, match="land-sea mask moved"):
        regrid((contracts.Ingested(moved),), kind, TWIN)
    flipped = part.copy(data={item: part[item].values[::-1] for item in part.data_vars})
    with pytest.raises(InputRefused, match="latitude is flipped"):
        regrid((contracts.Ingested(flipped),), kind, TWIN)
