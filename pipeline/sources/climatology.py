"""The packaged climatology as a source: the lowest rung, for the atmosphere, when no analysis of it is to be had.

Its day-of-year values on the request's own grid, in our names and units. It is of no date: it is stamped with the
instant asked for, and the ladder says on the product why it was taken.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from pipeline import climatology
from pipeline.sources import Native, Request, Sighting, Term
from pipeline.sources import holdings as h
from pipeline.variables import Kind, of_kind, variable

LEXICON = {entry.name: Term(entry.name, {entry.units: (1.0, 0.0)}) for entry in of_kind(Kind.SURFACE)}


class ClimatologySource:
    """Day-of-year means of the atmosphere near the surface."""

    name = "climatology"
    title = "packaged climatology"
    kinds: tuple[Kind, ...] = (Kind.SURFACE,)

    def look(self, request: Request) -> Sighting:
        """There for every day of the year, and of no date; see ``Source.look``."""
        return Sighting(True, None, "packaged with the code", "day-of-year means, of no date")

    def fetch(self, request: Request) -> Native:
        """The climatology of the day of the year at the grid's points; see ``Source.fetch``."""
        axes = request.grid.latitude, request.grid.longitude
        fields = climatology.fields(Kind.SURFACE, request.when, *axes, ())
        dims = ("time", "latitude", "longitude")
        dataset = xr.Dataset(
            {name: (dims, fields[name][None], {"units": variable(name).units}) for name in request.variables},
            coords={"time": np.array([h.instant(request.when)]).astype("datetime64[ns]"),
                    "latitude": axes[0], "longitude": axes[1]},
        )  # fmt: skip
        return Native(dataset, LEXICON, (), "day-of-year climatology of winds, temperature and pressure")
