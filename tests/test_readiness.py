"""What follows from what the archives have: first rung, wait, lower rung, give up; and a sensor that stops waiting."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import native_files as native
import pytest
from journeys import Here
from small_goms import SMALL_SEA

from flows import clock
from flows.journey import holding, sensing, taking
from flows.journey.stages import Run
from pipeline import cycle, provenance, systems
from pipeline.errors import CycleHeld, InputUnavailable
from pipeline.ingest import ingest
from pipeline.intake import Asked, Choice
from pipeline.operations import freshness, readiness
from pipeline.operations.readiness import Readiness, Verdict
from pipeline.record import journal
from pipeline.record.journal import Event
from pipeline.sources import SOURCES, Native, Request, Sighting
from pipeline.store import Store
from pipeline.systems import CORAL_SEA, SYSTEMS, Ladder, Rung, System
from pipeline.variables import Kind, of_kind

START = datetime(2023, 1, 1, tzinfo=UTC)
EXPECTED, READY_BY, GIVE_UP = 4.0, 6.0, 9.0


class Archive:
    """An archive that has the start from a number of hours after it on; it counts who looks and who fetches."""

    kinds: tuple[Kind, ...] = (Kind.OCEAN,)

    def __init__(self, name: str, from_hours: float, *, refused: bool = False, age_hours: float = 0.0) -> None:
        self.name = self.title = name
        self.from_hours, self.refused, self.age_hours = from_hours, refused, age_hours
        self.now, self.looks, self.fetches = START, 0, 0

    def look(self, request: Request) -> Sighting:
        self.looks += 1
        there = self.now >= START + timedelta(hours=self.from_hours)
        if self.refused:
            return Sighting(False, None, "its list", f"{self.name} is damaged", refused=True)
        newest = START - timedelta(hours=self.age_hours) if there else None
        return Sighting(there, newest, "its list", f"{self.name} {'has it' if there else 'is late'}")

    def fetch(self, request: Request) -> Native:
        self.fetches += 1
        raise InputUnavailable(self.name, found="nothing", where=self.name, action="wait")


def system_of(*rungs: Rung, required: bool = True) -> System:
    ladder = Ladder(kind=Kind.OCEAN, rungs=rungs, required=required, expected_by_hours=EXPECTED,
                    ready_by_hours=READY_BY, give_up_hours=GIVE_UP)  # fmt: skip
    return CORAL_SEA.model_copy(update={"ladders": (ladder,)})


def looked(*archives: Archive, hours: float, wait: bool = True, usual: float = 0.0, every: bool = False,
           required: bool = True) -> Readiness:  # fmt: skip
    rungs = [Rung(source=item.name, maximum_age_days=7, usual_age_days=usual) for item in archives]
    asked = Asked(
        system_of(*rungs, required=required), cycle.cycle("coral-sea", "2023-01-01", 0), Kind.OCEAN, None, Path()
    )
    moment = START + timedelta(hours=hours)
    for archive in archives:
        archive.now = moment
    return readiness.look(asked, moment, wait=wait, every=every, sources={item.name: item for item in archives})


def test_the_first_rung_is_taken_as_soon_as_it_is_there() -> None:
    found = looked(Archive("first", 0), Archive("second", 0), hours=1)
    assert (found.verdict, found.rung, found.choice) == (Verdict.READY, 0, Choice())
    assert len(found.rungs) == 1


def test_until_its_time_only_the_first_rung_is_looked_at_and_waited_for() -> None:
    second = Archive("second", 0)
    found = looked(Archive("first", 99), second, hours=5.99)
    assert (found.verdict, found.rung, found.until) == (Verdict.WAIT, None, START + timedelta(hours=READY_BY))
    assert found.words == "waiting until 2023-01-01 06:00 UTC: first is late"
    assert second.looks == 0


def test_when_its_time_is_up_the_next_rung_is_taken_with_the_reason() -> None:
    found = looked(Archive("first", 99), Archive("second", 99), Archive("third", 0), hours=6)
    assert (found.verdict, found.rung) == (Verdict.TAKE, 2)
    assert found.words == "take rung 2, third, because first is late; second is late"
    assert found.choice == Choice(2, "not there by 2023-01-01 06:00 UTC (first: first is late; second: second is late)")


def ladder_of(*archives: Archive, hours: float, inputs: str | None = None) -> Readiness:
    """As ``looked``, where the first archive is not expected to have a new start."""
    rungs = [Rung(source=item.name, expected=place > 0) for place, item in enumerate(archives)]
    start = cycle.cycle("coral-sea", "2023-01-01", 0)
    for archive in archives:
        archive.now = START + timedelta(hours=hours)
    return readiness.look(Asked(system_of(*rungs), start, Kind.OCEAN, inputs, Path()), START + timedelta(hours=hours),
                          sources={item.name: item for item in archives})  # fmt: skip


def test_what_is_not_expected_is_taken_where_it_is_and_never_waited_for() -> None:
    """Like a finished reanalysis at the head of a daily run's ladder."""
    found = ladder_of(Archive("finished", 99), Archive("daily", 0), Archive("third", 0), hours=1)
    assert (found.verdict, found.rung, found.choice, found.words) == (Verdict.READY, 1, Choice(), "ready")
    found = ladder_of(Archive("finished", 0), Archive("daily", 0), hours=1)
    assert (found.verdict, found.rung) == (Verdict.READY, 0)
    found = ladder_of(Archive("finished", 99), Archive("daily", 99), Archive("third", 0), hours=1)
    assert (found.verdict, found.words) == (Verdict.WAIT, "waiting until 2023-01-01 06:00 UTC: daily is late")
    found = ladder_of(Archive("finished", 99), Archive("daily", 99), Archive("third", 0), hours=7)
    assert found.choice == Choice(2, "not there by 2023-01-01 06:00 UTC (daily: daily is late)")
    damaged = ladder_of(Archive("finished", 0, refused=True), Archive("daily", 0), hours=7)
    assert damaged.verdict is Verdict.LOOK


