"""The downstream heads on the frozen backbone's feature tensor: waves, biogeochemistry, downscaling.

A state head carries its own state and takes it to the next day; the downscaling head refines each day's surface.
"""

from __future__ import annotations

import math
from typing import Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from models.layers import FourierBlock, PatchEmbedding, PatchProjection, position_embedding
from models.normalisation import Normalisation, Transform, Transforms


class StateHeadArchitecture(BaseModel):
    """A head with a state of its own on its own grid, which covers the same area as the ocean's.

    ``transforms`` and ``floors``: one per channel (see ``models.normalisation.Transform``); floors that are left out
    are measured by training. ``ceilings``: what the training days never exceeded, in physical units; a rollout does
    not either. ``forcing``: the forcing channels it reads itself (labels); the rest reaches it through
    the features.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    channels: tuple[str, ...] = Field(min_length=1)
    transforms: tuple[Transform, ...]
    floors: tuple[float, ...] = ()
    ceilings: tuple[float, ...] = ()
    forcing: tuple[str, ...] = ()
    rows: int = Field(gt=0)
    columns: int = Field(gt=0)
    patch: int = Field(gt=0)
    dim: int = Field(default=128, gt=0)
    depth: int = Field(default=2, gt=0)
    blocks: int = Field(default=8, gt=0)
    halo: int = Field(default=1, ge=0)
    periodic: bool = True

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.channels) != len(self.transforms) or any(
            len(limits) not in (0, len(self.channels)) for limits in (self.floors, self.ceilings)
        ):
            raise ValueError("a head needs one transform (and one floor, where given) for each channel")
        if self.rows % self.patch or self.columns % self.patch:
            raise ValueError(f"{self.rows} x {self.columns} cells do not divide into patches of {self.patch}")
        return self

    @property
    def token_shape(self) -> tuple[int, int]:
        """(rows, columns) of tokens."""
        return self.rows // self.patch, self.columns // self.patch


class StateHead(nn.Module):
    """Own state (+ its forcing) and the features -> own state one day later (its change, as in the backbone)."""

    position: Tensor
    most: Tensor

    def __init__(self, architecture: StateHeadArchitecture, feature_dim: int, state: Normalisation) -> None:
        super().__init__()
        a = self.architecture = architecture
        self.state = state
        self.transforms = Transforms(a.transforms, a.floors)
        inputs = self.transforms.variables + len(a.forcing)
        self.embedding = PatchEmbedding(inputs, a.dim, a.patch, a.halo, periodic=a.periodic)
        self.from_features = nn.Linear(feature_dim, a.dim)
        self.mixing = nn.Sequential(*(FourierBlock(a.dim, a.blocks) for _ in range(a.depth)))
        self.norm, self.projection = nn.LayerNorm(a.dim), PatchProjection(a.dim, self.transforms.variables, a.patch)
        self.register_buffer("position", position_embedding(*a.token_shape, a.dim), persistent=False)
        most = [math.inf if kind == "angle" else top for kind, top in zip(a.transforms, a.ceilings, strict=False)]
        self.register_buffer("most", torch.tensor(most)[:, None, None], persistent=False)

    def physical(self, variables: Tensor) -> Tensor:
        """Model variables -> fields (batch, channels, rows, columns) no higher than the ceilings, but for angles."""
        physical = self.transforms.inverse(variables)
        return torch.minimum(physical, self.most) if self.architecture.ceilings else physical

    def forward(self, physical: Tensor, features: Tensor, forcing: Tensor, mask: Tensor) -> Tensor:
        """Model variables (batch, variables, rows, columns) one day on, zero on land.

        ``physical``: (batch, channels, rows, columns) in physical units, finite on land. ``features``: the backbone's.
        ``forcing``: (batch, len(architecture.forcing), ocean rows, ocean columns), normalised, of the step's start.
        ``mask``: (channels, rows, columns), 1 on ocean; ``Transforms.inverse`` makes the result physical.
        """
        variables, ocean = self.transforms(physical), self.variable_mask(mask)
        inputs = self.state(variables, ocean)
        if self.architecture.forcing:
            shape = self.architecture.rows, self.architecture.columns
            inputs = torch.cat((inputs, resampled(forcing, shape)), dim=1)
        own = self.embedding(inputs)
        seen = self.from_features(resampled(features, self.architecture.token_shape).flatten(2).transpose(1, 2))
        tokens = self.norm(self.mixing(own + seen + self.position))
        fields = self.projection(
            tokens.transpose(1, 2).reshape(-1, self.architecture.dim, *self.architecture.token_shape)
        )
        result: Tensor = (variables + fields * self.state.change) * ocean
        return result

    def variable_mask(self, mask: Tensor) -> Tensor:
        """(channels, rows, columns) -> (variables, rows, columns)."""
        kinds = self.architecture.transforms
        return torch.cat([mask[number : number + 1].expand(2 if kind == "angle" else 1, -1, -1)
                          for number, kind in enumerate(kinds)])  # fmt: skip


def resampled(fields: Tensor, shape: tuple[int, int]) -> Tensor:
    """Bilinear (averaging where it gets coarser) from one grid to another over the same area; the same if it fits."""
    if tuple(fields.shape[2:]) == shape:
        return fields
    wide: Tensor = functional.interpolate(
        fields.float(), size=shape, mode="bilinear", align_corners=False, antialias=True
    )
    return wide


class Window(BaseModel):
    """The part of the ocean grid that is refined: rows ``south`` <= i < ``north``, columns ``west`` <= j < ``east``."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    south: int = Field(ge=0)
    north: int
    west: int = Field(ge=0)
    east: int

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of the coarse window."""
        return self.north - self.south, self.east - self.west


class DownscalingArchitecture(BaseModel):
    """The downscaling head: ``channels`` are labels of ocean channels; ``patch`` is the backbone's.

    ``static``: labels of forcing channels it reads itself. ``fading_per_day``: what is added to bicubic interpolation
    shrinks at this rate [day-1] with the lead, since fine eddies in the wrong place are worse than none. It is not
    learned: on the training days rollouts go astray later than on others.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    channels: tuple[str, ...] = Field(min_length=1)
    window: Window
    patch: int = Field(gt=0)
    static: tuple[str, ...] = ("elevation",)
    factor: int = Field(default=3, gt=1)
    fading_per_day: float = Field(default=0.035, ge=0)
    width: int = Field(default=48, gt=0)
    depth: int = Field(default=4, gt=0)


