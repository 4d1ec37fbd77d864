"""What a score is made of: area-weighted moments over ocean cells that add up over days, and what follows from them.

With weights w (cell areas, over the cells where everything compared has a value), forecast f, truth t and
day-of-year climatology c at the valid time, and <x> = sum(w x) / sum(w):

- mean square error <(f - t)^2>, bias <f - t>;
- anomalies f - c and t - c, each less its own mean over the region (*centred*, as in the World Meteorological
  Organization's manual on verification): their variances and covariance give the anomaly correlation
  cov / sqrt(var_f var_t) and the activity ratio sqrt(var_f / var_t), which is below one where a forecast blurs;
- kinetic energy <u^2 + v^2> / 2 of forecast and truth, and their ratio.

Differences of angles are the short way around the circle. Land and gaps have no weight; they are never zeros.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

Field = NDArray[np.float32]
Sums = NDArray[np.float64]

MOMENTS = ("mean_square_error", "bias", "anomaly_variance", "anomaly_covariance", "truth_anomaly_variance")
"""Moments of one field, means weighted with ``weight``."""
ENERGIES = ("kinetic_energy", "truth_kinetic_energy")
"""Moments of the currents, means weighted with ``energy_weight``."""


class Weights(NamedTuple):
    """Weights of cells by region: the product of a row's and a column's, as the areas of a regular grid's cells are.

    ``rows`` (region, latitude) and ``columns`` (region, longitude), whose product is m2, zero outside a region.
    """

    rows: Sums
    columns: Sums

    def total(self, planes: Sums) -> Sums:
        """Weighted sums, (plane, latitude, longitude) -> (region, plane)."""
        along: Sums = self.rows @ planes
        sums: Sums = np.einsum("prx,rx->rp", along, self.columns)
        return sums

    @property
    def cells(self) -> Weights:
        """One for every cell of a region."""
        return Weights((self.rows > 0).astype(np.float64), (self.columns > 0).astype(np.float64))


class Moments(NamedTuple):
    """One field's moments, each (region,).

    ``weight``: m2 of ocean compared; ``cells``: how many; ``coverage``: the share of the truth's ocean area that was
    compared, 0..1.
    """

    mean_square_error: Sums
    bias: Sums
    anomaly_variance: Sums
    anomaly_covariance: Sums
    truth_anomaly_variance: Sums
    weight: Sums
    cells: Sums
    coverage: Sums


def difference(first: Field, second: Field, circular: bool) -> Sums:
    """The first less the second; for angles in degrees the short way around, within -180..180."""
    plain = first.astype(np.float64) - second
    return (plain + 180.0) % 360.0 - 180.0 if circular else plain


def moments(
    fields: Mapping[str, Field | None],
    truth: Field,
    climatology: Field | None,
    weights: Weights,
    *,
    circular: bool = False,
) -> dict[str, Moments]:
    """Moments of several forecasts of one field against one truth, all over the same cells.

    ``fields``, ``truth``, ``climatology``: (latitude, longitude). A region without a cell to compare has weight 0 and
    NaN moments. A field that there is none of (``None``) has NaN moments and leaves every cell to the others; without
    a climatology nothing has an anomaly.
    """
    known = np.isfinite(truth)
    given = [field for field in (climatology, *fields.values()) if field is not None]
    common = known & np.all([np.isfinite(field) for field in given], axis=0)
    nothing = np.full_like(truth, np.nan)
    usual = nothing if climatology is None else climatology
    weight, reference = weights.total(np.stack([common, known]).astype(np.float64)).T
    cells = weights.cells.total(common[None].astype(np.float64))[:, 0]

    def mean(*planes: Sums) -> Iterator[Sums]:
        yield from _ratio(weights.total(np.where(common, np.stack(planes), 0.0)), weight[:, None]).T

    occurred = difference(truth, usual, circular)
    mean_t, square_t = mean(occurred, occurred**2)
    found = {}
    for name, there in fields.items():
        field = nothing if there is None else there
        error, said = difference(field, truth, circular), difference(field, usual, circular)
        bias, square, mean_f, square_f, both = mean(error, error**2, said, said**2, said * occurred)
        found[name] = Moments(square, bias, (square_f - mean_f**2).clip(0.0), both - mean_f * mean_t,
                              (square_t - mean_t**2).clip(0.0), weight, cells, _ratio(weight, reference))  # fmt: skip
    return found


def energies(currents: Mapping[str, tuple[Field, Field]], weights: Weights) -> tuple[dict[str, Sums], Sums]:
    """Mean kinetic energy per mass in m2 s-2 of several (eastward, northward) currents, all over the same cells.

    Returns the energies, each (region,), and the weight in m2 they share.
    """
    common = np.all([np.isfinite(part) for pair in currents.values() for part in pair], axis=0)
    halves = [(east.astype(np.float64) ** 2 + north.astype(np.float64) ** 2) / 2 for east, north in currents.values()]
    planes = np.where(common, np.stack([np.ones(common.shape), *halves]), 0.0)
    weight, *totals = weights.total(planes).T
    return {name: _ratio(total, weight) for name, total in zip(currents, totals, strict=True)}, weight


def derived(scores: xr.Dataset) -> xr.Dataset:
    """The moments with what follows from them: ``rmse``, ``acc``, ``activity_ratio``, ``kinetic_energy_ratio``.

    ``acc`` is NaN where a forecast has no anomaly (climatology has none).
    """
    occurred, said = scores["truth_anomaly_variance"], scores["anomaly_variance"]
    spread = (occurred * said) ** 0.5
    following = {
        "rmse": np.sqrt(scores["mean_square_error"]),
        "acc": (scores["anomaly_covariance"] / spread.where(spread > 0)).clip(-1.0, 1.0),
        "activity_ratio": np.sqrt(said / occurred.where(occurred > 0)),
    }
    if "kinetic_energy" in scores:
        real = scores["truth_kinetic_energy"]
        following["kinetic_energy_ratio"] = scores["kinetic_energy"] / real.where(real > 0)
    return scores.assign(following)


def _ratio(total: Sums, weight: Sums) -> Sums:
    """A total by its weight, NaN where there is no weight."""
    shape = np.broadcast_shapes(total.shape, weight.shape)
    quotient: Sums = np.divide(total, weight, out=np.full(shape, np.nan), where=weight > 0)
    return quotient