def test_files_that_the_operator_names_come_first() -> None:
    files, archive = Archive("files", 0), Archive("archive", 0)
    files.reads_inputs = True  # type: ignore[attr-defined]
    rungs = (Rung(source="archive"), Rung(source="files"))
    sources = {"archive": archive, "files": files}
    for inputs, first in ((None, "archive"), ("a folder", "files")):
        asked = Asked(system_of(*rungs), cycle.cycle("coral-sea", "2023-01-01", 0), Kind.OCEAN, inputs, Path())
        found = readiness.look(asked, START + timedelta(hours=1), sources=sources)
        assert ([rung.source for rung in found.rungs], found.rung) == ([first], 0)
    assert [name for name, source in SOURCES.items() if getattr(source, "reads_inputs", False)] == [
        "hycom", "era5", "nobm", "globcurrent"
    ]  # fmt: skip


def test_of_the_global_system_a_new_start_is_not_degraded_by_what_never_has_one(tmp_path: Path) -> None:
    """Plankton from yesterday's own forecast, where NOBM, a finished reanalysis, stands above it for past starts."""
    system = next(system for system in SYSTEMS if system.name == "global-quarter-degree")
    (ladder,) = [ladder for ladder in system.ladders if ladder.kind is Kind.BIOGEOCHEMISTRY]
    assert [rung.source for rung in ladder.rungs if rung.expected] == ["own-forecast", "copernicus", "climatology"]
    native.write_nobm(tmp_path / "nobm_20230101.nc")
    past, new = (
        provenance.records(ingest(
            system.model_copy(update={"ladders": (ladder.model_copy(update={"rungs": rungs}),)}), Kind.BIOGEOCHEMISTRY,
            START.replace(day=day, hour=12), inputs=str(tmp_path), scratch=tmp_path,
            sources={**SOURCES, "own-forecast": SOURCES["twin"]},
        )[0])[0]
        for day, rungs in ((1, ladder.rungs), (9, ladder.rungs))
    )  # fmt: skip
    assert (past.source, past.degraded) == ("nobm", None)
    assert (new.source, new.degraded) == ("twin", None)
    assert new.rung > 0


def test_with_nothing_there_it_waits_until_it_gives_up() -> None:
    found = looked(Archive("first", 99), Archive("second", 99), hours=8)
    assert (found.verdict, found.until) == (Verdict.WAIT, START + timedelta(hours=GIVE_UP))
    found = looked(Archive("first", 99), Archive("second", 99), hours=9)
    assert (found.verdict, found.rung, found.choice) == (Verdict.GIVE_UP, None, Choice())
    assert found.words == "given up, the forecast is not made: first is late; second is late"
    optional = looked(Archive("first", 99), hours=9, required=False)
    assert optional.words == "given up, its product is left out: first is late"


def test_who_does_not_wait_takes_what_is_there() -> None:
    assert looked(Archive("first", 99), Archive("second", 0), hours=1, wait=False).rung == 1
    assert looked(Archive("first", 99), Archive("second", 99), hours=1, wait=False).verdict is Verdict.GIVE_UP


def test_what_is_damaged_is_not_passed_over() -> None:
    """A file that is still growing is waited for; afterwards it is a person's matter, not the next rung's."""
    assert looked(Archive("first", 0, refused=True), Archive("second", 0), hours=5).verdict is Verdict.WAIT
    found = looked(Archive("first", 0, refused=True), Archive("second", 0), hours=6)
    assert (found.verdict, found.rung, found.choice) == (Verdict.LOOK, 0, Choice())
    assert found.words == "rung 0, first, is there and cannot be used: first is damaged"


