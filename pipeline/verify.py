"""Product and truth -> scores: by lead day, variable, depth and region, beside persistence and climatology.

Scores are a dataset: ``by`` (forecast, persistence, damped, climatology, and bicubic for a downscaled product) x
lead_day x channel x region, with the moments of ``metrics`` and what follows from them. Persistence is the product's
own lead day 0, held; damped what is left of its anomaly on top of the climatology (``damping``); climatology the day of
the year's at the valid time; bicubic the coarse forecast, interpolated. All are compared over the same cells. Lead
days whose truth is not there yet are left out, and ``unverified`` names them.

Waves and plankton of the real ocean have the climatology that the operator made (``goms climatology``), or none: then
there is neither an error of it and of damped persistence nor an anomaly, and ``no_climatology`` says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline import channels, products
from pipeline.channels import Channel
from pipeline.errors import CheckFailed, ForecastRefused, InputUnavailable
from pipeline.forecast import bicubic
from pipeline.grids import Grid
from pipeline.output_gate import channels_of
from pipeline.products import ProductEntry
from pipeline.scoring import damping, metrics, regions
from pipeline.systems import System
from pipeline.truth import Truth
from pipeline.variables import EASTWARD_VELOCITY, NORTHWARD_VELOCITY, Kind, variable

Field = NDArray[np.float32]
Climatology = Callable[[ProductEntry, datetime], Mapping[str, Field]]
"""The day of the year's fields of a product, (depth,) latitude, longitude; raises ``InputUnavailable`` where none."""

DAY = np.timedelta64(1, "D")
KEPT_ATTRIBUTES = ("forecast_system", "real_ocean", "ocean", "forecaster", "forecaster_checkpoint_sha256",
                   "forecaster_trained_on", "future_forcing", "degraded", "degraded_reasons", "id")  # fmt: skip
"""What scores take over from the product they are of."""


class Compared(NamedTuple):
    """One lead day's fields, each (channel, latitude, longitude): several forecasts of one truth.

    What needs a climatology is ``None`` where there is none; ``lack`` says why.
    """

    lead_day: int
    valid_time: np.datetime64
    fields: Mapping[str, Field | None]
    truth: Field
    climatology: Field | None
    lack: str = ""


def verify(
    product: xr.Dataset,
    entry: ProductEntry,
    system: System,
    truth: Truth,
    *,
    coarse: xr.Dataset | None = None,
    lead_days: Sequence[int] | None = None,
    normal: Climatology | None = None,
    progress: Callable[[int], None] | None = None,
) -> xr.Dataset:
    """Score a product against what happened, lead day by lead day, memory flat.

    ``product``: as published, opened lazily. ``coarse``: for a downscaled product, the ocean product of the same
    forecast, to be beaten by interpolation. ``lead_days``: all but 0 unless given. ``normal``: ``day_of_year`` without
    the operator's own unless given. Raises ``InputUnavailable`` where no lead day has a truth; ``ForecastRefused``
    where a product's valid time is not its start plus the lead.
    """
    unverified: list[int] = []
    usual = normal or day_of_year(system)
    labels, grid = channels_of(entry.state, system), system.product_grid(entry)
    days, lacks = [], dict[str, None]()
    for day in compared(product, entry, system, truth, coarse, lead_days, usual, unverified):
        days.append(scored(day, labels, grid))
        lacks |= {day.lack: None} if day.lack else {}
        if progress is not None:
            progress(day.lead_day)
    if not days:
        raise InputUnavailable(
            f"the truth of at least one lead day of product {entry.name}", found=f"none for lead days {unverified}",
            where=f"verification of {product.attrs.get('id', entry.name)}", action="verify again when it is there",
        )  # fmt: skip
    scores = xr.concat(days, "lead_day", data_vars="minimal", coords="minimal", compat="override", join="exact",
                       combine_attrs="override")  # fmt: skip
    said = {"no_climatology": "; ".join(lacks)} if lacks else {}
    return metrics.derived(scores).assign_attrs({**_attributes(product, entry, system, unverified), **said})


def _attributes(product: xr.Dataset, entry: ProductEntry, system: System, unverified: list[int]) -> dict[str, object]:
    kept = {name: product.attrs[name] for name in KEPT_ATTRIBUTES if name in product.attrs}
    start = str(np.datetime_as_string(product["forecast_reference_time"].values, unit="h"))
    return {**kept, "title": f"Scores of {entry.title}", "system": system.name, "product": entry.name,
            "unverified": unverified, "start": start, "cycles": 1}  # fmt: skip


