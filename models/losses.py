"""How wrong a step is: relative errors over ocean cells."""

from __future__ import annotations

import torch
from torch import Tensor


def cell_weights(mask: Tensor, rows: Tensor, channels: Tensor) -> Tensor:
    """Weights (channels, rows, columns) zero on land, of sum 1; ``rows``: area, ``channels``: importance."""
    weights = mask * rows[:, None] * channels[:, None, None]
    return weights / weights.sum()


def relative_error(forecast: Tensor, truth: Tensor, scale: Tensor, weights: Tensor) -> Tensor:
    """Mean over the batch of || (forecast - truth) / scale ||: (batch, channels, rows, columns) -> a number.

    ``scale`` (channels, 1, 1) makes it relative. With one-day standard deviations, persistence scores about 1 on day 1.
    """
    errors = (forecast - truth) * (weights.sqrt() / scale)
    return (errors.square().sum(dim=(1, 2, 3)) + torch.finfo(torch.float32).eps).sqrt().mean()


def channel_errors(forecast: Tensor, truth: Tensor, scale: Tensor, weights: Tensor) -> Tensor:
    """Root mean square errors per channel in units of ``scale`` (channels, 1, 1): (channels,).

    Fields (batch, channels, rows, columns); ``weights`` (channels, rows, columns) with sum 1 in each channel.
    """
    squares = ((forecast - truth) / scale).square() * weights
    return (squares.sum(dim=(2, 3)).mean(dim=0) + torch.finfo(torch.float32).eps).sqrt()


def geometric_mean(errors: Tensor) -> Tensor:
    """Of positive numbers: going down it lowers each of them by the same share, large or small."""
    return errors.log().mean().exp()


def stepped(fields: Tensor, axis: int) -> Tensor:
    """Differences between neighbours along an axis, one fewer than cells."""
    return fields.diff(dim=axis)


def step_weights(weights: Tensor, axis: int) -> Tensor:
    """Weights of differences along an axis of (channels, rows, columns): zero where one of the two cells is land."""
    size = weights.shape[axis]
    pairs = torch.minimum(weights.narrow(axis, 0, size - 1), weights.narrow(axis, 1, size - 1))
    return pairs / pairs.sum()
