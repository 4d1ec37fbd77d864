"""Scores against numbers worked out by hand, on oceans of a few cells."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
import small_ocean
import xarray as xr

from pipeline import products, provenance, report, verify
from pipeline.channels import surface_ocean
from pipeline.earth import landmask, monthly_means
from pipeline.errors import ForecastRefused, InputUnavailable
from pipeline.grids import EARTH_RADIUS_M, Grid
from pipeline.scoring import metrics, regions
from pipeline.scoring import scores as kept_scores
from pipeline.scoring.metrics import Weights
from pipeline.scoring.regions import Region
from pipeline.systems import CORAL_SEA, TWIN
from pipeline.variables import Kind

NAN = np.float32("nan")
TWO_BY_THREE = Grid(south=15.0, west=10.0, latitude_step=30.0, longitude_step=20.0, rows=2, columns=3)
"""Rows 0-30N and 30-60N: areas in the ratio sin 30 - sin 0 = 0.5 to sin 60 - sin 30 = 0.36603."""
LOWER, UPPER = 0.5, np.sqrt(3) / 2 - 0.5
TRUTH = np.array([[1, 2, NAN], [3, 5, 7]], dtype=np.float32)
FORECAST = np.array([[2, 2, NAN], [1, 5, 9]], dtype=np.float32)
"""Errors: +1, 0, land; -2, 0, +2."""


def field(values):
    return np.asarray(values, dtype=np.float32)


def everywhere(grid=TWO_BY_THREE):
    return regions.weights(grid, (regions.EVERYWHERE,))


def row_weights(columns):
    """Equal weights on one row."""
    return Weights(np.ones((1, 1)), np.ones((1, columns)))


def only(found):
    return {name: float(getattr(found, name)[0]) for name in metrics.Moments._fields}


def test_error_and_bias_are_weighted_with_area_and_land_has_no_weight():
    """<e2> = (0.5 * 1 + 0.366 * 8) / (2 * 0.5 + 3 * 0.366); <e> = 0.5 * 1 / (the same)."""
    found = only(metrics.moments({"forecast": FORECAST}, TRUTH, np.zeros_like(TRUTH), everywhere())["forecast"])
    total = 2 * LOWER + 3 * UPPER
    assert found["mean_square_error"] == pytest.approx((LOWER + 8 * UPPER) / total, rel=1e-12)
    assert found["bias"] == pytest.approx(LOWER / total, rel=1e-12)
    assert found["weight"] == pytest.approx(total * EARTH_RADIUS_M**2 * np.deg2rad(20.0), rel=1e-12)
    assert (found["cells"], found["coverage"]) == (5.0, 1.0)


def test_a_cell_missing_in_any_forecast_is_missing_for_all_and_the_coverage_says_so():
    """Without the lower left cell: error 0 in the lower row, so <e2> = 0.366 * 8 / (0.5 + 3 * 0.366)."""
    gappy = FORECAST.copy()
    gappy[0, 0] = NAN
    found = metrics.moments({"forecast": FORECAST, "gappy": gappy}, TRUTH, np.zeros_like(TRUTH), everywhere())
    for name in ("forecast", "gappy"):
        score = only(found[name])
        assert score["mean_square_error"] == pytest.approx(8 * UPPER / (LOWER + 3 * UPPER), rel=1e-12)
        assert score["cells"] == 4.0
        assert score["coverage"] == pytest.approx((LOWER + 3 * UPPER) / (2 * LOWER + 3 * UPPER), rel=1e-12)


def test_what_happens_on_land_does_not_matter():
    """A field of zeros on land must score as one of NaN there: the truth has no value, so there is no weight."""
    zeros = np.nan_to_num(FORECAST)
    one, other = (
        only(metrics.moments({"forecast": values}, TRUTH, np.zeros_like(TRUTH), everywhere())["forecast"])
        for values in (FORECAST, zeros)
    )
    assert one == other


def derived(found):
    data = {name: ("region", getattr(found, name)) for name in metrics.Moments._fields}
    return metrics.derived(xr.Dataset(data))


def test_anomaly_correlation_and_activity_have_their_values_by_hand():
    """Anomalies 3 1 -1 -3 and 1 -1 1 -1, both of mean 0.

    Covariance (3 - 1 - 1 + 3) / 4 = 1, variances 5 and 1: 1 / sqrt(5); activity sqrt(5 / 1).
    """
    usual = field([[10, 20, 30, 40]])
    said, occurred = usual + field([[3, 1, -1, -3]]), usual + field([[1, -1, 1, -1]])
    score = derived(metrics.moments({"forecast": said}, occurred, usual, row_weights(4))["forecast"])
    assert float(score["acc"][0]) == pytest.approx(1 / np.sqrt(5), rel=1e-12)
    assert float(score["activity_ratio"][0]) == pytest.approx(np.sqrt(5), rel=1e-12)


def test_a_constant_error_leaves_the_centred_correlation_at_one():
    usual, truth = field([[1, 2, 3]]), field([[2, 1, 5]])
    score = derived(metrics.moments({"forecast": truth + 7}, truth, usual, row_weights(3))["forecast"])
    assert float(score["acc"][0]) == pytest.approx(1.0)
    assert float(score["bias"][0]) == pytest.approx(7.0)


def test_climatology_has_no_anomaly_and_so_no_correlation():
    usual, truth = field([[1, 2, 3]]), field([[2, 1, 5]])
    score = derived(metrics.moments({"climatology": usual}, truth, usual, row_weights(3))["climatology"])
    assert np.isnan(score["acc"][0])
    assert float(score["activity_ratio"][0]) == 0.0


def test_angles_differ_the_short_way_around():
    """350 against 10 degrees is -20, and 10 against 350 is +20: square 400, bias 0."""
    said, occurred = field([[350, 10]]), field([[10, 350]])
    assert metrics.difference(said, occurred, circular=True).tolist() == [[-20.0, 20.0]]
    found = metrics.moments({"forecast": said}, occurred, field([[0, 0]]), row_weights(2), circular=True)
    score = only(found["forecast"])
    assert (score["mean_square_error"], score["bias"]) == (400.0, 0.0)


def test_halved_currents_have_a_quarter_of_the_energy():
    """Currents (3, 4), (0, 2) and land: energies 12.5 and 2, mean 7.25 with equal weights; halved 1.8125."""
    east, north = field([[3, 0, NAN]]), field([[4, 2, NAN]])
    pairs = {"truth": (east, north), "forecast": (east / 2, north / 2)}
    energies, weight = metrics.energies(pairs, row_weights(3))
    assert energies["truth"][0] == pytest.approx(7.25)
    assert energies["forecast"][0] == pytest.approx(7.25 / 4)
    assert weight[0] == 2.0


def test_a_region_without_ocean_cells_has_no_score_and_no_cells():
    """The column 40-60E holds one land and one ocean cell; the box below holds the land cell alone."""
    land = Region(name="land", title="Land", south=0, north=30, west=40, east=60)
    weights = regions.weights(TWO_BY_THREE, (land,))
    score = metrics.moments({"forecast": FORECAST}, TRUTH, np.zeros_like(TRUTH), weights)["forecast"]
    assert np.isnan(score.mean_square_error[0])
    assert (score.weight[0], score.cells[0]) == (0.0, 0.0)


def test_a_cell_belongs_to_a_region_by_its_centre_across_greenwich_too():
    grid = Grid(south=-15.0, west=0.0, latitude_step=10.0, longitude_step=90.0, rows=4, columns=4)
    box = Region(name="box", title="Box", south=-5, north=15, west=270, east=90)
    rows, columns = box.members(grid)
    assert rows.tolist() == [False, True, True, False]
    assert columns.tolist() == [True, False, False, True]


def test_the_three_belts_are_the_globe_once():
    belts = [r for r in regions.REGIONS if r.name in ("northern-extratropics", "tropics", "southern-extratropics")]
    parts = regions.weights(TWIN.grid, belts)
    counts = np.einsum("ry,rx->yx", (parts.rows > 0).astype(int), (parts.columns > 0).astype(int))
    assert (counts == 1).all()
    areas = np.einsum("ry,rx->yx", parts.rows, parts.columns)
    np.testing.assert_allclose(areas, TWIN.grid.areas_m2, rtol=1e-12)


def test_boxes_inside_the_basins_are_open_ocean_and_no_cell_is_of_two():
    """What land there is: Newfoundland's cape and the islands and coasts of the Arctic."""
    surface, counted = landmask.depth_mask(TWIN)[0], np.zeros(TWIN.grid.shape, dtype=int)
    for box in regions.BASINS:
        cells = np.ix_(*box.members(TWIN.grid))
        counted[cells] += 1
        assert surface[cells].mean() > (0.85 if box.name == "arctic" else 0.97), box
        assert "Box inside" in box.title or box.south == 75
    assert counted.max() == 1


