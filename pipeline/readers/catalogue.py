"""What is published, for those who search: a STAC catalogue (a collection a product, an item a cycle) and a feed.

``<system>/catalogue/`` is made from the manifests alone, whenever a cycle was published or withdrawn, and always from
all of them: whatever kept one writing from being done is made up for by the next. Nothing depends on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from pipeline import signature
from pipeline.credits import Publisher
from pipeline.cycle import Cycle, from_key
from pipeline.edition import MANIFEST
from pipeline.errors import StoreError
from pipeline.grids import Grid
from pipeline.products import ProductEntry
from pipeline.readers import feed
from pipeline.record import shelf
from pipeline.series import path_of
from pipeline.store import Put, Store, parsed, to_json
from pipeline.systems import System

STAC_VERSION = "1.1.0"
FORECAST = "https://stac-extensions.github.io/forecast/v0.2.0/schema.json"
"""The extension for ``forecast:reference_datetime`` and the like."""
ZARR, JSON = "application/vnd.zarr; version=3", "application/json"
RACES = 20
"""Lost races after which it gives up: each loss means that another run wrote the same document."""


class About(BaseModel):
    """What the catalogue takes from a manifest, whichever version of the code wrote it."""

    class Facts(BaseModel):
        """Of the facts only who publishes and by which forecaster."""

        model_config = ConfigDict(frozen=True, extra="ignore")
        publisher: Publisher = Publisher()
        forecaster: str = ""

    model_config = ConfigDict(frozen=True, extra="ignore")
    revision: int
    created: datetime
    degraded: bool
    degraded_reasons: tuple[str, ...] = ()
    real_ocean: bool = False
    lead_days: int = 0
    future_forcing: str = ""
    signed_by: str = ""
    facts: Facts = Facts()
    products: dict[str, dict[str, Any]] = {}
    objects: tuple[dict[str, Any], ...] = ()


class Edition(NamedTuple):
    """A published cycle, as the catalogue tells of it."""

    cycle: Cycle
    about: About

    @property
    def folder(self) -> str:
        """Its revision's folder, relative to the catalogue's own."""
        return f"../cycles/{self.cycle.key}/r{self.about.revision}"


def prefix(system: str) -> str:
    """Where a system's catalogue lies, relative to the store."""
    return f"{system}/catalogue"


def refresh(
    store: Store, system: System, tell: Callable[[str], None] = lambda words: None
) -> tuple[str, ...]:  # fmt: skip
    """Make a system's catalogue say what is published; returns the documents that were changed.

    Nothing is written where it says so already. Of those who race the last to write has seen what is published last.
    ``tell`` gets a sentence for each edition that is left out, as its manifest cannot be read.
    """
    changed = dict[str, None]()
    for _ in range(RACES):
        before = {path: store.find(path) for path, _ in store.objects(prefix(system.name))}
        left_out = list[str]()
        wanted = documents(system, editions(store, system.name, left_out.append))
        won = True
        for name, data in wanted.items():
            path = f"{prefix(system.name)}/{name}"
            there = before.get(path)
            if there is not None and there.data == data:
                continue
            put = store.put_after(path, data, there)
            won, changed[path] = won and put is Put.WON, None
        if won:
            for path in before.keys() - {f"{prefix(system.name)}/{name}" for name in wanted}:
                store.delete(path)
                changed[path] = None
            for words in left_out:
                tell(words)
            return tuple(changed)
    raise StoreError(
        f"the catalogue of {system.name} written", found=f"{RACES} lost races", where=f"{store.uri}/{system.name}",
        action="nothing depends on it: the next run or housekeeping writes it",
    )  # fmt: skip


def editions(store: Store, system: str, tell: Callable[[str], None] = lambda words: None) -> list[Edition]:
    """Every published cycle's newest revision, newest first; one whose manifest cannot be read is told and left out."""
    keys = [name for name in store.folders(f"{system}/cycles") if shelf.is_key(name)]
    found = shelf.side_by_side(lambda cycle: _edition(store, cycle), [from_key(system, key) for key in keys])
    for words in (item for item in found if isinstance(item, str)):
        tell(words)
    whole = [item for item in found if isinstance(item, Edition)]
    return sorted(whole, key=lambda item: item.cycle.start, reverse=True)


