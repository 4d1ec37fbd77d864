"""A training archive read back: days of fields at random, what a forecast would know of the weather, climatology."""

from __future__ import annotations

import hashlib
from datetime import date, timedelta
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import forcing as future
from pipeline.cycle import cycle
from pipeline.errors import InputUnavailable, UsageError
from pipeline.systems import ForcingPolicy, System
from pipeline.training import archive_contract, archive_statistics
from pipeline.training import archive_layout as layout
from pipeline.training.archive_contract import contract_of


class TrainingArchive:
    """A training Zarr, read day by day: float32 in registry units, (channel, latitude, longitude), NaN on land.

    Days are counted from 0 over the archive's calendar, those that are missing included: ``held`` tells which can
    be read, ``starts`` which of them are followed by enough days to step through. ``channels``: labels by array;
    ``contract``: all else that the archive is of. ``fit``: first and last day that statistics are of.
    """

    def __init__(self, path: str, system: System | None = None, forcing_policy: ForcingPolicy | None = None) -> None:
        """``system``: what the archive must be of, where that is asked; ``forcing_policy``: the system's unless given.

        ``UsageError`` where the archive is of something else or has no statistics.
        """
        self._group, self.path = layout.existing(path), path
        self.contract = archive_contract.read(self._group, path)
        self.channels = dict(self.contract.channels)
        if system is not None:
            archive_contract.check_same(self.contract, contract_of(system, tuple(self.channels)), path)
        archive_contract.check_arrays(self._group, self.contract, path)
        archive_statistics.check(self._group, path)
        self.forcing_policy: ForcingPolicy = forcing_policy or self.contract.forcing_policy
        self.held: NDArray[np.bool_] = np.asarray(layout.member(self._group, "held")[:]) == layout.HELD
        self.days, self.first_day = int(self.held.size), layout.first_day(self._group)
        self.statistics: dict[str, Any] = layout.attribute(self._group, "statistics")
        first, last = (self.index_of(date.fromisoformat(day)) for day in self.statistics["fit"])
        self.fit = first, last

    def date_of(self, day: int) -> date:
        """The calendar date of a day."""
        return self.first_day + timedelta(days=day)

    def index_of(self, when: date) -> int:
        """The day of a calendar date; ``InputUnavailable`` outside the archive."""
        day = (when - self.first_day).days
        if not 0 <= day < self.days:
            raise self._absent(day, f"only {self.first_day}..{self.date_of(self.days - 1)}")
        return day

    def starts(self, steps: int = 1, first: int = 0, last: int | None = None) -> NDArray[np.intp]:
        """The days that are held together with the ``steps`` days after them, all within ``first``..``last``."""
        within = np.zeros(self.days + steps, dtype=bool)
        within[first : self.days if last is None else min(last + 1, self.days)] = True
        within[: self.days] &= self.held
        return np.flatnonzero(np.lib.stride_tricks.sliding_window_view(within, steps + 1).all(axis=1))

    def ocean(self, day: int) -> NDArray[np.float32]:
        """The ocean state of a day."""
        return self.array("ocean", day)

    def waves(self, day: int) -> NDArray[np.float32]:
        """The waves of a day."""
        return self.array("waves", day)

    def biogeochemistry(self, day: int) -> NDArray[np.float32]:
        """The biochemical state of a day."""
        return self.array("biogeochemistry", day)

    def kuroshio(self, day: int) -> NDArray[np.float32]:
        """The surface ocean of a day on the fine grid, from the source itself."""
        return self.array("kuroshio", day)

    def forcing(self, start: int, steps: int) -> NDArray[np.float32]:
        """What a forecast from day ``start`` is given: (steps, channel, latitude, longitude), each at its step's start.

        The forcing of the start day under the policy (``forcing.path``; anomalies fade as ``forcing_memory_days`` has
        it), never that of later days, which a forecast cannot know; but under ``analysis``, a hindcast's, that of day
        ``start + n`` for step n. No channel at all where the archive has no forcing.
        """
        if "forcing" not in self.channels:
            return np.zeros((steps, 0, *self.contract.grids["ocean"].shape), dtype=np.float32)
        if self.forcing_policy == "analysis":
            return np.stack([self.array("forcing", start + step) for step in range(steps)])
        c, analysis = self.contract, self.array("forcing", start)
        when = cycle(c.system, self.date_of(start), c.start_hour).start
        return future.path(analysis, when, steps, c.grids["ocean"], self.forcing_policy, self.forcing_memory_days)

    @cached_property
    def forcing_memory_days(self) -> dict[str, float]:
        """Days after which an anomaly of the weather is worth 1/e, by forcing variable, fitted on the fitted days.

        Without those that do not change, or whose anomalies have no memory of a day at all.
        """
        if "forcing" not in self.channels:
            return {}
        found = np.asarray(layout.member(self._group, "forcing_memory_days")[:], dtype=np.float64)
        return {name: float(days) for name, days in zip(self.channels["forcing"], found, strict=True) if days > 0}

    def moments(self, name: str, span: tuple[int, int | None]) -> tuple[NDArray[np.float64], ...] | None:
        """Means over the fitted days of values, squares and squared one-day changes of ``ocean`` or ``forcing``.

        Each (channel, latitude, longitude), NaN on land; ``None`` where ``span`` is not the days they are of.
        """
        last = self.days - 1 if span[1] is None else span[1]
        if (span[0], last) != self.fit or name not in archive_statistics.MEASURED or name not in self.channels:
            return None
        kinds = ("average", "squares", "changes")
        return tuple(np.asarray(layout.member(self._group, f"{name}_{kind}")[:]) for kind in kinds)

    def made_of(self, first: int, last: int) -> str:
        """SHA-256 over the digests that the days ``first``..``last`` were written with: the same days, to the byte."""
        digests = np.asarray(layout.member(self._group, "sha256")[first : last + 1])
        return hashlib.sha256(digests.tobytes() + self.held[first : last + 1].tobytes()).hexdigest()

    def climatology(self, name: str, when: date) -> NDArray[np.float64]:
        """The fitted days' mean of ``ocean`` or ``forcing`` for a day of the year, (channel, latitude, longitude)."""
        phase = archive_statistics.seasons([when], self.contract.start_hour, self.statistics["harmonics"])[0]
        return np.tensordot(phase, np.asarray(layout.member(self._group, f"{name}_climatology")[:]), 1)

    def array(self, name: str, day: int) -> NDArray[np.float32]:
        """One array of a day; ``InputUnavailable`` where the day or the array is not held."""
        if not (0 <= day < self.days and self.held[day]):
            missing = layout.attribute(self._group, "missing")
            raise self._absent(day, missing.get(str(self.date_of(day)), "not built yet, or outside of the archive"))
        if name not in self.channels:
            raise self._absent(day, f"no array {name}, only {', '.join(self.channels)}")
        return np.asarray(layout.member(self._group, name)[day], dtype=np.float32)

    def _absent(self, day: int, found: str) -> InputUnavailable:
        return InputUnavailable(
            f"the day {self.date_of(day)}", found=found, where=f"the training archive {self.path}",
            action="build the archive over that day, or choose days from `starts`",
        )  # fmt: skip


def span_of(days: TrainingArchive, first: date, last: date) -> tuple[int, int]:
    """Two dates as days of the archive; ``UsageError`` where they are not in order."""
    if last < first:
        raise UsageError("a first day before the last", found=f"{first}..{last}", where="the days to train on",
                         action="give the days in order")  # fmt: skip
    return days.index_of(first), days.index_of(last)
