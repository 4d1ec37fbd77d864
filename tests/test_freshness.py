"""How fresh a system is and what will be late: verdicts at exact moments, worked out by hand beside each.

The twin's cycle of a day starts at 12 UTC, is begun at 06:17 UTC of the next day and is due at 12:00. Every past cycle
here took 60 s for ocean, surface and initialise, 20 min for the forecast and 2 min to publish: 25 min in all.
"""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta

import kept_cycles as kept
import pytest

from pipeline import systems
from pipeline.cycle import Cycle, cycle
from pipeline.operations import durations, expected, freshness
from pipeline.operations.freshness import Freshness
from pipeline.operations.verdict import Standing, Verdict
from pipeline.record import journal, judgement, lock
from pipeline.record.journal import Event, Note
from pipeline.record.judgement import Judgement
from pipeline.record.latest import advance_latest
from pipeline.store import Store, Versioned

DUE_DAY = date(2026, 11, 23)
OPEN = cycle("twin", "2026-11-22", 12)


def at(text: str, day: date = DUE_DAY) -> datetime:
    """A time of the day on which the open cycle is due."""
    return datetime.combine(day, time.fromisoformat(text), UTC)


def days(last: date, count: int) -> list[Cycle]:
    return [cycle("twin", last - timedelta(days=back), 12) for back in reversed(range(count))]


def publish_days(store: Store, *, count: int = 10, last: date = date(2026, 11, 21), slow: int = 0) -> None:
    """Cycles published in time, the last ``slow`` of them after twice the time."""
    for index, item in enumerate(days(last, count)):
        stretch = 2.0 if index >= count - slow else 1.0
        kept.publish(store, item, at("06:45", item.start.date() + timedelta(days=1)), stretch=stretch)


@pytest.fixture
def served(folder_store: Store) -> Store:
    """A store in which ten days were published, and today's cycle is open."""
    publish_days(folder_store)
    return folder_store


def standing(store: Store, moment: datetime, asked: Cycle = OPEN) -> Standing:
    found = freshness.of(store, systems.TWIN, moment)
    (item,) = [item for item in found.cycles if item.cycle == asked.key]
    return item


def test_a_run_that_waits_for_an_input_says_for_which_and_since_when(served: Store) -> None:
    """Begun at 06:17; the atmosphere is waited for from 06:20, is there at 08:00, and its stage goes on."""
    kept.begin(served, OPEN, at("06:17"), "ocean", lease_until=at("12:00"))
    words = "waiting until 2026-11-23 08:00 UTC: ECMWF IFS has no run that reaches it"
    for moment in ("06:20", "07:00"):
        journal.note(served, OPEN, Note(when=at(moment), event=Event.WAITING, who="it", stage="surface", words=words))
    found = standing(served, at("07:20"))
    assert (found.verdict, found.alarm, found.stage) == (Verdict.WAITING, False, "surface")
    assert (found.words, found.since) == ("waiting for surface for 60 min", at("06:20"))
    assert found.sentence == words
    assert standing(served, at("11:50")).verdict is Verdict.WILL_MISS
    journal.note(served, OPEN, Note(when=at("08:00"), event=Event.ARRIVED, who="it", stage="surface", words="ready"))
    found = standing(served, at("08:01"))
    assert (found.verdict, found.words) == (Verdict.ON_TIME, "at surface for 60 s")


def verdicts(store: Store, *moments: str) -> list[Verdict]:
    return [standing(store, at(moment)).verdict for moment in moments]


def test_the_schedule_promises_each_day_until_it_would_be_skipped_and_the_next() -> None:
    """At 06:00 of the 23rd: the 20th started 66 h ago, less than the 72 h; the 22nd is the next to fire, at 06:17."""
    found = expected.promised(systems.TWIN, at("06:00"))
    assert [item.cycle.key for item in found] == ["20261120T12", "20261121T12", "20261122T12"]
    assert (found[-1].fires, found[-1].deadline) == (at("06:17"), at("12:00"))
    found = expected.promised(systems.TWIN, at("12:00"))  # 72 h after the start of the 20th, to the minute
    assert [item.cycle.key for item in found] == ["20261121T12", "20261122T12", "20261123T12"]
    assert expected.promised(systems.CORAL_SEA, at("12:00")) == ()


