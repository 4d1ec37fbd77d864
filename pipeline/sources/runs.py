"""Weather forecasts as archives keep them: runs, steps, one GRIB file a step with an index of where its fields lie.

Only the wanted fields are moved, by ranges. Every field must be what its index promised: name, unit, reference time
and valid time are read from the message itself. All moments of one request come from one run: the newest that has
them all, else the one that has the most, the newest of these.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import xarray as xr

from pipeline.errors import InputRefused, InputUnavailable
from pipeline.provenance import FileRecord
from pipeline.sources import Native, Request, Sighting
from pipeline.sources import holdings as h
from pipeline.sources.era5 import LEXICON
from pipeline.sources.grib import decoded
from pipeline.sources.transfer import Asked, Part, fetch, join, unavailable
from pipeline.variables import Kind

RUN_HOURS = 6
"""Both centres start a run at 00, 06, 12 and 18 UTC."""
LONGEST_DAYS = 16
"""No run of either centre reaches further."""


class Place(NamedTuple):
    """Where a field lies in its file."""

    start: int
    length: int


class Series(NamedTuple):
    """The moments one run holds of what was asked for, each with its fields; ``issued``: its reference time."""

    issued: datetime
    fields: Mapping[datetime, xr.Dataset]
    files: tuple[FileRecord, ...]


class _Indices(NamedTuple):
    issued: datetime
    by_moment: dict[datetime, str]


class ForecastRuns(ABC):
    """One centre's forecasts; see ``Source`` for ``look`` and ``fetch``."""

    name: str
    title: str
    address: str
    kinds: tuple[Kind, ...] = (Kind.SURFACE, Kind.FORCING)

    @abstractmethod
    def steps(self, issued: datetime) -> frozenset[int]:
        """The steps of a run, in hours."""

    @abstractmethod
    def key(self, kind: Kind, issued: datetime, step: int) -> str:
        """The file of a step, under the archive's address."""

    @abstractmethod
    def index_key(self, kind: Kind, issued: datetime, step: int) -> str:
        """The index of that file."""

    @abstractmethod
    def places(self, index: str, step: int) -> dict[str, Place]:
        """Where the fields that we read lie, by their name in the lexicon; ``ValueError`` where it is no index."""

    def look(self, request: Request) -> Sighting:
        """Whether the index of the step is there, of future forcing that of its last day; see ``Source.look``."""
        for issued in self._runs(request):
            step = self._last_step(issued, request)
            if step is None:
                continue
            url = join(self._address(request), self.index_key(request.kind, issued, step))
            try:
                (part,) = fetch([Asked(url)], archive=self.title, deadline_seconds=request.deadline_seconds)
            except InputUnavailable as absence:
                return Sighting(False, None, "asked for an index", str(absence))
            if part is not None:
                words = f"{self.title}'s run of {issued:%Y-%m-%dT%HZ} has its step of {step} h"
                return Sighting(True, request.when, "an index is there", words)
        return Sighting(False, None, "asked for an index", f"{self.title} has no run that reaches {request.when}")

    def fetch(self, request: Request) -> Native:
        """The fields at the instant, from the newest run that has it; see ``Source.fetch``."""
        series = self.series(request, (request.when,))
        step = _step(series.issued, request.when)
        note = f"{self.title} run of {series.issued:%Y-%m-%dT%HZ}, {f'{step} h ahead' if step else 'its analysis'}"
        return Native(series.fields[request.when], LEXICON, series.files, note, series.issued if step else None)

    def series(self, request: Request, moments: Sequence[datetime]) -> Series:
        """What one run holds of these moments; ``InputUnavailable`` where no run has any of them."""
        end = time.monotonic() + request.deadline_seconds
        issued, indices = self._best_run(request, moments, end)
        asked: list[tuple[datetime, str, Asked]] = []
        for moment, index in indices.items():
            step = _step(issued, moment)
            url = join(self._address(request), self.key(request.kind, issued, step))
            for name, place in self._wanted(index, step, request, url).items():
                asked.append((moment, name, Asked(url, place.start, place.length)))
        parts = fetch([item for _, _, item in asked], archive=self.title, deadline_seconds=_left(end))
        fields: dict[datetime, dict[str, xr.DataArray]] = {moment: {} for moment in indices}
        records = []
        for (moment, name, item), part in zip(asked, parts, strict=True):
            if part is None:
                raise unavailable(self.title, "an index of a file that is not there", item.url)
            fields[moment][name] = _field(part, name, issued, moment)
            records.append(_record(part))
        datasets = {moment: _merged(found, moment, self.title) for moment, found in fields.items()}
        return Series(issued, datasets, tuple(records))

    def _best_run(self, request: Request, moments: Sequence[datetime], end: float) -> _Indices:
        best: _Indices | None = None
        for issued in self._runs(request):
            mine = [moment for moment in moments if _step(issued, moment) in self.steps(issued)]
            keys = [self.index_key(request.kind, issued, _step(issued, moment)) for moment in mine]
            urls = [Asked(join(self._address(request), key)) for key in keys]
            parts = fetch(urls, archive=self.title, deadline_seconds=_left(end)) if urls else []
            found = {moment: part.data.decode("utf-8", "replace")
                     for moment, part in zip(mine, parts, strict=True) if part is not None}  # fmt: skip
            if found and (best is None or len(found) > len(best.by_moment)):
                best = _Indices(issued, found)
            if len(found) == len(moments):
                break
        if best is None:
            latest = request.issued_by or request.when
            raise InputUnavailable(
                f"{self.title} {request.kind} for {moments[0]:%Y-%m-%dT%HZ}",
                found=f"no run with it of {latest:%Y-%m-%dT%HZ} or up to {request.maximum_age_days:g} days before",
                where=self._address(request), action="wait for the run, or take the next rung",
            )  # fmt: skip
        return best

    def _last_step(self, issued: datetime, request: Request) -> int | None:
        """The step of the instant, or of the last whole day after it that the run reaches."""
        days = range(LONGEST_DAYS, 0, -1) if request.kind is Kind.FORCING else (0,)
        steps = [_step(issued, request.when + timedelta(days=day)) for day in days]
        return next((step for step in steps if step in self.steps(issued)), None)

    def _wanted(self, index: str, step: int, request: Request, where: str) -> dict[str, Place]:
        try:
            places = self.places(index, step)
        except ValueError as error:
            raise InputRefused(
                f"an index of {self.title}", found=str(error), where=where, action="wait for it to be written anew"
            ) from error
        return {name: place for name in request.variables if (place := places.get(LEXICON[name].native)) is not None}

    def _runs(self, request: Request) -> Iterator[datetime]:
        """Newest first, none later than the forecast may know of nor older than allowed."""
        latest = (request.issued_by or request.when).astimezone(UTC)
        run = latest.replace(hour=latest.hour // RUN_HOURS * RUN_HOURS, minute=0, second=0, microsecond=0)
        while latest - run <= timedelta(days=request.maximum_age_days):
            yield run
            run -= timedelta(hours=RUN_HOURS)

    def _address(self, request: Request) -> str:
        return request.archives.get(self.name, self.address)


def _step(issued: datetime, moment: datetime) -> int:
    """Whole hours from a run to a moment; -1, which no run has, where they are not whole."""
    hours, rest = divmod(moment - issued, timedelta(hours=1))
    return -1 if rest else hours


def _left(end: float) -> float:
    return max(end - time.monotonic(), 0.001)


def _field(part: Part, name: str, issued: datetime, moment: datetime) -> xr.DataArray:
    """The field of a message that is what its index promised, else ``InputRefused``."""
    where = f"{part.asked.url} from byte {part.asked.start}"
    header, values = decoded(part.data, where)
    wanted = (LEXICON[name].native, h.instant(issued), h.instant(moment))
    if (header.name, header.issued, header.valid) != wanted:
        raise InputRefused(
            f"{wanted[0]} of run {wanted[1]} at {wanted[2]}",
            found=f"{header.name} of run {header.issued} at {header.valid}", where=where,
            action="wait for file and index to be written anew",
        )  # fmt: skip
    latitude, longitude = header.axes
    return xr.DataArray(
        values[None], dims=("time", "latitude", "longitude"), name=header.name, attrs={"units": header.units},
        coords={"time": np.array([header.valid]).astype("datetime64[ns]"), "latitude": latitude,
                "longitude": longitude},
    )  # fmt: skip


def _record(part: Part) -> FileRecord:
    record = part.record()
    return record.model_copy(update={"uri": f"{record.uri}#bytes={part.asked.start}+{part.asked.length}"})


def _merged(fields: Mapping[str, xr.DataArray], moment: datetime, title: str) -> xr.Dataset:
    try:
        return xr.merge([field.to_dataset() for field in fields.values()], join="exact", compat="equals",
                        combine_attrs="drop_conflicts")  # fmt: skip
    except (ValueError, xr.MergeError) as error:
        raise InputRefused(
            f"{', '.join(fields)} on the same axes", found="fields whose latitudes or longitudes differ",
            where=f"{title} at {moment}", action="tell its provider",
        ) from error  # fmt: skip