def compared(
    product: xr.Dataset,
    entry: ProductEntry,
    system: System,
    truth: Truth,
    coarse: xr.Dataset | None,
    lead_days: Sequence[int] | None,
    normal: Climatology,
    unverified: list[int],
) -> Iterator[Compared]:
    """Yield each lead day whose truth is there; the others are added to ``unverified``."""
    wanted, positions = channels_of(entry.state, system), positions_of(product)
    where = str(product.attrs.get("id", entry.name))
    with as_published(entry.name, where):
        persisted = _stack(product.isel(time=positions[0]), wanted, system)
    began: Field | None = None
    for lead in sorted(positions) if lead_days is None else lead_days:
        if lead_days is None and lead == 0:
            continue
        when = utc(instant := product["time"].values[positions[lead]])
        try:
            happened = _stack(truth(entry, when), wanted, system)
        except InputUnavailable:
            unverified.append(lead)
            continue
        usual, lack = _usual(normal, entry, when, wanted, system)
        if began is None and usual is not None:
            began, lack = _usual(normal, entry, utc(product["time"].values[positions[0]]), wanted, system)
        with as_published(entry.name, where):
            forecast = _stack(product.isel(time=positions[lead]), wanted, system)
        fields = {
            "forecast": forecast,
            "persistence": persisted,
            "damped": None if began is None or usual is None else _damped(persisted, began, usual, lead, wanted),
            "climatology": usual,
        }
        if coarse is not None:
            with as_published(products.OCEAN.name, where):
                fields["bicubic"] = _interpolated(coarse, lead, wanted, system.grid, system.product_grid(entry))
        yield Compared(lead, instant, fields, happened, usual, lack)


def _usual(
    normal: Climatology, entry: ProductEntry, when: datetime, wanted: tuple[Channel, ...], system: System
) -> tuple[Field | None, str]:  # fmt: skip
    """The climatology of a moment, or ``None`` and why there is none."""
    try:
        return _stack(normal(entry, when), wanted, system), ""
    except InputUnavailable as absence:
        return None, str(absence)


@contextmanager
def as_published(name: str, where: str) -> Iterator[None]:
    """What Zarr and its codecs say of damaged objects of a product, as ``CheckFailed``."""
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError) as trouble:
        raise CheckFailed(
            f"the product {name} as it was published", found=f"{type(trouble).__name__}: {trouble}",
            where=where, action="see what is wrong with the edition: goms check",
        ) from trouble  # fmt: skip


def _damped(start: Field, then: Field, now: Field, lead: int, wanted: tuple[Channel, ...]) -> Field:
    return np.stack([
        damping.damped(start[row], then[row], now[row], lead, c.variable, variable(c.variable).circular)
        for row, c in enumerate(wanted)
    ])  # fmt: skip


def scored(day: Compared, entries: tuple[Channel, ...], grid: Grid) -> xr.Dataset:
    """One lead day's moments, dimensions by, channel, region (and current_depth for the energies)."""
    places = regions.of(grid)
    weights = regions.weights(grid, places)
    rows = [
        metrics.moments(
            {name: None if field is None else field[row] for name, field in day.fields.items()}, day.truth[row],
            None if day.climatology is None else day.climatology[row], weights,
            circular=variable(entry.variable).circular,
        )
        for row, entry in enumerate(entries)
    ]  # fmt: skip
    shared = {"truth_anomaly_variance", "weight", "cells", "coverage"}
    data: dict[str, tuple[tuple[str, ...], metrics.Sums]] = {}
    for name in metrics.Moments._fields:
        if name in shared:
            data[name] = (
                ("lead_day", "channel", "region"),
                np.array([[getattr(row["forecast"], name) for row in rows]]),
            )
        else:
            found = [[getattr(row[by], name) for row in rows] for by in day.fields]
            data[name] = (("lead_day", "by", "channel", "region"), np.array([found]))
    coords = {
        "by": list(day.fields), "lead_day": [day.lead_day], "valid_time": ("lead_day", [day.valid_time]),
        "channel": [entry.label for entry in entries], "region": [place.name for place in places],
    }  # fmt: skip
    return xr.Dataset({**data, **_energies(day, entries, weights)}, coords=coords)


