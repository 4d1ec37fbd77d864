"""Scores -> how good a system is these days: the note on its products, its rolling skill, and whether that drifts.

``<system>/scores/skill.json`` is ``Standing``, made anew after each verification. Skill is measured as the error beside
that of damped persistence, which the season and the weather move as they move the forecast's: what is left is the
forecaster, or its inputs. Of a variable without a climatology there is no damped persistence, and no alarm.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, TypeAdapter

from pipeline import channels
from pipeline.cycle import Cycle
from pipeline.errors import StoreError
from pipeline.products import ProductEntry
from pipeline.scoring import regions
from pipeline.scoring.reliability import Proven, Reliability
from pipeline.scoring.scoreboard import Board
from pipeline.store import Store, parsed, to_json
from pipeline.systems import System
from pipeline.verify import utc

LEADS = (1, 5, 10, 20, 30)
"""Lead days that are told of."""
WATCHED = (1, 5, 10)
"""Lead days whose drift is an alarm: later ones follow a fault by weeks."""
DAY = timedelta(days=1)
ROLLING_DAYS = 30
"""Analyses that rolling skill and the note on the products are from."""
RECENT_DAYS, USUAL_DAYS = 7, 90
"""The week that is held against the three months before it."""
LEAST_RECENT, LEAST_USUAL = 5, 14
"""Scored days without which nothing is said."""
LEAST_DRIFT = 1.1
"""Less than a tenth worse is nobody's night."""
SPREADS = 3.0
"""A week's mean beyond so many of the daily spreads is outside the usual range: days that follow each other are alike,
so that a week's mean spreads almost as single days do."""
RIVALS = ("persistence", "damped", "climatology")


class Drift(BaseModel):
    """A variable whose error, beside damped persistence's, left its usual range: the ratios, and from when to when."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    product: str
    variable: str
    lead_day: int
    ratio: float
    usual: float
    most: float
    days: int
    usual_days: int

    @property
    def words(self) -> str:
        """For the person on call."""
        return (
            f"{self.product} {self.variable} on day {self.lead_day}: error {self.ratio:.2f} of damped persistence's "
            f"over {self.days} days, usually {self.usual:.2f} and at most {self.most:.2f} (of {self.usual_days} days)"
        )


class Standing(BaseModel):
    """How good a system is: rolling skill by product, and what drifts. ``as_of``: the newest analysis scored."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    version: int = 1
    system: str
    as_of: datetime | None
    products: dict[str, Reliability]
    drifts: tuple[Drift, ...]


def refresh(store: Store, system: System) -> Standing:
    """Work out how good a system is and keep it."""
    boards = {entry: board for entry in system.products if (board := Board(store, system, entry)).days}
    last = max((max(board.days) for board in boards.values()), default=None)
    after = None if last is None else last + DAY
    told = {entry.name: found for entry, board in boards.items() if (found := lately(board, entry, after)) is not None}
    drifts = tuple(item for entry, board in boards.items() for item in drifting(board, entry))
    made = Standing(system=system.name, as_of=last, products=told, drifts=drifts)
    store.write_bytes(path(system.name), to_json(made.model_dump(mode="json")))
    return made


def read(store: Store, system: str) -> Standing | None:
    """What was found last, or ``None`` where nothing was scored."""
    found = store.find(path(system))
    return None if found is None else parsed(Standing, found.data, f"{store.uri}/{path(system)}")


def path(system: str) -> str:
    """Where it lies."""
    return f"{system}/scores/skill.json"


def settled(store: Store, system: System, cycle: Cycle, revision: int, who: int, *, decide: bool) -> dict[
    str, Reliability]:  # fmt: skip
    """The note on each product of an edition, decided once: scores that come later change nothing of a run.

    ``who``: the forecaster's ``identity``. ``decide``: keep what is decided; without it nothing is written. Analyses
    are those valid before the cycle's start, so that a hindcast knows no more than the forecast would have.
    """
    where = settled_path(cycle, revision, who)
    found = store.find(where)
    if found is None:
        made = {entry.name: note for entry in system.products
                if (note := _note(store, system, entry, cycle, who)) is not None}  # fmt: skip
        if not decide:
            return made
        store.put_if_absent(where, to_json({name: note.model_dump(mode="json") for name, note in made.items()}))
        found = store.find(where)
        assert found is not None
    return dict(_NOTES.validate_json(found.data))


_NOTES = TypeAdapter(dict[str, Reliability])


def settled_path(cycle: Cycle, revision: int, who: int) -> str:
    """Where it is kept what was decided for an edition."""
    return f"{settled_folder(cycle, revision)}/{who:08x}.json"


def settled_folder(cycle: Cycle, revision: int) -> str:
    """Where what was decided for an edition lies, whoever the forecaster."""
    return f"{cycle.run_prefix}/skill/r{revision}"


