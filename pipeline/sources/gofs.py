"""HYCOM's GOFS 3.1 over OPeNDAP: the reanalysis 53.X (1994-2015) and the analysis 93.0 (12/2018 - 9/2024).

All five variables in one dataset, three-hourly; of the reanalysis one dataset a year. GLBv0.08 (reanalysis) has
latitude steps of 0.08 degrees within 40 degrees of the equator and 0.04 beyond; GLBy0.08 (analysis) 0.04 throughout.
The experiments between the two are on the same server under other names and are not read.
"""

from __future__ import annotations

from datetime import UTC, datetime

from pipeline.errors import InputUnavailable
from pipeline.sources import Request
from pipeline.sources.espc import ADDRESS, DATASETS
from pipeline.sources.hycom_archive import HycomArchive, Tier
from pipeline.sources.opendap_tier import Datasets, Place

REANALYSIS_YEARS = range(1994, 2016)
ANALYSIS = datetime(2018, 12, 4, tzinfo=UTC), datetime(2024, 9, 6, tzinfo=UTC)
"""First day of GLBy0.08/expt_93.0, and the day after its last."""


class GofsSource(HycomArchive):
    """GOFS 3.1 from HYCOM's own server."""

    archive, address, label = "hycom-gofs", ADDRESS, "HYCOM GOFS 3.1"

    def tiers(self, request: Request, address: str) -> tuple[Tier, ...]:
        """The one dataset that holds the date."""
        if request.when.year in REANALYSIS_YEARS:
            path = f"GLBv0.08/expt_53.X/data/{request.when.year}"
        elif ANALYSIS[0] <= request.when < ANALYSIS[1]:
            path = "GLBy0.08/expt_93.0"
        else:
            raise InputUnavailable(
                f"{self.label} of {request.when:%Y-%m-%d}",
                found="1994-2015 (reanalysis 53.X) and 2018-12-04 to 2024-09-05 (analysis 93.0) only",
                where=address, action="take hycom-espc for later dates",
            )  # fmt: skip
        return (Datasets(address, (Place(path, tuple(DATASETS)),)),)
