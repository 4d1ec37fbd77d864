"""Where each system has ocean: one stored mask per array, made once from the archive it forecasts.

``python -m pipeline.earth.landmask SYSTEM --inputs FOLDER --date YYYY-MM-DD`` makes a system's masks from the first
source of its ladders; ``--relief`` makes them from the packaged relief where no source is at hand.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline import channels, npy
from pipeline.errors import InputRefused
from pipeline.grids import Grid
from pipeline.systems import System
from pipeline.variables import Kind

FOLDER = Path(__file__).parents[1] / "data" / "masks"
"""Where the masks are kept: one ``<system>.npz`` each, bits packed."""

Mask = NDArray[np.bool_]
_GRIDS = {"ocean": "grid", "waves": "wave_grid", "biogeochemistry": "biogeochemistry_grid", "kuroshio": "kuroshio_grid"}
_CHANNELS = {
    "waves": channels.waves(),
    "biogeochemistry": channels.biogeochemistry(),
    "kuroshio": channels.surface_ocean(),
}


class Masks(NamedTuple):
    """A system's masks, True on ocean.

    ``arrays``: ``ocean`` (depth, latitude, longitude); ``waves``, ``biogeochemistry``, ``kuroshio`` (latitude,
    longitude), where the system has them. ``sources``: the archive each was made from, or ``relief``.
    ``made_from``: the same in a sentence.
    """

    arrays: dict[str, Mask]
    sources: dict[str, str]
    made_from: str


def depth_mask(system: System) -> Mask:
    """True on ocean, (depth, latitude, longitude), at the system's depths; ocean at a depth is ocean above it."""
    return array_mask(system, "ocean")


def ocean_mask(system: System, name: str) -> Mask:
    """True on ocean, of the shape of the forecaster's array ``name``: (channel, latitude, longitude), read-only."""
    mask = array_mask(system, name)
    if name == "ocean":
        levels = dict(zip(system.depths_m, mask, strict=True))
        wanted = [mask[0] if c.depth_m is None else levels[c.depth_m] for c in channels.ocean(system.depths_m)]
        return _read_only(np.stack(wanted))
    return np.broadcast_to(mask, (len(_CHANNELS[name]), *mask.shape))


def kind_mask(system: System, kind: Kind) -> Mask | None:
    """The mask a kind of input must keep to; ``None`` for the atmosphere, which has no land."""
    return None if kind in (Kind.SURFACE, Kind.STATIC) else array_mask(system, kind.value)


def source_of(system: System, name: str) -> str:
    """The archive the mask of an array was made from, or ``relief``."""
    array_mask(system, name)
    return load(system).sources[name]


def array_mask(system: System, name: str) -> Mask:
    """The stored mask of one array, read-only; ``InputRefused`` where there is none or it is of another grid."""
    masks = load(system)
    if name not in masks.arrays:
        raise _refused(system, f"a mask for {name}", f"masks for {', '.join(masks.arrays)}")
    return masks.arrays[name]


def load(system: System) -> Masks:
    """The system's stored masks; ``InputRefused`` where they are absent or of other grids or depths."""
    path = FOLDER / f"{system.name}.npz"
    if not path.is_file():
        raise _refused(system, "land masks", "no file")
    masks, shapes = _load(path, path.stat().st_mtime_ns)
    wanted = _shapes(system)
    differing = [name for name, shape in shapes.items() if name in wanted and wanted[name] != shape]
    if differing:
        raise _refused(system, f"masks on its own grids and depths, {wanted[differing[0]]}", str(shapes[differing[0]]))
    return masks


def save(system: System, masks: Masks) -> Path:
    """Write a system's masks, bits packed and compressed, with the grids and depths they are of; returns where."""
    shapes = _shapes(system)
    header = {
        "sources": masks.sources,
        "made_from": masks.made_from,
        "shapes": {name: shapes[name] for name in masks.arrays},
    }
    path = FOLDER / f"{system.name}.npz"
    packed = {name: np.packbits(mask) for name, mask in masks.arrays.items()}
    np.savez_compressed(path, header=np.array(json.dumps(header, sort_keys=True)), **packed)  # type: ignore[arg-type]
    return path


@lru_cache(maxsize=8)
def _load(path: Path, _written_ns: int) -> tuple[Masks, dict[str, str]]:
    with npy.opened(path) as stored:
        header = json.loads(str(stored["header"]))
        arrays = {name: _unpacked(stored[name], text) for name, text in header["shapes"].items()}
    return Masks(arrays, header["sources"], header["made_from"]), header["shapes"]


def _unpacked(packed: NDArray[np.uint8], text: str) -> Mask:
    shape = json.loads(text)
    size = (*([len(shape["depths_m"])] if "depths_m" in shape else []), shape["rows"], shape["columns"])
    return _read_only(np.unpackbits(packed, count=int(np.prod(size))).astype(bool).reshape(size))


def _shapes(system: System) -> dict[str, str]:
    """For each array the grid (and depths) of its mask as JSON text: what a stored mask is checked against."""
    shapes = {}
    for name, attribute in _GRIDS.items():
        grid: Grid | None = getattr(system, attribute)
        if grid is not None:
            depths = {"depths_m": [float(depth) for depth in system.depths_m]} if name == "ocean" else {}
            shapes[name] = json.dumps({**grid.model_dump(), **depths}, sort_keys=True)
    return shapes


def _read_only(mask: Mask) -> Mask:
    mask.setflags(write=False)
    return mask


def _refused(system: System, needed: str, found: str) -> InputRefused:
    return InputRefused(
        f"{needed} of system {system.name}", found=found, where=f"{FOLDER.name}/{system.name}.npz",
        action=f"make them: python -m pipeline.earth.landmask {system.name} --inputs FOLDER --date YYYY-MM-DD",
    )  # fmt: skip


def main() -> None:
    """The command line; what it does is in ``mask_making``."""
    from pipeline.earth import mask_making

    mask_making.main()


if __name__ == "__main__":
    main()
