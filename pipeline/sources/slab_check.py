"""A second look at slabs: servers answer 200 with nulls, with zeros, with half a field. Slabs vouch for one another.

Where HYCOM has sea at a depth, all four of its fields have a value there, and above it too; the sea level has one
where there is sea at the surface (exactly so in the analysis of 2023-01-01 and 02 over the Coral Sea, at 40 depths).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputRefused

if TYPE_CHECKING:
    from pipeline.sources.slabs import Slab

DISAGREEING_SHARE = 0.005
"""Of a slab's cells: fields of one depth whose seas differ by more do not belong together. They agree exactly in all
that was seen; this is room for archives of other years."""
FLAT_SHARE = 0.02
"""Of a slab's rows: more rows than this with one value all along are no ocean, but a buffer that was never filled."""
ROW_CELLS = 16
"""Sea cells from which a row of one value counts as flat."""


class Figures(NamedTuple):
    """What is known of a slab: cells with a value, all cells, rows of one value only; its bytes and their SHA-256."""

    sea: int
    cells: int
    flat_rows: int
    rows: int
    size_bytes: int
    sha256: str


def figures(array: NDArray[Any], fill: float) -> Figures:
    """The figures of a packed slab (row, column) whose land is ``fill`` (or NaN)."""
    there = (array != fill) & (array == array)
    low = np.where(there, array, _greatest(array.dtype)).min(axis=1)
    high = np.where(there, array, -_greatest(array.dtype)).max(axis=1)
    flat = (there.sum(axis=1) >= min(ROW_CELLS, array.shape[1])) & (low == high)
    content = np.ascontiguousarray(array)
    return Figures(int(there.sum()), array.size, int(flat.sum()), array.shape[0], array.nbytes,
                   hashlib.sha256(content.data).hexdigest())  # fmt: skip


def culprits(found: Sequence[tuple[Slab, Figures]], final: bool) -> list[Slab]:
    """The slabs to fetch again; where ``final``, ``InputRefused`` for the first of them instead."""
    suspects = [*_flat(found), *_not_of_their_depth(found), *_sea_under_land(found)]
    if final and suspects:
        slab, words = suspects[0]
        raise InputRefused(
            f"{slab} whole", found=f"{words}, at the second look too", where=slab.field.uri,
            action="look at the archive's notices; run again when it is mended, or take the next source",
        )  # fmt: skip
    doubtful = {_place(slab) for slab, _ in suspects}
    return [slab for slab, _ in found if _place(slab) in doubtful]


Suspect = tuple["Slab", str]


def _flat(found: Sequence[tuple[Slab, Figures]]) -> list[Suspect]:
    return [(slab, f"one value all along {mine.flat_rows} of its {mine.rows} rows") for slab, mine in found
            if mine.flat_rows > max(1, FLAT_SHARE * mine.rows)]  # fmt: skip


def _not_of_their_depth(found: Sequence[tuple[Slab, Figures]]) -> list[Suspect]:
    most: dict[object, int] = {}
    for slab, mine in found:
        most[_place(slab)] = max(mine.sea, most.get(_place(slab), 0))
    return [(slab, f"values in {mine.sea} of {mine.cells} cells, where others of that depth have {most[_place(slab)]}")
            for slab, mine in found if most[_place(slab)] - mine.sea > DISAGREEING_SHARE * mine.cells]  # fmt: skip


def _sea_under_land(found: Sequence[tuple[Slab, Figures]]) -> list[Suspect]:
    """Slabs with less sea than a deeper one of the same field, or with none at the surface."""
    suspects: list[Suspect] = []
    deepest: dict[tuple[object, str], int] = {}
    for slab, mine in sorted(found, key=lambda item: -(item[0].depth_m or 0.0)):
        column = slab.stamp, slab.field.name
        below = deepest.get(column, 0)
        if below - mine.sea > DISAGREEING_SHARE * mine.cells:
            suspects.append((slab, f"values in {mine.sea} of {mine.cells} cells, where a deeper level has {below}"))
        elif mine.sea == 0 and not slab.depth_m:
            suspects.append((slab, f"no value in any of {mine.cells} cells"))
        deepest[column] = max(below, mine.sea)
    return suspects


def _place(slab: Slab) -> tuple[object, float]:
    """Instant and depth: there, the fields' seas are the same; the sea level's is that of the surface."""
    return slab.stamp, slab.depth_m or 0.0


def _greatest(dtype: np.dtype[Any]) -> Any:
    return np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else np.finfo(dtype).max