def test_a_cycle_that_is_not_begun_is_said_after_an_hour_and_misses_when_its_25_minutes_are_gone(served: Store) -> None:
    found = standing(served, at("06:00"))
    assert (found.verdict, found.words, found.begins) == (Verdict.EXPECTED, "begins at 06:17", at("06:17"))
    assert found.estimate is not None
    assert (found.estimate.likely, found.estimate.cycles) == (at("06:42"), 10)
    assert verdicts(served, "07:17", "07:17:01") == [Verdict.ON_TIME, Verdict.NOT_BEGUN]
    assert verdicts(served, "11:35", "11:35:01") == [Verdict.NOT_BEGUN, Verdict.WILL_MISS]
    assert verdicts(served, "12:00", "12:00:01") == [Verdict.WILL_MISS, Verdict.LATE]
    assert [standing(served, at(moment)).alarm for moment in ("07:17", "07:17:01")] == [False, True]


def test_one_slow_cycle_of_ten_makes_the_warning_come_earlier_by_its_tenth(folder_store: Store) -> None:
    """Durations 1, nine times, and 2: the ninth decile lies a tenth of the way from 1 to 2, 2.5 min of 25."""
    publish_days(folder_store, slow=1)
    assert verdicts(folder_store, "11:32:30", "11:32:31") == [Verdict.NOT_BEGUN, Verdict.WILL_MISS]
    estimate = standing(folder_store, at("11:30")).estimate
    assert estimate is not None
    assert (estimate.likely, estimate.latest) == (at("11:55"), at("11:57:30"))


def test_a_run_under_way_says_its_stage_since_when_who_and_when_it_will_be_there(served: Store) -> None:
    """Begun at 11:00, initialised by 11:03; the forecast's 20 min and 2 to publish: 11:25."""
    kept.begin(served, OPEN, at("11:00"), "ocean", "surface", "initialise")
    found = standing(served, at("11:13"))
    assert (found.verdict, found.stage, found.since) == (Verdict.ON_TIME, "forecast", at("11:03"))
    assert (found.holder, found.words) == (kept.HOLDER, "at forecast for 10 min")
    assert found.sentence == "forecast took 20 min in the last 10 cycles that did it, 20 min at the most but one in ten"
    assert found.estimate is not None
    assert found.estimate.likely == at("11:25")
    assert not found.alarm


def test_a_run_that_begins_too_late_will_miss_from_its_beginning(served: Store) -> None:
    """Begun at 11:35 it ends at 12:00 and is in time; a minute later it is not."""
    kept.begin(served, OPEN, at("11:35"))
    assert standing(served, at("11:35:30")).verdict is Verdict.ON_TIME
    kept.write(served, OPEN, Note(when=at("11:36"), event=Event.BEGUN, who=kept.HOLDER))
    assert standing(served, at("11:36")).verdict is Verdict.WILL_MISS


def test_a_stage_that_hangs_is_seen_hours_before_the_deadline(served: Store) -> None:
    """In the forecast since 06:20. After e s, overdue by e - 1200, it may take as long again, and then 120 s:
    06:20 + e + (e - 1200) + 120 = 12:00 where 2 e = 20400 + 1080: e = 10740 s, at 09:19."""
    kept.begin(served, OPEN, at("06:17"), "ocean", "surface", "initialise", lease_until=at("13:00"))
    assert verdicts(served, "06:30", "09:19", "09:19:01") == [Verdict.ON_TIME, Verdict.ON_TIME, Verdict.WILL_MISS]
    estimate = standing(served, at("09:30")).estimate  # 190 min in the stage, 170 overdue, 2 to publish
    assert estimate is not None
    assert estimate.likely == estimate.latest == at("12:22")


def test_a_run_that_ended_for_want_of_an_input_is_an_alarm_once_no_scheduled_run_is_to_come(served: Store) -> None:
    """By hand at 06:00, before the schedule's 06:17; what a scheduled run waits for, it waits for alive."""
    kept.begin(served, OPEN, at("06:00"), "ocean")
    kept.fail(served, OPEN, at("06:02"), "surface", "needed ERA5; found none; in /archive; wait", 3)
    assert verdicts(served, "06:05", "06:17", "12:00:01") == [Verdict.WAITING, Verdict.FAILED, Verdict.FAILED]
    early, found = standing(served, at("06:05")), standing(served, at("06:17"))
    assert (early.alarm, early.stage, early.exit_code) == (False, "surface", 3)
    assert (found.alarm, found.words) == (True, "an input is not there at surface")
    assert found.sentence.startswith("needed ERA5")


