"""The twin's weather, waves and plankton: balanced winds, waves that remember them, life that follows light."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest

from pipeline.earth import climatology
from pipeline.twin import Twin, census, ocean, plankton, seas, weather
from pipeline.variables import Kind, of_kind

WHEN = datetime(2015, 1, 18, 12, tzinfo=UTC)
LATITUDE, LONGITUDE = np.arange(-76.5, 90.0, 3.0), np.arange(1.5, 360.0, 3.0)
SEA = climatology.is_sea(LATITUDE, LONGITUDE)
GROUPS = ("chlorophytes", "diatoms", "coccolithophores", "cyanobacteria")


@pytest.mark.parametrize("kind", [Kind.SURFACE, Kind.WAVES, Kind.BIOGEOCHEMISTRY, Kind.STATIC])
@pytest.mark.parametrize("when", [WHEN, datetime(1953, 7, 2, 6, tzinfo=UTC), datetime(2099, 10, 9, tzinfo=UTC)])
def test_every_variable_is_within_bounds_and_missing_exactly_on_land(kind, when):
    fields = Twin(0).fields(kind, when, LATITUDE, LONGITUDE)
    assert set(fields) == {entry.name for entry in of_kind(kind)}
    for entry in of_kind(kind):
        values = fields[entry.name]
        assert values.dtype == np.float32
        there = SEA if kind in (Kind.WAVES, Kind.BIOGEOCHEMISTRY) else np.ones_like(SEA)
        assert np.array_equal(np.isfinite(values), there)
        assert entry.lower <= np.nanmin(values) <= np.nanmax(values) <= entry.upper


def test_wind_blows_round_lows_against_the_clock_in_the_north_and_inwards():
    """A low of 10 hPa, radius 700 km, at 45 N: east of it the wind is from the south, and air flows into it.

    At x = one radius dp/dx = (1000 Pa / 7e5 m) exp(-1/2) = 8.7e-4 Pa/m; geostrophic v = dp/dx / (rho f) = 6.9 m/s;
    of it 0.7 cos(20 deg) = 0.66 along, 0.7 sin(20 deg) = 0.24 towards the low.
    """
    for north, turn in ((45.0, 1.0), (-45.0, -1.0)):
        low = census.Vortices(*(np.array([part]) for part in (north, 180.0, 7e5, -10.0)))
        east = 180.0 + 7e5 / (census.DEGREE_M * np.cos(np.deg2rad(45)))
        latitude = np.array([north])
        u, v = weather.wind_anomaly(census.surface(low, latitude, np.array([east])), latitude)
        assert v.item() == pytest.approx(turn * 6.9 * 0.66, rel=0.02)
        assert u.item() == pytest.approx(-6.9 * 0.24, rel=0.03)


def test_storms_move_east_and_are_stronger_in_the_northern_winter():
    """The pressure pattern of the northern storm track one day on matches a shift to the east of 6 to 13 m/s."""
    longitude = np.arange(0.0, 360.0, 1.0)
    track = np.array([45.0])
    daily = [census.surface(weather.systems(0, d), track, longitude).value[0] for d in np.arange(5500.0, 5560.0)]
    match = [sum(float((np.roll(a, shift) * b).sum()) for a, b in pairwise(daily)) for shift in range(-30, 31)]
    shift = int(np.argmax(match)) - 30
    assert 5 < shift * census.DEGREE_M * np.cos(np.deg2rad(45)) / 86400.0 < 14

    def strength(day: float) -> float:
        moments = [day + 365.2425 * year for year in range(40)]
        return float(np.std([census.surface(weather.systems(0, m), track, longitude[::30]).value for m in moments]))

    assert strength(15.0) > 1.3 * strength(197.0), "mid-January against mid-July"


def test_surface_pressure_is_lower_over_mountains_and_equal_at_sea():
    fields = Twin(0).fields(Kind.SURFACE, WHEN, np.array([0.1, 33.0]), np.array([87.0, 190.0]))
    assert fields["sp"][0, 1] == fields["msl"][0, 1]
    height = climatology.elevation(np.array([33.0]), np.array([87.0])).item()
    assert height > 4000
    assert fields["sp"][1, 0] == pytest.approx(fields["msl"][1, 0] * np.exp(-height / 7900.0), rel=0.05)


def test_waves_come_from_where_the_remembered_wind_blows():
    """Wind from the west (u > 0) makes waves from 270 degrees; from the north (v < 0) from 0; south-east is 135."""
    east, north = np.array([5.0, 0.0, -3.0, 0.0], dtype=np.float32), np.array([0.0, -5.0, 3.0, 2.0], dtype=np.float32)
    np.testing.assert_allclose(seas.bearing_from(east, north), [270.0, 0.0, 135.0, 180.0], atol=1e-4)
    waves = Twin(0).fields(Kind.WAVES, WHEN, LATITUDE, LONGITUDE)
    wind = Twin(0).fields(Kind.SURFACE, WHEN, LATITUDE, LONGITUDE)
    trades = (np.abs(LATITUDE - 15) < 4)[:, None] & ((LONGITUDE > 200) & (LONGITUDE < 230))[None, :]
    blows_from = np.rad2deg(np.arctan2(-wind["u10"], -wind["v10"]))
    apart = (waves["mwd"] - blows_from + 180.0) % 360.0 - 180.0
    assert np.abs(apart[trades]).max() < 40
    assert 20 < np.median(waves["mwd"][trades]) < 110, "from the north-east to the east"


def test_waves_remember_the_wind_of_yesterday():
    """Wave height in the westerlies follows the square of yesterday's wind better than that of three days later."""
    latitude, longitude = np.arange(-56.5, -40.0, 3.0), np.arange(1.5, 360.0, 3.0)
    swh = Twin(0).fields(Kind.WAVES, WHEN, latitude, longitude)["swh"]
    sea = np.isfinite(swh)

    def follows(hours: float) -> float:
        u, v = weather.wind(0, WHEN + timedelta(hours=hours), latitude, longitude)
        return float(np.corrcoef(swh[sea], (u * u + v * v)[sea])[0, 1])

    assert follows(-24.0) > 0.6
    assert follows(-24.0) > follows(72.0) + 0.2
    assert follows(0.0) > follows(24.0)


