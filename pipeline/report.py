"""Pictures of a forecast and of its skill, as PNG: what a forecaster looks at first.

A map for each variable of a product at its surface on three lead days, colours shared between them; and for each
variable how its error grows with lead time beside persistence and climatology. Whatever is degraded or not of the
real ocean says so in a banner on top. Equal forecasts give equal bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator, MultipleLocator, NullFormatter
from numpy.typing import NDArray

from pipeline import channels, drawing
from pipeline.cycle import Cycle
from pipeline.drawing import DOTS_PER_INCH, INK, PALE
from pipeline.earth import landmask
from pipeline.grids import Grid
from pipeline.objects.opened import opened
from pipeline.products import ProductEntry
from pipeline.scoring import regions
from pipeline.store import ObjectRecord, Store
from pipeline.systems import System
from pipeline.variables import Variable
from pipeline.verify import positions_of

FOLDER = "quicklooks"
"""Where a revision's pictures lie, beside its products."""
LEAD_DAYS = (1, 10, 30)
"""The lead days drawn: tomorrow, the horizon of today's ocean forecasts, and the end of ours."""
SKILL_DEPTHS_M = (0.0, 100.0, 500.0)
"""Depths whose skill is drawn: the surface, the thermocline, and the deepest."""
LINES: dict[str, tuple[str, str | tuple[int, tuple[int, int]], float]] = {
    "forecast": ("#0b5fa5", "-", 2.4),
    "persistence": ("#c2571a", "--", 1.6),
    "damped": ("#8a5aa8", (0, (5, 1)), 1.4),
    "climatology": ("#6b7178", ":", 1.8),
    "bicubic": ("#2a8c62", "-.", 1.6),
}
"""Colour, dash and width of each curve of skill."""

Picture = tuple[str, bytes]
"""A file name and the bytes of the PNG."""
Mask = NDArray[np.bool_]


def quicklooks(
    store: Store, system: System, cycle: Cycle, revision: int, lead_days: Sequence[int] = LEAD_DAYS
) -> Iterator[ObjectRecord]:
    """Draw every product written of a revision and put the pictures beside them under ``quicklooks/``."""
    prefix = cycle.revision_prefix(revision)
    for entry in system.products:
        path = f"{prefix}/{entry.name}.zarr"
        if not store.exists(f"{path}/zarr.json"):
            continue
        with opened(store, path) as product:
            for name, data in maps(product, entry, system, lead_days, sea_of(entry, system)):
                yield store.write_bytes(f"{prefix}/{FOLDER}/{name}", data)


def maps(
    product: xr.Dataset, entry: ProductEntry, system: System, lead_days: Sequence[int] = LEAD_DAYS,
    sea: Mask | None = None,
) -> Iterator[Picture]:  # fmt: skip
    """Yield ``<product>_<variable>.png`` for each variable of a product: its surface on the lead days it has.

    ``sea``: True where there is sea on the product's grid, if that is more than the product reaches.
    """
    positions = positions_of(product)
    leads = [lead for lead in lead_days if lead in positions] or [max(positions)]
    grid = system.product_grid(entry)
    for item in entry.variables:
        days = product[item.name].isel(time=[positions[lead] for lead in leads])
        fields = np.asarray((days.isel(depth=0) if "depth" in days.dims else days).values)
        stamps = [f"Day {lead}, {_date(product, positions[lead])}" for lead in leads]
        title = f"{item.title}, at the surface" if item.has_depth else item.title
        heading = (title, _subtitle(product, system), warnings_of(product, system))
        figure = _map_figure(item, fields, stamps, grid, heading, sea)
        yield f"{entry.name}_{item.name}.png", drawing.png(figure)


def sea_of(entry: ProductEntry, system: System) -> Mask | None:
    """Where the system has sea, for a product on the ocean's grid that may reach less far; else ``None``."""
    if entry.state == "ocean" or system.product_grid(entry) != system.grid:
        return None
    surface: Mask = landmask.depth_mask(system)[0]
    return surface


def warnings_of(product: xr.Dataset, system: System) -> list[str]:
    """What must be said before anything else of a product, or of its scores."""
    found = [] if system.real_ocean else ["SYNTHETIC TWIN OCEAN: not the real ocean"]
    if product.attrs.get("degraded") == "true":
        found.append(f"DEGRADED: {product.attrs['degraded_reasons']}")
    return found


def _subtitle(product: xr.Dataset, system: System) -> str:
    start = product["forecast_reference_time"].values[()]
    return (f"{system.title}  ·  forecast from {_moment(start)}  ·  "
            f"forecaster: {product.attrs.get('forecaster', 'unnamed')}")  # fmt: skip


