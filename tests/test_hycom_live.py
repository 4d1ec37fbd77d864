"""The live archives of HYCOM, read by the same readers: ``pytest -m network tests/test_hycom_live.py``.

Skipped in every other run. A region of the Coral Sea at three depths: of the OPeNDAP servers some 2 MB each, of the
bucket, whose rows are moved whole, some 30 MB.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from flows import clock
from pipeline.ingest import ingest
from pipeline.provenance import records
from pipeline.sources import SOURCES, Request
from pipeline.systems import CORAL_SEA, Ladder, rungs
from pipeline.variables import Kind, of_kind

DEPTHS_M = (0.0, 100.0, 500.0)
SYSTEM = CORAL_SEA.model_copy(update={"depths_m": DEPTHS_M, "start_hour": 12})


def noon_days_ago(days: int) -> datetime:
    return (clock.now() - timedelta(days=days)).replace(hour=12, minute=0, second=0, microsecond=0)


each_live = pytest.mark.parametrize(("source", "when"), [
    ("hycom-espc", None),
    ("hycom-gofs", datetime(2020, 7, 5, 12, tzinfo=UTC)),
    ("hycom-gofs", datetime(2012, 1, 5, 12, tzinfo=UTC)),
    ("hycom-bucket", datetime(2012, 1, 5, 12, tzinfo=UTC)),
])  # fmt: skip


@pytest.mark.network
@each_live
def test_a_look_finds_the_day(source: str, when: datetime | None, tmp_path: Path) -> None:
    names = tuple(entry.name for entry in of_kind(Kind.OCEAN))
    wanted = Request(Kind.OCEAN, when or noon_days_ago(5), names, DEPTHS_M, SYSTEM.grid, None, tmp_path)
    seen = SOURCES[source].look(wanted)
    assert seen.ready, seen.words


@pytest.mark.network
@each_live
def test_the_ocean_of_a_region_goes_through_the_whole_of_ingest(
    source: str, when: datetime | None, tmp_path: Path
) -> None:
    """Names, units, axes, bounds, levels, land: ``ingest`` refuses what is not what it says it is."""
    ladder = Ladder(kind=Kind.OCEAN, rungs=rungs(source), required=True)
    system = SYSTEM.model_copy(update={"ladders": (ladder,)})
    (part,) = ingest(system, Kind.OCEAN, when or noon_days_ago(5), inputs=None, scratch=tmp_path)
    (record,) = records(part)
    assert record.source == source
    assert part["to"].sizes["depth"] == len(DEPTHS_M)
    surface = part["to"].isel(depth=0).values
    assert 15.0 < np.nanmean(surface) < 32.0
    assert 0.0 < np.isfinite(surface).mean() <= 1.0