def test_a_system_has_the_regions_it_covers_and_no_others():
    assert [region.name for region in regions.of(CORAL_SEA.grid)] == ["everywhere"]
    assert [region.name for region in regions.of(TWIN.grid)] == [region.name for region in regions.REGIONS]
    assert [region.name for region in regions.of(TWIN.kuroshio_grid)] == ["everywhere", "kuroshio"]


SYSTEM, ENTRY, START = small_ocean.SYSTEM, products.WAVES, small_ocean.START
LEADS = SYSTEM.forecast_days
OCEAN = small_ocean.masks()["waves"][0]


def sea(when, name):
    """A field that grows with the date and differs from cell to cell, NaN on land."""
    days = (when - START) / timedelta(days=1)
    row, column = np.indices(OCEAN.shape)
    values = {"swh": 2 + 0.1 * days + 0.2 * row, "mwp": 8 + 0.3 * days * np.cos(row + 0.7 * column),
              "mwd": (340 + 15 * days + 5 * column) % 360}[name]  # fmt: skip
    return np.where(OCEAN, values, np.nan).astype(np.float32)


def truth(entry, when):
    return xr.Dataset({item.name: (("latitude", "longitude"), sea(when, item.name)) for item in entry.variables})


def normal(entry, when):
    return {item.name: np.nan_to_num(sea(START, item.name), nan=1.0) for item in entry.variables}