def _energies(day: Compared, entries: tuple[Channel, ...], weights: metrics.Weights) -> dict[str, object]:
    """The currents' kinetic energies by depth, where the product has currents."""
    pairs = [(entries.index(Channel(EASTWARD_VELOCITY.name, entry.depth_m)),
              entries.index(Channel(NORTHWARD_VELOCITY.name, entry.depth_m)), entry.depth_m)
             for entry in entries if entry.variable == EASTWARD_VELOCITY.name]  # fmt: skip
    if not pairs:
        return {}
    found = []
    for east, north, _ in pairs:
        currents = {name: (field[east], field[north]) for name, field in day.fields.items() if field is not None}
        found.append(metrics.energies({**currents, "truth": (day.truth[east], day.truth[north])}, weights))
    said = np.array([[energy.get(name, np.full_like(weight, np.nan)) for energy, weight in found]
                     for name in day.fields])  # fmt: skip
    return {
        "kinetic_energy": (("lead_day", "by", "current_depth", "region"), said[None]),
        "truth_kinetic_energy": (
            ("lead_day", "current_depth", "region"),
            np.array([[energy["truth"] for energy, _ in found]]),
        ),
        "energy_weight": (("lead_day", "current_depth", "region"), np.array([[weight for _, weight in found]])),
        "current_depth": [depth for *_, depth in pairs],
    }


def combine(scores: Sequence[xr.Dataset]) -> xr.Dataset:
    """Several forecasts' scores as one.

    Moments are means weighted with the area compared, so that RMSE is the root of the mean square over all of them;
    what follows is worked out anew. A lead day counts where it was verified. What one of them lacks is NaN of all.
    """
    members = xr.concat(
        [one[[name for name in (*_ADDED, *_WEIGHTS) if name in one]].drop_vars("valid_time") for one in scores],
        "cycle", join="outer", combine_attrs="drop_conflicts", data_vars="all", coords="minimal", compat="equals",
    )  # fmt: skip
    pooled = {name: members[name].sum("cycle", skipna=True) for name in _WEIGHTS if name in members}
    for name in _ADDED:
        if name in members:
            weight = members["energy_weight" if name in metrics.ENERGIES else "weight"]
            total = (members[name] * weight).where(weight > 0, 0.0).sum("cycle", skipna=False)
            summed = weight.sum("cycle", skipna=True)
            pooled[name] = total / summed.where(summed > 0)
    attributes = {**members.attrs, "cycles": sum(int(one.attrs["cycles"]) for one in scores)}
    attributes["start"] = ", ".join(str(one.attrs["start"]) for one in scores)
    return metrics.derived(xr.Dataset(pooled)).assign_attrs(attributes)


_ADDED = (*metrics.MOMENTS, *metrics.ENERGIES, "coverage")
_WEIGHTS = ("weight", "energy_weight", "cells")


class Row(NamedTuple):
    """A line of the table of scores: one variable at one lead day, over all its depths or at one.

    RMSE in ``units`` of the forecast, persistence, climatology and damped persistence (and bicubic interpolation, else
    NaN); the forecast's anomaly correlation and activity ratio; the kinetic-energy ratio of currents, else NaN.
    """

    variable: str
    units: str
    depth_m: float | None
    region: str
    lead_day: int
    rmse: float
    persistence: float
    climatology: float
    bicubic: float
    acc: float
    activity_ratio: float
    kinetic_energy_ratio: float
    cells: int
    damped: float = float("nan")


def summary(
    scores: xr.Dataset,
    lead_days: Sequence[int] = (1, 5, 10, 20, 30),
    *,
    region: str = regions.EVERYWHERE.name,
    depth_m: float | None = None,
) -> tuple[Row, ...]:
    """The table of scores: each variable, in registry order, at those of the lead days that were scored.

    ``depth_m``: at that depth alone; ``None`` pools each variable's depths as ``combine`` pools forecasts.
    """
    here = scores.sel(region=region)
    labels = [channels.parse(str(label)) for label in scores["channel"].values]
    rows = []
    for name in dict.fromkeys(label.variable for label in labels):
        chosen = [row for row, label in enumerate(labels) if label.variable == name
                  and (depth_m is None or label.depth_m in (None, depth_m))]  # fmt: skip
        rows += [
            _row(here.sel(lead_day=lead), chosen, name, depth_m if variable(name).has_depth else None)
            for lead in lead_days
            if lead in here["lead_day"].values
        ]
    return tuple(rows)


