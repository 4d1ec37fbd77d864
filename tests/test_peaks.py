"""What a stage needed of memory: counted from its start, or not known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flows import peaks

MEBIBYTE = 2**20


def test_the_peak_of_one_stage_is_not_that_of_the_stage_before_it() -> None:
    first = peaks.Watch()
    held = np.ones(300 * MEBIBYTE, dtype=np.uint8)
    before = first.peaks().memory_bytes
    del held
    second = peaks.Watch()
    after = second.peaks().memory_bytes
    assert before is not None
    assert after is not None
    assert before - after > 250 * MEBIBYTE


def test_where_the_peak_cannot_be_set_back_it_is_not_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in a container whose /proc is read-only: the process's whole life is not this stage's."""
    monkeypatch.setattr(peaks, "_CLEAR", tmp_path / "not-there" / "clear_refs")
    assert peaks.Watch().peaks().memory_bytes is None
