"""The weather of the days to come, as a forecast has it: each lead day's surface on the system's grid.

The ladder of kind ``forcing`` names the forecasts; of one run the days there are, are taken, each through the same
translation, gate and regridding as an analysis. What the rungs lack, and why, is on the record; with no rung at all
the record says so and the forcing relaxes (``pipeline.forcing``): a forecast is never given up for want of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import xarray as xr

from pipeline import contracts, provenance, regrid, translate
from pipeline.contracts import Gridded, Ingested
from pipeline.errors import InputRefused, InputUnavailable, UsageError
from pipeline.gate import reading as gate
from pipeline.provenance import InputRecord
from pipeline.sources import SOURCES, Native, Request, Source
from pipeline.sources.era5 import LEXICON
from pipeline.sources.runs import LONGEST_DAYS, ForecastRuns, Series
from pipeline.systems import Rung, System
from pipeline.variables import Kind, of_kind

NAMES = tuple(entry.name for entry in of_kind(Kind.SURFACE))


class _Found(NamedTuple):
    number: int
    source: ForecastRuns
    series: Series
    days: dict[int, xr.Dataset]


def foresee(
    system: System,
    start: datetime,
    *,
    inputs: str | None,
    scratch: Path,
    seed: int = 0,
    sources: Mapping[str, Source] = SOURCES,
    archives: Mapping[str, str] = MappingProxyType({}),
    without: str | None = None,
) -> Gridded:
    """The surface of the lead days that the first rung with any holds, (lead_day, latitude, longitude), float32.

    No forecast issued after ``start`` is used. A rung that has nothing, or whose fields are refused, is passed over
    with its reason on the record; lead days may be missing, and all of them may be: a forecast of one day, which the
    weather of its start drives, asks for none and has no record of any. ``without``: why a person decided that none is
    to be used.
    """
    if system.forecast_days == 1:
        return contracts.foreseen(provenance.attach(_none(system), ()), system)
    ladder = system.ladder(Kind.FORCING) if without is None else None
    reasons: list[str] = []
    for number, rung in enumerate(ladder.rungs if ladder else ()):
        request = Request(
            Kind.FORCING, start.astimezone(UTC), NAMES, system.depths_m, system.grid, inputs, scratch, seed,
            rung.maximum_age_days, archives, issued_by=start.astimezone(UTC), system=system.name,
        )  # fmt: skip
        try:
            return _gridded(_found(number, rung, request, system, sources), request, system, reasons)
        except (InputUnavailable, InputRefused) as lack:
            reasons.append(f"{rung.source}: needed {lack.needed}, found {lack.found} in {lack.where}")
    why = without or f"no weather forecast was to be had ({'; '.join(reasons) or 'none is on the ladder'})"
    return _nothing(system, len(ladder.rungs) if ladder else 0, why)


def _found(number: int, rung: Rung, request: Request, system: System, sources: Mapping[str, Source]) -> _Found:
    source = sources.get(rung.source)
    if not isinstance(source, ForecastRuns):
        raise UsageError(
            "a weather forecast", found=f"the source {rung.source!r}", where=f"{system.name}'s ladder of forcing",
            action=f"name one of {', '.join(n for n, s in sources.items() if isinstance(s, ForecastRuns))}",
        )  # fmt: skip
    last = min(LONGEST_DAYS, system.forecast_days - 1)
    leads = {request.when + timedelta(days=lead): lead for lead in range(1, last + 1)}
    series = source.series(request, tuple(leads))
    days = {
        leads[moment]: _day(Native(fields, LEXICON, series.files), moment, request, system, source.title)
        for moment, fields in series.fields.items()
        if {LEXICON[name].native for name in NAMES} <= set(map(str, fields.data_vars))
    }
    if not days:
        raise InputUnavailable(
            f"a whole surface of {source.title}", found=f"no lead day with all of {', '.join(NAMES)}",
            where=f"the run of {series.issued:%Y-%m-%dT%HZ}", action="wait for the run, or take the next rung",
        )  # fmt: skip
    return _Found(number, source, series, days)


def _day(native: Native, moment: datetime, request: Request, system: System, title: str) -> xr.Dataset:
    """One day's surface on the system's grid."""
    asked, where = request._replace(kind=Kind.SURFACE, when=moment), f"{title} for {moment:%Y-%m-%dT%HZ}"
    translate.one_instant(native.dataset, asked, where)
    dataset = translate.translated(native, NAMES, asked, where)
    gate.check(dataset, Kind.SURFACE, where)
    part = contracts.ingested(provenance.attach(dataset, ()), Kind.SURFACE)
    return regrid.regrid((Ingested(part),), Kind.SURFACE, system).drop_attrs(deep=False)


def _gridded(found: _Found, request: Request, system: System, reasons: list[str]) -> Gridded:
    leads = sorted(found.days)
    dataset = xr.concat([found.days[lead] for lead in leads], dim="lead_day", combine_attrs="drop_conflicts")
    age = (request.when - found.series.issued).total_seconds() / 3600
    words = f"{found.source.title} run of {found.series.issued:%Y-%m-%dT%HZ}, lead days {in_words(leads)}"
    record = InputRecord(
        kind=Kind.FORCING, variables=NAMES, source=found.source.name, rung=found.number,
        valid_time=found.series.issued, age_hours=age, files=found.series.files, note=words,
        degraded="; ".join([*reasons, *_older(found, age), *_short(found, leads, request, system)]) or None,
    )  # fmt: skip
    return contracts.foreseen(provenance.attach(dataset.assign_coords(lead_day=leads), (record,)), system)


def _older(found: _Found, age_hours: float) -> list[str]:
    return [f"{found.source.title}'s run is from {age_hours:g} h before the start"] if age_hours > 0 else []


def _short(found: _Found, leads: list[int], request: Request, system: System) -> list[str]:
    """Why fewer days were taken than the run is made for: its tail has not landed, or a step is missing."""
    last = min(LONGEST_DAYS, system.forecast_days - 1)
    steps = found.source.steps(found.series.issued)
    before = request.when - found.series.issued
    due = [lead for lead in range(1, last + 1) if (before + timedelta(days=lead)) // timedelta(hours=1) in steps]
    absent = [lead for lead in due if lead not in leads]
    return [f"{found.source.title} does not hold lead days {in_words(absent)}"] if absent else []


def _nothing(system: System, number_of: int, why: str) -> Gridded:
    record = InputRecord(kind=Kind.FORCING, variables=NAMES, source="climatology", rung=number_of, valid_time=None,
                         age_hours=0.0, note="", degraded=why)  # fmt: skip
    return contracts.foreseen(provenance.attach(_none(system), (record,)), system)


def _none(system: System) -> xr.Dataset:
    """The surface of no lead day."""
    grid, dims = system.grid, ("lead_day", "latitude", "longitude")
    empty = np.empty((0, *grid.shape), dtype=np.float32)
    return xr.Dataset(
        {entry.name: (dims, empty.copy(), {"units": entry.units}) for entry in of_kind(Kind.SURFACE)},
        coords={"lead_day": np.empty(0, dtype=np.int64), "latitude": grid.latitude, "longitude": grid.longitude},
    )  # fmt: skip


def in_words(leads: list[int]) -> str:
    """Lead days as ranges: ``1-10, 12``."""
    starts = [lead for lead in leads if lead - 1 not in leads]
    ends = [lead for lead in leads if lead + 1 not in leads]
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))
