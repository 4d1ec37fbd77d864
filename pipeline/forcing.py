"""The future forcing of a forecast: no one has tomorrow's analysis, so it persists, relaxes, or is a weather forecast.

``analysis`` is the weather that came: a hindcast's, known to training alone. ``persistence`` holds the analysis.
``relaxed`` lets its anomaly fade: clim(t0 + n) + (f(t0) - clim(t0)) exp(-n / tau) after n days, with the tau that was
fitted on the archive a model was trained on. ``forecast`` takes the
lead days that a weather forecast holds (``pipeline.foresight``) and relaxes from the last of them on any other; where
there is none it is ``relaxed``. Training, which has no archive of weather forecasts, sees ``relaxed`` for it; otherwise
it sees the sequence of the service. Each field is valid at the start of its step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from pipeline import channels
from pipeline.contracts import InitialState
from pipeline.earth import climatology
from pipeline.errors import UsageError
from pipeline.grids import Grid
from pipeline.systems import ForcingPolicy, System
from pipeline.variables import STATIC, Kind

Field = NDArray[np.float32]

DECORRELATION_DAYS: Mapping[str, float] = MappingProxyType({"u10": 2.0, "v10": 2.0, "t2m": 10.0, "msl": 2.0, "sp": 2.0})
"""Days after which an anomaly is worth 1/e. Winds and pressure follow the passage of weather systems: half a
synoptic period of three to six days. Air temperature over the sea follows the sea's surface, whose anomalies live
longer than the weather; ten days keep what the weather and the sea share. Used where no archive's fit is known: a
training archive measures its own (``archive_statistics``), and a checkpoint carries those it was trained with."""


def future_forcing(initial: InitialState, system: System, steps: int, first_lead: int = 0,
                   memory_days: Mapping[str, float] = DECORRELATION_DAYS) -> Iterator[Field]:  # fmt: skip
    """Yield the forcing of ``steps`` steps, (forcing_channel, latitude, longitude), valid at the start of each.

    The first is that of the step from lead day ``first_lead`` to the next; lead day 0 uses the analysis itself.
    The system's policy says how it goes on; ``memory_days``, by variable, how fast its anomaly fades.
    """
    check_known(system.forcing_policy, f"system {system.name}")
    analysis = np.asarray(initial["forcing"].values, dtype=np.float32)
    start = datetime.fromtimestamp(initial["time"].values.astype("datetime64[s]").astype(int).item(), tz=UTC)
    days = _foreseen(initial, analysis) if system.forcing_policy == "forecast" else {}
    for lead in range(first_lead, first_lead + steps):
        held = max((day for day in days if day <= lead), default=0)
        policy = system.forcing_policy
        yield at_lead(days.get(held, analysis), start + timedelta(days=held), lead - held, system.grid, policy,
                      memory_days)  # fmt: skip


def _foreseen(initial: InitialState, analysis: Field) -> dict[int, Field]:
    """The forcing of each lead day that a weather forecast holds; topography is the analysis's."""
    if "future" not in initial:
        return {}
    static = analysis[len(channels.weather()) :]
    future = initial["future"]
    leads = [int(lead) for lead in future["future_lead_day"].values]
    return {lead: np.concatenate([future.values[row], static]).astype(np.float32) for row, lead in enumerate(leads)}


def check_known(policy: ForcingPolicy, where: str) -> None:
    """``UsageError`` for a policy that needs the weather that came: no forecast has it."""
    if policy == "analysis":
        raise UsageError("a forcing policy that a forecast can follow", found="analysis, which is a hindcast's",
                         where=where, action="choose persistence, relaxed or forecast")  # fmt: skip


def path(analysis: Field, start: datetime, steps: int, grid: Grid, policy: ForcingPolicy,
         memory_days: Mapping[str, float] = DECORRELATION_DAYS) -> Field:  # fmt: skip
    """The same sequence from lead day 0 as one array, (steps, forcing_channel, latitude, longitude)."""
    check_known(policy, "a training archive")
    return np.stack([at_lead(analysis, start, lead, grid, policy, memory_days) for lead in range(steps)])


def at_lead(analysis: Field, start: datetime, lead: int, grid: Grid, policy: ForcingPolicy,
            memory_days: Mapping[str, float] = DECORRELATION_DAYS) -> Field:  # fmt: skip
    """The forcing ``lead`` days after an analysis (forcing_channel, latitude, longitude) of ``start``, float32.

    Of ``forecast`` what it is beyond its last day: ``relaxed``. ``memory_days``: see ``DECORRELATION_DAYS``, which
    stands for a variable that is not in it.
    """
    if lead == 0 or policy == "persistence":
        return analysis.copy()
    then, now = _climatology(start + timedelta(days=lead), grid), _climatology(start, grid)
    return (then + (analysis - now) * _left(lead, memory_days)).astype(np.float32)


def _left(lead: int, memory_days: Mapping[str, float]) -> Field:
    """What is left of an anomaly after ``lead`` days, per channel, (forcing_channel, 1, 1); topography keeps all."""
    days = {**DECORRELATION_DAYS, **memory_days}
    left = [np.exp(-lead / days.get(c.variable, np.inf)) for c in channels.forcing()]
    return np.array(left, dtype=np.float32)[:, None, None]


@lru_cache(maxsize=40)
def _climatology(when: datetime, grid: Grid) -> Field:
    """The mean forcing of that time of the year, 0 for topography, which has no season."""
    fields = climatology.fields(Kind.SURFACE, when, grid.latitude, grid.longitude, ())
    flat = np.zeros(grid.shape, dtype=np.float32)
    static = {entry.name for entry in STATIC}
    return np.stack([flat if c.variable in static else fields[c.variable] for c in channels.forcing()])
