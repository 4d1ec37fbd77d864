"""One day's step of the ocean in physical units: normalise, run the backbone, add what it says."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.backbone import Architecture, Backbone
from models.normalisation import Normalisation


class Step(NamedTuple):
    """Tomorrow's ``ocean`` in physical units, zero on land, and the ``features`` the heads read."""

    ocean: Tensor
    features: Tensor


class OceanModel(nn.Module):
    """The backbone between its normalisations."""

    def __init__(self, architecture: Architecture, ocean: Normalisation, forcing: Normalisation) -> None:
        super().__init__()
        self.architecture, self.backbone = architecture, Backbone(architecture)
        self.ocean, self.forcing = ocean, forcing

    def forward(self, ocean: Tensor, forcing: Tensor, mask: Tensor, visible: Tensor | None = None) -> Step:
        """Day n -> n + 1.

        ``ocean``: (batch, out_channels, rows, columns) on day n in physical units, anything finite on land.
        ``forcing``: (batch, forcing channels, rows, columns) on day n, the start of the step. ``mask``: (out_channels,
        rows, columns), 1 on ocean. ``visible``: see ``Backbone.forward``.
        """
        inputs = torch.cat((self.ocean(ocean, mask), self.atmosphere(forcing)), dim=1)
        fields, features = self.backbone(inputs, visible)
        if self.architecture.predicts == "increment":
            return Step((ocean + fields * self.ocean.change) * mask, features)
        return Step(self.ocean.inverse(fields, mask), features)

    def atmosphere(self, forcing: Tensor) -> Tensor:
        """The forcing, normalised, which has no land."""
        fields: Tensor = self.forcing(forcing, torch.ones_like(forcing[0, :1]))
        return fields
