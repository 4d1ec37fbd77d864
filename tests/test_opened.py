"""A product read through the store's own door: the same as by its address, and never less without a word."""

from __future__ import annotations

import pytest
import xarray as xr

from pipeline.errors import StoreError
from pipeline.objects.opened import opened
from pipeline.store import Store

PRODUCT = "small-sea/cycles/20230101T00/r1/ocean.zarr"


def test_a_product_is_the_same_as_by_its_address(both_days: tuple[Store, Store], any_store: Store) -> None:
    for path, _ in both_days[0].objects(PRODUCT):
        any_store.write_bytes(path, both_days[0].read_bytes(path))
    with xr.open_zarr(both_days[0].address(PRODUCT), chunks=None) as wanted, opened(any_store, PRODUCT) as found:
        xr.testing.assert_identical(found.load(), wanted.load())
        assert {name: field.encoding["chunks"] for name, field in found.data_vars.items()} == {
            name: field.encoding["chunks"] for name, field in wanted.data_vars.items()
        }


def test_a_part_of_an_object_is_its_bytes_from_here_to_there(any_store: Store) -> None:
    any_store.write_bytes("a", b"0123456789")
    assert any_store.find_part("a", 2, 5) == b"234"
    assert any_store.find_part("a", 7, None) == b"789"
    assert any_store.find_part("a", -4, None) == b"6789"
    assert any_store.find_part("none", 0, 1) is None


@pytest.mark.parametrize("lost", ["to/c/3/0/0/0", "forecast_reference_time/c", "zarr.json"])
def test_what_is_missing_is_an_error_and_not_a_missing_value(first_day: Store, lost: str) -> None:
    first_day.delete(f"{PRODUCT}/{lost}")
    with (
        pytest.raises(StoreError, match=rf"needed the object {PRODUCT}/{lost}; found nothing there"),
        opened(first_day, PRODUCT) as product,
    ):
        product["to"].load()
