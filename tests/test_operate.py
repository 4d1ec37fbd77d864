"""An operator's commands on one cycle: look, rehearse, start again, supersede, hold, release, go on without."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from forked import Forks
from journeys import Here, contents

from flows.journey import stages
from pipeline import cycle, publish
from pipeline.publish import Manifest
from pipeline.record import journal, judgement
from pipeline.record.journal import Event
from pipeline.record.latest import latest
from pipeline.record.marks import STAGES
from pipeline.store import Store

FIRST, SECOND = "2023-01-01", "2023-01-02"
CYCLE = cycle.cycle("small-sea", FIRST, 0)
STARTED = ("ocean", "surface", "waves", "initialise", "forecast", "quicklooks", "series", "publish")
"""The stages of the small sea: it has no plankton."""


def options(store: Store) -> tuple[str, ...]:
    return ("--system", "small-sea", "--store", store.uri)


def fates(out: str) -> dict[str, str]:
    """Stage -> what would become of it, from the table of a dry run."""
    rows = [[cell.strip() for cell in line.split("│")[1:4]] for line in out.splitlines() if line.startswith("│")]
    return {stage: action for stage, action, _ in rows if stage}


@pytest.fixture
def killed(forks: Forks, folder_store: Store) -> Store:
    """A store in which the first day's run was killed before it drew."""
    assert forks.run(FIRST, folder_store, "forecast: after its mark").finish().code == -signal.SIGKILL
    return folder_store


def test_the_journal_tells_each_stage_once_with_what_it_took(first_day: Store) -> None:
    notes = journal.read(first_day, CYCLE)
    assert [note.event for note in notes][:1] == [Event.BEGUN]
    assert [note.event for note in notes][-1:] == [Event.PUBLISHED]
    assert tuple(note.stage for note in notes if note.event is Event.STAGE) == STARTED
    assert all(note.seconds is not None and note.seconds >= 0 for note in notes if note.event is Event.STAGE)
    assert [note.when for note in notes] == sorted(note.when for note in notes)
    assert all(note.who.startswith("process ") for note in notes)