def _row(here: xr.Dataset, chosen: list[int], name: str, depth_m: float | None) -> Row:
    part = here.isel(channel=chosen)
    pooled = metrics.derived(part[list(metrics.MOMENTS)].weighted(part["weight"].fillna(0)).mean("channel"))
    rmse = {str(by): float(pooled["rmse"].sel(by=by)) for by in part["by"].values}
    forecast = pooled.sel(by="forecast")
    return Row(
        name, variable(name).units, depth_m, str(here["region"].values), int(here["lead_day"]), rmse["forecast"],
        rmse["persistence"], rmse["climatology"], rmse.get("bicubic", float("nan")), float(forecast["acc"]),
        float(forecast["activity_ratio"]), _energy_ratio(here, name, depth_m), int(part["cells"].sum()),
        rmse.get("damped", float("nan")),
    )  # fmt: skip


def _energy_ratio(here: xr.Dataset, name: str, depth_m: float | None) -> float:
    if name not in (EASTWARD_VELOCITY.name, NORTHWARD_VELOCITY.name):
        return float("nan")
    part = here.sel(by="forecast")
    part = part if depth_m is None else part.sel(current_depth=[depth_m])
    weight = part["energy_weight"]
    real = float((part["truth_kinetic_energy"] * weight).sum())
    return float((part["kinetic_energy"] * weight).sum()) / real if real > 0 else float("nan")


def day_of_year(system: System, archives: Mapping[str, str] = MappingProxyType({})) -> Climatology:
    """The climatology on the grids of a system's products: the packaged one, which is of the real ocean.

    Of waves and plankton that is the synthetic twin's. A system of the real ocean has the operator's there, from the
    folder that ``archives`` name as ``climatology``; ``InputUnavailable`` where there is none.
    """
    from pipeline.earth import climatology, monthly_means

    def fields(entry: ProductEntry, when: datetime) -> Mapping[str, Field]:
        grid, kind = system.product_grid(entry), Kind.OCEAN if entry.state == "kuroshio" else Kind(entry.state)
        if system.real_ocean and kind in monthly_means.KINDS:
            return monthly_means.named(archives, kind, system, when).fields
        depths = system.depths_m[:1] if entry.surface_only else system.depths_m
        found: Mapping[str, Field] = climatology.fields(kind, when, grid.latitude, grid.longitude, depths)
        return found

    return fields


def positions_of(product: xr.Dataset) -> dict[int, int]:
    """Lead day -> position along ``time``; ``ForecastRefused`` unless valid times are the start plus whole days."""
    leads = (product["time"].values - product["forecast_reference_time"].values) / DAY
    stated = product["forecast_period"].values if "forecast_period" in product.coords else leads
    stated = stated / DAY if np.issubdtype(stated.dtype, np.timedelta64) else stated
    if not np.array_equal(leads, np.round(leads)) or not np.array_equal(leads, stated) or 0 not in leads:
        raise ForecastRefused(
            "valid times that are the start plus the lead day, from lead day 0",
            found=f"leads {leads[:3]}... by the dates, {stated[:3]}... as stated",
            where=f"product {product.attrs.get('id', '')}", action="publish the cycle anew",
        )  # fmt: skip
    return {int(lead): position for position, lead in enumerate(leads)}


def _stack(dataset: xr.Dataset | Mapping[str, Field], wanted: tuple[Channel, ...], system: System) -> Field:
    """The channels of a dataset or of plain fields, (channel, latitude, longitude)."""
    names = dict.fromkeys(channel.variable for channel in wanted)
    whole = {name: np.asarray(dataset[name]) for name in names}
    levels = {depth: level for level, depth in enumerate(system.depths_m)}
    return np.stack([
        whole[c.variable] if whole[c.variable].ndim == 2 else whole[c.variable][levels[c.depth_m or 0.0]]
        for c in wanted
    ])  # fmt: skip


def _interpolated(coarse: xr.Dataset, lead: int, wanted: tuple[Channel, ...], grid: Grid, fine: Grid) -> Field:
    day = coarse.isel(time=positions_of(coarse)[lead])
    surface = {c.variable: day[c.variable].isel(depth=0) if "depth" in day[c.variable].dims else day[c.variable]
               for c in wanted}  # fmt: skip
    return np.stack([bicubic(surface[c.variable].values, grid, fine) for c in wanted])


def utc(instant: np.datetime64) -> datetime:
    """An instant of a dataset as everything else has it."""
    return datetime.fromtimestamp(int(instant.astype("datetime64[s]").astype(np.int64)), tz=UTC)
