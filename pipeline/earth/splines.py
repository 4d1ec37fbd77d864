"""Smooth interpolation as matrices: cubic-spline weights along one axis, with their exact derivative.

A field Z on regular nodes is evaluated on any rectilinear points as ``rows.value @ Z @ columns.value.T``; its
gradient as ``rows.slope @ Z @ columns.value.T``. The derivative is that of the interpolant itself, so that a flow
made from a height is in exact balance with it at every point, whatever the resolution of the points.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

Field = NDArray[np.float32]
Axis = NDArray[np.float64]


def single(values: npt.ArrayLike) -> Field:
    """As float32; no copy is made of what is float32 already."""
    return np.asarray(values, dtype=np.float32)


class Weights(NamedTuple):
    """Along one axis: ``value`` and ``slope`` (per degree), each (points, nodes), float32."""

    value: Field
    slope: Field


class Mesh(NamedTuple):
    """Weights from regular nodes to rectilinear points."""

    rows: Weights
    columns: Weights

    def value(self, field: Field) -> Field:
        """The field at the points: (..., node rows, node columns) -> (..., rows, columns)."""
        return single(self.rows.value @ field @ self.columns.value.T)

    def slopes(self, field: Field) -> tuple[Field, Field]:
        """The derivatives per degree of latitude and per degree of longitude at the points."""
        north = self.rows.slope @ field @ self.columns.value.T
        east = self.rows.value @ field @ self.columns.slope.T
        return single(north), single(east)


def weights(nodes: Axis, points: Axis, period: float | None = None) -> Weights:
    """Cubic-spline weights; natural ends, points beyond them clamped to them; periodic when a period is given."""
    basis = np.eye(nodes.size)
    if period is None:
        inside = np.clip(points, nodes[0], nodes[-1])
        spline = CubicSpline(nodes, basis, bc_type="natural")
    else:
        inside = (points - nodes[0]) % period + nodes[0]
        spline = CubicSpline(np.append(nodes, nodes[0] + period), np.vstack([basis, basis[:1]]), bc_type="periodic")
    slope = spline(inside, 1)
    slope[inside != points if period is None else np.zeros(points.size, dtype=bool)] = 0.0
    return Weights(spline(inside).astype(np.float32), slope.astype(np.float32))


def mesh(step: float, latitude: Axis, longitude: Axis) -> Mesh:
    """From the global cell centres of ``step`` degrees (-90 + step/2 .. , step/2 ..) to the points; cached."""
    return _mesh(step, latitude.astype(np.float64).tobytes(), longitude.astype(np.float64).tobytes())


@lru_cache(maxsize=12)
def _mesh(step: float, latitude: bytes, longitude: bytes) -> Mesh:
    count = round(180.0 / step)
    nodes = np.asarray(step * (np.arange(2 * count) + 0.5), dtype=np.float64)
    return Mesh(
        weights(nodes[:count] - 90.0, np.frombuffer(latitude)),
        weights(nodes, np.frombuffer(longitude), period=360.0),
    )
