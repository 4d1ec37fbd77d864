"""Masks from an archive's own land, or from the packaged relief: what ``python -m pipeline.earth.landmask`` runs."""

from __future__ import annotations

import argparse
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from pipeline import cycle, provenance
from pipeline import weights as w
from pipeline.contracts import Ingested
from pipeline.earth import climatology, coast, landmask, relief
from pipeline.earth.landmask import Mask, Masks
from pipeline.grids import Grid
from pipeline.ingest import ingest
from pipeline.systems import System, system
from pipeline.variables import Kind

RELIEF = "relief"
"""Source name of masks made from the packaged relief, not from an archive's own land."""
HYCOM_SOUTH = -80.0
"""Latitude of HYCOM's first row of points, degrees north."""
NOBM_SOUTH, NOBM_NORTH = -84.0, 72.0
"""The latitudes NOBM covers, degrees north (its native 234 rows of 2/3 degree)."""
NOBM_LEAST_DEPTH_M = 200.0
"""NOBM has the open ocean only: where the sea bed is deeper than 200 m (Gregg and Casey 2007, NASA/TM-2006-104606)."""
ICE_FREE_DEGC = 1.0
"""Sea whose climatological surface temperature stays above this in every month is taken to be free of ice all the
year: 2.8 degrees above freezing (-1.8 degC) for what lies between one winter and another. ERA5 has no waves in ice."""
FREEZING_SEAS = (
    ("Hudson Bay", 50.0, 71.0, 262.0, 295.0),
    ("Gulf of Bothnia and Gulf of Finland", 59.0, 67.0, 17.0, 31.0),
    ("White Sea", 63.0, 69.0, 32.0, 45.0),
    ("Sea of Azov", 45.0, 48.0, 34.5, 40.0),
)
"""Seas that freeze every winter and are too small or too little observed for the climatology to know: name, south,
north, west, east in degrees."""
_MONTHS = tuple(datetime(2001, month, 15, tzinfo=UTC) for month in range(1, 13))


def from_source(entry: System, when: datetime, inputs: str | None, scratch: Path, seed: int = 0) -> Masks:
    """A system's masks from the first source of its ladders, for one instant.

    A cell is ocean where the archive covers it and at least ``coast.OCEAN_SHARE`` of it has values of every
    variable of the kind: each kind keeps to its own archive's coast.
    """
    ocean = ingest(entry, Kind.OCEAN, when, inputs=inputs, scratch=scratch, seed=seed)
    arrays = {"ocean": ocean_of(ocean, entry.grid, entry.depths_m)}
    sources = {"ocean": _source(ocean)}
    if entry.kuroshio_grid is not None:
        arrays["kuroshio"] = ocean_of(ocean, entry.kuroshio_grid, entry.depths_m[:1])[0]
        sources["kuroshio"] = sources["ocean"]
    for kind, grid in ((Kind.WAVES, entry.wave_grid), (Kind.BIOGEOCHEMISTRY, entry.biogeochemistry_grid)):
        if grid is not None:
            parts = ingest(entry, kind, when, inputs=inputs, scratch=scratch, seed=seed)
            arrays[kind.value] = ocean_of(parts, grid, (0.0,))[0] & _ice_free(entry, kind, grid)
            sources[kind.value] = _source(parts)
    words = ", ".join(f"{name} from {source}" for name, source in sources.items())
    return Masks(arrays, sources, f"the archives' own land at {when:%Y-%m-%d %H}Z: {words}")


