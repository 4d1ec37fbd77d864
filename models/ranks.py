"""The processes that train together: one alone, or those that ``torchrun`` started, one a device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from models.errors import TrainingError


class Ranks(NamedTuple):
    """This process among ``world``: its number, and the device it computes on."""

    rank: int = 0
    world: int = 1
    device: torch.device = torch.device("cpu")

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0

    def share(self, batch: int) -> slice:
        """This process's part of a batch; ``TrainingError`` where it cannot be cut evenly."""
        if batch % self.world:
            raise TrainingError(f"a batch that {self.world} processes can share", found=str(batch), where="the recipe",
                                action="change the batch or the number of processes")  # fmt: skip
        size = batch // self.world
        return slice(self.rank * size, (self.rank + 1) * size)

    def mean(self, value: Tensor) -> float:
        """A number's mean over all processes."""
        if self.world == 1:
            return float(value.detach())
        total = value.detach().clone()
        distributed.all_reduce(total)
        return float(total) / self.world

    def gathered(self, sentences: list[str]) -> list[str]:
        """What every process has to say, in their order; each gets all of it."""
        if self.world == 1:
            return sentences
        said: list[list[str]] = [[] for _ in range(self.world)]
        distributed.all_gather_object(said, sentences)
        return [sentence for one in said for sentence in one]

    def wait(self) -> None:
        """Until every process is here."""
        if self.world > 1:
            distributed.barrier()

    def parallel(self, module: nn.Module) -> nn.Module:
        """The module, whose gradients become the mean of all processes' in the backward pass."""
        if self.world == 1:
            return module
        return DistributedDataParallel(module, find_unused_parameters=True, forward_sync_buffers=False)


ALONE = Ranks()
"""One process, on the processor."""


@contextmanager
def joined(device: str = "auto") -> Iterator[Ranks]:
    """Join the other processes where ``torchrun`` started this one: NCCL between GPUs, else Gloo.

    ``device``: "cpu", "cuda", or "auto", a GPU where there is one.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise TrainingError("a device: cpu, cuda or auto", found=repr(device), where="--device",
                            action="give one of them; which of several GPUs: CUDA_VISIBLE_DEVICES")  # fmt: skip
    cuda = torch.cuda.is_available() if device == "auto" else device == "cuda"
    if cuda and not torch.cuda.is_available():
        raise TrainingError("a GPU", found="none that torch can see", where="--device", action="train on cpu")
    if not distributed.is_torchelastic_launched():
        yield Ranks(device=torch.device("cuda" if cuda else "cpu"))
        return
    distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        place = torch.device("cuda", distributed.get_node_local_rank()) if cuda else torch.device("cpu")
        if cuda:
            torch.cuda.set_device(place)
        yield Ranks(distributed.get_rank(), distributed.get_world_size(), place)
    finally:
        distributed.destroy_process_group()