def test_a_cycle_that_is_put_on_hold_while_it_runs_is_not_published(
    here: Here, folder_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    publication = stages.publication

    def held_before(run: stages.Run, *rest: Any) -> Manifest:
        assert here("hold", FIRST, *options(folder_store), "--reason", "a bad analysis").code == 0
        return publication(run, *rest)

    monkeypatch.setattr(stages, "publication", held_before)
    answer = here.run(FIRST, folder_store)
    assert (answer.code, "a bad analysis" in answer.err) == (7, True)
    assert latest(folder_store, "small-sea") is None
    assert not folder_store.exists(f"{CYCLE.revision_prefix(1)}/manifest.json")


def test_a_dry_run_says_what_a_run_then_does_and_changes_nothing(here: Here, killed: Store) -> None:
    before = contents(killed, "small-sea")
    rehearsed = here.run(FIRST, killed, "--dry-run")
    assert rehearsed.code == 0, rehearsed.err
    assert contents(killed, "small-sea") == before
    expected = dict.fromkeys(STARTED[:5], "reused") | dict.fromkeys(STARTED[5:], "done")
    assert {stage: fates(rehearsed.out)[stage] for stage in STARTED} == expected
    done = here.run(FIRST, killed)
    assert done.code == 0, done.err
    reused = [note.stage for note in journal.read(killed, CYCLE) if note.event is Event.REUSED]
    assert reused == [stage for stage in STARTED if expected[stage] == "reused"]
    again = here.run(FIRST, killed, "--dry-run")
    assert fates(again.out)["run"] == "nothing"


def test_a_run_starts_again_from_the_stage_that_is_named(
    here: Here, killed: Store, both_days: tuple[Store, Store]
) -> None:
    rehearsed = here.run(FIRST, killed, "--from", "initialise", "--dry-run")
    expected = {stage: "reused" if stage in ("ocean", "surface", "waves") else "done" for stage in STARTED}
    assert {stage: fates(rehearsed.out)[stage] for stage in STARTED} == expected
    assert "overwrites" in rehearsed.out
    answer = here.run(FIRST, killed, "--from", "initialise")
    assert answer.code == 0, answer.err
    notes = journal.read(killed, CYCLE)
    cleared = next(place for place, note in enumerate(notes) if note.event is Event.CLEARED)
    assert notes[cleared].stage == "initialise"
    assert " at " in notes[cleared].words
    after = {
        note.stage: note.event for note in notes[cleared:] if note.stage in STARTED and note.event is not Event.CLEARED
    }
    assert after == {s: Event.REUSED if expected[s] == "reused" else Event.STAGE for s in STARTED}
    prefix = CYCLE.revision_prefix(1)
    assert contents(killed, f"{prefix}/ocean.zarr") == contents(both_days[0], f"{prefix}/ocean.zarr")


def test_only_a_stage_that_there_is_can_be_started_from(here: Here, folder_store: Store) -> None:
    answer = here.run(FIRST, folder_store, "--from", "sailing")
    assert answer.code == 2
    assert all(stage in answer.sentence for stage in STAGES)
    assert folder_store.objects("small-sea/cycles") == []


def test_a_signing_key_that_cannot_be_read_is_said_before_anything_is_done(
    here: Here, folder_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOMS_SIGNING_KEY", str(tmp_path / "none.pem"))
    for options in ((), ("--dry-run",)):
        answer = here.run(FIRST, folder_store, *options)
        assert answer.code == 2
        assert "none.pem" in answer.sentence
    assert folder_store.objects("") == []


def test_a_published_cycle_is_superseded_by_its_next_revision_with_the_reason(here: Here, first_day: Store) -> None:
    before = contents(first_day, CYCLE.revision_prefix(1))
    refused = here.run(FIRST, first_day, "--from", "ocean")
    assert refused.code == 2
    assert "--supersede" in refused.sentence
    answer = here.run(FIRST, first_day, "--supersede", "winds were corrected")
    assert answer.code == 0, answer.err
    assert contents(first_day, CYCLE.revision_prefix(1)) == before
    newest = latest(first_day, "small-sea")
    assert newest is not None
    assert (newest.cycle, newest.revision) == ("20230101T00", 2)
    manifest = publish.read_manifest(first_day, CYCLE, 2)
    assert manifest is not None
    assert manifest.facts.superseding == "winds were corrected"
    with xr.open_zarr(first_day.address(f"{CYCLE.revision_prefix(2)}/ocean.zarr"), chunks=None) as ocean:
        assert ocean.attrs["history"].endswith("revision 2: winds were corrected")
    (note,) = [note for note in journal.read(first_day, CYCLE) if note.event is Event.SUPERSEDED]
    assert note.words.startswith("winds were corrected (")
    assert "nothing to do" in here.run(FIRST, first_day).out


def test_what_is_not_published_cannot_be_superseded(here: Here, folder_store: Store) -> None:
    answer = here.run(FIRST, folder_store, "--supersede", "because")
    assert answer.code == 2
    assert folder_store.objects("") == [] or folder_store.objects("small-sea/cycles") == []


def test_a_held_cycle_is_not_run_until_it_is_released(here: Here, folder_store: Store) -> None:
    held = here("hold", FIRST, *options(folder_store), "--reason", "the mooring's data look wrong")
    assert held.code == 0, held.err
    refused = here.run(FIRST, folder_store)
    assert refused.code == 7
    assert "the mooring's data look wrong" in refused.sentence
    assert "goms release" in refused.sentence
    assert fates(here.run(FIRST, folder_store, "--dry-run").out)["run"] == "refused"
    shown = here("stages", FIRST, *options(folder_store)).out
    assert "the cycle: held by " in shown
    assert here("release", FIRST, *options(folder_store), "--reason", "they are right").code == 0
    assert here("release", FIRST, *options(folder_store), "--reason", "once more").code == 2
    assert here.run(FIRST, folder_store).code == 0
    events = [note.event for note in journal.read(folder_store, CYCLE)]
    assert events[:3] == [Event.HELD, Event.RELEASED, Event.BEGUN]


def test_a_decision_needs_a_reason(here: Here, folder_store: Store) -> None:
    assert here("hold", FIRST, *options(folder_store), "--reason", " ").code == 2
    assert judgement.held(folder_store, CYCLE) is None


def test_a_forecast_can_be_published_without_a_stage_that_will_not_be_done(here: Here, folder_store: Store) -> None:
    """Without the waves their product is left out and the manifest says who decided; without maps nothing is lost."""
    assert here("set-complete", FIRST, *options(folder_store), "--stage", "forecast", "--reason", "x").code == 2
    for stage in ("waves", "quicklooks"):
        decided = here("set-complete", FIRST, *options(folder_store), "--stage", stage, "--reason", "no time")
        assert decided.code == 0, decided.err
    assert fates(here.run(FIRST, folder_store, "--dry-run").out)["waves"] == "left out"
    answer = here.run(FIRST, folder_store)
    assert answer.code == 0, answer.err
    manifest = publish.read_manifest(folder_store, CYCLE, 1)
    assert manifest is not None
    assert set(manifest.products) == {"ocean"}
    (reason,) = manifest.degraded_reasons
    assert reason.startswith("product waves is left out: left out by ")
    assert reason.endswith(": no time")
    assert not any(item.path.startswith("quicklooks") for item in manifest.objects)


def test_what_an_operator_leaves_out_may_have_been_begun(here: Here, forks: Forks, folder_store: Store) -> None:
    """A picture of the run that was killed is not in the way of the forecast that has none."""
    assert forks.run(FIRST, folder_store, "quicklooks: between two pictures").finish().code == -signal.SIGKILL
    assert folder_store.objects(f"{CYCLE.revision_prefix(1)}/quicklooks") != []
    decided = here("set-complete", FIRST, *options(folder_store), "--stage", "quicklooks", "--reason", "no time")
    assert decided.code == 0, decided.err
    answer = here.run(FIRST, folder_store)
    assert answer.code == 0, answer.err
    assert publish.published(folder_store, CYCLE) == 1
    assert folder_store.objects(f"{CYCLE.revision_prefix(1)}/quicklooks") == []


def test_a_failure_stands_in_the_journal_and_in_the_stages(here: Here, folder_store: Store, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    answer = here._replace(inputs=empty).run(FIRST, folder_store)
    assert answer.code == 3
    failure = journal.failure(journal.read(folder_store, CYCLE))
    assert failure is not None
    assert (failure.stage, failure.exit_code) == ("ocean", 3)
    assert f"goms: {failure.words}" == answer.sentence
    shown = here("stages", FIRST, *options(folder_store)).out
    assert "failed at ocean (exit 3): needed " in shown
    assert here.run(FIRST, folder_store).code == 0
    assert journal.failure(journal.read(folder_store, CYCLE)) is None
