"""The first look at a field: its figures level by level, whatever its levels lack, and quietly in its threads."""

from __future__ import annotations

import threading
import time
import warnings

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from dask.delayed import delayed

from pipeline.gate import reading

PLANE = ("depth", "latitude", "longitude")


def field() -> xr.DataArray:
    """Six levels of which each other one is without a value, as the deepest of an ocean."""
    values = np.random.default_rng(0).random((6, 5, 7), dtype=np.float32)
    values[1::2] = np.nan
    values[0, :2] = np.nan
    return xr.DataArray(values, dims=PLANE)


@pytest.mark.parametrize("sizes", [None, {"depth": 1}, {"depth": 1, "latitude": 2}], ids=str)
def test_the_figures_are_those_of_the_finite_cells(sizes: dict[str, int] | None) -> None:
    lazy = field() if sizes is None else field().chunk(sizes)
    found = reading._levels(lazy)
    flat = field().values.reshape(6, -1)
    assert found.finite.tolist() == np.isfinite(flat).sum(axis=1).tolist()
    for level in (0, 2, 4):
        assert (found.least[level], found.greatest[level]) == (np.nanmin(flat[level]), np.nanmax(flat[level]))
    np.testing.assert_allclose(found.total, np.nansum(flat, axis=1, dtype=np.float64))
    assert np.isnan(found.least[1::2]).all()
    assert np.isnan(found.greatest[1::2]).all()


def test_no_thread_changes_the_filters_of_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the whole process's: of two threads that save, change and restore them one loses its change."""
    changed = list[threading.Thread]()
    enter = warnings.catch_warnings.__enter__

    def watched(filters: warnings.catch_warnings[None]) -> None:
        changed.append(threading.current_thread())
        enter(filters)

    monkeypatch.setattr(warnings.catch_warnings, "__enter__", watched)
    with warnings.catch_warnings():
        reading._levels(field().chunk({"depth": 1}))
    assert set(changed) == {threading.current_thread()}


def test_when_a_level_cannot_be_read_no_thread_reads_on():
    """What is opened next, of the same library, would meet it there: netCDF-C bears no two threads at a time."""
    reads, released = list[str](), threading.Event()

    def read(level: int) -> np.ndarray:
        if level == 0:
            released.wait(60)
            raise OSError("damaged")
        released.set()
        time.sleep(0.2)
        reads.append("ended")
        return np.zeros((5, 7), np.float32)

    planes = [da.from_delayed(delayed(read)(level), (5, 7), np.float32) for level in range(2)]
    with pytest.raises(OSError, match="damaged"):
        reading._levels(xr.DataArray(da.stack(planes), dims=PLANE))
    assert reads == ["ended"]
