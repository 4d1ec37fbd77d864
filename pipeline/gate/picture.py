"""A picture of the field that the gate found wanting, beside yesterday's. It is private: for the person on call."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline import drawing
from pipeline.gate.measures import Measured
from pipeline.gate.report import Finding
from pipeline.gate.scene import Field, Level, Scene, levels
from pipeline.variables import Variable, variable

PANEL_INCHES = 6.0


def draw(scene: Scene, finding: Finding, found: Measured, title: str) -> bytes:
    """PNG: the offending level with the cells behind the finding outlined, and the same level of yesterday if known."""
    entry = variable(finding.field)
    level = _level(scene, entry, found.place)
    before = None if scene.yesterday is None else scene.yesterday(entry.name, level.number)
    panels = [("now", level.values)] + ([("yesterday", before)] if before is not None else [])
    chart, colours = drawing.chart(scene.grid), drawing.scale(entry, [field for _, field in panels])
    tall = PANEL_INCHES / chart.width_over_height + 0.6
    width, height = PANEL_INCHES * len(panels) + 1.4, tall + drawing.heading_inches([finding.sentence], 7.0)
    figure = Figure(figsize=(width, height))
    top = drawing.draw_heading(figure, title, f"{entry.title} {level.place} [{entry.units}]", [finding.sentence])
    for number, (name, field) in enumerate(panels):
        left = (0.6 + PANEL_INCHES * number) / width
        axes = figure.add_axes((left, 0.35 / height, (PANEL_INCHES - 0.8) / width, (height - top - 0.65) / height))
        image = drawing.draw_field(axes, field, chart, colours)
        axes.set_title(name, fontsize=10, color=drawing.INK)
        if name == "now" and found.bad is not None:
            _outline(axes, chart, found.bad, field)
    bar = figure.add_axes((1 - 0.75 / width, 0.5 / height, 0.16 / width, (height - top - 1.0) / height))
    figure.colorbar(image, cax=bar, extend=colours.extend)
    return drawing.png(figure)


def _level(scene: Scene, entry: Variable, place: str) -> Level:
    """The level that a place names; the surface where it names none."""
    every = list(levels(scene, entry))
    return next((level for level in every if level.place == place), every[0])


def _outline(axes: Axes, chart: drawing.Chart, bad: NDArray[np.bool_], field: Field) -> None:
    if bad.shape != field.shape or bad.all() or not bad.any():
        return
    west, east, south, north = chart.extent
    rows, columns = bad.shape
    x = west + (np.arange(columns) + 0.5) * (east - west) / columns
    y = south + (np.arange(rows) + 0.5) * (north - south) / rows
    axes.contour(x, y, chart.arranged(bad).astype(float), levels=[0.5], colors=["#c0392b"], linewidths=1.1)
