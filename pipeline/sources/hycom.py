"""HYCOM: GOFS 3.1 reanalysis and analysis, ESPC-D-V02, and copies of them by others.

Layout: ``water_temp salinity water_u water_v`` (time, depth, lat, lon) and ``surf_el`` (time, lat, lon), packed
int16 at 0.001; 40 depths, of which only those asked for are read; one file with all five, or one variable a file
(``t3z s3z u3z v3z ssh``). Quirks:

- ``tau`` has units "hours since analysis", which no calendar decodes: it is left out.
- Steps of ``surf_el`` may lie along ``time1``.
- Longitudes run -180..180, 0..360 or 74..434; latitude steps are 0.08 degrees within 40 degrees of the equator and
  0.04 beyond (GLBv0.08) or 0.04 throughout (GLBy0.08).
- The public bucket's names say ``<YYYYMMDD><HH>_t<tau>``: files whose name promises another instant are passed over.
- ``water_temp`` is in-situ temperature. Some copies (Fleet Numerical's) label it potential temperature; the values
  are kept as they are and the label is noted: the two differ by less than 0.1 degC above 500 m.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import xarray as xr

from pipeline.sources import Native, Request, Sighting, Term
from pipeline.sources import holdings as h
from pipeline.sources.netcdf import scan
from pipeline.variables import Kind

CELSIUS = dict.fromkeys(("degC", "degrees_C", "degree_C", "deg_C", "Celsius", "celsius", "degrees_Celsius"), (1.0, 0.0))
PRACTICAL = dict.fromkeys(("psu", "PSU", "1", "1e-3", "0.001"), (1.0, 0.0))
"""Spellings of the practical salinity scale, which has no unit: 1e-3 is the old way to write it, not a factor."""
SPEED = dict.fromkeys(("m/s", "m s-1", "m.s-1", "meter/sec"), (1.0, 0.0))
LENGTH = dict.fromkeys(("m", "meter", "meters"), (1.0, 0.0))

LEXICON = {
    "to": Term("water_temp", CELSIUS),
    "so": Term("salinity", PRACTICAL),
    "uo": Term("water_u", SPEED),
    "vo": Term("water_v", SPEED),
    "zos": Term("surf_el", LENGTH),
}
EXTENT = (-80.0, 90.0)
"""Southern and northern limit of HYCOM's global grids, degrees north."""
_NAMED_INSTANT = re.compile(r"_(\d{8})(\d{2})_t(\d{3})\.nc")


class HycomSource:
    """HYCOM's ocean from files in its native layouts."""

    name = "hycom"
    title = "HYCOM"
    reads_inputs = True
    kinds: tuple[Kind, ...] = (Kind.OCEAN,)

    def look(self, request: Request) -> Sighting:
        """The instants in the files' headers; see ``Source.look``."""
        return h.look(lambda: _held(request, self.title), request, self.title, wanted=_may_hold(request))

    def fetch(self, request: Request) -> Native:
        """Open what the files hold of the five ocean fields at the exact instant; see ``Source.fetch``."""
        held = _held(request, self.title)
        chosen = h.choose(held, h.instant(request.when), request, self.title)
        dataset = h.assemble(chosen, h.instant(request.when))
        return Native(dataset, LEXICON, h.records(chosen), _note(dataset))


def _held(request: Request, title: str) -> h.Holdings:
    found = scan(request.inputs, request.scratch, title, _may_hold(request))
    return h.holdings(found, h.native_names(LEXICON, request.variables), request, EXTENT, title)


def _may_hold(request: Request) -> Callable[[str], bool]:
    return lambda name: _promised(name) in (None, request.when)


def _promised(name: str) -> datetime | None:
    """The instant a file of the public bucket says in its name that it holds: analysis time plus tau hours."""
    match = _NAMED_INSTANT.search(name)
    if not match:
        return None
    analysis = datetime.strptime(match[1] + match[2], "%Y%m%d%H").replace(tzinfo=UTC)
    return analysis + timedelta(hours=int(match[3]))


def _note(dataset: xr.Dataset) -> str:
    label = dataset["water_temp"].attrs.get("standard_name", "") if "water_temp" in dataset else ""
    if "potential" not in str(label):
        return ""
    return f"water_temp is labelled {label}; HYCOM distributes in-situ temperature and the values are kept"
