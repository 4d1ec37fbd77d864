"""``deploy/runbook.md``: one page, every alert finds its entry, and every command in it is one that ``goms`` takes."""

from __future__ import annotations

import re
from pathlib import Path

import command_lines
import pytest

from pipeline.operations import alerts
from pipeline.operations.verdict import Verdict

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "deploy" / "runbook.md").read_text()
ENTRIES = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
ANCHORS = [entry.partition("\n")[0] for entry in ENTRIES]
CODE = re.compile(r"`([^`\n]+)`")
SPANS = [span for paragraph in PAGE.split("\n\n") for span in CODE.findall(paragraph.replace("\n", " "))]
LINES = sorted({span for span in SPANS if span.startswith("goms ")})
FOR_THE_NIGHT = {"status", "stages", "run", "hold", "release", "set-complete", "incident", "backfill", "up", "down",
                 "watch", "housekeeping", "storage", "pin"}  # fmt: skip
MOST_LINES, LONGEST_LINE = 110, 130


def test_it_is_one_page() -> None:
    lines = PAGE.splitlines()
    assert len(lines) <= MOST_LINES
    assert [line for line in lines if len(line) > LONGEST_LINE] == []


@pytest.mark.parametrize("line", LINES)
def test_goms_takes_each_command(line: str) -> None:
    assert command_lines.complaint(line) is None


def test_every_command_of_the_night_is_there() -> None:
    assert {command_lines.named(line) for line in LINES} >= FOR_THE_NIGHT


@pytest.mark.parametrize(("line", "words"), [
    ("goms rerun DATE", "no command"),
    ("goms run DATE --form ocean", "--form"),
    ("goms hold DATE", "reason"),
    ("goms backfill FIRST", "last"),
    ("goms backfill FIRST LAST --workers many", "integer"),
])  # fmt: skip
def test_a_command_that_goms_does_not_take_is_found(line: str, words: str) -> None:
    assert words in (command_lines.complaint(line) or "")


def test_options_that_stand_alone_exist() -> None:
    """``--workers 2`` in the text of an entry is an option of a command of that very entry."""
    for entry in ENTRIES:
        spans = CODE.findall(entry.replace("\n", " "))
        names = [span for span in spans if span.startswith("goms ")]
        for option in (span for span in spans if span.startswith("--") and span != "--system SYSTEM"):
            complaints = [command_lines.complaint(f"{name} {option}") for name in names]
            assert None in complaints, (option, complaints)


def test_every_alert_finds_its_entry() -> None:
    wanted = {*alerts.ANCHORS.values(), *alerts.SYMPTOMS.values(), alerts.DIED, alerts.FAULT, "all-well"}
    assert wanted - set(ANCHORS) == set()
    assert set(Verdict) - {*alerts.SYMPTOMS} == {Verdict.FAILED, Verdict.PUBLISHED, Verdict.EXPECTED, Verdict.ON_TIME,
                                                 Verdict.SKIPPED}  # fmt: skip


def test_every_entry_has_a_name_of_its_own_and_says_what_to_type() -> None:
    assert len(set(ANCHORS)) == len(ANCHORS)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", name) for name in ANCHORS)
    assert [name for name, entry in zip(ANCHORS, ENTRIES, strict=True) if "**Type**" not in entry] == []


def test_its_links_lead_to_its_entries() -> None:
    links = re.findall(r"\]\(#([^)]+)\)", PAGE)
    assert links
    assert set(links) <= set(ANCHORS)


def test_files_that_it_names_are_there() -> None:
    named = {word.rstrip("/") for span in SPANS for word in span.split() if word.startswith("deploy/")}
    named -= {"deploy/desk", "deploy/metrics", "deploy/watch", "deploy/secrets"}  # of the cluster; made by prepare.py
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
