from fractions import Fraction

import numpy as np
import pytest

from pipeline import channels, forecast, produce
from pipeline.errors import ForecastRefused
from pipeline.precision import BLOCK, round_mantissa
from pipeline.products import BIOGEOCHEMISTRY, KUROSHIO, OCEAN, PRODUCTS, WAVES
from tests import small_ocean as small

MASKS = small.masks()


def day(lead: int):
    found = forecast.forecast(small.initial(), small.drifting(), small.SYSTEM, masks=MASKS)
    return next(item for item in found if int(item["lead_day"]) == lead)


# ---------------------------------------------------------------------------------------------------- precision


def exactly_rounded(value: float, bits: int) -> Fraction:
    """The nearest number with ``bits`` mantissa bits, ties to the even mantissa, in exact arithmetic."""
    exact = Fraction(value)
    if exact == 0:
        return exact
    exponent = 0
    while abs(exact) >= Fraction(2) ** (exponent + 1):
        exponent += 1
    while abs(exact) < Fraction(2) ** exponent:
        exponent -= 1
    step = Fraction(2) ** (exponent - bits)
    return round(exact / step) * step  # round() of a Fraction is to nearest, ties to even


@pytest.mark.parametrize("bits", [1, 9, 12, 16, 22])
def test_rounding_is_that_of_exact_arithmetic(bits: int) -> None:
    random = np.random.default_rng(7)
    values = (random.standard_normal(400) * 10.0 ** random.integers(-6, 6, 400)).astype(np.float32)
    step = 2.0**-bits
    ties = np.array([1 + step / 2, 1 + 1.5 * step, -1 - step / 2, 2 - step / 2, 35 + 16 * step], dtype=np.float32)
    values = np.concatenate([values, ties, np.array([0.0, -0.0, 1.0], dtype=np.float32)])
    rounded = values.copy()
    round_mantissa(rounded, bits)
    for before, after in zip(values, rounded, strict=True):
        assert Fraction(float(after)) == exactly_rounded(float(before), bits)
    assert np.signbit(rounded[-2])


def test_rounding_keeps_infinities_and_makes_every_nan_the_same() -> None:
    words = np.array([0x7FC00000, 0xFFC00000, 0x7F800001, 0x7FFFFFFF, 0xFFFFFFFF, 0x7F800000, 0xFF800000], np.uint32)
    values = words.view(np.float32).copy()
    round_mantissa(values, 9)
    assert values.view(np.uint32).tolist() == [0x7FC00000] * 5 + [0x7F800000, 0xFF800000]


def test_rounding_by_blocks_is_rounding_of_the_whole_and_once_is_enough() -> None:
    values = np.random.default_rng(3).standard_normal((2, BLOCK + 17)).astype(np.float32)
    alone = values.reshape(-1).copy()
    for start in range(0, alone.size, 1000):
        round_mantissa(alone[start : start + 1000], 9)
    round_mantissa(values, 9)
    np.testing.assert_array_equal(values.reshape(-1), alone)
    again = values.copy()
    round_mantissa(again, 9)
    assert again.tobytes() == values.tobytes()


def test_full_precision_changes_nothing_and_what_cannot_be_rounded_in_place_is_refused() -> None:
    values = np.random.default_rng(3).standard_normal((4, 6)).astype(np.float32)
    same = values.copy()
    round_mantissa(same, 23)
    np.testing.assert_array_equal(same, values)
    for wrong in (values.astype(np.float64), values[:, ::2]):
        with pytest.raises(ValueError, match="C-contiguous float32"):
            round_mantissa(wrong, 9)
    with pytest.raises(ValueError, match="mantissa bits"):
        round_mantissa(values, 24)


# ----------------------------------------------------------------------------------------------------- products


def test_every_channel_lands_in_its_variable_and_level() -> None:
    """Channel (variable, depth) of the array against [variable][time 0, that depth]: within the bits that are kept."""
    start = day(0)
    found = produce.produce(start, OCEAN, small.SYSTEM, small.CYCLE, small.facts())
    for index, channel in enumerate(channels.ocean()):
        field = found[channel.variable].isel(time=0)
        level = field if channel.depth_m is None else field.sel(depth=channel.depth_m)
        entry = next(item for item in OCEAN.variables if item.name == channel.variable)
        tolerance = 2.0 ** -(entry.mantissa_bits + 1)
        np.testing.assert_allclose(level.values, start["ocean"].values[index], rtol=tolerance, atol=0)
        assert np.isnan(level.values[0, 0])