class ResidualConvolutions(nn.Module):
    """Two 3 x 3 convolutions and a skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, padding_mode="replicate"),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1, padding_mode="replicate"),
        )

    def forward(self, fields: Tensor) -> Tensor:
        """(batch, width, rows, columns) -> the same."""
        result: Tensor = fields + self.layers(fields)
        return result


class DownscalingHead(nn.Module):
    """Surface fields in a window and the features there -> the same fields on a grid ``factor`` times finer.

    What it learns is added to bicubic interpolation, in units of ``residual`` (channels, 1, 1): the standard deviation
    of what bicubic interpolation misses.
    """

    residual: Tensor

    def __init__(self, architecture: DownscalingArchitecture, feature_dim: int, residual: tuple[float, ...]) -> None:
        super().__init__()
        a = self.architecture = architecture
        count = len(a.channels)
        self.from_features = nn.ConvTranspose2d(feature_dim, a.width, a.patch, stride=a.patch)
        self.from_fields = nn.Conv2d(2 * count + len(a.static), a.width, 3, padding=1, padding_mode="replicate")
        self.coarse = nn.Sequential(*(ResidualConvolutions(a.width) for _ in range(a.depth)))
        self.enlarge = nn.ConvTranspose2d(a.width, a.width, a.factor, stride=a.factor)
        self.fine = nn.Sequential(nn.GELU(), ResidualConvolutions(a.width), nn.GELU())
        self.projection = nn.Conv2d(a.width, count, 3, padding=1, padding_mode="replicate")
        nn.init.zeros_(self.projection.weight)
        if self.projection.bias is not None:
            nn.init.zeros_(self.projection.bias)
        self.register_buffer("residual", torch.tensor(residual, dtype=torch.float32)[:, None, None], persistent=False)

    def forward(self, filled: Tensor, normalised: Tensor, mask: Tensor, static: Tensor, features: Tensor,
                lead: Tensor) -> Tensor:  # fmt: skip
        """(batch, channels, factor * window rows, factor * window columns), physical, values everywhere.

        ``filled``: (batch, channels, rows, columns) on the whole ocean grid, physical, land filled (``land_filled``).
        ``normalised``: the same fields normalised, zero on land. ``mask``: (channels, rows, columns). ``static``:
        (batch, static channels, rows, columns), normalised. ``features``: the backbone's. ``lead``: (batch,), days
        since the start: the longer, the less is added, for eddies that are misplaced are better left smooth.
        """
        window = self.architecture.window
        part = slice(window.south, window.north), slice(window.west, window.east)
        fields = torch.cat((normalised, mask.expand_as(normalised), static), dim=1)[..., part[0], part[1]]
        hidden = self.coarse(self.from_fields(fields) + self._windowed(features))
        correction: Tensor = self.projection(self.fine(self.enlarge(hidden)))
        kept = torch.exp(-self.architecture.fading_per_day * lead)[:, None, None, None]
        return bicubic(filled, window, self.architecture.factor) + self.residual * kept * correction

    def _windowed(self, features: Tensor) -> Tensor:
        """The features' own contribution, cell by cell, from the tokens that cover the window."""
        window, patch = self.architecture.window, self.architecture.patch
        rows = slice(window.south // patch, -(-window.north // patch))
        columns = slice(window.west // patch, -(-window.east // patch))
        cells: Tensor = self.from_features(features[..., rows, columns].float())
        south, west = window.south - rows.start * patch, window.west - columns.start * patch
        return cells[..., south : south + window.shape[0], west : west + window.shape[1]]


BICUBIC_REACH = 2
"""Cells beyond the window that bicubic interpolation looks at."""


def bicubic(filled: Tensor, window: Window, factor: int) -> Tensor:
    """Bicubic interpolation in the window: (..., rows, columns) -> (..., factor * window rows, factor * columns).

    Keys's kernel with a = -1/2 (torch has it under ``antialias``; otherwise a = -3/4), which is exact on planes. Each
    coarse cell becomes ``factor`` x ``factor`` cells; at the grid's own edge the kernel is cut and its weights still
    sum to 1.
    """
    rows, columns = filled.shape[-2:]
    south, north = max(window.south - BICUBIC_REACH, 0), min(window.north + BICUBIC_REACH, rows)
    west, east = max(window.west - BICUBIC_REACH, 0), min(window.east + BICUBIC_REACH, columns)
    fine = functional.interpolate(
        filled[..., south:north, west:east], scale_factor=factor, mode="bicubic", align_corners=False, antialias=True
    )
    first, left = (window.south - south) * factor, (window.west - west) * factor
    return fine[..., first : first + window.shape[0] * factor, left : left + window.shape[1] * factor]
