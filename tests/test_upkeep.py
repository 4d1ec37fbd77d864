"""Housekeeping as operators and deployments run it: the plan, the removal, pins, the storage report, the scratch."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from journeys import Here
from small_disk import SmallDisk
from small_goms import SMALL_SEA

from flows import clock
from flows.progress import PROGRESS, Progress
from flows.service import upkeep
from pipeline import publish, systems
from pipeline.cycle import cycle
from pipeline.objects.slab_cache import SlabCache
from pipeline.operations import pins, retention
from pipeline.record import journal
from pipeline.record.journal import Event, Note
from pipeline.record.latest import latest
from pipeline.store import Store
from pipeline.systems import Retention

FIRST, SECOND = (cycle("small-sea", day, 0) for day in ("2023-01-01", "2023-01-02"))


@pytest.fixture
def sea(here: Here, monkeypatch: pytest.MonkeyPatch) -> Here:
    """The small sea keeps its newest forecast, and others for a week; the clock is 30 days ahead."""

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(days=30)

    entry = SMALL_SEA.model_copy(update={"retention": Retention(keep_days=7.0, keep_newest=1, reading_hours=0.0)})
    monkeypatch.setattr(clock, "datetime", Ahead)
    monkeypatch.setattr(systems, "SYSTEMS", (entry,))
    return here


@pytest.fixture
def two_days(both_days: tuple[Store, Store], tmp_path: Path) -> Store:
    shutil.copytree(both_days[1].address(""), tmp_path / "store")
    return Store(tmp_path / "store")


def test_a_plan_is_shown_and_done_only_when_asked(sea: Here, two_days: Store) -> None:
    before = two_days.objects("")
    shown = sea("housekeeping", "--store", two_days.uri)
    assert shown.code == 0, shown.err
    assert "20230101T00 r1" in shown.out
    assert "nothing was removed: goms housekeeping --apply" in shown.out
    assert two_days.objects("") == before
    for _ in range(2):  # out of sight, then out of the store
        done = sea("housekeeping", "--apply", "--store", two_days.uri)
        assert done.code == 0, done.err
    assert publish.published(two_days, FIRST) is None
    assert two_days.objects(FIRST.published_prefix) == []
    assert publish.published(two_days, SECOND) == 1
    named = latest(two_days, "small-sea")
    assert named is not None
    assert named.cycle == SECOND.key
    assert "nothing is past its time" in sea("housekeeping", "--store", two_days.uri).out


def test_the_flow_does_the_same_and_says_so(sea: Here, two_days: Store) -> None:
    from flows.service.housekeeping import housekeeping

    planned = retention.plan(two_days, systems.SYSTEMS[0], clock.now())
    state = housekeeping(two_days.uri, return_state=True)
    assert state.is_completed()
    assert state.message == f"{len(planned.removals)} removed, {upkeep.readable(planned.freed_bytes)} freed"
    assert publish.published(two_days, FIRST) is None
    two_days.write_bytes("small-sea/latest.json", b"{")
    failed = housekeeping(two_days.uri, return_state=True)
    assert failed.is_failed()
    assert "needed a whole Latest" in str(failed.message)


def test_the_flow_counts_what_it_removed_and_not_what_it_planned(
    sea: Here, two_days: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody pins the forecast that was to go, after the plan was made."""
    from flows.service.housekeeping import housekeeping

    plan, planned = retention.plan, list[retention.Plan]()

    def then_pinned(store: Store, *asked: Any) -> retention.Plan:
        made = plan(store, *asked)
        planned.append(made)
        pins.pin(store, FIRST, pins.Pin(who="ann", when=clock.now(), why="the storm's case study"))
        return made

    monkeypatch.setattr(retention, "plan", then_pinned)
    state = housekeeping(two_days.uri, return_state=True)
    others = [item for item in planned[0].removals if item.cycle != FIRST.key]
    assert len(others) < len(planned[0].removals)
    assert state.message == f"{len(others)} removed, {upkeep.readable(sum(item.size_bytes for item in others))} freed"
    assert publish.published(two_days, FIRST) == 1


