"""Lines of JSON: what each is about is bound once; one file a cycle, bounded; stderr for people or for machines."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from journeys import Goms, Here
from rich.console import Console

from flows import logs
from flows.progress import Progress
from pipeline.cycle import cycle
from pipeline.errors import InputRefused
from pipeline.store import Store

FIRST = "2023-01-01"
KEY = cycle("small-sea", FIRST, 0).key


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GOMS_SCRATCH", str(tmp_path))
    monkeypatch.delenv("GOMS_LOG_FORMAT", raising=False)
    return tmp_path


def lines(scratch: Path, key: str = KEY, system: str = "small-sea") -> list[dict[str, Any]]:
    return [json.loads(line) for line in logs.path(scratch, system, key).read_text().splitlines()]


def test_what_is_bound_once_is_on_every_line_inside_and_on_none_outside(scratch: Path) -> None:
    with logs.of_run("small-sea", KEY, "the-run"):
        logs.event("first")
        with logs.bound(stage="forecast"):
            logs.event("second", seconds=1.5, bytes=None)
        logs.event("third")
    logs.event("about no cycle: it has no file")
    first, second, third = lines(scratch)
    assert {name: first[name] for name in ("level", "system", "cycle", "run", "message")} == {
        "level": "info", "system": "small-sea", "cycle": KEY, "run": "the-run", "message": "first",
    }  # fmt: skip
    assert list(second) == ["time", "level", "system", "cycle", "stage", "run", "message", "seconds"]
    assert (second["stage"], second["seconds"]) == ("forecast", 1.5)
    assert "stage" not in third
    assert first["time"].endswith("Z")


def test_an_error_is_the_last_line_with_its_stage_its_sentence_and_its_exit_code(scratch: Path) -> None:
    error = InputRefused("degC", found="295", where="hycom.nc", action="look at it")
    with pytest.raises(InputRefused), logs.of_run("small-sea", KEY, None), logs.bound(stage="ocean"):
        raise error
    (line,) = lines(scratch)
    del line["time"]
    assert line == {
        "level": "error", "system": "small-sea", "cycle": KEY, "stage": "ocean", "message": str(error),
        "error": "InputRefused", "exit_code": 4,
    }  # fmt: skip


def test_a_fault_of_the_service_itself_is_exit_1(scratch: Path) -> None:
    with pytest.raises(ZeroDivisionError), logs.of_run("small-sea", KEY, None):
        _ = 1 / 0
    assert [(line["error"], line["exit_code"]) for line in lines(scratch)] == [("ZeroDivisionError", 1)]


def test_a_cycles_file_is_bounded(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LARGEST_BYTES", 2000)
    with logs.bound(system="small-sea", cycle=KEY):
        for number in range(200):
            logs.event(f"line {number}")
    files = list((scratch / "logs" / "small-sea").iterdir())
    assert len(files) == 2
    assert all(file.stat().st_size < 2200 for file in files)
    assert lines(scratch)[-1]["message"] == "line 199"


def test_lines_of_several_writers_stay_whole(scratch: Path) -> None:
    def write(name: str) -> None:
        with logs.of_run("small-sea", KEY, name):
            for number in range(50):
                logs.event("x" * 500, number=number)

    writers = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = [(line["run"], line["number"]) for line in lines(scratch)]
    assert sorted(found) == [(name, number) for name in "abcd" for number in range(50)]


def test_a_full_scratch_folder_does_not_end_the_run(scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (scratch / "logs").write_text("a file in the folder's place")
    with logs.of_run("small-sea", KEY, None):
        logs.event("hello")
    assert "goms: no log line in" in capsys.readouterr().err


def test_people_read_lines_and_machines_read_json(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> str:
        shown = Progress(Console(stderr=True, highlight=False, width=100))
        with logs.bound(system="small-sea", cycle=KEY), shown.stage("forecast", 6) as advance:
            advance(5)
            shown.done("forecast", 1.25, 2_000_000)
            shown.say("[yellow]without[/] waves: none")
        return capsys.readouterr().err

    assert work().splitlines() == [
        "        forecast: 5 of 6, 0 s",
        "done    forecast                         1.2 s      2.0 MB",
        "without waves: none",
    ]
    monkeypatch.setenv("GOMS_LOG_FORMAT", "json")
    said = [json.loads(line) for line in work().splitlines()]
    assert [line["message"] for line in said] == [
        "begun: forecast", "forecast: 5 of 6", "done: forecast", "without waves: none",
    ]  # fmt: skip
    assert (said[2]["seconds"], said[2]["bytes"]) == (1.25, 2_000_000)


def test_a_run_is_told_stage_by_stage(here: Here, folder_store: Store, tmp_path: Path) -> None:
    assert here.run(FIRST, folder_store).code == 0
    told = lines(tmp_path / "scratch")
    done = [line["stage"] for line in told if line["message"].startswith("done: ")]
    assert done == ["ocean", "surface", "waves", "initialise", "forecast", "quicklooks", "series", "publish"]
    assert all(line["seconds"] >= 0 and line["bytes"] > 0 for line in told if line["message"].startswith("done: "))
    assert len({line["run"] for line in told}) == 1


def test_on_request_stderr_is_json_alone(goms: Goms, folder_store: Store) -> None:
    goms.environment.update({"GOMS_LOG_FORMAT": "json", "PREFECT_LOGGING_LEVEL": "INFO"})
    answer = goms.run("2023-01-09", folder_store)
    assert answer.code == 3
    told = [json.loads(line) for line in answer.err.splitlines()]
    assert told[-1]["exit_code"] == 3
    assert told[-1]["level"] == "error"
    assert told[-1]["stage"] == "ocean"
    assert told == lines(goms.folder / "scratch", "20230109T00")
