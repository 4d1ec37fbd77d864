"""What a reader can prove: every object of a published edition is there, unaltered, and nothing else is.

Proof starts at the manifest: it holds the digest of itself, and the size and SHA-256 of everything beside it. Whoever
fears that somebody changed both gives the publisher's public key.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import NamedTuple

from pipeline import signature
from pipeline.edition import MANIFEST
from pipeline.errors import StoreError
from pipeline.forecast import Masks
from pipeline.gaps import Gaps
from pipeline.publish import Manifest
from pipeline.readers.public import Published
from pipeline.store import ObjectRecord, to_json

WORKERS = 8
"""Objects read together: hides the way to the store, and so many at most are in memory."""
SHARE_TOLERANCE = 1e-9
"""How far two counts of the same missing values may be apart: they are quotients of whole numbers."""


class Kind(StrEnum):
    """What can be wrong with an object."""

    MISSING = "missing"
    ALTERED = "altered"
    UNKNOWN = "unknown"
    WRONG = "wrong"


class Damage(NamedTuple):
    """One object that is not what was published; ``path`` is relative to the manifest."""

    kind: Kind
    path: str
    words: str


class Report(NamedTuple):
    """What was found. ``notes``: what is not damage and a reader should know, such as what could not be looked at."""

    address: str
    manifest: Manifest | None
    damages: tuple[Damage, ...]
    notes: tuple[str, ...]
    objects: int
    size_bytes: int

    @property
    def whole(self) -> bool:
        """Whether everything is there, and as it was published."""
        return not self.damages


class Counting(NamedTuple):
    """How missing values are counted: whether, with which masks, and where products without one are put down."""

    wanted: bool
    masks: Masks | None
    guessed: list[str]


def check(
    found: Published,
    *,
    public_key: str | None = None,
    quick: bool = False,
    values: bool = True,
    masks: Masks | None = None,
    progress: Callable[[str, int], None] = lambda path, size_bytes: None,
) -> Report:
    """Compare an edition with its manifest, and the manifest with itself and its signature.

    ``public_key``: the publisher's, in hexadecimal: without a signature by it the edition is not whole. ``quick``:
    presence and sizes alone, nothing is read. ``values``: whether missing values are counted again, which takes most
    of the time and adds no proof: bytes are what they were. ``masks``: of a system that is not in the registry.
    ``progress``: called after each object. ``StoreError`` where the store does not answer.
    """
    damages, manifest = _manifest(found)
    notes = list[str]()
    if manifest is None:
        return Report(found.address, None, tuple(damages), (), 0, 0)
    damages += [Damage(Kind.WRONG, MANIFEST, found.mismatch)] if found.mismatch else []
    damages += _signature(found, manifest, public_key, notes)
    listed = _listed(found, notes)
    if listed is not None:
        known = {MANIFEST, MANIFEST + signature.SUFFIX, *(item.path for item in manifest.objects)}
        damages += [Damage(Kind.UNKNOWN, path, f"{listed[path]} bytes that the manifest does not know")
                    for path in sorted(listed.keys() - known)]  # fmt: skip
    counting = Counting(values, masks, guessed := list[str]())
    damages += _sizes(found, manifest, listed) if quick else _contents(found, manifest, counting, progress)
    notes += ["its contents were not read: presence and sizes alone"] if quick else []
    if guessed:
        notes.append(f"{', '.join(guessed)}: no land mask of {manifest.system} here; land is where day 0 has no value")
    size = sum(item.size_bytes for item in manifest.objects)
    return Report(found.address, manifest, tuple(damages), tuple(notes), len(manifest.objects), size)


def _manifest(found: Published) -> tuple[list[Damage], Manifest | None]:
    """The manifest, and what is wrong with it; ``None`` where it cannot be one."""
    try:
        content = json.loads(found.data)
        manifest = found.manifest
    except (ValueError, StoreError) as error:
        return [Damage(Kind.ALTERED, MANIFEST, f"it cannot be read: {error}")], None
    own = content.get("sha256", "")
    digest = hashlib.sha256(to_json({**content, "sha256": ""})).hexdigest()
    if to_json(content) != found.data or digest != own:
        return [Damage(Kind.ALTERED, MANIFEST, f"SHA-256 {digest[:12]}... of itself, it says {own[:12]}...")], manifest
    return [], manifest


def _signature(found: Published, manifest: Manifest, public_key: str | None, notes: list[str]) -> list[Damage]:
    path, key = MANIFEST + signature.SUFFIX, manifest.signed_by
    if not key:
        notes.append("not signed: it is known to be whole, not who published it")
        return [] if public_key is None else [Damage(Kind.MISSING, path, f"no signature by {public_key[:16]}...")]
    there = found.store.find(found.path(path))
    if there is None:
        return [Damage(Kind.MISSING, path, f"the signature by {key[:16]}... that the manifest speaks of")]
    if not signature.verified(found.data, there.data, key):
        return [Damage(Kind.ALTERED, path, f"it is not the signature of this manifest by {key[:16]}...")]
    if public_key is not None and public_key != key:
        return [Damage(Kind.WRONG, path, f"signed by {key}, not by {public_key}")]
    sure = "the key that was given" if public_key else "give --public-key to be sure whose that is"
    notes.append(f"signed by {key}: {sure}")
    return []


def _listed(found: Published, notes: list[str]) -> dict[str, int] | None:
    """Path and bytes of everything beside the manifest, or ``None`` where nobody may list."""
    cut = len(found.prefix) + 1 if found.prefix else 0
    try:
        return {path[cut:]: size for path, size in found.store.objects(found.prefix)}
    except StoreError as error:
        notes.append(f"not looked for: objects that the manifest does not know ({error.found} lists nothing)")
        return None


def _sizes(found: Published, manifest: Manifest, listed: dict[str, int] | None) -> Iterator[Damage]:
    def look(item: ObjectRecord) -> int | None:
        return found.store.size(found.path(item.path)) if listed is None else listed.get(item.path)

    with ThreadPoolExecutor(WORKERS, thread_name_prefix="check") as pool:
        sizes = list(pool.map(look, manifest.objects))
    for item, size in zip(manifest.objects, sizes, strict=True):
        if size is None:
            yield _missing(item)
        elif size != item.size_bytes:
            yield Damage(Kind.ALTERED, item.path, f"{size} bytes, published with {item.size_bytes}")


def _contents(
    found: Published, manifest: Manifest, counting: Counting, progress: Callable[[str, int], None]
) -> list[Damage]:
    """Every object read and compared; of what is unaltered, each product's missing values counted again."""
    digests = {item.sha256: item.path for item in manifest.objects}
    folders = {record.path: name for name, record in manifest.products.items()}
    damages = list[Damage]()
    for folder in dict.fromkeys(item.path.partition("/")[0] for item in manifest.objects):
        items = [item for item in manifest.objects if item.path.partition("/")[0] == folder]
        metadata = [item for item in items if item.path.endswith("/zarr.json")]
        described = dict[str, bytes]()
        for item, data in _read(found, metadata):
            damages += _compared(item, data, digests)
            described[item.path.removeprefix(f"{folder}/")] = data or b""
            progress(item.path, item.size_bytes)
        gaps = None
        spoilt = any(damage.path.startswith(f"{folder}/") for damage in damages)
        if counting.wanted and folder in folders and not spoilt:
            gaps = Gaps(described, manifest.system, folders[folder], counting.masks)
        for item, data in _read(found, [item for item in items if item not in metadata]):
            damage = _compared(item, data, digests)
            damages += damage or _counted(gaps, item, folder, data or b"")
            progress(item.path, item.size_bytes)
        damages += [] if gaps is None else _shares(gaps, manifest, folders[folder], counting.guessed)
    return damages


