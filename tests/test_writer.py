import hashlib
import json
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from pipeline import edition, forecast, produce, shards
from pipeline.errors import StoreError
from pipeline.products import KUROSHIO, OCEAN, PRODUCTS, WAVES
from pipeline.store import Store
from pipeline.writer import ProductWriter
from tests import small_ocean as small

MASKS = small.masks()
CHECKED_IN = Path(__file__).with_name("product_metadata.json")


def products(entry):
    for day in forecast.forecast(small.initial(), small.drifting(), small.SYSTEM, masks=MASKS):
        yield produce.produce(day, entry, small.SYSTEM, small.CYCLE, small.facts())


def writer(store: Store, entry, **options) -> ProductWriter:
    return ProductWriter(store, f"{entry.name}.zarr", entry, small.SYSTEM, small.CYCLE, small.facts(), **options)


def write(store: Store, entry):
    with writer(store, entry) as writing:
        for product in products(entry):
            writing.write(product)
    return writing.records


@pytest.mark.parametrize("entry", PRODUCTS, ids=lambda entry: entry.name)
def test_a_product_opens_with_xarray_as_it_was_written(any_store: Store, entry) -> None:
    """``filterwarnings = error`` holds here: the plain call of a reader warns of nothing."""
    write(any_store, entry)
    with xr.open_zarr(any_store.address(f"{entry.name}.zarr")) as found:
        assert set(found.data_vars) == {item.name for item in entry.variables}
        for lead, product in enumerate(products(entry)):
            here = found.isel(time=lead)
            assert here["time"].values == product["time"].values[0]
            assert here["forecast_period"].values == lead
            for item in entry.variables:
                assert here[item.name].values.tobytes() == product[item.name].values.tobytes()
                assert here[item.name].dtype == np.float32
                assert here[item.name].attrs["standard_name"] == item.standard_name
        assert found["forecast_reference_time"].values == np.datetime64("2024-02-27T12", "ns")
        assert (np.diff(found["latitude"]) > 0).all()
        if entry is KUROSHIO:
            assert "depth" in found["to"].encoding["coordinates"].split()
            assert "depth" not in found["zos"].encoding["coordinates"].split()


def test_records_are_the_objects_with_their_sizes_and_digests(any_store: Store) -> None:
    records = write(any_store, OCEAN)
    assert [(item.path, item.size_bytes) for item in records] == any_store.objects("ocean.zarr")
    for item in records:
        assert hashlib.sha256(any_store.read_bytes(item.path)).hexdigest() == item.sha256


def test_one_shard_is_one_lead_day_and_one_chunk_one_level(folder_store: Store) -> None:
    write(folder_store, OCEAN)
    paths = [path for path, _ in folder_store.objects("ocean.zarr/to")]
    assert paths == ["ocean.zarr/to/c/" + f"{lead}/0/0/0" for lead in range(5)] + ["ocean.zarr/to/zarr.json"]
    metadata = folder_store.read_json("ocean.zarr/to/zarr.json")
    assert metadata["chunk_grid"]["configuration"]["chunk_shape"] == [1, 15, 14, 11]
    sharding = metadata["codecs"][0]
    assert sharding["configuration"]["chunk_shape"] == [1, 1, 14, 11]
    # only codecs of the Zarr v3 specification: any reader has them
    names = {codec["name"] for codec in sharding["configuration"]["codecs"]}
    assert {sharding["name"]} | names == {"sharding_indexed", "bytes", "blosc"}


def test_equal_inputs_give_equal_bytes_on_any_store(folder_store: Store, any_store: Store) -> None:
    first = write(folder_store, OCEAN)
    assert write(any_store, OCEAN) == first
    assert write(folder_store, OCEAN) == first


def test_a_shard_of_nothing_but_land_is_still_an_object() -> None:
    codec = shards.Shards(WAVES, small.SYSTEM, small.CYCLE, small.facts())
    nothing = np.full((1, *small.SYSTEM.wave_grid.shape), np.nan, dtype=np.float32)
    data = codec.encode("swh", 3, nothing)
    assert len(data) > 0
    assert np.isnan(codec.decode("swh", 3, data)).all()


@pytest.mark.parametrize("entry", [OCEAN, WAVES], ids=lambda entry: entry.name)
def test_a_shard_is_the_one_that_zarr_python_writes_to_the_byte(tmp_path: Path, entry) -> None:
    codec = shards.Shards(entry, small.SYSTEM, small.CYCLE, small.facts())
    for path, data in codec.metadata.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    for item in entry.variables:
        array = zarr.open_array(tmp_path / item.name, mode="r+")
        values = np.random.default_rng(0).random((1, *array.shape[1:]), dtype=np.float32)
        array[2:3] = values
        with ThreadPoolExecutor(3) as pool:
            assert codec.encode(item.name, 2, values, pool.map) == codec.encode(item.name, 2, values)
        assert codec.encode(item.name, 2, values) == (tmp_path / codec.path(item.name, 2)).read_bytes()


