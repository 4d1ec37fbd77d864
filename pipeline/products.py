"""What we publish: for each product its variables, its grid within the system, its chunks and shards.

A product has one Zarr store per cycle, ``<name>.zarr``, with lead days 0 (the initial state) to the system's last.
"""

from __future__ import annotations

from typing import Literal

from pipeline import variables as v
from pipeline.variables import Entry

GridName = Literal["grid", "wave_grid", "biogeochemistry_grid", "kuroshio_grid"]


class ProductEntry(Entry):
    """One product. ``state`` names the forecaster's array it comes from; ``grid`` the system's grid it is on.

    ``summary``: with ``{days}`` for how long a system forecasts.
    ``surface_only``: variables that have depths are given at 0 m alone, with a scalar ``depth``.
    One shard is one lead day of one variable; one chunk is one level of it (a map is one ranged read).
    """

    name: str
    title: str
    summary: str
    state: Literal["ocean", "waves", "biogeochemistry", "kuroshio"]
    grid: GridName
    variables: tuple[v.Variable, ...]
    surface_only: bool = False

    def described(self, forecast_days: int) -> str:
        """The summary of the product of a system that forecasts so many days."""
        return self.summary.format(days="1 day" if forecast_days == 1 else f"{forecast_days} days")


OCEAN = ProductEntry(
    name="ocean", title="Ocean forecast", state="ocean", grid="grid", variables=v.OCEAN,
    summary="Temperature, salinity and currents at 15 depths and sea surface height, daily for {days}.",
)  # fmt: skip
WAVES = ProductEntry(
    name="waves", title="Wave forecast", state="waves", grid="wave_grid", variables=v.WAVES,
    summary="Significant wave height, mean period and mean direction, daily for {days}.",
)  # fmt: skip
BIOGEOCHEMISTRY = ProductEntry(
    name="biogeochemistry", title="Biogeochemistry forecast", state="biogeochemistry", grid="biogeochemistry_grid",
    variables=v.BIOGEOCHEMISTRY,
    summary="Chlorophyll by phytoplankton group, iron, nitrate and mixed layer depth, daily for {days}.",
)  # fmt: skip
KUROSHIO = ProductEntry(
    name="kuroshio", title="Kuroshio surface forecast, downscaled three times", state="kuroshio",
    grid="kuroshio_grid", variables=v.OCEAN, surface_only=True,
    summary="Surface temperature, salinity, currents and sea surface height on a three times finer grid.",
)  # fmt: skip

PRODUCTS: tuple[ProductEntry, ...] = (OCEAN, WAVES, BIOGEOCHEMISTRY, KUROSHIO)


def product(name: str) -> ProductEntry:
    """The entry with this name; ``KeyError`` lists what there is."""
    for entry in PRODUCTS:
        if entry.name == name:
            return entry
    raise KeyError(f"no product {name!r}; there are {', '.join(p.name for p in PRODUCTS)}")
