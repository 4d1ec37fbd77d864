"""``goms`` with a small sea beside its own systems: ``python small_goms.py MASKS_FOLDER run DATE --system small-sea``.

The sea is read from files in HYCOM's and ERA5's own layouts (``native_files``), so that the whole journey is run on
it in seconds. It has no plankton, and its waves are optional.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import native_files as native

from pipeline import products, systems
from pipeline.earth import landmask
from pipeline.grids import Grid
from pipeline.systems import Ladder, System, rungs
from pipeline.variables import Kind

DAY = "2023-01-01"
START = datetime(2023, 1, 1, tzinfo=UTC)
NEXT_DAY_HOURS = 24.0

_GRID = Grid(south=-24.64, west=145.76, latitude_step=0.4, longitude_step=0.8, rows=15, columns=9)
SMALL_SEA = System(
    name="small-sea", title="A small sea for tests", region="Test Sea", grid=_GRID, wave_grid=_GRID,
    start_hour=0, forecast_days=6, forcing_policy="persistence", real_ocean=False,
    ladders=(
        Ladder(kind=Kind.OCEAN, rungs=rungs("hycom"), required=True),
        Ladder(kind=Kind.SURFACE, rungs=rungs("era5"), required=True),
        Ladder(kind=Kind.WAVES, rungs=rungs("era5"), required=False),
    ),
    products=(products.OCEAN, products.WAVES), series=("ocean",),
)  # fmt: skip


def write_inputs(folder: Path, *, days: int = 2, waves: bool = True) -> Path:
    """Files of the sea in the archives' layouts, some days of them; the atmosphere covers the waves' hours too."""
    folder.mkdir(parents=True, exist_ok=True)
    stamps = [native.hours(START) + 24.0 * day for day in range(days)]
    native.write_hycom(folder / "hycom.nc", stamps=stamps)
    hours = [24.0 * day for day in range(days)]
    native.write_era5(folder / "era5_atmosphere.nc", hours_after=hours)
    if waves:
        native.write_era5(folder / "era5_waves.nc", hours_after=hours, fields=("swh", "mwp", "mwd"))
    return folder


def make_masks(folder: Path, inputs: Path, scratch: Path) -> None:
    """The sea's masks, from its own files."""
    from pipeline.earth import mask_making

    folder.mkdir(parents=True, exist_ok=True)
    before = landmask.FOLDER
    landmask.FOLDER = folder
    try:
        landmask.save(SMALL_SEA, mask_making.from_source(SMALL_SEA, START, str(inputs), scratch))
    finally:
        landmask.FOLDER = before


def fired() -> str:
    """When a service's schedule of the sea fired last: two minutes ago, so that it does not fire of itself in a test.

    It is for the test to ask, once, and for all processes of the service to be told (``small_site``): of two that
    count the days since for themselves one does so after midnight.
    """
    return (datetime.now(UTC) - timedelta(minutes=2)).replace(second=0, microsecond=0).isoformat()


def install(masks: Path) -> None:
    """Let this process know the sea and where its masks are."""
    landmask.FOLDER = masks
    if SMALL_SEA not in systems.SYSTEMS:
        systems.SYSTEMS = (*systems.SYSTEMS, SMALL_SEA)


if __name__ == "__main__":
    install(Path(sys.argv.pop(1)))
    from flows.cli import main

    main()
