"""The forcing of days that have no analysis: held, or relaxed to the day's climatology by exp(-n / tau)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import xarray as xr

from pipeline import channels, forcing
from pipeline.contracts import InitialState
from pipeline.earth import climatology
from pipeline.grids import Grid
from pipeline.systems import CORAL_SEA, TWIN
from pipeline.variables import Kind

START = datetime(2024, 2, 27, 12, tzinfo=UTC)
GRID = Grid(south=-24.0, west=150.0, latitude_step=2.0, longitude_step=3.0, rows=5, columns=4)
NAMES = [channel.variable for channel in channels.forcing()]


def mean_of(day, name):
    """The climatology of one day, asked for directly."""
    return climatology.fields(Kind.SURFACE, day, GRID.latitude, GRID.longitude, ())[name].astype(np.float64)


@pytest.fixture
def analysis():
    """Today's climatology and an anomaly of 8 in every channel that differs from cell to cell; topography -3000."""
    row, column = np.indices(GRID.shape)
    anomaly = 8.0 + row - column / 2
    fields = [mean_of(START, name) + anomaly for name in NAMES[:-1]]
    return np.stack([*fields, np.full(GRID.shape, -3000.0)]).astype(np.float32)


def test_the_first_step_sees_the_analysis_itself(analysis):
    for policy in ("persistence", "relaxed"):
        np.testing.assert_array_equal(forcing.path(analysis, START, 1, GRID, policy)[0], analysis)


def test_persistence_holds_the_analysis(analysis):
    np.testing.assert_array_equal(forcing.path(analysis, START, 5, GRID, "persistence"), np.stack([analysis] * 5))


def test_relaxed_forcing_is_climatology_plus_the_anomaly_worn_down(analysis):
    """After n days: clim(t0 + n) + anomaly exp(-n / tau), tau 2 days for wind and pressure, 10 for temperature."""
    days = forcing.path(analysis, START, 31, GRID, "relaxed")
    row, column = np.indices(GRID.shape)
    anomaly = 8.0 + row - column / 2
    for lead in (1, 2, 3, 10, 30):
        for index, (name, tau) in enumerate(zip(NAMES[:-1], (2.0, 2.0, 10.0, 2.0, 2.0), strict=True)):
            expected = mean_of(START + timedelta(days=lead), name) + anomaly * np.exp(-lead / tau)
            np.testing.assert_allclose(
                days[lead, index], expected, rtol=1e-6, atol=2e-2 if expected.max() > 1e4 else 1e-4
            )


def test_the_topography_stays(analysis):
    days = forcing.path(analysis, START, 4, GRID, "relaxed")
    np.testing.assert_array_equal(days[:, 5], -3000.0)


def test_the_season_goes_on_while_the_anomaly_fades(analysis):
    """In the southern autumn the air of 24 S cools: with no anomaly, day 30 of March is colder than day 0."""
    calm = np.stack([*[mean_of(START, name) for name in NAMES[:-1]], np.zeros(GRID.shape)]).astype(np.float32)
    days = forcing.path(calm, START, 61, GRID, "relaxed")
    assert (days[60, 2, 0] < days[0, 2, 0] - 0.3).all()


def test_the_forecast_s_forcing_is_the_training_s_path_from_any_lead(analysis):
    system = CORAL_SEA.model_copy(update={"grid": GRID})
    field = xr.DataArray(analysis, dims=("forcing_channel", "forcing_latitude", "forcing_longitude"))
    state = InitialState(xr.Dataset({"forcing": field}, coords={"time": np.datetime64("2024-02-27T12:00:00", "ns")}))
    path = forcing.path(analysis, START, 6, GRID, "relaxed")
    np.testing.assert_array_equal(np.stack(list(forcing.future_forcing(state, system, 6))), path)
    np.testing.assert_array_equal(np.stack(list(forcing.future_forcing(state, system, 2, first_lead=4))), path[4:])


def test_the_memory_that_a_checkpoint_was_trained_with_is_the_one_its_forecast_is_given(analysis):
    """Winds that fade in one day, of which the analysis's anomaly is 8 and more: the rest keeps the usual scales."""
    system = CORAL_SEA.model_copy(update={"grid": GRID})
    field = xr.DataArray(analysis, dims=("forcing_channel", "forcing_latitude", "forcing_longitude"))
    state = InitialState(xr.Dataset({"forcing": field}, coords={"time": np.datetime64("2024-02-27T12:00:00", "ns")}))
    fitted = {"u10": 1.0}
    path = forcing.path(analysis, START, 4, GRID, "relaxed", fitted)
    given = list(forcing.future_forcing(state, system, 4, memory_days=fitted))
    np.testing.assert_array_equal(np.stack(given), path)
    usual = forcing.path(analysis, START, 4, GRID, "relaxed")
    np.testing.assert_array_equal(path[:, 1:], usual[:, 1:])
    row, column = np.indices(GRID.shape)
    expected = mean_of(START + timedelta(days=3), "u10") + (8.0 + row - column / 2) * np.exp(-3.0)
    np.testing.assert_allclose(path[3, 0], expected, atol=1e-4)


def test_a_field_that_is_given_can_be_changed_without_changing_the_next(analysis):
    kept = analysis.copy()
    first = forcing.at_lead(analysis, START, 0, GRID, "relaxed")
    first[:] = 0.0
    np.testing.assert_array_equal(analysis, kept)


def test_every_forcing_variable_but_the_topography_has_its_time_scale():
    assert set(forcing.DECORRELATION_DAYS) == set(NAMES[:-1])
    assert TWIN.forcing_policy == "relaxed"
