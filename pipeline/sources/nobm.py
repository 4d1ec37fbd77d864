"""NASA NOBM: a finished daily reanalysis of the biogeochemistry, 288 x 234 points (1.25 by 2/3 degrees, 84 S..72 N).

A daily mean stands for every instant of its day. Its date is that of the file's time axis or, where a file has
none, the ``YYYYMMDD`` in its name. Missing values are 9.99e11, with or without the attribute that says so: land, and
the shelf seas, for the model has only water deeper than 200 m.

Not certain, for no public description settles it: that ``rnh`` is nitrate and ``h`` the mixed layer thickness, that
``chl`` is chlorophytes beside ``tot`` for total chlorophyll, the spelling of the units, and whether a file
without units means the model's own (mg m-3, nmol/L, umol/L, m): such a file is refused, not guessed at. A file is
known as NOBM's by these names on its two steps of longitude and latitude, which a regional cut keeps.
"""

from __future__ import annotations

import re

import numpy as np
import xarray as xr

from pipeline.sources import Native, Request, Sighting, Term
from pipeline.sources import holdings as h
from pipeline.sources.netcdf import NetcdfFile, Scan, scan
from pipeline.variables import Kind

CONCENTRATION = dict.fromkeys(("mg m-3", "mg/m3", "mg/m^3", "mg m^-3", "mg chl m-3"), (1.0, 0.0))
NANOMOLAR = dict.fromkeys(("nmol/L", "nmol L-1", "nM", "nmol l-1", "umol m-3"), (1.0, 0.0))
MICROMOLAR = dict.fromkeys(("umol/L", "umol L-1", "uM", "umol l-1", "mmol m-3", "mmol/m3"), (1.0, 0.0))
LENGTH = dict.fromkeys(("m", "meters", "meter"), (1.0, 0.0))

LEXICON = {
    "chl": Term("tot", CONCENTRATION),
    "chlorophytes": Term("chl", CONCENTRATION),
    "diatoms": Term("dia", CONCENTRATION),
    "coccolithophores": Term("coc", CONCENTRATION),
    "cyanobacteria": Term("cya", CONCENTRATION),
    "fe": Term("irn", NANOMOLAR),
    "no3": Term("rnh", MICROMOLAR),
    "mld": Term("h", LENGTH),
}
LONGITUDE_STEP, LATITUDE_STEP = 1.25, 2.0 / 3.0
EXTENT = (-84.0, 72.0)
FILL = 9.99e11
_DATE_IN_NAME = re.compile(r"(?<!\d)(\d{4})(\d{2})(\d{2})(?!\d)")


class NobmSource:
    """NOBM's biogeochemistry from daily files in its native layout."""

    name = "nobm"
    title = "NASA NOBM"
    reads_inputs = True
    kinds: tuple[Kind, ...] = (Kind.BIOGEOCHEMISTRY,)

    def look(self, request: Request) -> Sighting:
        """The days in the files' headers and names; see ``Source.look``."""
        return h.look(lambda: _held(request, self.title), request, self.title)

    def fetch(self, request: Request) -> Native:
        """Open the daily means of the day the instant lies in; see ``Source.fetch``."""
        when = h.instant(request.when)
        chosen = h.choose(_held(request, self.title), when, request, self.title)
        dataset = h.assemble(chosen, when)
        note = f"daily mean of {when.astype('datetime64[D]')}"
        return Native(dataset.where(dataset < FILL / 10), LEXICON, h.records(chosen), note)


def _held(request: Request, title: str) -> h.Holdings:
    """What the archive's own files hold, the stamps of the instant's day moved to the instant."""
    names, when = h.native_names(LEXICON, request.variables), h.instant(request.when)
    found = scan(request.inputs, request.scratch, title)
    mine = tuple(_prepared(file, names) if is_nobm(file.dataset) else _other(file) for file in found.files)
    held = h.holdings(Scan(mine, found.unreadable), names, request, EXTENT, title)
    return {name: tuple(_of_day(item, when) for item in files) for name, files in held.items()}


def is_nobm(dataset: xr.Dataset) -> bool:
    """Whether the axes have NOBM's two steps."""
    for names, step in ((h.LATITUDE, LATITUDE_STEP), (h.LONGITUDE, LONGITUDE_STEP)):
        axis = h.axis(dataset, names)
        if axis is None or not np.allclose(np.abs(np.diff(axis.values.astype(float))), step, atol=1e-2):
            return False
    return True


def _other(file: NetcdfFile) -> NetcdfFile:
    """Another archive's file, holding nothing: ``h`` and ``chl`` are names that others use too."""
    return file._replace(dataset=xr.Dataset())


def _prepared(file: NetcdfFile, names: tuple[str, ...]) -> NetcdfFile:
    """The file as it is or, where it has no time, with the date in its name."""
    dataset = file.dataset
    date = _DATE_IN_NAME.search(file.uri.rsplit("/", 1)[-1])
    if any(name in dataset.variables for name in h.TIME) or date is None:
        return file
    time = xr.DataArray([0], dims="time", attrs={"units": f"days since {'-'.join(date.groups())}"})
    dated = {name: dataset[name].expand_dims("time") for name in names if name in dataset}
    return file._replace(dataset=dataset.assign(dated).assign_coords(time=time))


def _of_day(held: h.Held, when: np.datetime64) -> h.Held:
    """The same with every stamp of the instant's day moved to the instant."""
    same_day = held.stamps.astype("datetime64[D]") == when.astype("datetime64[D]")
    return held._replace(stamps=np.where(same_day, when, held.stamps))