def test_the_usual_lateness_of_an_archive_is_an_age_and_not_an_alarm() -> None:
    found = looked(Archive("first", 0, age_hours=120), hours=1, usual=6)
    assert (found.verdict, found.words) == (Verdict.READY, "ready, 120 h old as is usual")
    later = looked(Archive("first", 0, age_hours=150), hours=1, usual=6)
    assert later.words == "ready, 150 h old"


def test_every_rung_is_looked_at_where_a_person_asks() -> None:
    found = looked(Archive("first", 0), Archive("second", 99), hours=1, every=True)
    assert [(rung.source, rung.ready) for rung in found.rungs] == [("first", True), ("second", False)]


def test_looking_fetches_nothing() -> None:
    archives = Archive("first", 99), Archive("second", 0)
    looked(*archives, hours=7, every=True)
    assert [archive.fetches for archive in archives] == [0, 0]


class Clock:
    """A clock that moves when it is waited on."""

    def __init__(self, hours: float) -> None:
        self.now, self.pauses = START + timedelta(hours=hours), list[float]()

    def __call__(self) -> datetime:
        return self.now

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += timedelta(seconds=seconds)


def sensed(clock: Clock, *archives: Archive) -> Readiness:
    def look(moment: datetime) -> Readiness:
        return looked(*archives, hours=(moment - START) / timedelta(hours=1))

    return sensing.sensed(look, clock, clock.pause, random.Random(1))


def test_the_sensor_sees_the_first_rung_within_the_longest_pause() -> None:
    first, clock = Archive("first", 3), Clock(0)
    found = sensed(clock, first, Archive("second", 0))
    assert (found.verdict, found.rung) == (Verdict.READY, 0)
    longest = timedelta(seconds=readiness.LONGEST_PAUSE_SECONDS * (1 + readiness.SPREAD))
    assert START + timedelta(hours=3) <= clock.now <= START + timedelta(hours=3) + longest
    assert first.looks <= 30


def test_the_sensor_takes_the_next_rung_at_the_deadline_itself() -> None:
    clock, second = Clock(0), Archive("second", 0)
    found = sensed(clock, Archive("first", 99), second)
    assert (found.verdict, found.rung) == (Verdict.TAKE, 1)
    assert clock.now == START + timedelta(hours=READY_BY)
    assert second.looks == 1


def test_the_sensor_gives_up_at_its_time() -> None:
    clock = Clock(0)
    assert sensed(clock, Archive("first", 99), Archive("second", 99)).verdict is Verdict.GIVE_UP
    assert clock.now == START + timedelta(hours=GIVE_UP)


def test_a_sensor_that_may_not_go_on_stops_waiting() -> None:
    """As when a person puts the cycle on hold two hours after its run began to wait."""
    clock = Clock(0)

    def permitted() -> None:
        if clock.now >= START + timedelta(hours=2):
            raise CycleHeld("a cycle free to run", found="it held", where="there", action="release it")

    with pytest.raises(CycleHeld):
        sensing.sensed(lambda moment: looked(Archive("first", 99), Archive("second", 99), hours=0), clock, clock.pause,
                       random.Random(1), permitted=permitted)  # fmt: skip
    longest = timedelta(seconds=readiness.LONGEST_PAUSE_SECONDS * (1 + readiness.SPREAD))
    assert clock.now < START + timedelta(hours=2) + longest


def test_pauses_grow_to_their_longest() -> None:
    pauses = readiness.pauses(random.Random(0))
    several = [next(pauses) for _ in range(20)]
    assert 24 <= several[0] <= 36
    assert all(480 <= pause <= 720 for pause in several[10:])


def test_a_ladder_entered_at_a_lower_rung_says_why_on_the_product(tmp_path: Path) -> None:
    """The reason goes with the record, from which the manifest, the attributes and status.json have it."""
    (part,) = ingest(CORAL_SEA, Kind.SURFACE, START, inputs=None, scratch=tmp_path, first_rung=1,
                     passed_over="not there by 2023-01-01 06:00 UTC (era5: late)")  # fmt: skip
    (record,) = provenance.records(part)
    assert (record.source, record.rung) == ("climatology", 1)
    assert record.degraded == (
        "u10, v10, t2m, msl and sp from climatology: not there by 2023-01-01 06:00 UTC (era5: late)"
    )


