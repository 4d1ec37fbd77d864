"""The backbone and its heads together: one day's step of everything, as training and forecasting both take it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn

from models.heads import DownscalingHead, StateHead
from models.ocean import OceanModel

STATE_HEADS = ("waves", "biogeochemistry")
"""The heads that carry a state of their own, by the name of their array."""

LEAST = {"to": -2.1, "so": 0.0}
"""What no sea water is below, by the variable of a channel's label: its freezing point [degC], and no salt at all.

A rollout may not drift below it: -2.1 degC freezes water of salinity 38 (UNESCO 1983 formula), fresher water earlier.
"""

Fields = Mapping[str, Tensor]
"""By array name: ``ocean``, ``waves``, ``biogeochemistry``; (batch, channels, rows, columns), physical, 0 on land."""


class Advance(NamedTuple):
    """One day on: physical ``fields``, the heads' model ``variables``, and the ``features`` of the step."""

    fields: dict[str, Tensor]
    variables: dict[str, Tensor]
    features: Tensor


class Labels(NamedTuple):
    """Names of the ocean's and the forcing's channels, in order."""

    ocean: tuple[str, ...]
    forcing: tuple[str, ...]


class Suite(nn.Module):
    """The ocean model, and the heads that were trained on it (any of them may be missing).

    ``least``: the lower limit of each ocean channel, (channels, 1, 1).
    """

    least: Tensor

    def __init__(self, labels: Labels, ocean: OceanModel, heads: Mapping[str, StateHead],
                 kuroshio: DownscalingHead | None = None) -> None:  # fmt: skip
        super().__init__()
        self.labels, self.ocean, self.kuroshio = labels, ocean, kuroshio
        self.heads = nn.ModuleDict(dict(heads))
        limits = [LEAST.get(label.partition("@")[0], -math.inf) for label in labels.ocean]
        self.register_buffer("least", torch.tensor(limits)[:, None, None], persistent=False)

    def advance(self, fields: Fields, forcing: Tensor, masks: Fields) -> Advance:
        """Day n -> n + 1 of the ocean, kept above ``LEAST``, and of each head whose state is there.

        ``forcing``: (batch, forcing channels, rows, columns), physical, on day n. ``masks``: for each array (channels,
        rows, columns), 1 on ocean.
        """
        step = self.ocean(fields["ocean"], forcing, masks["ocean"])
        variables = self.advance_heads(fields, forcing, masks, step.features)
        following = {"ocean": torch.maximum(step.ocean, self.least) * masks["ocean"]}
        for name, values in variables.items():
            following[name] = self.head(name).physical(values) * masks[name]
        return Advance(following, variables, step.features)

    def advance_heads(self, fields: Fields, forcing: Tensor, masks: Fields, features: Tensor) -> dict[str, Tensor]:
        """The heads' model variables on day n + 1, from everything on day n and the features of the step."""
        atmosphere = self.ocean.atmosphere(forcing)
        result = {}
        for name in self.heads:
            if name in fields:
                head = self.head(name)
                own = chosen(atmosphere, [self.labels.forcing.index(label) for label in head.architecture.forcing])
                result[name] = head(fields[name], features, own, masks[name])
        return result

    def head(self, name: str) -> StateHead:
        """The state head of that array."""
        head = self.heads[name]
        assert isinstance(head, StateHead)
        return head

    def downscale(self, ocean: Tensor, forcing: Tensor, features: Tensor, surface: Surface, lead: Tensor) -> Tensor:
        """The refined window: (batch, channels, fine rows, fine columns), physical, values everywhere.

        ``ocean`` (batch, ocean channels, rows, columns): the day to refine. ``features``: of the step that ended or
        began on that day, ``forcing``: of that step. ``lead``: (batch,), that day's lead in days.
        """
        if self.kuroshio is None:
            raise ValueError("this suite has no downscaling head")
        index = [self.labels.ocean.index(label) for label in self.kuroshio.architecture.channels]
        static = [self.labels.forcing.index(label) for label in self.kuroshio.architecture.static]
        normalised = chosen(self.ocean.ocean(ocean, surface.ocean_mask), index)
        filled = land_filled(chosen(ocean, index), surface.nearest)
        fine: Tensor = self.kuroshio(
            filled,
            normalised,
            chosen(surface.ocean_mask[None], index)[0],
            chosen(self.ocean.atmosphere(forcing), static),
            features,
            lead,
        )
        return fine

    def surface(self, ocean_mask: Tensor) -> Surface | None:
        """What the downscaling needs of the land mask (channels, rows, columns); ``None`` without such a head.

        On the device of the networks, wherever the mask is.
        """
        if self.kuroshio is None:
            return None
        index = [self.labels.ocean.index(label) for label in self.kuroshio.architecture.channels]
        nearest = nearest_ocean(ocean_mask[index].cpu().numpy() > 0)
        return Surface(ocean_mask.to(self.least.device), nearest.to(self.least.device))


class Surface(NamedTuple):
    """The ocean's mask (channels, rows, columns) and, for the downscaled channels, ``nearest_ocean``."""

    ocean_mask: Tensor
    nearest: Tensor


def chosen(fields: Tensor, index: Sequence[int]) -> Tensor:
    """These channels of (batch, channels, rows, columns), in this order; the host need not wait for a device."""
    return torch.cat([fields[:, number : number + 1] for number in index], dim=1) if index else fields[:, :0]


def nearest_ocean(mask: NDArray[np.bool_]) -> Tensor:
    """For every cell the flat index of the ocean cell nearest to it on the grid: (channels, rows * columns).

    ``mask``: (channels, rows, columns), True on ocean. Distances are counted in cells, not across the seam.
    """
    rows, columns = mask.shape[1:]
    index = np.empty((mask.shape[0], rows * columns), dtype=np.int64)
    for channel, ocean in enumerate(mask):
        if not ocean.any():
            raise ValueError(f"channel {channel} of the mask has no ocean cell: there is nothing to fill land from")
        row, column = ndimage.distance_transform_edt(~ocean, return_distances=False, return_indices=True)
        index[channel] = (row * columns + column).ravel()
    return torch.from_numpy(index)


def land_filled(fields: Tensor, nearest: Tensor) -> Tensor:
    """Each land cell given the value of the nearest ocean cell: (batch, channels, rows, columns)."""
    flat = fields.flatten(2)
    return torch.gather(flat, 2, nearest.expand(flat.shape[0], -1, -1)).reshape(fields.shape)
