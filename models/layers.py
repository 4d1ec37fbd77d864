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

    (batch, tokens, dim) -> the same; ``dim`` is cut into ``blocks`` blocks. The transforms are always in float32: a
    half-precision FFT needs lengths that are powers of two, and a bfloat16 one does not exist. The products are in the
    precision of the weights.
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
        values = torch.cat((split.real, split.imag), dim=-1).to(self.first_weight.dtype)
        values = functional.relu(values @ _complex_matrix(self.first_weight) + _complex_vector(self.first_bias))
        values = values @ _complex_matrix(self.second_weight) + _complex_vector(self.second_bias)
        real, imaginary = functional.softshrink(values.float(), SOFT_SHRINKAGE).chunk(2, dim=-1)
        mixed = torch.complex(real, imaginary).transpose(1, 2).reshape(batch, -1, dim)
        fields: Tensor = torch.fft.irfft(mixed, n=length, dim=1, norm="ortho")
        return fields


class PlaneMixer(nn.Module):
    """Mix tokens in both directions of a grid whose longitudes close: shifting the tokens east shifts the result.

    Cosines along latitude, which ends at the poles, and a real FFT along longitude; the spectrum goes through two
    block-diagonal complex layers shared by all frequencies. What is done to a coefficient depends on its magnitude
    alone and keeps its phase (the first layer's threshold is learned, the last is ``SOFT_SHRINKAGE``), and no bias is
    added to it: a shift multiplies each coefficient by a phase, and so commutes with all of it. The sequence mixer
    treats real and imaginary parts apart, which a phase mixes.
    (batch, rows * columns, dim), row by row, -> the same. Transforms in float32, products as in the sequence mixer.
    """

    cosines: Tensor

    def __init__(self, dim: int, blocks: int, grid: tuple[int, int]) -> None:
        super().__init__()
        if dim % blocks:
            raise ValueError(f"dim {dim} is not a multiple of the {blocks} spectral blocks")
        self.blocks, self.grid, size = blocks, grid, dim // blocks
        self.first_weight = nn.Parameter(WEIGHT_SPREAD * torch.randn(2, blocks, size, size))
        self.second_weight = nn.Parameter(WEIGHT_SPREAD * torch.randn(2, blocks, size, size))
        self.threshold = nn.Parameter(WEIGHT_SPREAD * torch.randn(blocks, 1, size))
        self.register_buffer("cosines", cosine_transform(grid[0]), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, dim) of any float type -> (batch, tokens, dim) float32."""
        with full_precision(tokens.device):
            return self._mix(tokens.float())

    def _mix(self, tokens: Tensor) -> Tensor:
        (batch, _, dim), (rows, columns) = tokens.shape, self.grid
        along = (self.cosines @ tokens.reshape(batch, rows, columns * dim)).reshape(batch, rows, columns, dim)
        spectrum = torch.fft.rfft(along, dim=2, norm="ortho")
        split = spectrum.reshape(batch, -1, self.blocks, dim // self.blocks).transpose(1, 2)
        kind, values = self.first_weight.dtype, torch.cat((split.real, split.imag), dim=-1)
        values = lengthened((values.to(kind) @ _complex_matrix(self.first_weight)).float(), self.threshold.float())
        values = lengthened((values.to(kind) @ _complex_matrix(self.second_weight)).float(), -SOFT_SHRINKAGE)
        real, imaginary = values.chunk(2, dim=-1)
        mixed = torch.complex(real, imaginary).transpose(1, 2).reshape(batch, rows, -1, dim)
        back = torch.fft.irfft(mixed, n=columns, dim=2, norm="ortho").reshape(batch, rows, columns * dim)
        fields: Tensor = (self.cosines.T @ back).reshape(tokens.shape)
        return fields


SHORTEST = 1e-6
"""Magnitudes below this count as it where a coefficient is divided by its own (dimensionless)."""


def lengthened(values: Tensor, by: Tensor | float) -> Tensor:
    """Complex numbers as [real, imaginary] along the last axis: magnitudes longer by that, not below 0; phases kept."""
    real, imaginary = values.chunk(2, dim=-1)
    magnitude = (real.square() + imaginary.square() + SHORTEST**2).sqrt()
    scale = functional.relu(magnitude + by) / magnitude
    return torch.cat((real * scale, imaginary * scale), dim=-1)


def cosine_transform(length: int) -> Tensor:
    """The orthonormal cosine transform (DCT-II) as a matrix (frequency, place): its transpose is its inverse."""
    place, frequency = torch.arange(length, dtype=torch.float64), torch.arange(length, dtype=torch.float64)[:, None]
    matrix = (2 / length) ** 0.5 * torch.cos(math.pi * (place + 0.5) * frequency / length)
    matrix[0] /= 2**0.5
    result: Tensor = matrix.float()
    return result


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
    """LayerNorm -> spectral mixer -> + skip; LayerNorm -> two-layer perceptron (GELU) -> + skip. Keeps its shape.

    ``grid``: (rows, columns) of tokens, mixed in both directions (``PlaneMixer``); ``None``: a sequence of any length.
    """

    def __init__(self, dim: int, blocks: int, mlp_ratio: float = 4.0, grid: tuple[int, int] | None = None) -> None:
        super().__init__()
        hidden = int(dim * mlp_ratio)
        self.mixer_norm = nn.LayerNorm(dim)
        self.mixer = SpectralMixer(dim, blocks) if grid is None else PlaneMixer(dim, blocks, grid)
        self.perceptron_norm = nn.LayerNorm(dim)
        self.perceptron = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, dim) -> (batch, tokens, dim)."""
        tokens = tokens + self.mixer(self.mixer_norm(tokens))
        result: Tensor = tokens + self.perceptron(self.perceptron_norm(tokens).to(self._precision))
        return result

    @property
    def _precision(self) -> torch.dtype:
        weight = self.perceptron[0].weight
        assert isinstance(weight, Tensor)
        return weight.dtype

    def shorten(self) -> None:
        """Weights of the products in bfloat16, which are most of the work; sums, norms, transforms stay float32."""
        for parameter in (*self.mixer.parameters(), *self.perceptron.parameters()):
            parameter.data = parameter.data.bfloat16()


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


def row_embedding(rows: int, columns: int, dim: int) -> Tensor:
    """Fixed sine-cosine embedding of the row alone, (rows * columns, dim): every longitude is like any other."""
    return _waves(torch.arange(rows).repeat_interleave(columns), dim)


def _waves(positions: Tensor, dim: int) -> Tensor:
    """Sines and cosines of geometric wavelengths (Vaswani et al. 2017): (n,) -> (n, dim) float32."""
    rates = torch.exp(-math.log(10_000.0) * torch.arange(dim // 2, dtype=torch.float64) / (dim // 2))
    angles = positions.double()[:, None] * rates
    return torch.cat((angles.sin(), angles.cos()), dim=1).float()
