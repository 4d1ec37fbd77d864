"""What a forecast costs before it is begun: weights, operations, bytes, and the memory that must be free."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch

from models.backbone import PAPER, REGIONAL, TWIN, Architecture
from models.engine import Engine
from models.errors import DeviceError

FLOAT = 4
"""Bytes of a float32."""
GIB = 2**30
PASSES = 9
"""Times a Fourier block must read or write its tokens at the least: the transform needs them all before it gives any.

tokens, spectrum out, in, out, in, tokens again, out; then the perceptron's tokens in and out.
"""
PRESETS = {"paper": PAPER, "twin": TWIN, "regional": REGIONAL}
"""Architectures by the names that operators type."""


class Cost(NamedTuple):
    """Of one day-step of the backbone.

    ``block_operations``: multiplications and additions of the products in the Fourier blocks; ``other_operations``: in
    the patch layers and between encoder and decoder. Transforms and all that is done value by value are not counted.
    ``moved_bytes``: the least that passes between the device and its memory. ``host_bytes``: one day to host memory.
    """

    parameters: int
    block_operations: int
    other_operations: int
    moved_bytes: int
    host_bytes: int

    @property
    def operations(self) -> int:
        """All products."""
        return self.block_operations + self.other_operations


def cost(a: Architecture, precision: str = "float32") -> Cost:
    """The cost of one day-step of a backbone on one state."""
    encoder, decoder = (_block(a, dim) for dim in (a.encoder_dim, a.decoder_dim))
    window, cells = (a.patch + 2 * a.halo) ** 2, a.rows * a.columns
    embedding, projection = a.in_channels * window * a.encoder_dim, a.decoder_dim * a.out_channels * a.patch**2
    between = a.encoder_dim * a.decoder_dim
    weights = a.encoder_depth * encoder.weights + a.decoder_depth * decoder.weights
    others = (embedding + a.encoder_dim) + (between + a.decoder_dim) + a.decoder_dim + 2 * a.decoder_dim
    others += projection + a.out_channels
    short = 2 if precision == "bfloat16" else FLOAT
    passes = PASSES * a.tokens * (a.encoder_depth * a.encoder_dim + a.decoder_depth * a.decoder_dim)
    fields = (a.in_channels + a.out_channels) * cells
    return Cost(
        parameters=weights + others,
        block_operations=a.encoder_depth * encoder.operations + a.decoder_depth * decoder.operations,
        other_operations=2 * a.tokens * (embedding + between + projection),
        moved_bytes=short * weights + FLOAT * (others + passes + fields),
        host_bytes=FLOAT * a.out_channels * cells,
    )


class _Block(NamedTuple):
    weights: int
    operations: int


def _block(a: Architecture, dim: int) -> _Block:
    hidden, size = int(dim * a.mlp_ratio), dim // a.blocks
    rows, columns = a.token_shape
    frequencies = a.tokens // 2 + 1 if a.mixing == "sequence" else rows * (columns // 2 + 1)
    perceptron = 2 * dim * hidden
    spectral = 2 * a.blocks * (2 * size) ** 2  # two layers of complex products as real ones
    biases = 2 * 2 * dim if a.mixing == "sequence" else dim
    cosines = 0 if a.mixing == "sequence" else 2 * 2 * rows * a.tokens * dim
    return _Block(
        weights=4 * dim + perceptron + hidden + dim + 2 * 2 * a.blocks * size**2 + biases,
        operations=2 * a.tokens * perceptron + 2 * frequencies * spectral + cosines,
    )


def need_bytes(a: Architecture, precision: str = "float32") -> int:
    """Memory that a rollout of the backbone must find free, however many days it has: what is alive at its fullest.

    Weights, the state and the day on its way out, and whichever is larger: the patches, a block's hidden tokens twice
    (as they are and through the nonlinearity), or the projection's cells three times (as they come, in order, with
    their bias).
    """
    short = 2 if precision == "bfloat16" else FLOAT
    fields, tokens = FLOAT * a.rows * a.columns, a.tokens
    dim = max(a.encoder_dim, a.decoder_dim)
    embedding = 2 * a.in_channels * fields * (1 + 2 * a.halo / a.patch) ** 2
    block = tokens * dim * (2 * a.mlp_ratio * short + 4 * FLOAT)
    projection = 3 * a.out_channels * fields + 2 * FLOAT * tokens * dim
    held = 4 * a.out_channels * fields  # the state, its mask, the statistics' mean field, the day on its way out
    return int(cost(a, precision).parameters * short + held + max(embedding, block, projection))


def described(name: str, a: Architecture) -> str:
    """A model and its preset in words."""
    preset = next((name for name, other in PRESETS.items() if a == other), "of its own")
    size = f"{a.in_channels}/{a.out_channels} channels, {a.rows} x {a.columns}"
    return f"{name} (preset {preset}: {size}, {cost(a).parameters / 1e6:.0f} million parameters)"


def check_memory(name: str, a: Architecture, engine: Engine) -> None:
    """``DeviceError`` where the device has less memory free than a rollout needs; nothing where it cannot be known."""
    free, need = free_bytes(torch.device(engine.device)), need_bytes(a, engine.precision)
    if free is not None and free < need:
        raise _short(name, a, engine, f"{free / GIB:.1f} GiB free")


@contextmanager
def memory_told(name: str, a: Architecture, engine: Engine) -> Iterator[None]:
    """Within it, running out of the device's memory is a ``DeviceError`` that says what was needed and what is free."""
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one; the processor's allocator has no type of its own
        if not isinstance(error, torch.OutOfMemoryError) and not _NO_MEMORY.search(str(error)):
            raise
        free = free_bytes(torch.device(engine.device))
        left = "an unknown amount" if free is None else f"{free / GIB:.1f} GiB"
        said = " ".join(str(error).split())[:200]
        raise _short(name, a, engine, f"{left} free when an allocation failed ({said})") from error


_NO_MEMORY = re.compile(r"can't allocate memory|out of memory", re.IGNORECASE)


def _short(name: str, a: Architecture, engine: Engine, found: str) -> DeviceError:
    need = need_bytes(a, engine.precision) / GIB
    return DeviceError(
        f"about {need:.1f} GiB of memory for the backbone of {described(name, a)} in {engine.precision}", found=found,
        where=f"device {engine.device}", action="end what else uses it, or run on another device (GOMS_DEVICE)",
    )  # fmt: skip


def free_bytes(device: torch.device) -> int | None:
    """Memory that can be had on a device; ``None`` where the system does not say.

    On an NVIDIA device: what is free, and what torch holds in reserve. On a processor: what Linux calls available, or
    what the control group leaves, whichever is less.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free) + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    known = [value for value in (_available(), _group_left()) if value is not None]
    return min(known, default=None)


def _available() -> int | None:
    path = Path("/proc/meminfo")
    found = re.search(r"MemAvailable:\s+(\d+) kB", path.read_text(encoding="ascii")) if path.is_file() else None
    return None if found is None else 1024 * int(found[1])


def _group_left(folder: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What version 2 of control groups leaves: the limit, less what is used and cannot be taken back."""
    limit, used, statistics = folder / "memory.max", folder / "memory.current", folder / "memory.stat"
    if not (limit.is_file() and used.is_file() and statistics.is_file()):
        return None
    most, cached = limit.read_text().strip(), re.search(r"inactive_file (\d+)", statistics.read_text())
    return None if most == "max" else int(most) - int(used.read_text()) + (0 if cached is None else int(cached[1]))
