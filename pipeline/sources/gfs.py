"""NOAA's GFS: the atmosphere to sixteen days, GRIB2 with an index of lines, at 0.25 degrees.

``<address>/gfs.YYYYMMDD/HH/atmos/gfs.tHHz.pgrb2.0p25.fNNN`` and ``.idx`` beside it, lines of
``number:offset:d=YYYYMMDDHH:NAME:level:forecast:``; a field ends where the next begins. The forecast is ``anl`` at
step 0, else ``NNN hour fcst``; means and sums over a step say so there and are passed over. Four runs a day, every
hour to 120 h, then every three to 384 h. Longitudes 0..360; public domain; the bucket keeps years.
"""

from __future__ import annotations

import re
from datetime import datetime
from itertools import pairwise

from pipeline.sources.runs import ForecastRuns, Place
from pipeline.variables import Kind

ADDRESS = "https://noaa-gfs-bdp-pds.s3.amazonaws.com"
HOURLY, LONG_HOURS = 120, 384
FIELDS = {
    ("UGRD", "10 m above ground"): "u10",
    ("VGRD", "10 m above ground"): "v10",
    ("TMP", "2 m above ground"): "t2m",
    ("PRMSL", "mean sea level"): "msl",
    ("PRES", "surface"): "sp",
}
_LINE = re.compile(r"^(?P<number>[\d.]+):(?P<offset>\d+):d=\d{10}:(?P<name>[^:]+):(?P<level>[^:]+):(?P<when>[^:]*):")


class GfsSource(ForecastRuns):
    """NOAA's Global Forecast System."""

    name = "gfs"
    title = "NOAA GFS"
    address = ADDRESS

    def steps(self, issued: datetime) -> frozenset[int]:
        """Every hour to five days, then every three to sixteen."""
        return frozenset(range(HOURLY + 1)) | frozenset(range(HOURLY, LONG_HOURS + 1, 3))

    def key(self, kind: Kind, issued: datetime, step: int) -> str:
        """The GRIB file of a step."""
        return f"gfs.{issued:%Y%m%d}/{issued:%H}/atmos/gfs.t{issued:%H}z.pgrb2.0p25.f{step:03d}"

    def index_key(self, kind: Kind, issued: datetime, step: int) -> str:
        """The index of that file."""
        return f"{self.key(kind, issued, step)}.idx"

    def places(self, index: str, step: int) -> dict[str, Place]:
        """A field reaches to the next greater offset; the file's last field, whose end no line tells, is not read."""
        lines = [line for line in map(str.strip, index.splitlines()) if line]
        entries = [_LINE.match(line) for line in lines]
        if not all(entries):
            raise ValueError(f"the line {lines[entries.index(None)]!r}")
        offsets = sorted({int(entry["offset"]) for entry in entries if entry})
        ends = dict(pairwise(offsets))
        instant = "anl" if step == 0 else f"{step} hour fcst"
        found = {}
        for entry in filter(None, entries):
            name, start = FIELDS.get((entry["name"], entry["level"])), int(entry["offset"])
            if name is not None and entry["when"] == instant and start in ends:
                found[name] = Place(start, ends[start] - start)
        return found