def test_a_pinned_forecast_is_kept_and_said(sea: Here, two_days: Store) -> None:
    where = ("--system", "small-sea", "--store", two_days.uri)
    assert sea("pin", "2023-01-01", "--reason", "the storm's case study", *where).code == 0
    shown = sea("housekeeping", "--apply", *where)
    assert "kept: 20230101T00: pinned by " in shown.out
    assert "the storm's case study" in shown.out
    assert publish.published(two_days, FIRST) == 1
    assert sea("unpin", "2023-01-01", *where).code == 0
    assert sea("unpin", "2023-01-01", *where).code == 2
    sea("housekeeping", "--apply", *where)
    assert publish.published(two_days, FIRST) is None


def test_storage_is_told_to_the_byte(sea: Here, two_days: Store) -> None:
    told = sea("storage", "--store", two_days.uri)
    objects = two_days.objects("small-sea")
    assert told.code == 0, told.err
    total = upkeep.readable(sum(size for _, size in objects))
    assert f"small-sea: {total} in {len(objects)} objects" in told.out
    for word in ("ocean", "waves", "quicklooks", "state", "older", "20230102T00"):
        assert word in told.out


def test_storage_tells_what_is_no_systems_too(sea: Here, folder_store: Store) -> None:
    for path, size in (("cache/slabs/20230101/a", 4000), ("cache/x", 1), ("an-old-sea/latest.json", 10)):
        folder_store.write_bytes(path, bytes(size))
    Path(folder_store.address(".incoming/put")).write_bytes(bytes(500))
    told = sea("storage", "--store", folder_store.uri)
    assert told.out.splitlines() == [
        "small-sea: nothing", "slabs fetched: 4.0 kB in 1 objects", "puts that have not ended: 500 B in 1 objects",
        "an-old-sea/, of no known system: 10 B in 1 objects", "cache/, of no known system: 1 B in 1 objects",
    ]  # fmt: skip


