"""The store as a folder: objects are files that appear whole, and conditional puts hold between processes."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from pipeline.errors import StoreError

LOCK_SECONDS, LOCK_LOOK_SECONDS = 60.0, 0.005
"""How long a change waits for another process to finish its own to the same object, and between two looks. Theirs
takes milliseconds, unless that process is paused."""
INCOMING = ".incoming"
"""Folder under the root where files are written before they are renamed into place: a killed run's leftovers."""

_SENTENCES = {
    errno.ENOSPC: ("free space", "no space left on the device", "free space or move the store, then run again"),
    errno.EDQUOT: ("free space", "the quota is used up", "free space or move the store, then run again"),
    errno.EACCES: ("permission", "permission denied", "give this user the right to write there"),
    errno.EPERM: ("permission", "operation not permitted", "give this user the right to write there"),
    errno.EROFS: ("a writable folder", "a read-only file system", "mount it writable or name another store"),
    errno.ENOTDIR: ("a folder", "a file in its place", "move that file away or name another store"),
    errno.EAGAIN: ("a moment", "its lock not freed", "look for a paused process (state T), end it or let it go on"),
    errno.EISDIR: ("an object", "a folder in its place", "move that folder away or name another store"),
}


class Folder:
    """Objects under a root folder. Paths are relative, with ``/``; names that start with a dot are not objects."""

    def __init__(self, root: Path, permit: Callable[[], None] | None = None) -> None:
        """``permit`` is asked before anything is written, and again when only the change itself is left to do."""
        self.root, self._permit = root, permit or (lambda: None)

    def address(self, path: str) -> str:
        """What other programs open the object or prefix by."""
        return str(self.root / path)

    def find(self, path: str) -> tuple[bytes, str] | None:
        """Content and version (SHA-256 of the content) of an object, or ``None``."""
        with _told(f"read {path}", self.root):
            try:
                data = (self.root / path).read_bytes()
            except FileNotFoundError:
                return None
        return data, hashlib.sha256(data).hexdigest()

    def part(self, path: str, first: int, end: int | None) -> bytes | None:
        """Some bytes of an object, the last ones where ``first`` is below zero, or ``None``."""
        with _told(f"read {path}", self.root):
            try:
                with (self.root / path).open("rb") as file:
                    size = file.seek(0, os.SEEK_END)
                    file.seek(first if first >= 0 else max(0, size + first))
                    return file.read(-1 if end is None else end - first)
            except FileNotFoundError:
                return None

    def write(self, path: str, data: bytes) -> None:
        """Put an object; readers see the old one or the new one, never half of it; safe on disk on return."""
        with _told(f"write {path} ({len(data)} bytes)", self.root), self._temporary(path, data) as temporary:
            self._permit()
            temporary.replace(self.root / path)
            _sync_folder((self.root / path).parent)

    def create(self, path: str, data: bytes) -> bool:
        """Put an object only if there is none: whether this call did."""
        with _told(f"create {path} ({len(data)} bytes)", self.root), self._temporary(path, data) as temporary:
            self._permit()
            try:
                os.link(temporary, self.root / path)
            except FileExistsError:
                return False
            _sync_folder((self.root / path).parent)
        return True

    def swap(self, path: str, data: bytes, version: str) -> bool:
        """Put an object only if the one there has this version: whether this call did."""
        with self._locked(path):
            found = self.find(path)
            if found is None or found[1] != version:
                return False
            self.write(path, data)
        return True

    def size(self, path: str) -> int | None:
        """Bytes of an object, or ``None`` where there is none."""
        with _told(f"look at {path}", self.root):
            try:
                status = (self.root / path).stat()
            except FileNotFoundError:
                return None
        return status.st_size

    def objects(self, prefix: str) -> list[tuple[str, int]]:
        """Path and bytes of every object under a prefix, sorted by path."""
        found = []
        with _told(f"list {prefix}", self.root):
            for folder, folders, names in os.walk(self.root / prefix, onerror=_unless_absent):
                folders[:] = [name for name in folders if not name.startswith(".")]
                for file in (Path(folder, name) for name in names if not name.startswith(".")):
                    with suppress(FileNotFoundError):  # removed by somebody since it was listed
                        found.append((file.relative_to(self.root).as_posix(), file.stat().st_size))
        return sorted(found)

    def stamps(self, prefix: str) -> dict[str, str | datetime]:
        """The time of every file's last change, in whole seconds, rounded up: as coarsely as others keep it."""
        found = dict[str, str | datetime]()
        for path, _ in self.objects(prefix):
            with suppress(FileNotFoundError):
                found[path] = datetime.fromtimestamp(math.ceil((self.root / path).stat().st_mtime), UTC)
        return found

    def folders(self, prefix: str, after: str = "") -> list[str]:
        """Names of the folders directly under a prefix, sorted: those from ``after`` on."""
        with _told(f"list {prefix}", self.root):
            try:
                entries = list(os.scandir(self.root / prefix))
            except FileNotFoundError:
                return []
            names = [entry.name for entry in entries if entry.name >= after and entry.is_dir()]
            return sorted(name for name in names if not name.startswith("."))

    def delete(self, prefix: str) -> None:
        """Remove an object, or everything under a prefix; nothing there is fine."""
        self._permit()
        with _told(f"delete {prefix}", self.root):
            target = self.root / prefix
            if target.is_dir():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)

    def leftovers(self, before: datetime) -> list[tuple[str, int]]:
        """Name and bytes of the files that killed writers left behind before a moment."""
        with _told("list what was left behind", self.root):
            try:
                entries = [(entry.name, entry.stat()) for entry in os.scandir(self.root / INCOMING)]
            except FileNotFoundError:
                return []
        return sorted((name, found.st_size) for name, found in entries if found.st_mtime < before.timestamp())

    def forget(self, leftover: str) -> None:
        """Remove one of ``leftovers``."""
        self._permit()
        with _told(f"remove {leftover}", self.root):
            (self.root / INCOMING / leftover).unlink(missing_ok=True)

    @contextmanager
    def _temporary(self, path: str, data: bytes) -> Iterator[Path]:
        self._permit()
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        incoming = self.root / INCOMING
        incoming.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f"{target.name}.", dir=incoming)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(file.fileno(), 0o644)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)

    @contextmanager
    def _locked(self, path: str) -> Iterator[None]:
        """One process or thread at a time; the kernel frees it when its holder dies, not when it is paused."""
        target = self.root / path
        with _told(f"lock {path}", self.root):
            target.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(target.parent / f".{target.name}.lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            with _told(f"change {path} as long as another process is at it", self.root):
                _flock(descriptor)
            yield
        finally:
            os.close(descriptor)


def _flock(descriptor: int) -> None:
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(LOCK_LOOK_SECONDS)


@contextmanager
def _told(doing: str, root: Path) -> Iterator[None]:
    """Operating-system errors as sentences."""
    try:
        yield
    except OSError as error:
        fallback = ("a store that answers", error.strerror or str(error), "look at the disk, then run again")
        needed, found, action = _SENTENCES.get(error.errno or 0, fallback)
        raise StoreError(f"{needed} to {doing}", found=found, where=f"the store {root}", action=action) from error


def _unless_absent(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # some file systems cannot sync a folder: the rename is atomic all the same
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
