"""The state of a training run on disk: what is needed to go on as if nothing had happened.

A state is a tree of dictionaries and lists whose leaves are tensors and plain values: the tensors go into one
safetensors file, the rest as JSON into its header; nothing is pickled. States are written whole under another name
and renamed; that of several processes counts when every one of them has written its own.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from models.errors import TrainingError

Tree = Any
_NAME = re.compile(r"state-(\d+)-(shared|\d+)\.safetensors$")


def write(folder: Path, number: int, part: str, tree: Tree) -> None:
    """Write a part (``shared``, or a rank) of state ``number``; it is on the disk, not on its way there."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    text = json.dumps(_without_tensors(tree, tensors))
    path = folder / f"state-{number:09d}-{part}.safetensors"
    unfinished = path.with_suffix(".new")
    save_file(tensors, unfinished, metadata={"tree": text})
    synchronised(unfinished)
    unfinished.rename(path)
    synchronised(folder)


def synchronised(path: Path) -> None:
    """Wait until what was written of a file, or of a folder's names, outlives a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def newest(folder: Path, world: int) -> int | None:
    """The number of the newest state that is whole for so many processes; of none, that has what they share."""
    needed = {"shared", *map(str, range(world))}
    return max((number for number, parts in _parts(folder).items() if needed <= parts), default=None)


def following(folder: Path) -> int:
    """A number after those of all states, whole or not: parts of two runs never make one state."""
    return max(_parts(folder), default=0) + 1


def _parts(folder: Path) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for path in folder.glob("state-*.safetensors"):
        if match := _NAME.fullmatch(path.name):
            found.setdefault(int(match[1]), set()).add(match[2])
    return found


def read(folder: Path, number: int, part: str) -> Tree:
    """The tree of a part of a state; ``TrainingError`` where it cannot be read."""
    path = folder / f"state-{number:09d}-{part}.safetensors"
    try:
        with safe_open(path, framework="pt") as stored:
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  (it is no dictionary)
            return _with_tensors(json.loads(stored.metadata()["tree"]), tensors)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise TrainingError("a training state that can be read", found=str(error), where=str(path),
                            action="remove it: training goes on from the one before, or anew") from error  # fmt: skip


def tidy(folder: Path, keep: int) -> None:
    """Remove every state but number ``keep``, and what a killed process left half written."""
    for path in folder.glob("state-*.new"):
        path.unlink(missing_ok=True)
    for path in folder.glob("state-*.safetensors"):
        if (match := _NAME.fullmatch(path.name)) and int(match[1]) != keep:
            path.unlink(missing_ok=True)


def _without_tensors(tree: Tree, tensors: dict[str, Tensor]) -> Tree:
    if isinstance(tree, Tensor):
        name = str(len(tensors))
        tensors[name] = tree.detach().to("cpu", copy=True).contiguous()
        return {"tensor": name}
    if isinstance(tree, dict):
        kinds = [["int" if isinstance(key, int) else "str", key, _without_tensors(value, tensors)]
                 for key, value in tree.items()]  # fmt: skip
        return {"items": kinds}
    if isinstance(tree, list | tuple):
        return {"list": [_without_tensors(value, tensors) for value in tree]}
    return {"value": tree}


def _with_tensors(tree: Tree, tensors: dict[str, Tensor]) -> Tree:
    if "tensor" in tree:
        return tensors[tree["tensor"]]
    if "items" in tree:
        return {
            (int(key) if kind == "int" else key): _with_tensors(value, tensors) for kind, key, value in tree["items"]
        }
    if "list" in tree:
        return [_with_tensors(value, tensors) for value in tree["list"]]
    return tree["value"]


def seeded(*numbers: int) -> torch.Generator:
    """A generator that follows from these numbers alone, so that what is drawn at a step needs no memory of others."""
    state = int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(state >> 1)
