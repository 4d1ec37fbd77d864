"""The backbone: a masked autoencoder on Fourier blocks that takes today's ocean to tomorrow's (AI-GOMS).

patch embedding -> drop masked tokens -> encoder -> put mask tokens in place -> decoder -> LayerNorm = the *feature
tensor* -> projection. The downstream heads read the feature tensor.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from models.layers import FourierBlock, PatchEmbedding, PatchProjection, position_embedding, row_embedding

Predicts = Literal["state", "increment"]
Mixing = Literal["sequence", "plane"]


class Architecture(BaseModel):
    """The backbone's shape. ``in_channels`` counts the state's channels and the forcing's.

    ``predicts``: "state" is the paper's: the network's output is tomorrow's normalised state. With "increment" it is
    the one-day change in units of each channel's one-day standard deviation, added to the state: an untrained network
    is then persistence, and a small one need not reproduce what does not change.
    ``halo``: cells around each patch that its token sees too; 0 in the paper. ``periodic``: longitudes close.
    ``mixing``: "sequence" is the paper's: one Fourier transform along all tokens, row after row. With "plane" rows and
    columns are transformed apart, longitudes close in the transform too, and a token knows its row but not its column:
    what is shifted east by whole patches, land, sea and forcing alike, is forecast shifted.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    out_channels: int = Field(gt=0)
    in_channels: int = Field(gt=0)
    rows: int = Field(gt=0)
    columns: int = Field(gt=0)
    patch: int = Field(gt=0)
    encoder_dim: int = Field(gt=0)
    encoder_depth: int = Field(gt=0)
    decoder_dim: int = Field(gt=0)
    decoder_depth: int = Field(gt=0)
    blocks: int = Field(default=8, gt=0)
    mlp_ratio: float = Field(default=4.0, gt=0)
    halo: int = Field(default=0, ge=0)
    periodic: bool = True
    predicts: Predicts = "increment"
    mixing: Mixing = "sequence"

    @model_validator(mode="after")
    def _whole_blocks(self) -> Self:
        waves = 4 if self.mixing == "sequence" else 2  # sines and cosines, of rows and columns or of rows alone
        for name, dim in (("encoder_dim", self.encoder_dim), ("decoder_dim", self.decoder_dim)):
            if dim % self.blocks or dim % waves:
                raise ValueError(f"{name} {dim} is not a multiple of blocks, {self.blocks}, and of {waves}")
        return self

    @model_validator(mode="after")
    def _whole_patches(self) -> Self:
        if self.rows % self.patch or self.columns % self.patch:
            raise ValueError(f"{self.rows} x {self.columns} cells do not divide into patches of {self.patch}")
        if self.mixing == "plane" and not self.periodic:
            raise ValueError("mixing in the plane needs longitudes that close (periodic)")
        return self

    @property
    def token_shape(self) -> tuple[int, int]:
        """(rows, columns) of tokens."""
        return self.rows // self.patch, self.columns // self.patch

    @property
    def tokens(self) -> int:
        """Number of tokens of one state."""
        return self.token_shape[0] * self.token_shape[1]

    @property
    def feature_shape(self) -> tuple[int, int, int]:
        """(dim, token rows, token columns) of the feature tensor."""
        return self.decoder_dim, *self.token_shape


PAPER = Architecture(
    out_channels=61, in_channels=67, rows=720, columns=1440, patch=8,
    encoder_dim=512, encoder_depth=16, decoder_dim=1024, decoder_depth=8, predicts="state",
)  # fmt: skip
"""AI-GOMS at 1/4 degree: about 114 million parameters (arXiv 2308.03152)."""

TWIN = Architecture(
    out_channels=61, in_channels=67, rows=180, columns=360, patch=4, halo=1,
    encoder_dim=192, encoder_depth=2, decoder_dim=192, decoder_depth=2,
)  # fmt: skip
"""The same at 1 degree, small enough to train on two cores and to be kept beside the code."""

REGIONAL = Architecture(
    out_channels=61, in_channels=67, rows=44, columns=24, patch=4, halo=1, periodic=False,
    encoder_dim=192, encoder_depth=2, decoder_dim=192, decoder_depth=2,
)  # fmt: skip
"""A small sea with open edges, 44 x 24 cells."""


AGULHAS = Architecture(
    out_channels=2, in_channels=2, rows=40, columns=80, patch=4, halo=2, periodic=False, encoder_dim=96,
    encoder_depth=2, decoder_dim=96, decoder_depth=1, mlp_ratio=2.0,
)  # fmt: skip
"""Two currents in a small region, 40 x 80 cells."""


class Output(NamedTuple):
    """What one pass gives: ``fields`` (batch, out, rows, columns), ``features`` (batch, dim, token rows, columns)."""

    fields: Tensor
    features: Tensor


