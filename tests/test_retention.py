"""Retention: what is removed, what never is, in which order, and that being killed in the middle costs nothing."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError
from s3_server import S3Server
from shelves import MOMENT, POLICY, SMALL, days_ago, holder, locked, noted, published, system, unfinished

from pipeline import publish
from pipeline.cycle import Cycle
from pipeline.errors import StoreError, UsageError
from pipeline.objects import bucket
from pipeline.operations import pins, retention
from pipeline.operations.pins import Pin
from pipeline.operations.retention import Kept, Plan, Removal, What
from pipeline.record import journal, judgement, lock
from pipeline.record import shelf as shelves
from pipeline.record.journal import Event
from pipeline.record.judgement import Judgement
from pipeline.record.latest import latest
from pipeline.store import Store
from pipeline.systems import Retention, System

PIN = Pin(who="someone", when=MOMENT, why="a case study")


def goes(plan: Plan) -> set[tuple[str, int | None, What]]:
    return {(item.cycle, item.revision, item.what) for item in plan.removals}


def kept(plan: Plan, cycle: str) -> list[str]:
    return [item.why for item in plan.kept if item.cycle == cycle]


def tend(store: Store, entry: System = SMALL, *, hours: float = 0.0) -> retention.Done:
    moment = MOMENT + timedelta(hours=hours)
    return retention.apply(store, retention.plan(store, entry, moment), "housekeeping", holder(store, moment))


def seen(store: Store) -> set[tuple[str, int]]:
    """Every edition that readers see."""
    found = shelves.shelves(store, SMALL.name)
    return {(item.cycle.key, revision) for item in found for revision, whole in item.editions.items() if whole}


def test_a_forecast_that_would_be_removed_before_its_last_day_is_scored_is_refused() -> None:
    asked = {name: getattr(SMALL, name) for name in System.model_fields}
    days = SMALL.forecast_days
    System(**asked | {"retention": Retention(keep_days=days + 1)})
    with pytest.raises(ValidationError, match=f"{days} days must be kept for {days + 1} days or more"):
        System(**asked | {"retention": Retention(keep_days=days + 0.5)})


def test_an_empty_store_has_nothing_to_be_removed(any_store: Store) -> None:
    assert retention.plan(any_store, SMALL, MOMENT) == Plan(SMALL.name, MOMENT, (), ())


def test_what_is_old_leaves_sight_first_and_then_the_store(any_store: Store) -> None:
    for days in (20, 15, 5, 1):
        published(any_store, days_ago(days))
    old, before = days_ago(20), any_store.objects("")
    plan = retention.plan(any_store, SMALL, MOMENT)
    assert any_store.objects("") == before, "a plan changes nothing"
    assert goes(plan) == {(old.key, 1, What.SIGHT), (days_ago(15).key, 1, What.SIGHT)}
    assert plan.freed_bytes == 0
    assert [item.size_bytes for item in plan.removals] == [400, 400]
    tend(any_store)
    assert seen(any_store) == {(days_ago(5).key, 1), (days_ago(1).key, 1)}
    assert len(any_store.objects(old.revision_prefix(1))) == 4, "those who read it have their time"
    assert goes(retention.plan(any_store, SMALL, MOMENT + timedelta(hours=11))) == set()
    later = retention.plan(any_store, SMALL, MOMENT + timedelta(hours=13))
    assert goes(later) == {(old.key, 1, What.EDITION), (days_ago(15).key, 1, What.EDITION)}
    assert later.freed_bytes == 800
    tend(any_store, hours=13)
    left = {path.split("/")[2] for path, _ in any_store.objects(f"{SMALL.name}/cycles")}
    assert left == {days_ago(5).key, days_ago(1).key}
    assert [path for path, _ in any_store.objects(old.run_prefix)] == [journal.path(old)]
    assert tend(any_store, hours=13) == ((), ())


def test_the_newest_stay_however_old(folder_store: Store) -> None:
    for days in (400, 300, 200):
        published(folder_store, days_ago(days))
    plan = retention.plan(folder_store, SMALL, MOMENT)
    assert goes(plan) == {(days_ago(400).key, 1, What.SIGHT)}
    assert kept(plan, days_ago(200).key) == ["latest.json names it"]
    assert kept(plan, days_ago(300).key) == ["among the 2 newest"]


def test_the_newest_that_is_not_degraded_stays(folder_store: Store) -> None:
    published(folder_store, days_ago(40))
    for days in (20, 2, 1):
        published(folder_store, days_ago(days), degraded=True)
    plan = retention.plan(folder_store, SMALL, MOMENT)
    assert goes(plan) == {(days_ago(20).key, 1, What.SIGHT)}
    assert kept(plan, days_ago(40).key) == ["the newest that is not degraded"]


def test_what_latest_names_stays_though_newer_ones_are_there(folder_store: Store) -> None:
    """A run that was killed between its manifest and ``latest``: readers are at the older one."""
    published(folder_store, days_ago(40))
    for days in (3, 2, 1):
        published(folder_store, days_ago(days), move_latest=False)
    plan = retention.plan(folder_store, SMALL, MOMENT)
    assert (goes(plan), kept(plan, days_ago(40).key)) == (set(), ["latest.json names it"])


def test_more_than_so_many_go_though_they_are_young(folder_store: Store) -> None:
    for days in range(1, 7):
        published(folder_store, days_ago(days))
    plan = retention.plan(folder_store, system(keep_at_most=4), MOMENT)
    assert goes(plan) == {(days_ago(5).key, 1, What.SIGHT), (days_ago(6).key, 1, What.SIGHT)}
    assert plan.removals[0].why == "more than 4 newer"


def test_what_was_the_newest_until_now_has_its_time_to_be_read(folder_store: Store) -> None:
    """After an outage: the old one was the latest until an hour ago."""
    published(folder_store, days_ago(30))
    created = (MOMENT - timedelta(hours=1) - days_ago(20).start).total_seconds() / 3600
    published(folder_store, days_ago(20), after_hours=created)
    entry = system(keep_newest=1)
    plan = retention.plan(folder_store, entry, MOMENT)
    assert goes(plan) == set()
    assert kept(plan, days_ago(30).key) == ["may have been the newest to readers within 12 hours"]
    assert goes(retention.plan(folder_store, entry, MOMENT + timedelta(hours=12))) == {
        (days_ago(30).key, 1, What.SIGHT)
    }


def test_a_forecast_of_long_ago_made_yesterday_is_young(folder_store: Store) -> None:
    for days in (2, 1):
        published(folder_store, days_ago(days))
    made = (MOMENT - timedelta(days=1) - days_ago(700).start).total_seconds() / 3600
    published(folder_store, days_ago(700), after_hours=made)
    plan = retention.plan(folder_store, SMALL, MOMENT)
    assert (goes(plan), kept(plan, days_ago(700).key)) == (set(), ["published less than 10 days ago"])


def test_a_revision_that_was_replaced_goes_after_its_days(folder_store: Store) -> None:
    published(folder_store, days_ago(6))
    published(folder_store, days_ago(6), revision=2, after_hours=20.0)
    published(folder_store, days_ago(2))
    published(folder_store, days_ago(2), revision=2, after_hours=20.0)
    plan = retention.plan(folder_store, SMALL, MOMENT)
    assert goes(plan) == {(days_ago(6).key, 1, What.SIGHT)}
    tend(folder_store)
    tend(folder_store, hours=13)
    assert seen(folder_store) == {(days_ago(6).key, 2), (days_ago(2).key, 1), (days_ago(2).key, 2)}
    assert folder_store.folders(days_ago(6).published_prefix) == ["r2"]


def test_a_pinned_cycle_stays_until_it_is_unpinned(any_store: Store) -> None:
    for days in (30, 2, 1):
        published(any_store, days_ago(days))
    pins.pin(any_store, days_ago(30), PIN)
    plan = retention.plan(any_store, SMALL, MOMENT)
    assert (goes(plan), kept(plan, days_ago(30).key)) == (
        set(), ["pinned by someone, 2024-06-30 03:17 UTC: a case study"],
    )  # fmt: skip
    pins.unpin(any_store, days_ago(30), who="someone", when=MOMENT)
    assert goes(retention.plan(any_store, SMALL, MOMENT)) == {(days_ago(30).key, 1, What.SIGHT)}
    assert [note.event for note in journal.read(any_store, days_ago(30))][1:] == [Event.PINNED, Event.UNPINNED]


def test_a_pin_needs_a_forecast_and_a_reason(folder_store: Store) -> None:
    with pytest.raises(StoreError, match="a published forecast of small"):
        pins.pin(folder_store, days_ago(1), PIN)
    published(folder_store, days_ago(1))
    with pytest.raises(UsageError, match="needed a reason"):
        pins.pin(folder_store, days_ago(1), PIN.model_copy(update={"why": " "}))
    with pytest.raises(UsageError, match="needed a pin"):
        pins.unpin(folder_store, days_ago(1), who="someone", when=MOMENT)


def test_what_a_run_left_goes_when_the_run_has_been_given_up(any_store: Store) -> None:
    published(any_store, days_ago(1))
    for days in (30, 1.5):
        unfinished(any_store, days_ago(days))
    plan = retention.plan(any_store, SMALL, MOMENT)
    assert goes(plan) == {(days_ago(30).key, 1, What.EDITION), (days_ago(30).key, None, What.STATE)}
    assert kept(plan, days_ago(1.5).key) == ["left unfinished less than 48 hours ago"]
    assert plan.freed_bytes == 80
    tend(any_store)
    assert [path for path, _ in any_store.objects(SMALL.name) if days_ago(30).key in path] == [
        journal.path(days_ago(30))
    ]


def test_a_cycle_that_a_run_is_at_stays(folder_store: Store) -> None:
    published(folder_store, days_ago(1))
    unfinished(folder_store, days_ago(30))
    locked(folder_store, days_ago(30), since=MOMENT, expires=MOMENT + timedelta(minutes=5))
    plan = retention.plan(folder_store, SMALL, MOMENT)
    assert (goes(plan), kept(plan, days_ago(30).key)) == (set(), ["held by process 1 on elsewhere"])


def test_a_run_that_began_after_the_plan_is_not_disturbed(folder_store: Store) -> None:
    unfinished(folder_store, days_ago(30))
    unfinished(folder_store, days_ago(29))
    plan = retention.plan(folder_store, SMALL, MOMENT)
    locked(folder_store, days_ago(30), since=MOMENT, expires=MOMENT + timedelta(minutes=5))
    noted(folder_store, days_ago(29), Event.BEGUN, MOMENT)
    before = folder_store.objects("")
    done = retention.apply(folder_store, plan, "housekeeping", holder(folder_store))
    assert done.removed == ()
    assert [item.cycle for item in done.kept] == [days_ago(30).key, days_ago(29).key]
    assert "it held by process 1 on elsewhere" in done.kept[0].why
    assert done.kept[1].why == "something happened to it since the plan"
    assert {path for path, _ in before} == {path for path, _ in folder_store.objects("")}


@pytest.mark.parametrize("change", ["pinned", "published again", "latest"])
def test_what_changed_since_the_plan_is_kept(folder_store: Store, change: str) -> None:
    for days in (30, 2, 1):
        published(folder_store, days_ago(days))
    plan = retention.plan(folder_store, SMALL, MOMENT)
    if change == "pinned":
        pins.pin(folder_store, days_ago(30), PIN)
    elif change == "published again":
        published(folder_store, days_ago(30), after_hours=600.0)
    else:
        folder_store.delete(f"{SMALL.name}/latest.json")
        published(folder_store, days_ago(30))
    done = retention.apply(folder_store, plan, "housekeeping", holder(folder_store))
    assert done.removed == ()
    assert "since the plan" in done.kept[0].why
    assert (days_ago(30).key, 1) in seen(folder_store)


def test_what_an_operator_holds_stays(folder_store: Store) -> None:
    unfinished(folder_store, days_ago(30))
    why = Judgement(kind=judgement.Kind.HELD, who="someone", when=MOMENT, why="looking at it")
    judgement.judge(folder_store, days_ago(30), why)
    assert goes(retention.plan(folder_store, SMALL, MOMENT + timedelta(days=30))) == set()


def test_state_that_a_published_cycle_does_not_need_goes_and_its_marks_stay(folder_store: Store) -> None:
    cycle = days_ago(5)
    unfinished(folder_store, cycle)
    published(folder_store, cycle)
    tend(folder_store)
    left = [path.removeprefix(f"{cycle.run_prefix}/") for path, _ in folder_store.objects(cycle.run_prefix)]
    assert left == ["journal.json", "lock.json", "marks/ocean.json"]
    assert publish.published(folder_store, cycle) == 1


def test_scores_and_journals_outlive_the_forecast_and_then_go(folder_store: Store) -> None:
    cycle = days_ago(30)
    for old in (2, 1):
        published(folder_store, days_ago(old))
    published(folder_store, cycle)
    folder_store.write_bytes(f"{SMALL.name}/scores/{cycle.key}/r1/ocean.json", bytes(7))
    tend(folder_store)
    tend(folder_store, hours=24)
    names = {path for path, _ in folder_store.objects(SMALL.name) if cycle.key in path}
    assert names == {journal.path(cycle), f"{SMALL.name}/scores/{cycle.key}/r1/ocean.json"}
    assert goes(retention.plan(folder_store, SMALL, MOMENT + timedelta(days=59))) == set()
    tend(folder_store, hours=61 * 24)
    assert [path for path, _ in folder_store.objects(SMALL.name) if cycle.key in path] == []
    assert cycle.key not in folder_store.folders(f"{SMALL.name}/runs")


def test_a_journal_that_cannot_be_read_keeps_its_cycle(folder_store: Store) -> None:
    unfinished(folder_store, days_ago(30))
    folder_store.write_bytes(journal.path(days_ago(30)), b"{")
    plan = retention.plan(folder_store, SMALL, MOMENT)
    assert goes(plan) == set()
    assert kept(plan, days_ago(30).key)[0].startswith("not to be judged: needed a whole Journal")


@pytest.mark.parametrize("path", [pins.path, judgement.path])
def test_a_pin_or_a_decision_that_cannot_be_read_keeps_its_cycle_and_no_other(
    folder_store: Store, path: Callable[[Cycle], str]
) -> None:
    for days in (40, 30, 2, 1):
        published(folder_store, days_ago(days))
    folder_store.write_bytes(path(days_ago(40)), b"{")
    plan = retention.plan(folder_store, SMALL, MOMENT)
    assert goes(plan) == {(days_ago(30).key, 1, What.SIGHT)}
    assert kept(plan, days_ago(40).key)[0].startswith("not to be judged: needed a whole ")


class Killed(BaseException):
    """What a kill is to a test."""


@pytest.mark.parametrize("survives", range(12))
def test_killed_anywhere_readers_see_whole_editions_and_the_next_time_goes_on(
    folder_store: Store, survives: int
) -> None:
    """The process ends before its n-th change of the store."""
    for days in (30, 20, 2, 1):
        published(folder_store, days_ago(days))
    unfinished(folder_store, days_ago(25))
    changes = iter(range(survives + 1))

    def permit() -> None:
        if next(changes, None) in (None, survives):
            raise Killed

    dying = Store(folder_store.uri, permit)
    plan = retention.plan(folder_store, SMALL, MOMENT)
    with pytest.raises(Killed):
        retention.apply(dying, plan, "housekeeping", holder(dying))
    for key, revision in seen(folder_store):
        cycle = next(item.cycle for item in shelves.shelves(folder_store, SMALL.name) if item.cycle.key == key)
        about = shelves.head(folder_store, cycle, revision)
        assert about is not None
        prefix = cycle.revision_prefix(revision)
        assert all(folder_store.size(f"{prefix}/{item.path}") == item.size_bytes for item in about.objects)
    tend(folder_store, hours=1)  # the dead one's lease has run out
    tend(folder_store, hours=50)
    assert seen(folder_store) == {(days_ago(2).key, 1), (days_ago(1).key, 1)}
    left = {path.split("/")[2] for path, _ in folder_store.objects(f"{SMALL.name}/cycles")}
    assert left == {days_ago(2).key, days_ago(1).key}


@pytest.mark.parametrize("seed", range(16))
def test_whatever_the_store_the_latest_good_cycle_survives(tmp_path: Path, seed: int) -> None:
    """Any policy, any past, many nights: what ``latest`` names and the newest good one are there, whole."""
    chance, store = random.Random(seed), Store(tmp_path / "store")
    entry = system(
        keep_days=chance.choice([0.1, 1.0, 5.0]), keep_newest=chance.choice([1, 2]), reading_hours=0.0,
        keep_at_most=chance.choice([None, 1, 3]), replaced_days=chance.choice([0.0, 2.0]),
        abandoned_hours=chance.choice([0.5, 30.0]), records_days=chance.choice([0.1, 3.0]),
    )  # fmt: skip
    for days in chance.sample(range(60), chance.randint(1, 8)):
        cycle = days_ago(days)
        for revision in range(1, chance.randint(1, 3)):
            published(store, cycle, revision=revision, after_hours=chance.uniform(1, 900),
                      degraded=chance.random() < 0.5, move_latest=chance.random() < 0.7)  # fmt: skip
        if chance.random() < 0.4:
            unfinished(store, cycle, revision=chance.randint(3, 4), after_hours=chance.uniform(1, 100))
    whole = sorted(seen(store))
    good = [item for item in whole if not degraded(store, *item)]
    newest = max(whole, key=lambda item: item, default=None)
    for hours in (0, 1, 30, 24 * 400):
        tend(store, entry, hours=hours)
        named = latest(store, SMALL.name)
        left = seen(store)
        assert named is None or (named.cycle, named.revision) in left
        assert newest is None or newest in left
        newest_good = max((key for key, revision in good if is_newest(whole, key, revision)), default=None)
        assert newest_good is None or newest_good in {key for key, _ in left}
        assert all(complete(store, key, revision) for key, revision in left)


def is_newest(whole: list[tuple[str, int]], key: str, revision: int) -> bool:
    return revision == max(other for other_key, other in whole if other_key == key)


def degraded(store: Store, key: str, revision: int) -> bool:
    about = shelves.head(store, shelves.from_key(SMALL.name, key), revision)
    assert about is not None
    return about.degraded


def complete(store: Store, key: str, revision: int) -> bool:
    cycle = shelves.from_key(SMALL.name, key)
    about = shelves.head(store, cycle, revision)
    assert about is not None
    return all(store.exists(f"{cycle.revision_prefix(revision)}/{item.path}") for item in about.objects)


def test_many_objects_go_in_few_requests(s3_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one request names: the last of them, and what only begins with the same letters, tell."""
    monkeypatch.setattr(bucket, "DELETED_AT_ONCE", 10)
    for index in range(23):
        s3_store.write_bytes(f"many/{index:04d}", b"1")
    s3_store.write_bytes("many-more", b"1")
    s3_store.delete("many")
    assert s3_store.objects("") == [("many-more", 1)]


def test_what_may_not_be_deleted_is_a_sentence(
    s3_store: Store, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 answers a request to delete many with success, and names in it what it refused."""
    s3_store.write_bytes("kept/a", b"1")
    for name, value in s3_server.environment(s3_server.reader).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StoreError, match="to delete kept"):
        Store(s3_store.uri).delete("kept")
    assert s3_store.exists("kept/a")


def test_the_lock_of_a_cycle_that_is_gone_goes_with_it(folder_store: Store) -> None:
    """Else it would look like a run that was given up."""
    for days in (30, 2, 1):
        published(folder_store, days_ago(days))
    tend(folder_store)
    assert lock.holder(folder_store, days_ago(30)) is None
    assert lock.holder(folder_store, days_ago(1)) is None
    assert POLICY.keep_newest == 2


def test_every_decision_says_why(folder_store: Store) -> None:
    for days in (30, 2, 1):
        published(folder_store, days_ago(days))
    unfinished(folder_store, days_ago(25))
    plan = retention.plan(folder_store, SMALL, MOMENT)
    decisions: list[Removal | Kept] = [*plan.removals, *plan.kept]
    assert len(decisions) == 5
    assert all(item.why for item in decisions)
