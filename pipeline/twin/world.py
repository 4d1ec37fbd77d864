"""The twin: an ocean and its weather, waves and plankton at any moment of any year, from a seed alone."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from pipeline.earth import climatology
from pipeline.earth.splines import Axis, Field
from pipeline.twin import ocean, plankton, seas, weather
from pipeline.variables import Kind


class Twin(NamedTuple):
    """One twin ocean; every seed is another."""

    seed: int = 0

    def fields(
        self, kind: Kind, when: datetime, latitude: Axis, longitude: Axis, depths_m: tuple[float, ...] = (0.0,)
    ) -> dict[str, Field]:
        """All variables of a kind at a moment, by registry name, in registry units, float32.

        ``latitude`` (increasing) and ``longitude`` (increasing, 0..360): degrees, one-dimensional, any points.
        (depth, latitude, longitude) for what has depth, else (latitude, longitude). NaN on land, at each depth;
        the atmosphere and the elevation have values everywhere. The same seed and moment give the same values
        whenever and wherever they are asked for; ``when`` without a zone is UTC.
        """
        if kind is Kind.OCEAN:
            return ocean.fields(self.seed, when, latitude, longitude, depths_m)
        if kind is Kind.SURFACE:
            return weather.fields(self.seed, when, latitude, longitude)
        if kind is Kind.WAVES:
            return seas.fields(self.seed, when, latitude, longitude)
        if kind is Kind.BIOGEOCHEMISTRY:
            return plankton.fields(self.seed, when, latitude, longitude)
        return {"elevation": climatology.elevation(latitude, longitude)}
