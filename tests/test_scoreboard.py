"""Every score of a system in one Zarr: what is put in comes out, day by day, in any order and again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import shelves
import xarray as xr

from flows.clock import now
from flows.journey import verification
from flows.service import scoring
from pipeline import products, verify
from pipeline.errors import CycleHeld, StoreError
from pipeline.operations import retention
from pipeline.operations.retention import What
from pipeline.record import lock
from pipeline.scoring import regions, scoreboard, scores
from pipeline.scoring.scoreboard import Board, Scored, identity
from pipeline.store import to_json
from tests import small_ocean as small
from tests import test_verify as verified

ROOT = Path(__file__).parents[1]
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


def test_a_chunk_with_one_wrong_bit_is_never_taken_for_scores(folder_store, scored) -> None:
    day = small.START + 2 * DAY
    board(folder_store).add(day, [Scored(2, 1, NUMBER, scored[1, 2])])
    path = "small/scores/scores.zarr/waves/revision/c/0/0"
    whole = folder_store.read_bytes(path)
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        folder_store.write_bytes(path, bytes(damaged))
        with pytest.raises(StoreError, match="a whole board of scores"):
            board(folder_store).revisions(day)
    folder_store.write_bytes(path, whole)
    assert board(folder_store).revisions(day)[2] == 1


def test_a_board_begun_without_checksums_goes_on_without(folder_store, scored, monkeypatch) -> None:
    first, second = small.START + DAY, small.START + 2 * DAY
    with monkeypatch.context() as before:
        before.setattr(scoreboard, "CODECS", scoreboard.CODECS[:1])
        board(folder_store).add(second, [Scored(2, 1, NUMBER, scored[1, 2])])
    board(folder_store).add(first, [Scored(1, 1, NUMBER, scored[1, 1])])
    assert [board(folder_store).revisions(day) for day in (first, second)] == [{1: 1}, {2: 1}]
    found = xr.open_zarr(folder_store.address("small/scores/scores.zarr/waves"), chunks=None)
    assert np.isfinite(found["mean_square_error"].sel(by="forecast").values).any(axis=(1, 2, 3)).all()


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


# --------------------------------------------------------------------------------------------- regions that came since

SOUTH = regions.Region(name="south", title="South", south=20, north=25, west=120, east=134)
NORTH = regions.Region(name="north", title="North", south=25, north=30, west=120, east=134)
CHANNELS = ["swh", "mwp", "mwd"]
BY = ["forecast", "persistence", "damped", "climatology"]


def made_up(error, *places):
    """Scores of each region, errors 1 higher in every further one."""
    values = (error + np.arange(len(places))) * np.ones((4, 3, 1))
    return xr.Dataset(
        {"mean_square_error": (("by", "channel", "region"), values), "weight": (("channel", "region"), values[0])},
        coords={"by": BY, "channel": CHANNELS, "region": list(places)},
    )  # fmt: skip


def errors(store, lead=1):
    """Day by region, as any reader of Zarr has them."""
    with xr.open_zarr(store.address("small/scores/scores.zarr/waves"), chunks=None) as found:
        return found["mean_square_error"].sel(by="forecast", channel="mwp", lead_day=lead).load()


def test_a_board_takes_regions_that_came_since_behind_its_own(folder_store, monkeypatch) -> None:
    monkeypatch.setattr(regions, "REGIONS", (regions.EVERYWHERE, SOUTH))
    board(folder_store).add(small.START + DAY, [Scored(1, 1, NUMBER, made_up(1.0, "everywhere", "south"))])
    before = {path: folder_store.read_bytes(path) for path, _ in folder_store.objects("small") if "/c/" in path}
    monkeypatch.setattr(regions, "REGIONS", (regions.EVERYWHERE, NORTH, SOUTH))
    both = made_up(5.0, "everywhere", "north", "south")
    board(folder_store).add(small.START + 2 * DAY, [Scored(1, 1, NUMBER, both)])
    found = errors(folder_store)
    assert found["region"].values.tolist() == ["everywhere", "south", "north"]
    np.testing.assert_array_equal(found.values, [[1.0, 2.0, np.nan], [5.0, 7.0, 6.0]])
    now = {path: folder_store.read_bytes(path) for path in before}
    assert [path for path in before if now[path] != before[path]] == ["small/scores/scores.zarr/waves/valid_time/c/0"]
    board(folder_store).add(small.START + DAY, [Scored(2, 1, NUMBER, both)])  # the first day is scored once more
    np.testing.assert_array_equal(errors(folder_store)[0], [1.0, 2.0, np.nan])
    np.testing.assert_array_equal(errors(folder_store, lead=2)[0], [5.0, 7.0, 6.0])
    assert board(folder_store).revisions(small.START + DAY) == {1: 1, 2: 1}


def test_the_kept_moments_of_an_edition_begin_anew_with_other_regions(folder_store, scored) -> None:
    """They are of a few drawn lead days, and its table keeps the others."""
    folder_store.write_bytes("kept.nc", scores.netcdf(scored[1, 1]))
    both = scores._with_what_is_there(folder_store, "kept.nc", scored[1, 2])
    assert both["lead_day"].values.tolist() == [1, 2]
    more = xr.concat([scored[1, 2], scored[1, 2].assign_coords(region=["south"])], "region")
    alone = scores._with_what_is_there(folder_store, "kept.nc", more)
    assert (alone["lead_day"].values.tolist(), alone["region"].values.tolist()) == ([2], ["everywhere", "south"])


def test_a_board_goes_on_with_a_region_that_is_no_more(folder_store, monkeypatch) -> None:
    monkeypatch.setattr(regions, "REGIONS", (regions.EVERYWHERE, SOUTH))
    board(folder_store).add(small.START + DAY, [Scored(1, 1, NUMBER, made_up(1.0, "everywhere", "south"))])
    monkeypatch.setattr(regions, "REGIONS", (regions.EVERYWHERE,))
    board(folder_store).add(small.START + 2 * DAY, [Scored(1, 1, NUMBER, made_up(5.0, "everywhere"))])
    np.testing.assert_array_equal(errors(folder_store).values, [[1.0, 2.0], [5.0, np.nan]])


def test_a_board_of_other_lead_days_is_refused_and_left_as_it_is(folder_store) -> None:
    board(folder_store).add(small.START + DAY, [Scored(1, 1, NUMBER, made_up(1.0, "everywhere"))])
    before = folder_store.objects("")
    longer = small.SYSTEM.model_copy(update={"forecast_days": 6})
    with pytest.raises(StoreError, match=r"by lead_day \[1, 2, 3, 4, 5, 6\].* found \[1, 2, 3, 4\].* begins it anew"):
        Board(folder_store, longer, products.WAVES)
    assert folder_store.objects("") == before


# ------------------------------------------------------------------------------------------------------ old days go

KEPT = shelves.system(scores_days=3)


def tend(store, hours):
    moment = shelves.MOMENT + timedelta(hours=hours)
    plan = retention.plan(store, KEPT, moment)
    return plan, retention.apply(store, plan, "housekeeping", shelves.holder(store, moment))


def scored_days(store, count, first=0):
    made = Board(store, KEPT, products.WAVES)
    for day in range(first, first + count):
        made.add(small.START + day * DAY, [Scored(1, 1, NUMBER, made_up(day, "everywhere"))])
    return made


def test_the_newest_days_are_kept_and_the_others_leave_sight_before_they_go(any_store) -> None:
    scored_days(any_store, 5)
    before = any_store.objects("")
    plan, done = tend(any_store, 0)
    assert [(item.what, item.why) for item in plan.removals] == [
        (What.SCORES_SIGHT, "waves: 2 days older than the newest 3")
    ]
    assert (plan.freed_bytes, done.kept) == (0, ())
    made = Board(any_store, KEPT, products.WAVES)
    assert made.days == tuple(small.START + day * DAY for day in (2, 3, 4))
    assert (made.takes(small.START + 2 * DAY), made.takes(small.START + DAY)) == (True, False)
    assert made.opened().attrs["kept_from"] == (small.START + 2 * DAY).isoformat()
    assert len(made.objects_before(small.START + 2 * DAY)) == 2 * len(made._shapes)
    assert {path for path, _ in before} <= {path for path, _ in any_store.objects("")}
    assert tend(any_store, 11)[0].removals == ()
    plan, done = tend(any_store, 12)
    assert ([item.what for item in done.removed], plan.freed_bytes > 0) == ([What.SCORES], True)
    assert made.objects_before(small.START + 2 * DAY) == {}
    assert tend(any_store, 12)[0].removals == ()


def test_what_is_left_reads_as_before_and_days_go_on_being_added(folder_store) -> None:
    scored_days(folder_store, 5)
    tend(folder_store, 0)
    tend(folder_store, 12)
    scored_days(folder_store, 1, first=5)
    found = errors(folder_store).sel(region="everywhere")
    np.testing.assert_array_equal(found.values, [np.nan, np.nan, 2.0, 3.0, 4.0, 5.0])
    assert Board(folder_store, KEPT, products.WAVES).revisions(small.START) == {}
    plan, _ = tend(folder_store, 36)
    assert [item.why for item in plan.removals] == ["waves: 1 days older than the newest 3"]


def test_a_day_older_than_what_is_kept_is_not_scored_again_and_that_is_said(folder_store, capsys) -> None:
    scored_days(folder_store, 5)
    tend(folder_store, 0)
    before, forecast = folder_store.objects(""), SimpleNamespace(lead_days=2, products={"waves"}, revision=1)
    asked = scoring.Scoring(None, KEPT, folder_store, shelves.MOMENT)
    editions = {small.CYCLE._replace(start=small.START - DAY): forecast}  # valid on the first two days
    assert scoring.score_product.fn(asked, products.WAVES, editions, ()) == []
    assert "waves: 2 days up to 2024-02-28 are older than the scores that are kept (scores_days 3)" in " ".join(
        capsys.readouterr().err.split()
    )
    assert folder_store.objects("") == before


@pytest.mark.parametrize("leads", [(), (2, 4)])
def test_lead_days_that_the_system_forecasts_no_more_are_not_due(folder_store, scored, leads) -> None:
    """Published with four; those two that are left have their places on a board that begins anew."""
    shorter = small.SYSTEM.model_copy(update={"forecast_days": 2})
    asked = scoring.Scoring(None, shorter, folder_store, small.START + 9 * DAY)
    forecast = SimpleNamespace(lead_days=4, products={"waves"}, revision=1)
    found = scoring.dues(asked, products.WAVES, {small.CYCLE: forecast}, leads)
    assert [item.lead_day for due in found.values() for item in due] == ([2] if leads else [1, 2])
    for valid, due in found.items():
        added = [Scored(item.lead_day, 1, NUMBER, scored[0, item.lead_day]) for item in due]
        Board(folder_store, shorter, products.WAVES).add(valid, added)


def test_a_board_that_was_added_to_since_the_plan_is_left_for_the_next_time(folder_store) -> None:
    scored_days(folder_store, 5)
    plan = retention.plan(folder_store, KEPT, shelves.MOMENT)
    scored_days(folder_store, 1, first=5)
    done = retention.apply(folder_store, plan, "housekeeping", shelves.holder(folder_store))
    assert done.removed == ()
    assert [item.why for item in done.kept] == ["small/scores/scores.zarr/waves changed since the plan"]
    assert len(Board(folder_store, KEPT, products.WAVES).days) == 6


# --------------------------------------------------------------------------------------------- one writer at a time


def verify_days(store, days):
    """What a verification does to the board."""
    with verification.alone(store, "small") as ours:
        made = Board(ours, small.SYSTEM, products.WAVES)
        for day in days:
            made.add(small.START + day * DAY, [Scored(1, 1, NUMBER, made_up(day, "everywhere"))])


def test_two_verifications_at_once_lose_no_day(any_store, monkeypatch) -> None:
    monkeypatch.setattr(verification, "ASKED_AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(verification, "PATIENCE_SECONDS", 600.0)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda days: verify_days(any_store, days), [(0, 2, 4), (1, 3, 5)]))
    made = board(any_store)
    assert sorted(made.days) == [small.START + day * DAY for day in range(6)]
    found = made.opened()["mean_square_error"].sel(by="forecast", channel="swh", lead_day=1, region="everywhere")
    np.testing.assert_array_equal(found.sortby("valid_time").values, range(6))
    held = lock.holder(any_store, lock.Scores("small"))
    assert (held.fence, held.released) == (2, True)


def test_a_holder_that_died_is_succeeded_after_its_lease(any_store, monkeypatch) -> None:
    monkeypatch.setattr(verification, "PATIENCE_SECONDS", 0.0)
    small_scores = lock.Scores("small")

    def left_by_another(expires) -> None:
        lease = lock.Lease(owner="process 7 on elsewhere", token="x", fence=1, since=expires, expires=expires)
        any_store.write_bytes(lock.path(small_scores), to_json(lease.model_dump(mode="json")))

    left_by_another(now() + timedelta(hours=1))
    with pytest.raises(CycleHeld, match=r"the scores of system small .* held by process 7 on elsewhere") as refused:
        verify_days(any_store, [0])
    assert (refused.value.exit_code, board(any_store).days) == (7, ())
    left_by_another(now() - timedelta(seconds=1))
    verify_days(any_store, [0])
    assert board(any_store).days == (small.START,)


PAUSED = """
import os, signal, sys
from datetime import timedelta
from flows.journey import verification
from pipeline import products
from pipeline.errors import CycleHeld
from pipeline.scoring.scoreboard import Board
from pipeline.store import Store
from tests import small_ocean as small
try:
    with verification.alone(Store(sys.argv[1]), "small") as ours:
        made = Board(ours, small.SYSTEM, products.WAVES)
        os.kill(os.getpid(), signal.SIGSTOP)
        made.add(small.START, [])
except CycleHeld as error:
    print(error)
    sys.exit(error.exit_code)
"""


def test_a_verification_that_was_paused_past_its_lease_writes_nothing_when_it_wakes(folder_store, monkeypatch) -> None:
    """A real process, stopped when it has read the board; the next one waits for it, and adds a day."""
    monkeypatch.setenv("GOMS_LEASE_SECONDS", "10")
    monkeypatch.setattr(verification, "PATIENCE_SECONDS", 600.0)
    command = [sys.executable, "-c", PAUSED, folder_store.uri]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as paused:
        try:
            os.waitid(os.P_PID, paused.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            verify_days(folder_store, [1])
            before = {path: folder_store.read_bytes(path) for path, _ in folder_store.objects("")}
            paused.send_signal(signal.SIGCONT)
            said, _ = paused.communicate(timeout=600)
        finally:
            paused.kill()
    assert (paused.returncode, f"held by process {os.getpid()} on" in said) == (7, True), said
    assert {path: folder_store.read_bytes(path) for path, _ in folder_store.objects("")} == before
    assert errors(folder_store).sel(region="everywhere").values.tolist() == [1.0]
