"""An Icechunk repository: a Zarr store with transactions and history, whose chunks may lie in published forecasts.

Icechunk is an optional library (``goms[icechunk]``) and this its only home. A *virtual* chunk is the address of an
object elsewhere with what tells that it is unchanged: reading one whose object is gone or changed is an error. A
repository names in its own settings where such objects may lie; every reader must allow each of those places.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import zarr.abc.store
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from pipeline.errors import CheckFailed, CycleHeld, StoreError, UsageError
from pipeline.objects.bucket import Place
from pipeline.store import Store

if TYPE_CHECKING:
    import icechunk

BRANCH = "main"
AXIS, CYCLES_IN_MANIFEST = "init_time", 32
"""Icechunk's own lists of chunks are cut along this dimension, so many cycles in each: a commit writes the last one
again, not those of all years."""
LOCK = ".collecting"
"""File in a folder's repository that is locked while one writes: Icechunk keeps no two writers of a folder apart."""


class VirtualChunk(NamedTuple):
    """A chunk of an array that is a whole object elsewhere; ``stamp``: as ``Store.stamps`` says, where it is known."""

    place: tuple[int, ...]
    address: str
    size_bytes: int
    stamp: str | datetime | None


class Writing:
    """Changes that nobody sees until they are committed."""

    def __init__(self, session: icechunk.Session, where: str) -> None:
        self._session, self._where = session, where

    @property
    def store(self) -> zarr.abc.store.Store:
        """For Zarr to write to."""
        return self._session.store

    def refer(self, array: str, chunks: Sequence[VirtualChunk]) -> None:
        """Let chunks of an array be objects elsewhere."""
        import icechunk

        specs = [
            icechunk.VirtualChunkSpec(
                list(item.place), location(item.address), 0, item.size_bytes,
                etag_checksum=item.stamp if isinstance(item.stamp, str) else None,
                last_updated_at_checksum=item.stamp if isinstance(item.stamp, datetime) else None,
            )
            for item in chunks
        ]  # fmt: skip
        refused = self._session.store.set_virtual_refs(f"/{array}", specs)
        if refused:
            raise CheckFailed(
                f"chunks of {array} in places that the archive names", found=f"{len(refused)} elsewhere, first "
                f"{chunks[0].address}", where=self._where, action="collect from the store's own address",
            )  # fmt: skip

    def commit(self, message: str, facts: dict[str, object]) -> str:
        """Make the changes visible, all at once; return the snapshot's name."""
        with _told("commit to", self._where):
            return self._session.commit(message, facts)


class Repository:
    """A repository to write into: a folder or ``s3://bucket/prefix``, made where there is none.

    ``container``: the address under which objects lie that its chunks may be (``VirtualChunk``); ``store`` has them.
    """

    def __init__(self, where: str | Path, store: Store, container: str) -> None:
        _check_installed()
        self.where = str(where).rstrip("/")
        self._place = Store(self.where).place
        with _told("open", self.where):
            storage = _storage(self.where, self._place, signed=True)
            self._repository, self._settled = _opened(storage, location(f"{container}/"), store.place, container)

    def settle(self) -> None:
        """Tell later readers of the container, where the repository does not yet."""
        if not self._settled:
            with _told("write", self.where):
                self._repository.save_config()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep others from writing where Icechunk does not: in a folder; ``CycleHeld`` where somebody is at it."""
        if self._place is not None:
            yield
            return
        with (_folder(self.where) / LOCK).open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise _held(self.where) from error
            yield

    @contextmanager
    def writing(self) -> Iterator[Writing]:
        """Changes upon the newest state; without ``Writing.commit`` they are forgotten."""
        with _told("write", self.where):
            yield Writing(self._repository.writable_session(BRANCH), self.where)


class Reading(WrapperStore[zarr.abc.store.Store]):
    """A snapshot for Zarr to read; chunks that cannot be read are a ``StoreError`` that says why."""

    def __init__(self, store: zarr.abc.store.Store, where: str) -> None:
        super().__init__(store)
        self._where = where

    def _with_store(self, store: zarr.abc.store.Store) -> Reading:
        return Reading(store, self._where)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:  # fmt: skip
        """The bytes asked for."""
        with _told(f"read {key} of", self._where):
            return await super().get(key, prototype, byte_range)


def newest(where: str | Path, *, signed: bool) -> Reading:
    """The newest state of a repository to read. ``signed``: ask S3 with one's own keys, not as anybody."""
    _check_installed()
    import icechunk

    text = str(where).rstrip("/")
    with _told("open", text):
        storage = _storage(text, Store(text).place, signed=signed)
        if not icechunk.Repository.exists(storage):
            raise StoreError(
                "an archive of cycles", found="none there that may be read", where=text,
                action="check the address, or make one: goms collect --out ADDRESS",
            )  # fmt: skip
        config = icechunk.Repository.fetch_config(storage) or icechunk.RepositoryConfig.default()
        keys = icechunk.s3_from_env_credentials() if signed else icechunk.s3_anonymous_credentials()
        allowed = {prefix: keys if prefix.startswith("s3:") else None
                   for prefix in config.virtual_chunk_containers or {}}  # fmt: skip
        repository = icechunk.Repository.open(
            storage, authorize_virtual_chunk_access=icechunk.containers_credentials(allowed)
        )
        return Reading(repository.readonly_session(BRANCH).store, text)


