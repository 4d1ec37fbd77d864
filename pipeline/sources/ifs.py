"""ECMWF's IFS as open data: the atmosphere and the waves to fifteen days, GRIB2 with an index of JSON lines.

``<address>/YYYYMMDD/HHz/ifs/0p25/<stream>/YYYYMMDDHH0000-<step>h-<stream>-fc.grib2`` and ``.index`` beside it, each
line of which has ``param``, ``_offset`` and ``_length``. Runs of 00 and 12 UTC: steps of 3 h to 144 h, of 6 h to 360 h
(streams ``oper``, ``wave``); of 06 and 18 UTC: of 3 h to 144 h (``scda``, ``scwv``). 0.25 degrees, longitudes from
-180; winds in m s-1, pressures in Pa, directions *from* which. The address holds a few days; the bucket
``https://ecmwf-forecasts.s3.eu-central-1.amazonaws.com`` has the same layout and keeps more. Licence: CC BY 4.0.
"""

from __future__ import annotations

import json
from datetime import datetime

from pipeline.sources.grib import NAMES
from pipeline.sources.runs import ForecastRuns, Place
from pipeline.variables import Kind

ADDRESS = "https://data.ecmwf.int/forecasts"
FINE, COARSE, SHORT_HOURS, LONG_HOURS = 3, 6, 144, 360


class IfsSource(ForecastRuns):
    """ECMWF's high-resolution forecast."""

    name = "ifs"
    title = "ECMWF IFS"
    address = ADDRESS
    kinds: tuple[Kind, ...] = (Kind.SURFACE, Kind.FORCING, Kind.WAVES)

    def steps(self, issued: datetime) -> frozenset[int]:
        """To six days every three hours; of the long runs then every six to fifteen days."""
        short = range(0, SHORT_HOURS + 1, FINE)
        return frozenset(short) | (frozenset(range(SHORT_HOURS, LONG_HOURS + 1, COARSE)) if _is_long(issued) else set())

    def key(self, kind: Kind, issued: datetime, step: int) -> str:
        """The GRIB file of a step."""
        stream = _stream(kind, issued)
        return f"{issued:%Y%m%d}/{issued:%H}z/ifs/0p25/{stream}/{issued:%Y%m%d%H}0000-{step}h-{stream}-fc.grib2"

    def index_key(self, kind: Kind, issued: datetime, step: int) -> str:
        """The index of that file."""
        return self.key(kind, issued, step).removesuffix(".grib2") + ".index"

    def places(self, index: str, step: int) -> dict[str, Place]:
        """One JSON object a line; of fields on levels nothing is read."""
        found = {}
        for line in filter(None, map(str.strip, index.splitlines())):
            entry = json.loads(line)
            try:
                name = NAMES.get(entry["param"]) if entry.get("levtype", "sfc") == "sfc" else None
                if name is not None and str(entry["step"]) == str(step):
                    found[name] = Place(int(entry["_offset"]), int(entry["_length"]))
            except (KeyError, TypeError, AttributeError) as error:
                raise ValueError(f"a line without {error}") from error
        return found


def _is_long(issued: datetime) -> bool:
    return issued.hour in (0, 12)


def _stream(kind: Kind, issued: datetime) -> str:
    if kind is Kind.WAVES:
        return "wave" if _is_long(issued) else "scwv"
    return "oper" if _is_long(issued) else "scda"