def _note(store: Store, system: System, entry: ProductEntry, cycle: Cycle, who: int) -> Reliability | None:
    """A damaged board keeps nobody from a forecast, and the product says that how good it was is not known."""
    try:
        board = Board(store, system, entry)
        return lately(board, entry, cycle.start, who) if board.days else None
    except StoreError:  # names the object: the verification fails with it until the board is mended
        return Reliability(unknown="the scores of earlier forecasts cannot be read")


def lately(board: Board, entry: ProductEntry, before: datetime | None, who: int | None = None) -> Reliability | None:
    """A product's scores over the analyses of the days before one; ``who``: of that forecaster's forecasts alone."""
    days = [day for day in board.days if before is None or before - ROLLING_DAYS * DAY <= day < before]
    if not days:
        return None
    errors, cycles, scored = _errors(board, days), set[datetime](), set[datetime]()
    if who is not None:
        errors = errors.where(errors["forecaster"] == who)
    rows = list[Proven]()
    for item in entry.variables:
        for lead in (lead for lead in LEADS if lead in errors["lead_day"].values):
            part = errors.sel(variable=item.name, lead_day=lead)
            known = part["valid_time"].values[np.isfinite(part["error"].sel(by="forecast").values)]
            if known.size:
                pooled = _pooled(part.sel(valid_time=known))
                rows.append(Proven(variable=item.name, units=item.units, lead_day=lead, cycles=known.size, **pooled))
                scored |= {utc(day) for day in known}
                cycles |= {utc(day) - timedelta(days=lead) for day in known}
    if not rows:
        return None
    return Reliability(first=f"{min(scored):%Y-%m-%d}", last=f"{max(scored):%Y-%m-%d}", cycles=len(cycles),
                       rows=tuple(rows))  # fmt: skip


def drifting(board: Board, entry: ProductEntry) -> Iterator[Drift]:
    """The variables whose error of the last days is outside of what it was before, the worse way."""
    days = sorted(board.days)[-(RECENT_DAYS + USUAL_DAYS) :]
    errors, newest = _errors(board, days), days[-1]
    recent = np.array([newest - day < timedelta(days=RECENT_DAYS) for day in sorted(days)])
    for item in entry.variables:
        for lead in (lead for lead in WATCHED if lead in errors["lead_day"].values):
            part = errors["error"].sel(variable=item.name, lead_day=lead)
            ratio = _log_ratio(part.sel(by="forecast").values, part.sel(by="damped").values)
            now, before = ratio[recent], ratio[~recent]
            now, before = now[np.isfinite(now)], before[np.isfinite(before)]
            if now.size < LEAST_RECENT or before.size < LEAST_USUAL:
                continue
            usual = float(before.mean())
            most = usual + max(SPREADS * float(before.std()), float(np.log(LEAST_DRIFT)))
            if now.mean() > most:
                yield Drift(product=entry.name, variable=item.name, lead_day=lead, ratio=_round(np.exp(now.mean())),
                            usual=_round(np.exp(usual)), most=_round(np.exp(most)), days=now.size,
                            usual_days=before.size)  # fmt: skip


def _errors(board: Board, days: list[datetime]) -> xr.Dataset:
    """``error``, the mean square (by, lead day, valid time in order, variable), all depths and all of the sea."""
    whole = board.opened()
    places = [board.place(day) for day in sorted(days)]
    leads = [lead for lead in sorted({*LEADS, *WATCHED}) if lead in whole["lead_day"].values]
    names = ["mean_square_error", "weight", "forecaster"]
    with board.readable():
        part = whole[names].isel(valid_time=places).sel(lead_day=leads, region=regions.EVERYWHERE.name).load()
    of = [channels.parse(str(label)).variable for label in part["channel"].values]
    found = []
    for name in dict.fromkeys(of):
        here = part.isel(channel=[row for row, other in enumerate(of) if other == name])
        square = here["mean_square_error"].weighted(here["weight"].fillna(0)).mean("channel")
        found.append(square.expand_dims(variable=[name]))
    return xr.Dataset({"error": xr.concat(found, "variable", coords="minimal", compat="override"),
                       "forecaster": part["forecaster"]})  # fmt: skip


def _pooled(part: xr.Dataset) -> dict[str, float]:
    """RMSE of a forecast and of its rivals over some days, each day the same weight; of a rival that has them all."""
    mean = part["error"].mean("valid_time", skipna=False)
    found = {name: float(np.sqrt(mean.sel(by=name))) for name in ("forecast", *RIVALS)}
    return {"rmse" if name == "forecast" else name: _round(error) for name, error in found.items()
            if np.isfinite(error)}  # fmt: skip


def _log_ratio(error: NDArray[Any], rival: NDArray[Any]) -> NDArray[np.float64]:
    """Logarithm of the ratio of two root mean squares; NaN where one is not known or nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = 0.5 * np.log(error.astype(np.float64) / rival.astype(np.float64))
    return np.where(np.isfinite(found), found, np.nan)


def _round(value: float) -> float:
    return float(f"{float(value):.4g}")
