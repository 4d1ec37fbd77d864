"""How a picture looks: colours, limits, land, degrees, banners; and how it becomes the same bytes each time."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from matplotlib import MatplotlibDeprecationWarning
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator
from numpy.typing import NDArray

from pipeline.grids import Grid
from pipeline.variables import Variable

DOTS_PER_INCH = 110
LAND, COAST, INK, PALE = "#d8d5cd", "#5b5852", "#22262b", "#6b7178"
"""Colours of land, of its outline, of text, and of text that stands back."""
NO_VALUES = "#f1efea"
"""Colour of sea that a product does not reach."""
BANNER_FILL, BANNER_INK = "#fdebc8", "#7a4100"
LEAST_DECADES = 1.0
"""A logarithmic scale spans at least one decade: on less the ticks have no numbers."""
SEAM_EAST = 20.0
"""Global maps begin here, degrees east: through Africa, so that no ocean basin is cut."""

Field = NDArray[np.float32]
Mask = NDArray[np.bool_]


class Scale(NamedTuple):
    """A quantity's colours: shared by all panels of a picture, so that they can be compared."""

    colours: Colormap
    norm: Normalize
    extend: str

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the greatest value with a colour of its own."""
        return float(self.norm.vmin or 0.0), float(self.norm.vmax or 0.0)


def scale(entry: Variable, fields: Sequence[Field]) -> Scale:
    """The colours of a variable over these fields, limits robust against single cells, at round numbers.

    Circular: 0 to 360 degrees. Logarithmic: the 2nd to the 99th percentile of what is positive. Diverging: the 99th
    of the magnitude, around zero. Else the 1st to the 99th, from zero where the quantity is never negative.
    """
    colours = colour_map(entry.colour_map)
    known = np.concatenate([field[np.isfinite(field)] for field in fields]).astype(np.float64)
    if entry.circular:
        return Scale(colours, Normalize(0.0, 360.0), "neither")
    if entry.logarithmic:
        low, high = np.percentile(known[known > 0], (2, 99)) if (known > 0).any() else (0.1, 1.0)
        high = max(high, low * 10**LEAST_DECADES)
        return Scale(colours, LogNorm(_two_digits(low, down=True), _two_digits(high, down=False)), "both")
    if entry.diverging:
        return _even(colours, -np.percentile(np.abs(known), 99), np.percentile(np.abs(known), 99), "both")
    low, high = np.percentile(known, (1, 99))
    return _even(colours, 0.0, high, "max") if entry.lower == 0.0 and low < high / 2 else _even(
        colours, low, high, "both")  # fmt: skip


@lru_cache
def colour_map(name: str) -> Colormap:
    """The cmocean colour map of a registry entry, with land where there are no values."""
    with warnings.catch_warnings():
        # cmocean 4.0 builds its maps with an argument that matplotlib 3.11 deprecates.
        warnings.simplefilter("ignore", MatplotlibDeprecationWarning)
        import cmocean
    colours: Colormap = cmocean.cm.cmap_d[name].with_extremes(bad=LAND)
    return colours


def _even(colours: Colormap, low: float, high: float, extend: str) -> Scale:
    """Linear between round numbers around ``low`` and ``high``."""
    if high - low < 1e-12:
        low, high = low - 0.5, high + 0.5
    ends = MaxNLocator(nbins=25, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return Scale(colours, Normalize(float(ends[0]), float(ends[-1])), extend)


def _two_digits(value: float, *, down: bool) -> float:
    unit = 10.0 ** (np.floor(np.log10(value)) - 1)
    return float((np.floor(value / unit) if down else np.ceil(value / unit)) * unit)


class Chart(NamedTuple):
    """A grid as it is drawn: which columns come first, and its edges in degrees, eastward without a jump."""

    first_column: int
    extent: tuple[float, float, float, float]
    shape: tuple[int, int]

    def arranged(self, field: NDArray[Any]) -> NDArray[Any]:
        """A field (latitude, longitude) with the columns in the order they are drawn."""
        return np.roll(field, -self.first_column, axis=1)

    @property
    def aspect(self) -> float:
        """Height over width of one degree on paper: true at the middle latitude of a region, 1 for the globe."""
        west, east, south, north = self.extent
        return 1.0 if east - west > 180.0 else 1.0 / float(np.cos(np.deg2rad((south + north) / 2)))

    @property
    def width_over_height(self) -> float:
        """The map's shape on paper."""
        west, east, south, north = self.extent
        return (east - west) / ((north - south) * self.aspect)


def chart(grid: Grid) -> Chart:
    """How a grid is drawn: the globe from ``SEAM_EAST`` on, a region as it lies, across the dateline or not."""
    first = int(np.searchsorted(grid.longitude, SEAM_EAST)) % grid.columns if grid.periodic else 0
    west = float(grid.longitude_edges[first])
    extent = (west, west + grid.columns * grid.longitude_step,
              float(grid.latitude_edges[0]), float(grid.latitude_edges[-1]))  # fmt: skip
    return Chart(first, extent, grid.shape)


