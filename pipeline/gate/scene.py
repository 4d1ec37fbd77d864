"""One kind of gridded input and what it is held against: yesterday's analysis, yesterday's forecast, the season."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.earth import climatology
from pipeline.grids import Grid
from pipeline.variables import Kind, Variable, variable

Field = NDArray[np.float32]
Beside = Callable[[str, int], Field | None]
"""A field by the variable's name and the level's number, (latitude, longitude), or ``None`` where there is none."""
LEAST_LOGARITHM = 1e-4
"""What quantities that are compared on a logarithmic scale count at least, in their units: a tenth of the least
chlorophyll that satellites tell from none (0.001 mg m-3)."""

MOST_ROWS = 180
"""A one-degree globe: the climatology itself has no more."""


class Scene(NamedTuple):
    """Gridded fields by name, (depth,) latitude, longitude, NaN on land, and what they are compared with.

    ``yesterday``, ``forecast`` (made yesterday for this instant) and ``normal`` (the climatology) are ``None`` where
    they are not at hand; ``absent`` says why, by those names, and which of their fields could not be read.
    """

    fields: Mapping[str, NDArray[np.float32]]
    grid: Grid
    depths_m: tuple[float, ...]
    when: datetime
    yesterday: Beside | None = None
    forecast: Beside | None = None
    normal: Beside | None = None
    absent: Mapping[str, str] = {}

    @property
    def entries(self) -> tuple[Variable, ...]:
        """The variables there are."""
        return tuple(variable(name) for name in self.fields)

    @property
    def areas(self) -> NDArray[np.float64]:
        """Relative areas of the cells, (latitude, 1)."""
        return np.cos(np.deg2rad(self.grid.latitude))[:, None]


class Level(NamedTuple):
    """One level of a field: its number, how it is called, its values."""

    number: int
    place: str
    values: Field


def levels(scene: Scene, entry: Variable) -> Iterator[Level]:
    """The levels of a field, the surface first."""
    field = scene.fields[entry.name]
    if field.ndim == 2:
        yield Level(0, "", field)
        return
    for number, depth in enumerate(scene.depths_m):
        yield Level(number, f"at {depth:g} m", field[number])


def scene_of(
    dataset: xr.Dataset, grid: Grid, when: datetime, *, yesterday: Beside | None = None,
    forecast: Beside | None = None, normal: Beside | None = None, absent: Mapping[str, str] | None = None,
) -> Scene:  # fmt: skip
    """The scene of a gridded dataset."""
    depths = tuple(float(depth) for depth in dataset["depth"].values) if "depth" in dataset.coords else ()
    fields = {str(name): np.asarray(field.values) for name, field in dataset.data_vars.items()}
    return Scene(fields, grid, depths, when, yesterday, forecast, normal, {} if absent is None else absent)


def climatology_of(kind: Kind, dataset: xr.Dataset, when: datetime) -> Beside:
    """The season's fields at some of the dataset's own points, NaN between them, made when they are first asked for.

    On large grids every so many-th point is enough to know a mean by: ``MOST_ROWS`` rows at the most.
    """
    latitude, longitude = dataset["latitude"].values, dataset["longitude"].values
    depths = tuple(float(depth) for depth in dataset["depth"].values) if "depth" in dataset.coords else ()
    step = 1 + (latitude.size - 1) // MOST_ROWS
    points = (slice(step // 2, None, step), slice(step // 2, None, step))

    @lru_cache(maxsize=1)
    def season() -> Mapping[str, Field]:
        return climatology.fields(kind, when, latitude[points[0]], longitude[points[1]], depths)

    def beside(name: str, number: int) -> Field | None:
        found = season().get(name)
        if found is None:
            return None
        values = np.full((latitude.size, longitude.size), np.nan, dtype=np.float32)
        values[points] = found[number] if found.ndim == 3 else found
        return values

    return beside


def of_dataset(dataset: xr.Dataset) -> Beside:
    """Fields of an opened dataset, (depth,) latitude, longitude, read a variable at a time."""

    @lru_cache(maxsize=1)
    def read(name: str) -> NDArray[np.float32]:
        return np.asarray(dataset[name].values, dtype=np.float32)

    def beside(name: str, number: int) -> Field | None:
        if name not in dataset:
            return None
        return read(name)[number] if "depth" in dataset[name].dims else read(name)

    return beside


def scaled(values: Field, entry: Variable) -> Field:
    """A field as it is compared: what is spread over decades by its logarithm to base ten."""
    if not entry.logarithmic:
        return values
    return np.log10(np.maximum(values, np.float32(LEAST_LOGARITHM)))
