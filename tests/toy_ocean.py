"""A small ocean with exact answers, for the models' tests: waves that drift at a known speed, and an uneven coast."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

ROWS, COLUMNS = 16, 32
LATITUDE = np.linspace(-52.5, 52.5, ROWS)
CHANNELS = ("to@0", "to@50", "zos")
FORCING = ("u10", "v10", "elevation")
WAVES = ("swh", "mwd")
PLANKTON = ("chl",)
SPEED_CELLS_PER_DAY = 0.5
SCALES = np.array([8.0, 3.0, 0.2])
MEANS = np.array([15.0, 9.0, 0.1])
FACTOR = 3


def coast() -> NDArray[np.bool_]:
    """True on ocean; (channel, row, column): a block of land off centre, wider at depth."""
    ocean = np.ones((len(CHANNELS), ROWS, COLUMNS), dtype=bool)
    ocean[:, 2:7, 20:25] = False
    ocean[1, 2:8, 19:25] = False
    return ocean


class ToyDays:
    """``TrainingDays``: each channel is a sum of zonal waves that move east at half a cell a day.

    A channel is mean + scale * sum_k a_k cos(2 pi k (x - c t) / columns + phase_k(row)): after 2 * columns days all
    is as it was. ``phase`` shifts the calendar, so that days outside the training period are other days.
    """

    channels: ClassVar[dict[str, tuple[str, ...]]] = {
        "ocean": CHANNELS, "forcing": FORCING, "waves": WAVES, "biogeochemistry": PLANKTON, "kuroshio": ("to@0", "zos"),
    }  # fmt: skip

    def __init__(self, days: int = 40, phase: float = 0.0) -> None:
        self.days, self.phase = days, phase

    def starts(self, steps: int = 1, first: int = 0, last: int | None = None) -> NDArray[np.intp]:
        end = self.days if last is None else last + 1
        return np.arange(first, end - steps)

    def _pattern(self, day: float, factor: int = 1) -> NDArray[np.float64]:
        column = (np.arange(COLUMNS * factor) + 0.5) / factor
        row = (np.arange(ROWS * factor)[:, None] + 0.5) / factor
        x = column - SPEED_CELLS_PER_DAY * (day + self.phase)
        numbers = ((1, 1.0, 0.2), (3, 0.6, -0.3), (5, 0.3, 0.5))
        return np.sum([a * np.cos(2 * np.pi * k * x / COLUMNS + f * row) for k, a, f in numbers], axis=0)

    def ocean(self, day: int) -> Array:
        pattern = self._pattern(day)
        fields = MEANS[:, None, None] + SCALES[:, None, None] * np.stack([pattern, 0.5 * pattern, pattern])
        fields[0] += 10 * np.cos(np.deg2rad(LATITUDE))[:, None]
        return np.where(coast(), fields, np.nan).astype(np.float32)

    def forcing(self, start: int, steps: int) -> Array:
        wind = np.stack([self._wind(start) * 0.8**step for step in range(steps)])
        elevation = np.where(coast()[0], -4000.0, 500.0)
        return np.stack([wind, -0.5 * wind + 1, np.broadcast_to(elevation, wind.shape)], axis=1).astype(np.float32)

    def _wind(self, day: int) -> NDArray[np.float64]:
        return 8 * np.cos(0.9 * day + np.arange(ROWS)[:, None] / 3) * np.ones(COLUMNS)

    def waves(self, day: int) -> Array:
        pattern = self._pattern(day)
        fields = np.stack([2.0 + 0.5 * pattern, np.mod(340 + 40 * pattern, 360)])
        return np.where(coast()[:1], fields, np.nan).astype(np.float32)

    def biogeochemistry(self, day: int) -> Array:
        return np.where(coast()[:1], 0.3 * np.exp(self._pattern(day)), np.nan)[None, 0].astype(np.float32)

    def kuroshio(self, day: int) -> Array:
        """Rows 9 to 13, columns 5 to 11, three times finer, with a fine ripple that bicubic cannot know."""
        fine = self._pattern(day, FACTOR)
        ripple = 0.3 * np.cos(2 * np.pi * (np.arange(COLUMNS * FACTOR) % FACTOR) / FACTOR)
        fields = MEANS[[0, 2], None, None] + SCALES[[0, 2], None, None] * np.stack([fine + ripple, fine - ripple])
        fields[0] += 10 * np.cos(np.deg2rad(np.repeat(LATITUDE, FACTOR)))[:, None]
        return fields[:, 9 * FACTOR : 13 * FACTOR, 5 * FACTOR : 11 * FACTOR].astype(np.float32)
