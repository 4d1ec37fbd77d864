"""ESA GlobCurrent: daily surface currents from altimetry and winds, 0.25 degrees, no other field.

Layout: ``u v`` (time, lat, lon) in m s-1, float32, NaN on land and beyond the altimeters, one stamp a day at 0 UTC;
longitude -180..180 or 0..360. The product of total surface currents is valid at 0 m and has no depth axis: it is given
one.
"""

from __future__ import annotations

from pipeline.sources import Native, Request, Sighting, Term
from pipeline.sources import holdings as h
from pipeline.sources.hycom import SPEED
from pipeline.sources.netcdf import scan
from pipeline.variables import Kind

LEXICON = {"uo": Term("u", SPEED), "vo": Term("v", SPEED)}
EXTENT = (-90.0, 90.0)
"""Southern and northern limit of the archive's grid, degrees north."""
DEPTH_M = 0.0


class GlobcurrentSource:
    """GlobCurrent's currents at the surface from files in its layout."""

    name = "globcurrent"
    title = "ESA GlobCurrent"
    reads_inputs = True
    kinds: tuple[Kind, ...] = (Kind.OCEAN,)

    def look(self, request: Request) -> Sighting:
        """The days in the files' headers; see ``Source.look``."""
        return h.look(lambda: _held(request, self.title), request, self.title)

    def fetch(self, request: Request) -> Native:
        """Open the currents of the exact instant; see ``Source.fetch``."""
        when = h.instant(request.when)
        chosen = h.choose(_held(request, self.title), when, request, self.title)
        dataset = h.assemble(chosen, when).expand_dims(depth=[DEPTH_M], axis=1)
        return Native(dataset, LEXICON, h.records(chosen))


def _held(request: Request, title: str) -> h.Holdings:
    found = scan(request.inputs, request.scratch, title)
    return h.holdings(found, h.native_names(LEXICON, request.variables), request, EXTENT, title)
