"""What the gate measures of inputs that are as they should be: ``python -m tests.benchmarks.gate_limits``.

From this the thresholds in ``pipeline/gate/limits.py`` were set. For each check and variable the least, the median and
the largest value, each day of a start beside the day before: the twin on the Coral Sea's points, 12 days of a year and
as many seeds; the twin at 1 degree, 2 days; the real Coral Sea where its files are.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from pipeline import ingest, regrid
from pipeline.contracts import Gridded
from pipeline.errors import GomsError
from pipeline.gate.limits import MEASURING, Check
from pipeline.gate.scene import climatology_of, of_dataset, scene_of
from pipeline.systems import CORAL_SEA, CORAL_SEA_TWIN, TWIN, System
from pipeline.variables import Kind

Values = dict[tuple[str, Check, str], list[float]]
DAY = timedelta(days=1)


def measure(found: Values, name: str, system: System, kind: Kind, when: datetime, **where: object) -> None:
    """Add what every check measures of one start."""
    today, before = (_taken(system, kind, moment, **where) for moment in (when, when - DAY))
    scene = scene_of(today, system.grid_of(kind), when, yesterday=of_dataset(before), forecast=of_dataset(before),
                     normal=climatology_of(kind, today, when))  # fmt: skip
    for check, measuring in MEASURING.items():
        for entry in scene.entries:
            found[name, check, entry.name] += [item.value for item in measuring(scene, entry)]


def _taken(system: System, kind: Kind, when: datetime, **where: object) -> Gridded:
    with TemporaryDirectory() as scratch:
        asked = {"inputs": None, "scratch": Path(scratch), **where}
        return regrid.regrid(ingest.ingest(system, kind, when, **asked), kind, system)  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", default="../shared/realdata", help="folder of the real files")
    parser.add_argument("--only", choices=("real", "regional", "global"))
    asked = parser.parse_args()
    found: Values = defaultdict(list)
    both, every = (Kind.OCEAN, Kind.SURFACE), (Kind.OCEAN, Kind.SURFACE, Kind.WAVES, Kind.BIOGEOCHEMISTRY)
    starts = [("real", CORAL_SEA, kind, datetime(2023, 1, day, tzinfo=UTC), {"inputs": asked.real})
              for kind in both for day in (2, 3, 4)]  # fmt: skip
    first = datetime(2023, 1, 15, tzinfo=UTC)
    starts += [("regional", CORAL_SEA_TWIN, kind, first + 30 * number * DAY, {"seed": number})
               for kind in both for number in range(12)]  # fmt: skip
    starts += [("global", TWIN, kind, datetime(2023, 1, 15, 12, tzinfo=UTC) + 183 * number * DAY, {"seed": number})
               for kind in every for number in range(2)]  # fmt: skip
    for name, system, kind, when, where in starts:
        if asked.only in (None, name):
            try:
                measure(found, name, system, kind, when, **where)
            except GomsError as absence:
                print(f"{name} {kind} {when:%Y-%m-%d}: {absence}")
    for (name, check, field), values in found.items():
        if values:
            print(
                f"{name:<9}{check:<38}{field:<8}{min(values):9.3f}{median(values):9.3f}{max(values):9.3f}{len(values):5}"
            )


if __name__ == "__main__":
    main()
