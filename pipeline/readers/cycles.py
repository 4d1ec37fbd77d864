"""All published cycles of a system as one archive: by start and lead day, with history, in an Icechunk repository.

Only editions that ``open_forecast`` would open are taken, one commit each. By default nothing is copied: the archive
holds where each published shard lies and what tells that it is unchanged, so it lives as long as the forecast is
published; ``copy`` keeps the shards' own bytes. What is no longer published is marked ``withdrawn``, never left out in
silence: its values are an error to read, unless they were copied.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import xarray as xr
import zarr
import zarr.abc.store

from pipeline.edition import MANIFEST
from pipeline.errors import CheckFailed, UsageError
from pipeline.publish import Manifest
from pipeline.readers import gathered, repository
from pipeline.readers.check import WORKERS, Kind, check
from pipeline.readers.gathered import Cut, Entry
from pipeline.readers.public import Cycles, Published, every_cycle
from pipeline.readers.repository import Repository, VirtualChunk, Writing

Held = dict[str, list[Entry]]
"""What an archive holds, by product."""


class Collected(NamedTuple):
    """What was done: cycles as they are told of; ``refused``: those that are not taken, each with the reason."""

    taken: tuple[str, ...]
    withdrawn: tuple[str, ...]
    refused: Mapping[str, str]
    already: int


def open_cycles(where: str | Path, product: str = "ocean", *, signed: bool = False) -> xr.Dataset:
    """A product of all cycles of an archive: ``init_time`` x ``lead_day`` x ...; its newest state, fields not read.

    ``signed``: ask S3, for the archive and for the forecasts it refers to, with your own keys. Values of a forecast
    that was withdrawn and not copied are a ``StoreError`` when they are read: ``withdrawn`` and ``copied`` say which.
    """
    store = repository.newest(where, signed=signed)
    there = gathered.products(store)
    if product not in there:
        raise UsageError(
            "a product of the archive", found=repr(product), where=str(where),
            action=f"choose one of {', '.join(there) or 'none: nothing was collected yet'}",
        )  # fmt: skip
    dataset: xr.Dataset = xr.open_zarr(store, group=product, consolidated=False, chunks={}, zarr_format=3)
    about = [name for name, item in dataset.coords.items() if item.dims == (gathered.INIT_TIME,)]
    return dataset.assign_coords(dataset.coords.to_dataset()[about].compute().coords)


def collect(
    where: str | Path,
    out: str | Path,
    *,
    system: str | None = None,
    signed: bool = False,
    copy: bool = False,
    said: Callable[[str], None] = lambda words: None,
) -> Collected:
    """Bring an archive up to what is published: new cycles and revisions are taken, what is withdrawn is marked.

    ``where``: a store or a system in it; ``out``: a folder or ``s3://bucket/prefix`` for that system alone. ``copy``:
    keep the shards' bytes, of cycles that were taken without, too. Killed anywhere, the archive is as after its last
    commit, and the same call goes on. ``said``: told of every cycle when it is taken.
    """
    source = every_cycle(where, system=system, signed=signed)
    archive = Repository(out, source.store, source.store.address(source.folder))
    taken, refused = list[str](), dict[str, str]()
    with archive.alone():
        with archive.writing() as changes:
            _check_system(changes.store, source.system)
            held = _held(changes.store)
        archive.settle()
        wanted = [key for key in sorted(source.newest) if not _current(held, key, source, copy=copy)]
        for key in wanted:
            try:
                words = _take(archive, source, key, copy=copy)
            except (CheckFailed, UsageError) as error:
                refused[key] = str(error)
                continue
            taken += [words] if words else []
            said(words or f"{key}: withdrawn meanwhile, not taken")
        withdrawn = _mark_withdrawn(archive, source)
    return Collected(tuple(taken), withdrawn, refused, len(source.newest) - len(wanted))


def _held(store: zarr.abc.store.Store) -> Held:
    return {product: gathered.entries(store, product) for product in gathered.products(store)}


def _current(held: Held, key: str, source: Cycles, *, copy: bool) -> bool:
    """Whether an archive has the newest edition of a cycle, as it is wanted."""
    there = [item for items in held.values() for item in items if item.key == key and not item.withdrawn]
    address = source.store.address(source.newest[key])
    return bool(there) and all(
        item.revision == source.revision(key) and (item.copied or (not copy and item.edition == address))
        for item in there
    )  # fmt: skip


def _take(archive: Repository, source: Cycles, key: str, *, copy: bool) -> str | None:
    """Take the newest edition of a cycle, all its products in one commit; words for it, or ``None``: it is gone."""
    prefix = source.newest[key]
    data = source.store.find(f"{prefix}/{MANIFEST}")
    if data is None:
        return None
    found = Published(source.store, prefix, data.data)
    manifest = _whole(found)
    stamps = {} if copy else source.store.stamps(prefix)
    with archive.writing() as changes:
        _check_system(changes.store, manifest.system)
        held = _held(changes.store)
        for product in sorted(manifest.products):
            _place(changes, source, gathered.cut(found, manifest, product), found, held.get(product, []),
                   None if copy else stamps)  # fmt: skip
        for product in held.keys() - manifest.products.keys():
            _withdraw(changes, product, [item for item in held[product] if item.key == key], held[product])
        if not source.store.exists(f"{prefix}/{MANIFEST}"):
            return None
        words = _words(manifest, copied=copy)
        changes.commit(words, {"cycle": manifest.cycle, "revision": manifest.revision, "copied": copy,
                               "manifest_sha256": manifest.sha256, "products": sorted(manifest.products)})  # fmt: skip
    return words


def _whole(found: Published) -> Manifest:
    """The manifest of an edition whose objects are all there with their sizes; ``CheckFailed`` otherwise."""
    report = check(found, quick=True)
    damages = [item for item in report.damages if item.kind is not Kind.UNKNOWN]
    if report.manifest is None or damages:
        first = damages[0]
        raise CheckFailed(
            "the edition as it was published", found=f"{len(damages)} damages, first {first.path}: "
            f"{first.kind.value}, {first.words}", where=found.address, action="see what is wrong: goms check",
        )  # fmt: skip
    return report.manifest


def _check_system(store: zarr.abc.store.Store, system: str) -> None:
    """One archive, one system: said at its root when it is begun."""
    named = zarr.open_group(store, mode="a", zarr_format=3).attrs.setdefault("system", system)
    if named != system:
        raise UsageError(
            f"an archive of {system}", found=f"one of {named}", where="--out", action="name another for this system"
        )


def _place(
    changes: Writing, source: Cycles, product: Cut, found: Published, held: list[Entry],
    stamps: Mapping[str, str | datetime] | None,
) -> None:  # fmt: skip
    """Put a product of a cycle at its place in the order of starts; ``stamps``: none to copy its shards."""
    position = bisect_left([item.key for item in held], product.manifest.cycle)
    new = position == len(held) or held[position].key != product.manifest.cycle
    gathered.add(changes.store, found, product, position, new=new, copied=stamps is None)
    if new:
        for number in range(len(held) - 1, position - 1, -1):
            _move(changes, source, product.product, held[number], number)
    if stamps is None:
        _copy(changes, found, product, position)
    else:
        _refer(changes, found, product, position, stamps)


def _copy(changes: Writing, found: Published, product: Cut, position: int) -> None:
    """The shards' own bytes, compared with the manifest, ``WORKERS`` in memory at a time."""
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="collect") as pool:
        for start in range(0, len(product.shards), WORKERS):
            some = product.shards[start : start + WORKERS]
            read = pool.map(lambda item: gathered.unaltered(found, item.record), some)
            paths = [gathered.key(product.product, item.name, position, item.place) for item in some]
            list(pool.map(lambda path, data: gathered.put(changes.store, path, data), paths, read))


