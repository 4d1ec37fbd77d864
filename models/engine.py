"""Where and how the networks run: the device, the precision of the products, compiled or not."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.nn import functional

from models.errors import DeviceError
from models.layers import FourierBlock
from models.suite import Suite

Precision = Literal["float32", "bfloat16", "fastest"]

FASTER = 1.2
"""Times as fast as float32 that bfloat16 must be measured to be chosen: less is within what a busy machine varies."""
TRIALS = 3
"""The measurement keeps the shortest of this many, which other work disturbs least."""


class Engine(BaseModel):
    """How a forecaster runs.

    ``device``: "cpu", "cuda", or "cuda:1" and so on. ``precision`` of the products in the Fourier blocks, which are
    nine tenths of the work: "float32"; "bfloat16" (norms, sums, transforms, patches and all fields stay float32;
    on an NVIDIA device the other products then take TF32); "fastest": bfloat16 where the device has it in hardware
    and, on a processor, it is measured faster here, else float32. ``compiled``: by ``torch.compile``, which takes a
    minute at the first step and needs a C++ compiler.
    The bytes of a forecast depend on all of it, and those of bfloat16 on the threads too, so ``label`` says it.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    device: str = "cpu"
    precision: Precision = "float32"
    compiled: bool = False

    @property
    def label(self) -> str:
        """In words; empty for float32 on the processor, not compiled: the reference."""
        if self == REFERENCE:
            return ""
        kind = torch.device(self.device).type
        threads = f", threads: {torch.get_num_threads()}" if kind == "cpu" else ""
        return f"{self.precision} on {kind}{threads}" + (", compiled" if self.compiled else "")


REFERENCE = Engine()
"""Float32 on the processor: its bytes depend on no number of threads, and every other engine is compared with it."""


def settled(engine: Engine) -> Engine:
    """The engine with "fastest" decided; ``DeviceError`` where the machine has no such device or precision."""
    device = available(engine.device)
    if engine.precision == "fastest":
        return engine.model_copy(update={"precision": "bfloat16" if _bfloat16_pays(device) else "float32"})
    if engine.precision == "bfloat16" and device.type == "cuda" and not torch.cuda.is_bf16_supported(False):
        raise DeviceError("bfloat16 in hardware", found=torch.cuda.get_device_name(device), where=str(device),
                          action="take precision float32 (GOMS_PRECISION)")  # fmt: skip
    return engine


def available(name: str) -> torch.device:
    """The device of that name; ``DeviceError`` where this machine, or this build of torch, has none."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise _no_device(name, str(error).splitlines()[0]) from error
    if device.type not in ("cpu", "cuda"):
        raise _no_device(name, f"a device of type {device.type}")
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if (device.index or 0) >= count:
        raise _no_device(name, f"{count} NVIDIA device(s) that torch {torch.__version__} can use")
    return device


def _no_device(name: str, found: str) -> DeviceError:
    return DeviceError(f"the device {name}", found=found, where="this machine",
                       action="set GOMS_DEVICE to cpu, cuda or cuda:N, and install a torch built for it")  # fmt: skip


def _bfloat16_pays(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(False))
    return hardware_bfloat16() and measured_gain(torch.get_num_threads()) >= FASTER


def hardware_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself: by AMX tiles or AVX-512 BF16."""
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


@cache
def measured_gain(threads: int) -> float:
    """How many times as fast a product of a perceptron's size is in bfloat16, on this many threads (told, not set)."""
    tokens, weight = torch.randn(1024, 512), torch.randn(2048, 512)
    seconds = [_seconds(tokens.to(kind), weight.to(kind)) for kind in (torch.float32, torch.bfloat16)]
    return seconds[0] / seconds[1]


def _seconds(tokens: Tensor, weight: Tensor) -> float:
    best = float("inf")
    with torch.inference_mode():
        for _ in range(TRIALS + 1):  # the first prepares the kernel, and is never the shortest
            begun = time.perf_counter()
            functional.linear(tokens, weight)
            best = min(best, time.perf_counter() - begun)
    return best


def installed(suite: Suite, engine: Engine) -> Suite:
    """The networks on the engine's device, in its precision, compiled where it says so. Changes ``suite`` itself."""
    device = available(engine.device)
    suite.to(device)
    for module in suite.modules():
        if isinstance(module, FourierBlock):
            if engine.precision == "bfloat16":
                module.shorten()
            if engine.compiled:
                warnings.filterwarnings("ignore", message="Torchinductor does not support code generation for complex")
                module.compile(dynamic=False)
    return suite


@contextmanager
def products(engine: Engine) -> Iterator[None]:
    """Within it an NVIDIA device multiplies float32 as the engine says: as it is, or TF32 beside bfloat16."""
    if torch.device(engine.device).type != "cuda":
        yield
        return
    wanted = "tf32" if engine.precision == "bfloat16" else "ieee"
    places = torch.backends.cuda.matmul, torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = [place.fp32_precision for place in places]
    for place in places:
        place.fp32_precision = wanted
    try:
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.fp32_precision = value
