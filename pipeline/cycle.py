"""One forecast start: its dates, its revision, and every path that follows from them."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from pipeline.errors import UsageError


class Cycle(NamedTuple):
    """The start of one forecast of one system. ``start`` is UTC and naive of nothing: tz-aware."""

    system: str
    start: datetime

    @property
    def key(self) -> str:
        """``YYYYMMDDTHH``: the cycle's folder name."""
        return f"{self.start:%Y%m%dT%H}"

    def valid_time(self, lead_day: int) -> datetime:
        """When the field of a lead day is valid."""
        return self.start + timedelta(days=lead_day)

    @property
    def published_prefix(self) -> str:
        """Where revisions are published, relative to the store."""
        return f"{self.system}/cycles/{self.key}"

    def revision_prefix(self, revision: int) -> str:
        """Where one revision is published, relative to the store."""
        return f"{self.published_prefix}/r{revision}"

    @property
    def run_prefix(self) -> str:
        """Where this cycle's private state lives, relative to the store."""
        return f"{self.system}/runs/{self.key}"


def cycle(system: str, day: str | date, hour: int) -> Cycle:
    """The cycle of a system on a day (``YYYY-MM-DD``) at the system's start hour (UTC); ``UsageError`` otherwise."""
    if isinstance(day, str):
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", day):
            raise _not_a_day(day)
        try:
            day = date.fromisoformat(day)
        except ValueError as error:
            raise _not_a_day(day) from error
    return Cycle(system, datetime(day.year, day.month, day.day, hour, tzinfo=UTC))


def from_key(system: str, key: str) -> Cycle:
    """The cycle a folder name ``YYYYMMDDTHH`` stands for."""
    return Cycle(system, datetime.strptime(key, "%Y%m%dT%H").replace(tzinfo=UTC))


def _not_a_day(text: object) -> UsageError:
    return UsageError(
        "a day as YYYY-MM-DD", found=f"{text!r}", where="the DATE argument", action="type it like 2026-01-31"
    )
