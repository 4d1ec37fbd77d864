"""HYCOM's ESPC-D-V02 over OPeNDAP, the analysis and forecast of every day since August 2024.

One dataset a variable and a year (``ESPC-D-V02/t3z/2025``): three-hourly fields at 40 depths, the sea level hourly;
longitude 0..360. The newest days are first in the forecasts' aggregation (``FMRC_..._best.ncd``), whose time axis may
be ``time1`` and whose ``tau`` says how far from its analysis a step is: it is asked where the year has not got so far.
The model runs once a day, from 12 UTC.
"""

from __future__ import annotations

from pipeline.sources import Request
from pipeline.sources.hycom_archive import HycomArchive, Tier
from pipeline.sources.opendap_tier import Datasets, Place

ADDRESS = "https://tds.hycom.org/thredds/dodsC"
DATASETS = {"water_temp": "t3z", "salinity": "s3z", "water_u": "u3z", "water_v": "v3z", "surf_el": "ssh"}


class EspcSource(HycomArchive):
    """ESPC-D-V02 from HYCOM's own server."""

    archive, address, label = "hycom-espc", ADDRESS, "HYCOM ESPC-D-V02"

    def tiers(self, request: Request, address: str) -> tuple[Tier, ...]:
        """The year's datasets, then the forecasts' aggregation."""
        year = request.when.year
        of_year = tuple(Place(f"ESPC-D-V02/{short}/{year}", (name,)) for name, short in DATASETS.items())
        best = tuple(
            Place(f"FMRC_ESPC-D-V02_{short}/FMRC_ESPC-D-V02_{short}_best.ncd", (name,))
            for name, short in DATASETS.items()
        )
        return Datasets(address, of_year), Datasets(address, best)
