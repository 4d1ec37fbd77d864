"""Climatologies as a source: the lowest rung, when neither an analysis nor a forecast is to be had.

Day-of-year values on the request's own grid, in our names and units. They are of no date: they are stamped with the
instant asked for, and the ladder says on the product why they were taken. The atmosphere's is packaged. Waves and
plankton are the monthly means of an archive's days (``goms climatology``), where ``GOMS_ARCHIVES`` names their folder
under ``climatology``; of the synthetic twin its own packaged mean, which is never given to a system of the real ocean.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline import systems
from pipeline.earth import climatology, landmask, monthly_means
from pipeline.errors import InputRefused, InputUnavailable, UsageError
from pipeline.provenance import FileRecord
from pipeline.sources import Native, Request, Sighting, Term
from pipeline.sources import holdings as h
from pipeline.variables import Kind, of_kind, variable

KINDS = (Kind.SURFACE, Kind.WAVES, Kind.BIOGEOCHEMISTRY)
LEXICON = {entry.name: Term(entry.name, {entry.units: (1.0, 0.0)}) for kind in KINDS for entry in of_kind(kind)}
Fields = Mapping[str, NDArray[np.float32]]


class ClimatologySource:
    """Day-of-year means of the atmosphere near the surface, the waves and the plankton."""

    name = "climatology"
    title = "climatology"
    kinds: tuple[Kind, ...] = KINDS

    def look(self, request: Request) -> Sighting:
        """There for every day of the year, and of no date, where there is one; see ``Source.look``."""
        try:
            words = _fields(request).words
        except (InputUnavailable, InputRefused, UsageError) as lack:
            return Sighting(False, None, "what is packaged or named", str(lack))
        return Sighting(True, None, "what is packaged or named", f"{words}, of no date")

    def fetch(self, request: Request) -> Native:
        """The climatology of the day of the year at the grid's points; see ``Source.fetch``."""
        fields, words, file = _fields(request)
        dims = ("time", "latitude", "longitude")
        dataset = xr.Dataset(
            {name: (dims, fields[name][None], {"units": variable(name).units}) for name in request.variables},
            coords={"time": np.array([h.instant(request.when)]).astype("datetime64[ns]"),
                    "latitude": request.grid.latitude, "longitude": request.grid.longitude},
        )  # fmt: skip
        return Native(dataset, LEXICON, () if file is None else (file,), words)


class _Found(NamedTuple):
    """The fields, what they are in words, and the file they are from where that is not a packaged one."""

    fields: Fields
    words: str
    file: FileRecord | None = None


def _fields(request: Request) -> _Found:
    """The fields and what they are, or ``InputUnavailable``."""
    axes = request.grid.latitude, request.grid.longitude
    if request.kind is Kind.SURFACE:
        words = "day-of-year climatology of winds, temperature and pressure"
        return _Found(climatology.fields(Kind.SURFACE, request.when, *axes, ()), words)
    system = systems.system(request.system) if request.system else None
    if system is None or system.real_ocean or monthly_means.NAME in request.archives:
        return _Found(*monthly_means.named(request.archives, request.kind, system, request.when))
    ocean = landmask.array_mask(system, request.kind.value)
    fields = climatology.fields(request.kind, request.when, *axes, ())
    masked = {name: np.where(ocean, values, np.float32("nan")) for name, values in fields.items()}
    return _Found(masked, f"day-of-year mean of the synthetic twin's {request.kind}")