def from_relief(entry: System) -> Masks:
    """A system's masks from the packaged relief: where no archive of it is at hand.

    Archives put their coasts a little elsewhere (``coast.OTHER_SOURCE_LIMIT``); make the masks anew from the
    archive when it is there.
    """
    arrays = {"ocean": _monotone(np.stack([_deeper(entry.grid, depth) for depth in entry.depths_m]))}
    arrays["ocean"][:, entry.grid.latitude_edges[:-1] < HYCOM_SOUTH] = False
    if entry.kuroshio_grid is not None:
        arrays["kuroshio"] = _deeper(entry.kuroshio_grid, 0.0)
    if entry.wave_grid is not None:
        arrays["waves"] = _deeper(entry.wave_grid, 0.0) & _ice_free(entry, Kind.WAVES, entry.wave_grid)
    if entry.biogeochemistry_grid is not None:
        grid = entry.biogeochemistry_grid
        rows = (grid.latitude_edges[:-1] >= NOBM_SOUTH) & (grid.latitude_edges[1:] <= NOBM_NORTH)
        arrays["biogeochemistry"] = _deeper(grid, NOBM_LEAST_DEPTH_M) & rows[:, None]
    note = "the packaged relief (ETOPO5 at 20 minutes), not the archives' own land, which may differ along the coast"
    return Masks(arrays, dict.fromkeys(arrays, RELIEF), note)


def ocean_of(parts: tuple[Ingested, ...], grid: Grid, depths_m: tuple[float, ...]) -> Mask:
    """True where every variable of the parts has ocean, (depth, rows, columns); variables without depth bound all."""
    ocean = np.ones((len(depths_m), *grid.shape), dtype=bool)
    for part in parts:
        weights = w.weights(part["latitude"].values, part["longitude"].values, grid)
        ocean &= weights.covered >= coast.FULL_COVER
        for name in part.data_vars:
            levels = list(depths_m) if "depth" in part[name].dims else [None] * len(depths_m)
            for level, depth in enumerate(levels):
                slab = part[name] if depth is None else part[name].sel(depth=depth)
                _, area = w.mean(slab.values, weights)
                ocean[level] &= w.ocean_share(area, weights) >= coast.OCEAN_SHARE
    return _monotone(ocean)


def main() -> None:
    """The command line: a system's name, and where its masks are to come from."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.earth.landmask", description=landmask.__doc__)
    parser.add_argument("system")
    parser.add_argument("--inputs", help="folder or URL of the archives' files; the twin needs none")
    parser.add_argument("--date", default="2023-01-01", help="a day the files hold, YYYY-MM-DD")
    parser.add_argument("--relief", action="store_true", help="make the masks from the packaged relief instead")
    arguments = parser.parse_args()
    entry = system(arguments.system)
    when = cycle.cycle(entry.name, arguments.date, entry.start_hour).start
    with tempfile.TemporaryDirectory() as scratch:
        made = from_relief(entry) if arguments.relief else from_source(entry, when, arguments.inputs, Path(scratch))
    path = landmask.save(entry, made)
    for name, mask in made.arrays.items():
        print(f"{name}: {int(mask.sum())} ocean cells of {mask.size} {mask.shape}, from {made.sources[name]}")
    print(path)


def _deeper(grid: Grid, depth_m: float) -> Mask:
    return np.asarray(relief.sea_share(grid, depth_m) >= coast.OCEAN_SHARE)


def _ice_free(entry: System, kind: Kind, grid: Grid) -> Mask:
    """True where the kind has values all the year: everywhere but for the real ocean's waves, which end at the ice."""
    if kind is not Kind.WAVES or not entry.real_ocean:
        return np.ones(grid.shape, dtype=bool)
    coldest = np.full(grid.shape, np.inf, dtype=np.float32)
    for month in _MONTHS:
        fields = climatology.fields(Kind.OCEAN, month, grid.latitude, grid.longitude, (0.0,))
        coldest = np.minimum(coldest, fields["to"].reshape(grid.shape))
    latitude, longitude = grid.latitude[:, None], grid.longitude[None, :]
    for _, south, north, west, east in FREEZING_SEAS:
        coldest[(latitude > south) & (latitude < north) & (longitude > west) & (longitude < east)] = -np.inf
    return coldest > ICE_FREE_DEGC


def _monotone(ocean: Mask) -> Mask:
    """No ocean under land."""
    return np.asarray(np.logical_and.accumulate(ocean, axis=0))


def _source(parts: tuple[Ingested, ...]) -> str:
    return "+".join(dict.fromkeys(record.source for part in parts for record in provenance.records(part)))
