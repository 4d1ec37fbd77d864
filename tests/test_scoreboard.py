"""Every score of a system in one Zarr: what is put in comes out, day by day, in any order and again."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
import xarray as xr

from pipeline import products, verify
from pipeline.scoring.scoreboard import Board, Scored, identity
from tests import small_ocean as small
from tests import test_verify as verified

DAY = timedelta(days=1)
NUMBER = identity("perfect", "")


def moments(late, lead):
    return verify.verify(verified.product(late), products.WAVES, small.SYSTEM, verified.truth, normal=verified.normal,
                         lead_days=[lead])  # fmt: skip


@pytest.fixture(scope="module")
def scored():
    return {(late, lead): moments(late, lead) for late in (0, 1) for lead in (1, 2)}


def board(store):
    return Board(store, small.SYSTEM, products.WAVES)


def test_what_is_put_in_is_read_by_any_reader_of_zarr(folder_store, scored) -> None:
    first, second = small.START + DAY, small.START + 2 * DAY
    board(folder_store).add(second, [Scored(2, 1, NUMBER, scored[1, 2])])
    board(folder_store).add(first, [Scored(1, 1, NUMBER, scored[1, 1])])
    found = xr.open_zarr(folder_store.address("small/scores/scores.zarr/waves"), chunks=None).sortby("valid_time")
    assert found["lead_day"].values.tolist() == [1, 2, 3, 4]
    assert found["by"].values.tolist() == ["forecast", "persistence", "damped", "climatology"]
    assert [str(when)[:13] for when in found["valid_time"].values] == ["2024-02-28T12", "2024-02-29T12"]
    error = np.sqrt(found["mean_square_error"].sel(by="forecast", channel="swh", region="everywhere"))
    np.testing.assert_allclose(error.values[[0, 1], [0, 1]], 0.1, rtol=1e-5)
    assert np.isnan(error.values[0, 1])
    for name in ("bias", "anomaly_covariance", "weight", "truth_anomaly_variance"):
        np.testing.assert_allclose(found[name].isel(valid_time=0).sel(lead_day=1).squeeze().values,
                                   scored[1, 1][name].squeeze().values, rtol=1e-6)  # fmt: skip


def test_a_day_takes_what_comes_later_and_the_same_again_is_the_same_bytes(folder_store, scored) -> None:
    day = small.START + 2 * DAY
    board(folder_store).add(day, [Scored(2, 1, NUMBER, scored[1, 2])])
    before = {path: folder_store.read_bytes(path) for path, _ in folder_store.objects("small")}
    board(folder_store).add(day, [Scored(2, 1, NUMBER, scored[1, 2])])
    assert {path: folder_store.read_bytes(path) for path, _ in folder_store.objects("small")} == before
    board(folder_store).add(day, [Scored(1, 2, NUMBER, scored[0, 1])])
    assert board(folder_store).revisions(day) == {1: 2, 2: 1}
    assert board(folder_store).days == (day,)
    kept = board(folder_store).opened()["mean_square_error"].sel(by="forecast", channel="swh", region="everywhere")
    np.testing.assert_allclose(kept.values[0, :2], [0.0, 0.01], atol=1e-7)


def test_a_day_that_a_killed_run_left_half_put_is_not_there(folder_store, scored) -> None:
    """Killed before the list of days was written: the next run scores the day, and the one before stands."""
    first, second = small.START + DAY, small.START + 2 * DAY
    board(folder_store).add(first, [Scored(1, 1, NUMBER, scored[1, 1])])

    class Killed(Exception):
        pass

    def dies(path, data):
        if path.endswith("valid_time/c/0"):
            raise Killed
        return put(path, data)

    half = board(folder_store)
    put, folder_store.write_bytes = folder_store.write_bytes, dies
    with pytest.raises(Killed):
        half.add(second, [Scored(2, 1, NUMBER, scored[1, 2])])
    folder_store.write_bytes = put
    assert board(folder_store).days == (first,)
    board(folder_store).add(second, [Scored(2, 1, NUMBER, scored[1, 2])])
    assert board(folder_store).days == (first, second)
    assert board(folder_store).revisions(first) == {1: 1}
