"""What the sea turned out to be: the analysis of an instant on the grid of a forecaster's array or of a product."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import xarray as xr

from pipeline import ingest, regrid
from pipeline.contracts import Gridded
from pipeline.errors import InputUnavailable
from pipeline.products import ProductEntry
from pipeline.sources.netcdf import closed_after
from pipeline.systems import System
from pipeline.variables import Kind


class Edge(NamedTuple):
    """Where inputs come from: the operator's ``inputs``, a ``scratch`` folder for sources, the ``seed`` of the twin."""

    inputs: str | None
    scratch: Path
    seed: int = 0


Truth = Callable[[ProductEntry, datetime], xr.Dataset]
"""The analysis on a product's grid at a valid time; raises ``InputUnavailable`` where there is none (yet)."""


def analysed(system: System, edge: Edge) -> Truth:
    """The truth a system is scored against: its own ladder of sources at the valid time."""

    def truth(entry: ProductEntry, when: datetime) -> xr.Dataset:
        return kuroshio(system, when, edge) if entry.state == "kuroshio" else of_kind(
            system, Kind(entry.state), when, edge)  # fmt: skip

    return truth


def remembered(truth: Truth) -> Truth:
    """A truth that is made once for all who ask for the same moment; so is its absence."""
    kept: dict[tuple[str, datetime], xr.Dataset | InputUnavailable] = {}

    def again(entry: ProductEntry, when: datetime) -> xr.Dataset:
        place = (entry.name, when)
        if place not in kept:
            try:
                kept[place] = truth(entry, when)
            except InputUnavailable as absence:
                kept[place] = absence
        found = kept[place]
        if isinstance(found, InputUnavailable):
            raise found
        return found

    return again


@closed_after()
def of_kind(system: System, kind: Kind, when: datetime, edge: Edge) -> Gridded:
    """One kind of input at an instant on the system's grid of that kind."""
    return regrid.regrid(ingest.ingest(system, kind, when, **edge._asdict()), kind, system)


@closed_after()
def kuroshio(system: System, when: datetime, edge: Edge) -> xr.Dataset:
    """The ocean's surface from the source itself on the system's Kuroshio grid, (latitude, longitude).

    The source is asked for the fine grid, so that it gives what detail it has, and for its surface alone.
    """
    asked = system.model_copy(update={"grid": system.kuroshio_grid, "depths_m": system.depths_m[:1]})
    return regrid.regrid_kuroshio(ingest.ingest(asked, Kind.OCEAN, when, **edge._asdict()), system)