def product(late_by_days=0, entry=ENTRY, fields=sea):
    """A perfect forecast, or one whose fields are those of another day."""
    grid, leads = SYSTEM.product_grid(entry), np.arange(LEADS + 1)
    start = np.datetime64(START.replace(tzinfo=None), "ns")
    data = {
        item.name: (
            ("time", "latitude", "longitude"),
            np.stack([fields(START + timedelta(days=int(lead) + late_by_days), item.name) for lead in leads]),
        )
        for item in entry.variables
    }
    coords = {"time": start + leads * np.timedelta64(1, "D"), "latitude": grid.latitude, "longitude": grid.longitude,
              "forecast_reference_time": start, "forecast_period": ("time", leads)}  # fmt: skip
    return xr.Dataset(data, coords=coords, attrs={"forecaster": "perfect", "id": "small.waves"})


def test_a_perfect_forecast_has_no_error_and_a_day_late_one_has():
    """One day late, swh is 0.1 m too high everywhere and mwd 15 degrees too far, on every lead day."""
    perfect, late = (
        verify.verify(product(days), ENTRY, SYSTEM, truth, normal=normal).sel(by="forecast", region="everywhere")
        for days in (0, 1)
    )
    assert (perfect["rmse"] == 0).all()
    assert perfect["lead_day"].values.tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(late["rmse"].sel(channel="swh"), 0.1, rtol=1e-5)
    np.testing.assert_allclose(late["bias"].sel(channel="mwd"), 15.0, rtol=1e-5)


def test_persistence_is_lead_day_zero_held_and_climatology_is_of_the_valid_day():
    """swh grows by 0.1 m a day: held, it lacks 0.1 * lead; this climatology, which is the start's, lacks the same."""
    scores = verify.verify(product(), ENTRY, SYSTEM, truth, normal=normal).sel(region="everywhere", channel="swh")
    np.testing.assert_allclose(scores["bias"].sel(by="persistence"), -0.1 * np.arange(1, 5), rtol=1e-5)
    np.testing.assert_allclose(scores["bias"].sel(by="climatology"), -0.1 * np.arange(1, 5), rtol=1e-5)
    assert scores["cells"].values.tolist() == [OCEAN.sum()] * 4