def test_a_steady_wind_raises_a_fully_developed_sea(monkeypatch):
    """10 m/s for ever: Hs = 0.22 x 100 / 9.81 = 2.24 m (Pierson and Moskowitz 1964), and swell beside it."""
    steady = (np.full((1, 1), 6.0, dtype=np.float32), np.full((1, 1), -8.0, dtype=np.float32))
    monkeypatch.setattr(weather, "wind", lambda *_: steady)
    latitude = np.array([30.0])
    waves = seas.fields(0, WHEN, latitude, np.array([200.0]))
    swell = seas.swell_height(WHEN, latitude).item()
    assert waves["swh"].item() == pytest.approx(np.hypot(2.243, swell), rel=1e-3)
    assert waves["mwd"].item() == pytest.approx(np.rad2deg(np.arctan2(-6.0, 8.0)) % 360, abs=1e-3)


def test_total_chlorophyll_is_the_sum_of_its_groups_and_plausible():
    life = Twin(0).fields(Kind.BIOGEOCHEMISTRY, WHEN, LATITUDE, LONGITUDE)
    np.testing.assert_array_equal(
        life["chl"], ((life["chlorophytes"] + life["diatoms"]) + life["coccolithophores"]) + life["cyanobacteria"]
    )
    for name in (*GROUPS, "fe", "no3", "mld"):
        assert np.nanmin(life[name]) > 0
    assert 0.01 < np.nanmin(life["chl"]) < np.nanmax(life["chl"]) < 10
    mean = climatology.fields(Kind.BIOGEOCHEMISTRY, WHEN, LATITUDE, LONGITUDE, ())
    np.testing.assert_allclose(mean["chl"], sum(mean[name] for name in GROUPS), rtol=1e-6)


