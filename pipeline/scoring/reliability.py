"""How good a product's forecasts were lately, as its metadata says it: with of how many cycles, or not at all."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict


class Proven(BaseModel):
    """One variable at one lead day: RMSE over some cycles, beside what it must beat, over the same cells and days.

    ``damped`` and ``climatology`` are ``None`` where there is no climatology of one of these days.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    variable: str
    units: str
    lead_day: int
    cycles: int
    rmse: float
    persistence: float
    damped: float | None = None
    climatology: float | None = None

    @property
    def words(self) -> str:
        """In a few words."""
        unit = "" if self.units == "1" else f" {self.units}"
        rivals = {"persistence": self.persistence, "damped": self.damped, "climatology": self.climatology}
        beside = ", ".join(f"{name} {error:g}" for name, error in rivals.items() if error is not None)
        return f"{self.variable} {self.rmse:g}{unit} on day {self.lead_day} ({beside}; {self.cycles} cycles)"


class Reliability(BaseModel):
    """What is known of a product's forecasts by the same forecaster, from analyses before the start.

    ``first``, ``last``: the days of those analyses. ``cycles``: how many forecasts were scored against them.
    ``unknown``: why nothing is known although there are scores.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    first: str = ""
    last: str = ""
    cycles: int = 0
    rows: tuple[Proven, ...] = ()
    unknown: str = ""

    @property
    def attributes(self) -> dict[str, Any]:
        """``skill`` for people, ``skill_cycles``, and ``skill_scores`` (JSON) for machines."""
        if self.unknown:
            return {"skill": f"not known: {self.unknown}"}
        rows = [row.model_dump(mode="json") for row in self.rows]
        return {
            "skill": f"root mean square errors of this forecaster's forecasts against the analyses of {self.first} to "
            f"{self.last}, all depths: " + "; ".join(row.words for row in self.rows),
            "skill_cycles": self.cycles,
            "skill_scores": json.dumps(rows, sort_keys=True),
        }
