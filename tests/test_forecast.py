from dataclasses import dataclass

import numpy as np
import pytest

from pipeline import forecast, output_gate
from pipeline.errors import ForecastRefused, UsageError
from pipeline.forecast import Persistence, bicubic
from pipeline.grids import Grid
from tests import small_ocean as small

MASKS = small.masks()


def days(forecaster, **options):
    return list(forecast.forecast(small.initial(), forecaster, small.SYSTEM, masks=MASKS, **options))


def test_lead_days_run_from_zero_to_the_last_and_each_is_valid_at_start_plus_lead() -> None:
    found = days(small.persistence())
    # start 2024-02-27 12Z, a leap year: lead 2 is 29 February, lead 3 is 1 March
    assert [str(day["time"].values)[:13] for day in found] == [
        "2024-02-27T12", "2024-02-28T12", "2024-02-29T12", "2024-03-01T12", "2024-03-02T12",
    ]  # fmt: skip
    assert [int(day["lead_day"]) for day in found] == [0, 1, 2, 3, 4]


def test_lead_day_zero_is_the_initial_state_bit_for_bit() -> None:
    first = next(iter(forecast.forecast(small.initial(), small.drifting(), small.SYSTEM, masks=MASKS)))
    for name in ("ocean", "waves", "biogeochemistry"):
        assert first[name].values.tobytes() == small.values(name).tobytes()


def test_persistence_gives_the_initial_state_on_every_lead_day() -> None:
    for day in days(small.persistence()):
        assert set(day.data_vars) == {"ocean", "waves", "biogeochemistry", "kuroshio"}
        for name in ("ocean", "waves", "biogeochemistry"):
            np.testing.assert_array_equal(day[name].values, small.values(name))


def test_a_forecast_resumed_from_any_day_has_the_bytes_of_one_that_never_stopped() -> None:
    whole = days(small.drifting())
    for lead in range(len(whole)):
        resumed = days(small.drifting(), resume=whole[lead])
        assert [int(day["lead_day"]) for day in resumed] == list(range(lead + 1, 5))
        for day in resumed:
            expected = whole[int(day["lead_day"])]
            assert day["time"].values == expected["time"].values
            for name in expected.data_vars:
                assert day[name].values.tobytes() == expected[name].values.tobytes()


def test_arrays_the_start_does_not_have_are_not_invented() -> None:
    initial = small.initial(without=("waves",))
    found = list(forecast.forecast(initial, small.persistence(), small.SYSTEM, masks=MASKS))
    assert all("waves" not in day for day in found)


def test_each_step_sees_the_forcing_of_its_own_start() -> None:
    seen = []

    class Watching(Persistence):
        def roll_out(self, state, forcing, after=0):
            for field in forcing:
                seen.append(field)
                yield {**state, **self.derive(state)}

    days(Watching(small.SYSTEM, masks=MASKS))
    assert len(seen) == small.SYSTEM.forecast_days
    # the system's policy is persistence: every step sees the analysis
    for field in seen:
        np.testing.assert_array_equal(field, small.initial()["forcing"].values)


@pytest.mark.parametrize(
    ("attribute", "labels", "words"),
    [
        ("ocean_channels", ("to@0",), "the 61 ocean channels"),
        ("forcing_channels", ("u10", "v10", "t2m", "msl", "sp"), "differing: elevation"),
        ("forcing_channels", ("v10", "u10", "t2m", "msl", "sp", "elevation"), "another order"),
    ],
)
def test_a_forecaster_of_other_channels_is_refused_before_any_compute(attribute, labels, words) -> None:
    forecaster = small.persistence()
    setattr(forecaster, attribute, labels)
    forecaster.derive = None  # type: ignore[assignment] - a call would fail
    with pytest.raises(UsageError, match=words):
        days(forecaster)


@dataclass
class Spoiling:
    """Persistence, spoiled in one cell on the second lead day."""

    array: str
    index: tuple[int, int, int]
    value: float

    def forecaster(self):
        spoil = self

        class Spoiled(Persistence):
            def roll_out(self, state, forcing, after=0):
                for lead, day in enumerate(super().roll_out(state, forcing, after), start=1):
                    if lead == 2:
                        day[spoil.array] = day[spoil.array].copy()
                        day[spoil.array][spoil.index] = spoil.value
                    yield day

        return Spoiled(small.SYSTEM, masks=MASKS)