def test_a_usual_age_is_told_and_does_not_degrade(tmp_path: Path) -> None:
    native.write_era5(tmp_path / "era5.nc")
    rungs = (Rung(source="era5", maximum_age_days=7, usual_age_days=6),)
    ladder = Ladder(kind=Kind.SURFACE, rungs=rungs, required=True)
    system = CORAL_SEA.model_copy(update={"ladders": (ladder,)})
    five, seven = (ingest(system, Kind.SURFACE, START + timedelta(days=days), inputs=str(tmp_path), scratch=tmp_path)
                   for days in (5, 7))  # fmt: skip
    (usual,), (late,) = provenance.records(five[0]), provenance.records(seven[0])
    assert (usual.age_hours, usual.degraded) == (120.0, None)
    assert "120 h old, as is usual for this archive" in usual.note
    assert late.degraded is not None
    assert "168 h old" in late.degraded


def sighted(kind: Kind, source: str, folder: Path, day: int = 1, age_days: float = 0.0) -> Sighting:
    when = datetime(2023, 1, day, tzinfo=UTC)
    names = tuple(entry.name for entry in of_kind(kind))
    return SOURCES[source].look(
        Request(kind, when, names, CORAL_SEA.depths_m, CORAL_SEA.grid, str(folder), folder, maximum_age_days=age_days)
    )


def test_files_are_seen_by_their_headers(tmp_path: Path) -> None:
    native.write_hycom(tmp_path / "hycom.nc")
    native.write_era5(tmp_path / "era5.nc")
    native.write_nobm(tmp_path / "nobm_20230101.nc")
    for kind, source in ((Kind.OCEAN, "hycom"), (Kind.SURFACE, "era5"), (Kind.BIOGEOCHEMISTRY, "nobm")):
        sighting = sighted(kind, source, tmp_path)
        assert (sighting.ready, sighting.newest, sighting.how) == (True, START, "the files' headers"), source
    assert not sighted(Kind.OCEAN, "hycom", tmp_path, day=2).ready
    aged = sighted(Kind.SURFACE, "era5", tmp_path, day=6, age_days=7)
    assert (aged.ready, aged.newest) == (True, START)
    assert not sighted(Kind.SURFACE, "era5", tmp_path, day=6, age_days=4).ready


def test_an_absent_folder_and_a_damaged_file_are_sightings(tmp_path: Path) -> None:
    assert not sighted(Kind.OCEAN, "hycom", tmp_path / "absent").ready
    path = native.write_hycom(tmp_path / "hycom.nc")
    path.write_bytes(path.read_bytes()[:5000])
    sighting = sighted(Kind.OCEAN, "hycom", tmp_path)
    assert (sighting.ready, sighting.refused) == (False, True)
    assert "whole netCDF file" in sighting.words


def all_ladders() -> Sequence[tuple[System, Ladder]]:
    return [(system, ladder) for system in SYSTEMS for ladder in system.ladders]


@pytest.mark.parametrize(
    ("system", "ladder"), all_ladders(), ids=lambda item: getattr(item, "name", item.__class__.__name__)
)
def test_ladders_leave_time_to_forecast(system: System, ladder: Ladder) -> None:
    """What is waited for is decided on before the cycle is due."""
    if system.schedule is not None:
        assert ladder.give_up_hours < system.schedule.publish_by_hours


def test_a_run_that_waits_says_so_where_status_reads(here: Here, folder_store: Store) -> None:
    """Within ``waiting`` the sensor notes what it waits for, and that it came; the store's own status has it."""
    late = SMALL_SEA.model_copy(update={"ladders": tuple(
        ladder.model_copy(update={"expected_by_hours": 1.0, "ready_by_hours": 1e6, "give_up_hours": 1e6})
        for ladder in SMALL_SEA.ladders)})  # fmt: skip
    run = Run(system="small-sea", cycle="20230103T00", store=folder_store.uri, inputs=str(here.inputs))
    said = list[str]()

    def looks(seconds: float) -> None:
        assert seconds >= 0.0
        said.append(freshness.of(run.opened, late, clock.now()).cycles[0].words)
        raise KeyboardInterrupt

    with holding.holding(run.opened, run.start, 60), sensing.waiting(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(systems, "SYSTEMS", (late,))
        with pytest.raises(KeyboardInterrupt):
            sensing.rung_for(run, Kind.OCEAN, pause=looks)
    assert said[0].startswith("waiting for ocean for ")
    (note,) = journal.read(folder_store, run.start)
    assert (note.event, note.stage) == (Event.WAITING, "ocean")
    assert note.words.startswith("waiting until ")
    assert "HYCOM" in note.words


def test_what_a_source_says_of_its_fetch_is_shown_while_it_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    """Said on the thread that fetches."""
    said = logging.getLogger("pipeline.sources.hycom_archive").info
    with taking.heard():
        thread = threading.Thread(target=said, args=("%s: %d of %d slabs", "HYCOM [1]", 6, 61))
        thread.start()
        thread.join()
    said("nobody hears this")
    shown = capsys.readouterr().err
    assert "HYCOM [1]: 6 of 61 slabs" in shown
    assert "nobody" not in shown
