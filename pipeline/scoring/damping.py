"""How long the anomaly of a start is worth keeping: the rival between persistence and climatology.

Damped persistence is the day of the year's climatology at the valid time, and on it what is left of the start's
anomaly: ``exp(-(lead / days) ** POWER)``. A good forecast beats persistence at short leads and climatology at long
ones; this beats both unless a forecast knows something.

The days are measured, with ``python -m tests.benchmarks.anomaly_lives``, on the twin ocean in two seasons: what is left
of an anomaly after 1, 5, 10, 20 and 30 days (temperature 0.995, 0.90, 0.70, 0.41, 0.19) is that to 0.03. They are
constants of the yardstick, fitted to no forecast; no archive of the real ocean at hand is long enough to measure them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.scoring import metrics

Field = NDArray[np.float32]

DAYS: Mapping[str, float] = {
    "to": 21.0, "so": 23.0, "uo": 14.0, "vo": 8.0, "zos": 23.0, "swh": 2.9, "mwp": 1.8, "mwd": 1.8,
    "chl": 25.0, "chlorophytes": 20.0, "diatoms": 30.0, "coccolithophores": 19.0, "cyanobacteria": 14.0, "fe": 436.0,
    "no3": 35.0, "mld": 10.0,
}  # fmt: skip
"""Days after which 1/e of a variable's anomaly is left."""
POWER = 1.5
"""Eddies hold together for a while and then drift apart: slower at first than an exponential, faster later."""


def damped(start: Field, normal_then: Field, normal_now: Field, lead_day: int, variable: str, circular: bool) -> Field:
    """The climatology of the valid time with what is left of the start's anomaly; angles the short way round."""
    left = np.exp(-((lead_day / DAYS[variable]) ** POWER))
    values = normal_now + left * metrics.difference(start, normal_then, circular)
    found: Field = (values % 360.0 if circular else values).astype(np.float32)
    return found
