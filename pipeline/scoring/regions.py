"""The regions a forecast is scored in, as small values: boxes of latitude and longitude."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.grids import EARTH_RADIUS_M, Grid
from pipeline.scoring.metrics import Weights
from pipeline.variables import Entry

LEAST_COVER = 0.5
"""A region is scored by systems whose grid covers at least half of its box: less would be another place's score
under its name."""


class Region(Entry):
    """A box. A cell belongs to it if its *centre* lies in south <= latitude < north, west <= longitude < east.

    Longitudes in degrees east, 0..360; a box with ``west`` > ``east`` crosses Greenwich.
    """

    name: str
    title: str
    south: float = Field(ge=-90, le=90)
    north: float = Field(ge=-90, le=90)
    west: float = Field(ge=0, le=360)
    east: float = Field(ge=0, le=360)

    def members(self, grid: Grid) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """True on the rows and on the columns of a grid that belong to the region: cells are members of both."""
        latitude = grid.latitude
        rows = (latitude >= self.south) & ((latitude < self.north) | (self.north >= 90.0))
        columns = (grid.longitude - self.west) % 360.0 < self.width
        return rows, columns

    @property
    def width(self) -> float:
        """Degrees of longitude from west to east."""
        return (self.east - self.west) % 360.0 or 360.0

    def cover(self, grid: Grid) -> float:
        """The share of the box's area, 0..1, that the grid's member cells have: 1 up to the cells' size."""
        rows, columns = self.members(grid)
        box = np.deg2rad(self.width) * (np.sin(np.deg2rad(self.north)) - np.sin(np.deg2rad(self.south)))
        return float(grid.areas_m2[np.ix_(rows, columns)].sum()) / EARTH_RADIUS_M**2 / float(box)


EVERYWHERE = Region(name="everywhere", title="Everywhere the system has ocean", south=-90, north=90, west=0, east=360)
"""The one region every system has: all of its own ocean, be it the globe or a sea."""

BASINS: tuple[Region, ...] = (
    Region(name="north-atlantic", title="Box inside the North Atlantic", south=20, north=60, west=300, east=345),
    Region(name="south-atlantic", title="Box inside the South Atlantic", south=-40, north=-5, west=330, east=10),
    Region(name="north-pacific", title="Box inside the North Pacific", south=20, north=50, west=160, east=230),
    Region(name="south-pacific", title="Box inside the South Pacific", south=-40, north=-10, west=180, east=280),
    Region(name="indian-ocean", title="Box inside the Indian Ocean", south=-35, north=5, west=55, east=95),
    Region(name="arctic", title="Arctic Ocean north of 75 degrees", south=75, north=90, west=0, east=360),
)
"""Boxes well inside the basins: the open ocean that nobody disputes, without marginal seas and without the basins'
edges, so that no cell of theirs is of another basin. What a basin has outside its box is in the belts alone."""

REGIONS: tuple[Region, ...] = (
    EVERYWHERE,
    Region(name="northern-extratropics", title="Northern extratropics", south=20, north=90, west=0, east=360),
    Region(name="tropics", title="Tropics", south=-20, north=20, west=0, east=360),
    Region(name="southern-extratropics", title="Southern extratropics", south=-90, north=-20, west=0, east=360),
    Region(name="southern-ocean", title="Southern Ocean", south=-65, north=-40, west=0, east=360),
    Region(name="nino-3.4", title="Equatorial Pacific (Niño 3.4)", south=-5, north=5, west=190, east=240),
    Region(name="kuroshio", title="Kuroshio and its extension", south=21, north=45, west=125, east=180),
    Region(name="gulf-stream", title="Gulf Stream", south=30, north=45, west=280, east=320),
    Region(name="agulhas", title="Agulhas current", south=-45, north=-30, west=10, east=45),
    Region(name="coral-sea", title="Coral Sea", south=-30, north=-10, west=145, east=165),
    Region(name="mediterranean", title="Mediterranean Sea", south=30, north=46, west=354, east=36),
    *BASINS,
)
"""A name is one box for ever: scores of years stand beside each other under it. Another box is another region."""


def of(grid: Grid) -> tuple[Region, ...]:
    """The regions a grid can be scored in, in registry order: those it covers well enough (``LEAST_COVER``)."""
    return tuple(region for region in REGIONS if region is EVERYWHERE or region.cover(grid) >= LEAST_COVER)


def weights(grid: Grid, places: Sequence[Region]) -> Weights:
    """Cell areas in m2 within each of the regions."""
    members = [place.members(grid) for place in places]
    heights = EARTH_RADIUS_M**2 * np.diff(np.sin(np.deg2rad(grid.latitude_edges)))
    widths = np.diff(np.deg2rad(grid.longitude_edges))
    return Weights(np.stack([rows * heights for rows, _ in members]), np.stack([c * widths for _, c in members]))
