"""The days a model is trained on: what an archive must offer, and how training reads it."""

from __future__ import annotations

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
    ``biogeochemistry``, ``kuroshio``; an array that is not there is never asked for.
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
    """Training days as tensors, zero on land; days already read are kept as long as they fit in ``hold_bytes``.

    ``span``: first and last day that may be seen. Threads take turns.
    """

    def __init__(self, days: TrainingDays, hold_bytes: int = 0, span: tuple[int, int | None] = (0, None)) -> None:
        self.days, self.hold_bytes, self.span = days, hold_bytes, span
        self._held: OrderedDict[tuple[str, int], Tensor] = OrderedDict()
        self._size, self._turn = 0, Lock()

    def field(self, kind: str, day: int) -> Tensor:
        """(channels, rows, columns) of ``ocean``, ``waves``, ``biogeochemistry`` or ``kuroshio``, zero on land."""
        with self._turn:
            return self._field((kind, day))

    def _field(self, key: tuple[str, int]) -> Tensor:
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key]
        values: Array = getattr(self.days, key[0])(key[1])
        tensor = torch.from_numpy(np.nan_to_num(values, nan=0.0))
        if self.hold_bytes:
            self._keep(key, tensor)
        return tensor

    def _keep(self, key: tuple[str, int], tensor: Tensor) -> None:
        self._held[key] = tensor
        self._size += tensor.nbytes
        while self._size > self.hold_bytes:
            _, dropped = self._held.popitem(last=False)
            self._size -= dropped.nbytes

    def forcing(self, start: int, steps: int) -> Tensor:
        """(steps, channels, rows, columns): see ``TrainingDays.forcing``."""
        with self._turn:
            return torch.from_numpy(np.ascontiguousarray(self.days.forcing(start, steps)))

    def starts(self, steps: int) -> NDArray[np.intp]:
        """The days of the span that have ``steps`` days after them; ``TrainingError`` where there are none."""
        found = self.days.starts(steps, *self.span)
        if not found.size:
            raise TrainingError(f"{steps + 1} days in a row", found="none within the span", where="the training days",
                                action="give a longer archive or shorter rollouts")  # fmt: skip
        return found

    def mask(self, kind: str) -> Tensor:
        """(channels, rows, columns), 1 on ocean, as the first day has it."""
        first = int(self.starts(1)[0])
        return torch.from_numpy(np.isfinite(getattr(self.days, kind)(first)).astype(np.float32))


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
