"""Initial state -> thirty forecast days. Here is what a forecaster must be; ``models`` satisfies it unseen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[np.float32]]
"""The numpy treaty. Keys ``ocean``, ``waves``, ``biogeochemistry`` (state: what the next day starts from) and
``kuroshio`` (derived); values float32 in the registry's units, (channel, latitude, longitude), NaN on land."""


class Forecaster(Protocol):
    """Arrays in, one day of named arrays out at a time.

    Day n + 1 depends on nothing but the arrays of day n as they were yielded and the forcing of that step: a
    rollout restarted from any yielded day gives the same bytes as one that was never stopped.
    """

    name: str
    """For people: ``persistence``, or the checkpoint's name."""
    digest: str
    """SHA-256 of the weights; empty where there are none."""
    trained_on: str
    """In words: what ocean the weights have seen."""

    def roll_out(
        self, state: Arrays, forcing: Iterable[NDArray[np.float32]]
    ) -> Iterator[dict[str, NDArray[np.float32]]]:
        """Yield one day per forcing field.

        ``state``: the start, with ``ocean`` and any heads' own state. ``forcing``: for each step, the forcing
        (forcing_channel, latitude, longitude) valid at the *start* of that step, no NaN (``FORCING_TIME``).
        """
        ...


FORCING_TIME = "step_start"
"""The one forcing-time convention, in training and rollout: the step from day n to n + 1 sees the forcing of day n."""
