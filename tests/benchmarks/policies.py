"""What each policy for the weather of the days to come costs in skill, on the twin, whose weather is always known.

    python -m tests.benchmarks.policies 2024-05-10 2025-08-15 [--leads 5,10,20,30] [--checkpoint FOLDER]

From each start the same model forecasts under each policy: ``analysis`` (a hindcast: the weather that came, given as a
forecast without error), ``persistence``, ``relaxed`` with the constants for archives whose memory is not known, and
``relaxed`` with the memory that the checkpoint's archive was measured to have. By the product's own code, in one
process. A table in Markdown: root mean square error over all depths and starts; bold: the least of the policies that a
forecast can follow. The dates must lie outside the checkpoint's training days.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from flows.journey.trained import OnOcean, from_folder, pinned
from models.forecaster import ModelForecaster
from pipeline import channels, forecast, initialise, systems, truth, verify
from pipeline.contracts import InitialState
from pipeline.cycle import cycle
from pipeline.forcing import DECORRELATION_DAYS
from pipeline.output_gate import channels_of
from pipeline.products import ProductEntry
from pipeline.scoring import metrics
from pipeline.settings import Settings
from pipeline.systems import System
from pipeline.truth import Edge
from pipeline.variables import Kind
from pipeline.verify import Compared

Field = NDArray[np.float32]
Fields = Mapping[str, Field]

POLICIES = ("analysis", "persistence", "relaxed", "relaxed, fitted")
"""As the table calls them; the first no forecast can follow."""
PRODUCTS = ("ocean", "waves", "biogeochemistry")
KINDS = (Kind.OCEAN, Kind.SURFACE, Kind.WAVES, Kind.BIOGEOCHEMISTRY)


class Start(NamedTuple):
    """Where forecasts begin: the state, and with it the weather that came, by lead day."""

    when: datetime
    initial: InitialState
    hindcast: InitialState


def started(system: System, when: datetime, steps: int, edge: Edge) -> Start:
    """The twin's state of a moment, alone and with the weather of the ``steps - 1`` days after it."""
    gridded = {kind: truth.of_kind(system, kind, when, edge) for kind in KINDS}
    days = [truth.of_kind(system, Kind.SURFACE, when + timedelta(days=lead), edge).load() for lead in range(1, steps)]
    initial = initialise.initialise(gridded, system, when).load()
    names = [channel.variable for channel in channels.weather()]
    values = np.stack([np.stack([day[name].values for name in names]) for day in days])
    coords = {"future_lead_day": list(range(1, steps)), "future_channel": names,
              "forcing_latitude": initial["forcing_latitude"].values,
              "forcing_longitude": initial["forcing_longitude"].values}  # fmt: skip
    future = xr.DataArray(values.astype(np.float32), coords=coords, dims=tuple(coords))
    return Start(when, initial, InitialState(initial.assign(future=future)))


def rolled(
    start: Start, model: ModelForecaster, system: System, policy: str, leads: Sequence[int]
) -> dict[int, Fields]:
    """The forecast's arrays on these lead days and on day 0, under a policy."""
    initial = start.hindcast if policy == "analysis" else start.initial
    named = {"analysis": "forecast", "relaxed, fitted": "relaxed"}.get(policy, policy)
    of = system.model_copy(update={"forcing_policy": named, "forecast_days": max(leads)})
    forecaster = OnOcean(model, initial, of)
    forecaster.forcing_memory_days = model.forcing_memory_days if policy == POLICIES[-1] else DECORRELATION_DAYS
    days = enumerate(forecast.forecast(initial, forecaster, of))
    return {lead: {name: day[name].values for name in PRODUCTS if name in day} for lead, day in days
            if lead in (0, *leads)}  # fmt: skip


