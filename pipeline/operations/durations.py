"""How long each stage took in the last published cycles, and when a cycle will be published if it takes as long."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from statistics import median, quantiles

from pydantic import BaseModel, ConfigDict, Field

from pipeline.record.journal import Event, Note
from pipeline.record.marks import STAGES


class StageHistory(BaseModel):
    """What a stage took in the last published cycles that did it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    stage: str = Field(description="name of the stage")
    median_seconds: float = Field(description="half of the cycles took no longer, in seconds")
    spread_seconds: float = Field(description="added to the median: nine in ten cycles took no longer, in seconds")
    cycles: int = Field(description="how many cycles this is from")


class Estimate(BaseModel):
    """When a cycle will be published, if its stages take what they took before."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    likely: datetime = Field(description="if every stage takes its median")
    latest: datetime = Field(description="if every stage takes as long as the slowest but one in ten")
    cycles: int = Field(description="how many published cycles it is from")


def history(journals: Iterable[Sequence[Note]]) -> tuple[StageHistory, ...]:
    """The stages' history, in their order; ``journals``: those of published cycles.

    A stage that fewer than half of the cycles did (an optional input was mostly absent) is left out. A stage that a
    cycle did several times counts with its last time; one that was only reused is not a duration.
    """
    taken = [_seconds(notes) for notes in journals]
    measured = [found for found in taken if found]
    stages = {stage: [found[stage] for found in measured if stage in found] for stage in STAGES}
    return tuple(_summary(stage, seconds) for stage, seconds in stages.items() if 2 * len(seconds) >= len(measured) > 0)


def estimate(
    stages: Sequence[StageHistory], current: str, since: datetime | None, moment: datetime
) -> Estimate | None:  # fmt: skip
    """When a cycle is published that is at stage ``current`` since then (``None``: it will be there at ``moment``).

    ``None`` where nothing is known of the stages. A stage that takes longer than nine in ten did may, as far as
    anybody knows, take as long again as it is overdue: a stage that hangs is so seen before the deadline.
    """
    left = [item for item in stages if STAGES.index(item.stage) >= STAGES.index(current)]
    if not stages:
        return None
    elapsed = 0.0 if since is None else max(0.0, (moment - since).total_seconds())
    likely = latest = 0.0
    for item in left:
        spent = elapsed if item.stage == current else 0.0
        worst = item.median_seconds + item.spread_seconds
        likely += max(0.0, item.median_seconds - spent, spent - worst)
        latest += abs(worst - spent)
    cycles = max(item.cycles for item in stages)
    return Estimate(
        likely=moment + timedelta(seconds=likely), latest=moment + timedelta(seconds=max(likely, latest)), cycles=cycles
    )


def _seconds(notes: Sequence[Note]) -> dict[str, float]:
    return {
        note.stage: note.seconds
        for note in notes
        if note.event is Event.STAGE and note.stage in STAGES and note.seconds is not None
    }


def _summary(stage: str, seconds: Sequence[float]) -> StageHistory:
    middle = median(seconds)
    worst = quantiles(seconds, n=10, method="inclusive")[-1] if len(seconds) > 1 else middle
    return StageHistory(
        stage=stage, median_seconds=round(middle, 3), spread_seconds=round(max(0.0, worst - middle), 3),
        cycles=len(seconds),
    )  # fmt: skip
