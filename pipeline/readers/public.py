"""The store as its readers see it: a folder, a bucket without keys, or a plain web server; and editions in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from pipeline import systems
from pipeline.cycle import cycle as cycle_of
from pipeline.edition import MANIFEST
from pipeline.errors import StoreError, UsageError
from pipeline.objects.bucket import Bucket
from pipeline.objects.site import Site
from pipeline.publish import Manifest
from pipeline.record import latest
from pipeline.store import Store, parsed

PATIENCE_SECONDS = 20.0
"""How long readers wait for a server that is away: a person sits there."""
MOST_REVISIONS = 20
"""Revisions that are asked for one by one where nothing can be listed."""
_PLACE = re.compile(r"(?P<system>[^/]+)/cycles/(?P<key>\d{8}T\d{2})/r(?P<revision>\d+)$")


class Public(Store):
    """A store for reading: ``s3://`` without keys unless ``signed``, ``http(s)://`` by a plain web server, a folder."""

    def __init__(self, uri: str | Path, *, signed: bool = False) -> None:
        text, self._signed = str(uri).rstrip("/"), signed
        scheme, _, rest = text.partition("://")
        if scheme in ("http", "https"):
            self.uri, self._backend = text, Site(text, PATIENCE_SECONDS)
        elif scheme == "s3" and rest and not signed:
            bucket, _, prefix = rest.partition("/")
            self.uri, self._backend = text, Bucket(bucket, prefix, PATIENCE_SECONDS, anonymous=True)
        else:
            super().__init__(uri, patience_seconds=PATIENCE_SECONDS)

    def __reduce__(self) -> tuple[object, ...]:
        return _public, (self.uri, self._signed)

    @property
    def lists(self) -> bool:
        """Whether it can be asked what there is."""
        return not self.uri.startswith(("http://", "https://"))


class Published(NamedTuple):
    """One edition as a reader finds it: the store, where in it, and its manifest as it lies there."""

    store: Store
    prefix: str
    data: bytes

    @property
    def address(self) -> str:
        """Where it is."""
        return self.store.address(self.prefix)

    @property
    def manifest(self) -> Manifest:
        """The manifest; ``StoreError`` where it is damaged."""
        return parsed(Manifest, self.data, f"{self.address}/{MANIFEST}")

    @property
    def mismatch(self) -> str:
        """In words what the manifest says that it is, where its place is another's; empty where nothing is amiss.

        The system counts where that name was asked for or is a system's: else a copy of its folder may have any name.
        """
        place, manifest = _PLACE.search(self.address.rstrip("/")), self.manifest
        if place is None:
            return ""
        here = (place["key"], int(place["revision"]))
        named = place["system"] if self.prefix.startswith(f"{place['system']}/") or _known(place["system"]) else None
        if here == (manifest.cycle, manifest.revision) and named in (None, manifest.system):
            return ""
        said = f"{manifest.system}/cycles/{manifest.cycle}/r{manifest.revision}"
        return f"it says that it is {said}, and lies at {place[0]}"

    def path(self, relative: str) -> str:
        """The path in the store of something beside the manifest."""
        return f"{self.prefix}/{relative}" if self.prefix else relative


class Cycles(NamedTuple):
    """What a system has published: the store, the folder of its cycles there, and where each one's newest edition is.

    ``newest``: by the cycle's key, ``YYYYMMDDTHH``.
    """

    store: Store
    system: str
    folder: str
    newest: dict[str, str]

    def revision(self, key: str) -> int | None:
        """The revision that is published of a cycle, if any is."""
        return int(self.newest[key].rpartition("/r")[2]) if key in self.newest else None


def find(
    where: str | Path, *, system: str | None = None, cycle: str | None = None, signed: bool = False
) -> Published:  # fmt: skip
    """The edition at an address: a store, a system in it, a cycle, or an edition itself.

    ``system``: which, where the store has several. ``cycle``: ``YYYY-MM-DD`` or ``YYYYMMDDTHH``, its newest revision;
    else the latest. ``StoreError`` where nothing whole is there, ``UsageError`` where it is not clear what is meant.
    """
    store = Public(re.sub(rf"/(?:{re.escape(MANIFEST)}|[a-z]+\.zarr)/?$", "", str(where)), signed=signed)
    if cycle is None and system is None:
        itself = store.find(MANIFEST)
        if itself is not None:
            return Published(store, "", itself.data)
    if re.search(r"(^|/)cycles/\d{8}T\d{2}$", store.uri):
        prefix = _newest(store, "")
    else:
        root = _root(store, system)
        prefix = _latest(store, root) if cycle is None else _revision(store, root, cycle)
    found = store.find(_join(prefix, MANIFEST))
    if found is None:
        raise _absent(store, prefix)
    return Published(store, prefix, found.data)


