"""Many days at once: which are run, in which order, when they will be done, and what is said of those that failed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from journeys import Goms, contents
from prefect.client.schemas.objects import FlowRun
from prefect.states import Crashed
from small_goms import SMALL_SEA, fired

from flows import clock
from flows.service import backfill, submission
from flows.service.backfill import BEFORE, FAILED, HELD, LEFT, PUBLISHED, Ended, Tally
from flows.service.server import Away
from pipeline import cycle, publish
from pipeline.errors import UsageError
from pipeline.record import judgement
from pipeline.record.judgement import Judgement, Kind
from pipeline.store import Store

DAYS = [cycle.cycle("small-sea", f"2023-01-{day:02d}", 0) for day in range(1, 5)]


class Instant:
    """Runs cycles in no time: what began, how many at once, and what was given up."""

    def __init__(self, lasts: dict[str, int] | None = None) -> None:
        self.lasts = lasts or {}
        self.begun: list[str] = []
        self.going: set[str] = set()
        self.most = 0
        self.given_up: list[str] = []

    def begin(self, wanted: cycle.Cycle) -> cycle.Cycle:
        self.begun.append(wanted.key)
        self.going.add(wanted.key)
        self.most = max(self.most, len(self.going))
        return wanted

    def end(self, begun: cycle.Cycle) -> Ended | None:
        self.lasts[begun.key] = self.lasts.get(begun.key, 0) - 1
        if self.lasts[begun.key] >= 0:
            return None
        self.going.discard(begun.key)
        return Ended(begun, PUBLISHED)

    def give_up(self, begun: cycle.Cycle) -> None:
        self.given_up.append(begun.key)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "POLL_SECONDS", 0.0)


def test_a_span_has_both_its_ends_and_either_order() -> None:
    oldest = backfill.span(SMALL_SEA, "2023-01-01", "2023-01-04", newest_first=False)
    assert oldest == DAYS
    assert backfill.span(SMALL_SEA, "2023-01-01", "2023-01-04", newest_first=True) == DAYS[::-1]
    with pytest.raises(UsageError, match="2023-01-04 after 2023-01-01"):
        backfill.span(SMALL_SEA, "2023-01-04", "2023-01-01", newest_first=False)


def test_published_and_held_cycles_are_not_run_and_do_not_count_for_the_cap(folder_store: Store) -> None:
    """A cycle is published that has a manifest, whatever is in it."""
    folder_store.write_bytes(f"{DAYS[0].revision_prefix(1)}/manifest.json", b"{}")
    why = Judgement(kind=Kind.HELD, who="ada at desk", when=clock.now(), why="files are being mended")
    judgement.judge(folder_store, DAYS[1], why)
    wanted, ended = backfill.sort_out(folder_store, DAYS, cap=1)
    assert wanted == [DAYS[2]]
    assert [(item.cycle, item.how, item.code) for item in ended] == [
        (DAYS[0], BEFORE, 0), (DAYS[1], HELD, 0), (DAYS[3], LEFT, 0)]  # fmt: skip
    assert "ada at desk: files are being mended" in ended[1].words


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize(("workers", "most"), [(1, 1), (2, 2), (9, 4)])
def test_no_more_cycles_go_on_at_a_time_than_there_are_workers(workers: int, most: int) -> None:
    place = Instant({item.key: 3 for item in DAYS})
    ended = list(backfill.run(place, DAYS, workers))
    assert place.begun == [item.key for item in DAYS]
    assert (place.most, {item.cycle for item in ended}) == (most, set(DAYS))


@pytest.mark.usefixtures("hurried")
def test_a_backfill_that_is_left_leaves_nothing_running() -> None:
    place = Instant({DAYS[1].key: 10**9})
    ended = backfill.run(place, DAYS, workers=2)
    assert next(ended).cycle == DAYS[0]
    next(ended)
    ended.close()
    assert place.given_up == [DAYS[1].key] or set(place.given_up) == {DAYS[1].key, DAYS[3].key}


def test_the_estimate_is_the_mean_times_the_rounds_that_are_left() -> None:
    """Means of 100 s; five cycles left for two workers are three rounds."""
    tally = Tally(7, workers=2)
    tally.count(Ended(DAYS[0], PUBLISHED, seconds=80.0))
    said = tally.count(Ended(DAYS[1], PUBLISHED, seconds=120.0))
    assert tally.remaining(5) == timedelta(seconds=300)
    assert said.startswith("2 of 7  20230102T00 published, 120 s; ends about ")


def test_why_a_cycle_failed_is_said_as_it_is(
    folder_store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Though it has what would colour a line."""

    class Failing(Instant):
        def end(self, begun: cycle.Cycle) -> Ended:
            return Ended(begun, FAILED, 4, "found [nan nan] in [/data/a.nc]")

    monkeypatch.setattr(backfill, "Here", lambda asked: Failing())
    asked = backfill.Asked(SMALL_SEA, folder_store, None, "persistence", 0)
    options = {"workers": 1, "newest_first": False, "cap": None, "served": False}
    assert [item.code for item in backfill.fill(asked, "2023-01-01", "2023-01-01", **options)] == [4]
    assert "20230101T00 failed, 0 s: found [nan nan] in [/data/a.nc]" in capsys.readouterr().err


