"""Which instants of an archive stand for the one asked for: the step itself, a near or older one, the day's mean."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from pipeline.sources import Request
from pipeline.sources.holdings import Stamps, instant

NEAREST_HOURS = 3
"""How far from the instant a step may lie that stands in for a missing one: the archive's own step."""
STEPS_A_DAY, FEWEST_STEPS = 8, 6
"""Three-hourly steps of a day, and how many of them make its mean: with two absent the tide still averages out to
about an eighth of its height."""
HOUR, DAY = np.timedelta64(3600, "s"), np.timedelta64(86400, "s")


class Sampling(StrEnum):
    """What of a day's steps is taken."""

    SNAPSHOT = "snapshot"
    DAILY_MEAN = "daily mean"


class Chosen(NamedTuple):
    """The steps that are taken; ``stands_for``: the instant their field is of; ``reason``: why not what was asked."""

    stamps: tuple[np.datetime64, ...]
    stands_for: np.datetime64
    reason: str
    exact: bool


def choose(held: Stamps, request: Request, sampling: Sampling) -> Chosen | None:
    """The request's instant; else the nearest within three hours; else the newest at its hour that its age allows.

    Of two steps equally near, the earlier. A daily mean is that of the instant's UTC day. A step is missing only where
    the archive has later ones: what comes after the last has not landed yet, and nothing stands in for it.
    """
    when = instant(request.when)
    find = _snapshot if sampling is Sampling.SNAPSHOT else _mean
    for days in range(int(request.maximum_age_days) + 1):
        if chosen := find(held, when - days * DAY, allow_near=days == 0):
            return chosen._replace(exact=chosen.exact and days == 0)
    return None


def common(stamps: Iterable[Stamps]) -> Stamps:
    """The instants that all have."""
    every = list(stamps)
    shared = every[0] if every else np.array([], dtype="datetime64[s]")
    for other in every[1:]:
        shared = np.intersect1d(shared, other)
    return shared


def _snapshot(held: Stamps, when: np.datetime64, allow_near: bool) -> Chosen | None:
    if (held == when).any():
        return Chosen((when,), when, "", exact=True)
    gap = allow_near and bool((held > when).any())
    near = held[np.abs(held - when) <= NEAREST_HOURS * HOUR] if gap else held[:0]
    if not near.size:
        return None
    stamp = near[np.abs(near - when).argmin()]
    hours = float((stamp - when) / HOUR)
    side = "after" if hours > 0 else "before"
    reason = f"no step at {when}: the nearest, {stamp}, {abs(hours):g} h {side} it, stands in"
    return Chosen((stamp,), stamp, reason, exact=False)


def _mean(held: Stamps, when: np.datetime64, allow_near: bool) -> Chosen | None:
    start = when.astype("datetime64[D]").astype("datetime64[s]")
    steps = [start + 24 // STEPS_A_DAY * HOUR * step for step in range(STEPS_A_DAY)]
    there = tuple(step for step in steps if (held == step).any())
    missing = ", ".join(str(step)[11:13] + "Z" for step in steps if step not in there)
    if len(there) < FEWEST_STEPS or not (held >= steps[-1]).any():
        return None
    reason = f"the day's mean lacks {len(steps) - len(there)} of its {len(steps)} steps: {missing}" if missing else ""
    return Chosen(there, when, reason, exact=not missing)