@pytest.mark.parametrize(("shape", "kind"), [((1, 5, 6), "float32"), ((1, 5, 7), "float64"), ((2, 5, 7), "float32")])
def test_what_is_not_one_lead_day_of_the_grid_is_not_encoded(shape: tuple[int, ...], kind: str) -> None:
    codec = shards.Shards(WAVES, small.SYSTEM, small.CYCLE, small.facts())
    with pytest.raises(ValueError, match=r"needs float32 \(1, 5, 7\)"):
        codec.encode("swh", 0, np.zeros(shape, dtype=kind))


def test_the_metadata_of_all_lead_days_is_there_before_the_first_field(folder_store: Store) -> None:
    with writer(folder_store, OCEAN), xr.open_zarr(folder_store.address("ocean.zarr")) as found:
        assert found.sizes["time"] == 5


def test_a_write_that_fails_is_raised_to_the_one_who_writes(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (tmp_path / "ocean.zarr" / "to").mkdir(parents=True)
    (tmp_path / "ocean.zarr" / "to" / "c").write_bytes(b"in the way")
    with pytest.raises(StoreError, match=r"write ocean\.zarr/to/c/0/0/0/0.*found (a file in its place|File exists)"):
        write(store, OCEAN)


def test_leaving_by_an_error_writes_no_more_and_leaves_no_thread(folder_store: Store) -> None:
    def leave() -> None:
        with writer(folder_store, OCEAN, queue_days=5) as writing:
            writing.write(next(iter(products(OCEAN))))
            raise KeyError

    with pytest.raises(KeyError):
        leave()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("writer-")]


def test_memory_does_not_grow_with_the_number_of_lead_days(folder_store: Store) -> None:
    """Days are of 61 x 50 x 50 x 4 = 0.61 MB; with two waiting, thirty hold no more than a few days beyond six.

    What is kept for good is made by the two days before; the least of two peaks is the writer's own.
    """
    _peak(folder_store, 2)
    six, thirty = (min(_peak(folder_store, count) for _ in range(2)) for count in (6, 30))
    assert thirty < six + 3 * 0.61e6


def _peak(store: Store, count: int) -> int:
    """Bytes that are held at the most while so many lead days are written."""
    grid = small.SYSTEM.grid.model_copy(update={"rows": 50, "columns": 50, "longitude_step": 0.5})
    system = small.SYSTEM.model_copy(update={"forecast_days": count - 1, "grid": grid, "kuroshio_grid": None})
    tracemalloc.start()
    try:
        with ProductWriter(store, f"{count}.zarr", OCEAN, system, small.CYCLE, small.facts()) as writing:
            for lead in range(count):
                writing.write(_uniform_day(system, lead))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _uniform_day(system, lead: int):
    frame = produce.layout(OCEAN, system, small.CYCLE, small.facts()).isel(time=[lead])
    for item in OCEAN.variables:
        dims = produce.dims(item, OCEAN)
        values = np.full(tuple(frame.sizes[dim] for dim in dims), lead, dtype=np.float32)
        frame[item.name] = (dims, values, produce.field_attributes(item, OCEAN))
    return frame


def test_published_metadata_is_the_metadata_that_was_checked_in() -> None:
    """A change of what readers get is a diff of ``product_metadata.json``.

    To accept one: ``python -m tests.test_writer``.
    """
    assert json.loads(CHECKED_IN.read_text()) == product_metadata()


def product_metadata() -> dict[str, object]:
    """Every ``zarr.json`` of every product of the small ocean."""
    found = {}
    for entry in PRODUCTS:
        objects = shards.Shards(entry, small.SYSTEM, small.CYCLE, small.facts()).metadata
        found |= {
            f"{entry.name}.zarr/{path}": _without_copies(json.loads(data))
            for path, data in objects.items()
            if path.endswith("zarr.json")
        }
    return found


def _without_copies(document: dict[str, object]) -> dict[str, object]:
    """The root repeats its arrays' metadata for readers in a hurry; once is enough here."""
    return {name: value for name, value in document.items() if name != "consolidated_metadata"}


def test_the_root_repeats_the_metadata_of_its_arrays_exactly() -> None:
    for entry in PRODUCTS:
        objects = shards.Shards(entry, small.SYSTEM, small.CYCLE, small.facts()).metadata
        copies = json.loads(objects["zarr.json"])["consolidated_metadata"]["metadata"]
        assert copies == {
            path.removesuffix("/zarr.json"): json.loads(data)
            for path, data in objects.items()
            if path.endswith("/zarr.json")
        }


def test_the_names_of_an_editions_products_are_the_systems(folder_store: Store) -> None:
    made = edition.Edition(folder_store, small.SYSTEM, small.CYCLE, small.facts(left_out={"waves": "none came"}))
    assert [entry.name for entry in made.entries] == ["ocean", "biogeochemistry", "kuroshio"]
    assert made.product_prefix(OCEAN) == "small/cycles/20240227T12/r1/ocean.zarr"


if __name__ == "__main__":
    CHECKED_IN.write_text(json.dumps(product_metadata(), indent=1, sort_keys=True) + "\n")
