"""Statistics of training days over ocean cells, weighted by area, one day in memory at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from models.errors import TrainingError
from models.normalisation import Statistics, enlarge


class Measured(NamedTuple):
    """``statistics`` per channel, and the ``background`` (channels, coarse rows, coarse columns) in units of spread."""

    statistics: Statistics
    background: Tensor


class Sums(NamedTuple):
    """Per cell, over the days that were read: float64 sums of values and their squares; of squared changes."""

    days: int
    values: Tensor
    squares: Tensor
    changes: Tensor


def measure(pairs: Iterable[tuple[Tensor, Tensor]], mask: Tensor, weights: Tensor, coarse: tuple[int, int], *,
            labels: tuple[str, ...], periodic: bool, static: tuple[str, ...] = ()) -> Measured:  # fmt: skip
    """Mean, spread about the background, standard deviation of one-day changes, and the background itself.

    ``pairs``: (a day, the day after), each (channels, rows, columns). ``mask``: (channels, rows, columns), 1 on ocean.
    ``weights``: (rows,), proportional to cell area. ``coarse``: shape of the background, which is zero for a channel
    that never changes. ``TrainingError`` where a channel is the same everywhere, or, unless it is named as
    ``static``, never changes.
    """
    return measured(_summed(pairs), mask, weights, coarse, labels=labels, periodic=periodic, static=static)


def measured(sums: Sums, mask: Tensor, weights: Tensor, coarse: tuple[int, int], *, labels: tuple[str, ...],
             periodic: bool, static: tuple[str, ...] = ()) -> Measured:  # fmt: skip
    """The same from sums over the days."""
    weight = (mask * weights[:, None]).double()
    weight = weight / weight.sum(dim=(1, 2), keepdim=True)
    average, squares = sums.values / sums.days, sums.squares / sums.days
    mean = (average * weight).sum(dim=(1, 2))
    plain = _rooted(squares - 2 * mean[:, None, None] * average + mean[:, None, None] ** 2, weight)
    change = _rooted(sums.changes / sums.days, weight)
    _moving(plain, change, labels, static)
    rough = coarsened((average - mean[:, None, None]) / plain[:, None, None], mask, coarse).float()
    rough[change == 0] = 0.0
    offset = mean[:, None, None] + plain[:, None, None] * enlarge(rough, (mask.shape[1], mask.shape[2]),
                                                                  periodic=periodic).double()  # fmt: skip
    spread = _rooted(squares - 2 * offset * average + offset**2, weight)
    spread = torch.maximum(spread, change)
    statistics = Statistics(mean=_floats(mean), spread=_floats(spread), change=_floats(change))
    return Measured(statistics, (rough * (plain / spread)[:, None, None]).float())


def nothing(coarse: tuple[int, int]) -> Measured:
    """Of no channel at all."""
    return constant((0, *coarse), Statistics(mean=(), spread=(), change=()))


def constant(background_shape: tuple[int, int, int], statistics: Statistics) -> Measured:
    """Statistics given by hand, with no background."""
    return Measured(statistics, torch.zeros(background_shape))


def coarsened(field: Tensor, mask: Tensor, coarse: tuple[int, int]) -> Tensor:
    """Means of the ocean cells in each coarse cell, those without any taking their nearest's: (channels, *coarse)."""
    shape = field.shape[0], coarse[0], field.shape[1] // coarse[0], coarse[1], field.shape[2] // coarse[1]
    total = (field * mask).reshape(shape).sum(dim=(2, 4))
    count = mask.reshape(shape).sum(dim=(2, 4))
    means = (total / count.clamp(min=1)).numpy()
    filled = [_nearest(values, empty) for values, empty in zip(means, (count == 0).numpy(), strict=True)]
    return torch.from_numpy(np.stack(filled))


def area_weights(rows: int, latitude: NDArray[np.float64] | None) -> Tensor:
    """(rows,): cosine of the latitude (degrees north), or ones where there is none; their mean is 1."""
    weights = torch.ones(rows, dtype=torch.float64)
    if latitude is not None:
        weights = torch.from_numpy(np.cos(np.deg2rad(latitude)))
    return (weights / weights.mean()).float()


def _summed(pairs: Iterable[tuple[Tensor, Tensor]]) -> Sums:
    days, total = 0, torch.zeros(3, 1, 1, 1, dtype=torch.float64)
    for first, second in pairs:
        today, tomorrow, days = first.double(), second.double(), days + 1
        total = total + torch.stack((today, today**2, (tomorrow - today) ** 2))
    if not days:
        raise TrainingError("days to measure", found="none", where="the training days", action="give two days or more")
    return Sums(days, total[0], total[1], total[2])


def _rooted(squares: Tensor, weight: Tensor) -> Tensor:
    return (squares * weight).sum(dim=(1, 2)).clamp(min=0).sqrt()


def _moving(spread: Tensor, change: Tensor, labels: tuple[str, ...], static: tuple[str, ...]) -> None:
    for label, wide, moved in zip(labels, spread.tolist(), change.tolist(), strict=True):
        if wide == 0 or (moved == 0 and label not in static):
            found = f"spread {wide:g}, one-day change {moved:g}"
            raise TrainingError(f"a channel {label} that changes", found=found, where="the training days",
                                action="check the archive or leave the channel out")  # fmt: skip


def _nearest(values: NDArray[np.float64], empty: NDArray[np.bool_]) -> NDArray[np.float64]:
    index = ndimage.distance_transform_edt(empty, return_distances=False, return_indices=True)
    return np.asarray(values[tuple(index)])


def _floats(values: Tensor) -> tuple[float, ...]:
    return tuple(float(value) for value in values.float().tolist())