def documents(system: System, published: list[Edition]) -> dict[str, bytes]:
    """Every document of the catalogue by its name in it: catalogue, feed, key, collections, items."""
    if not published:
        return {}
    entries = [entry for entry in system.products if any(entry.name in item.about.products for item in published)]
    items = {entry.name: [item for item in published if entry.name in item.about.products] for entry in entries}
    made: dict[str, bytes] = {}
    for entry in entries:
        for item in items[entry.name]:
            made[f"{entry.name}/{item.cycle.key}.json"] = to_json(_item(system, entry, item))
        made[f"{entry.name}/collection.json"] = to_json(_collection(system, entry, items[entry.name]))
    made["catalog.json"] = to_json(_catalog(system, entries))
    made["feed.xml"] = feed.atom(system, [_told(system, item) for item in published])
    signed = published[0].about.signed_by
    if signed:
        made["signing-key.pem"] = signature.in_pem(signed)
    return made


def _edition(store: Store, cycle: Cycle) -> Edition | str | None:
    """A cycle's newest edition, or why it is left out; ``None`` where there is none."""
    revision = shelf.newest_revision(store, cycle)
    if revision is None:
        return None
    path = shelf.manifest_path(cycle, revision)
    found = store.find(path)
    try:
        return None if found is None else Edition(cycle, parsed(About, found.data, path))
    except StoreError as error:
        return f"{cycle.key} r{revision}: its manifest cannot be read: {error.found}"


def _catalog(system: System, entries: list[ProductEntry]) -> dict[str, Any]:
    children = [_link("child", f"./{entry.name}/collection.json", title=entry.title) for entry in entries]
    return {
        "type": "Catalog", "stac_version": STAC_VERSION, "id": system.name, "title": system.title,
        "description": f"Published forecasts of the system {system.name}: {system.title}. {_honest(system)}",
        "links": [_link("root", "./catalog.json"), *children,
                  _link("alternate", "./feed.xml", "application/atom+xml", "feed of new forecasts"),
                  _link("related", "../latest.json", title="which forecast is the latest")],
    }  # fmt: skip


def _collection(system: System, entry: ProductEntry, items: list[Edition]) -> dict[str, Any]:
    publisher, last = items[0].about.facts.publisher, max(items, key=_end)
    return {
        "type": "Collection", "stac_version": STAC_VERSION, "id": f"{system.name}-{entry.name}",
        "title": f"{entry.title}, {system.region}",
        "description": f"{entry.described(system.forecast_days)} {_honest(system)}",
        "license": "other", "keywords": [item.standard_name for item in entry.variables],
        "providers": [{"name": publisher.name, "description": publisher.licence, "roles": ["producer", "host"],
                       "url": publisher.url}],
        "extent": {"spatial": {"bbox": [bbox(system.product_grid(entry))]},
                   "temporal": {"interval": [[_stamp(items[-1].cycle.start), _stamp(_end(last))]]}},
        "links": [_link("root", "../catalog.json"), _link("parent", "../catalog.json"),
                  *(_link("item", f"./{item.cycle.key}.json", "application/geo+json") for item in items)],
    }  # fmt: skip


def _item(system: System, entry: ProductEntry, item: Edition) -> dict[str, Any]:
    about, box = item.about, bbox(system.product_grid(entry))
    start, folder = item.cycle.start, f"../{item.folder}"
    return {
        "type": "Feature", "stac_version": STAC_VERSION, "stac_extensions": [FORECAST],
        "id": f"{system.name}-{entry.name}-{item.cycle.key}", "collection": f"{system.name}-{entry.name}",
        "bbox": box, "geometry": _geometry(box),
        "properties": {
            "title": f"{entry.title} from {start:%Y-%m-%d %H} UTC", "description": _honest(system),
            "datetime": _stamp(start), "start_datetime": _stamp(start), "end_datetime": _stamp(_end(item)),
            "created": _stamp(about.created), "updated": _stamp(about.created),
            "forecast:reference_datetime": _stamp(start), "forecast:horizon": "PT0S",
            "forecast:duration": f"P{about.lead_days}D",
            "goms:system": system.name, "goms:cycle": item.cycle.key, "goms:revision": about.revision,
            "goms:real_ocean": about.real_ocean, "goms:degraded": about.degraded,
            "goms:degraded_reasons": list(about.degraded_reasons), "goms:forecaster": about.facts.forecaster,
            "goms:future_forcing": about.future_forcing,
        },
        "assets": dict(_assets(entry, item, folder)),
        "links": [_link("root", "../catalog.json"), _link("parent", "./collection.json"),
                  _link("collection", "./collection.json")],
    }  # fmt: skip