def scored(start: Start, runs: Mapping[str, dict[int, Fields]], system: System, entry: ProductEntry,
           leads: Sequence[int], edge: Edge) -> xr.Dataset:  # fmt: skip
    """One product's scores under every policy, beside no change at all."""
    wanted, normal, found = channels_of(entry.state, system), verify.day_of_year(system), []
    for lead in leads:
        when = start.when + timedelta(days=lead)
        stacked = partial(verify._stack, wanted=wanted, system=system)
        happened, usual = stacked(truth.analysed(system, edge)(entry, when)), stacked(normal(entry, when))
        fields = {policy: days[lead][entry.state] for policy, days in runs.items()}
        unchanged = next(iter(runs.values()))[0][entry.state]
        day = Compared(lead, np.datetime64(when.replace(tzinfo=None), "ns"),
                       {"forecast": unchanged, **fields}, happened, usual)  # fmt: skip
        found.append(verify.scored(day, wanted, system.product_grid(entry)))
    scores = xr.concat(found, "lead_day", data_vars="minimal", coords="minimal", compat="override", join="exact")
    return metrics.derived(scores).assign_attrs(cycles=1, start=f"{start.when:%Y-%m-%d}")


def lines(product: str, scores: xr.Dataset, leads: Sequence[int], policies: Sequence[str]) -> Iterator[str]:
    """A Markdown line for each variable; its rows as ``verify.summary`` pools them, policy by policy."""
    rows = {}
    for policy in ("forecast", *policies):
        alone = scores.sel(by=[policy]).assign_coords(by=["forecast"])
        beside = xr.concat([alone, *(alone.assign_coords(by=[name]) for name in ("persistence", "climatology"))], "by",
                           data_vars="minimal", coords="minimal", compat="override")  # fmt: skip
        for row in verify.summary(beside, leads):
            rows[row.variable, row.lead_day, policy] = row
    for variable in dict.fromkeys(name for name, _, _ in rows):
        cells = []
        for lead in leads:
            errors = {policy: rows[variable, lead, policy].rmse for policy in policies}
            said = {policy: f"{error:.3g}" for policy, error in errors.items()}
            own = {said[policy]: error for policy, error in errors.items() if policy != "analysis"}
            least = min(own, key=lambda text: own[text]) if len(own) > 1 else ""
            cell = " / ".join(f"**{text}**" if text == least and policy != "analysis" else text
                              for policy, text in said.items())  # fmt: skip
            cells.append(f"{cell} ({rows[variable, lead, 'forecast'].rmse:.3g})")
        yield f"| {product} | `{variable}` | {rows[variable, leads[0], 'forecast'].units} | {' | '.join(cells)} |"


def main() -> None:
    """Forecast from every start under every policy, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("days", nargs="+", type=datetime.fromisoformat, help="starts, YYYY-MM-DD")
    parser.add_argument("--system", default="twin")
    parser.add_argument("--checkpoint", type=Path, help="a folder; else the checkpoint that the system pins")
    parser.add_argument("--leads", default="5,10,20,30")
    asked = parser.parse_args()
    system, settings, leads = systems.system(asked.system), Settings(), [int(lead) for lead in asked.leads.split(",")]
    assert system.checkpoint is not None
    model = pinned(system.checkpoint, settings) if asked.checkpoint is None else from_folder(asked.checkpoint, settings)
    policies = POLICIES if model.forcing_memory_days else POLICIES[:-1]
    entries = [entry for entry in system.products if entry.state in PRODUCTS]
    pooled: dict[str, list[xr.Dataset]] = {entry.name: [] for entry in entries}
    with tempfile.TemporaryDirectory() as scratch:
        edge = Edge(None, Path(scratch))
        for day in asked.days:
            begun = time.perf_counter()
            start = started(system, cycle(system.name, day.date(), system.start_hour).start, max(leads), edge)
            runs = {policy: rolled(start, model, system, policy, leads) for policy in policies}
            for entry in entries:
                pooled[entry.name].append(scored(start, runs, system, entry, leads, edge))
            print(f"{day:%Y-%m-%d}: {time.perf_counter() - begun:.0f} s", flush=True)
    print(f"\n{model.name} {model.digest[:12]}, {len(asked.days)} starts; RMSE {' / '.join(policies)} (no change)")
    if policies == POLICIES:
        print(f"fitted: {', '.join(f'{name} {days:.2g} d' for name, days in model.forcing_memory_days.items())}")
    print(f"\n| product | variable | unit | {' | '.join(f'day {lead}' for lead in leads)} |")
    print("|---|---|---|" + "---|" * len(leads))
    for name, every in pooled.items():
        print("\n".join(lines(name, verify.combine(every), leads, policies)))


if __name__ == "__main__":
    main()
