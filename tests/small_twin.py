"""A small piece of the twin ocean, with waves: a day of it is made, forecast and published within seconds, any date."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pipeline import products, systems
from pipeline.earth import landmask, mask_making
from pipeline.grids import Grid
from pipeline.systems import Ladder, Retention, Schedule, System, rungs
from pipeline.variables import Kind

_GRID = Grid(south=-24.0, west=155.0, latitude_step=1.0, longitude_step=1.0, rows=9, columns=13)
SMALL_TWIN = System(
    name="small-twin", title="A small piece of the twin ocean for tests", region="Test Sea (synthetic twin)",
    grid=_GRID, wave_grid=_GRID, start_hour=0, forecast_days=3, forcing_policy="persistence", real_ocean=False,
    ladders=(
        Ladder(kind=Kind.OCEAN, rungs=rungs("twin"), required=True),
        Ladder(kind=Kind.SURFACE, rungs=rungs("twin"), required=True),
        Ladder(kind=Kind.WAVES, rungs=rungs("twin"), required=False),
    ),
    products=(products.OCEAN, products.WAVES),
    schedule=Schedule(cron="17 6 * * *", days_back=1, publish_by_hours=36.0, skip_after_hours=72.0, reason="a test"),
    retention=Retention(keep_days=8.0, keep_newest=3, reading_hours=12.0, abandoned_hours=72.0, records_days=16.0),
)  # fmt: skip


def install(folder: Path, system: System = SMALL_TWIN) -> None:
    """Let this process know the piece alone, and make its masks from the packaged relief, as the twin's own are."""
    folder.mkdir(parents=True, exist_ok=True)
    landmask.FOLDER = folder
    systems.SYSTEMS = (system,)
    when = datetime(2024, 3, 1, tzinfo=UTC)
    landmask.save(system, mask_making.from_source(system, when, None, folder))
