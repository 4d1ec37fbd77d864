"""What the laws found of a forecast: for machines as JSON, for people as a refusal's sentence or a product's note."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from pipeline.cycle import Cycle
from pipeline.gate.thresholds import Outcome
from pipeline.store import Store, parsed

DOCUMENT = "physics.json"
"""Name of the report beside the products of a forecast that was not refused."""


class Finding(BaseModel):
    """One law that was broken: of which field, where, on which lead day, by how much, and what becomes of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    law: str
    outcome: Outcome
    array: str
    field: str
    place: str = ""
    lead_day: int
    value: float
    threshold: float
    units: str
    needed: str
    origin: str = ""
    picture: str = Field(default="", description="name of the picture beside a private report")

    @property
    def subject(self) -> str:
        """The field, where and when."""
        return " ".join(filter(None, (self.field, self.place, f"on lead day {self.lead_day}")))

    @property
    def sentence(self) -> str:
        """For the reader of a product."""
        return f"{self.subject}: {self.law} is {self.value:.3g} {self.units}, ordinarily {self.needed}"


class Measure(BaseModel):
    """The worst that a law saw of a field up to a lead day, and the threshold nearest to it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    law: str
    array: str
    field: str
    place: str
    lead_day: int
    value: float
    threshold: float
    units: str


class Seen(BaseModel):
    """What a rollout that goes on must know of the days before: the start's figures and the worst of each law."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    start: dict[str, float] = Field(default_factory=dict)
    worst: tuple[Measure, ...] = ()


class Report(BaseModel):
    """All that was looked at of one forecast. No wall clock: equal forecasts, equal reports."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    version: int = 1
    system: str
    cycle: str
    revision: int
    outcome: Outcome
    lead_days: int = Field(description="the last lead day that was looked at")
    findings: tuple[Finding, ...] = ()
    measures: tuple[Measure, ...] = ()

    def labels(self) -> dict[str, tuple[str, ...]]:
        """What readers are told, by the forecaster's array."""
        arrays = dict.fromkeys(item.array for item in self.findings)
        return {array: tuple(item.sentence for item in self.findings if item.array == array) for array in arrays}


def private_path(cycle: Cycle, revision: int) -> str:
    """Where the report of a refused forecast lies, relative to the store; its pictures lie beside it."""
    return f"{cycle.run_prefix}/output/r{revision}/report.json"


def path(cycle: Cycle, revision: int) -> str:
    """Where the report of a forecast that was not refused lies."""
    return f"{cycle.revision_prefix(revision)}/{DOCUMENT}"


def read(store: Store, cycle: Cycle, revision: int) -> Report | None:
    """The report beside the products, or ``None`` where the forecast was made without one."""
    where = path(cycle, revision)
    found = store.find(where)
    return None if found is None else parsed(Report, found.data, f"{store.uri}/{where}")
