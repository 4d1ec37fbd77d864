"""Small untrained networks for the small drifting ocean, whose every weight matters."""

from __future__ import annotations

import torch

from models.backbone import Architecture
from models.checkpoint import About, Card, DownscalingCard, OceanCard, StateHeadCard, build
from models.heads import DownscalingArchitecture, StateHeadArchitecture, Window
from models.layers import PatchProjection
from models.normalisation import Statistics
from models.suite import Suite
from tests.toy_ocean import CHANNELS, COLUMNS, FORCING, PLANKTON, ROWS, WAVES

ABOUT = About(
    name="toy", trained_on="a drifting pattern", data_span="forty days", recipe="{}", seed=3, created="2026-01-01",
    code_version="0", scores={"to@0 day 5": 0.5},
)  # fmt: skip
ARCHITECTURE = Architecture(
    out_channels=len(CHANNELS), in_channels=len(CHANNELS) + len(FORCING), rows=ROWS, columns=COLUMNS, patch=4, halo=1,
    encoder_dim=32, encoder_depth=1, decoder_dim=48, decoder_depth=1,
)  # fmt: skip
WAVE_HEAD = StateHeadArchitecture(
    channels=WAVES, transforms=("nonnegative", "angle"), floors=(0.0, 0.0), forcing=("u10", "v10"), rows=ROWS,
    columns=COLUMNS, patch=4, dim=32,
)  # fmt: skip
PLANKTON_HEAD = StateHeadArchitecture(
    channels=PLANKTON, transforms=("log",), floors=(1e-3,), rows=ROWS, columns=COLUMNS, patch=4, dim=32
)
REFINEMENT = DownscalingArchitecture(
    channels=("to@0", "zos"), window=Window(south=9, north=13, west=5, east=11), patch=4, width=16, depth=2
)


def statistics(*mean: float, spread: float = 2.0, change: float = 0.3) -> Statistics:
    """The same spread and one-day change for every channel."""
    return Statistics(mean=mean, spread=(spread,) * len(mean), change=(change,) * len(mean))


def card(architecture: Architecture = ARCHITECTURE, *, heads: bool = True) -> Card:
    """A whole card for the small ocean."""
    return Card(
        format=1, about=ABOUT,
        ocean=OceanCard(architecture=architecture, channels=CHANNELS, forcing=FORCING,
                        statistics=statistics(15, 9, 0.1), forcing_statistics=statistics(0, 0, -3000, spread=10.0)),
        waves=StateHeadCard(architecture=WAVE_HEAD, statistics=statistics(2, 0, 0)) if heads else None,
        biogeochemistry=StateHeadCard(architecture=PLANKTON_HEAD, statistics=statistics(-1)) if heads else None,
        kuroshio=DownscalingCard(architecture=REFINEMENT, residual=(0.3, 0.02)) if heads else None,
    )  # fmt: skip


def suite(description: Card, seed: int = 5) -> Suite:
    """Its networks, with projections that are not zero and a background that is not flat."""
    torch.manual_seed(seed)
    networks = build(description)
    for module in networks.modules():
        if isinstance(module, PatchProjection):
            torch.nn.init.normal_(module.projection.weight, std=0.2)
    if networks.kuroshio is not None:
        torch.nn.init.normal_(networks.kuroshio.projection.weight, std=0.1)
    torch.nn.init.normal_(networks.ocean.ocean.background, std=0.2)
    networks.ocean.ocean.refresh()
    return networks.eval().requires_grad_(False)
