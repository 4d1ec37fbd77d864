"""Where the source's coast and the system's coast part: how far is tolerated, and what is done at the rim.

The system's mask says which cells are ocean. A source that is what it says it is has ocean there and land
elsewhere, but for a rim of cells where two masks round the coast differently. Those are filled from the ocean
beside them; more than that means that the mask moved, the latitude was flipped, or the field is mostly gone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputRefused
from pipeline.grids import Grid

OCEAN_SHARE = 0.5
"""A cell is ocean where at least half of it is: the nearest mask to the true coast in area."""
VALUE_SHARE = 0.25
"""Least ocean share from which a mean is taken; with less, a mean stands for a corner and the rim fill serves
better. Half of ``OCEAN_SHARE``: with the mask's own source no ocean cell is near it."""
SAME_SOURCE_LIMIT = 0.02
"""How many cells may disagree when mask and field are of one archive, as a share of the level's coast cells (cells
with the other kind beside them). Two days of the HYCOM Coral Sea analysis disagree in none; moved by one cell they
disagree in 20 % of the coast cells at the least."""
OTHER_SOURCE_LIMIT = 0.75
"""The same for two archives, or a mask made from a relief, which put the coast and the isobaths into other cells:
with a mask made from the packaged relief of 20 minutes, HYCOM's Coral Sea disagrees in 17 to 63 % of the coast cells,
level by level, the most on the Great Barrier Reef. A flip disagrees in 280 % and more."""
BETTER_FIT = 0.7
"""A move or flip of the mask that leaves less than this share of the disagreement explains it: the mask moved. Under
the relief's mask no move of HYCOM's leaves less than 0.76 by chance; undoing a move of one cell leaves 0.63 and less
at some level for each of the four directions."""
FILL_CELLS = 2
"""How many cells from the source's ocean the rim fill reaches, by successive means over 3 x 3 cells."""

FULL_COVER = 0.999
"""A cell counts as covered by a source from this share of its area on: coordinates are rounded."""

Mask = NDArray[np.bool_]
_MOVES = tuple((flip, north, east) for flip in (False, True) for north in (-1, 0, 1) for east in (-1, 0, 1))


class Coast(NamedTuple):
    """A system's mask at one level and how strictly a source must keep to it.

    ``ocean``: True on ocean, (rows, columns). ``same_source``: the mask was made from the archive the field is of.
    ``ice``: the source has no values under sea ice, so that only missing ocean counts, not more of it.
    """

    ocean: Mask
    grid: Grid
    same_source: bool
    ice: bool = False


def check(share: NDArray[np.float64], covered: Mask, coast: Coast, where: str, field: str = "") -> None:
    """Refuse a field whose ocean is not the system's.

    ``share``: the source's ocean share of each cell, 0..1; ``covered``: where the source has cells at all.
    """
    source = share >= OCEAN_SHARE
    found = _disagreement(source, covered, coast)
    limit = SAME_SOURCE_LIMIT if coast.same_source and not coast.ice else OTHER_SOURCE_LIMIT
    if found <= SAME_SOURCE_LIMIT:
        return
    best, words = _best_fit(source, covered, coast)
    if found > limit or best < BETTER_FIT * found:
        refusal = _refused(source, covered, coast, limit, words if best < BETTER_FIT * found else "", where)
        refusal.check, refusal.field, refusal.value, refusal.threshold = "land", field, found, limit
        refusal.units = "of the coast cells"
        raise refusal


def fill(values: NDArray[np.float32], coast: Coast) -> tuple[NDArray[np.float32], int]:
    """Give the system's ocean cells without a value the mean of their valid neighbours among 3 x 3, ring by ring.

    ``values`` (rows, columns), NaN where the source has none; reaches ``FILL_CELLS`` cells. Returns the values,
    still NaN beyond the reach, and how many cells were filled.
    """
    filled = 0
    for _ in range(FILL_CELLS):
        rows, columns = np.nonzero(coast.ocean & np.isnan(values))
        if not rows.size:
            break
        neighbours = _neighbours(values, rows, columns, coast.grid)
        known = np.isfinite(neighbours)
        reached = known.any(axis=0)
        sums = np.where(known, neighbours, 0.0).sum(axis=0, dtype=np.float64)
        values = values.copy()
        values[rows[reached], columns[reached]] = sums[reached] / known.sum(axis=0)[reached]
        filled += int(reached.sum())
    return values, filled


