"""The products laid out a second time, for series at a point: the same values, few requests, nothing lost unseen."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorstore
import xarray as xr

import pipeline
from pipeline import edition, publish, series
from pipeline.edition import Edition
from pipeline.errors import CheckFailed, UsageError
from pipeline.readers import check, public, reading
from pipeline.store import Store
from tests import small_ocean as small
from tests.published import MASKS

SYSTEM = small.SYSTEM.model_copy(update={"series": ("ocean", "waves")})
PREFIX = small.CYCLE.revision_prefix(1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Edition, publish.Manifest]:
    """A published cycle with series, cut so small that shards and chunks reach beyond the grid, and bands are many."""
    store = Store(tmp_path_factory.mktemp("series") / "store")
    making = Edition(store, SYSTEM, small.CYCLE, small.facts())
    written = edition.write(making, small.initial(), small.drifting(), inputs_digest="x", masks=MASKS)
    with pytest.MonkeyPatch.context() as smaller:
        for name, value in (("CELLS", 4), ("CHUNKS_IN_ROW", 3), ("BAND_BYTES", 1)):
            smaller.setattr(series, name, value)
        laid_out = series.lay_out(making, written)
        assert series.lay_out(making, written) == laid_out  # again: the same bytes
    manifest = publish.publish(making, (*written, *laid_out), created=small.CREATED, masks=MASKS)
    return Path(store.address("")), making, manifest


@pytest.fixture
def own(made: tuple[Path, Edition, publish.Manifest], tmp_path: Path) -> Store:
    """A copy that a test may spoil."""
    shutil.copytree(made[0], tmp_path / "store")
    return Store(tmp_path / "store")


@pytest.mark.parametrize("product", ["ocean", "waves"])
def test_both_layouts_say_the_same(made: tuple[Path, Edition, publish.Manifest], product: str) -> None:
    maps, laid_out = (
        pipeline.open_forecast(made[0], product, system="small", layout=layout).load() for layout in ("maps", "series")
    )
    xr.testing.assert_identical(laid_out, maps)
    assert maps.notnull().any()
    with xr.open_zarr(made[0] / PREFIX / "series" / f"{product}.zarr") as plain:
        assert plain.attrs["id"] == maps.attrs["id"]


def test_chunks_that_reach_beyond_the_grid_are_read_by_others(made: tuple[Path, Edition, publish.Manifest]) -> None:
    """14 rows in shards of 12: the second has two rows of four in the grid, and eight that are none."""
    path = f"{made[0]}/{PREFIX}/series/ocean.zarr/so"
    array = tensorstore.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": path}}).result()
    assert array.shape == (5, 15, 14, 11)
    assert sorted(item.name for item in Path(path, "c/0/0").iterdir()) == ["0", "1"]
    with xr.open_zarr(made[0] / PREFIX / "ocean.zarr") as maps:
        assert np.array_equal(array.read().result(), maps["so"].values, equal_nan=True)


def test_shards_of_full_size_are_of_bounded_size_and_a_series_is_one_chunk() -> None:
    cut = series.by_place((31, 15, 720, 1440))
    assert cut == ((31, 15, 16, 16), (31, 15, 48, 1440))
    assert 16 * np.prod([shard // chunk for chunk, shard in zip(*cut, strict=True)]) < 5_000  # bytes of the index
    assert 4 * np.prod(cut.shard) < 130e6
    assert series.by_place((7, 15, 9)) == ((7, 15, 9), (7, 15, 9))
    assert series.by_place((31, 180, 360)) == ((31, 16, 16), (31, 48, 368))


@pytest.mark.parametrize(("layout", "place"), [
    ("series", {"latitude": 9, "longitude": 7}), ("maps", {"depth": 3, "time": 2}),
])  # fmt: skip
def test_what_a_layout_is_for_takes_two_requests(
    made: tuple[Path, Edition, publish.Manifest], monkeypatch: pytest.MonkeyPatch, layout: reading.Layout,
    place: dict[str, int],
) -> None:  # fmt: skip
    dataset = pipeline.open_forecast(made[0], "ocean", system="small", layout=layout)
    asked = list[str]()
    find_part = Store.find_part

    def counted(store: Store, path: str, first: int, end: int | None) -> bytes | None:
        asked.append(path)
        return find_part(store, path, first, end)

    monkeypatch.setattr(public.Public, "find_part", counted)
    assert np.isfinite(dataset["to"].isel(place).values).any()
    assert len(asked) == 2
    assert len(set(asked)) == 1


@pytest.mark.parametrize("damage", ["delete", "flip"])
def test_every_damaged_object_of_the_series_is_found(own: Store, damage: str) -> None:
    for path, _ in own.objects(f"{PREFIX}/series/waves.zarr"):
        data = own.read_bytes(path)
        if damage == "delete":
            own.delete(path)
        else:
            own.write_bytes(path, data[:-1] + bytes([data[-1] ^ 1]))
        found = check.check(public.find(own.uri, system="small"), values=False)
        assert [item.path for item in found.damages] == [path.removeprefix(f"{PREFIX}/")]
        own.write_bytes(path, data)
    assert check.check(public.find(own.uri, system="small"), masks=MASKS).whole


def test_a_product_without_series_says_so(made: tuple[Path, Edition, publish.Manifest]) -> None:
    with pytest.raises(
        UsageError, match=r"needed biogeochemistry of small .* laid out for series; found its maps alone"
    ):
        pipeline.open_forecast(made[0], "biogeochemistry", system="small", layout="series")


def test_series_are_not_made_from_altered_maps(made: tuple[Path, Edition, publish.Manifest], own: Store) -> None:
    path = f"{PREFIX}/ocean.zarr/uo/c/1/0/0/0"
    written = [item.model_copy(update={"path": f"{PREFIX}/{item.path}"}) for item in made[2].objects]
    own.write_bytes(path, own.read_bytes(f"{PREFIX}/ocean.zarr/vo/c/1/0/0/0"))
    with pytest.raises(CheckFailed, match=r"uo/c/1/0/0/0 as the rollout wrote it; found other bytes"):
        series.lay_out(made[1]._replace(store=own), written)
