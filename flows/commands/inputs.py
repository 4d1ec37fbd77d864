"""Commands about what forecasts are made from."""

from __future__ import annotations

from flows.commands.options import Day, Debug, Inputs, Seed, StoreUri, SystemName
from flows.sentences import sentences


def sources(
    day: Day, system: SystemName = "twin", inputs: Inputs = None, store: StoreUri = None, seed: Seed = 0,
    debug: Debug = False,
) -> None:  # fmt: skip
    """What each archive has for the start of DATE, how old it is, and which of them a run would take."""
    with sentences(debug):
        from flows import archives

        archives.show(day, system, inputs, store, seed)
