"""What the season does to the means of a sea within the days of a forecast."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.channels import Channel
from pipeline.cycle import Cycle
from pipeline.earth import climatology
from pipeline.systems import System
from pipeline.variables import Kind

MOST_ROWS = 60
"""Points of a three-degree globe are enough to know by how much a sea's mean moves within a month."""


class Season(NamedTuple):
    """By channel label: how far the climatology's mean over the sea moves in ``days``, in the variable's units."""

    days: int
    moved: dict[str, float]

    def change(self, channel: Channel, lead_day: int) -> float:
        """The season's own change up to a lead day: a straight line, for a month is a short piece of a year's wave."""
        return self.moved[channel.label] * lead_day / self.days


def of_ocean(system: System, cycle: Cycle, ocean: NDArray[np.bool_], labels: tuple[Channel, ...]) -> Season:
    """The season of a system's ocean from a cycle on, over the cells that are ``ocean`` (channel, latitude, longitude).

    On large grids every so many-th point is enough to know a mean by.
    """
    grid = system.grid
    step = 1 + (grid.rows - 1) // MOST_ROWS
    points = (slice(step // 2, None, step), slice(step // 2, None, step))
    latitude, longitude = grid.latitude[points[0]], grid.longitude[points[1]]
    first, last = (
        climatology.fields(Kind.OCEAN, when, latitude, longitude, system.depths_m)
        for when in (cycle.start, cycle.start + timedelta(days=system.forecast_days))
    )
    moved = {}
    areas = np.broadcast_to(np.cos(np.deg2rad(latitude))[:, None], (latitude.size, longitude.size))
    for row, channel in enumerate(labels):
        one, two = (_level(fields[channel.variable], channel, system) for fields in (first, last))
        weights = np.where(ocean[row][points], areas, 0.0)
        moved[channel.label] = float(((two - one) * weights).sum() / (weights.sum() or 1.0))
    return Season(system.forecast_days, moved)


def _level(field: NDArray[np.float32], channel: Channel, system: System) -> NDArray[np.float64]:
    chosen = field if field.ndim == 2 else field[system.depths_m.index(channel.depth_m or 0.0)]
    return chosen.astype(np.float64)
