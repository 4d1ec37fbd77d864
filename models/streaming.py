"""Fields to a device and days back from it, while the device goes on. On the processor nothing is moved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Landing(NamedTuple):
    """Fields on their way to host memory: ``arrays`` waits for them."""

    fields: dict[str, Tensor]
    arrived: torch.cuda.Event | None

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """By name (channel, latitude, longitude); the caller owns them."""
        if self.arrived is not None:
            self.arrived.synchronize()
        return {name: values[0].numpy() for name, values in self.fields.items()}


class Transfers:
    """Copies between host memory and one device.

    On an NVIDIA device host memory is page-locked, from torch's cache, which gives a block out again when its reader
    has dropped the array: as long as readers keep up, two days' worth of blocks are ever made. Copies to the host run
    on a stream of their own, beside the next step. What is copied is kept from being overwritten until it has arrived.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream = (
            torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        )

    @property
    def ahead(self) -> bool:
        """Whether the next day can be computed while one travels."""
        return self._stream is not None

    def put(self, values: NDArray[np.float32] | NDArray[np.bool_]) -> Tensor:
        """(channel, latitude, longitude) with NaN on land -> (1, ...) float32 on the device, zero on land."""
        fields = torch.from_numpy(np.nan_to_num(values.astype(np.float32), copy=False, nan=0.0))[None]
        return fields if self._stream is None else fields.pin_memory().to(self.device, non_blocking=True)

    def fetch(self, fields: Mapping[str, Tensor]) -> Landing:
        """Send these fields (1, channel, latitude, longitude) to host memory; no work is waited for."""
        if self._stream is None:
            return Landing(dict(fields), None)
        whole = {name: values.contiguous() for name, values in fields.items()}
        self._stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self._stream):
            landed = {name: _copied(values, self._stream) for name, values in whole.items()}
            arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            arrived.record(self._stream)
        return Landing(landed, arrived)


def _copied(values: Tensor, stream: torch.cuda.Stream) -> Tensor:
    values.record_stream(stream)
    return torch.empty(values.shape, dtype=values.dtype, pin_memory=True).copy_(values, non_blocking=True)
