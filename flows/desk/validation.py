"""How a trained model does on the days that its training was judged on: a table, and the scores of its card.

By the product's own measures (``pipeline.scoring``), from starts spread evenly over the validation days, with the
forcing that the archive's policy gives a forecast.
"""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table

from flows.screen import wide
from models.days import Reader
from models.forecaster import ModelForecaster
from models.plans import Plan
from models.stages import evenly
from models.suite import STATE_HEADS
from pipeline.training import archive_scores
from pipeline.training.training_archive import TrainingArchive
from pipeline.verify import Row

WIDTH = 160
"""Columns of the table where there is no terminal."""
LEADS = (1, 2, 5, 10, 20, 30)
"""Lead days that are scored, as far as the recipe's validation goes; its last day is scored too."""


def starts(days: TrainingArchive, plan: Plan) -> list[int]:
    """The days the model will be scored from, none without a validation span; ``TrainingError`` where it is short."""
    if plan.validation is None:
        return []
    return evenly(Reader(days, 0, plan.validation), plan.recipe.validation_lead, plan.recipe.validation_starts)


def scored(days: TrainingArchive, model: ModelForecaster, begin: list[int], lead: int) -> dict[str, tuple[Row, ...]]:
    """By array, a row for each variable and lead day, over all starts."""
    labels = {"ocean": model.ocean_channels, "waves": model.wave_channels, "kuroshio": model.kuroshio_channels,
              "biogeochemistry": model.biogeochemistry_channels}  # fmt: skip
    names = [name for name, own in labels.items() if own and days.channels.get(name) == tuple(own)]
    leads, found = sorted({*(one for one in LEADS if one < lead), lead}), []
    for start in begin:
        state = {name: days.array(name, start) for name in names if name in ("ocean", *STATE_HEADS)}
        forcing = days.forcing(start, lead)
        held = {**state, **model.derive(state, forcing[0])}
        found.append(archive_scores.scored(days, start, names, leads, model.roll_out(state, forcing), held))
    return archive_scores.pooled(found, leads)


def named(rows: Mapping[str, tuple[Row, ...]]) -> dict[str, float]:
    """The errors as a card has them: "ocean to day 5", and "ocean to day 5 persistence"."""
    found: dict[str, float] = {}
    for name, every in rows.items():
        for row in every:
            key = f"{name} {row.variable} day {row.lead_day}"
            found |= {key: float(f"{row.rmse:.5g}"), f"{key} persistence": float(f"{row.persistence:.5g}")}
    return found


def show(rows: Mapping[str, tuple[Row, ...]], count: int) -> None:
    """Print a table: root mean square error of the model, then persistence's, by variable and lead day."""
    leads = sorted({row.lead_day for every in rows.values() for row in every})
    shown = Table(title=f"validation days, {count} starts: RMSE of the model / persistence", title_justify="left")
    for heading in ("array", "variable", "unit", *(f"day {lead}" for lead in leads)):
        shown.add_column(heading, no_wrap=True)
    for name, every in rows.items():
        for variable in dict.fromkeys(row.variable for row in every):
            own = {row.lead_day: row for row in every if row.variable == variable}
            cells = [f"{own[lead].rmse:.3g} / {own[lead].persistence:.3g}" for lead in leads]
            shown.add_row(name, variable, next(iter(own.values())).units, *cells)
    wide(WIDTH).print(shown)