def every_cycle(
    where: str | Path, *, system: str | None = None, signed: bool = False
) -> Cycles:  # fmt: skip
    """The published cycles of a system, each at its newest edition.

    ``where``: a store, or a system in it. What is unfinished or was withdrawn is not among them. ``StoreError`` where
    nothing is published, where nobody may list, or where the store does not answer.
    """
    found = find(where, system=system, signed=signed)
    root, there, _ = found.prefix.rpartition("cycles/")
    if not there:
        raise UsageError(
            "a store, or a system in it", found="one edition", where=str(where), action="name the store it lies in"
        )
    newest = {}
    for key in found.store.folders(f"{root}cycles"):
        names = found.store.folders(f"{root}cycles/{key}")
        for number in sorted((int(name[1:]) for name in names if re.fullmatch(r"r\d+", name)), reverse=True):
            prefix = f"{root}cycles/{key}/r{number}"
            if found.store.exists(f"{prefix}/{MANIFEST}"):
                newest[key] = prefix
                break
    return Cycles(found.store, found.manifest.system, f"{root}cycles", newest)


def _known(name: str) -> bool:
    return any(entry.name == name for entry in systems.SYSTEMS)


def _public(uri: str, signed: bool) -> Public:
    return Public(uri, signed=signed)


def _join(prefix: str, name: str) -> str:
    return f"{prefix}/{name}" if prefix else name


def _root(store: Public, system: str | None) -> str:
    """The folder of the system: empty where the address is the system's own."""
    if system is not None:
        own = store.find(latest.path(system)) is None and store.find("latest.json") is not None
        return "" if own else system
    if store.find("latest.json") is not None:
        return ""
    if re.search(r"/cycles/\d{8}T\d{2}/r\d+$", store.uri):
        raise _absent(store, "")
    names = _folders(store, "") or [entry.name for entry in systems.SYSTEMS]
    named = [name for name in names if store.find(latest.path(name)) is not None]
    if len(named) == 1:
        return named[0]
    found = f"those of {', '.join(named)}" if named else "nothing published that can be seen"
    raise (UsageError if named else StoreError)(
        "one system's forecasts", found=found, where=store.uri,
        action="name the system" if named else "name the store, the system's folder in it, or an edition's folder",
    )  # fmt: skip


def _latest(store: Public, root: str) -> str:
    """Where the edition is that ``latest.json`` names."""
    path = _join(root, "latest.json")
    found = store.find(path)
    if found is None:
        raise StoreError(
            f"a published forecast of {root or 'this system'}", found=f"no {path} that may be read", where=store.uri,
            action="check the address and the system's name",
        )  # fmt: skip
    named = parsed(latest.Latest, found.data, store.address(path))
    return _join(root, named.prefix.removeprefix(f"{named.system}/"))


def _revision(store: Public, root: str, cycle: str) -> str:
    """Where the newest revision of a cycle is."""
    key = cycle if re.fullmatch(r"\d{8}T\d{2}", cycle) else _key(store, root, cycle)
    return _newest(store, _join(root, f"cycles/{key}"))


def _newest(store: Public, prefix: str) -> str:
    names = _folders(store, prefix) or [f"r{number}" for number in range(1, MOST_REVISIONS + 1)]
    for number in sorted((int(name[1:]) for name in names if re.fullmatch(r"r\d+", name)), reverse=True):
        revision = _join(prefix, f"r{number}")
        if store.exists(_join(revision, MANIFEST)):
            return revision
    raise _absent(store, prefix)


def _key(store: Public, root: str, day: str) -> str:
    """The key of the cycle that starts on a day."""
    wanted = f"{cycle_of('', day, 0).start:%Y%m%d}T"
    keys = [name for name in _folders(store, _join(root, "cycles")) if name.startswith(wanted)]
    known = next((entry for entry in systems.SYSTEMS if entry.name == root), None)
    if not keys and known is not None:
        return f"{wanted}{known.start_hour:02d}"
    if not keys:
        raise StoreError(
            f"a published forecast from {day}", found="none that can be seen", where=store.address(root),
            action="name a day that is published, or the cycle as YYYYMMDDTHH",
        )  # fmt: skip
    return keys[-1]


def _folders(store: Public, prefix: str) -> list[str]:
    """The folders under a prefix; none where nobody may list."""
    try:
        return store.folders(prefix) if store.lists else []
    except StoreError:
        return []


def _absent(store: Public, prefix: str) -> StoreError:
    return StoreError(
        f"the manifest of a published forecast, {_join(prefix, MANIFEST)}", found="nothing there", where=store.uri,
        action="do not use what lies there: it is unfinished or was withdrawn; take the latest, or another cycle",
    )  # fmt: skip
