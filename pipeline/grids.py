"""Axes, edges, areas, periodicity: regular latitude-longitude grids as small values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.variables import Entry

EARTH_RADIUS_M = 6_371_000.0
"""Mean Earth radius in metres (IUGG R1, rounded)."""

Axis = NDArray[np.float64]


class Grid(Entry):
    """A regular grid of cell centres: latitude increasing, longitude increasing within 0..360 degrees east."""

    south: float = Field(ge=-90, le=90, description="latitude of the first row of centres, degrees north")
    west: float = Field(ge=0, lt=360, description="longitude of the first column of centres, degrees east")
    latitude_step: float = Field(gt=0)
    longitude_step: float = Field(gt=0)
    rows: int = Field(gt=1)
    columns: int = Field(gt=1)

    @property
    def latitude(self) -> Axis:
        """Cell centres, degrees north, (rows,)."""
        return np.round(self.south + self.latitude_step * np.arange(self.rows), 9)

    @property
    def longitude(self) -> Axis:
        """Cell centres, degrees east, (columns,)."""
        return np.round(self.west + self.longitude_step * np.arange(self.columns), 9)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.rows, self.columns

    @property
    def periodic(self) -> bool:
        """Whether the longitudes close on themselves."""
        return abs(self.columns * self.longitude_step - 360.0) < 1e-6

    @property
    def latitude_edges(self) -> Axis:
        """Cell edges, degrees north, (rows + 1,)."""
        return edges(self.latitude).clip(-90.0, 90.0)

    @property
    def longitude_edges(self) -> Axis:
        """Cell edges, degrees east, (columns + 1,)."""
        return edges(self.longitude)

    @property
    def areas_m2(self) -> NDArray[np.float64]:
        """Cell areas on the sphere in m2, (rows, columns)."""
        return cell_areas(self.latitude_edges, self.longitude_edges)

    def refined(self, factor: int) -> Grid:
        """The same cells, each cut into ``factor`` x ``factor``; the grid must not have cells cut off by a pole."""
        latitude_step, longitude_step = self.latitude_step / factor, self.longitude_step / factor
        return Grid(
            south=self.south - (self.latitude_step - latitude_step) / 2,
            west=(self.west - (self.longitude_step - longitude_step) / 2) % 360.0,
            latitude_step=latitude_step,
            longitude_step=longitude_step,
            rows=self.rows * factor,
            columns=self.columns * factor,
        )

    def window(self, south: float, north: float, west: float, east: float) -> Grid:
        """The cells whose centres lie within the box (degrees)."""
        rows = np.flatnonzero((self.latitude > south) & (self.latitude < north))
        columns = np.flatnonzero((self.longitude > west) & (self.longitude < east))
        return Grid(
            south=float(self.latitude[rows[0]]),
            west=float(self.longitude[columns[0]]),
            latitude_step=self.latitude_step,
            longitude_step=self.longitude_step,
            rows=int(rows.size),
            columns=int(columns.size),
        )


def edges(centres: Axis) -> Axis:
    """Edges half way between centres; the outer two half a step beyond the first and the last. (n,) -> (n + 1,)."""
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def cell_areas(latitude_edges: Axis, longitude_edges: Axis) -> NDArray[np.float64]:
    """Areas on the sphere in m2: R^2 (sin(north) - sin(south)) (east - west), angles in radians."""
    heights = np.diff(np.sin(np.deg2rad(latitude_edges)))
    widths = np.diff(np.deg2rad(longitude_edges))
    return EARTH_RADIUS_M**2 * heights[:, None] * widths[None, :]