def location(address: str) -> str:
    """An address of the store's as Icechunk writes it."""
    return address if "://" in address else f"file://{Path(address).absolute()}{'/' if address.endswith('/') else ''}"


def _check_installed() -> None:
    try:
        import icechunk
    except ImportError as error:
        raise UsageError(
            "the library icechunk for an archive of all cycles", found="it is not installed", where="this environment",
            action="pip install 'goms[icechunk]'",
        ) from error  # fmt: skip
    icechunk.set_logs_filter("error")  # it warns of two writers in a folder, whom ``Repository.alone`` keeps apart


def _storage(where: str, place: Place | None, *, signed: bool) -> icechunk.Storage:
    import icechunk

    if place is None:
        return icechunk.local_filesystem_storage(str(_folder(where)))
    return icechunk.s3_storage(
        bucket=place.bucket, prefix=place.prefix or None, region=place.region, endpoint_url=place.endpoint,
        allow_http=place.endpoint.startswith("http://"), force_path_style=True, from_env=signed or None,
        anonymous=None if signed else True,
    )  # fmt: skip


def _folder(where: str) -> Path:
    return Path(where.removeprefix("file://")).absolute()


def _opened(
    storage: icechunk.Storage, prefix: str, place: Place | None, container: str
) -> tuple[icechunk.Repository, bool]:  # fmt: skip
    """The repository, with this prefix among the places of its virtual chunks, and whether it has kept that."""
    import icechunk

    there = icechunk.Repository.exists(storage)
    config = (icechunk.Repository.fetch_config(storage) if there else None) or icechunk.RepositoryConfig.default()
    known = prefix in (config.virtual_chunk_containers or {})
    if not known:
        elsewhere = (
            icechunk.local_filesystem_store(container)
            if place is None
            else icechunk.s3_store(
                region=place.region, endpoint_url=place.endpoint, allow_http=place.endpoint.startswith("http://"),
                anonymous=True, s3_compatible=True, force_path_style=True,
            )
        )  # fmt: skip
        config.set_virtual_chunk_container(icechunk.VirtualChunkContainer(prefix, elsewhere))
    if not there:
        dimension = icechunk.ManifestSplitDimCondition.DimensionName(AXIS)
        every = icechunk.ManifestSplitCondition.AnyArray()
        config.manifest = icechunk.ManifestConfig(
            splitting=icechunk.ManifestSplittingConfig.from_dict({every: {dimension: CYCLES_IN_MANIFEST}})
        )
        return icechunk.Repository.create(storage, config=config), True
    return icechunk.Repository.open(storage, config=config), known


@contextmanager
def _told(doing: str, where: str) -> Iterator[None]:
    """Icechunk's errors as sentences."""
    import icechunk

    try:
        yield
    except icechunk.ConflictError as error:
        raise _held(where) from error
    except icechunk.IcechunkError as error:
        lines = [line.strip(" |x`->") for line in str(error).splitlines()]
        found = "; ".join(dict.fromkeys(line for line in lines if line and not line.startswith(_NOISE)))
        raise StoreError(
            f"to {doing} the archive of cycles", found=found, where=where,
            action=_GONE if any(word in found for word in _SIGNS_OF_GONE) else _AWAY,
        ) from error  # fmt: skip


_NOISE = ("context", "0:", "1:", "with key", "at icechunk")
"""How lines begin in Icechunk's errors that are for its own developers."""
_SIGNS_OF_GONE = ("not found", "NoSuchKey", "AccessDenied", "checksum")
_GONE = (
    "its forecast was withdrawn or changed since it was collected: run goms collect, and leave out the cycles that are "
    "withdrawn and not copied"
)
_AWAY = "check the address, the network and the keys, then run again"


def _held(where: str) -> CycleHeld:
    return CycleHeld(
        "to write the archive of cycles alone", found="another goms collect that wrote meanwhile", where=where,
        action="let it end, then run again: what is there is not taken twice",
    )  # fmt: skip