def _read(found: Published, items: list[ObjectRecord]) -> Iterator[tuple[ObjectRecord, bytes | None]]:
    """The content of every object, ``WORKERS`` at a time; ``None`` where there is none."""
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="check") as pool:
        for start in range(0, len(items), WORKERS):
            some = items[start : start + WORKERS]
            answers = pool.map(lambda item: found.store.find(found.path(item.path)), some)
            yield from zip(some, (None if answer is None else answer.data for answer in answers), strict=True)


def _compared(item: ObjectRecord, data: bytes | None, digests: dict[str, str]) -> list[Damage]:
    if data is None:
        return [_missing(item)]
    sha256 = hashlib.sha256(data).hexdigest()
    if len(data) == item.size_bytes and sha256 == item.sha256:
        return []
    words = f"{len(data)} bytes, SHA-256 {sha256[:12]}...; published with {item.size_bytes}, {item.sha256[:12]}..."
    other = f"; it is {digests[sha256]}" if sha256 in digests else ""
    return [Damage(Kind.ALTERED, item.path, words + other)]


def _counted(gaps: Gaps | None, item: ObjectRecord, folder: str, data: bytes) -> list[Damage]:
    path = item.path.removeprefix(f"{folder}/")
    if gaps is None or not gaps.is_field(path):
        return []
    try:
        gaps.count(path, data)
    except (ValueError, RuntimeError, OSError) as error:
        return [Damage(Kind.WRONG, item.path, f"published so that it cannot be decoded: {error}")]
    return []


def _shares(gaps: Gaps, manifest: Manifest, product: str, guessed: list[str]) -> Iterator[Damage]:
    """Where the missing values are not those the manifest tells of."""
    told, folder = manifest.products[product].nan_share_off_land, manifest.products[product].path
    guessed += [] if gaps.by_mask else [product]
    for name, share in gaps.shares.items():
        if share.on_land or not math.isclose(share.missing, told.get(name, 0.0), abs_tol=SHARE_TOLERANCE):
            words = f"{share.missing:.3g} of the ocean without a value, told {told.get(name, 0.0):.3g}"
            yield Damage(Kind.WRONG, f"{folder}/{name}", f"{words}; {share.on_land} land cells with one")


def _missing(item: ObjectRecord) -> Damage:
    return Damage(Kind.MISSING, item.path, f"nothing there; published with {item.size_bytes} bytes")
