"""What the sea turned out to be: the analysis of an instant on the grid of a forecaster's array or of a product.

It is asked of the system's own ladders without the rungs that stand in for an analysis when a forecast must begin: no
older instant, no forecast of our own, no climatology. What happened is what an archive has of that very instant. An
archive that runs ahead of its analyses gives a forecast of an instant it has not analysed: that is no truth either, and
waits (``NotAnalysed``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import xarray as xr

from pipeline import ingest, provenance, regrid
from pipeline.contracts import Gridded, Ingested
from pipeline.errors import InputRefused, InputUnavailable
from pipeline.products import ProductEntry
from pipeline.provenance import InputRecord
from pipeline.sources.netcdf import closed_after
from pipeline.systems import Ladder, Rung, System
from pipeline.variables import Kind

NO_OBSERVATION = ("own-forecast", "climatology")
"""Sources whose fields are not an archive's: measured by them, we would be measured by ourselves."""

MOST_AHEAD_HOURS = 3.0
"""How far from an observed state what has been seen may be: an eighth of a day, as of a step that stands in for one."""


class NotAnalysed(InputUnavailable):
    """What an archive has of an instant is a forecast: its analysis is to come."""


class Edge(NamedTuple):
    """Where inputs come from: the operator's ``inputs``, a ``scratch`` folder for sources, the ``seed`` of the twin.

    ``archives``: base addresses by archive name, where they are not the documented ones.
    """

    inputs: str | None
    scratch: Path
    seed: int = 0
    archives: Mapping[str, str] = MappingProxyType({})


Truth = Callable[[ProductEntry, datetime], xr.Dataset]
"""The analysis on a product's grid at a valid time; raises ``InputUnavailable`` where there is none (yet)."""


def analysed(system: System, edge: Edge) -> Truth:
    """The truth a system is scored against: what its own ladder of sources has seen at the valid time.

    What archives have seen in part only (plankton without its kinds, say) is ``InputUnavailable`` too: there is nothing
    to mend by hand, and the other products are to be scored.
    """

    def truth(entry: ProductEntry, when: datetime) -> xr.Dataset:
        try:
            return kuroshio(system, when, edge) if entry.state == "kuroshio" else of_kind(
                system, Kind(entry.state), when, edge)  # fmt: skip
        except InputRefused as lack:
            if lack.check != "variables":
                raise
            raise InputUnavailable(lack.needed, found=lack.found, where=lack.where, action=lack.action) from lack

    return truth


def until(moment: datetime, system: System, happened: Truth) -> Truth:
    """A truth of what has been by a moment: of days to come archives have forecasts. The twin knows its future."""

    def truth(entry: ProductEntry, when: datetime) -> xr.Dataset:
        if system.real_ocean and when > moment:
            raise InputUnavailable(f"an analysis of {when:%Y-%m-%d %H}Z", found=f"only {moment:%Y-%m-%d %H:%M}Z by now",
                                   where="the clock", action="verify again when that day has been")  # fmt: skip
        return happened(entry, when)

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


def observing(system: System, kind: Kind) -> Ladder | None:
    """The ladder of what archives have of a kind at the very instant asked for, each once; ``None`` without any."""
    ladder, seen = system.ladder(kind), dict[str, Rung]()
    for rung in ladder.rungs if ladder else ():
        if rung.source not in NO_OBSERVATION:
            seen.setdefault(rung.source, rung.model_copy(update={"maximum_age_days": 0.0}))
    return ladder.model_copy(update={"rungs": tuple(seen.values())}) if ladder and seen else None


@closed_after()
def of_kind(system: System, kind: Kind, when: datetime, edge: Edge) -> Gridded:
    """One kind of input as it was seen at an instant, on the system's grid of that kind.

    ``InputUnavailable`` where no archive of the system's ladder has that instant.
    """
    return regrid.regrid(_ingested(_seen(system, kind), kind, when, edge), kind, system)


@closed_after()
def kuroshio(system: System, when: datetime, edge: Edge) -> xr.Dataset:
    """The ocean's surface from the source itself on the system's Kuroshio grid, (latitude, longitude).

    The source is asked for the fine grid, so that it gives what detail it has, and for its surface alone.
    """
    fine = {"grid": system.kuroshio_grid, "depths_m": system.depths_m[:1]}
    asked = _seen(system, Kind.OCEAN).model_copy(update=fine)
    return regrid.regrid_kuroshio(_ingested(asked, Kind.OCEAN, when, edge), system)


def _ingested(system: System, kind: Kind, when: datetime, edge: Edge) -> tuple[Ingested, ...]:
    """What archives have of the instant; ``NotAnalysed`` where a part of it is a forecast of theirs."""
    parts = ingest.ingest(system, kind, when, **edge._asdict())
    for record in (record for part in parts for record in provenance.records(part)):
        if (hours := _ahead_hours(record, when)) > MOST_AHEAD_HOURS:
            raise NotAnalysed(
                f"an analysis of {kind} at {when:%Y-%m-%d %H}Z", where=record.source,
                found=f"a forecast of {', '.join(record.variables)} from {hours:g} h before",
                action="wait until the archive has analysed that time, and run again",
            )  # fmt: skip
    return parts


def _ahead_hours(record: InputRecord, when: datetime) -> float:
    """How long before its valid time a record's values last met an observed state; a stamp of the day is not that."""
    late = (when - record.valid_time).total_seconds() / 3600.0 if record.valid_time else 0.0
    return record.age_hours - late


def _seen(system: System, kind: Kind) -> System:
    """The system with a ladder of archives alone."""
    ladder = observing(system, kind)
    if ladder is None:
        raise InputUnavailable(
            f"an archive that has seen {kind}", found="none", where=f"the ladder of system {system.name}",
            action="give the system a source that is neither a forecast nor a climatology",
        )  # fmt: skip
    return system.model_copy(update={"ladders": (ladder,)})