@pytest.mark.usefixtures("hurried")
def test_a_server_that_comes_back_is_asked_what_became_of_its_runs(
    folder_store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And one that does not is not waited for without end."""
    silent, pool = [0, 1, 2], backfill.WorkPool(backfill.Asked(SMALL_SEA, folder_store, None, "persistence", 0))
    begun = backfill.Submitted(DAYS[0], FlowRun(flow_id=uuid4()), 0.0)

    def look(run: FlowRun) -> FlowRun:
        if silent:
            raise Away(f"a server {silent.pop()}", found="none", where="here", action="wait")
        return run.model_copy(update={"state": Crashed(message="out of memory")})

    monkeypatch.setattr(submission, "look", look)
    ended = pool.end(begun)
    assert ended is not None
    assert (ended.how, ended.words, silent) == (FAILED, "out of memory", [])
    assert capsys.readouterr().err.count("waiting, 900 s at most: needed a server 2") == 1
    silent.append(3)
    monkeypatch.setattr(backfill, "AWAY_SECONDS", 0.0)
    with pytest.raises(Away, match="a server 3"):
        pool.end(begun)


def test_a_day_that_has_not_come_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Today is, though its start is later today: its latest is nobody else's."""
    monkeypatch.setattr(clock, "now", lambda: datetime(2023, 1, 3, 0, 30, tzinfo=UTC))
    later = SMALL_SEA.model_copy(update={"start_hour": 12})
    assert len(backfill.span(later, "2023-01-01", "2023-01-03", newest_first=False)) == 3
    with pytest.raises(UsageError, match="found 2023-01-04, and today is 2023-01-03"):
        backfill.span(later, "2023-01-01", "2023-01-04", newest_first=False)


def test_the_exit_code_is_that_of_the_first_failure() -> None:
    good, late = Ended(DAYS[0], PUBLISHED), Ended(DAYS[1], FAILED, 3, "needed")
    assert backfill.exit_code([good]) == 0
    assert backfill.exit_code([good, late, Ended(DAYS[2], FAILED, 4)]) == 3


def test_days_are_filled_by_processes_of_this_machine_and_not_twice(goms: Goms, folder_store: Store) -> None:
    """The third day has no files. Run again, the second is published before, and the third fails the same way."""
    goms.environment.update(SMALL_SEA_MASKS=str(goms.masks), SMALL_SEA_FIRED=fired())
    goms.environment["PYTHONPATH"] = f"{Path(__file__).parent / 'small_site'}:{goms.environment['PYTHONPATH']}"
    words = ("backfill", "2023-01-02", "2023-01-03", *goms.request(folder_store), "--workers", "2")
    first = goms(*words)
    assert first.code == 3, first.err
    assert "2 cycles to run on 2 processes of this machine, 0 not" in first.err
    assert "2 of 2" in first.err
    assert [publish.published(folder_store, item) for item in DAYS[1:3]] == [1, None]
    (row,) = [line for line in first.out.splitlines() if "20230103T00" in line]
    assert "failed" in row
    assert "needed" in row
    before = contents(folder_store, "small-sea/cycles")
    again = goms(*words, "--newest-first")
    assert again.code == 3
    assert "1 cycles to run" in again.err
    assert "1 of 1" in again.err
    assert contents(folder_store, "small-sea/cycles") == before
