"""Who holds a cycle, and when a run may say that a holder is dead."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from flows.journey import holding
from pipeline.cycle import cycle
from pipeline.errors import StoreError
from pipeline.record import lock
from pipeline.store import Store


@pytest.fixture
def ended() -> int:
    """The number of a process that is no more."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def owner(process: int, started: str = "1") -> str:
    return f"process {process} on {holding._machine()}, started at {started}"


def test_a_process_of_this_machine_is_dead_when_it_has_ended_or_its_number_is_another_s(ended: int) -> None:
    assert not holding.is_dead(holding.this_process())
    assert holding.is_dead(owner(ended))
    assert holding.is_dead(owner(os.getpid(), started="1"))


def test_of_another_machine_of_the_same_name_nothing_is_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ended: int
) -> None:
    """As of a clone of a virtual machine: the host's name and its first space of process numbers are the same."""
    theirs = owner(ended)
    other = tmp_path / "boot_id"
    other.write_text("0f0f0f0f-0000-4000-8000-000000000000\n")
    monkeypatch.setattr(holding, "BOOT", other)
    assert not holding.is_dead(theirs)
    assert holding.is_dead(owner(ended))
    monkeypatch.setattr(holding, "BOOT", tmp_path / "none")  # a machine that does not say is nobody's but its own
    assert not holding.is_dead(theirs)


def test_a_process_that_is_hidden_from_us_is_not_dead(monkeypatch: pytest.MonkeyPatch, ended: int) -> None:
    """As another user's where /proc is mounted with hidepid: its number is taken, its start cannot be read."""
    monkeypatch.setattr(holding, "_started", lambda process: None)
    assert not holding.is_dead(owner(os.getpid()))
    assert holding.is_dead(owner(ended))


def test_a_damaged_lock_is_the_stores_fault_and_is_named(folder_store: Store) -> None:
    wanted = cycle("small-sea", "2023-01-01", 0)
    folder_store.write_bytes(lock.path(wanted), b'{"owner": "pro')
    with pytest.raises(StoreError, match=r"needed a whole Lease.*runs/20230101T00/lock\.json"):
        holding.free_if_dead(folder_store, wanted)
