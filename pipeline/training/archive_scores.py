"""How forecasts from an archive's days did against the days that followed, by the measures published forecasts have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline import channels, verify
from pipeline.cycle import cycle
from pipeline.earth import climatology, monthly_means
from pipeline.scoring import metrics
from pipeline.training.training_archive import TrainingArchive
from pipeline.variables import Kind
from pipeline.verify import Compared, Row

Field = NDArray[np.float32]
Arrays = Mapping[str, Field]


def scored(days: TrainingArchive, start: int, names: Sequence[str], leads: Sequence[int], rollout: Iterable[Arrays],
           held: Arrays) -> dict[str, xr.Dataset]:  # fmt: skip
    """By array, the scores of one forecast from day ``start`` on these lead days, beside persistence and climatology.

    ``rollout``: its days, the first one day on; ``held``: the arrays of the start, which persistence repeats.
    """
    found: dict[str, list[xr.Dataset]] = {name: [] for name in names}
    for lead, day in enumerate(islice(rollout, max(leads)), start=1):
        if lead in leads:
            for name, compared in _compared(days, start, lead, names, day, held):
                entries = tuple(channels.parse(label) for label in days.channels[name])
                found[name].append(verify.scored(compared, entries, days.contract.grids[name]))
    said = {"cycles": 1, "start": str(days.date_of(start))}
    return {name: metrics.derived(xr.concat(every, "lead_day", data_vars="minimal", coords="minimal",
                                            compat="override", join="exact")).assign_attrs(said)
            for name, every in found.items()}  # fmt: skip


def pooled(starts: Sequence[Mapping[str, xr.Dataset]], leads: Sequence[int]) -> dict[str, tuple[Row, ...]]:
    """By array, a row for each variable and lead day, over the forecasts from all starts."""
    return {name: verify.summary(verify.combine([one[name] for one in starts]), leads) for name in starts[0]}


def _compared(days: TrainingArchive, start: int, lead: int, names: Sequence[str], day: Arrays, held: Arrays
              ) -> Iterator[tuple[str, Compared]]:  # fmt: skip
    for name in names:
        usual, truth = _usual(days, name, start + lead), days.array(name, start + lead)
        fields = {"forecast": day[name], "persistence": held[name], "climatology": usual}
        yield name, Compared(lead, np.datetime64(days.date_of(start + lead), "ns"), fields, truth, usual)


def _usual(days: TrainingArchive, name: str, day: int) -> Field | None:
    """The day of the year's mean: the archive's own where it has one, else the packaged.

    ``None`` for waves and plankton of the real ocean, of which no mean is packaged.
    """
    when = days.date_of(day)
    if name == "ocean":
        return days.climatology(name, when).astype(np.float32)
    kind = Kind.OCEAN if name == "kuroshio" else Kind(name)
    if days.contract.real_ocean and kind in monthly_means.KINDS:
        return None
    grid, entries = days.contract.grids[name], [channels.parse(label) for label in days.channels[name]]
    moment = cycle(days.contract.system, when, days.contract.start_hour).start
    fields = climatology.fields(kind, moment, grid.latitude, grid.longitude, days.contract.depths_m[:1])
    return np.stack([np.asarray(fields[c.variable]).reshape(-1, *grid.shape)[0] for c in entries])