def test_the_surface_product_has_surface_fields_and_a_scalar_depth() -> None:
    start = day(0)
    found = produce.produce(start, KUROSHIO, small.SYSTEM, small.CYCLE, small.facts())
    assert float(found["depth"]) == 0.0
    assert found["depth"].ndim == 0
    for index, name in enumerate(("to", "so", "uo", "vo", "zos")):
        assert found[name].dims == ("time", "latitude", "longitude")
        np.testing.assert_allclose(found[name].values[0], start["kuroshio"].values[index], rtol=2**-10)


def test_a_direction_that_rounds_to_a_whole_turn_is_north() -> None:
    """With 9 bits a bearing from 256 to 512 is a multiple of 0.5: 359.7 stays below 360, 359.8 does not."""
    start = day(0)
    row = [channel.variable for channel in channels.waves()].index("mwd")
    columns = np.flatnonzero(np.isfinite(start["waves"].values[row, 2]))[:4]
    start["waves"].values[row, 2, columns] = [359.7, 359.8, 360.0, 0.1]
    found = produce.produce(start, WAVES, small.SYSTEM, small.CYCLE, small.facts())["mwd"].values[0]
    np.testing.assert_allclose(found[2, columns], [359.5, 0.0, 0.0, 0.1], rtol=2.0**-10)
    assert np.nanmax(found) < 360.0


@pytest.mark.parametrize("lead", range(5))
@pytest.mark.parametrize("entry", PRODUCTS, ids=lambda entry: entry.name)
def test_valid_time_is_start_plus_lead(entry, lead: int) -> None:
    found = produce.produce(day(lead), entry, small.SYSTEM, small.CYCLE, small.facts())
    start = np.datetime64("2024-02-27T12", "ns")
    assert found["forecast_reference_time"].values == start
    assert found["time"].values.tolist() == [(start + np.timedelta64(24 * lead, "h")).astype("i8")]
    assert found["forecast_period"].values.tolist() == [lead]
    assert found["forecast_period"].attrs["units"] == "day"


def test_a_day_labelled_with_another_time_is_refused() -> None:
    wrong = day(2).assign_coords(lead_day=3)
    with pytest.raises(ForecastRefused, match="valid time 2024-03-01T12 UTC"):
        produce.produce(wrong, OCEAN, small.SYSTEM, small.CYCLE, small.facts())


def test_a_day_without_the_products_array_is_refused() -> None:
    with pytest.raises(ForecastRefused, match="the array waves for product waves"):
        produce.produce(day(1).drop_vars("waves"), WAVES, small.SYSTEM, small.CYCLE, small.facts())


def test_producing_leaves_the_forecast_day_as_it_was() -> None:
    start = day(0)
    before = {name: start[name].values.tobytes() for name in start.data_vars}
    for entry in PRODUCTS:
        produce.produce(start, entry, small.SYSTEM, small.CYCLE, small.facts())
    assert {name: start[name].values.tobytes() for name in start.data_vars} == before


def test_bounds_enclose_every_cell_and_meet() -> None:
    found = produce.layout(OCEAN, small.SYSTEM, small.CYCLE, small.facts())
    for name in ("latitude", "longitude"):
        bounds = found[found[name].attrs["bounds"]].values
        np.testing.assert_allclose(bounds.mean(axis=1), found[name].values)
        np.testing.assert_array_equal(bounds[1:, 0], bounds[:-1, 1])


def test_degradation_is_written_on_the_products_it_touches_and_on_no_other() -> None:
    record = small.records()[3].model_copy(update={"degraded": "the waves are of yesterday"})
    facts = small.facts().model_copy(update={"inputs": (*small.records()[:2], record)})
    waves = produce.layout(WAVES, small.SYSTEM, small.CYCLE, facts).attrs
    assert (waves["degraded"], waves["degraded_reasons"]) == ("true", "the waves are of yesterday")
    for entry in (OCEAN, BIOGEOCHEMISTRY, KUROSHIO):
        attributes = produce.layout(entry, small.SYSTEM, small.CYCLE, facts).attrs
        assert (attributes["degraded"], attributes["degraded_reasons"]) == ("false", "none")


def test_a_product_says_what_ocean_forecaster_forcing_and_inputs_it_has() -> None:
    attributes = produce.layout(OCEAN, small.SYSTEM, small.CYCLE, small.facts()).attrs
    assert attributes["real_ocean"] == "false"
    assert attributes["ocean"] == "synthetic twin: not the real ocean"
    assert attributes["summary"].endswith("Synthetic twin: not the real ocean.")
    assert attributes["forecaster"] == "persistence"
    assert attributes["future_forcing"].startswith("no future atmosphere is used: the forcing of the start is kept")
    assert "surface u10 v10: era5, 12 h" in attributes["input_ages"]
    assert "surface t2m msl sp: climatology, of no date" in attributes["input_ages"]
    assert "neither the European Commission" in attributes["acknowledgement"]
    assert attributes["id"] == "small.ocean.20240227T12.r1"
