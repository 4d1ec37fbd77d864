"""What the networks are made of: patch embedding, position embedding, and the Fourier block on token sequences.

The block is the one-dimensional adaptive Fourier neural operator (Guibas et al. 2021, arXiv 2111.13587) as AI-GOMS
uses it (arXiv 2308.03152): it takes a sequence of any length, which is what permits masking.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

SOFT_SHRINKAGE = 0.01
"""Fourier coefficients smaller than this become zero (AFNO's sparsity threshold, dimensionless)."""

WEIGHT_SPREAD = 0.02
"""Standard deviation of the spectral weights at the start (AFNO; dimensionless)."""


class SpectralMixer(nn.Module):
    """Mix tokens in Fourier space: real FFT, a block-diagonal complex two-layer MLP shared by all frequencies, back.

    (batch, tokens, dim) -> the same; ``dim`` is cut into ``blocks`` blocks. Always in float32: a half-precision FFT
    needs lengths that are powers of two, and a bfloat16 one does not exist.
    """

    def __init__(self, dim: int, blocks: int) -> None:
        super().__init__()
        if dim % blocks:
            raise ValueError(f"dim {dim} is not a multiple of the {blocks} spectral blocks")
        self.blocks, size = blocks, dim // blocks
        self.first_weight = nn.Parameter(WEIGHT_SPREAD * torch.randn(2, blocks, size, size))
        self.first_bias = nn.Parameter(WEIGHT_SPREAD * torch.randn(2, blocks, 1, size))
        self.second_weight = nn.Parameter(WEIGHT_SPREAD * torch.randn(2, blocks, size, size))
        self.second_bias = nn.Parameter(WEIGHT_SPREAD * torch.randn(2, blocks, 1, size))

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, dim) of any float type -> (batch, tokens, dim) float32."""
        with full_precision(tokens.device):
            return self._mix(tokens.float())

    def _mix(self, tokens: Tensor) -> Tensor:
        batch, length, dim = tokens.shape
        spectrum = torch.fft.rfft(tokens, dim=1, norm="ortho")
        split = spectrum.reshape(batch, -1, self.blocks, dim // self.blocks).transpose(1, 2)
        values = torch.cat((split.real, split.imag), dim=-1)
        values = functional.relu(values @ _complex_matrix(self.first_weight) + _complex_vector(self.first_bias))
        values = values @ _complex_matrix(self.second_weight) + _complex_vector(self.second_bias)
        real, imaginary = functional.softshrink(values, SOFT_SHRINKAGE).chunk(2, dim=-1)
        mixed = torch.complex(real, imaginary).transpose(1, 2).reshape(batch, -1, dim)
        fields: Tensor = torch.fft.irfft(mixed, n=length, dim=1, norm="ortho")
        return fields


def full_precision(device: torch.device) -> torch.autocast:
    """Within it nothing on this device is cast to half precision."""
    return torch.autocast(device.type if torch.amp.is_autocast_available(device.type) else "cpu", enabled=False)


def _complex_matrix(weight: Tensor) -> Tensor:
    """(2, blocks, n, m) real and imaginary parts -> (blocks, 2n, 2m): acts on [real, imaginary] as the complex one."""
    real, imaginary = weight
    return torch.cat((torch.cat((real, imaginary), -1), torch.cat((-imaginary, real), -1)), -2)


def _complex_vector(bias: Tensor) -> Tensor:
    return torch.cat((bias[0], bias[1]), -1)


class FourierBlock(nn.Module):
    """LayerNorm -> spectral mixer -> + skip; LayerNorm -> two-layer perceptron (GELU) -> + skip. Keeps its shape."""

    def __init__(self, dim: int, blocks: int, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        hidden = int(dim * mlp_ratio)
        self.mixer_norm, self.mixer = nn.LayerNorm(dim), SpectralMixer(dim, blocks)
        self.perceptron_norm = nn.LayerNorm(dim)
        self.perceptron = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, dim) -> (batch, tokens, dim)."""
        tokens = tokens + self.mixer(self.mixer_norm(tokens))
        result: Tensor = tokens + self.perceptron(self.perceptron_norm(tokens))
        return result


class PatchEmbedding(nn.Module):
    """Fields -> one token per ``patch`` x ``patch`` cells, row by row.

    ``halo``: cells beyond the patch that its token also sees (0 is the paper's): around the seam where ``periodic``,
    zeros beyond the other edges. The convolution is computed as the matrix product it is where patches do not
    overlap: three times faster on a processor.
    """

    def __init__(self, channels: int, dim: int, patch: int, halo: int = 0, *, periodic: bool = True) -> None:
        super().__init__()
        self.halo, self.periodic = halo, periodic
        self.projection = nn.Conv2d(channels, dim, kernel_size=patch + 2 * halo, stride=patch)

    def forward(self, fields: Tensor) -> Tensor:
        """(batch, channels, rows, columns) -> (batch, rows / patch * columns / patch, dim), in float32."""
        if self.halo:
            sides = (self.halo, self.halo, 0, 0)
            fields = functional.pad(fields, sides, mode="circular") if self.periodic else functional.pad(fields, sides)
            fields = functional.pad(fields, (0, 0, self.halo, self.halo))
        size, stride = self.projection.kernel_size[0], self.projection.stride[0]
        patches = fields.unfold(2, size, stride).unfold(3, size, stride).permute(0, 2, 3, 1, 4, 5)
        with full_precision(fields.device):
            flat = patches.reshape(fields.shape[0], -1, self.projection.weight[0].numel()).float()
            return functional.linear(flat, self.projection.weight.flatten(1), self.projection.bias)


class PatchProjection(nn.Module):
    """Tokens' features -> fields: ``ConvTranspose2d`` whose kernel and stride are the patch; zero at the start."""

    def __init__(self, dim: int, channels: int, patch: int) -> None:
        super().__init__()
        self.projection = nn.ConvTranspose2d(dim, channels, kernel_size=patch, stride=patch)
        nn.init.zeros_(self.projection.weight)
        if self.projection.bias is not None:
            nn.init.zeros_(self.projection.bias)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, dim, token rows, token columns) -> (batch, channels, rows, columns), in float32."""
        rows, columns = features.shape[2:]
        tokens, stride = features.flatten(2).transpose(1, 2), self.projection.stride[0]
        with full_precision(features.device):
            cells = (tokens.float() @ self.projection.weight.flatten(1)).transpose(1, 2)
            fields = functional.pixel_shuffle(cells.reshape(*cells.shape[:2], rows, columns), stride)
            return fields if self.projection.bias is None else fields + self.projection.bias[:, None, None]


def position_embedding(rows: int, columns: int, dim: int) -> Tensor:
    """Fixed two-dimensional sine-cosine position embedding, (rows * columns, dim): half for rows, half for columns."""
    if dim % 4:
        raise ValueError(f"a two-dimensional sine-cosine embedding needs a dim divisible by 4, not {dim}")
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.cat((_waves(row.flatten(), dim // 2), _waves(column.flatten(), dim // 2)), dim=1)


def _waves(positions: Tensor, dim: int) -> Tensor:
    """Sines and cosines of geometric wavelengths (Vaswani et al. 2017): (n,) -> (n, dim) float32."""
    rates = torch.exp(-math.log(10_000.0) * torch.arange(dim // 2, dtype=torch.float64) / (dim // 2))
    angles = positions.double()[:, None] * rates
    return torch.cat((angles.sin(), angles.cos()), dim=1).float()
