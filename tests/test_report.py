"""Pictures: what is where on them, what they warn of, and that equal forecasts give equal bytes."""

from __future__ import annotations

import io
from datetime import timedelta

import matplotlib.image
import numpy as np
import pytest
import small_ocean
import test_verify
from matplotlib.colors import LogNorm, to_rgb
from matplotlib.figure import Figure

from pipeline import drawing, products, report, verify
from pipeline.forecast import forecast
from pipeline.grids import Grid
from pipeline.produce import produce
from pipeline.store import Store
from pipeline.systems import CORAL_SEA
from pipeline.variables import VARIABLES, variable
from pipeline.writer import ProductWriter

SYSTEM, ENTRY, CYCLE = small_ocean.SYSTEM, products.WAVES, small_ocean.CYCLE
LAND = np.array(to_rgb(drawing.LAND))
PNG = b"\x89PNG\r\n\x1a\n"


def pixels(data):
    """(row from the top, column, red green blue) in 0..1."""
    return matplotlib.image.imread(io.BytesIO(data), format="png")[..., :3]


@pytest.fixture(scope="module")
def scores():
    return verify.verify(test_verify.product(1), ENTRY, SYSTEM, test_verify.truth, normal=test_verify.normal)


@pytest.fixture(scope="module")
def pictures():
    return dict(report.maps(test_verify.product(), ENTRY, SYSTEM, lead_days=(1, 3, 30)))


