"""The page to look at: a static web viewer put beside the products, and what it must know of them.

``<system>/view/``: ``index.html``, its assets (built from ``pipeline/viewer``, named by their content), and
``contents.json``: which editions and scores there are, and of the registry what a map needs. It is made after each
publication, verification and withdrawal, from what the store holds; whatever kept one writing from being done is made
up for by the next. Nothing depends on it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipeline.cycle import Cycle, from_key
from pipeline.errors import StoreError
from pipeline.record import shelf
from pipeline.store import Put, Store, parsed, to_json
from pipeline.systems import System
from pipeline.variables import Variable

BUILT = Path(__file__).parents[1] / "viewer" / "dist"
"""The bundle as it ships; ``npm ci && npm run build`` in the folder above it makes it."""
PAGE, CONTENTS = "index.html", "contents.json"
UNPUBLISHED = ("sources.sha256",)
"""Of the bundle what the page does not need."""
COLOURS = 64
"""Colours of a map, evenly spaced; the page interpolates between them: no difference is seen."""
RACES = 20
"""Lost races after which it gives up: each loss means that another run wrote the same document."""


class Told(BaseModel):
    """An edition as the page lists it. ``scores``: the products that have some."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    cycle: str
    start: datetime
    revision: int
    created: datetime
    degraded: bool
    scores: tuple[str, ...] = ()


class _Before(BaseModel):
    """The editions that a ``contents.json`` told of, whichever version of the code wrote it."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    cycles: tuple[Told, ...] = ()


def prefix(system: str) -> str:
    """Where a system's page lies, relative to the store."""
    return f"{system}/view"


def refresh(
    store: Store, system: System, tell: Callable[[str], None] = lambda words: None
) -> tuple[str, ...]:  # fmt: skip
    """Make a system's page that of this version, and have it know what is published; returns what was changed.

    Assets come first and the page that names them last; those of older versions go after it. A system without a
    page that never published gets none. ``tell`` gets a sentence for each edition that is left out, as its manifest
    cannot be read.
    """
    sizes = dict(store.objects(prefix(system.name)))
    if not sizes and not editions(store, system.name):
        return ()
    bundle = _built()
    page = bundle.pop(PAGE)
    changed = [name for name, data in bundle.items() if _put_asset(store, f"{prefix(system.name)}/{name}", data, sizes)]
    left_out = list[str]()

    def listed() -> bytes:
        left_out.clear()
        return to_json(contents(system, editions(store, system.name, left_out.append)))

    last = {CONTENTS: listed, PAGE: lambda: page}
    changed += [name for name, make in last.items() if _settle(store, f"{prefix(system.name)}/{name}", make)]
    for words in left_out:
        tell(words)
    if PAGE in changed:
        wanted = {f"{prefix(system.name)}/{name}" for name in (*bundle, *last)}
        for path in sizes.keys() - wanted:
            store.delete(path)
    return tuple(changed)


def editions(store: Store, system: str, tell: Callable[[str], None] = lambda words: None) -> list[Told]:
    """Every published cycle's newest revision, newest first; one whose manifest cannot be read is told and left out."""
    before = {(item.cycle, item.revision): item for item in _before(store, system)}
    scores = _scores(store, system)
    keys = [name for name in store.folders(f"{system}/cycles") if shelf.is_key(name)]
    found = shelf.side_by_side(lambda cycle: _told(store, cycle, before), [from_key(system, key) for key in keys])
    for words in (item for item in found if isinstance(item, str)):
        tell(words)
    told = [item.model_copy(update={"scores": tuple(sorted(scores.get((item.cycle, item.revision), ())))})
            for item in found if isinstance(item, Told)]  # fmt: skip
    return sorted(told, key=lambda item: item.start, reverse=True)


