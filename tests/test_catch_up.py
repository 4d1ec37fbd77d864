"""What ``goms up`` runs of what a service that was down has missed."""

from __future__ import annotations

from typing import Any

import kept_cycles as kept
import pytest
from test_freshness import OPEN, at, publish_days

from flows import clock
from flows.service import deploying, submission
from pipeline import systems
from pipeline.record.latest import advance_latest
from pipeline.store import Store


def test_what_is_not_published_or_not_named_by_latest_runs_now(
    folder_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was killed between its manifest and ``latest.json`` is completed as well."""
    asked = list[str]()

    def submit(system: str, day: str, parameters: dict[str, Any], *, tags: tuple[str, ...]) -> None:
        asked.append(day)

    def lines() -> list[str]:
        return [
            line.partition("runs now ")[2] for line in deploying.catch_up(systems.TWIN, folder_store, at_once=False)
        ]

    monkeypatch.setattr(clock, "now", lambda: at("08:00"))
    monkeypatch.setattr(submission, "submit", submit)
    publish_days(folder_store)
    assert lines() == ["for the start 2026-11-22, which is not published"]
    kept.show(folder_store, OPEN, at("06:45"))
    assert lines() == ["for the start 2026-11-22, which latest.json does not name"]
    advance_latest(folder_store, OPEN, 1)
    assert lines() == []
    assert asked == ["2026-11-22"] * 2