def _moment(instant: Any) -> str:
    return f"{instant.astype('datetime64[D]')} {int(instant.astype('datetime64[h]').astype(int)) % 24:02d} UTC"


def _date(product: xr.Dataset, position: int) -> str:
    return f"valid {_moment(product['time'].values[position])}"


def _map_figure(
    item: Variable, fields: NDArray[np.float32], stamps: Sequence[str], grid: Grid,
    heading: tuple[str, str, Sequence[str]], sea: Mask | None,
) -> Figure:  # fmt: skip
    """Panels below each other for wide maps, beside each other for others, one colour bar below them."""
    chart = drawing.chart(grid)
    wide = chart.width_over_height > 1.4
    panel_width = 8.2 if wide else 3.4
    panel_height = panel_width / chart.width_over_height
    rows, columns = (len(stamps), 1) if wide else (1, len(stamps))
    gap_x, gap_y, left, right, bottom = 0.55, 0.62, 0.62, 0.35, 0.95
    width = max(8.0, left + columns * panel_width + (columns - 1) * gap_x + right)
    top = drawing.heading_inches(heading[2], width) + 0.28
    height = top + rows * panel_height + (rows - 1) * gap_y + 0.3 + bottom
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH)
    drawing.draw_heading(figure, *heading)
    colours = drawing.scale(item, list(fields))
    images = []
    for number, (field, stamp) in enumerate(zip(fields, stamps, strict=True)):
        row, column = (number, 0) if wide else (0, number)
        x = left + column * (panel_width + gap_x)
        y = height - top - (row + 1) * panel_height - row * gap_y
        axes = figure.add_axes((x / width, y / height, panel_width / width, panel_height / height))
        images.append(drawing.draw_field(axes, field, chart, colours, sea))
        axes.set_title(stamp, loc="left", fontsize=10.5, color=INK, pad=5)
    bar = figure.add_axes((left / width, 0.58 / height, (width - left - right) / width, 0.15 / height))
    _colour_bar(figure, images[0], bar, item, colours)
    if sea is not None and bool((np.isnan(fields[0]) & sea).any()):
        figure.text(1 - right / width, 0.17 / height, "palest grey: sea without values", fontsize=9, color=PALE,
                    ha="right")  # fmt: skip
    return figure


def _colour_bar(figure: Figure, image: AxesImage, axes: Axes, item: Variable, colours: drawing.Scale) -> None:
    bar = figure.colorbar(image, cax=axes, orientation="horizontal", extend=colours.extend, extendfrac=0.02)
    bar.set_label(quantity(item), fontsize=10.5, color=INK)
    if item.circular:
        bar.set_ticks([0, 90, 180, 270, 360], labels=["0 (N)", "90 (E)", "180 (S)", "270 (W)", "360 (N)"])
    elif item.logarithmic:
        ticks = _readings(*colours.limits)
        bar.set_ticks(ticks, labels=[f"{value:g}" for value in ticks])
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        bar.set_ticks(MaxNLocator(nbins=9, steps=[1, 2, 2.5, 5, 10]))
    axes.tick_params(labelsize=9, which="both", color=PALE, labelcolor=INK)
    bar.outline.set(linewidth=0.5, color=PALE)


def _readings(low: float, high: float) -> list[float]:
    """Round numbers on a logarithmic scale: 1, 2, 5 in each decade, or 1 alone over more than three."""
    leading = (1.0,) if high / low > 1e3 else (1.0, 2.0, 5.0)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [n * 10.0**decade for decade in decades for n in leading if low <= n * 10.0**decade <= high]


def quantity(item: Variable) -> str:
    """A quantity and its CF units as axes say it: ``Sea water temperature (degC)``."""
    short = item.title.split(" (")[0].split(",")[0]
    return short if item.units == "1" else f"{short} ({item.units})"


def skill_plots(
    scores: xr.Dataset, entry: ProductEntry, system: System, region: str = regions.EVERYWHERE.name
) -> Iterator[Picture]:
    """Yield ``skill_<product>_<variable>.png``: error, anomaly correlation and activity by lead day in a region."""
    here = scores.sel(region=region)
    place = next(item.title for item in regions.REGIONS if item.name == region)
    labels = [channels.parse(str(label)) for label in scores["channel"].values]
    for item in entry.variables:
        depths = [label.depth_m for label in labels if label.variable == item.name]
        shown = [depth for depth in depths if depth is None or entry.surface_only or depth in SKILL_DEPTHS_M]
        figure = _skill_figure(here, item, shown, place, system)
        yield f"skill_{entry.name}_{item.name}.png", drawing.png(figure)