def test_scratch_and_logs_of_long_ago_are_swept(sea: Here, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    ages = {"small-sea/20230101T00/a": 5, "small-sea/20230102T00/a": 3, "logs/small-sea/20230101T00.jsonl": 401,
            "logs/small-sea/20230102T00.jsonl": 399, "prefect/empty.db": 999,
            "archive/20220101-a1b2/native.nc": 5, "archive/20220102-c3d4/native.nc": 1}  # fmt: skip
    moment = touch(scratch, ages)
    swept = {path.relative_to(scratch).as_posix() for path in upkeep.sweep(scratch, systems.SYSTEMS[0], moment)}
    assert swept == {"small-sea/20230101T00", "logs/small-sea/20230101T00.jsonl", "archive/20220101-a1b2"}
    assert (scratch / "prefect/empty.db").exists()


def touch(scratch: Path, ages: dict[str, float]) -> datetime:
    """Files in the scratch folder, they and their folders so many days old; gives the moment that is from."""
    moment = clock.now()
    for name, days in ages.items():
        path = scratch / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
        when = (moment - timedelta(days=days)).timestamp()
        for touched in (path, path.parent):
            os.utime(touched, (when, when))
    return moment


def test_of_folders_that_are_always_in_use_goes_what_is_old_in_them(sea: Here, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    moment = touch(scratch, {
        "small-sea/scores/twin/ocean_20230101/a.nc": 5, "small-sea/scores/twin/ocean_20230105/a.nc": 1,
        "small-sea/scores/cache/slabs/20230101/abc": 5, "small-sea/20230105T00/inputs/old": 5,
        "small-sea/20230105T00/young": 1, "climatology/twin/old/a.nc": 5, "climatology/twin/young/a.nc": 1,
        "prefect/run-killed/prefect.db": 5, "prefect/run-alive/prefect.db": 1, "prefect/storage/x": 9,
    })  # fmt: skip
    swept = {path.relative_to(scratch).as_posix() for path in upkeep.sweep(scratch, systems.SYSTEMS[0], moment)}
    assert swept == {"small-sea/scores/twin/ocean_20230101", "small-sea/scores/cache", "climatology/twin/old",
                     "prefect/run-killed"}  # fmt: skip
    assert (scratch / "small-sea/20230105T00/inputs/old").exists(), "a run may need it"
    assert (scratch / "small-sea/scores/twin/ocean_20230105/a.nc").exists()


def test_what_cannot_be_swept_breaks_nothing_off(
    sea: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A link to nothing is a file; a file that its writer renames meanwhile is young; what is refused is said."""
    scratch = tmp_path / "scratch"
    folder = scratch / "small-sea"
    moment = touch(scratch, {f"small-sea/{name}/a": 5 for name in ("busy", "link", "refused", "then")})
    link, busy, when = folder / "link" / "to", folder / "busy", (moment - timedelta(days=5)).timestamp()
    link.symlink_to("nothing")
    os.utime(link, (when, when), follow_symlinks=False)
    os.utime(link.parent, (when, when))
    rglob, rmtree = Path.rglob, shutil.rmtree

    def renamed(path: Path, names: str) -> Iterator[Path]:
        for found in rglob(path, names):
            if found == busy / "a":
                found.rename(busy / "b")
            yield found

    def refused(path: Path) -> None:
        if path.name == "refused":
            raise PermissionError(13, "Permission denied", str(path))
        rmtree(path)

    PROGRESS.set(Progress())
    monkeypatch.setattr(Path, "rglob", renamed)
    monkeypatch.setattr(shutil, "rmtree", refused)
    assert {path.name for path in upkeep.sweep(scratch, systems.SYSTEMS[0], moment)} == {"link", "then"}
    assert (busy / "b").exists()
    assert f"left in the scratch folder: [Errno 13] Permission denied: '{folder / 'refused'}'" in told(capsys)


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """What was said, its lines joined."""
    return capsys.readouterr().err.replace("\n", "")


def test_on_a_full_disk_what_needs_no_room_goes_first_and_makes_room_for_the_rest(
    sea: Here, small_disk: SmallDisk
) -> None:
    """Of a run that was given up its state goes, which needs a lock, and that a file."""
    store = Store(small_disk.folder / "store")
    begun = Note(when=FIRST.start, event=Event.BEGUN, who="someone", words="r1")
    journal.note(store, FIRST, begun)
    store.write_bytes(f"{FIRST.run_prefix}/staged/ocean.npz", bytes(20_000))
    store.write_bytes("cache/slabs/20230101/abc", bytes(8_000))
    put = Path(store.address(".incoming/ocean.npz.a1b2"))
    put.write_bytes(bytes(8_000))
    os.utime(put, (FIRST.start.timestamp(), FIRST.start.timestamp()))
    planned = sea("housekeeping", "--store", store.uri)
    assert "puts that never ended: 1, 8.0 kB would be freed" in planned.out
    small_disk.leave(0)
    done = sea("housekeeping", "--apply", "--store", store.uri)
    assert done.code == 0, done.err
    assert "puts that never ended: 1, 8.0 kB freed" in done.out
    assert not put.exists()
    assert store.objects("cache") == store.objects(f"{FIRST.run_prefix}/staged") == []


def test_a_system_that_fails_keeps_nothing_else_from_being_tended(
    sea: Here, two_days: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = SMALL_SEA.model_copy(update={"name": "other-sea"})
    monkeypatch.setattr(systems, "SYSTEMS", (other, *systems.SYSTEMS))
    two_days.write_bytes("other-sea/latest.json", b"{")
    two_days.write_bytes("cache/slabs/20230101/abc", bytes(8_000))
    done = sea("housekeeping", "--apply", "--store", two_days.uri)
    assert (done.code, "needed a whole Latest" in done.err) == (6, True)
    assert publish.published(two_days, FIRST) is None
    assert "20230101T00 r1" in done.out
    assert two_days.objects("cache") == []


def test_housekeeping_removes_slabs_of_long_ago_and_nobody_takes_the_cache_for_a_system(
    first_day: Store, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kept for two days: those of three days ago go, those of yesterday stay; a plan removes nothing."""
    monkeypatch.setenv("GOMS_CACHE_DAYS", "2")
    for days in (3, 1):
        SlabCache(first_day, clock.now() - timedelta(days=days)).put(f"of {days} days ago", np.arange(12.0))
    before = first_day.objects("cache")
    entry = len(first_day.read_bytes(before[0][0]))
    for command in ("status", "storage", "metrics --once", "watch --once"):
        answer = here(*command.split(), "--store", first_day.uri)
        assert answer.code == 0, (command, answer.err)
        assert "cache" not in answer.out + answer.err
    planned = here("housekeeping", "--store", first_day.uri)
    assert f"slabs fetched more than 2 days ago: {entry} B would be freed" in planned.out
    assert first_day.objects("cache") == before
    done = here("housekeeping", "--apply", "--store", first_day.uri)
    assert f"slabs fetched more than 2 days ago: {entry} B freed" in done.out
    assert [path.rpartition("/")[2] for path, _ in first_day.objects("cache")] == ["of 1 days ago"]