def _assets(entry: ProductEntry, item: Edition, folder: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    path = item.about.products[entry.name].get("path", f"{entry.name}.zarr")
    yield "zarr", {"href": f"{folder}/{path}", "type": ZARR, "title": entry.title, "roles": ["data"],
                   "description": "Laid out for maps: one level of one lead day is a chunk."}  # fmt: skip
    if any(str(record.get("path", "")).startswith(f"{path_of(entry.name)}/") for record in item.about.objects):
        yield "series", {
            "href": f"{folder}/{path_of(entry.name)}", "type": ZARR, "title": f"{entry.title}, as series",
            "roles": ["data"], "description": "The same values laid out for series: all lead days and depths of a few "
            "cells are a chunk."}  # fmt: skip
    yield "manifest", {"href": f"{folder}/{MANIFEST}", "type": JSON, "title": "every object with its SHA-256",
                       "roles": ["metadata"]}  # fmt: skip
    for record in item.about.objects:
        name = str(record.get("path", ""))
        if name.startswith(f"quicklooks/{entry.name}_") and name.endswith(".png"):
            label = name.removeprefix("quicklooks/").removesuffix(".png")
            yield label, {"href": f"{folder}/{name}", "type": "image/png", "roles": ["overview"]}


def bbox(grid: Grid) -> list[float]:
    """West, south, east, north; longitudes from -180 to 180, west beyond east where it crosses the antimeridian."""
    south, north = float(grid.latitude_edges[0]), float(grid.latitude_edges[-1])
    if grid.periodic:
        return [-180.0, south, 180.0, north]
    west, east = (round((float(edge) + 180.0) % 360.0 - 180.0, 9) for edge in grid.longitude_edges[[0, -1]])
    return [west, south, 180.0 if east == -180.0 else east, north]


def _geometry(box: list[float]) -> dict[str, Any]:
    """The box as GeoJSON: two polygons where it crosses the antimeridian (RFC 7946, 3.1.9)."""
    west, south, east, north = box
    if west < east:
        return {"type": "Polygon", "coordinates": [_ring(west, east, south, north)]}
    halves = [[_ring(west, 180.0, south, north)], [_ring(-180.0, east, south, north)]]
    return {"type": "MultiPolygon", "coordinates": halves}


def _ring(west: float, east: float, south: float, north: float) -> list[list[float]]:
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


def _told(system: System, item: Edition) -> feed.News:
    about = item.about
    words = [_honest(system), f"Products: {', '.join(about.products) or 'none'}."]
    words += [f"Degraded: {'; '.join(about.degraded_reasons)}."] if about.degraded else []
    return feed.News(
        title=f"{system.name} {item.cycle.start:%Y-%m-%d %H} UTC r{about.revision}", updated=about.created,
        key=f"{system.name}/{item.cycle.key}/r{about.revision}", link=f"{item.folder}/{MANIFEST}",
        words=" ".join(words), publisher=about.facts.publisher,
    )  # fmt: skip


def _honest(system: System) -> str:
    return f"Ocean: {system.region}." if system.real_ocean else "Synthetic twin: not the real ocean."


def _end(item: Edition) -> datetime:
    return item.cycle.valid_time(item.about.lead_days)


def _stamp(when: datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%SZ}"


def _link(relation: str, where: str, kind: str = JSON, title: str = "") -> dict[str, str]:
    return {"rel": relation, "href": where, "type": kind, **({"title": title} if title else {})}
