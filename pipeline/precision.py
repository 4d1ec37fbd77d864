"""Rounds float32 to the mantissa bits worth keeping: what is noise does not compress."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FLOAT32_MANTISSA_BITS = 23
BLOCK = 32_768
"""Values rounded at a time: 128 KiB and its scratch stay in a processor's second-level cache."""


def round_mantissa(values: NDArray[np.float32], bits: int) -> None:
    """Round in place to ``bits`` explicit mantissa bits, to nearest, ties to even; NaN and infinities stay.

    ``values``: float32, C-contiguous. The relative error is at most 2**-(bits + 1). Every NaN comes out as the one
    quiet NaN, so that equal fields have equal bytes.
    """
    if values.dtype != np.float32 or not values.flags.c_contiguous:
        raise ValueError(f"needs C-contiguous float32, got {values.dtype} with strides {values.strides}")
    dropped = FLOAT32_MANTISSA_BITS - bits
    if not 0 <= dropped < FLOAT32_MANTISSA_BITS:
        raise ValueError(f"mantissa bits must be 1..{FLOAT32_MANTISSA_BITS}, got {bits}")
    flat = values.reshape(-1)
    for start in range(0, flat.size, BLOCK):
        block = flat[start : start + BLOCK]
        missing = np.isnan(block)
        if dropped:
            _round(block.view(np.uint32), dropped)
        np.copyto(block, np.float32("nan"), where=missing)


def _round(words: NDArray[np.uint32], dropped: int) -> None:
    """Add half of the last kept bit, less one when that bit is even, and cut: a carry moves the exponent, rightly."""
    last_kept = words >> np.uint32(dropped)
    last_kept &= np.uint32(1)
    last_kept += np.uint32((1 << (dropped - 1)) - 1)
    words += last_kept
    words &= np.uint32(~((1 << dropped) - 1) & 0xFFFFFFFF)