def _neighbours(
    values: NDArray[np.float32], rows: NDArray[np.intp], columns: NDArray[np.intp], grid: Grid
) -> NDArray[np.float32]:
    """The eight values around each cell, (8, cells); NaN beyond the grid, around the globe where it is periodic."""
    sides = [(0, 0), (1, 1)]
    padded = np.pad(values, sides, mode="wrap") if grid.periodic else np.pad(values, sides, constant_values=np.nan)
    padded = np.pad(padded, [(1, 1), (0, 0)], constant_values=np.nan)
    steps = [(north, east) for north in (0, 1, 2) for east in (0, 1, 2) if (north, east) != (1, 1)]
    return np.stack([padded[rows + north, columns + east] for north, east in steps])


def _disagreement(source: Mask, covered: Mask, coast: Coast) -> float:
    """Cells that are ocean in one and land in the other, as a share of the system's coast cells."""
    differ = coast.ocean & ~source if coast.ice else coast.ocean ^ source
    return float((differ & covered).sum()) / max(1, _coast_cells(coast))


def _coast_cells(coast: Coast) -> int:
    """How many cells, ocean or land, have one of the other kind to their north, south, east or west."""
    beside = np.zeros(coast.ocean.shape, dtype=bool)
    across, along = coast.ocean[1:] != coast.ocean[:-1], coast.ocean[:, 1:] != coast.ocean[:, :-1]
    beside[1:] |= across
    beside[:-1] |= across
    beside[:, 1:] |= along
    beside[:, :-1] |= along
    return int(beside.sum())


def _best_fit(source: Mask, covered: Mask, coast: Coast) -> tuple[float, str]:
    """The least disagreement over flips and moves by one cell of the source's mask, and that move in words."""
    fits = []
    for flip, north, east in _MOVES:
        moved, known = (_moved(mask[::-1] if flip else mask, -north, -east, coast.grid) for mask in (source, covered))
        if (flip, north, east) != (False, 0, 0):
            fits.append((_disagreement(moved, known, coast), _words(flip, north, east)))
    return min(fits)


def _moved(mask: Mask, north: int, east: int, grid: Grid) -> Mask:
    moved = np.roll(mask, (north, east), (0, 1))
    if north:
        moved[0 if north > 0 else -1] = False
    if east and not grid.periodic:
        moved[:, 0 if east > 0 else -1] = False
    return moved


def _words(flip: bool, north: int, east: int) -> str:
    moves = [f"moved one cell {name}" for name, is_it in (
        ("north", north > 0), ("south", north < 0), ("east", east > 0), ("west", east < 0)) if is_it]  # fmt: skip
    return " and ".join((["flipped north-south"] if flip else []) + moves)


def _refused(source: Mask, covered: Mask, coast: Coast, limit: float, words: str, where: str) -> InputRefused:
    ocean = coast.ocean & covered
    missing, more = ocean & ~source, covered & ~coast.ocean & source
    row, column = np.argwhere(missing | more)[0]
    latitude, longitude = coast.grid.latitude[row], coast.grid.longitude[column]
    guess = f", as if {words}" if words else ""
    return InputRefused(
        f"the land-sea mask of the system, but for {limit:.0%} of its {_coast_cells(coast)} coast cells",
        found=f"{int(missing.sum())} of {int(ocean.sum())} ocean cells without a value and {int(more.sum())} land "
        f"cells with one{guess}, first at {latitude:.2f}N {longitude:.2f}E: the land-sea mask moved, the latitude is "
        "flipped, or values are missing",
        where=where,
        action="compare the file's latitude and longitude with its land, and fetch it again; if the archive changed "
        "its own mask, make the system's anew: python -m pipeline.earth.landmask",
    )