def contents(system: System, told: list[Told]) -> dict[str, Any]:
    """What the page must know: the editions, and of the registry what a map needs."""
    variables = {item.name: item for entry in system.products for item in entry.variables}
    return {
        "system": system.name, "title": system.title, "region": system.region, "real_ocean": system.real_ocean,
        "products": [{"name": entry.name, "title": entry.title} for entry in system.products],
        "variables": [{"name": name} | _drawn(item) for name, item in variables.items()],
        "cycles": [item.model_dump(mode="json") for item in told],
    } | _colours(variables.values())  # fmt: skip


def _built() -> dict[str, bytes]:
    """The files of the page as this version ships them."""
    if not (BUILT / PAGE).is_file():
        raise StoreError(
            "the page as it ships", found=f"no {PAGE}", where=str(BUILT), action="install goms again, or npm run build"
        )
    return {path.name: path.read_bytes() for path in sorted(BUILT.iterdir()) if path.name not in UNPUBLISHED}


def _drawn(item: Variable) -> dict[str, Any]:
    return {
        "title": item.title, "units": item.units, "colour_map": item.colour_map, "logarithmic": item.logarithmic,
        "circular": item.circular, "diverging": item.diverging, "never_negative": item.lower == 0.0,
    }  # fmt: skip


def _colours(variables: Any) -> dict[str, Any]:
    import numpy as np

    from pipeline import drawing

    names = dict.fromkeys(item.colour_map for item in variables)
    steps = np.linspace(0.0, 1.0, COLOURS)
    rows = {name: np.rint(255 * drawing.colour_map(name)(steps)[:, :3]).astype(np.uint8) for name in names}
    return {
        "colour_maps": {name: row.tobytes().hex() for name, row in rows.items()},
        "land": drawing.LAND, "seam_east": drawing.SEAM_EAST,
    }  # fmt: skip


def _told(store: Store, cycle: Cycle, before: dict[tuple[str, int], Told]) -> Told | str | None:
    """The cycle's newest edition, or why it is left out.

    One that was told of before is not read again, for none is edited.
    """
    revision = shelf.newest_revision(store, cycle)
    if revision is None:
        return None
    if (cycle.key, revision) in before:
        return before[cycle.key, revision]
    head = shelf.head(store, cycle, revision)
    if head is None:
        return f"{cycle.key} r{revision}: its manifest cannot be read"
    return Told(cycle=cycle.key, start=cycle.start, revision=revision, created=head.created, degraded=head.degraded)


def _scores(store: Store, system: str) -> dict[tuple[str, int], set[str]]:
    """The products that have a table of scores, by cycle and revision."""
    found: dict[tuple[str, int], set[str]] = {}
    for path, _ in store.objects(f"{system}/scores"):
        parts = path.split("/")[2:]
        if len(parts) == 3 and parts[1][1:].isdigit() and parts[2].endswith(".json"):
            found.setdefault((parts[0], int(parts[1][1:])), set()).add(parts[2].removesuffix(".json"))
    return found


def _before(store: Store, system: str) -> tuple[Told, ...]:
    path = f"{prefix(system)}/{CONTENTS}"
    found = store.find(path)
    try:
        return () if found is None else parsed(_Before, found.data, path).cycles
    except StoreError:
        return ()


def _put_asset(store: Store, path: str, data: bytes, sizes: dict[str, int]) -> bool:
    """Put an asset unless it is there: its name says what is in it."""
    return sizes.get(path) != len(data) and _settle(store, path, lambda: data)


def _settle(store: Store, path: str, make: Callable[[], bytes]) -> bool:
    """Have an object be what is made of the store as it is; whether it had to be written.

    It is made after the object was looked at: of those who race the last to write has seen what is published last.
    """
    for _ in range(RACES):
        found = store.find(path)
        data = make()
        if found is not None and found.data == data:
            return False
        put = store.put_after(path, data, found)
        if put is Put.WON:
            return True
    raise StoreError(
        f"the page's {path} written", found=f"{RACES} lost races", where=store.uri,
        action="nothing depends on it: the next run or housekeeping writes it",
    )  # fmt: skip
