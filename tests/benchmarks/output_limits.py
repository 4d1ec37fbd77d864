"""What the laws measure of forecasts that are as they should be: ``python -m tests.benchmarks.output_limits``.

From this the thresholds in ``pipeline/output_gate/limits.py`` were set. For each law, array and variable the least and
the largest value over all lead days and levels, with the lead day and level of it, and the seconds a day takes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline import cycle, forecast, ingest, initialise, regrid, systems
from pipeline.contracts import ForecastDay
from pipeline.forecast import Persistence
from pipeline.output_gate import channels_of, grid_of, season
from pipeline.output_gate.laws import Ruler
from pipeline.systems import System


def rolled(system: System, when: datetime, model: bool, **where: object) -> Iterator[ForecastDay]:
    """The days of a forecast by the system's checkpoint, or by persistence."""
    from flows.journey import trained
    from pipeline.settings import Settings

    with TemporaryDirectory() as scratch:
        asked = {"inputs": None, "scratch": Path(scratch), **where}
        wanted = {entry.state for entry in system.products} | {"surface"}
        kinds = [ladder.kind for ladder in system.ladders if ladder.kind.value in wanted]
        taken = {kind: regrid.regrid(ingest.ingest(system, kind, when, **asked), kind, system) for kind in kinds}  # type: ignore[arg-type]
    state = initialise.initialise(taken, system, when)
    if not model:
        yield from forecast.forecast(state, Persistence(system), system)
        return
    assert system.checkpoint is not None
    made = trained.pinned(system.checkpoint, Settings())
    yield from forecast.forecast(state, trained.OnOcean(made, state, system), system)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--system", default="twin")
    parser.add_argument("--day", default="2023-01-15")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--persistence", action="store_true")
    parser.add_argument("--inputs", help="folder of real files")
    asked = parser.parse_args()
    system = systems.system(asked.system)
    when = datetime.fromisoformat(asked.day).replace(tzinfo=UTC, hour=system.start_hour)
    start: dict[str, float] = {}
    rulers: dict[str, Ruler] = {}
    most: dict[tuple[str, str, str], list[tuple[float, str, int]]] = {}
    spent = 0.0
    days = rolled(system, when, not asked.persistence, inputs=asked.inputs, seed=asked.seed)
    for lead, day in enumerate(days):
        begun = time.process_time()
        for name in map(str, day.data_vars):
            values = day[name].values
            if name not in rulers:
                of = cycle.cycle(system.name, when.date(), when.hour)
                usual = (
                    season.of_ocean(system, of, ~(values != values), channels_of(name, system))
                    if name == "ocean"
                    else None
                )
                print("season", time.process_time() - begun)
                rulers[name] = Ruler(name, channels_of(name, system), grid_of(name, system), usual)
            for figure in rulers[name].figures(values, lead, start):
                channel = rulers[name].channels[figure.row]
                place = (str(figure.law), name, channel.variable)
                most.setdefault(place, []).append((figure.value, channel.label, lead))
            rulers[name].follow(values)
        spent += time.process_time() - begun
    print(f"{spent / (lead + 1):.3f} CPU s a day")
    for place, found in most.items():
        least, largest = min(found), max(found)
        print(f"{place[0]:<40}{place[1]:<9}{place[2]:<9}{least[0]:10.4f} {least[1]:>8} day {least[2]:<3}"
              f"{largest[0]:10.4f} {largest[1]:>8} day {largest[2]}")  # fmt: skip


if __name__ == "__main__":
    main()
