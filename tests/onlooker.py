"""A reader who looks at a store all the time, as a user would, in a process of its own: ``python onlooker.py MASKS``.

It follows ``latest.json``, and every cycle that has a manifest; it compares every object with what the manifest says
of it, opens every product with xarray and looks for missing values off land. Told ``look URI`` it begins, told
``stop`` it looks once more and says what it has seen, as one line of JSON.
"""

from __future__ import annotations

import hashlib
import json
import select
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import small_goms
import xarray as xr

from pipeline.earth import landmask
from pipeline.store import Store

SYSTEM = small_goms.SMALL_SEA
PAUSE_SECONDS = 0.8
"""Between two looks: it shares the processors with the run it looks at."""


class Seen(NamedTuple):
    """How often it looked, at how many whole products, which ``latest`` it met in turn, and every fault it saw."""

    looks: int
    products: int
    latest: list[str]
    faults: list[str]


class Onlooker:
    """The process, for those who start it."""

    def __init__(self, masks: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(masks)], env=environment, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )  # fmt: skip

    def look(self, store: Store) -> None:
        """Begin to look; returns after the first look."""
        self._say(f"look {store.uri}")
        assert self._hear() == "looking"

    def stop(self) -> Seen:
        """What it has seen since it began."""
        self._say("stop")
        return Seen(**json.loads(self._hear()))

    def close(self) -> None:
        """End it, also amid a look."""
        try:
            self._process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _hear(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def look(store: Store, latest: list[str]) -> tuple[int, list[str]]:
    """Look at everything there is for readers: the number of products that are whole, and the faults."""
    prefixes, faults = _editions(store), list[str]()
    pointer = store.find(f"{SYSTEM.name}/latest.json")
    if pointer is not None:
        newest = json.loads(pointer.data)
        if latest[-1:] != [newest["cycle"]]:
            latest.append(newest["cycle"])
        if not store.exists(f"{newest['prefix']}/manifest.json"):
            faults.append(f"latest on {newest['prefix']}, which has no manifest")
    found = [_edition(store, prefix) for prefix in prefixes]
    return sum(products for products, _ in found), faults + [fault for _, seen in found for fault in seen]


def _editions(store: Store) -> list[str]:
    cycles = f"{SYSTEM.name}/cycles"
    prefixes = [f"{cycles}/{cycle}/r1" for cycle in store.folders(cycles)]
    return [prefix for prefix in prefixes if store.exists(f"{prefix}/manifest.json")]


def _edition(store: Store, prefix: str) -> tuple[int, list[str]]:
    manifest = json.loads(store.read_bytes(f"{prefix}/manifest.json"))
    faults = []
    for item in manifest["objects"]:
        found = store.find(f"{prefix}/{item['path']}")
        if found is None or hashlib.sha256(found.data).hexdigest() != item["sha256"]:
            faults.append(f"{prefix}/{item['path']} is not what the manifest says")
    for name, product in manifest["products"].items():
        faults += _product(store.address(f"{prefix}/{product['path']}"), name)
    return len(manifest["products"]), faults


def _product(address: str, name: str) -> list[str]:
    ocean = landmask.ocean_mask(SYSTEM, name)
    with xr.open_zarr(address, chunks=None) as product:
        fields = [product[variable].values.reshape(SYSTEM.forecast_days + 1, -1, *ocean.shape[1:])
                  for variable in product.data_vars if "time" in product[variable].dims]  # fmt: skip
    days = np.concatenate(fields, axis=1)
    missing = int((np.isnan(days) & ocean).sum())
    whole = days.shape == (SYSTEM.forecast_days + 1, *ocean.shape)
    return [] if whole and missing == 0 else [f"{address}: {missing} missing values off land, shape {days.shape}"]


def _serve() -> None:
    for line in sys.stdin:
        store = Store(line.split()[1])
        seen: dict[str, Any] = {"looks": 0, "products": 0, "latest": [], "faults": []}
        _once(store, seen)
        print("looking", flush=True)
        while not select.select([sys.stdin], [], [], PAUSE_SECONDS)[0]:
            _once(store, seen)
        sys.stdin.readline()
        _once(store, seen)
        print(json.dumps(seen), flush=True)


def _once(store: Store, seen: dict[str, Any]) -> None:
    products, faults = look(store, seen["latest"])
    seen["looks"] += 1
    seen["products"] += products
    seen["faults"] += faults


if __name__ == "__main__":
    small_goms.install(Path(sys.argv[1]))
    _serve()
