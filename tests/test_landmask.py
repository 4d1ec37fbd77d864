"""The stored masks: whole, of the right shapes, of the system's own grids, ocean at depth only under ocean."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from pipeline.earth import coast, landmask, relief
from pipeline.earth.landmask import Masks
from pipeline.errors import InputRefused
from pipeline.grids import Grid
from pipeline.systems import CORAL_SEA, SYSTEMS


@pytest.fixture(params=SYSTEMS, ids=lambda entry: entry.name)
def system(request):
    return request.param


def test_every_system_has_the_masks_its_products_need(system):
    depth = landmask.depth_mask(system)
    assert depth.shape == (len(system.depths_m), *system.grid.shape)
    for product in system.products:
        mask = landmask.ocean_mask(system, product.state)
        assert mask.shape[1:] == system.product_grid(product).shape
        assert 0.2 < mask[0].mean() < 0.95
    assert landmask.load(system).made_from


def test_ocean_at_depth_lies_under_ocean(system):
    depth = landmask.depth_mask(system)
    assert not (depth[1:] & ~depth[:-1]).any()
    assert depth[-1].sum() < depth[0].sum()


def test_channels_take_the_mask_of_their_depth_and_height_that_of_the_surface(system):
    depth, ocean = landmask.depth_mask(system), landmask.ocean_mask(system, "ocean")
    levels = len(system.depths_m)
    np.testing.assert_array_equal(ocean[: 4 * levels].reshape(4, levels, *system.grid.shape), np.stack([depth] * 4))
    np.testing.assert_array_equal(ocean[4 * levels], depth[0])


def test_masks_cannot_be_changed_by_those_who_use_them(system):
    with pytest.raises(ValueError, match="read-only"):
        landmask.ocean_mask(system, "ocean")[0, 0, 0] = True
    with pytest.raises(ValueError, match="read-only"):
        landmask.depth_mask(system)[0, 0, 0] = True


@pytest.mark.parametrize("name", ["twin", "global-quarter-degree"])
def test_known_places_are_land_and_ocean_where_they_should_be(name):
    system = next(entry for entry in SYSTEMS if entry.name == name)
    depth = landmask.depth_mask(system)

    def at(latitude, longitude, level=0):
        row = int(np.abs(system.grid.latitude - latitude).argmin())
        column = int(np.abs(system.grid.longitude - longitude).argmin())
        return bool(depth[level, row, column])

    ocean = {"mid Pacific": (0, 200), "Kuroshio": (30, 140), "Drake Passage": (-58, 295), "Gulf of Guinea": (0, 3)}
    land = {"Sahara": (22, 10), "Amazon": (-5, 300), "Tibet": (32, 88), "Australia": (-25, 133), "Caspian": (42, 51)}
    assert [place for place, point in ocean.items() if not (at(*point) and at(*point, -1))] == []
    assert [place for place, point in land.items() if at(*point)] == []
    assert at(55.5, 4.5)
    assert not at(55.5, 4.5, -1), "the North Sea is shallow"


def test_the_real_waves_end_where_the_sea_freezes():
    system = next(entry for entry in SYSTEMS if entry.name == "global-quarter-degree")
    waves = landmask.ocean_mask(system, "waves")[0]
    grid = system.wave_grid
    point = {"Hudson Bay": (60, 274), "Arctic": (85, 0), "Weddell Sea": (-72, 320), "Norwegian Sea": (67, 3)}
    wet = [name for name, (north, east) in point.items()
           if waves[np.abs(grid.latitude - north).argmin(), np.abs(grid.longitude - east).argmin()]]  # fmt: skip
    assert wet == ["Norwegian Sea"]


SMALL = CORAL_SEA.model_copy(
    update={
        "name": "small",
        "grid": Grid(south=10.5, west=20.5, latitude_step=1.0, longitude_step=1.0, rows=5, columns=7),
        "depths_m": (0.0, 6.0),
    }
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(landmask, "FOLDER", tmp_path)
    return tmp_path


def test_what_is_saved_is_what_is_loaded(folder):
    ocean = np.arange(70).reshape(2, 5, 7) % 3 > 0
    landmask.save(SMALL, Masks({"ocean": ocean}, {"ocean": "hycom"}, "a test"))
    np.testing.assert_array_equal(landmask.depth_mask(SMALL), ocean)
    assert landmask.source_of(SMALL, "ocean") == "hycom"


def test_a_mask_of_another_grid_or_none_at_all_is_refused_with_the_command_that_makes_it(folder):
    with pytest.raises(InputRefused, match=r"found no file.*python -m pipeline.earth.landmask small"):
        landmask.depth_mask(SMALL)
    landmask.save(SMALL, Masks({"ocean": np.ones((2, 5, 7), bool)}, {"ocean": "hycom"}, "a test"))
    with pytest.raises(InputRefused, match="a mask for waves"):
        landmask.ocean_mask(SMALL, "waves")
    moved = SMALL.model_copy(update={"grid": SMALL.grid.model_copy(update={"west": 21.5})})
    with pytest.raises(InputRefused, match="its own grids and depths"):
        landmask.depth_mask(moved)


def test_two_masks_agree_in_place_better_than_moved():
    """A straight coast on 5 x 7 cells: 10 coast cells; moved by one column 5 of them differ."""
    ocean = np.broadcast_to(np.arange(7) > 2, (5, 7)).copy()
    shore = coast.Coast(ocean, SMALL.grid, same_source=True)
    covered = np.ones((5, 7), bool)
    coast.check(ocean.astype(float), covered, shore, "a test")
    with pytest.raises(InputRefused, match=r"10 coast cells; found 5 of 20 .* 0 land cells .* moved one cell east"):
        coast.check(np.roll(ocean, 1, axis=1).astype(float) * (np.arange(7) > 2), covered, shore, "a test")


@pytest.mark.realdata
def test_the_coral_sea_s_mask_is_the_land_of_the_analysis(realdata):
    with xr.open_dataset(realdata / "hycom_coral_sea_20230101_20230102.nc", decode_times=False) as file:
        native = file["salinity"].isel(time=0).sel(depth=list(CORAL_SEA.depths_m)).values
    np.testing.assert_array_equal(landmask.depth_mask(CORAL_SEA), np.isfinite(native[:, 2:46, :24]))


@pytest.mark.realdata
@pytest.mark.parametrize(("north", "east"), [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)])
def test_even_under_a_relief_s_mask_the_real_ocean_is_taken_in_place_and_refused_when_moved(realdata, north, east):
    with xr.open_dataset(realdata / "hycom_coral_sea_20230101_20230102.nc", decode_times=False) as file:
        native = file["salinity"].isel(time=0).sel(depth=list(CORAL_SEA.depths_m)).values
    refused = 0
    for depth, slab in zip(CORAL_SEA.depths_m, native, strict=True):
        ocean = relief.sea_share(CORAL_SEA.grid, depth) >= coast.OCEAN_SHARE
        share = np.isfinite(slab[2 - north : 46 - north])[:, np.arange(24) - east].astype(float)
        covered = np.ones(CORAL_SEA.grid.shape, bool)
        covered[:, 0 if east > 0 else -1] = not east
        try:
            coast.check(share, covered, coast.Coast(ocean, CORAL_SEA.grid, same_source=False), "the analysis")
        except InputRefused:
            refused += 1
    assert (refused > 0) == bool(north or east)
