"""What is measured of a forecast's day, array by array: how it follows from the day before, and from the start.

Means are weighted with the cells' areas. What a start brings with it is the input gate's matter: stability, energy,
spread, drift and steepness are what the *forecast* adds to its start.

Density is that of the climatology's equation of state (Vallis 2006, eq. 1.154, without pressure), always: a verdict
must not depend on which optional library is installed. Its neglect of pressure is 0.02 kg m-3 between two levels here.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.channels import Channel
from pipeline.earth.climatology import CABBELING, CONTRACTION, EXPANSION, GRAVITY, REFERENCE_DENSITY
from pipeline.gate.scene import scaled
from pipeline.grids import Grid
from pipeline.output_gate.season import Season
from pipeline.variables import (
    EASTWARD_VELOCITY,
    NORTHWARD_VELOCITY,
    SALINITY,
    SEA_SURFACE_HEIGHT,
    TEMPERATURE,
    WAVE_HEIGHT,
    WAVE_PERIOD,
    variable,
)

Values = NDArray[np.float32]
Cells = NDArray[np.bool_]

INVERSION_KG_M3 = 0.05
"""Water this much lighter than the water above it is unstable: beyond rounding, pressure and a mixed layer's noise."""
STEEPEST = 1.0 / 15.0
"""Significant wave height over the length of a wave of the mean period, from which a sea breaks: the limit of DNV's
recommended practice C205 (section 3.5.3) for short periods."""
LEAST_CELLS = 50
"""Fewer cells than this tell nothing of a level."""
DRIFTING = (TEMPERATURE.name, SALINITY.name, SEA_SURFACE_HEIGHT.name)


class Law(StrEnum):
    """What is looked at, by the name that a report gives it."""

    JUMP = "change within a day"
    LEAP = "largest change of a cell within a day"
    SPREAD = "spread against the start's"
    DRIFT = "drift of the mean, less the season's"
    ENERGY = "kinetic energy against the start's"
    ENERGY_LEFT = "kinetic energy left of the start's"
    FASTEST = "fastest current"
    STABILITY = "share of unstable water since the start"
    STEEPNESS = "share of breaking seas since the start"


class Figure(NamedTuple):
    """One figure of a day. ``row``: the channel behind it; ``bad``: its cells, ``None``: all of them."""

    law: Law
    row: int
    value: float
    bad: Cells | None = None


class Level(NamedTuple):
    """One channel as it was measured: its values on the sea as they are compared, mean and spread."""

    values: NDArray[np.float32]
    mean: float
    spread: float


