"""What the networks needed of an accelerator's memory at the most."""

from __future__ import annotations

import torch


def forget() -> None:
    """Count from here on."""
    for number in _used():
        torch.cuda.reset_peak_memory_stats(number)


def device_bytes() -> int | None:
    """The most that tensors took since then on the NVIDIA device that took most; ``None`` where none is used."""
    return max((torch.cuda.max_memory_allocated(number) for number in _used()), default=None)


def _used() -> range:
    """Devices, where this process has begun to use any: to ask earlier would make it begin."""
    return range(torch.cuda.device_count() if torch.cuda.is_initialized() else 0)  # type: ignore[no-untyped-call]