def test_light_is_that_of_the_almanac():
    """Equinox at the equator: S / pi = 433 W m-2; at the winter pole none; at the summer pole S sin(23.44) = 541."""
    equinox, solstice = datetime(2015, 3, 21, tzinfo=UTC), datetime(2015, 6, 21, tzinfo=UTC)
    latitude = np.array([-89.9, 0.0, 89.9])
    assert plankton._light(equinox, latitude)[1] == pytest.approx(433.2 / 400, rel=0.01)
    dark, _, bright = plankton._light(solstice, latitude)
    assert dark == 0.01
    assert bright == pytest.approx(541.0 / 400, rel=0.01)


def test_plankton_follow_light_and_nutrients():
    """Spring and summer are green in the subpolar seas, dark winter is not; gyres are poorer than subpolar seas."""
    january, june = (
        Twin(0).fields(Kind.BIOGEOCHEMISTRY, datetime(2015, m, 10, tzinfo=UTC), LATITUDE, LONGITUDE) for m in (1, 6)
    )
    north, south = LATITUDE > 50, (LATITUDE < -45) & (LATITUDE > -60)
    gyre = (np.abs(LATITUDE - 22) < 6)[:, None] & ((LONGITUDE > 150) & (LONGITUDE < 210))[None, :]
    assert np.nanmedian(june["chl"][north]) > 1.5 * np.nanmedian(january["chl"][north])
    assert np.nanmedian(january["chl"][south]) > 1.5 * np.nanmedian(june["chl"][south])
    assert np.nanmedian(june["chl"][gyre]) < 0.4 * np.nanmedian(june["chl"][north])
    assert np.nanmedian(june["no3"][gyre]) < 1 < np.nanmedian(june["no3"][south])
    stormy = (LATITUDE > 35) & (LATITUDE < 60)
    assert np.nanmedian(january["mld"][stormy]) > 2 * np.nanmedian(june["mld"][stormy])


def test_cold_eddies_lift_nitrate():
    """In the subtropics nitrate and sea level anomaly go opposite ways: cyclones, which are low, bring nutrients."""
    latitude, longitude = np.arange(-36.5, -28.0, 0.5), np.arange(240.0, 280.0, 0.5)
    height = sum(p.height for p in ocean.anomalies(0, WHEN, latitude, longitude))
    nitrate = np.log(Twin(0).fields(Kind.BIOGEOCHEMISTRY, WHEN, latitude, longitude)["no3"])
    sea = np.isfinite(nitrate)
    assert np.corrcoef(height[sea], nitrate[sea])[0, 1] < -0.5


@pytest.mark.parametrize("kind", [Kind.SURFACE, Kind.WAVES, Kind.BIOGEOCHEMISTRY])
def test_an_hour_changes_little_and_another_seed_is_another_world(kind):
    fields, soon, other = (
        Twin(seed).fields(kind, WHEN + timedelta(hours=hours), LATITUDE, LONGITUDE)
        for seed, hours in ((0, 0), (0, 1), (1, 0))
    )
    for name in set(fields) - {"mwd"}:
        sea = np.isfinite(fields[name])
        apart = np.std((other[name] - fields[name])[sea])
        assert np.std((soon[name] - fields[name])[sea]) < 0.15 * apart


def test_the_worst_storm_of_years_raises_no_sea_higher_than_any_that_was_measured() -> None:
    """A fully developed sea under the wind of that day would be 25 m high; the World Meteorological record is 19 m."""
    latitude, longitude = np.arange(-89.5, 90.0), np.arange(0.5, 360.0)
    height = Twin(0).fields(Kind.WAVES, datetime(2025, 1, 25, 12, tzinfo=UTC), latitude, longitude)["swh"]
    assert 12.0 < float(np.nanmax(height)) < 19.0
