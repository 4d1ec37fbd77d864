"""Source -> ``Ingested``: our names, units and axes; what is not what it says it is, is refused.

The ladder is walked variable by variable: what one rung lacks comes from the next, with the reason on it. Rungs
have grids of their own, so ``ingest`` gives one part for each rung that was used; they meet on the system's grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from pipeline import contracts, provenance, translate
from pipeline.contracts import Ingested
from pipeline.errors import InputRefused, InputUnavailable, UsageError
from pipeline.gate import reading as gate
from pipeline.provenance import InputRecord
from pipeline.sources import SOURCES, Native, Request, Slabs, Source, in_order
from pipeline.sources.netcdf import reading
from pipeline.systems import Ladder, System
from pipeline.variables import Kind


class _Rung(NamedTuple):
    """One rung as it was used: the source's answer, of which these variables are taken, and why so low."""

    number: int
    source: Source
    asked: Request
    native: Native
    variables: tuple[str, ...]
    reason: str | None
    usual_age_days: float


def ingest(
    system: System,
    kind: Kind,
    when: datetime,
    *,
    inputs: str | None,
    scratch: Path,
    seed: int = 0,
    sources: Mapping[str, Source] = SOURCES,
    first_rung: int = 0,
    passed_over: str = "",
    archives: Mapping[str, str] = MappingProxyType({}),
    cache: Slabs | None = None,
    store: str | None = None,
) -> tuple[Ingested, ...]:
    """What the system's ladder gives of one kind of input at ``when``: one part a rung, highest rung first.

    Every variable of the kind is in exactly one part, lazily, (depth,) latitude, longitude as float32 on its
    archive's own axes, cut to the system's region where that is not global; each part carries its record. The rungs
    above ``first_rung`` are not asked, for the reason ``passed_over``. ``archives``, ``cache``, ``store``: as a
    ``Request`` has them. Raises
    ``InputUnavailable`` where no rung has anything; ``InputRefused`` where a variable is missing from all of them
    or a field is not what it says it is.
    """
    ladder = system.ladder(kind)
    if ladder is None:
        raise _unavailable(kind, f"system {system.name} without a ladder for it", f"system {system.name}")
    request = Request(
        kind, when.astimezone(UTC), tuple(entry.name for entry in system.variables_of(kind)), system.depths_m,
        system.grid_of(kind), inputs, scratch, seed, archives=archives, cache=cache, system=system.name, store=store,
    )  # fmt: skip
    return tuple(_part(rung, rung.asked) for rung in _rungs(ladder, request, sources, first_rung, passed_over))


def _rungs(
    ladder: Ladder, request: Request, sources: Mapping[str, Source], first_rung: int, passed_over: str
) -> list[_Rung]:
    """Walk down the ladder until every variable is found, or refuse."""
    missing, used = request.variables, list[_Rung]()
    lacks: list[InputUnavailable | str] = [passed_over] if passed_over else []
    ordinary: list[InputUnavailable | str] = []
    for number, rung in enumerate(in_order(ladder, request.inputs, sources)):
        if number < first_rung:
            continue
        source, asked = _named(rung.source, sources), request._replace(maximum_age_days=rung.maximum_age_days)
        try:
            native = source.fetch(asked._replace(variables=missing))
        except InputUnavailable as absence:
            (lacks if rung.expected else ordinary).append(absence)
            continue
        given = tuple(item for item in missing if _holds(native, item))
        if given:
            reason = "; ".join(map(_because, lacks)) or None
            used.append(_Rung(number, source, asked, native, given, reason, rung.usual_age_days))
        missing = tuple(item for item in missing if item not in given)
        if not missing:
            return used
        (lacks if rung.expected or given else ordinary).append(_lack(source, request, missing))
    raise _unfinished(ladder, request, missing, [*lacks, *ordinary], bool(used), passed_over)


def _named(name: str, sources: Mapping[str, Source]) -> Source:
    if name not in sources:
        raise UsageError(
            f"a source named {name!r}", found=f"only {', '.join(sources)}", where="the system's ladder",
            action="add it to SOURCES, or take it off the ladder",
        )  # fmt: skip
    return sources[name]


def _holds(native: Native, name: str) -> bool:
    return name in native.lexicon and native.lexicon[name].native in native.dataset


def _part(rung: _Rung, request: Request) -> Ingested:
    """One rung translated, checked and recorded."""
    where = f"{rung.source.title} ({', '.join(record.uri for record in rung.native.files) or 'no files'})"
    stamp = translate.one_instant(rung.native.dataset, request, where, rung.native.near_hours)
    with reading(rung.native.files):
        dataset = translate.translated(rung.native, rung.variables, request, where)
        gate.check(dataset, request.kind, where)
    return contracts.ingested(provenance.attach(dataset, (_record(rung, request, stamp),)), request.kind)


def _record(rung: _Rung, request: Request, stamp: datetime) -> InputRecord:
    forecast_from = rung.native.analysed
    age = request.when - (forecast_from or stamp)
    reasons = [f"{_listed(rung.variables)} from {rung.source.name}: {rung.reason}"] if rung.reason else []
    notes = [rung.native.note] if rung.native.note else []
    if rung.native.degraded:
        reasons.append(f"{_listed(rung.variables)} from {rung.source.name}: {rung.native.degraded}")
    if age > timedelta(0) and not rung.native.near_hours:
        hours = age.total_seconds() / 3600
        since = f"forecast from {forecast_from:%Y-%m-%dT%HZ}" if forecast_from else f"valid {stamp:%Y-%m-%dT%HZ}"
        aged = f"{_listed(rung.variables)} from {rung.source.name} {since}, {hours:g} h old"
        if age <= timedelta(days=rung.usual_age_days):
            notes.append(f"{aged}, as is usual for this archive")
        else:
            reasons.append(aged)
    return InputRecord(
        kind=request.kind, variables=rung.variables, source=rung.source.name, rung=rung.number, valid_time=stamp,
        age_hours=age.total_seconds() / 3600, files=rung.native.files, note="; ".join(notes),
        degraded="; ".join(reasons) or None,
    )  # fmt: skip


def _lack(source: Source, request: Request, missing: tuple[str, ...]) -> str:
    """Published as the reason of a degradation: it must not tell where on our machines the inputs lie."""
    return f"{source.title} does not hold {_listed(missing)} for {request.when:%Y-%m-%dT%HZ}"


def _because(lack: InputUnavailable | str) -> str:
    return lack if isinstance(lack, str) else f"needed {lack.needed}, found {lack.found} in {lack.where}"


def _unfinished(
    ladder: Ladder,
    request: Request,
    missing: tuple[str, ...],
    lacks: list[InputUnavailable | str],
    some: bool,
    passed: str,
) -> InputUnavailable | InputRefused:
    absences = [lack for lack in lacks if isinstance(lack, InputUnavailable)]
    if absences and all(isinstance(lack, InputUnavailable) or lack == passed for lack in lacks) and not some:
        return absences[0]
    return InputRefused(
        f"{_listed(missing)} for the {request.kind} input", found="; ".join(map(_because, lacks)),
        where=f"the ladder {', '.join(ladder.sources)} over {request.inputs or 'no inputs folder'}",
        action="fetch what is missing and run again", check="variables", field=missing[0],
    )  # fmt: skip


def _unavailable(kind: Kind, found: str, where: str) -> InputUnavailable:
    return InputUnavailable(f"{kind} input", found=found, where=where, action="give the system a source for it")


def _listed(names: tuple[str, ...]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
