"""The twin: files in the archives' own layouts, written when they are asked for and read like any other.

A request for a global grid gets the archive's global file; one for a region, a file on the region's own points and
a margin around them (a regional cut, as the archives' servers give). Files hold one instant, in a folder of their
own in the scratch folder, and are used again. Ocean as HYCOM (the depths asked for), surface as ERA5's new layout,
waves as its old one, biogeochemistry as NOBM.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, timedelta
from pathlib import Path

import numpy as np

from pipeline.grids import Axis, Grid
from pipeline.sources import Native, Request, Sighting, Source
from pipeline.sources.era5 import Era5Source
from pipeline.sources.hycom import HycomSource
from pipeline.sources.nobm import NobmSource
from pipeline.twin import Twin, native
from pipeline.twin.faults import Fault, inflict
from pipeline.variables import Kind

MARGIN_CELLS = 3
"""Points around a region's own: its edge cells are then wholly covered after any cut."""
_READERS: dict[Kind, Source] = {
    Kind.OCEAN: HycomSource(),
    Kind.SURFACE: Era5Source(),
    Kind.WAVES: Era5Source(),
    Kind.BIOGEOCHEMISTRY: NobmSource(),
}


class TwinSource:
    """The embedded twin ocean; ``request.seed`` says which.

    ``fault``: what is to be wrong with its ocean files, for rehearsals; they then hold the instant and the next day's.
    """

    name = "twin"
    title = "GOMS twin"
    kinds: tuple[Kind, ...] = tuple(_READERS)

    def __init__(self, fault: Fault | None = None) -> None:
        self.fault = fault

    def look(self, request: Request) -> Sighting:
        """Every instant there is, unless the twin was told to be late; see ``Source.look``."""
        if request.kind is Kind.OCEAN and self.fault is Fault.LATE:
            return Sighting(False, None, "the twin itself", f"{self.title}: told to be late")
        return Sighting(True, request.when, "the twin itself", f"{self.title}: any day there is, seed {request.seed}")

    def fetch(self, request: Request) -> Native:
        """Write the instant's native file unless it is there, and read it as its archive's; see ``Source.fetch``."""
        fault = self.fault if request.kind is Kind.OCEAN else None
        folder = request.scratch / "twin" / _key(request, fault)
        path = folder / f"{request.kind}_{request.when.astimezone(UTC):%Y%m%dT%H%M}.nc"
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(path.name + ".part")
            if fault is None:
                _WRITERS[request.kind](partial, request)
                partial.replace(path)
            else:
                _write_faulty(partial, request, fault, path)
        answer = _READERS[request.kind].fetch(request._replace(inputs=str(folder)))
        note = f"synthetic twin ocean, seed {request.seed}"
        return answer._replace(note=f"{note}; {answer.note}" if answer.note else note)


def _key(request: Request, fault: Fault | None) -> str:
    """A folder name for the instant, the seed, the grid, the depths and the fault."""
    text = f"{request.seed} {request.grid.model_dump_json()} {request.depths_m} {fault}"
    return f"{request.kind}_{request.when.astimezone(UTC):%Y%m%dT%H%M}_{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _write_ocean(path: Path, request: Request, days: int = 1) -> None:
    latitude, longitude = native.HYCOM_LATITUDE, native.HYCOM_LONGITUDE
    if not request.grid.periodic:
        latitude, longitude = _region(request.grid)
    moments = [request.when + timedelta(days=day) for day in range(days)]
    native.write_hycom(path, moments, Twin(request.seed), latitude, longitude, request.depths_m)


def _write_faulty(partial: Path, request: Request, fault: Fault, path: Path) -> None:
    """Two days with the fault in them; nothing at ``path`` where the fault is to be late."""
    _write_ocean(partial, request, days=2)
    inflict(fault, partial)
    if partial.exists():
        partial.replace(path)


def _write_surface(path: Path, request: Request) -> None:
    _write_era5(path, request, "new")


def _write_waves(path: Path, request: Request) -> None:
    _write_era5(path, request, "old")


def _write_era5(path: Path, request: Request, layout: str) -> None:
    latitude, longitude = native.ERA5_LATITUDE, native.ERA5_LONGITUDE
    if not request.grid.periodic:
        latitude, longitude = _region(request.grid)
        latitude = latitude[::-1]
    native.write_era5(path, request.kind, [request.when], Twin(request.seed), layout=layout, latitude=latitude,
                      longitude=longitude)  # fmt: skip


def _write_biogeochemistry(path: Path, request: Request) -> None:
    """NOBM's own global points, which its reader knows it by, whatever the grid."""
    native.write_nobm(path, request.when, Twin(request.seed))


def _region(grid: Grid) -> tuple[Axis, Axis]:
    """The grid's own points and a margin; latitudes stay within the poles."""
    steps = np.arange(-MARGIN_CELLS, grid.rows + MARGIN_CELLS)
    latitude = np.round(grid.south + grid.latitude_step * steps, 9)
    steps = np.arange(-MARGIN_CELLS, grid.columns + MARGIN_CELLS)
    return latitude[np.abs(latitude) <= 90.0], np.round(grid.west + grid.longitude_step * steps, 9)


_WRITERS: dict[Kind, Callable[[Path, Request], None]] = {
    Kind.OCEAN: _write_ocean,
    Kind.SURFACE: _write_surface,
    Kind.WAVES: _write_waves,
    Kind.BIOGEOCHEMISTRY: _write_biogeochemistry,
}
