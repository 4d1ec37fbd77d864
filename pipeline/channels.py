"""Variable and depth <-> array channel: AI-GOMS's order, T, S, U, V shallow to deep, then sea surface height."""

from __future__ import annotations

from typing import NamedTuple

from pipeline import variables as v


class Channel(NamedTuple):
    """One two-dimensional field of the state; ``depth_m`` is None where the variable has no depth."""

    variable: str
    depth_m: float | None

    @property
    def label(self) -> str:
        """``to@100`` or ``zos``: the channel's name in arrays and checkpoints."""
        return self.variable if self.depth_m is None else f"{self.variable}@{self.depth_m:g}"


def parse(label: str) -> Channel:
    """The channel a label names: the inverse of ``Channel.label``."""
    name, _, depth = label.partition("@")
    return Channel(name, float(depth) if depth else None)


def of(entries: tuple[v.Variable, ...], depths_m: tuple[float, ...]) -> tuple[Channel, ...]:
    """The channels of variables, in their order, each shallow to deep."""
    return tuple(
        Channel(entry.name, depth) for entry in entries for depth in (depths_m if entry.has_depth else (None,))
    )


def ocean(depths_m: tuple[float, ...] = v.DEPTHS_M) -> tuple[Channel, ...]:
    """The 61 prognostic channels (4 variables x 15 depths, then sea surface height)."""
    return of(v.OCEAN, depths_m)


def forcing() -> tuple[Channel, ...]:
    """The 6 input-only channels: five of the surface, topography last."""
    return of(v.SURFACE + v.STATIC, ())


def weather() -> tuple[Channel, ...]:
    """The five channels of the forcing that change from day to day."""
    return of(v.SURFACE, ())


def waves() -> tuple[Channel, ...]:
    """The 3 wave channels."""
    return of(v.WAVES, ())


def biogeochemistry() -> tuple[Channel, ...]:
    """The 8 biochemical channels."""
    return of(v.BIOGEOCHEMISTRY, ())


def surface_ocean() -> tuple[Channel, ...]:
    """The 5 channels the downscaling refines: temperature, salinity, currents at 0 m and sea surface height."""
    return of(v.OCEAN, (v.DEPTHS_M[0],))