class Backbone(nn.Module):
    """The network in model space: normalised fields in, normalised fields (or increments) and features out."""

    encoder_position: Tensor
    decoder_position: Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = self.architecture = architecture
        self.embedding = PatchEmbedding(a.in_channels, a.encoder_dim, a.patch, a.halo, periodic=a.periodic)
        self.encoder = _blocks(a.encoder_depth, a.encoder_dim, a)
        self.to_decoder = nn.Linear(a.encoder_dim, a.decoder_dim)
        self.mask_token = nn.Parameter(0.02 * torch.randn(a.decoder_dim))
        self.decoder = _blocks(a.decoder_depth, a.decoder_dim, a)
        self.feature_norm = nn.LayerNorm(a.decoder_dim)
        self.projection = PatchProjection(a.decoder_dim, a.out_channels, a.patch)
        embed = position_embedding if a.mixing == "sequence" else row_embedding
        positions = embed(*a.token_shape, a.encoder_dim), embed(*a.token_shape, a.decoder_dim)
        self.register_buffer("encoder_position", positions[0], persistent=False)
        self.register_buffer("decoder_position", positions[1], persistent=False)

    def forward(self, fields: Tensor, visible: Tensor | None = None) -> Output:
        """One pass.

        ``fields``: (batch, in_channels, rows, columns), normalised, zero on land. ``visible``: (batch, visible tokens)
        indices in raster order of the tokens the encoder may see; ``None``: all of them.
        """
        features = self.feature_norm(self.decode(self.encode(fields, visible), visible))
        features = features.transpose(1, 2).reshape(-1, *self.architecture.feature_shape)
        return Output(self.projection(features), features)

    def encode(self, fields: Tensor, visible: Tensor | None = None) -> Tensor:
        """Only visible tokens: (batch, in_channels, rows, columns) -> (batch, visible tokens, encoder_dim).

        A plane has no gaps: there a masked token is its row's embedding and nothing else until it is dropped.
        """
        if visible is None:
            whole: Tensor = self.encoder(self.embedding(fields) + self.encoder_position)
            return whole
        tokens = self.embedding(fields * self._cells(self._seen(visible, fields)))
        kept = visible[..., None].expand(-1, -1, tokens.shape[-1])
        if self.architecture.mixing == "sequence":
            encoded: Tensor = self.encoder(torch.gather(tokens + self.encoder_position, 1, kept))
            return encoded
        seen = tokens * self._seen(visible, fields)[..., None]
        return torch.gather(self.encoder(seen + self.encoder_position), 1, kept)

    def decode(self, encoded: Tensor, visible: Tensor | None = None) -> Tensor:
        """Every token again: (batch, visible tokens, encoder_dim) -> (batch, tokens, decoder_dim)."""
        decoded: Tensor = self.decoder(self.restore(self.to_decoder(encoded), visible) + self.decoder_position)
        return decoded

    def restore(self, tokens: Tensor, visible: Tensor | None) -> Tensor:
        """Put visible tokens where they came from and the mask token everywhere else: (batch, tokens, decoder_dim)."""
        if visible is None:
            return tokens
        batch, _, dim = tokens.shape
        whole = self.mask_token.to(tokens.dtype).expand(batch, self.architecture.tokens, dim)
        return whole.scatter(1, visible[..., None].expand(-1, -1, dim), tokens)

    def _seen(self, visible: Tensor, fields: Tensor) -> Tensor:
        """(batch, tokens): 1 at visible ones, 0 at masked ones."""
        return fields.new_zeros(visible.shape[0], self.architecture.tokens).scatter(1, visible, 1.0)

    def _cells(self, seen: Tensor) -> Tensor:
        """(batch, 1, rows, columns): 1 in visible patches, 0 in masked ones, so that no halo shows what is masked."""
        seen = seen.reshape(-1, 1, *self.architecture.token_shape)
        return seen.repeat_interleave(self.architecture.patch, 2).repeat_interleave(self.architecture.patch, 3)


def _blocks(depth: int, dim: int, architecture: Architecture) -> nn.Sequential:
    a = architecture
    grid = a.token_shape if a.mixing == "plane" else None
    return nn.Sequential(*(FourierBlock(dim, a.blocks, a.mlp_ratio, grid) for _ in range(depth)))


def random_visible(batch: int, tokens: int, mask_ratio: float, generator: torch.Generator) -> Tensor | None:
    """Indices (batch, visible) in raster order of the tokens left visible; ``None`` where nothing is masked.

    ``mask_ratio`` of the tokens, rounded down, are masked, drawn anew for each sample.
    """
    hidden = int(tokens * mask_ratio)
    if hidden == 0:
        return None
    order = torch.rand(batch, tokens, generator=generator).argsort(dim=1)
    return order[:, hidden:].sort(dim=1).values