@pytest.mark.parametrize(("code", "words"), [
    (1, "a fault in goms at forecast"), (4, "an input is not what it says it is at forecast"),
    (5, "the forecast was refused at forecast"), (6, "the store failed at forecast"),
])  # fmt: skip
def test_any_other_failure_is_an_alarm_at_once_with_its_sentence(served: Store, code: int, words: str) -> None:
    kept.begin(served, OPEN, at("06:17"), "ocean", "surface", "initialise")
    kept.fail(served, OPEN, at("06:20:30"), "forecast", "needed this; found that", code)
    found = standing(served, at("06:20:30"))
    assert (found.verdict, found.alarm, found.words, found.sentence) == (
        Verdict.FAILED, True, words, "needed this; found that",
    )  # fmt: skip
    assert found.estimate is not None  # run again now: the forecast's 20 min and 2 to publish
    assert found.estimate.likely == at("06:42:30")


def test_a_failed_cycle_that_is_run_again_is_on_time_again(served: Store) -> None:
    kept.begin(served, OPEN, at("06:17"))
    kept.fail(served, OPEN, at("06:18"), "ocean", "needed; found", 4)
    kept.begin(served, OPEN, at("07:00"))
    assert standing(served, at("07:00:30")).verdict is Verdict.ON_TIME


def test_a_run_that_goes_on_without_an_optional_input_has_not_failed(served: Store) -> None:
    kept.begin(served, OPEN, at("06:17"), "ocean", "surface")
    kept.write(served, OPEN, Note(when=at("06:19:10"), event=Event.FAILED, who="x", stage="waves", exit_code=3))
    assert standing(served, at("06:19:20")).verdict is Verdict.ON_TIME
    kept.write(served, OPEN, Note(when=at("06:20"), event=Event.STAGE, who="x", stage="initialise", seconds=60))
    found = standing(served, at("06:21"))
    assert (found.verdict, found.stage) == (Verdict.ON_TIME, "forecast")
    assert standing(served, at("09:00")).words == "the run died at forecast"  # not: waits for the waves


def test_a_run_that_found_the_cycle_held_says_nothing_of_it(served: Store) -> None:
    kept.begin(served, OPEN, at("06:17"), "ocean")
    kept.write(served, OPEN, Note(when=at("06:18:30"), event=Event.FAILED, who="other", exit_code=7))
    assert standing(served, at("06:18:40")).verdict is Verdict.ON_TIME


def test_a_published_cycle_says_how_the_run_stands_that_supersedes_it(served: Store) -> None:
    """Published at 06:45. At 07:00 its next revision is begun, at 07:03 it is at the forecast."""
    kept.publish(served, OPEN, at("06:45"))
    why = Note(when=at("07:00"), event=Event.SUPERSEDED, who=kept.HOLDER, words="winds were corrected (someone)")
    kept.write(served, OPEN, why)
    kept.begin(served, OPEN, at("07:00"), "ocean", "surface", "initialise", lease_until=at("07:18"))
    found = standing(served, at("07:12"))
    assert (found.verdict, found.words) == (Verdict.PUBLISHED, "published; r2 at forecast for 9 min")
    assert found.sentence == "r2 is to supersede it: winds were corrected (someone)"
    found = standing(served, at("07:30"))
    assert (found.words, found.alarm) == ("published; r2 died at forecast", False)
    kept.fail(served, OPEN, at("07:31"), "forecast", "needed a winter", 4)
    found = standing(served, at("07:32"))
    assert found.words == "published; r2 failed at forecast"
    assert found.sentence.endswith("; needed a winter")
    kept.write(served, OPEN, Note(when=at("07:40"), event=Event.PUBLISHED, who=kept.HOLDER, words="r2"))
    assert standing(served, at("07:41")).words == "published"


STAGES = ("ocean", "surface", "initialise", "forecast")


