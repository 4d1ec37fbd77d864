"""Skill on a real year of surface currents: a checkpoint beside persistence, damped persistence and the training mean.

    goms archive 2002-01-01 2003-01-01 --system agulhas --inputs FILE --fit-until 2002-09-30 --out build/agulhas.zarr
    goms train backbone build/agulhas.zarr --preset agulhas --validate-until 2002-10-15 --out build/agulhas
    python -m tests.benchmarks.globcurrent build/agulhas.zarr build/agulhas --from 2002-10-16 [--leads 1,2,5,7,10,20,30]

Every day of the held-out span that has 30 days after it is a start. Errors are over ocean cells, weighted by area;
anomalies, for the correlation, about the training mean. Damped persistence is the training mean and what is left of
the start's anomaly, by the regression of each lead on the training days. Bold: better than all three.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.forecaster import ModelForecaster, load
from pipeline.training.training_archive import TrainingArchive

Fields = NDArray[np.float64]


class Sample(NamedTuple):
    """By lead and channel: mean square errors, the anomalies' product and squares; by lead, kinetic energies."""

    errors: Fields
    products: Fields
    energy: Fields


class Ruler:
    """The archive's ocean: its weights, its training mean, and what is left of an anomaly after each lead."""

    def __init__(self, days: TrainingArchive, leads: int) -> None:
        self.days, first = days, int(days.starts(1)[0])
        ocean = np.isfinite(days.ocean(first))
        weights = ocean * days.contract.grids["ocean"].areas_m2
        self.weights = weights / weights.sum(axis=(1, 2), keepdims=True)
        self.mean = np.nan_to_num(days.climatology("ocean", days.first_day))
        self.left = self._left(leads)

    def state(self, day: int) -> Fields:
        """A day's currents, zero on land."""
        return np.nan_to_num(self.days.ocean(day)).astype(np.float64)

    def _left(self, leads: int) -> Fields:
        """(lead, channel): regression of the anomaly ``lead`` days on upon that of the day, over the fitted days."""
        first, last = self.days.fit
        anomalies = np.stack([self.state(day) - self.mean for day in range(first, last + 1)])
        left = [self._summed(anomalies[:-lead] * anomalies[lead:]) / self._summed(anomalies[:-lead] ** 2)
                for lead in range(1, leads + 1)]  # fmt: skip
        return np.stack(left)

    def _summed(self, fields: Fields) -> Fields:
        return np.asarray((fields * self.weights).sum(axis=(0, 2, 3)))

    def over_ocean(self, fields: Fields) -> Fields:
        """(..., channel): the mean over ocean cells of (..., channel, latitude, longitude)."""
        return np.asarray((fields * self.weights).sum(axis=(-2, -1)))

    def judged(self, forecast: Fields, truth: Fields) -> Sample:
        """A forecast (lead, channel, latitude, longitude) against what came."""
        ours, theirs = forecast - self.mean, truth - self.mean
        products = np.stack([self.over_ocean(pair) for pair in (ours * theirs, ours**2, theirs**2)])
        energy = np.stack([self.over_ocean(field**2).sum(axis=-1) for field in (forecast, truth)])
        return Sample(self.over_ocean((forecast - truth) ** 2), products, energy)


def forecasts(checkpoint: Path, ruler: Ruler, start: int, leads: int) -> Iterator[tuple[str, Fields]]:
    """What the model and each yardstick say, (lead, channel, latitude, longitude)."""
    days, now = ruler.days, ruler.state(start)
    rollout = MODELS[checkpoint].roll_out({"ocean": days.ocean(start)}, days.forcing(start, leads))
    yield "model", np.stack([np.nan_to_num(day["ocean"]) for day in rollout]).astype(np.float64)
    yield "persistence", np.broadcast_to(now, (leads, *now.shape))
    yield "damped", ruler.mean + ruler.left[:, :, None, None] * (now - ruler.mean)
    yield "climatology", np.broadcast_to(ruler.mean, (leads, *now.shape))


MODELS: dict[Path, ModelForecaster] = {}
"""Those that were loaded."""
RIVALS = ("persistence", "damped", "climatology")
"""The yardsticks."""


def scores(checkpoint: Path, archive: str, first: date, leads: int) -> tuple[dict[str, Sample], int]:
    """Of the model and each yardstick, means over the starts; and how many there were."""
    days = TrainingArchive(archive)
    MODELS.setdefault(checkpoint, load(checkpoint))
    ruler, found = Ruler(days, leads), dict[str, list[Sample]]()
    starts = days.starts(leads, days.index_of(first))
    for start in starts.tolist():
        truth = np.stack([ruler.state(start + lead) for lead in range(1, leads + 1)])
        for name, forecast in forecasts(checkpoint, ruler, start, leads):
            found.setdefault(name, []).append(ruler.judged(forecast, truth))
    means = {name: Sample(*(np.mean(np.stack(kind), axis=0) for kind in zip(*samples, strict=True)))
             for name, samples in found.items()}  # fmt: skip
    return means, int(starts.size)


def lines(found: dict[str, Sample], labels: tuple[str, ...], leads: list[int]) -> Iterator[str]:
    """A Markdown table: for each lead RMSE of each current beside the yardsticks', ACC, and the energy ratio."""
    said = " / ".join(RIVALS)
    heads = [f"{label}: model / {said}" for label in labels]
    yield f"| day | {' | '.join(heads)} | ACC | energy ratio |"
    yield "|---|" + "---|" * (len(labels) + 2)
    for lead in leads:
        cells = []
        for channel in range(len(labels)):
            root = {name: float(np.sqrt(one.errors[lead - 1, channel])) for name, one in found.items()}
            best = root["model"] < min(root[name] for name in RIVALS)
            ours = f"**{root['model']:.3f}**" if best else f"{root['model']:.3f}"
            cells.append(" / ".join([ours, *(f"{root[name]:.3f}" for name in RIVALS)]))
        yield f"| {lead} | {' | '.join(cells)} | {_correlation(found, lead)} | {_energy(found, lead)} |"


def _correlation(found: dict[str, Sample], lead: int) -> str:
    values = []
    for name in ("model", "persistence"):
        product, ours, theirs = found[name].products[:, lead - 1]
        values.append(f"{float(np.mean(product / np.sqrt(ours * theirs))):.2f}")
    return " / ".join(values)


def _energy(found: dict[str, Sample], lead: int) -> str:
    ratios = [found[name].energy[0, lead - 1] / found[name].energy[1, lead - 1] for name in ("model", "damped")]
    return " / ".join(f"{ratio:.2f}" for ratio in ratios)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--from", dest="first", type=date.fromisoformat, default=date(2002, 10, 16))
    parser.add_argument("--leads", default="1,2,3,5,7,10,15,20,30")
    asked = parser.parse_args()
    leads = [int(lead) for lead in asked.leads.split(",")]
    found, starts = scores(asked.checkpoint, asked.archive, asked.first, max(leads))
    print(f"{starts} starts from {asked.first}; RMSE in m s-1; ACC of model / persistence; energy of model / damped")
    print("\n".join(lines(found, TrainingArchive(asked.archive).channels["ocean"], leads)))
    for rival in RIVALS:
        won = (found["model"].errors < found[rival].errors).all(axis=1)
        print(f"better than {rival} in both currents at leads: {[int(lead) + 1 for lead in np.flatnonzero(won)]}")


if __name__ == "__main__":
    main()