def test_the_truth_asked_for_is_that_of_start_plus_lead():
    asked = []

    def asking(entry, when):
        asked.append(when)
        return truth(entry, when)

    verify.verify(product(), ENTRY, SYSTEM, asking, normal=normal, lead_days=(1, 3))
    assert asked == [datetime(2024, 2, 28, 12, tzinfo=UTC), datetime(2024, 3, 1, 12, tzinfo=UTC)]


def test_a_product_whose_dates_are_not_start_plus_lead_is_refused():
    shifted = product().assign_coords(time=product()["time"].values + np.timedelta64(6, "h"))
    with pytest.raises(ForecastRefused, match="valid times that are the start plus the lead day"):
        verify.verify(shifted, ENTRY, SYSTEM, truth, normal=normal)
    mislabelled = product().assign_coords(forecast_period=("time", np.arange(1, 6)))
    with pytest.raises(ForecastRefused, match="as stated"):
        verify.verify(mislabelled, ENTRY, SYSTEM, truth, normal=normal)


def until(last):
    def known(entry, when):
        if when > START + timedelta(days=last):
            raise InputUnavailable("that day", found="not yet", where="the archive", action="wait")
        return truth(entry, when)

    return known


def test_lead_days_without_a_truth_are_left_out_by_name():
    scores = verify.verify(product(), ENTRY, SYSTEM, until(2), normal=normal)
    assert scores["lead_day"].values.tolist() == [1, 2]
    assert scores.attrs["unverified"] == [3, 4]
    with pytest.raises(InputUnavailable, match=r"none for lead days \[1, 2, 3, 4\]"):
        verify.verify(product(), ENTRY, SYSTEM, until(0), normal=normal)


def test_several_forecasts_combine_to_the_root_of_the_mean_square():
    """Errors of 0.1 and 0.3 m everywhere: sqrt((0.01 + 0.09) / 2). Lead days 3 and 4 were verified once, at 0.1."""
    one = verify.verify(product(1), ENTRY, SYSTEM, truth, normal=normal)
    other = verify.verify(product(3), ENTRY, SYSTEM, until(2), normal=normal)
    both = verify.combine([one, other]).sel(region="everywhere", channel="swh")
    expected = [np.sqrt(0.05), np.sqrt(0.05), 0.1, 0.1]
    np.testing.assert_allclose(both["rmse"].sel(by="forecast"), expected, rtol=1e-5)
    assert both["cells"].values.tolist() == [2 * OCEAN.sum()] * 2 + [OCEAN.sum()] * 2
    assert both.attrs["cycles"] == 2


def test_one_forecast_combined_is_itself():
    one = verify.verify(product(1), ENTRY, SYSTEM, truth, normal=normal)
    again = verify.combine([one])
    for name in ("rmse", "bias", "acc", "activity_ratio", "coverage", "cells"):
        np.testing.assert_allclose(again[name].transpose(*one[name].dims), one[name], rtol=1e-12)


def ocean_scores():
    """The small ocean's initial state held, against a truth that is 1 degC colder at 0 m, and 2 degC elsewhere."""
    values, labels = small_ocean.values("ocean"), small_ocean._SHAPES["ocean"][0]
    start = np.datetime64(START.replace(tzinfo=None), "ns")

    def stacked(shift):
        data = {}
        for item in products.OCEAN.variables:
            rows = [row for row, label in enumerate(labels) if label.variable == item.name]
            levels = values[rows] - (shift[: len(rows), None, None] if item.name == "to" else 0)
            halved = levels / 2 if item.name in ("uo", "vo") and shift.any() else levels
            dims = ("depth", "latitude", "longitude")
            data[item.name] = (dims if item.has_depth else dims[1:], halved if item.has_depth else halved[0])
        return xr.Dataset(data)

    shift = np.full(15, 2.0, dtype=np.float32)
    shift[0] = 1.0
    grid = SYSTEM.grid
    day = stacked(np.zeros(15, dtype=np.float32)).expand_dims(time=2).assign_coords(
        time=start + np.array([0, 1]) * np.timedelta64(1, "D"), forecast_reference_time=start,
        forecast_period=("time", [0, 1]), latitude=grid.latitude, longitude=grid.longitude,
        depth=list(map(float, SYSTEM.depths_m)))  # fmt: skip
    usual = {item.name: np.zeros((15, *grid.shape), dtype=np.float32) if item.has_depth
             else np.zeros(grid.shape, dtype=np.float32) for item in products.OCEAN.variables}  # fmt: skip
    return verify.verify(day, products.OCEAN, SYSTEM, lambda entry, when: stacked(shift), normal=lambda *_: usual)


