"""Physical fields <-> what the networks see: per-channel statistics of ocean cells, and angles and logarithms.

Land is NaN in numpy at the border, zero in here; a mask (True or 1 on ocean) says which zeros are land.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn import functional

Transform = Literal["identity", "nonnegative", "angle", "log"]
"""How a physical channel is modelled.

"identity": as it is. "nonnegative": as it is, and a forecast below zero becomes zero. "angle": degrees, as its cosine
and sine. "log": as the logarithm of the value or of the channel's ``floor``, whichever is larger.
"""


class Statistics(BaseModel):
    """What training days say of each channel, over ocean cells only, in the channel's own units.

    ``mean``; ``spread``: root mean square about the background; ``change``: standard deviation of one-day changes.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    mean: tuple[float, ...]
    spread: tuple[float, ...]
    change: tuple[float, ...]


class Normalisation(nn.Module):
    """(field - mean) / spread - background, zero on land, and back.

    ``background``: (channels, coarse rows, coarse columns), the training days' mean field in units of ``spread``,
    interpolated to the grid: what is left are anomalies, whose gradients a small network can see.
    """

    background: Tensor
    mean: Tensor
    spread: Tensor
    change: Tensor

    def __init__(self, statistics: Statistics, background: Tensor, shape: tuple[int, int], *, periodic: bool) -> None:
        super().__init__()
        self.statistics, self.shape, self.periodic = statistics, shape, periodic
        self.register_buffer("background", background)
        for name in ("mean", "spread", "change"):
            values = torch.tensor(getattr(statistics, name), dtype=torch.float32)[:, None, None]
            self.register_buffer(name, values, persistent=False)
        self.register_buffer("_offset", self._offset_of(background), persistent=False)

    def _offset_of(self, background: Tensor) -> Tensor:
        return self.mean + self.spread * enlarge(background, self.shape, periodic=self.periodic)

    def refresh(self) -> None:
        """Recompute what follows from ``background``: after weights were loaded into this module."""
        self._offset = self._offset_of(self.background)

    def forward(self, fields: Tensor, mask: Tensor) -> Tensor:
        """Physical (batch, channels, rows, columns) -> normalised, zero where ``mask`` is 0."""
        return (fields - self._offset) / self.spread * mask

    def inverse(self, fields: Tensor, mask: Tensor) -> Tensor:
        """Normalised -> physical, zero where ``mask`` is 0."""
        return (fields * self.spread + self._offset) * mask


def enlarge(coarse: Tensor, shape: tuple[int, int], *, periodic: bool) -> Tensor:
    """Bilinear interpolation of (channels, coarse rows, coarse columns) to ``shape`` cells over the same area."""
    if not coarse.shape[0]:
        return coarse.new_zeros(0, *shape)
    rows, columns = shape[0] // coarse.shape[1], shape[1] // coarse.shape[2]
    side = functional.pad(coarse[None], (1, 1, 0, 0), mode="circular" if periodic else "replicate")
    wide = functional.interpolate(side, scale_factor=(rows, columns), mode="bilinear", align_corners=False)
    return wide[0, :, :, columns:-columns]


class Transforms(nn.Module):
    """Physical channels <-> model variables: an angle is two of them (cosine, sine), any other channel one."""

    def __init__(self, transforms: tuple[Transform, ...], floors: tuple[float, ...]) -> None:
        super().__init__()
        if len(transforms) != len(floors) or any(
            kind == "log" and floor <= 0 for kind, floor in zip(transforms, floors, strict=True)
        ):
            raise ValueError(f"every channel needs a floor, positive for logarithms: {transforms}, {floors}")
        self.transforms = transforms
        self._least = torch.tensor(floors, dtype=torch.float32, device="cpu").tolist()

    @property
    def variables(self) -> int:
        """Number of model variables."""
        return sum(2 if kind == "angle" else 1 for kind in self.transforms)

    def forward(self, physical: Tensor) -> Tensor:
        """(batch, channels, rows, columns) -> (batch, variables, rows, columns)."""
        parts: list[Tensor] = []
        for index, kind in enumerate(self.transforms):
            field = physical[:, index]
            if kind == "angle":
                parts += [torch.deg2rad(field).cos(), torch.deg2rad(field).sin()]
            elif kind == "log":
                parts.append(field.clamp(min=self._least[index]).log())
            else:
                parts.append(field)
        return torch.stack(parts, dim=1)

    def inverse(self, variables: Tensor) -> Tensor:
        """(batch, variables, rows, columns) -> (batch, channels, rows, columns); angles within [0, 360) degrees."""
        parts: list[Tensor] = []
        fields = iter(variables.unbind(1))
        for kind in self.transforms:
            field = next(fields)
            if kind == "angle":
                parts.append(_bearing(field, next(fields)))
            elif kind == "log":
                parts.append(field.exp())
            else:
                parts.append(field.clamp(min=0.0) if kind == "nonnegative" else field)
        return torch.stack(parts, dim=1)

    def judged(self, variables: Tensor) -> Tensor:
        """Like ``inverse``, but smooth: an angle stays two variables, the components of a vector of (almost) length 1.

        (batch, variables, rows, columns) -> the same shape. Errors of these are errors by which forecasts are judged.
        """
        parts: list[Tensor] = []
        fields = iter(variables.unbind(1))
        for kind in self.transforms:
            field = next(fields)
            if kind == "angle":
                other = next(fields)
                length = (field.square() + other.square() + SHORTEST**2).sqrt()
                parts += [field / length, other / length]
            elif kind == "log":
                parts.append(field.clamp(max=LARGEST_LOGARITHM).exp())
            else:
                parts.append(field)
        return torch.stack(parts, dim=1)


SHORTEST = 0.1
"""Vectors much shorter than this have no clear direction: an error in it has no steep gradient."""
LARGEST_LOGARITHM = 20.0
"""Physical values above its exponential are no further off in training: their gradient would drown all others."""


SERIAL = 2**14
"""Values that torch works through on one thread: fewer than 32768, from where it shares work out; a multiple of 32."""


def _angle(sine: Tensor, cosine: Tensor) -> Tensor:
    """``atan2`` whose bytes do not depend on the number of threads.

    What is left over at the end of a thread's share goes through another implementation, which rounds otherwise: so
    the shares are cut here.
    """
    parts = zip(torch.split(sine.flatten(), SERIAL), torch.split(cosine.flatten(), SERIAL), strict=True)
    return torch.cat([torch.atan2(*part) for part in parts]).reshape(sine.shape)


def _bearing(cosine: Tensor, sine: Tensor) -> Tensor:
    degrees = torch.rad2deg(_angle(sine, cosine)) % 360.0
    return torch.where(degrees >= 360.0, torch.zeros_like(degrees), degrees)