def _refer(
    changes: Writing, found: Published, product: Cut, position: int, stamps: Mapping[str, str | datetime]
) -> None:  # fmt: skip
    for name in sorted({item.name for item in product.shards}):
        chunks = [VirtualChunk((position, *item.place), found.store.address(path), item.record.size_bytes, stamps[path])
                  for item in product.shards if item.name == name
                  for path in [found.path(item.record.path)]]  # fmt: skip
        changes.refer(f"{product.product}/{name}", chunks)


def _move(changes: Writing, source: Cycles, product: str, entry: Entry, position: int) -> None:
    """Make place for an earlier cycle that came late: a later one moves on by one."""
    if entry.copied:
        for name, index in gathered.chunks(changes.store, product):
            data = gathered.get(changes.store, gathered.key(product, name, position, index))
            gathered.put(changes.store, gathered.key(product, name, position + 1, index), data)
    elif entry.revision == source.revision(entry.key):
        found = _published(source, entry.key)
        again = gathered.cut(found, found.manifest, product)
        _refer(changes, found, again, position + 1, source.store.stamps(found.prefix))
    else:
        for name in {name for name, _ in gathered.chunks(changes.store, product)}:
            changes.refer(f"{product}/{name}", list(_dangling(changes, product, entry, name, position + 1)))


def _published(source: Cycles, key: str) -> Published:
    prefix = source.newest[key]
    return Published(source.store, prefix, source.store.read_bytes(f"{prefix}/{MANIFEST}"))


def _dangling(changes: Writing, product: str, entry: Entry, name: str, position: int) -> Iterable[VirtualChunk]:
    """References to what is withdrawn: reading them stays an error that names the object."""
    for variable, index in gathered.chunks(changes.store, product):
        if variable == name:
            path = gathered.key(f"{product}.zarr", name, index[0], index[1:])
            yield VirtualChunk((position, *index), f"{entry.edition}/{path}", 1, None)


def _mark_withdrawn(archive: Repository, source: Cycles) -> tuple[str, ...]:
    """Mark what is no longer published where it was, in one commit."""
    folder = f"{source.store.address(source.folder)}/"
    with archive.writing() as changes:
        held = _held(changes.store)
        gone = {product: [item for item in items if not item.withdrawn and item.key not in source.newest
                          and item.edition.startswith(folder)] for product, items in held.items()}  # fmt: skip
        names = sorted({f"{item.key} r{item.revision}" for items in gone.values() for item in items})
        for product, items in gone.items():
            _withdraw(changes, product, items, held[product])
        if names:
            changes.commit(f"no longer published: {', '.join(names)}", {"withdrawn": names})
    return tuple(names)


def _withdraw(changes: Writing, product: str, items: Iterable[Entry], held: list[Entry]) -> None:
    for item in items:
        gathered.withdraw(changes.store, product, held.index(item))


def _words(manifest: Manifest, *, copied: bool) -> str:
    how = "copied" if copied else "virtual"
    left = "".join(f"; without {name}: {reason}" for name, reason in sorted(manifest.facts.left_out.items()))
    degraded = "; degraded: " + "; ".join(manifest.degraded_reasons) if manifest.degraded else ""
    return (
        f"{manifest.system} {manifest.cycle} r{manifest.revision} ({', '.join(sorted(manifest.products))}; {how}), "
        f"manifest {manifest.sha256}{left}{degraded}"
    )
