"""The live archives of the atmosphere, the waves and the plankton, read by the same readers: ``pytest -m network``.

Skipped in every other run; ``-m network`` runs these and HYCOM's (``test_hycom_live.py``). A few fields of each: global
ones, for that is how these archives are cut, some 2 to 40 MB each. Where an account is wanted and none is set
(``GOMS_LOGINS__...``) a test is skipped and says so.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline import foresight
from pipeline.ingest import ingest
from pipeline.provenance import records
from pipeline.settings import Settings
from pipeline.sources import SOURCES, Request
from pipeline.systems import GLOBAL_QUARTER_DEGREE, TWIN, Ladder, rungs
from pipeline.variables import Kind, of_kind
from tests.test_hycom_live import noon_days_ago

GRIDS = TWIN.model_copy(update={"real_ocean": True, "name": "live"})
"""The global grids of one degree."""
WITHIN = {"u10": (-40, 40), "t2m": (200, 325), "msl": (92000, 108000), "swh": (0, 20), "chl": (0, 70), "to": (-3, 36)}
"""What the earth has, by one variable of each kind."""

each_live = pytest.mark.parametrize(("source", "kind", "days"), [
    ("era5-arco", Kind.SURFACE, 8),
    ("era5-arco", Kind.WAVES, 8),
    ("era5-cds", Kind.SURFACE, 8),
    ("ifs", Kind.SURFACE, 1),
    ("ifs", Kind.WAVES, 1),
    ("gfs", Kind.SURFACE, 1),
    ("copernicus", Kind.OCEAN, 2),
    ("copernicus", Kind.WAVES, 2),
    ("copernicus", Kind.BIOGEOCHEMISTRY, 2),
    ("nobm-dap", Kind.BIOGEOCHEMISTRY, 8000),
], ids=str)  # fmt: skip


def skip_without_an_account(source: str) -> None:
    logins, archives = Settings().logins, Settings().archives
    lacking = {"era5-cds": logins.cds_key is None, "copernicus": logins.copernicus_user is None,
               "nobm-dap": "nobm-dap" not in archives}  # fmt: skip
    if lacking.get(source, False):
        pytest.skip(f"{source} wants an account or an address, and none is set: see deploy/settings.md")


def asked(source: str, kind: Kind, days: int, folder: Path) -> Request:
    names = tuple(entry.name for entry in of_kind(Kind.SURFACE if kind is Kind.FORCING else kind))
    return Request(kind, noon_days_ago(days), names, (0.0, 100.0), GRIDS.grid_of(kind), None, folder,
                   archives=Settings().archives)  # fmt: skip


@pytest.mark.network
@each_live
def test_a_look_finds_the_day(source: str, kind: Kind, days: int, tmp_path: Path) -> None:
    skip_without_an_account(source)
    seen = SOURCES[source].look(asked(source, kind, days, tmp_path))
    assert seen.ready, seen.words


@pytest.mark.network
@each_live
def test_the_fields_go_through_the_whole_of_ingest(source: str, kind: Kind, days: int, tmp_path: Path) -> None:
    """Names, units, axes, bounds, land: ``ingest`` refuses what is not what it says it is; what lacks is the twin's."""
    skip_without_an_account(source)
    ladder = Ladder(kind=kind, rungs=rungs(source, "twin"), required=True)
    system = GRIDS.model_copy(update={"ladders": (ladder,), "depths_m": (0.0, 100.0)})
    part, *_ = ingest(system, kind, noon_days_ago(days), inputs=None, scratch=tmp_path, archives=Settings().archives)
    record = records(part)[0]
    assert (record.source, record.rung) == (source, 0)
    for name in set(WITHIN) & set(record.variables):
        values = part[name].values
        least, most = WITHIN[name]
        assert least < np.nanmin(values) < np.nanmean(values) < np.nanmax(values) < most, name


@pytest.mark.network
@pytest.mark.parametrize("source", ["ifs", "gfs"])
def test_the_days_to_come_are_foreseen(source: str, tmp_path: Path) -> None:
    """Of yesterday's noon run three lead days, on a degree."""
    ladder = Ladder(kind=Kind.FORCING, rungs=rungs(source, maximum_age_days=1.0), required=False)
    system = GRIDS.model_copy(update={"ladders": (ladder,), "forecast_days": 4})
    found = foresight.foresee(system, noon_days_ago(1), inputs=None, scratch=tmp_path)
    assert found["lead_day"].values.tolist() == [1, 2, 3]
    assert records(found)[0].source == source


def test_every_archive_of_the_global_system_has_a_live_test() -> None:
    """But for those that are files, ourselves, or no archive."""
    here = {argument[0] for argument in each_live.args[1]} | {"hycom-espc", "hycom-gofs"}
    ladders = {source for ladder in GLOBAL_QUARTER_DEGREE.ladders for source in ladder.sources}
    others = {"own-forecast", "climatology"} | {
        name for name, source in SOURCES.items() if getattr(source, "reads_inputs", False)
    }
    assert ladders - others <= here
