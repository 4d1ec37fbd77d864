"""The days a model is trained on: what an archive must offer, and how training reads it."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.errors import TrainingError

Array = NDArray[np.float32]
Item = TypeVar("Item")
Result = TypeVar("Result")


class TrainingDays(Protocol):
    """A calendar of days, counted from 0, of physical float32 fields (channel, latitude, longitude), NaN on land.

    ``channels``: labels in order, by array: ``ocean``, ``forcing``, and whichever there are of ``waves``,
    ``biogeochemistry``, ``kuroshio``; an array that is not there is never asked for (but ``forcing``, of no channel).
    Days that know their own moments may offer ``moments(name, span)``, and those whose forcing fades with a fitted
    memory ``forcing_memory_days``: see ``Reader``.
    """

    channels: dict[str, tuple[str, ...]]

    def starts(self, steps: int = 1, first: int = 0, last: int | None = None) -> NDArray[np.intp]:
        """The days that are there together with the ``steps`` days after them, all within ``first`` to ``last``."""
        ...

    def ocean(self, day: int) -> Array:
        """The ocean's channels on that day."""
        ...

    def forcing(self, start_day: int, steps: int) -> Array:
        """(steps, channel, latitude, longitude): what a forecast that starts on that day has, step by step.

        The first is the analysis of the start day; those after it follow the future-forcing policy. No NaN.
        """
        ...

    def waves(self, day: int) -> Array:
        """The wave channels on that day."""
        ...

    def biogeochemistry(self, day: int) -> Array:
        """The biogeochemical channels on that day."""
        ...

    def kuroshio(self, day: int) -> Array:
        """The ocean's surface channels on that day on the fine grid of the downscaling window."""
        ...


class Reader:
    """Training days as tensors, zero on land; ocean days already read are kept as long as they fit in ``hold_bytes``.

    They are kept in one block that is never given back: single days among a training step's short-lived tensors
    would leave holes that the heap cannot use again. ``span``: first and last day that may be seen. Threads take turns.
    """

    def __init__(self, days: TrainingDays, hold_bytes: int = 0, span: tuple[int, int | None] = (0, None)) -> None:
        self.days, self.span, self._turn = days, span, Lock()
        self._land: dict[str, NDArray[np.bool_]] = {}
        shape = self._land_of("ocean").shape
        self._block = torch.empty(hold_bytes // (4 * math.prod(shape)), *shape)
        self._places: OrderedDict[int, int] = OrderedDict()

    def field(self, kind: str, day: int) -> Tensor:
        """(channels, rows, columns) of ``ocean``, ``waves``, ``biogeochemistry`` or ``kuroshio``, zero on land."""
        with self._turn:
            return self._ocean(day) if kind == "ocean" and len(self._block) else self._read(kind, day)

    def _ocean(self, day: int) -> Tensor:
        if day in self._places:
            self._places.move_to_end(day)
        else:
            full = len(self._places) == len(self._block)
            place = self._places.popitem(last=False)[1] if full else len(self._places)
            self._block[place] = self._read("ocean", day)
            self._places[day] = place
        return self._block[self._places[day]].clone()

    def _read(self, kind: str, day: int) -> Tensor:
        values = self._checked(kind, day)
        return torch.from_numpy(np.nan_to_num(values, nan=0.0))

    def _checked(self, kind: str, day: int) -> Array:
        """A day's fields; ``TrainingError`` where they have not the land of the first day."""
        values: Array = getattr(self.days, kind)(day)
        land = self._land_of(kind)
        found = ~np.isfinite(values)
        if values.shape != land.shape or (found != land).any():
            odd = "another shape" if values.shape != land.shape else self._oddity(kind, found != land)
            raise TrainingError(f"{kind} of day {day} with values on ocean and NaN on land", found=odd,
                                where="the training days", action="build that day of the archive again")  # fmt: skip
        return values

    def _oddity(self, kind: str, odd: NDArray[np.bool_]) -> str:
        channel, row, column = np.argwhere(odd)[0]
        label = self.days.channels[kind][channel]
        return f"{int(odd.sum())} cells that are not so, the first {label} in row {row}, column {column}"

    def _land_of(self, kind: str) -> NDArray[np.bool_]:
        if kind not in self._land:
            first: Array = getattr(self.days, kind)(int(self.starts(1)[0]))
            self._land[kind] = ~np.isfinite(first)
        return self._land[kind]

    def moments(self, name: str) -> tuple[NDArray[np.float64], ...] | None:
        """Means over the span of values, squares and squared one-day changes, where the days know them."""
        known = getattr(self.days, "moments", None)
        found: tuple[NDArray[np.float64], ...] | None = known(name, self.span) if known is not None else None
        return found

    @property
    def forcing_memory_days(self) -> dict[str, float]:
        """How fast an anomaly of each forcing channel fades in ``forcing``, where the days know."""
        return dict(getattr(self.days, "forcing_memory_days", {}))

    def forcing(self, start: int, steps: int) -> Tensor:
        """(steps, channels, rows, columns): see ``TrainingDays.forcing``."""
        with self._turn:
            fields = np.ascontiguousarray(self.days.forcing(start, steps))
        if not np.isfinite(fields).all():
            raise TrainingError(f"the forcing of day {start} without gaps", found="NaN", where="the training days",
                                action="build that day of the archive again")  # fmt: skip
        return torch.from_numpy(fields)

    def starts(self, steps: int) -> NDArray[np.intp]:
        """The days of the span that have ``steps`` days after them; ``TrainingError`` where there are none."""
        found = self.days.starts(steps, *self.span)
        if not found.size:
            raise TrainingError(f"{steps + 1} days in a row", found="none within the span", where="the training days",
                                action="give a longer archive or shorter rollouts")  # fmt: skip
        return found

    def longest(self, most: int) -> int:
        """The longest lead of up to ``most`` days for which the span has days in a row."""
        return next((lead for lead in range(most, 0, -1) if self.days.starts(lead, *self.span).size), 0)

    def mask(self, kind: str) -> Tensor:
        """(channels, rows, columns), 1 on ocean, as the first day has it."""
        return torch.from_numpy((~self._land_of(kind)).astype(np.float32))


def ahead(read: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """``read`` each item in turn, one item ahead of the consumer, in one other thread; its errors are raised here."""
    with ThreadPoolExecutor(max_workers=1) as reader:
        waiting = None
        for item in items:
            coming = reader.submit(read, item)
            if waiting is not None:
                yield waiting.result()
            waiting = coming
        if waiting is not None:
            yield waiting.result()