def test_what_latest_does_not_name_is_not_published_once_its_run_is_dead(served: Store) -> None:
    """Begun at 06:17; its manifest is put at 06:41, and its lease ends at 06:55."""
    kept.begin(served, OPEN, at("06:17"), *STAGES, lease_until=at("06:55"))
    kept.show(served, OPEN, at("06:41"))
    assert verdicts(served, "06:42", "06:55:59") == [Verdict.ON_TIME] * 2
    found = standing(served, at("06:56"))
    assert (found.verdict, found.words) == (Verdict.FAILED, "published, but latest.json does not name it")
    assert (found.alarm, found.revision, found.published) == (True, 1, at("06:41"))
    earlier = cycle("twin", "2026-11-20", 12)
    assert standing(served, at("06:56"), earlier).verdict is Verdict.PUBLISHED, "latest.json has moved on since"
    advance_latest(served, OPEN, 1)
    assert standing(served, at("06:57")).verdict is Verdict.PUBLISHED


def test_a_correction_that_latest_does_not_name_is_an_alarm_once_its_run_is_dead(served: Store) -> None:
    """What it corrects was in time, so the run of the correction is late at no moment."""
    kept.publish(served, OPEN, at("06:45"))
    kept.begin(served, OPEN, at("13:00"), lease_until=at("13:30"))
    kept.show(served, OPEN, at("13:20"), revision=2)
    assert verdicts(served, "13:29", "13:31") == [Verdict.PUBLISHED, Verdict.FAILED]
    operator = Judgement(kind=judgement.Kind.COMPLETE, who="ann", when=at("13:40"), why="latest.json stays at r1")
    judgement.judge(served, OPEN, operator)
    assert standing(served, at("13:41")).verdict is Verdict.COMPLETE


def test_a_run_that_names_its_forecast_while_it_is_looked_at_is_no_alarm(served: Store) -> None:
    """Its manifest is seen; before its lock is, it has moved ``latest.json`` and given its cycle back."""

    class Meanwhile(Store):
        def find(self, path: str) -> Versioned | None:
            if path == lock.path(OPEN):
                advance_latest(served, OPEN, 1)
                kept.hold(served, OPEN, at("06:17"), at("06:41"), released=True)
            return super().find(path)

    kept.begin(served, OPEN, at("06:17"), *STAGES, lease_until=at("06:55"))
    kept.show(served, OPEN, at("06:41"))
    assert standing(Meanwhile(served.uri), at("06:43")).verdict is Verdict.PUBLISHED


def test_a_correction_of_long_ago_that_failed_is_told_of_until_it_is_made(served: Store) -> None:
    old = cycle("twin", "2026-11-13", 12)
    kept.write(served, old, Note(when=at("05:00"), event=Event.SUPERSEDED, who=kept.HOLDER, words="winds (someone)"))
    kept.begin(served, old, at("05:00"), "ocean")
    kept.fail(served, old, at("05:10"), "surface", "needed a winter", 4)
    freshness.refresh(served, systems.TWIN, at("05:11"), also=(old,))
    freshness.refresh(served, systems.TWIN, at("08:00"))
    assert standing(served, at("09:00"), old).words == "published; r2 failed at surface"
    kept.write(served, old, Note(when=at("09:10"), event=Event.PUBLISHED, who=kept.HOLDER, words="r2"))
    assert old.key not in {item.cycle for item in freshness.of(served, systems.TWIN, at("09:11")).cycles}


def test_a_run_that_died_without_a_word_is_seen_a_minute_after_its_lease(served: Store) -> None:
    kept.begin(served, OPEN, at("06:17"), "ocean", lease_until=at("06:33"))
    assert verdicts(served, "06:33:59", "06:34") == [Verdict.ON_TIME, Verdict.FAILED]
    found = standing(served, at("06:34"))
    assert (found.alarm, found.stage, found.exit_code) == (True, "surface", None)
    assert "its lease" not in found.sentence
    assert f"the lease of {kept.HOLDER} ended at 2026-11-23 06:33 UTC" in found.sentence


def test_stages_that_were_cleared_are_to_be_done_again(served: Store) -> None:
    kept.begin(served, OPEN, at("06:17"), "ocean", "surface", "initialise")
    kept.write(served, OPEN, Note(when=at("06:21"), event=Event.CLEARED, who="x", stage="surface"))
    assert standing(served, at("06:22")).stage == "surface"


@pytest.mark.parametrize(
    ("kind", "verdict"), [(judgement.Kind.HELD, Verdict.HELD), (judgement.Kind.COMPLETE, Verdict.COMPLETE)]
)
def test_what_an_operator_decided_is_neither_late_nor_an_alarm(
    served: Store, kind: judgement.Kind, verdict: Verdict
) -> None:
    why = Judgement(kind=kind, who="ann at desk-7", when=at("05:00"), why="the archive is being repaired")
    judgement.judge(served, OPEN, why)
    found = standing(served, at("15:00"))
    assert (found.verdict, found.alarm) == (verdict, False)
    assert "ann at desk-7" in found.sentence


