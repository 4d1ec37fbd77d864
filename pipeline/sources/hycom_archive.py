"""What HYCOM's remote archives have in common: look, choose the instant, fetch the wanted slabs, put them together.

An archive is tiers of datasets (the year's analysis, then the newest forecasts). The first tier that has the instant
gives it; else the nearest step within three hours does, with the reason on the record; else the next tier is asked;
else an older day stands in, where the rung allows an age.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

import numpy as np
import xarray as xr

from pipeline.errors import InputRefused, InputUnavailable
from pipeline.objects.slab_cache import SlabCache
from pipeline.sources import Native, Request, Sighting, Slabs
from pipeline.sources import holdings as h
from pipeline.sources.asking import Asking, NotThere, within_deadline
from pipeline.sources.hycom import EXTENT, LEXICON
from pipeline.sources.instants import Chosen, Sampling, choose, common
from pipeline.sources.netcdf import unpacked
from pipeline.sources.slab_check import Figures
from pipeline.sources.slabs import Field, Slab, assembled, collect, records, wanted
from pipeline.store import Store
from pipeline.variables import Kind

LOOK_SECONDS = 60.0
"""Longest a look at an archive may take."""
FORECAST_FROM_HOURS = 24.0
"""Hours after its analysis from which a step is a forecast: an analysis covers its own day."""
LINES = 10
"""Lines of the log while slabs arrive."""

_log = logging.getLogger(__name__)


class Tier(Protocol):
    """Datasets of one standing in an archive."""

    async def stamps(self, asking: Asking, names: Sequence[str]) -> Mapping[str, h.Stamps]:
        """The instants held of each native name; a name the archive does not have is left out."""
        ...

    async def fields(self, asking: Asking, names: Sequence[str], stamp: np.datetime64) -> Mapping[str, Field]:
        """The native names as fields that have the instant."""
        ...


class Fetched(NamedTuple):
    """What a fetch gave: the choice, the slabs of each chosen instant, and their figures."""

    chosen: Chosen
    steps: tuple[tuple[Slab, ...], ...]
    figures: Mapping[str, Figures]


class HycomArchive:
    """One remote archive of HYCOM; ``sampling``: a snapshot, or the mean of the day's steps.

    ``address``: where it is, unless ``request.archives`` says otherwise under ``archive``.
    """

    archive = ""
    address = ""
    label = ""
    kinds: tuple[Kind, ...] = (Kind.OCEAN,)

    def __init__(self, sampling: Sampling = Sampling.SNAPSHOT) -> None:
        self.sampling = sampling
        mean = sampling is Sampling.DAILY_MEAN
        self.name = f"{self.archive}-daily" if mean else self.archive
        self.title = f"{self.label}, daily mean" if mean else self.label

    def tiers(self, request: Request, address: str) -> tuple[Tier, ...]:
        """The archive's tiers for a request, the best first; ``InputUnavailable`` for dates that it never had."""
        raise NotImplementedError

    def look(self, request: Request) -> Sighting:
        """The instants on the time axes (or in the names) of its datasets; see ``Source.look``."""
        how = "the time axes of its datasets"
        try:
            deadline = min(LOOK_SECONDS, request.deadline_seconds)
            return within_deadline(self.title, deadline, lambda asking: self._sighted(asking, request, how))
        except InputUnavailable as absence:
            return Sighting(False, None, how, f"{self.title}: {absence.found}")
        except InputRefused as refusal:
            words = f"{self.title}: needed {refusal.needed}, found {refusal.found}"
            return Sighting(False, None, how, words, refused=True)

    def fetch(self, request: Request) -> Native:
        """Fetch the wanted slabs of the five ocean fields that are not in the cache yet; see ``Source.fetch``.

        Without ``request.cache`` they are kept in the scratch folder. The dataset is lazy and reads them from there.
        """
        cache = request.cache or SlabCache(Store(request.scratch), request.when)
        found = within_deadline(
            self.title, request.deadline_seconds, lambda asking: self._fetched(asking, request, cache)
        )
        every = [slab for slabs in found.steps for slab in slabs]
        dataset = _joined([unpacked(assembled(slabs, cache)) for slabs in found.steps], found.chosen, self.sampling)
        return Native(
            dataset, LEXICON, records(every, found.figures), self._note(found.chosen, every),
            analysed=_analysed(every), near_hours=_away_hours(found.chosen, request), degraded=found.chosen.reason,
        )  # fmt: skip

    async def _sighted(self, asking: Asking, request: Request, how: str) -> Sighting:
        names = h.native_names(LEXICON, request.variables)
        tier, held = await self._tier(asking, request, names)
        if tier is not None and (chosen := choose(common(held.values()), request, self.sampling)):
            stamp = min(chosen.stands_for, h.instant(request.when))
            words = chosen.reason or f"{stamp} is there"
            return Sighting(True, stamp.astype(datetime).replace(tzinfo=UTC), how, f"{self.title}: {words}")
        past = [stamps[stamps <= h.instant(request.when)] for stamps in held.values()]
        newest = min((stamps[-1] for stamps in past if stamps.size), default=None)
        if newest is None:
            return Sighting(False, None, how, f"{self.title}: nothing before {h.instant(request.when)}")
        lag = ", ".join(
            name for name, stamps in zip(held, past, strict=True) if not stamps.size or stamps[-1] <= newest
        )
        words = f"{self.title}: {lag} not beyond {newest}"
        return Sighting(False, newest.astype(datetime).replace(tzinfo=UTC), how, words)

    async def _tier(
        self, asking: Asking, request: Request, names: Sequence[str]
    ) -> tuple[Tier | None, Mapping[str, h.Stamps]]:
        """The first tier that has the instant or one near it, else one with an allowed age; its stamps by name."""
        today = request._replace(maximum_age_days=0.0)
        best: tuple[Tier | None, Mapping[str, h.Stamps]] = (None, {})
        absences: list[NotThere] = []
        for tier in self.tiers(request, request.archives.get(self.archive, self.address).rstrip("/")):
            try:
                held = await tier.stamps(asking, names)
            except NotThere as absence:
                absences.append(absence)
                continue
            if choose(common(held.values()), today, self.sampling):
                return tier, held
            if best[0] is None or not best[1]:
                best = tier, held
        if best[0] is None:
            raise absences[0]
        return best

    async def _fetched(self, asking: Asking, request: Request, cache: Slabs) -> Fetched:
        names = h.native_names(LEXICON, request.variables)
        tier, held = await self._tier(asking, request, names)
        chosen = choose(common(held.values()), request, self.sampling) if tier is not None else None
        if tier is None or chosen is None:
            raise self._absent(held, request)
        steps = []
        for stamp in chosen.stamps:
            fields = await tier.fields(asking, tuple(held), stamp)
            self._check_place(fields, request)
            slabs = [slab for field in fields.values() for slab in wanted(field, stamp, request.depths_m, request.grid)]
            steps.append(tuple(slabs))
        every = [slab for slabs in steps for slab in slabs]
        figures = await collect(asking, every, cache, self._told)
        _log.info("%s: %d slabs, %.1f MB moved", self.title, len(every), asking.moved_bytes / 1e6)
        return Fetched(chosen, tuple(steps), figures)

    def _told(self, there: int, slabs: int, moved_bytes: int) -> None:
        if there % max(1, slabs // LINES) == 0 or there == slabs:
            _log.info("%s: %d of %d slabs, %.1f MB moved", self.title, there, slabs, moved_bytes / 1e6)

    def _check_place(self, fields: Mapping[str, Field], request: Request) -> None:
        for field in fields.values():
            axes = xr.Dataset(coords={"lat": field.latitude, "lon": field.longitude})
            if not h.covers(axes, request.grid, EXTENT):
                raise InputUnavailable(
                    f"{self.title} for the system's region", found=f"{field.name} of {h.box(axes)}", where=field.uri,
                    action="name another source",
                )  # fmt: skip

    def _absent(self, held: Mapping[str, h.Stamps], request: Request) -> InputUnavailable:
        when = h.instant(request.when)
        nearest = [f"{name} {stamps[np.abs(stamps - when).argmin()]}" for name, stamps in held.items() if stamps.size]
        return InputUnavailable(
            f"{self.title} at {when} ({self.sampling})",
            found=f"no such step, nor one within reach; the nearest are {', '.join(nearest) or 'none'}",
            where=request.archives.get(self.archive, self.address), action="wait for the archive and run again",
        )  # fmt: skip

    def _note(self, chosen: Chosen, slabs: Sequence[Slab]) -> str:
        words = f"mean of {len(chosen.stamps)} steps of {str(chosen.stands_for)[:10]}" if len(chosen.stamps) > 1 else ""
        tau = _tau_hours(slabs)
        ahead = f"forecast of {tau:g} h from its analysis" if tau is not None and tau >= FORECAST_FROM_HOURS else ""
        return "; ".join(filter(None, (words, ahead)))


def _joined(steps: Sequence[xr.Dataset], chosen: Chosen, sampling: Sampling) -> xr.Dataset:
    """The one step, or the mean of all; a place that is land at any step has no mean."""
    if sampling is Sampling.SNAPSHOT:
        return steps[0]
    stamp = np.array([chosen.stands_for]).astype("datetime64[ns]")
    same = [step.assign_coords(time=("time", stamp)) for step in steps]
    mean = sum(same[1:], start=same[0]) / len(same)
    for name, field in mean.data_vars.items():
        field.attrs = dict(same[0][name].attrs)
    return mean


def _tau_hours(slabs: Sequence[Slab]) -> float | None:
    taus = [float(slab.field.tau_hours[slab.step]) for slab in slabs if slab.field.tau_hours is not None]
    return max(taus) if taus else None


def _analysed(slabs: Sequence[Slab]) -> datetime | None:
    """When the values last met an analysis, where they are a forecast."""
    tau = _tau_hours(slabs)
    if tau is None or tau < FORECAST_FROM_HOURS:
        return None
    valid: datetime = slabs[0].stamp.astype(datetime).replace(tzinfo=UTC)
    return valid - timedelta(hours=tau)


def _away_hours(chosen: Chosen, request: Request) -> float:
    """Hours between the request's instant and a near step that stands in for it; 0 where it is the same or aged."""
    away = abs(float((chosen.stands_for - h.instant(request.when)) / np.timedelta64(3600, "s")))
    return away if away < 24.0 else 0.0