def draw_field(axes: Axes, field: Field, on: Chart, colours: Scale, sea: Mask | None = None) -> AxesImage:
    """A field (latitude, longitude), NaN drawn as land, with its coast and degrees; returns what a colour bar needs.

    ``sea``: True where there is sea, of the field's shape: where it has no values there, it is drawn as neither sea
    nor land. Without it every cell without a value is land.
    """
    image = _cells(axes, on, on.arranged(field), colours.colours, colours.norm)
    if sea is not None:
        unknown = np.where(np.isnan(field) & sea, 1.0, np.nan).astype(np.float32)
        _cells(axes, on, on.arranged(unknown), ListedColormap([NO_VALUES]), Normalize(0.0, 1.0))
    _coastline(axes, on, on.arranged(np.isnan(field) if sea is None else ~sea))
    _degrees(axes, on)
    return image


def _cells(axes: Axes, on: Chart, values: NDArray[Any], colours: Colormap, norm: Normalize) -> AxesImage:
    return axes.imshow(
        np.ma.masked_invalid(values), origin="lower", extent=on.extent, cmap=colours, norm=norm, aspect=on.aspect,
        interpolation="nearest", interpolation_stage="data",
    )  # fmt: skip


def _coastline(axes: Axes, on: Chart, land: NDArray[Any]) -> None:
    if land.all() or not land.any():
        return
    west, east, south, north = on.extent
    rows, columns = land.shape
    x = west + (np.arange(columns) + 0.5) * (east - west) / columns
    y = south + (np.arange(rows) + 0.5) * (north - south) / rows
    axes.contour(x, y, land.astype(float), levels=[0.5], colors=[COAST], linewidths=0.6)


def _degrees(axes: Axes, on: Chart) -> None:
    west, east, south, north = on.extent
    axes.set_xlim(west, east)
    axes.set_ylim(south, north)
    axes.xaxis.set_major_locator(MultipleLocator(_degree_step(east - west, 7)))
    axes.yaxis.set_major_locator(MultipleLocator(_degree_step(north - south, 6)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: longitude_label(x)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: latitude_label(y)))
    axes.tick_params(labelsize=8.5, length=3, width=0.6, color=PALE, labelcolor=INK)
    axes.grid(color=INK, alpha=0.12, linewidth=0.5)
    for spine in axes.spines.values():
        spine.set(color=COAST, linewidth=0.7)


def _degree_step(span: float, most: int) -> float:
    return next((step for step in (0.5, 1, 2, 5, 10, 15, 30, 60) if span / step <= most), 90.0)


def longitude_label(degrees_east: float) -> str:
    """Any longitude as people write it: ``150°E``, ``180°``, ``30°W``, ``0°``."""
    around = (degrees_east + 180.0) % 360.0 - 180.0
    if abs(around) < 1e-9 or abs(abs(around) - 180.0) < 1e-9:
        return f"{abs(around):g}°"
    return f"{abs(around):g}°{'E' if around > 0 else 'W'}"


def latitude_label(degrees_north: float) -> str:
    """A latitude as people write it: ``30°N``, ``0°``, ``15°S``."""
    if abs(degrees_north) < 1e-9:
        return "0°"
    return f"{abs(degrees_north):g}°{'N' if degrees_north > 0 else 'S'}"


def banner_lines(warnings: Sequence[str], width_inches: float) -> list[str]:
    """The warnings broken into lines that fit the width; nothing is cut off."""
    characters = max(40, int(width_inches * 10.2))
    return [line for warning in warnings for line in textwrap.wrap(warning, characters)]


def draw_heading(figure: Figure, title: str, subtitle: str, warnings: Sequence[str]) -> float:
    """Title, subtitle and a banner per warning at the top; returns the inches they take."""
    width, height = figure.get_size_inches()
    lines = banner_lines(warnings, width)
    left = 0.22 / width
    top = 0.0
    if lines:
        band = 0.14 + 0.2 * len(lines)
        axes = figure.add_axes((0.0, 1 - band / height, 1.0, band / height))
        axes.set_axis_off()
        axes.patch.set_visible(False)
        axes.axhspan(0, 1, color=BANNER_FILL, lw=0)
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.text(left, 0.5, "\n".join(lines), color=BANNER_INK, fontsize=10, fontweight="bold", va="center",
                  linespacing=1.3)  # fmt: skip
        top = band
    figure.text(left, 1 - (top + 0.34) / height, title, fontsize=15, fontweight="bold", color=INK, va="center")
    size = min(9.5, 9.5 * 14.5 * (width - 0.44) / max(len(subtitle), 1))
    figure.text(left, 1 - (top + 0.63) / height, subtitle, fontsize=size, color=PALE, va="center")
    return top + 0.82


def heading_inches(warnings: Sequence[str], width_inches: float) -> float:
    """The height ``draw_heading`` takes, for a figure not made yet."""
    lines = banner_lines(warnings, width_inches)
    return 0.82 + (0.14 + 0.2 * len(lines) if lines else 0.0)


def png(figure: Figure) -> bytes:
    """The figure as PNG bytes: nothing in them but the picture, so that equal pictures are equal bytes."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None}, facecolor="white")
    return buffer.getvalue()