def test_what_the_schedule_left_out_is_skipped(served: Store) -> None:
    kept.write(served, OPEN, Note(when=at("13:00"), event=Event.SKIPPED, who="x", words="74 h old"))
    assert verdicts(served, "13:01") == [Verdict.SKIPPED]


def test_a_late_publication_says_by_how_much(served: Store) -> None:
    kept.publish(served, OPEN, at("12:40"), reasons=("so and so",))
    found = standing(served, at("13:00"))
    assert (found.verdict, found.words, found.degraded) == (Verdict.PUBLISHED, "published 40 min late", True)
    newest = freshness.of(served, systems.TWIN, at("13:00")).newest
    assert newest is not None
    assert (newest.cycle, newest.age_hours, newest.degraded_reasons) == (OPEN.key, 25.0, ("so and so",))


def test_a_day_that_was_never_begun_is_late_though_the_next_was_published(served: Store) -> None:
    after = cycle("twin", "2026-11-23", 12)
    kept.publish(served, after, at("06:45", date(2026, 11, 24)))
    found = standing(served, at("11:00", date(2026, 11, 24)))
    assert (found.verdict, found.words) == (Verdict.LATE, "was to begin at 06:17 and was not; 23 h late")


def test_nothing_is_promised_where_the_system_is_not_served(folder_store: Store) -> None:
    empty = freshness.of(folder_store, systems.TWIN, at("15:00"))
    assert (empty.well, empty.scheduled, empty.newest, empty.cycles) == (True, False, None, ())
    assert freshness.refresh(folder_store, systems.TWIN, at("15:00")) == empty
    assert not folder_store.exists("twin/status.json")
    hindcast = cycle("twin", "2024-05-10", 12)
    kept.publish(folder_store, hindcast, at("09:00"))
    found = freshness.of(folder_store, systems.TWIN, at("15:00"))
    assert (found.well, found.scheduled, found.cycles) == (True, False, ())
    assert found.newest is not None


def test_the_days_before_the_first_are_not_late(folder_store: Store) -> None:
    kept.publish(folder_store, OPEN, at("06:45"))
    found = freshness.of(folder_store, systems.TWIN, at("07:00"))
    assert [(item.cycle, item.verdict) for item in found.cycles] == [
        ("20261123T12", Verdict.EXPECTED), ("20261122T12", Verdict.PUBLISHED),
    ]  # fmt: skip


def test_a_system_without_a_schedule_is_never_late(folder_store: Store) -> None:
    asked = cycle("coral-sea", "2023-01-01", 0)
    kept.begin(folder_store, asked, at("06:00"))
    kept.fail(folder_store, asked, at("06:01"), "ocean", "needed HYCOM; found none", 3)
    found = freshness.of(folder_store, systems.CORAL_SEA, at("23:00"))
    (item,) = found.cycles
    assert (item.verdict, item.alarm, item.deadline, found.well) == (Verdict.FAILED, False, None, True)


def test_a_backfilled_cycle_older_than_any_listing_is_followed_until_it_is_published(served: Store) -> None:
    old = cycle("twin", "2025-03-01", 12)
    kept.begin(served, old, at("08:00"), "ocean", lease_until=at("09:00"))
    assert old.key not in {item.cycle for item in freshness.of(served, systems.TWIN, at("08:02")).cycles}
    freshness.refresh(served, systems.TWIN, at("08:02"), also=(old,))
    assert standing(served, at("08:02"), old).stage == "surface"
    kept.publish(served, old, at("08:30"))
    assert old.key not in {item.cycle for item in freshness.of(served, systems.TWIN, at("08:31")).cycles}


def test_damaged_records_are_said_of_their_cycle_and_hide_no_other(served: Store) -> None:
    served.write_bytes(journal.path(OPEN), b"{")
    found = standing(served, at("08:00"))
    assert (found.verdict, found.words, found.exit_code) == (Verdict.FAILED, "its records cannot be read", 6)
    assert "needed a whole Journal" in found.sentence
    assert standing(served, at("08:00"), cycle("twin", "2026-11-21", 12)).verdict is Verdict.PUBLISHED


