"""The command line: what it says without work, what it refuses at once, and how it fails."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from flows import cli, clock
from flows.desk import operations
from flows.progress import readable
from pipeline import systems
from pipeline.cycle import cycle
from pipeline.errors import (
    CheckFailed,
    CycleHeld,
    ForecastRefused,
    GomsError,
    InputRefused,
    InputUnavailable,
    StoreError,
    UsageError,
)
from pipeline.record import judgement


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, with no settings in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GOMS_SCRATCH", str(tmp_path / "scratch"))
    for name in ("GOMS_STORE", "GOMS_INPUTS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def goms(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, arguments)


def test_help_needs_none_of_the_heavy_libraries() -> None:
    """Asking for help is for people in a hurry: half a second is what the heavy imports would cost many times over."""
    heavy = "{'torch', 'xarray', 'prefect', 'zarr', 'numpy', 'boto3', 'matplotlib'}"
    code = f"import sys, flows.cli; sys.exit(sorted({heavy} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_names_every_command_and_every_exit_code() -> None:
    answer = goms("--help")
    assert answer.exit_code == 0
    for word in ("run", "verify", "status", "export", "archive", "train", "7 another run holds"):
        assert word in " ".join(answer.stdout.split())


def test_help_names_every_stage_that_may_be_left_out() -> None:
    said = goms("set-complete", "--help").stdout
    assert [stage for stage in judgement.OPTIONAL_STAGES if stage not in said] == []


@pytest.mark.parametrize(
    ("error", "code"),
    [(UsageError, 2), (InputUnavailable, 3), (InputRefused, 4), (ForecastRefused, 5), (StoreError, 6), (CheckFailed, 6),
     (CycleHeld, 7)],
)  # fmt: skip
def test_each_failure_has_its_exit_code(error: type[GomsError], code: int) -> None:
    assert error.exit_code == code


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "2023-01-01", "--system", "atlantis"), "choose one of twin, coral-sea, "),
        (("run", "2023-01-01", "--inputs", "files"), "needed a system that reads files; found twin, which reads none"),
        (("run", "2999-12-31", "--dry-run"), "needed a start up to today; found 2999-12-31"),
        (("backfill", "2999-12-31", "2999-12-31"), "needed a start up to today; found 2999-12-31"),
        (("verify", "2023-02-30"), "needed a day as YYYY-MM-DD; found '2023-02-30'"),
        (("verify", "2023-01-01", "--leads", "1,five"), "type them like 1,5,10"),
        (("status", "--store", "gopher://here"), "needed a store as a folder or s3://bucket/prefix"),
        (("train", "all", "nowhere", "--out", "x"), "needed a training archive; found none; in nowhere"),
    ],
)
def test_what_cannot_mean_anything_is_exit_2_and_one_sentence(
    desk: Path, arguments: tuple[str, ...], said: str
) -> None:  # fmt: skip
    answer = goms(*arguments)
    assert answer.exit_code == 2
    assert said in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert not (desk / "store").exists()


def test_a_setting_that_cannot_be_one_is_named(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMS_LEASE_SECONDS", "soon")
    answer = goms("status")
    assert answer.exit_code == 2
    assert "GOMS_LEASE_SECONDS" in answer.stderr
    assert "should be a valid integer" in answer.stderr
    assert "soon" not in answer.stderr  # nothing that stands in a setting is repeated: it may be a secret


def test_a_forecast_that_is_not_published_is_exit_6(desk: Path) -> None:
    answer = goms("verify", "2023-01-01")
    assert answer.exit_code == 6
    assert "run it: goms run 2023-01-01 --system twin" in answer.stderr


def test_a_fault_in_goms_is_one_sentence_and_a_kept_traceback(desk: Path) -> None:
    code = (
        "import sys; from flows import cli; from flows.desk import status\n"
        "status.show = lambda *_: 1 / 0\nsys.argv = ['goms', 'status']\ncli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    kept = desk / "scratch" / "tracebacks.log"
    assert done.returncode == 1
    assert done.stderr == (
        f"goms: a fault in goms itself, ZeroDivisionError: division by zero; its traceback is in {kept}\n"
    )
    assert "status.show = lambda" not in kept.read_text()
    assert "ZeroDivisionError" in kept.read_text()


def test_status_of_an_empty_store_says_that_nothing_is_published(desk: Path) -> None:
    answer = goms("status")
    assert answer.exit_code == 0
    said = " ".join(answer.stdout.split())
    assert f"nothing was ever made of {', '.join(entry.name for entry in systems.SYSTEMS)}" in said


def test_days_can_be_said_as_people_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: datetime(2024, 3, 1, 0, 30, tzinfo=UTC))
    assert clock.cycle_of(systems.TWIN, "today") == cycle("twin", "2024-03-01", 12)
    assert clock.cycle_of(systems.TWIN, "yesterday") == cycle("twin", "2024-02-29", 12)
    assert clock.cycle_of(systems.TWIN, "2023-12-31") == cycle("twin", "2023-12-31", 12)


def test_lead_days_are_sorted_and_each_once() -> None:
    assert operations.lead_days("10,1, 5,1") == (1, 5, 10)
    for text in ("", "0", "-1", "1.5", "1,,2"):
        with pytest.raises(UsageError):
            operations.lead_days(text)


def test_bytes_are_said_in_decimal_units() -> None:
    assert [readable(size) for size in (0, 999, 1000, 1_234_567, 5_000_000_000)] == [
        "0 B", "999 B", "1.0 kB", "1.2 MB", "5.0 GB",
    ]  # fmt: skip
