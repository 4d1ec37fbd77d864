"""The climatology: real means where they are known, balanced flow, a season of the right sign, values everywhere."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest

from pipeline.earth import climatology, splines
from pipeline.twin import Twin, reduce
from pipeline.variables import DEPTHS_M, Kind, of_kind

JANUARY, JULY = datetime(2021, 1, 20, 12, tzinfo=UTC), datetime(2021, 7, 20, 12, tzinfo=UTC)
LATITUDE, LONGITUDE = np.arange(-88.5, 90.0, 3.0), np.arange(1.5, 360.0, 3.0)
KINDS = (Kind.OCEAN, Kind.SURFACE, Kind.WAVES, Kind.BIOGEOCHEMISTRY, Kind.STATIC)


def at(field: np.ndarray, north: float, east: float) -> float:
    """The value at the point nearest to a place; the top level where there are levels."""
    field = field[0] if field.ndim == 3 else field
    return float(field[np.abs(LATITUDE - north).argmin(), np.abs(LONGITUDE - east).argmin()])


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_every_variable_everywhere_within_the_registrys_bounds(kind):
    for when in (JANUARY, JULY):
        fields = climatology.fields(kind, when, LATITUDE, LONGITUDE, DEPTHS_M)
        assert set(fields) == {entry.name for entry in of_kind(kind)}
        for entry in of_kind(kind):
            values = fields[entry.name]
            shape = (LATITUDE.size, LONGITUDE.size)
            assert values.shape == ((len(DEPTHS_M), *shape) if entry.has_depth else shape)
            assert values.dtype == np.float32
            assert np.isfinite(values).all()
            assert entry.lower <= values.min() <= values.max() <= entry.upper


def test_means_are_those_of_the_atlases():
    """Textbook values: the western Pacific warm pool about 29 degC, the Southern Ocean near freezing, the
    Mediterranean saltier than 37, the Baltic fresher than 12; winds of the trades and the westerlies."""
    ocean = climatology.fields(Kind.OCEAN, JANUARY, LATITUDE, LONGITUDE, DEPTHS_M)
    assert at(ocean["to"], 1.5, 160) == pytest.approx(29, abs=1.5)
    assert at(ocean["to"], -64.5, 30) < 2
    assert at(ocean["so"], 34.5, 19.5) > 37
    assert at(ocean["so"], 58.5, 19.5) < 12
    surface = climatology.fields(Kind.SURFACE, JULY, LATITUDE, LONGITUDE, ())
    assert at(surface["u10"], 16.5, 220) < -4
    assert at(surface["u10"], -49.5, 90) > 5
    assert 98_000 < at(surface["msl"], -64.5, 200) < 100_000
    assert at(surface["msl"], 34.5, 220) > 101_800


def test_relief_knows_mountains_trenches_and_land_from_sea():
    latitude, longitude = np.array([11.2, 28.0, 46.0]), np.array([10.0, 86.9, 142.3, 330.0])
    elevation = climatology.elevation(latitude, longitude)
    assert elevation[0, 2] < -5000, "the Mariana trench, averaged over 20 minutes"
    assert elevation[1, 1] > 4000, "the Himalaya"
    sea = climatology.is_sea(latitude, longitude)
    assert sea.tolist() == [[False, True, True, True], [False, False, True, True], [False, False, False, True]]


def test_caspian_and_land_below_the_sea_are_no_ocean():
    assert not climatology.is_sea(np.array([40.0]), np.array([51.0])).any(), "the Caspian"
    assert climatology.is_sea(np.array([35.0, 58.5]), np.array([18.0, 19.5])).diagonal().all(), "both inner seas"


def test_what_is_sea_at_a_depth_is_sea_above_it():
    below = [climatology.is_sea(LATITUDE, LONGITUDE, depth) for depth in (0.0, 100.0, 500.0, 4000.0)]
    for upper, lower in pairwise(below):
        assert (upper | ~lower).all()
        assert upper.sum() > lower.sum()


def test_summer_is_warm_in_each_hemisphere_and_the_sea_stands_higher_in_it():
    """Warm water is light: with thermal expansion the surface of the subtropical gyres is 5 to 15 cm higher."""
    january, july = (climatology.fields(Kind.OCEAN, w, LATITUDE, LONGITUDE, (0.0, 500.0)) for w in (JANUARY, JULY))
    for name, least in (("to", 2.0), ("zos", 0.02)):
        change = {north: at(july[name], north, 190) - at(january[name], north, 190) for north in (37.5, -31.5)}
        assert change[37.5] > least
        assert change[-31.5] < -least
    deep = np.abs(july["to"][1] - january["to"][1])[np.abs(LATITUDE) < 60]
    assert np.median(deep) < 0.5, "the season does not reach 500 m"


def test_mean_flow_is_geostrophic_on_a_fine_patch_of_the_open_ocean():
    """Centred differences of zos over 0.02 degrees against uo and vo: u = -(g/f) d(zos)/dy, v = (g/f) d(zos)/dx.

    The speed limiter changes a flow of 0.3 m/s by (0.3 / 1.2)^4 / 4 = 0.1 %, float32 differences by about 1 %.
    """
    latitude, longitude = np.arange(26.0, 27.0, 0.1), np.arange(170.0, 171.0, 0.1)
    ocean = climatology.fields(Kind.OCEAN, JANUARY, latitude, longitude, (0.0,))
    north, east = np.gradient(ocean["zos"].astype(float), 0.1 * np.deg2rad(1) * 6.371e6)
    f = 2 * 7.2921e-5 * np.sin(np.deg2rad(latitude))[:, None]
    u, v = -9.81 / f * north, 9.81 / f * east / np.cos(np.deg2rad(latitude))[:, None]
    inner = (slice(1, -1), slice(1, -1))
    assert np.abs(u).max() > 0.005
    np.testing.assert_allclose(ocean["uo"][0][inner], u[inner], atol=2e-3)
    np.testing.assert_allclose(ocean["vo"][0][inner], v[inner], atol=2e-3)


def test_mean_flow_shears_with_depth_as_density_says():
    """Thermal wind from the equation of state alone: d(u)/d(depth) = (g / f) d(b)/dy, b = (rho0 - rho) / rho0."""
    latitude, longitude = np.arange(37.5, 40.0, 1.0), np.array([180.5, 181.5])
    ocean = climatology.fields(Kind.OCEAN, JANUARY, latitude, longitude, (200.0, 250.0, 300.0))
    warm, salt = ocean["to"][1] - 10.0, ocean["so"][1] - 35.0
    buoyancy = 1.67e-4 * warm + 0.5e-5 * warm**2 - 7.8e-4 * salt
    slope = (buoyancy[2] - buoyancy[0]) / (2 * np.deg2rad(1.0) * 6.371e6)
    f = 2 * 7.2921e-5 * np.sin(np.deg2rad(38.5))
    shear = (ocean["uo"][0, 1] - ocean["uo"][2, 1]) / 100.0
    expected = -9.81 / f * slope
    assert (expected > 1e-6).all(), "eastward flow that weakens with depth"
    np.testing.assert_allclose(shear, expected, rtol=0.25)


def test_values_do_not_depend_on_which_other_points_are_asked_for():
    whole = climatology.fields(Kind.OCEAN, JULY, LATITUDE, LONGITUDE, DEPTHS_M)
    part = climatology.fields(Kind.OCEAN, JULY, LATITUDE[20:24], LONGITUDE[50:53], (0.0, 100.0))
    for name, values in part.items():
        chosen = whole[name][..., 20:24, 50:53]
        chosen = chosen[[0, DEPTHS_M.index(100)]] if values.ndim == 3 else chosen
        np.testing.assert_allclose(values, chosen, atol=2e-5)


def test_the_date_line_and_the_turn_of_the_year_are_no_seams():
    longitude = np.array([0.0, 0.05, 359.95])
    fields = climatology.fields(Kind.SURFACE, JULY, np.array([-40.0]), longitude, ())
    assert np.ptp(fields["msl"]) < 20
    before = datetime(2020, 12, 31, 23, tzinfo=UTC)
    old, new = (
        climatology.fields(Kind.OCEAN, w, LATITUDE, LONGITUDE, (0.0,)) for w in (before, before + timedelta(hours=2))
    )
    assert np.abs(old["to"] - new["to"]).max() < 0.1


@pytest.mark.parametrize(("kind", "name", "tolerance"), [
    (Kind.OCEAN, "zos", 0.25), (Kind.OCEAN, "to", 0.25), (Kind.SURFACE, "msl", 0.25), (Kind.SURFACE, "u10", 0.25),
    (Kind.WAVES, "swh", 0.25), (Kind.WAVES, "mwp", 0.25), (Kind.BIOGEOCHEMISTRY, "no3", 0.4),
    (Kind.BIOGEOCHEMISTRY, "mld", 0.4),
])  # fmt: skip
def test_climatology_is_the_twins_mean_for_the_day_of_the_year(kind, name, tolerance):
    """The mean of N = 40 independent years misses the true mean by std / sqrt(40) = 0.16 std, root mean square.

    Nitrate is steep across fronts, which the means on 2 degrees smear.
    The mixed layer varies little from year to year, and two harmonics round off its sudden shoaling in spring.
    """
    latitude, longitude = np.arange(-58.5, 60.0, 9.0), np.arange(4.5, 360.0, 9.0)
    years = np.stack(
        [Twin(3).fields(kind, datetime(1950 + n, 4, 10, tzinfo=UTC), latitude, longitude)[name] for n in range(40)]
    )
    expected = climatology.fields(kind, datetime(1970, 4, 10, tzinfo=UTC), latitude, longitude, (0.0,))[name]
    miss = years.mean(0) - expected
    sea = np.isfinite(miss)
    assert np.sqrt(np.mean(miss[sea] ** 2)) < tolerance * np.sqrt(np.mean(years.var(0)[sea]))


def test_splines_and_their_slopes_are_exact_for_a_smooth_wave():
    """sin(3 lon) cos(lat) on 1-degree nodes: the error of a cubic spline is of order (3 pi / 180)^4 = 7e-6."""
    nodes_y, nodes_x = np.deg2rad(np.arange(-89.5, 90.0)), np.deg2rad(np.arange(0.5, 360.0))
    field = (np.cos(nodes_y)[:, None] * np.sin(3 * nodes_x)).astype(np.float32)
    latitude, longitude = np.array([-30.3, 0.2, 61.7]), np.array([0.1, 123.4, 359.9])
    mesh = splines.mesh(1.0, latitude, longitude)
    y, x = np.deg2rad(latitude)[:, None], np.deg2rad(longitude)
    np.testing.assert_allclose(mesh.value(field), np.cos(y) * np.sin(3 * x), atol=2e-5)
    north, east = mesh.slopes(field)
    np.testing.assert_allclose(north, np.deg2rad(-np.sin(y) * np.sin(3 * x)), atol=2e-5)
    np.testing.assert_allclose(east, np.deg2rad(np.cos(y) * 3 * np.cos(3 * x)), atol=2e-5)


def test_gaps_are_filled_from_what_is_near_and_what_is_known_is_kept():
    field = np.full((20, 40), np.nan)
    field[:, :10], field[:, 20:30] = 1.0, 3.0
    filled = reduce.filled(field)
    known = np.isfinite(field)
    assert (filled[known] == field[known]).all()
    assert 1.0 <= filled.min() <= filled.max() <= 3.0
    assert filled[10, 12] < 2 < filled[10, 18], "between the two, nearer the nearer"
    assert filled[10, 31] > 2 > filled[10, 38], "across the seam too"
