"""A small asymmetric ocean for the tests of publishing: every transpose, flip and shift gives another answer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline import channels, contracts, cycle, produce, products, provenance
from pipeline.contracts import InitialState
from pipeline.credits import Publisher
from pipeline.forecast import Persistence
from pipeline.grids import Grid
from pipeline.provenance import InputRecord
from pipeline.systems import Ladder, System, rungs
from pipeline.variables import DEPTHS_M, Kind, variable

START = datetime(2024, 2, 27, 12, tzinfo=UTC)
"""Two days before a leap day."""
CREATED = datetime(2024, 2, 28, 1, 2, 3, tzinfo=UTC)

_GRID = Grid(south=20.5, west=120.5, latitude_step=1.0, longitude_step=1.5, rows=14, columns=11)

SYSTEM = System(
    name="small", title="A small ocean for tests", region="Test Sea", grid=_GRID,
    wave_grid=Grid(south=21.0, west=121.0, latitude_step=2.0, longitude_step=2.0, rows=5, columns=7),
    biogeochemistry_grid=Grid(south=20.0, west=120.0, latitude_step=3.0, longitude_step=2.5, rows=4, columns=6),
    kuroshio_grid=_GRID.window(south=23.0, north=29.0, west=123.0, east=131.0).refined(3),
    start_hour=12, forecast_days=4, forcing_policy="persistence", real_ocean=False,
    ladders=(Ladder(kind=Kind.OCEAN, rungs=rungs("twin"), required=True),),
    products=products.PRODUCTS,
)  # fmt: skip
CYCLE = cycle.cycle(SYSTEM.name, START.date(), SYSTEM.start_hour)

_SHAPES = {
    "ocean": (channels.ocean(), SYSTEM.grid),
    "waves": (channels.waves(), SYSTEM.wave_grid),
    "biogeochemistry": (channels.biogeochemistry(), SYSTEM.biogeochemistry_grid),
    "kuroshio": (channels.surface_ocean(), SYSTEM.kuroshio_grid),
}


def masks() -> dict[str, NDArray[np.bool_]]:
    """True on ocean: land in the south-west corner and on one island, and more of it the deeper one goes."""
    found = {}
    for name, (entries, grid) in _SHAPES.items():
        assert grid is not None
        row, column = np.indices(grid.shape)
        layers = []
        for entry in entries:
            level = 0 if entry.depth_m is None else DEPTHS_M.index(entry.depth_m)
            ocean = (2 * row + column) * 20 > grid.rows * level // 3 + 20
            ocean[grid.rows - 2, 1] = False
            layers.append(ocean)
        found[name] = np.stack(layers)
    return found


def values(name: str, salt: float = 0.0) -> NDArray[np.float32]:
    """Plausible values of one array, different in every cell, NaN on land."""
    entries, grid = _SHAPES[name]
    assert grid is not None
    row, column = np.indices(grid.shape)
    layers = []
    for index, entry in enumerate(entries):
        lower, upper = _plausible(entry.variable)
        phase = np.sin(0.7 * row + 0.13 * column**1.5 + index + salt)
        layers.append(lower + (upper - lower) * (0.5 + 0.5 * phase))
    return np.where(masks()[name], np.stack(layers), np.nan).astype(np.float32)


def _plausible(name: str) -> tuple[float, float]:
    ranges = {"to": (2.0, 29.0), "so": (33.0, 36.5), "uo": (-1.2, 1.4), "vo": (-0.9, 1.1), "zos": (-0.8, 1.3),
              "swh": (0.2, 7.0), "mwp": (3.0, 14.0), "mwd": (1.0, 359.0), "mld": (10.0, 300.0)}  # fmt: skip
    entry = variable(name)
    return ranges.get(name, (entry.lower, min(entry.upper, 5.0)))


def initial(without: tuple[str, ...] = ()) -> InitialState:
    """The state at ``START``, with one input degraded."""
    arrays: dict[str, tuple[NDArray[np.float32], tuple[channels.Channel, ...], Grid | None]] = {
        name: (values(name), *_SHAPES[name]) for name in ("ocean", "waves", "biogeochemistry") if name not in without
    }
    forcing = np.stack([np.full(SYSTEM.grid.shape, float(index)) for index in range(6)]).astype(np.float32)
    arrays["forcing"] = (forcing, channels.forcing(), SYSTEM.grid)
    fields, coordinates = {}, {}
    for name, (array, entries, grid) in arrays.items():
        assert grid is not None
        fields[name] = ((f"{name}_channel", f"{name}_latitude", f"{name}_longitude"), array)
        coordinates[f"{name}_channel"] = [entry.label for entry in entries]
        coordinates[f"{name}_latitude"], coordinates[f"{name}_longitude"] = grid.latitude, grid.longitude
    coordinates["time"] = np.datetime64(START.replace(tzinfo=None), "ns")
    dataset = xr.Dataset(fields, coords=coordinates)
    return contracts.initial_state(provenance.attach(dataset, records()), SYSTEM)


def records() -> tuple[InputRecord, ...]:
    """An ocean of the day, a surface half a day old and degraded."""
    return (
        InputRecord(kind=Kind.OCEAN, variables=("to", "so", "uo", "vo", "zos"), source="twin", rung=0,
                    valid_time=START, age_hours=0.0),
        InputRecord(kind=Kind.SURFACE, variables=("u10", "v10"), source="era5", rung=0,
                    valid_time=START.replace(hour=0), age_hours=12.0),
        InputRecord(kind=Kind.SURFACE, variables=("t2m", "msl", "sp"), source="climatology", rung=1,
                    valid_time=None, age_hours=0.0, degraded="t2m, msl and sp are climatology: era5 lacks them"),
        InputRecord(kind=Kind.WAVES, variables=("swh", "mwp", "mwd"), source="twin", rung=0,
                    valid_time=START, age_hours=0.0),
    )  # fmt: skip


def facts(revision: int = 1, left_out: Mapping[str, str] | None = None) -> produce.Facts:
    """The facts of a persistence run."""
    return produce.facts(
        initial(), persistence(), revision=revision, code_version="0.1.0+test", publisher=Publisher(),
        left_out=left_out or {},
    )  # fmt: skip


def persistence() -> Persistence:
    """The forecaster of the tests."""
    return Persistence(SYSTEM, masks=masks())


class Drifting(Persistence):
    """A forecaster whose next day depends on every bit of the day before: a rollout that must be exact to resume."""

    name = "drifting"

    def roll_out(self, state, forcing, after=0):  # type: ignore[no-untyped-def]
        """Each day a little closer to zero."""
        day = dict(state)
        for _ in forcing:
            day = {name: (array * np.float32(0.99)).astype(np.float32) for name, array in day.items()}
            yield {**day, **self.derive(day)}


def drifting() -> Drifting:
    """A forecaster that moves."""
    return Drifting(SYSTEM, masks=masks())