def drawn_alone(field, grid, sea=None):
    """The field as the whole of a picture, ten pixels a degree."""
    west, east, south, north = drawing.chart(grid).extent
    figure = Figure(figsize=((east - west) / 10, (north - south) / 10), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    drawing.draw_field(axes, field, drawing.chart(grid), drawing.scale(variable("to"), [field]), sea)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return pixels(buffer.getvalue())


def test_every_variable_has_its_picture(pictures):
    assert list(pictures) == ["waves_swh.png", "waves_mwp.png", "waves_mwd.png"]
    for data in pictures.values():
        assert data.startswith(PNG)
        height, width, _ = pixels(data).shape
        assert 800 < width < 1600
        assert 400 < height < 2200


def test_land_has_the_colour_of_land_where_it_is_and_nowhere_else():
    """Cells of 4 x 3 degrees; the land cell is row 1 from the south, column 2: 8-12E, 3-6N of a 5 x 4 cell sea."""
    grid = Grid(south=1.5, west=2.0, latitude_step=3.0, longitude_step=4.0, rows=4, columns=5)
    field = (20 + np.arange(20.0).reshape(4, 5)).astype(np.float32)
    field[1, 2] = np.nan
    shown = drawn_alone(field, grid)
    rows, columns, _ = shown.shape
    for row in range(4):
        for column in range(5):
            y, x = rows - int((row + 0.5) * rows / 4), int((column + 0.35) * columns / 5)
            assert np.allclose(shown[y, x], LAND, atol=0.01) == ((row, column) == (1, 2))


def test_sea_without_values_is_neither_land_nor_a_value():
    """Of two cells without a value the western is sea."""
    grid = Grid(south=1.5, west=2.0, latitude_step=3.0, longitude_step=4.0, rows=4, columns=5)
    field = (20 + np.arange(20.0).reshape(4, 5)).astype(np.float32)
    field[1, 1:3] = np.nan
    sea = np.ones(grid.shape, dtype=bool)
    sea[1, 2] = False
    shown = drawn_alone(field, grid, sea)
    y = shown.shape[0] - int(1.5 * shown.shape[0] / 4)
    west, east = (shown[y, int((column + 0.4) * shown.shape[1] / 5)] for column in (1, 2))
    assert np.allclose(west, to_rgb(drawing.NO_VALUES), atol=0.01)
    assert np.allclose(east, LAND, atol=0.01)


def test_the_globe_is_drawn_from_africa_east_so_that_the_dateline_is_inside():
    """20 degrees east is the left edge; a land cell at 180-190E is 160 degrees, 16 of 36 columns, from it."""
    grid = Grid(south=-85.0, west=5.0, latitude_step=10.0, longitude_step=10.0, rows=18, columns=36)
    chart = drawing.chart(grid)
    assert chart.extent == (20.0, 380.0, -90.0, 90.0)
    field = np.ones(grid.shape, dtype=np.float32)
    field[9, 18] = np.nan
    assert np.argwhere(np.isnan(chart.arranged(field))).tolist() == [[9, 16]]
    shown = drawn_alone(field, grid)
    assert np.allclose(shown[shown.shape[0] * 17 // 36, int(shown.shape[1] * 16.5 / 36)], LAND, atol=0.01)


def test_a_region_is_drawn_as_it_lies_even_across_the_dateline():
    grid = Grid(south=10.0, west=170.0, latitude_step=2.0, longitude_step=2.0, rows=4, columns=12)
    assert drawing.chart(grid).extent[:2] == (169.0, 193.0)
    assert drawing.longitude_label(185.0) == "175°W"


def test_degrees_are_written_as_people_write_them():
    labels = [drawing.longitude_label(x) for x in (0.0, 60.0, 180.0, 240.0, 360.0, 380.0)]
    assert labels == ["0°", "60°E", "180°", "120°W", "0°", "20°E"]
    assert [drawing.latitude_label(y) for y in (-30.0, 0.0, 12.5)] == ["30°S", "0°", "12.5°N"]


def test_equal_forecasts_give_equal_bytes_and_others_do_not(pictures):
    again = dict(report.maps(test_verify.product(), ENTRY, SYSTEM, lead_days=(1, 3, 30)))
    assert again == pictures
    other = dict(report.maps(test_verify.product(2), ENTRY, SYSTEM, lead_days=(1, 3, 30)))
    assert all(other[name] != pictures[name] for name in pictures)


def test_each_quantity_has_the_limits_its_registry_entry_asks_for():
    rng = np.random.default_rng(0)
    for entry in VARIABLES:
        field = rng.uniform(max(entry.lower, 0.01), min(entry.upper, 30.0 + max(entry.lower, 0.01)), (20, 30))
        field = (field - 15.0 if entry.diverging else field).astype(np.float32)
        colours = drawing.scale(entry, [field])
        low, high = colours.limits
        assert low < high, entry.name
        if entry.circular:
            assert (low, high) == (0.0, 360.0)
        if entry.diverging:
            assert low == -high, entry.name
        if entry.logarithmic:
            assert isinstance(colours.norm, LogNorm)
            assert low > 0


def test_one_wild_cell_does_not_take_the_colours_of_all_others():
    field = np.linspace(10.0, 20.0, 400, dtype=np.float32).reshape(20, 20)
    field[3, 4] = 39.0
    assert drawing.scale(variable("to"), [field]).limits[1] <= 21.0


def test_a_constant_field_can_be_drawn():
    for name in ("to", "uo", "swh", "chl", "mwd"):
        low, high = drawing.scale(variable(name), [np.zeros((3, 4), dtype=np.float32)]).limits
        assert low < high


def banner_rows(data):
    """How many rows of pixels at the top have the banner's colour at their right end."""
    band = np.array(to_rgb(drawing.BANNER_FILL))
    column = pixels(data)[:, -3]
    same = np.isclose(column, band, atol=0.01).all(axis=1)
    return int(same.argmin()) if not same.all() else same.size


def test_a_banner_says_what_is_synthetic_or_degraded_and_no_other_picture_has_one():
    real = SYSTEM.model_copy(update={"real_ocean": True})
    clean = test_verify.product()
    degraded = clean.assign_attrs(degraded="true", degraded_reasons="t2m from climatology: " + "era5 lacks it, " * 12)
    heights = []
    for system, product in ((real, clean), (SYSTEM, clean), (SYSTEM, degraded)):
        _, data = next(report.maps(product, ENTRY, system))
        heights.append(banner_rows(data))
    assert heights[0] == 0
    assert 20 < heights[1] < heights[2]
    assert report.warnings_of(clean, SYSTEM) == ["SYNTHETIC TWIN OCEAN: not the real ocean"]
    assert report.warnings_of(degraded, real)[0].startswith("DEGRADED: t2m from climatology")


def test_a_warning_is_broken_into_lines_and_not_cut():
    text = "DEGRADED: " + "a reason that goes on and on, " * 10
    lines = drawing.banner_lines([text], 9.0)
    assert " ".join(lines).split() == text.split()
    assert max(map(len, lines)) <= 92


def test_the_colour_bar_says_quantity_and_units():
    assert report.quantity(variable("to")) == "Sea water temperature (degC)"
    assert report.quantity(variable("so")) == "Sea water practical salinity"
    assert report.quantity(variable("mwd")) == "Mean wave direction (degree)"


def test_maps_are_drawn_for_the_lead_days_there_are():
    """Of days 1, 10 and 30 a four-day forecast has day 1; one that has none of them is drawn at its last."""
    one = pixels(next(report.maps(test_verify.product(), ENTRY, SYSTEM))[1]).shape[0]
    two = pixels(next(report.maps(test_verify.product(), ENTRY, SYSTEM, lead_days=(1, 4)))[1]).shape
    last = next(report.maps(test_verify.product(), ENTRY, SYSTEM, lead_days=(10, 30)))[1]
    fourth = next(report.maps(test_verify.product(), ENTRY, SYSTEM, lead_days=(4,)))[1]
    assert last == fourth
    assert two[0] >= one


def test_skill_is_drawn_for_every_variable_the_same_bytes_twice(scores):
    first, again = (dict(report.skill_plots(scores, ENTRY, SYSTEM)) for _ in range(2))
    assert list(first) == ["skill_waves_swh.png", "skill_waves_mwp.png", "skill_waves_mwd.png"]
    assert first == again
    for data in first.values():
        curve = np.array(to_rgb(report.LINES["persistence"][0]))
        assert (np.abs(pixels(data) - curve).max(axis=2) < 0.02).sum() > 50


def test_quicklooks_lie_beside_the_products_they_show(tmp_path):
    store, revision, facts = Store(tmp_path), 1, small_ocean.facts()
    prefix = CYCLE.revision_prefix(revision)
    with ProductWriter(store, f"{prefix}/waves.zarr", ENTRY, SYSTEM, CYCLE, facts) as writer:
        for day in forecast(small_ocean.initial(), small_ocean.persistence(), SYSTEM, masks=small_ocean.masks()):
            writer.write(produce(day, ENTRY, SYSTEM, CYCLE, facts))
    records = list(report.quicklooks(store, SYSTEM, CYCLE, revision))
    assert [record.path for record in records] == [
        f"{prefix}/quicklooks/waves_{name}.png" for name in ("swh", "mwp", "mwd")
    ]
    assert all(store.read_bytes(record.path).startswith(PNG) for record in records)
    assert banner_rows(store.read_bytes(records[0].path)) > 20


def test_a_sea_as_high_as_wide_has_its_panels_side_by_side():
    chart = drawing.chart(CORAL_SEA.grid)
    assert chart.width_over_height < 1.4
    assert chart.aspect == pytest.approx(1 / np.cos(np.deg2rad(20.34)), rel=1e-6)


def test_lead_days_are_told_with_their_dates():
    product = test_verify.product()
    valid = small_ocean.START + timedelta(days=3)
    assert report._date(product, 3) == f"valid {valid:%Y-%m-%d %H} UTC" == "valid 2024-03-01 12 UTC"