@pytest.mark.parametrize(
    ("spoiling", "words"),
    [
        # channel 2 is temperature at 10 m; row 5 of the grid is 25.5N, column 4 is 126.5E
        (Spoiling("ocean", (2, 5, 4), 40.5), r"to@10 within -3\.\.40 degC.*found 40\.5 degC at 25\.5N 126\.5E"),
        (Spoiling("ocean", (2, 5, 4), -3.5), r"found -3\.5 degC at 25\.5N 126\.5E, the worst of 1 cells"),
        (Spoiling("waves", (0, 2, 3), -0.01), r"swh within 0\.\.25 m .*found -0\.01 m at 25N 127E"),
        (Spoiling("biogeochemistry", (5, 2, 3), -1e-6), r"fe within 0\.\.100 umol m-3.*found -1e-06 umol m-3"),
        (Spoiling("kuroshio", (0, 9, 9), 90.0), r"to@0 within .* found 90 degC"),
        (Spoiling("ocean", (2, 5, 4), np.nan), "1 ocean cells without a value and 0 land cells with one"),
        (Spoiling("ocean", (2, 0, 0), 9.0), "0 ocean cells without a value and 1 land cells with one"),
        (Spoiling("ocean", (2, 5, 4), np.inf), "1 ocean cells without a value"),
    ],
)
def test_a_day_that_must_not_be_published_is_refused_with_variable_value_place_and_lead(spoiling, words) -> None:
    with pytest.raises(ForecastRefused, match=words) as caught:
        days(spoiling.forecaster())
    assert "lead day 2 of system small" in str(caught.value)
    assert caught.value.exit_code == 5


def test_a_current_within_its_components_bounds_and_too_fast_is_refused() -> None:
    """3 and 4 m/s east and north make 5 m/s, the cap; 3.1 and 4 make 5.06."""
    initial = small.initial()
    labels = [str(label) for label in initial["ocean_channel"].values]
    east, north = labels.index("uo@100"), labels.index("vo@100")
    initial["ocean"].values[east, 9, 7], initial["ocean"].values[north, 9, 7] = 3.0, 4.0
    next(iter(forecast.forecast(initial, small.persistence(), small.SYSTEM, masks=MASKS)))
    initial["ocean"].values[east, 9, 7] = 3.1
    with pytest.raises(ForecastRefused, match=r"current speed at 100 m of at most 5 m s-1; found 5\.06\d* m s-1 at 29"):
        next(iter(forecast.forecast(initial, small.persistence(), small.SYSTEM, masks=MASKS)))
    assert output_gate.SPEED_CAP_M_S == 5.0


def test_an_array_that_appears_or_vanishes_on_the_way_is_refused() -> None:
    class Losing(Persistence):
        def roll_out(self, state, forcing, after=0):
            for _ in forcing:
                yield {"waves": state["waves"]}

    with pytest.raises(ForecastRefused, match="on every lead day; found waves"):
        days(Losing(small.SYSTEM, masks=MASKS))


def test_bicubic_interpolation_reproduces_a_cubic_exactly_and_follows_the_axes() -> None:
    """A bicubic spline reproduces any polynomial of degree three in each coordinate: here 0.01 y^3 - 2 x^2 + x y."""
    coarse = Grid(south=10.0, west=100.0, latitude_step=1.0, longitude_step=2.0, rows=20, columns=18)
    fine = coarse.window(south=14.0, north=21.0, west=110.0, east=121.0).refined(3)

    def polynomial(grid: Grid) -> np.ndarray:
        y, x = np.meshgrid(grid.latitude - 15.0, grid.longitude - 115.0, indexing="ij")
        return 0.01 * y**3 - 2.0 * x**2 + x * y

    found = bicubic(polynomial(coarse).astype(np.float32), coarse, fine)
    assert found.shape == fine.shape
    # values up to 100 in float32: spacing 8e-6, amplified by the spline's weights
    np.testing.assert_allclose(found, polynomial(fine), atol=1e-3)


def test_bicubic_interpolation_takes_the_coast_from_the_nearest_ocean_and_never_overshoots() -> None:
    coarse = Grid(south=10.0, west=100.0, latitude_step=1.0, longitude_step=1.0, rows=16, columns=16)
    fine = coarse.window(south=13.0, north=21.0, west=103.0, east=111.0).refined(3)
    field = np.full(coarse.shape, 18.0, dtype=np.float32)
    field[:, 8:] = 24.0
    field[:5] = np.nan
    found = bicubic(field, coarse, fine)
    assert np.isfinite(found).all()
    assert (found.min(), found.max()) == (18.0, 24.0)
    with pytest.raises(ForecastRefused, match="land only"):
        bicubic(np.full(coarse.shape, np.nan, dtype=np.float32), coarse, fine)


def test_the_kuroshio_of_persistence_is_its_own_coarse_surface() -> None:
    """Where three times refined, every third point from the second is a coarse point: the spline passes through it."""
    found = small.persistence().derive({"ocean": small.values("ocean")})["kuroshio"]
    coarse = small.SYSTEM.grid
    fine = small.SYSTEM.kuroshio_grid
    row = int(np.flatnonzero(np.isclose(coarse.latitude, fine.latitude[1]))[0])
    column = int(np.flatnonzero(np.isclose(coarse.longitude, fine.longitude[1]))[0])
    surface = [0, 15, 30, 45, 60]  # T, S, U, V at 0 m and sea surface height among the 61 channels
    expected = small.values("ocean")[surface, row : row + 6, column : column + 5]
    ocean = MASKS["kuroshio"][:, 1::3, 1::3]
    assert np.isnan(found[~MASKS["kuroshio"]]).all()
    np.testing.assert_allclose(found[:, 1::3, 1::3][ocean], expected[ocean], atol=1e-5)