def _skill_figure(
    here: xr.Dataset, item: Variable, depths: Sequence[float | None], place: str, system: System
) -> Figure:
    count = int(here.attrs.get("cycles", 1))
    warnings = warnings_of(here, system)
    width, panel = 10.6, 2.5
    top = drawing.heading_inches(warnings, width) + 0.3
    height = top + len(depths) * panel + (len(depths) - 1) * 0.62 + 0.95
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH)
    start = str(here.attrs.get("start", "")).replace("T", " ")
    forecasts = f"{count} forecasts" if count > 1 else f"forecast from {start} UTC"
    drawing.draw_heading(figure, f"Skill: {item.title}", f"{place}  ·  {system.title}  ·  {forecasts}  ·  "
                         f"forecaster: {here.attrs.get('forecaster', 'unnamed')}", warnings)  # fmt: skip
    for row, depth in enumerate(depths):
        y = height - top - (row + 1) * panel - row * 0.62
        for column, draw in enumerate((_draw_error, _draw_correlation, _draw_activity)):
            axes = figure.add_axes(((0.75 + column * 3.35) / width, y / height, 2.75 / width, panel / height))
            caption = draw(axes, here, item, depth)
            _finish(axes, here["lead_day"].values, caption, depth, last=row == len(depths) - 1)
    handles, names = figure.axes[1 if warnings else 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="lower center", ncols=len(names), frameon=False, fontsize=10)
    return figure


def _curves(axes: Axes, values: xr.DataArray, names: Sequence[str], here: xr.Dataset) -> None:
    known = [name for name in names if bool(values.sel(by=name).notnull().any())]
    if not known:
        words = "no climatology to measure by" if "no_climatology" in here.attrs else "no values"
        axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", fontsize=9, color=PALE)
    for name in known:
        colour, dash, width = LINES[name]
        line = values.sel(by=name)
        axes.plot(line["lead_day"].values, line.values, linestyle=dash, color=colour, lw=width, label=name,
                  marker="o" if line.size < 8 else None, ms=4)  # fmt: skip


def _channel(here: xr.Dataset, item: Variable, depth: float | None) -> xr.Dataset:
    return here.sel(channel=channels.Channel(item.name, depth).label)


def _draw_error(axes: Axes, here: xr.Dataset, item: Variable, depth: float | None) -> str:
    part = _channel(here, item, depth)
    _curves(axes, part["rmse"], [str(name) for name in part["by"].values], part)
    axes.set_ylim(bottom=0)
    return "Root mean square error" + ("" if item.units == "1" else f" ({item.units})")


def _draw_correlation(axes: Axes, here: xr.Dataset, item: Variable, depth: float | None) -> str:
    part = _channel(here, item, depth)
    _curves(axes, part["acc"], [str(name) for name in part["by"].values if name != "climatology"], part)
    axes.set_ylim(min(0.0, float(part["acc"].fillna(0.0).min())), 1.02)
    return "Anomaly correlation"


def _draw_activity(axes: Axes, here: xr.Dataset, item: Variable, depth: float | None) -> str:
    """How alive the forecast is: 1 is as lively as the truth, below it is blurred."""
    currents = item.name in ("uo", "vo") and "kinetic_energy_ratio" in here
    ratio = here["kinetic_energy_ratio"].sel(current_depth=depth) if currents else _channel(here, item, depth)[
        "activity_ratio"]  # fmt: skip
    _curves(axes, ratio, [str(name) for name in ratio["by"].values if name != "climatology"], here)
    axes.axhline(1.0, color=PALE, lw=0.8)
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.8), max(high, 1.2))
    return "Kinetic energy / truth's" if currents else "Anomalies' spread / truth's"


def _finish(axes: Axes, leads: NDArray[np.int_], caption: str, depth: float | None, *, last: bool) -> None:
    place = "" if depth is None else ", surface" if depth == 0 else f", {depth:g} m"
    axes.set_title(f"{caption}{place}", loc="left", fontsize=10, color=INK)
    axes.set_xlim(min(0, int(leads.min())), int(leads.max()) + 0.5)
    axes.xaxis.set_major_locator(MultipleLocator(5) if leads.max() > 8 else MultipleLocator(1))
    axes.tick_params(labelsize=9, color=PALE, labelcolor=INK)
    axes.grid(color=INK, alpha=0.1, linewidth=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if last:
        axes.set_xlabel("lead time (days)", fontsize=9.5, color=INK)
