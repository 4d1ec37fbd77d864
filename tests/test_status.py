"""What ``goms status`` says: readable on a narrow terminal and on a wide one, complete for programs."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path

import kept_cycles as kept
import pytest
from rich.console import Console
from small_goms import SMALL_SEA
from test_freshness import OPEN, at, publish_days
from typer.testing import CliRunner

from flows import clock
from flows.cli import app
from flows.desk import status
from pipeline import systems
from pipeline.cycle import cycle
from pipeline.operations import freshness, said
from pipeline.operations.said import Said
from pipeline.record.journal import Event, Note
from pipeline.store import Store

SENTENCE = "needed temperatures within -3..40 degC; found 71.2 degC; in /archive/hycom.nc; look at the file"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(clock, "now", lambda: at("06:30"))
    monkeypatch.setattr(status, "now", lambda: at("06:30"))
    return tmp_path


def shown(store: Store, width: int, moment: str = "06:30") -> str:
    """What a terminal of this width shows of the twin."""
    made, looked = freshness.of(store, systems.TWIN, at(moment)), said.recall(store, "twin").looked
    console = Console(width=width, no_color=True, highlight=False)
    with console.capture() as captured:
        console.print(status.page(store.uri, at(moment), [(made, looked)], ["coral-sea"]))
    lines = captured.get().splitlines()
    assert max(len(line) for line in lines) <= width
    return "\n".join(line.rstrip() for line in lines)


@pytest.mark.parametrize("width", [80, 120])
def test_a_failed_cycle_says_why_and_what_to_type(folder_store: Store, width: int) -> None:
    publish_days(folder_store)
    said.remember(folder_store, "twin", Said(looked=at("06:29")))
    kept.begin(folder_store, OPEN, at("06:17"))
    kept.fail(folder_store, OPEN, at("06:18"), "ocean", SENTENCE, 4)
    text = shown(folder_store, width)
    for line in (
        "twin  1 NEEDS SOMEBODY",
        "  newest: 2026-11-21 12 UTC r1, 42 h old, published Sun 06:45",
        "  cycle          verdict            stage  since  published by       due",
        "  2026-11-23 12  expected at 06:17                ~Tue 06:42 +0 min  Tue 12:00",
        "  2026-11-22 12  FAILED             ocean  06:18  ~06:55 +0 min      12:00",
        "  2026-11-21 12  published                        Sun 06:45          Sun 12:00",
        "  2026-11-22 an input is not what it says it is at ocean",
        "  type goms run 2026-11-22 --system twin",
        "  look goms stages 2026-11-22 --system twin",
        "  read deploy/runbook.md#input-refused",
        "nothing was ever made of coral-sea",
    ):
        assert line in text.splitlines(), text
    assert SENTENCE in re.sub(r"\s+", " ", text)
    assert "from 10 cycles" in re.sub(r"\s+", " ", text)


def test_a_correction_that_failed_is_said(folder_store: Store) -> None:
    publish_days(folder_store)
    kept.publish(folder_store, OPEN, at("06:17"))
    why = Note(when=at("06:20"), event=Event.SUPERSEDED, who=kept.HOLDER, words="winds were corrected (someone)")
    kept.write(folder_store, OPEN, why)
    kept.begin(folder_store, OPEN, at("06:20"), "ocean")
    kept.fail(folder_store, OPEN, at("06:25"), "surface", "needed a winter", 4)
    text = shown(folder_store, 120)
    assert "  2026-11-22 published; r2 failed at surface" in text.splitlines()
    assert "r2 is to supersede it: winds were corrected (someone); needed a winter" in text


def test_a_damaged_system_hides_no_other(desk: Path, folder_store: Store) -> None:
    publish_days(folder_store, count=2)
    folder_store.write_bytes("coral-sea/latest.json", b"{")
    answer = CliRunner().invoke(app, ["status", "--store", folder_store.uri])
    assert answer.exit_code == 6
    assert "needed a whole Latest" in answer.stderr
    assert "coral-sea  NEEDS SOMEBODY: what is kept of it cannot be read (#store)" in answer.stdout
    assert "newest: 2026-11-21 12 UTC r1" in answer.stdout
    answer = CliRunner().invoke(app, ["status", "--store", folder_store.uri, "--json"])
    assert answer.exit_code == 6
    assert [item["system"] for item in json.loads(answer.stdout)] == ["twin"]


@pytest.mark.parametrize("width", [80, 120])
def test_a_run_under_way_shows_where_it_is_and_who_is_at_it(folder_store: Store, width: int) -> None:
    publish_days(folder_store)
    kept.begin(folder_store, OPEN, at("06:17"), "ocean", "surface", "initialise")
    text = shown(folder_store, width)
    assert "  2026-11-22 12  on time            forecast  06:20  ~06:42 +0 min      12:00" in text.splitlines()
    assert f"at it: {kept.HOLDER}" in re.sub(r"\s+", " ", text)
    assert "all well" in text
    assert "nobody watches it: goms watch" in text


def test_a_watch_that_is_silent_is_said(folder_store: Store) -> None:
    publish_days(folder_store)
    said.remember(folder_store, "twin", Said(looked=at("05:59")))
    assert "the watch is silent since Mon 05:59 (#watch-silent)" in shown(folder_store, 120)


def test_degraded_reasons_are_all_shown(folder_store: Store) -> None:
    reasons = ("air temperature comes from climatology", "product [waves] is left out")
    kept.publish(folder_store, cycle("twin", "2026-11-21", 12), at("06:45", date(2026, 11, 22)), reasons=reasons)
    text = shown(folder_store, 80)
    assert all(f"degraded: {reason}" in text for reason in reasons)


def test_programs_get_everything_with_the_private_words(desk: Path, any_store: Store) -> None:
    publish_days(any_store, count=2)
    kept.begin(any_store, OPEN, at("06:17"), "ocean")
    answer = CliRunner().invoke(app, ["status", "--store", any_store.uri, "--json"], catch_exceptions=False)
    assert answer.exit_code == 0
    (twin,) = json.loads(answer.stdout)
    assert (twin["system"], twin["well"], twin["newest"]["cycle"]) == ("twin", True, "20261121T12")
    (standing,) = [item for item in twin["cycles"] if item["cycle"] == OPEN.key]
    assert (standing["stage"], standing["holder"]) == ("surface", kept.HOLDER)


def test_a_store_that_cannot_be_read_is_exit_6(desk: Path) -> None:
    (desk / "file").write_text("")
    answer = CliRunner().invoke(app, ["status", "--store", str(desk / "file")])
    assert (answer.exit_code, answer.stderr.count("\n")) == (6, 1)


def test_a_real_run_leaves_what_the_status_is_made_of(first_day: Store) -> None:
    """The journal of a run as it is: every stage once, in order, and a document for readers."""
    found = freshness.read(first_day, "small-sea")
    assert found is not None
    assert found.newest is not None
    assert (found.newest.cycle, found.newest.degraded, found.well) == ("20230101T00", False, True)
    assert [item.stage for item in found.stages] == [
        "ocean", "surface", "waves", "initialise", "forecast", "quicklooks", "series", "publish",
    ]  # fmt: skip
    assert all(item.cycles == 1 for item in found.stages)
    assert all(item.median_seconds > 0 for item in found.stages)
    now = freshness.of(first_day, SMALL_SEA, at("06:30"))
    assert (now.stages, now.cycles, now.scheduled) == (found.stages, (), False)
