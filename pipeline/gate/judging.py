"""Gridded fields -> report: every limit held against every field of its kind, whatever was found before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pipeline.gate.limits import LIMITS, MEASURING, OF_FORECAST, OF_YESTERDAY, Check, Limit
from pipeline.gate.measures import Measured
from pipeline.gate.report import Finding, Measure, Report
from pipeline.gate.scene import Scene
from pipeline.gate.thresholds import Outcome, worst
from pipeline.variables import Kind, Variable


class Judged(NamedTuple):
    """The report, and for the worst finding the cells behind it (level's place, mask or ``None``)."""

    report: Report
    offence: tuple[Finding, Measured] | None


def judge(
    scene: Scene, kind: Kind, system: str, cycle: str, sources: tuple[str, ...],
    excused: Iterable[tuple[Check, str]] = (), limits: tuple[Limit, ...] = LIMITS,
) -> Judged:  # fmt: skip
    """Hold a kind of input against its limits.

    ``excused``: checks of a variable that say nothing today, as of an unchanged climatology. Of several levels that
    pass a limit the report has the worst.
    """
    spared = set(excused)
    findings, measured = list[tuple[Finding, Measured]](), list[Measure]()
    for limit, entry in _pairs(scene, limits, spared):
        found = max(MEASURING[limit.check](scene, entry), key=lambda item: limit.badness(item.value), default=None)
        if found is None:
            continue
        measured.append(_measure(limit, entry, found))
        finding = _finding(limit, entry, found)
        if finding is not None:
            findings.append((finding, found))
    findings.sort(key=lambda pair: pair[0].outcome is not Outcome.REFUSE)
    every = tuple(finding for finding, _ in findings)
    report = Report(
        system=system, cycle=cycle, kind=kind, outcome=worst(finding.outcome for finding in every), sources=sources,
        findings=every, measures=tuple(measured), not_done=_not_done(scene),
    )  # fmt: skip
    return Judged(report, findings[0] if findings else None)


def _pairs(scene: Scene, limits: tuple[Limit, ...], spared: set[tuple[Check, str]]) -> Iterator[tuple[Limit, Variable]]:
    """Every limit of every variable, a variable after the other: what it is compared with is read once."""
    for entry in scene.entries:
        for limit in limits:
            if entry.name in limit.variables and (limit.check, entry.name) not in spared:
                yield limit, entry


def _measure(limit: Limit, entry: Variable, found: Measured) -> Measure:
    return Measure(check=limit.check, field=entry.name, place=found.place, value=round(found.value, 6),
                   threshold=limit.nearest, units=limit.units)  # fmt: skip


def _finding(limit: Limit, entry: Variable, found: Measured) -> Finding | None:
    refused, labelled = limit.passed(found.value, limit.refuse), limit.passed(found.value, limit.label)
    if not refused and not labelled:
        return None
    outcome = Outcome.REFUSE if refused else Outcome.LABEL
    threshold, needed = limit.needed(outcome, limit.units)
    return Finding(
        check=limit.check, outcome=outcome, field=entry.name, place=found.place, value=round(found.value, 6),
        threshold=threshold, units=limit.units, found=f"{found.value:.3g} {limit.units}", needed=needed,
        origin=limit.origin,
    )  # fmt: skip


def _not_done(scene: Scene) -> dict[str, str]:
    """Checks that had nothing, or less than there should be, to compare with, and why."""
    named = {"yesterday": (scene.yesterday, OF_YESTERDAY), "forecast": (scene.forecast, OF_FORECAST),
             "normal": (scene.normal, {Check.SEASON})}  # fmt: skip
    return {
        str(check): scene.absent.get(name, "nothing to compare with")
        for name, (beside, checks) in named.items() if beside is None or name in scene.absent
        for check in sorted(checks)
    }  # fmt: skip