def test_depths_are_scored_each_by_itself_and_pooled_by_the_area_there():
    scores = ocean_scores()
    here = scores.sel(region="everywhere", by="forecast", lead_day=1)
    np.testing.assert_allclose(here["rmse"].sel(channel=["to@0", "to@6", "to@500"]), [1, 2, 2], rtol=1e-5)
    area = here["weight"].sel(channel=[f"to@{depth:g}" for depth in SYSTEM.depths_m]).values
    assert area[0] > area[-1] > 0
    pooled = np.sqrt((area[0] + 4 * area[1:].sum()) / area.sum())
    rows = {row.variable: row for row in verify.summary(scores, (1, 30))}
    assert list(rows) == ["to", "so", "uo", "vo", "zos"]
    assert rows["to"].rmse == pytest.approx(pooled, rel=1e-5)
    assert (rows["to"].units, rows["to"].lead_day, rows["to"].depth_m) == ("degC", 1, None)
    surface = {row.variable: row for row in verify.summary(scores, (1,), depth_m=0.0)}
    assert surface["to"].rmse == pytest.approx(1.0, rel=1e-5)
    assert (surface["to"].depth_m, surface["zos"].depth_m) == (0.0, None)


def test_the_table_has_the_energy_of_currents_alone():
    """The truth's currents are half of the forecast's: four times the energy."""
    rows = {row.variable: row for row in verify.summary(ocean_scores(), (1,))}
    assert rows["uo"].kinetic_energy_ratio == pytest.approx(4.0, rel=1e-5)
    assert rows["vo"].kinetic_energy_ratio == rows["uo"].kinetic_energy_ratio
    assert np.isnan(rows["to"].kinetic_energy_ratio)


def test_a_downscaled_product_is_scored_beside_interpolation_of_the_coarse_one():
    """A linear surface is interpolated exactly; the fine forecast, 0.25 too high, is 0.25 off."""
    entry, fine = products.KUROSHIO, SYSTEM.kuroshio_grid
    start = np.datetime64(START.replace(tzinfo=None), "ns")

    def plane(grid, add=0.0):
        y, x = np.meshgrid(grid.latitude, grid.longitude, indexing="ij")
        return (0.2 * y - 0.05 * x + 20 + add).astype(np.float32)

    def dataset(values, depth):
        dims = ("time", "depth", "latitude", "longitude") if depth else ("time", "latitude", "longitude")
        shape = (2, 1) if depth else (2,)
        fields = {
            item.name: (dims if item.has_depth or not depth else ("time", "latitude", "longitude"),
                        np.broadcast_to(values, ((*shape,) if item.has_depth else (2,)) + values.shape).copy())
            for item in entry.variables
        }  # fmt: skip
        time = start + np.array([0, 1]) * np.timedelta64(1, "D")
        coords = {"time": time, "forecast_reference_time": start, "forecast_period": ("time", [0, 1])}
        return xr.Dataset(fields, coords=coords)

    happened = xr.Dataset({item.name: (("latitude", "longitude"), plane(fine)) for item in entry.variables})
    usual = {item.name: np.zeros(fine.shape, dtype=np.float32) for item in entry.variables}
    scores = verify.verify(dataset(plane(fine, 0.25), False), entry, SYSTEM, lambda *_: happened,
                           coarse=dataset(plane(SYSTEM.grid), True), normal=lambda *_: usual)  # fmt: skip
    rmse = scores["rmse"].sel(region="everywhere", lead_day=1)
    assert rmse["channel"].values.tolist() == [channel.label for channel in surface_ocean()]
    np.testing.assert_allclose(rmse.sel(by="forecast"), 0.25, rtol=1e-4)
    assert float(rmse.sel(by="bicubic").max()) < 1e-4
    assert verify.summary(scores, (1,))[0].bicubic < 1e-4


