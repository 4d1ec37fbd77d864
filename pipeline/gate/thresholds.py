"""The two thresholds of a check, of whatever is judged: by which value it is labelled, and by which it is refused."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from pydantic import Field

from pipeline.variables import Entry


class Outcome(StrEnum):
    """What becomes of what was judged."""

    ACCEPT = "accept"
    LABEL = "accept-degraded"
    REFUSE = "refuse"


class Thresholds(Entry):
    """``label``, ``refuse``: ``None`` where the check never does. ``least``: True where small values are the bad ones.

    ``units``: of the value. ``origin``: where the two come from.
    """

    label: float | None = None
    refuse: float | None = None
    least: bool = False
    units: str
    origin: str = Field(min_length=20)

    def passed(self, value: float, threshold: float | None) -> bool:
        """Whether a value is on the bad side of a threshold."""
        return threshold is not None and (value < threshold if self.least else value > threshold)

    def badness(self, value: float) -> float:
        """A number that is the larger the worse a value is."""
        return -value if self.least else value

    @property
    def nearest(self) -> float:
        """The threshold that an ordinary value meets first."""
        nearest = self.label if self.label is not None else self.refuse
        assert nearest is not None
        return nearest

    def needed(self, outcome: Outcome, units: str) -> tuple[float, str]:
        """The threshold behind an outcome, and the same in words."""
        threshold = self.refuse if outcome is Outcome.REFUSE else self.label
        assert threshold is not None
        return threshold, f"{'at least' if self.least else 'at most'} {threshold:g} {units}"


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """What becomes of something with these findings."""
    found = set(outcomes)
    return next((one for one in (Outcome.REFUSE, Outcome.LABEL) if one in found), Outcome.ACCEPT)
