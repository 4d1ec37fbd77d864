"""An incident's archive: all that is known of a cycle, no secret, and made even where nothing else can be."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from urllib.parse import quote

import kept_cycles as kept
import numpy as np
import pytest
import xarray as xr
from test_freshness import OPEN, at, publish_days
from typer.testing import CliRunner, Result

from flows import clock
from flows.cli import app
from pipeline.objects import staged
from pipeline.operations import incident
from pipeline.record import marks
from pipeline.store import Store

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPx",
    "PREFECT_API_AUTH_STRING": 'admin:pa"ss\\word',
    "PREFECT_API_DATABASE_CONNECTION_URL": "postgresql+asyncpg://goms:hunter2hunter2@db/prefect",
    "GOMS_ALERT_WEBHOOKS": "https://hooks.example.org/T0/very-hidden",
    "GOMS_ALERT_MAIL__PASSWORD": "häufig-geheim",
    "SOME_API_TOKEN": "tok-123456",
}
HIDDEN = (
    "wJalrXUtnFEMI/K7MDENG+bPx", 'admin:pa"ss\\word', "hunter2hunter2", "very-hidden", "häufig-geheim", "tok-123456",
)  # fmt: skip


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with secrets in its environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GOMS_SCRATCH", str(tmp_path / "scratch"))
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(clock, "now", lambda: at("07:00"))
    return tmp_path


def spill(path: Path) -> None:
    """A log that gives every secret away, in every way a log does."""
    ways = [value for secret in HIDDEN for value in (secret, quote(secret, safe=""), json.dumps(secret), repr(secret))]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"could not reach it with {way}\n" for way in ways), encoding="utf-8")


def pack(store: Store, *options: str) -> Result:
    return CliRunner().invoke(app, ["incident", "2026-11-22", "--store", store.uri, *options], catch_exceptions=False)


def contents(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        return {member.name.partition("/")[2]: archive.extractfile(member).read().decode() for member in archive}  # type: ignore[union-attr]


def fail(store: Store) -> None:
    publish_days(store, count=2)
    kept.begin(store, OPEN, at("06:17"), "ocean")
    marks.mark(store, OPEN, "ocean", "digest", [])
    ocean = xr.Dataset({"to": ("x", np.zeros(3, np.float32))}, attrs={"inputs": '[{"source": "hycom"}]'})
    staged.save(store, f"{OPEN.run_prefix}/staged/ocean.npz", ocean)
    store.write_json(f"{OPEN.run_prefix}/restart/r1/state.json", {"lead_day": 10})
    kept.fail(store, OPEN, at("06:20"), "surface", "needed ERA5; found tok-123456 refused", 6)


def test_everything_that_is_known_of_a_cycle_is_in_it(desk: Path, any_store: Store) -> None:
    fail(any_store)
    spill(desk / "scratch" / "logs" / "twin" / "20261122T12.jsonl")
    answer = pack(any_store)
    assert answer.exit_code == 0, answer.stderr
    found = contents(desk / "goms-incident-twin-20261122T12.tar.gz")
    assert sorted(found) == [
        "README.txt", "inputs.json", "journal.json", "latest.json", "lock.json", "log.jsonl", "marks/ocean.json",
        "objects.txt", "restart.json", "settings.json", "status.json", "tracebacks.log", "versions.json",
    ]  # fmt: skip
    assert json.loads(found["inputs.json"]) == {"ocean": {"inputs": [{"source": "hycom"}]}}
    assert json.loads(found["restart.json"]) == {"twin/runs/20261122T12/restart/r1/state.json": {"lead_day": 10}}
    assert json.loads(found["versions.json"])["goms"]
    assert json.loads(found["settings.json"])["lease_seconds"] == 900
    assert "twin/runs/20261122T12/staged/ocean.npz" in found["objects.txt"]
    assert found["tracebacks.log"].startswith("not there")
    status = json.loads(found["status.json"])
    (standing,) = [item for item in status["cycles"] if item["cycle"] == OPEN.key]
    assert (standing["verdict"], standing["sentence"]) == ("failed", "needed ERA5; found [hidden] refused")
    assert all(name in found["README.txt"] for name in found if name != "README.txt")


def test_no_secret_of_the_environment_is_in_it(desk: Path, folder_store: Store) -> None:
    fail(folder_store)
    spill(desk / "scratch" / "logs" / "twin" / "20261122T12.jsonl")
    spill(desk / "scratch" / "tracebacks.log")
    assert pack(folder_store, "--out", "x.tar.gz").exit_code == 0
    found = contents(desk / "x.tar.gz")
    everything = "".join(found.values())
    for secret in HIDDEN:
        for form in (secret, quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1], repr(secret)[1:-1]):
            assert form not in everything
    assert found["log.jsonl"].count("[hidden]") == found["log.jsonl"].count("\n") == 4 * len(HIDDEN)


def test_what_looks_like_a_secret_is_hidden_though_no_variable_names_it() -> None:
    hidden = incident.hiding(())
    assert hidden("postgresql://goms:pw@db/x") == "postgresql://[hidden]db/x"
    assert hidden("POST https://hooks.slack.com/services/T/B/x 500") == "POST https://hooks.slack.com/[hidden] 500"
    assert hidden("GET /a?X-Amz-Signature=0af3&b=1") == "GET /a?X-Amz-Signature=[hidden]&b=1"
    assert hidden("https://example.org/plain") == "https://example.org/plain"


def test_the_same_moment_gives_the_same_bytes(desk: Path, folder_store: Store) -> None:
    fail(folder_store)
    for name in ("a.tar.gz", "b.tar.gz"):
        pack(folder_store, "--out", name)
    assert (desk / "a.tar.gz").read_bytes() == (desk / "b.tar.gz").read_bytes()


def test_of_a_published_cycle_the_manifest_is_in_it(desk: Path, folder_store: Store) -> None:
    kept.publish(folder_store, OPEN, at("06:45"))
    pack(folder_store, "--out", "x.tar.gz")
    assert json.loads(contents(desk / "x.tar.gz")["manifest.json"])["revision"] == 1


def test_what_is_damaged_or_lost_says_so_in_its_place(desk: Path, folder_store: Store) -> None:
    fail(folder_store)
    folder_store.write_bytes(f"{OPEN.run_prefix}/staged/ocean.npz", b"no archive")
    pack(folder_store, "--out", "x.tar.gz")
    assert "needed a staged dataset" in contents(desk / "x.tar.gz")["inputs.json.unreadable.txt"]
    (desk / "file").write_text("")
    answer = pack(Store(desk / "file"), "--out", "y.tar.gz")
    assert answer.exit_code == 0
    found = contents(desk / "y.tar.gz")
    assert {"settings.json", "versions.json", "status.json.unreadable.txt"} <= set(found)
    assert pack(folder_store, "--out", "nowhere/z.tar.gz").exit_code == 2


def test_where_nothing_may_be_written_it_goes_into_the_scratch_folder(
    desk: Path, folder_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container, whose root is read-only; into /proc nobody writes, root neither."""
    fail(folder_store)
    monkeypatch.chdir("/proc")
    answer = pack(folder_store)
    assert answer.exit_code == 0, answer.stderr
    archive = desk / "scratch" / "goms-incident-twin-20261122T12.tar.gz"
    assert answer.stdout.startswith(f"{archive}: ")
    assert "journal.json" in contents(archive)