def test_the_history_counts_published_cycles_and_each_stage_once() -> None:
    def done(stage: str, seconds: float) -> Note:
        return Note(when=at("01:00"), event=Event.STAGE, who="x", stage=stage, seconds=seconds)

    journals = [[done("ocean", seconds), done("ocean", seconds + 1)] for seconds in (9.0, 19.0, 29.0)]
    journals[0].append(done("waves", 5.0))
    (found,) = durations.history([*journals, []])
    # the last of each: 10, 20, 30; the ninth decile of three lies 0.8 of the way from the second to the third
    assert (found.stage, found.median_seconds, found.spread_seconds, found.cycles) == ("ocean", 20.0, 8.0, 3)
    assert durations.history([]) == ()
    assert durations.estimate((), "ocean", None, at("01:00")) is None


def test_readers_are_told_no_name_of_a_machine_a_person_or_a_place(any_store: Store) -> None:
    publish_days(any_store, count=2)
    degraded = "product waves is left out: needed ERA5; found no file in /archive/era5; in /archive; wait"
    kept.publish(any_store, cycle("twin", "2026-11-22", 12), at("06:45"), reasons=(degraded,))
    moment, next_day = at("07:00", date(2026, 11, 24)), cycle("twin", "2026-11-23", 12)
    kept.begin(any_store, next_day, at("06:17", date(2026, 11, 24)))
    kept.fail(any_store, next_day, at("06:18", date(2026, 11, 24)), "ocean", f"found {kept.HOLDER} in /private", 6)
    made = freshness.refresh(any_store, systems.TWIN, moment)
    data = any_store.read_bytes("twin/status.json").decode()
    for private in ("ocean-01", "process", "/private", "/archive", any_store.uri):
        assert private not in data
    assert json.loads(data)["newest"]["degraded_reasons"] == [
        "product waves is left out: needed ERA5; found no file in (a file)"
    ]
    read = freshness.read(any_store, "twin")
    assert read is not None
    assert (read.newest, read.stages, read.well) == (made.newest, made.stages, False)
    assert kept.HOLDER in made.alarms[0].sentence


def test_every_field_of_the_readers_document_is_described() -> None:
    fields = [*Freshness.model_fields.items(), *freshness.Newest.model_fields.items(), *Standing.model_fields.items(),
              *durations.StageHistory.model_fields.items(), *durations.Estimate.model_fields.items()]  # fmt: skip
    assert [name for name, field in fields if not field.description and not field.exclude] == []
    assert [name for name, field in fields if field.exclude] == ["sentence", "holder"]


class Counted(Store):
    """A store that counts what it is asked."""

    asked: Counter[str]

    def find(self, path: str) -> Versioned | None:
        self.asked["find"] += 1
        return super().find(path)

    def folders(self, prefix: str, after: str = "") -> list[str]:
        self.asked["folders"] += 1
        found = super().folders(prefix, after)
        self.asked["names"] += len(found)
        return found


def test_a_thousand_cycles_cost_no_more_than_forty(any_store: Store) -> None:
    """The newest folders and documents are read, and no more, wherever the store is."""
    every = days(date(2026, 11, 21), 200 if any_store.uri.startswith("s3:") else 1000)  # a put to S3 takes its time

    def keep(item: Cycle) -> None:
        manifest = {"revision": 1, "created": item.start.isoformat(), "degraded": False, "degraded_reasons": []}
        any_store.write_json(f"{item.revision_prefix(1)}/manifest.json", manifest)
        kept.hold(any_store, item, item.start - timedelta(hours=1), item.start, released=True)

    def asked(store: Store) -> Counter[str]:
        counted = Counted(store.uri)
        counted.asked = Counter()
        found = freshness.of(counted, systems.TWIN, at("06:30"))
        assert [item.verdict for item in found.cycles] == [
            Verdict.EXPECTED, Verdict.ON_TIME, Verdict.PUBLISHED, Verdict.PUBLISHED,
        ]  # fmt: skip
        return counted.asked

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(keep, every[-40:-1]))
        kept.publish(any_store, every[-1], at("06:45", date(2026, 11, 22)))
        few = asked(any_store)
        list(pool.map(keep, every[:-40]))
    assert asked(any_store) == few
    assert (few["folders"], few["find"] <= 40, few["names"] < 100) == (6, True, True)