class Ruler:
    """Measures one of the forecaster's arrays, a day at a time; keeps the day before, on the sea alone."""

    def __init__(self, array: str, channels: tuple[Channel, ...], grid: Grid, season: Season | None) -> None:
        self.array, self.channels, self.grid, self._season = array, channels, grid, season
        self._areas = np.broadcast_to(np.cos(np.deg2rad(grid.latitude))[:, None], grid.shape).astype(np.float32)
        self._sea: list[NDArray[np.intp]] = []
        self._weights: list[NDArray[np.float32]] = []
        self._before: list[Level] = []
        self._now: list[Level] = []

    def follow(self, values: Values) -> None:
        """Take a day as the one before the next, measured or not."""
        self._find_sea(values)
        self._before, self._now = self._now or [self._level(row, field) for row, field in enumerate(values)], []

    def figures(self, values: Values, lead_day: int, start: dict[str, float]) -> Iterator[Figure]:
        """Every figure of a day. On lead day 0 ``start`` is filled instead, and only what needs no start is said."""
        self._find_sea(values)
        levels = self._now = [self._level(row, field) for row, field in enumerate(values)]
        for row, level in enumerate(levels):
            if self._sea[row].size < LEAST_CELLS:
                continue
            yield from self._changes(row, level)
            yield from self._since_start(row, level, lead_day, start)
        yield from self._currents(values, levels, start, lead_day)
        for law, row, share, bad in (*self._unstable(values), *self._steep(values)):
            yield Figure(law, row, share - start.setdefault(f"{law} {self.array}", share), bad)

    def before(self, row: int) -> Values | None:
        """A channel of the day before, (latitude, longitude), or ``None`` on the first day."""
        if not self._before:
            return None
        field = np.full(self.grid.shape, np.nan, dtype=np.float32)
        field.flat[self._sea[row]] = self._before[row].values
        entry = variable(self.channels[row].variable)
        return np.power(np.float32(10), field) if entry.logarithmic else field

    def _find_sea(self, values: Values) -> None:
        if not self._sea:
            self._sea = [np.flatnonzero(np.isfinite(field)) for field in values]
            areas = [self._areas.reshape(-1)[sea] for sea in self._sea]
            self._weights = [area / max(float(area.sum(dtype=np.float64)), 1e-30) for area in areas]

    def _level(self, row: int, field: Values) -> Level:
        values = scaled(field.reshape(-1)[self._sea[row]], variable(self.channels[row].variable))
        mean = float(np.dot(values, self._weights[row]))
        centred = values - np.float32(mean)
        return Level(values, mean, float(np.sqrt(np.dot(centred * centred, self._weights[row]))))

    def _changes(self, row: int, level: Level) -> Iterator[Figure]:
        """Against the day before; angles turn with each gust and are left out."""
        if not self._before or variable(self.channels[row].variable).circular:
            return
        before = self._before[row]
        change = np.abs(level.values - before.values)
        most = float(change.max())
        if before.spread > 0:
            size = float(np.sqrt(np.dot(change * change, self._weights[row])))
            yield Figure(Law.JUMP, row, size / before.spread, self._cells(row, change >= 0.5 * most))
        yield Figure(Law.LEAP, row, most, self._cells(row, change >= 0.9 * most))

    def _since_start(self, row: int, level: Level, lead_day: int, start: dict[str, float]) -> Iterator[Figure]:
        label, entry = self.channels[row].label, variable(self.channels[row].variable)
        spread = start.setdefault(f"spread {self.array} {label}", level.spread)
        mean = start.setdefault(f"mean {self.array} {label}", level.mean)
        if spread > 0 and not entry.circular:
            yield Figure(Law.SPREAD, row, level.spread / spread)
        if self._season is not None and entry.name in DRIFTING:
            moved = self._season.change(self.channels[row], lead_day)
            yield Figure(Law.DRIFT, row, abs(level.mean - mean - moved))

    def _currents(self, values: Values, levels: list[Level], start: dict[str, float], lead: int) -> Iterator[Figure]:
        """The fastest current, and the kinetic energy of each level against the start's."""
        depths = {c.depth_m: row for row, c in enumerate(self.channels) if c.variable == NORTHWARD_VELOCITY.name}
        for east, channel in enumerate(self.channels):
            if channel.variable != EASTWARD_VELOCITY.name or self._sea[east].size < LEAST_CELLS:
                continue
            north = depths[channel.depth_m]
            squares = levels[east].values ** 2 + levels[north].values ** 2
            fastest = float(np.sqrt(squares.max()))
            yield Figure(Law.FASTEST, east, fastest, self._cells(east, squares >= (0.9 * fastest) ** 2))
            energy = float(np.dot(squares, self._weights[east])) / 2
            first = start.setdefault(f"energy {self.array} {channel.label}", energy)
            if first > 0 and lead > 0:
                yield Figure(Law.ENERGY, east, energy / first)
                yield Figure(Law.ENERGY_LEFT, east, energy / first)

    def _unstable(self, values: Values) -> Iterator[tuple[Law, int, float, Cells]]:
        """The share of cells with lighter water beneath, all levels together; cells and level of the worst."""
        rows = {(c.variable, c.depth_m): row for row, c in enumerate(self.channels)}
        depths = sorted(d for name, d in rows if name == TEMPERATURE.name and d is not None)
        if len(depths) < 2 or (SALINITY.name, depths[0]) not in rows:
            return
        above, worst, total, most = None, None, 0, -1
        count = 0
        for depth in depths:
            row = rows[TEMPERATURE.name, depth]
            below = _buoyancy(values[row], values[rows[SALINITY.name, depth]])
            if above is not None:
                bad = below - above > INVERSION_KG_M3 / REFERENCE_DENSITY
                found = int(bad.sum())
                count, total = count + found, total + int(self._sea[row].size)
                if found > most:
                    most, worst = found, (row, bad)
            above = below
        if worst is not None and total:
            yield Law.STABILITY, worst[0], count / total, worst[1]

    def _steep(self, values: Values) -> Iterator[tuple[Law, int, float, Cells]]:
        """The share of cells whose seas are steeper than seas are."""
        names = [channel.variable for channel in self.channels]
        if WAVE_HEIGHT.name in names and WAVE_PERIOD.name in names:
            height, period = (values[names.index(name)] for name in (WAVE_HEIGHT.name, WAVE_PERIOD.name))
            bad = height > STEEPEST * GRAVITY / (2 * np.pi) * period**2
            row = names.index(WAVE_HEIGHT.name)
            yield Law.STEEPNESS, row, float(bad.sum()) / max(1, self._sea[row].size), bad

    def _cells(self, row: int, chosen: NDArray[np.bool_]) -> Cells:
        bad = np.zeros(self.grid.shape, dtype=bool)
        bad.flat[self._sea[row]] = chosen
        return bad


def _buoyancy(temperature: Values, salinity: Values) -> Values:
    """The lighter the more, 1: density is the reference's times one less this."""
    warmth = temperature - np.float32(10.0)
    light: Values = (np.float32(EXPANSION) + np.float32(CABBELING / 2) * warmth) * warmth
    return light - np.float32(CONTRACTION) * (salinity - np.float32(35.0))
