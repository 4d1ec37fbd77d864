"""What the gate found: for machines as JSON, for people as the sentence of a refusal or the reason of a degradation."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from pipeline.errors import InputRefused
from pipeline.gate.thresholds import Outcome
from pipeline.variables import Kind


class Finding(BaseModel):
    """One limit that was passed, or one thing that is not what it says it is.

    ``check``: its name; ``field``: the variable, empty where it is all of the input. ``value`` and ``threshold`` are
    figures in ``units`` where the check has figures; ``found`` and ``needed`` say the same in words. ``origin``: where
    the threshold comes from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    check: str
    outcome: Outcome
    field: str
    place: str = ""
    value: float | None = None
    threshold: float | None = None
    units: str = ""
    found: str
    needed: str
    origin: str = ""

    @property
    def sentence(self) -> str:
        """For the reader of a product."""
        place = f" {self.place}" if self.place else ""
        return f"{self.field}{place}: {self.check} is {self.found}, ordinarily {self.needed}"


class Measure(BaseModel):
    """The worst value that a check saw of a field, and the threshold nearest to it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    check: str
    field: str
    place: str
    value: float
    threshold: float
    units: str


class Report(BaseModel):
    """All that was looked at of one kind of input of one start. No wall clock: equal inputs, equal reports."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    version: int = 1
    system: str
    cycle: str
    kind: Kind
    outcome: Outcome
    sources: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    measures: tuple[Measure, ...] = ()
    not_done: dict[str, str] = Field(default_factory=dict, description="checks that could not be made, and why")


class GateRefused(InputRefused):
    """The gate refused an input: ``report`` says all that it found, ``picture`` (PNG) shows the worst of it."""

    def __init__(self, finding: Finding, report: Report, where: str, picture: bytes | None = None) -> None:
        place = f"{finding.field} {finding.place}".strip() or report.kind.value
        origin = f" ({finding.origin})" if finding.origin else ""
        super().__init__(
            f"{place} with {finding.check} {finding.needed}{origin}", found=finding.found, where=where,
            action="look at the input report and its picture; fetch the file again, or tell its provider",
            check=finding.check, field=finding.field,
        )  # fmt: skip
        self.finding, self.report, self.picture = finding, report, picture
        self._where = where

    def __reduce__(self) -> tuple[object, ...]:
        return GateRefused, (self.finding, self.report, self._where, self.picture)


def of_refusal(refusal: InputRefused) -> Finding:
    """A refusal by whoever read or regridded the input, as a finding."""
    return Finding(
        check=refusal.check, outcome=Outcome.REFUSE, field=refusal.field, value=refusal.value,
        threshold=refusal.threshold, units=refusal.units, found=refusal.found, needed=refusal.needed,
    )  # fmt: skip
