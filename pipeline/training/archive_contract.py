"""What a training archive is of: grids, channels in order, calendar; read from it and compared with a system."""

from __future__ import annotations

import json
from typing import Any

import zarr

from pipeline import channels
from pipeline.channels import Channel
from pipeline.errors import UsageError
from pipeline.grids import Grid
from pipeline.systems import ForcingPolicy, System
from pipeline.variables import Entry, Kind


class Contract(Entry):
    """All that a model must know of an archive: nothing else of the system is needed to train on it.

    ``channels``: labels in order, ``grids``: by array. ``forcing_policy``: the system's, for the weather to come.
    """

    system: str
    title: str
    region: str
    real_ocean: bool
    start_hour: int
    depths_m: tuple[float, ...]
    forcing_policy: ForcingPolicy
    channels: dict[str, tuple[str, ...]]
    grids: dict[str, Grid]


COMPARED = ("system", "start_hour", "depths_m", "channels", "grids")
"""What an archive and a system must agree in; the rest is words."""


def contract_of(system: System, arrays: tuple[str, ...]) -> Contract:
    """The contract of an archive of these arrays of a system."""
    labels = {name: tuple(channel.label for channel in channels_of(system, name)) for name in arrays}
    return Contract(
        system=system.name, title=system.title, region=system.region, real_ocean=system.real_ocean,
        start_hour=system.start_hour, depths_m=system.depths_m, forcing_policy=system.forcing_policy,
        channels=labels, grids={name: grid for name in arrays if (grid := grid_of(system, name)) is not None},
    )  # fmt: skip


def arrays_of(system: System) -> tuple[str, ...]:
    """The arrays a system has inputs and grids for, in the order they are written."""
    weather = ("forcing",) if system.ladder(Kind.SURFACE) else ()
    heads = tuple(name for name in ("waves", "biogeochemistry", "kuroshio") if grid_of(system, name))
    return ("ocean", *weather, *heads)


def channels_of(system: System, name: str) -> tuple[Channel, ...]:
    """The channels of an array of the archive, in order."""
    every = {
        "forcing": channels.forcing(),
        "waves": channels.waves(),
        "biogeochemistry": channels.biogeochemistry(),
        "kuroshio": channels.of(system.variables_of(Kind.OCEAN), system.depths_m[:1]),
    }
    return every[name] if name in every else channels.of(system.variables_of(Kind.OCEAN), system.depths_m)


def grid_of(system: System, name: str) -> Grid | None:
    """The grid of an array of the archive, if the system has it."""
    grids = {
        "waves": system.wave_grid,
        "biogeochemistry": system.biogeochemistry_grid,
        "kuroshio": system.kuroshio_grid,
    }
    return grids.get(name, system.grid)


def read(group: zarr.Group, path: str) -> Contract:
    """The contract an archive carries; ``UsageError`` where it has none."""
    if "contract" not in group.attrs:
        raise UsageError("an archive that says what it is of", found="no contract among its attributes", where=path,
                         action="build it again with this version")  # fmt: skip
    return Contract.model_validate_json(json.dumps(group.attrs["contract"]))


def check_same(found: Contract, wanted: Contract, path: str) -> None:
    """``UsageError`` unless the archive's contract is the wanted one, naming the first thing that differs."""
    for name in COMPARED:
        theirs, ours = getattr(found, name), getattr(wanted, name)
        if theirs != ours:
            said = _first_difference(ours, theirs) if name == "channels" else (f"{ours!r}", f"{theirs!r}")
            raise UsageError(
                f"an archive with {name} {said[0]}", found=said[1], where=path,
                action="give another path, or remove that archive if it is no longer needed",
            )  # fmt: skip


def check_arrays(group: zarr.Group, contract: Contract, path: str) -> None:
    """``UsageError`` unless each array has the channels and the grid that the contract says, and says so itself."""
    for name, labels in contract.channels.items():
        array = group.get(name)
        wanted = (len(labels), *contract.grids[name].shape)
        if not isinstance(array, zarr.Array) or array.shape[1:] != wanted:
            found = "none" if array is None else f"{getattr(array, 'shape', ())[1:]}"
            raise UsageError(f"an array {name} of {wanted} for each day", found=found, where=path,
                             action="restore the archive, or build it anew")  # fmt: skip
        own: Any = array.attrs.get("channels")
        check_labels(tuple(own or ()), labels, name, f"{path}/{name}")


def check_labels(found: tuple[str, ...], wanted: tuple[str, ...], what: str, where: str) -> None:
    """``UsageError`` unless the labels are the wanted ones in the same order."""
    if found != wanted:
        needed, there = _first_difference({what: wanted}, {what: found})
        raise UsageError(f"channels {needed}", found=there, where=where,
                         action="train on an archive with the channels of the model, in its order")  # fmt: skip


def _first_difference(ours: Any, theirs: Any) -> tuple[str, str]:
    for array in {**ours, **theirs}:
        mine, other = ours.get(array, ()), theirs.get(array, ())
        for place in range(max(len(mine), len(other))):
            pair = [labels[place] if place < len(labels) else "none" for labels in (mine, other)]
            if pair[0] != pair[1]:
                return f"{array}[{place}] = {pair[0]} of {len(mine)}", f"{pair[1]} of {len(other)}"
    return f"of {', '.join(ours)}", f"of {', '.join(theirs)}"
