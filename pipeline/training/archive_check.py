"""Whether a training archive is what was written and has a value in every ocean cell: looked at before any training.

Every day that is asked about is read once and compared with the digest it was written with. Where the statistics are
of the day, measuring has found it without a gap, and the digest says that it is still those bytes; what they are not
of (the days of a validation span, the states of the heads) is decoded and its NaN held against the land. Days and
arrays are shared among threads, and among processes that train together.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import zarr
from numpy.typing import NDArray

from pipeline.errors import InputRefused
from pipeline.training import archive_layout as layout
from pipeline.training.archive_days import shard_sha256
from pipeline.training.archive_statistics import MEASURED
from pipeline.training.training_archive import TrainingArchive

Land = NDArray[np.bool_]


class Share(NamedTuple):
    """The part of the days that one process looks at: every ``of``-th, from its own ``number``, on ``threads``."""

    number: int = 0
    of: int = 1
    threads: int = 1


def wrong(days: TrainingArchive, arrays: Iterable[str], spans: Iterable[tuple[int, int]], share: Share) -> list[str]:
    """What is wrong with this share of the held days of these spans (first and last day, both included).

    A sentence for each array of a day that is not what was written, or that has another land than the array has:
    day, channel, place. Those of later days come later.
    """
    look = _Look(days)
    wanted = sorted({day for first, last in spans for day in range(first, last + 1) if days.held[day]})
    pairs = [(day, name) for day in wanted for name in arrays][share.number :: share.of]
    with ThreadPoolExecutor(share.threads) as pool:
        return [found for found in pool.map(look.at, pairs) if found is not None]


def refuse(days: TrainingArchive, found: list[str]) -> None:
    """``InputRefused`` where anything was found."""
    if found:
        more = f", and {len(found) - 1} more like it" if len(found) > 1 else ""
        raise InputRefused(
            "days as they were written, with a value in every ocean cell", found=f"{found[0]}{more}",
            where=f"the training archive {days.path}",
            action="restore it, or build it anew: `goms archive` with another --out", check="digest",
        )  # fmt: skip


class _Look:
    def __init__(self, days: TrainingArchive) -> None:
        self.days, self.group = days, layout.existing(days.path)
        self.digests = np.asarray(layout.member(self.group, "sha256")[:])
        self.numbers = {name: row for row, name in enumerate(layout.attribute(self.group, "arrays"))}
        self.lands = {name: self._land(name) for name in days.channels}

    def at(self, pair: tuple[int, str]) -> str | None:
        """What is wrong with an array of a day."""
        day, name = pair
        measured = name in MEASURED and self.days.fit[0] <= day <= self.days.fit[1]
        as_written = shard_sha256(self.days.path, name, day) == bytes(self.digests[day, self.numbers[name]])
        if as_written and measured:
            return None
        odd = self._odd(name, day)
        if as_written and odd is None:
            return None
        return f"{name} of {self.days.date_of(day)}: {odd or 'other values than were written, in any of its channels'}"

    def _land(self, name: str) -> Land:
        """Where the array has no values: what its statistics have none of, else what its first fitted day has not."""
        if name in MEASURED:
            return np.isnan(layout.member(self.group, f"{name}_average")[:])
        first, last = self.days.fit
        begin = first + int(np.argmax(self.days.held[first : last + 1]))
        return self._missing(layout.member(self.group, name), begin)

    def _odd(self, name: str, day: int) -> str | None:
        """The first channel and place without a value that must have one, or the other way round."""
        array, land = layout.member(self.group, name), self.lands[name]
        try:
            odd = self._missing(array, day) != land
        except (RuntimeError, ValueError) as error:
            return self._undecoded(array, name, day, error)
        if not odd.any():
            return None
        channel, row, column = (int(place) for place in np.argwhere(odd)[0])
        grid = self.days.contract.grids[name]
        said, count = "a value on land" if land[channel, row, column] else "no value on ocean", int(odd.sum())
        label = self.days.channels[name][channel]
        return (f"{said} in {count} place{'s' * (count > 1)}, the first {label} in row {row}, "
                f"column {column} ({grid.latitude[row]:.3f} N, {grid.longitude[column]:.3f} E)")  # fmt: skip

    def _undecoded(self, array: zarr.Array[Any], name: str, day: int, error: Exception) -> str:
        """The channels that cannot be decompressed."""
        lost = []
        for number, label in enumerate(self.days.channels[name]):
            try:
                array[day, number]
            except (RuntimeError, ValueError):
                lost.append(label)
        return f"bytes that cannot be decoded, of {', '.join(lost) or 'all channels'} ({error})"

    @staticmethod
    def _missing(array: zarr.Array[Any], day: int) -> Land:
        found: Land = ~np.isfinite(np.asarray(array[day], dtype=np.float32))
        return found
