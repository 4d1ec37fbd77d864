"""The twin's ocean keeps the laws it is made by: balance, hydrostatics, westward drift, and the same values always."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from pipeline.earth import climatology
from pipeline.twin import Twin, eddies, ocean
from pipeline.variables import DEPTHS_M, Kind, of_kind

WHEN = datetime(2015, 3, 8, 12, tzinfo=UTC)
LATITUDE, LONGITUDE = np.arange(-76.5, 90.0, 3.0), np.arange(1.5, 360.0, 3.0)
METRES = np.deg2rad(1.0) * 6.371e6


def coriolis(latitude: np.ndarray) -> np.ndarray:
    return 2 * 7.2921e-5 * np.sin(np.deg2rad(latitude))


def departures(when: datetime, latitude: np.ndarray, longitude: np.ndarray, depths: tuple[float, ...]) -> dict:
    """The twin minus the climatology."""
    mean = climatology.fields(Kind.OCEAN, when, latitude, longitude, depths)
    return {
        name: values - mean[name]
        for name, values in Twin(0).fields(Kind.OCEAN, when, latitude, longitude, depths).items()
    }


@pytest.mark.parametrize("south", [-41.0, 25.0, 52.0])
def test_surface_flow_is_geostrophic_off_the_equator(south):
    """Centred differences of zos over 0.08 degrees against uo and vo, u = -(g/f) d(zos)/dy, v = (g/f) d(zos)/dx.

    The finest structure, bound to the relief, has wavelengths of about 1.5 degrees: a centred difference over h
    either side misses (k h)^2 / 6 of its slope, (2 pi 0.04 / 1.5)^2 / 6 = 0.5 %.
    """
    latitude, longitude = np.arange(south, south + 2, 0.04), np.arange(215.0, 217.0, 0.04)
    fields = Twin(0).fields(Kind.OCEAN, WHEN, latitude, longitude, (0.0,))
    north, east = np.gradient(fields["zos"].astype(float), 0.04 * METRES)
    f = coriolis(latitude)[:, None]
    u, v = -9.81 / f * north, 9.81 / f * east / np.cos(np.deg2rad(latitude))[:, None]
    inner = (slice(1, -1), slice(1, -1))
    swiftest = np.hypot(u, v).max()
    assert swiftest > 0.05
    np.testing.assert_allclose(fields["uo"][0][inner], u[inner], atol=0.02 * swiftest)
    np.testing.assert_allclose(fields["vo"][0][inner], v[inner], atol=0.02 * swiftest)


def test_anomalies_are_in_hydrostatic_balance():
    """The density anomaly integrated over the whole depth makes up the height: eta = -1/rho0 integral of rho'.

    rho' / rho0 = -a T' + s S' (a = 2e-4, s = 7.6e-4); exp(-d/H) with H = 300 and 700 m is nothing below 7 km.
    A trapezoid over steps h misses (h / H)^2 / 12 of the integral: 0.1 % for 25 m.
    """
    latitude, longitude = np.array([-0.5, 33.5, 36.5]), np.array([180.5, 184.5])
    depths = np.arange(0.0, 4500.0, 25.0)
    parts = ocean.anomalies(0, WHEN, latitude, longitude)
    warmth, salt = (
        sum(np.exp(-depths / p.depth_m)[:, None, None] * scale(p.depth_m) * p.height for p in parts)
        for scale in (ocean.warming, ocean.salting)
    )
    lightness = 2.0e-4 * warmth - 7.6e-4 * salt
    height = (lightness[1:] + lightness[:-1]).sum(0) * 25.0 / 2
    np.testing.assert_allclose(height, parts[0].height + parts[1].height, rtol=5e-3, atol=3e-4)
    there = departures(WHEN, latitude, longitude, tuple(depths[:3]))
    np.testing.assert_allclose(there["to"], warmth[:3], atol=1e-4)
    np.testing.assert_allclose(there["so"], salt[:3], atol=1e-4)
    np.testing.assert_allclose(there["zos"], height, atol=1e-3)


def test_anomalies_are_in_thermal_wind_balance():
    """d(u)/d(depth) = (g/f) d(b)/dy with b = a T' - s S': the shear between 100 and 300 m, from T' and S' alone."""
    latitude, longitude = np.arange(33.0, 36.0, 0.1), np.array([179.0, 180.0])
    there = departures(WHEN, latitude, longitude, (150.0, 200.0, 250.0))
    buoyancy = 2.0e-4 * there["to"][1] - 7.6e-4 * there["so"][1]
    slope = np.gradient(buoyancy.astype(float), 0.1 * METRES, axis=0)
    expected = -9.81 / coriolis(latitude)[:, None] * slope
    shear = (there["uo"][0] - there["uo"][2]) / 100.0
    largest = np.abs(expected).max()
    assert largest > 3e-5
    np.testing.assert_allclose(shear[1:-1], expected[1:-1], atol=0.04 * largest)


def test_kelvin_waves_balance_and_run_east_at_their_speed():
    """u = (g/c) eta is geostrophic where f = beta y: d(eta)/dy = -eta y / Le^2, Le^2 = c / beta; c = 2.5 m/s."""
    latitude, longitude = np.array([1.0, 2.0]), np.arange(0.0, 360.0)
    wave = eddies.kelvin_height(0, 100.0, latitude, longitude)
    f = 2 * 7.2921e-5 * np.deg2rad(latitude)[:, None]
    np.testing.assert_allclose(-9.81 / f * wave.north / METRES, eddies.kelvin_flow(wave.value), rtol=2e-3, atol=1e-5)
    days = METRES * 4.0 / 2.5 / 86400.0
    later = eddies.kelvin_height(0, 100.0 + days, latitude, longitude)
    np.testing.assert_allclose(later.value, np.roll(wave.value, 4, axis=1), atol=1e-5)


def _drift(latitude: float, lag_days: float) -> float:
    """Westward speed, m/s, of sea level anomalies along a parallel: the best lagged correlation of eight years."""
    step = 0.1
    longitude = np.arange(0.0, 360.0, step)
    shifts = np.arange(-40, 120)
    match = np.zeros(shifts.size)
    for year in range(8):
        first, later = (
            sum(p.height for p in ocean.anomalies(year, WHEN + timedelta(days=days), np.array([latitude]), longitude))[
                0
            ]
            for days in (365.0 * year, 365.0 * year + lag_days)
        )
        match += [float((np.roll(later, shift) * first).sum()) for shift in shifts]
    return shifts[int(np.argmax(match))] * step * METRES * np.cos(np.deg2rad(latitude)) / (lag_days * 86400.0)


def test_anomalies_drift_west_faster_nearer_the_equator():
    """Long Rossby waves, 0.03 + 2 beta c^2 / f^2 with c = 2.7 m/s: 0.196 m/s at 17.5 degrees, 0.072 at 34."""
    for latitude, expected in ((17.5, 0.196), (34.0, 0.072), (-34.0, 0.072)):
        f, beta = coriolis(np.array(latitude)), 2 * 7.2921e-5 * np.cos(np.deg2rad(latitude)) / 6.371e6
        assert pytest.approx(expected, rel=0.05) == 0.03 + 2 * beta * 2.7**2 / f**2
        assert _drift(latitude, 8.0) == pytest.approx(expected, rel=0.2)


def test_a_day_changes_little_and_a_month_nearly_everything():
    """Persistence: small after a day; after 30 days two independent states would differ by sqrt(2) = 1.41 std."""
    start, day, month = (departures(WHEN + timedelta(days=d), LATITUDE, LONGITUDE, (0.0,)) for d in (0, 1, 30))
    for name in ("to", "so", "uo", "vo", "zos"):
        sea = np.isfinite(start[name])
        spread = np.std(start[name][sea])
        assert np.sqrt(np.mean((day[name] - start[name])[sea] ** 2)) < 0.35 * spread
        assert np.sqrt(np.mean((month[name] - start[name])[sea] ** 2)) > 0.9 * spread


def test_season_has_the_right_sign_in_each_hemisphere():
    january, july = (
        Twin(0).fields(Kind.OCEAN, datetime(2015, month, 20, tzinfo=UTC), LATITUDE, LONGITUDE, (0.0,))["to"][0]
        for month in (1, 7)
    )
    warming = july - january
    assert np.nanmedian(warming[(LATITUDE > 25) & (LATITUDE < 55)]) > 3
    assert np.nanmedian(warming[(LATITUDE < -25) & (LATITUDE > -55)]) < -1.5


@pytest.mark.parametrize("when", [WHEN, datetime(1950, 8, 1, tzinfo=UTC), datetime(2100, 12, 31, 18, tzinfo=UTC)])
def test_ocean_is_within_bounds_and_missing_exactly_on_land(when):
    fields = Twin(0).fields(Kind.OCEAN, when, LATITUDE, LONGITUDE, DEPTHS_M)
    sea = np.stack([climatology.is_sea(LATITUDE, LONGITUDE, depth) for depth in DEPTHS_M])
    for entry in of_kind(Kind.OCEAN):
        values = fields[entry.name]
        assert values.dtype == np.float32
        assert np.array_equal(np.isfinite(values), sea if entry.has_depth else sea[0])
        assert entry.lower <= np.nanmin(values) <= np.nanmax(values) <= entry.upper
    assert np.nanmin(fields["to"]) >= -1.9 - 1e-6
    assert np.nanmax(np.hypot(fields["uo"], fields["vo"])) < 2.5


def test_energetic_seas_have_sea_level_anomalies_of_several_centimetres():
    height = sum(p.height for p in ocean.anomalies(0, WHEN, np.arange(25.5, 42), np.arange(140.5, 180)))
    assert 0.05 < height.std() < 0.15


def test_a_moment_is_the_same_in_every_process_and_another_seed_is_another_ocean():
    """Asked in another process, after other dates, on other points around: the same to float32 rounding."""
    code = (
        "import sys; import numpy as np; from datetime import UTC, datetime; from pipeline.twin import Twin\n"
        "from pipeline.variables import Kind\n"
        "f = Twin(0).fields(Kind.OCEAN, datetime(2015, 3, 8, 12, tzinfo=UTC), np.array([-31.5, 33.0]),"
        " np.array([172.0, 190.5]), (0.0, 100.0))\n"
        "sys.stdout.write(' '.join(v.tobytes().hex() for _, v in sorted(f.items())))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    points = np.array([-31.5, 33.0]), np.array([172.0, 190.5]), (0.0, 100.0)
    Twin(0).fields(Kind.OCEAN, WHEN + timedelta(days=40), *points)
    mine = Twin(0).fields(Kind.OCEAN, WHEN, *points)
    assert answer == [values.tobytes().hex() for _, values in sorted(mine.items())]
    other = Twin(1).fields(Kind.OCEAN, WHEN, *points)
    assert np.abs(other["zos"] - mine["zos"]).min() > 1e-4


def test_values_do_not_depend_on_the_grid_they_are_asked_on():
    """The sum over vortices leaves out those beyond five radii, 4e-6 of an amplitude of 0.3 m each."""
    whole = Twin(0).fields(Kind.OCEAN, WHEN, LATITUDE, LONGITUDE, (0.0,))
    part = Twin(0).fields(Kind.OCEAN, WHEN, LATITUDE[30:40], LONGITUDE[55:60], (0.0,))
    for name, values in part.items():
        np.testing.assert_allclose(values, whole[name][..., 30:40, 55:60], atol=2e-4)


def test_a_moment_without_a_zone_is_utc():
    points = np.array([33.0]), np.array([190.5]), (0.0,)
    aware, naive = (Twin(0).fields(Kind.OCEAN, when, *points)["zos"] for when in (WHEN, WHEN.replace(tzinfo=None)))
    assert aware == naive


def test_fine_grids_hold_more_than_coarse_ones():
    """Between the points of a 1-degree grid of the Kuroshio there is structure that bicubic interpolation misses."""
    from scipy.interpolate import RectBivariateSpline

    fine_y, fine_x = np.arange(26 + 1 / 6, 44, 1 / 3), np.arange(150 + 1 / 6, 174, 1 / 3)
    fine = departures(WHEN, fine_y, fine_x, (0.0,))["uo"][0].astype(float)
    coarse = fine.reshape(fine_y.size // 3, 3, fine_x.size // 3, 3).mean((1, 3))
    smooth = RectBivariateSpline(fine_y[1::3], fine_x[1::3], coarse)(fine_y, fine_x)
    inner = (slice(6, -6), slice(6, -6))
    assert 0.1 < np.std((fine - smooth)[inner]) / np.std(fine[inner]) < 0.7
