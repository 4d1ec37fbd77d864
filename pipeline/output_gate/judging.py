"""A forecast's days -> its report, while they stream by: each is held against every limit as it comes.

What must not be published ends the rollout on its day: the report and pictures of the offending field are put beside
the cycle's private state, and the error says where. What is merely doubtful is a note on its product.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts import ForecastDay
from pipeline.cycle import Cycle
from pipeline.errors import ForecastRefused, Offence
from pipeline.gate import picture
from pipeline.gate.measures import Measured
from pipeline.gate.report import Finding as Drawn
from pipeline.gate.scene import Scene
from pipeline.gate.thresholds import Outcome, worst
from pipeline.output_gate import season
from pipeline.output_gate.bounds import channels_of, grid_of
from pipeline.output_gate.laws import Figure, Law, Ruler
from pipeline.output_gate.limits import LIMITS, Limit
from pipeline.output_gate.report import Finding, Measure, Report, Seen, path, private_path
from pipeline.store import ObjectRecord, Store, to_json
from pipeline.systems import System
from pipeline.variables import variable

MOST_PICTURES = 4
"""Pictures of a refused forecast."""

Values = NDArray[np.float32]
Subject = tuple[str, str, str]
"""A law, an array, a variable."""


class _Refusal(NamedTuple):
    """A finding and what its picture shows: the channel, now and the day before, and the cells behind it."""

    finding: Finding
    row: int
    now: Values
    before: Values | None
    bad: NDArray[np.bool_] | None


class Judge:
    """Looks at one forecast's days in order; keeps of the past one day on the sea, and some hundred figures."""

    def __init__(
        self, store: Store, system: System, cycle: Cycle, revision: int, limits: tuple[Limit, ...] = LIMITS
    ) -> None:  # fmt: skip
        self._store, self._system, self._cycle, self._revision = store, system, cycle, revision
        self._limits = {(limit.law.value, limit.array, name): limit for limit in limits for name in limit.variables}
        self._rulers: dict[str, Ruler] = {}
        self._start: dict[str, float] = {}
        self._worst: dict[Subject, Measure] = {}
        self._lead_day = -1

    @property
    def seen(self) -> Seen:
        """What a rollout that goes on from here must know."""
        return Seen(start=dict(self._start), worst=tuple(self._worst.values()))

    def go_on(self, seen: Seen, day: ForecastDay) -> None:
        """Take up where an earlier try was, as if it had never stopped. ``day``: the last it had looked at."""
        self._start = dict(seen.start)
        self._worst = {(item.law, item.array, item.field): item for item in seen.worst}
        self._lead_day = int(day["lead_day"])
        for name in day.data_vars:
            self._ruler(str(name), day[name].values).follow(day[name].values)

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """What is refused within, by whoever looks at a day first, leaves a report and pictures and says where."""
        try:
            yield
        except ForecastRefused as refusal:
            if refusal.offence is None:
                raise
            found = self._of_offence(refusal, refusal.offence)
            raise self._refused([found], refusal.needed, refusal.found) from refusal

    def look(self, day: ForecastDay) -> None:
        """Measure a day; ``ForecastRefused`` where the forecast must not be published."""
        self._lead_day = int(day["lead_day"])
        refusals = list[_Refusal]()
        for name in map(str, day.data_vars):
            refusals += self._held_against(name, day[name].values)
        if refusals:
            first = refusals[0].finding
            raise self._refused(refusals, f"{first.subject} with {first.law} {first.needed} ({first.origin})",
                                f"{first.value:.4g} {first.units}")  # fmt: skip
        for name in map(str, day.data_vars):
            self._rulers[name].follow(day[name].values)

    def close(self) -> tuple[Report, ObjectRecord]:
        """The report of a forecast that was not refused, put beside its products; an earlier refusal's goes."""
        self._store.delete(private_path(self._cycle, self._revision).rpartition("/")[0])
        notes = [note for note in map(self._label, self._worst.values()) if note is not None]
        report = self._report(notes)
        where = path(self._cycle, self._revision)
        return report, self._store.write_bytes(where, to_json(report.model_dump(mode="json")))

    def _ruler(self, name: str, values: Values) -> Ruler:
        if name not in self._rulers:
            labels = channels_of(name, self._system)
            usual = None
            if name == "ocean" and any(limit.law is Law.DRIFT for limit in self._limits.values()):
                usual = season.of_ocean(self._system, self._cycle, np.isfinite(values), labels)
            self._rulers[name] = Ruler(name, labels, grid_of(name, self._system), usual)
        return self._rulers[name]

    def _held_against(self, name: str, values: Values) -> Iterator[_Refusal]:
        """Measure an array, remember the worst of each law, and yield for each law the worst that is refused."""
        ruler, refused = self._ruler(name, values), dict[Subject, tuple[Finding, Figure]]()
        for figure in ruler.figures(values, self._lead_day, self._start):
            channel = ruler.channels[figure.row]
            subject = (figure.law.value, name, channel.variable)
            limit = self._limits.get(subject)
            if limit is None:
                continue
            place = "" if channel.depth_m is None else f"at {channel.depth_m:g} m"
            made = self._measure(limit, subject, place, figure.value)
            before = self._worst.get(subject)
            if before is None or limit.badness(made.value) > limit.badness(before.value):
                self._worst[subject] = made
            there = refused.get(subject)
            worse = there is None or limit.badness(made.value) > limit.badness(there[0].value)
            if limit.passed(made.value, limit.refuse) and worse:
                refused[subject] = (_finding(limit, made, Outcome.REFUSE), figure)
        for finding, figure in refused.values():
            row = figure.row
            yield _Refusal(finding, row, values[row], ruler.before(row), figure.bad)

    def _measure(self, limit: Limit, subject: Subject, place: str, value: float) -> Measure:
        law, array, field = subject
        return Measure(law=law, array=array, field=field, place=place, lead_day=self._lead_day,
                       value=float(f"{value:.6g}"), threshold=limit.nearest, units=_units(limit, field))  # fmt: skip

    def _label(self, measure: Measure) -> Finding | None:
        limit = self._limits[measure.law, measure.array, measure.field]
        return _finding(limit, measure, Outcome.LABEL) if limit.passed(measure.value, limit.label) else None

    def _of_offence(self, refusal: ForecastRefused, offence: Offence) -> _Refusal:
        """The finding of whoever looked at the day before the laws did; its day is the one after the last measured."""
        self._lead_day += 1
        channel = channels_of(offence.array, self._system)[offence.row]
        ruler = self._rulers.get(offence.array)
        finding = Finding(
            law=offence.check, outcome=Outcome.REFUSE, array=offence.array, field=channel.variable,
            place="" if channel.depth_m is None else f"at {channel.depth_m:g} m", lead_day=self._lead_day,
            value=float(f"{offence.value:.6g}"), threshold=offence.threshold, units=offence.units,
            needed=refusal.needed,
        )  # fmt: skip
        before = ruler.before(offence.row) if ruler is not None else None
        return _Refusal(finding, offence.row, offence.values, before, offence.bad)

    def _report(self, findings: list[Finding]) -> Report:
        return Report(system=self._system.name, cycle=self._cycle.key, revision=self._revision,
                      outcome=worst(item.outcome for item in findings), lead_days=self._lead_day,
                      findings=tuple(findings), measures=tuple(self._worst.values()))  # fmt: skip

    def _refused(self, refusals: list[_Refusal], needed: str, found: str) -> ForecastRefused:
        """Put the report and its pictures, and say it in a sentence."""
        where, findings = private_path(self._cycle, self._revision), list[Finding]()
        for number, item in enumerate(refusals):
            finding = item.finding
            if number < MOST_PICTURES:
                drawn = f"{number + 1}-{finding.field}.png"
                self._store.write_bytes(f"{where.rpartition('/')[0]}/{drawn}", self._draw(item))
                finding = finding.model_copy(update={"picture": drawn})
            findings.append(finding)
        notes = [note for note in map(self._label, self._worst.values()) if note is not None]
        told = {(item.law, item.array, item.field) for item in findings}
        report = self._report([*findings, *(n for n in notes if (n.law, n.array, n.field) not in told)])
        self._store.write_bytes(where, to_json(report.model_dump(mode="json")))
        return ForecastRefused(
            needed, found=found, where=f"lead day {self._lead_day} of system {self._system.name}",
            action=f"look at the report {where} and the pictures beside it, at the initial state and the forecaster",
            offence=None,
        )  # fmt: skip

    def _draw(self, item: _Refusal) -> bytes:
        """The offending channel beside the day before."""
        finding = item.finding
        channel = channels_of(finding.array, self._system)[item.row]
        before = item.before
        scene = Scene({channel.variable: item.now}, grid_of(finding.array, self._system), (), self._cycle.start,
                      yesterday=None if before is None else lambda name, number: before)  # fmt: skip
        shown = Drawn(check=finding.law, outcome=finding.outcome, field=channel.variable, place=finding.place,
                      found=f"{finding.value:.4g} {finding.units}", needed=finding.needed)  # fmt: skip
        title = f"{self._system.name} {self._cycle.key} lead day {finding.lead_day}: the forecast is refused"
        return picture.draw(scene, shown, Measured(finding.place, finding.value, item.bad), title)


def _finding(limit: Limit, measure: Measure, outcome: Outcome) -> Finding:
    threshold, needed = limit.needed(outcome, measure.units)
    return Finding(
        law=measure.law, outcome=outcome, array=measure.array, field=measure.field, place=measure.place,
        lead_day=measure.lead_day, value=measure.value, threshold=threshold, units=measure.units,
        needed=needed, origin=limit.origin,
    )  # fmt: skip


def _units(limit: Limit, field: str) -> str:
    return variable(field).units if limit.units == "own" else limit.units