REAL = SYSTEM.model_copy(update={"real_ocean": True})


def test_the_real_ocean_s_waves_are_not_measured_by_the_twin_s_mean():
    """A day late: 0.1 m too high, persistence as ever, on every cell; what needs a climatology is no number."""
    scores = verify.verify(product(1), ENTRY, REAL, truth, lead_days=(1, 2))
    here = scores.sel(region="everywhere", channel="swh")
    np.testing.assert_allclose(here["rmse"].sel(by="forecast"), 0.1, rtol=1e-5)
    np.testing.assert_allclose(here["rmse"].sel(by="persistence"), [0.0, 0.1], atol=1e-5)
    assert np.isnan(here["rmse"].sel(by=["damped", "climatology"])).all()
    assert np.isnan(here["acc"]).all()
    assert here["cells"].values.tolist() == [OCEAN.sum()] * 2
    assert "only the synthetic twin's is packaged" in scores.attrs["no_climatology"]
    kept = [kept_scores.row_json(row) for row in verify.summary(scores, (1,))]
    for name in ("damped", "climatology", "acc", "activity_ratio"):
        assert [row[name] for row in kept] == [None] * 3
    assert len(list(report.skill_plots(scores, ENTRY, REAL))) == 3


def test_what_one_of_several_forecasts_lacks_is_not_a_number_of_all():
    """Else a climatology that one has would be that of two, and of none an error of nothing."""
    one = verify.verify(product(1), ENTRY, REAL, truth, lead_days=(1, 2))
    other = verify.verify(product(1), ENTRY, REAL, truth, lead_days=(1,), normal=normal)
    both = verify.combine([one, other]).sel(region="everywhere", channel="swh")
    np.testing.assert_allclose(both["rmse"].sel(by="forecast"), 0.1, rtol=1e-5)
    assert np.isnan(both["rmse"].sel(by=["damped", "climatology"])).all()


def test_the_operator_s_climatology_is_what_the_real_ocean_s_waves_are_measured_by(tmp_path):
    """Ten days of each month, 5 m high; on lead day 1 a part of the start's anomaly is left."""

    def take(when):
        fields = {name: np.full(OCEAN.shape, 5.0) for name in ("swh", "mwp", "mwd")}
        return provenance.attach(xr.Dataset({name: (("latitude", "longitude"), f) for name, f in fields.items()}), ())

    days = [date(2023, month, day) for month in (2, 3) for day in range(1, 11)]
    monthly_means.save(monthly_means.build(REAL, Kind.WAVES, days, take, said=str), str(tmp_path))
    normal_of = verify.day_of_year(REAL, {"climatology": str(tmp_path)})
    scores = verify.verify(product(), ENTRY, REAL, truth, lead_days=(1,), normal=normal_of)
    here = scores.sel(region="everywhere", channel="swh", lead_day=1)
    error = np.where(OCEAN, 5.0 - sea(START + timedelta(days=1), "swh"), np.nan)
    weights = np.cos(np.deg2rad(SYSTEM.wave_grid.latitude))[:, None] * OCEAN
    expected = np.sqrt(np.nansum(error**2 * weights) / weights.sum())
    assert float(here["rmse"].sel(by="climatology")) == pytest.approx(expected, rel=1e-3)
    assert 0 < float(here["rmse"].sel(by="damped")) < expected
    assert "no_climatology" not in scores.attrs


def test_the_packaged_climatology_fits_every_product_of_the_twin():
    day = datetime(2024, 7, 1, 12, tzinfo=UTC)
    normal_of = verify.day_of_year(TWIN)
    for entry in (products.KUROSHIO, products.WAVES, products.BIOGEOCHEMISTRY):
        fields = normal_of(entry, day)
        for item in entry.variables:
            assert fields[item.name].shape[-2:] == TWIN.product_grid(entry).shape
            assert np.isfinite(fields[item.name]).all()
