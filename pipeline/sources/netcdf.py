"""NetCDF and GRIB files where the operator says they are: found, fetched, opened lazily, known by their digest.

``inputs`` is a folder, one file, or an ``s3://`` or ``http(s)://`` address of either. Remote files are fetched
whole into the scratch folder before they are opened: what is read is then exactly what the digest says was read.
Endpoints and credentials come through the usual AWS variables; ``FSSPEC_S3_ANON=true`` reads public buckets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import fsspec
import numpy as np
import xarray as xr
import yarl
from botocore.exceptions import BotoCoreError

from pipeline.errors import InputRefused, InputUnavailable, UsageError
from pipeline.provenance import FileRecord
from pipeline.sources import classic, grib

SUFFIXES = (".nc", ".nc4", ".cdf", *grib.SUFFIXES)
CONNECT_SECONDS, SILENCE_SECONDS = 30, 60
"""A server that does not answer, or stops sending, for this long is given up (HYCOM's servers are known to hang)."""
BLOCK_BYTES = 1 << 22


_OPENED: ContextVar[list[xr.Dataset] | None] = ContextVar("opened", default=None)


@contextmanager
def closed_after() -> Iterator[None]:
    """Files that are opened inside are closed at its end, by whoever opened them.

    netCDF-C bears no two threads at a time, and what is left to the garbage collector is closed in whichever thread
    it happens to run. What is read of a file after its end opens it again.
    """
    opened = list[xr.Dataset]()
    token = _OPENED.set(opened)
    try:
        yield
    finally:
        _OPENED.reset(token)
        for dataset in opened:
            dataset.close()


class NetcdfFile(NamedTuple):
    """One open file. ``dataset`` is unpacked and masked, lazily; its times are still numbers."""

    uri: str
    path: Path
    dataset: xr.Dataset

    def record(self) -> FileRecord:
        """Where it is, its size, and the SHA-256 of its bytes."""
        with self.path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return FileRecord(uri=self.uri, size_bytes=self.path.stat().st_size, sha256=digest)


class Scan(NamedTuple):
    """What a look at ``inputs`` gave: the files that open, and one refusal for each that does not."""

    files: tuple[NetcdfFile, ...]
    unreadable: tuple[InputRefused, ...]


def scan(inputs: str | None, scratch: Path, archive: str, wanted: Callable[[str], bool] = lambda name: True) -> Scan:
    """Open the header of every netCDF file at ``inputs`` whose name is ``wanted``, in order of name.

    Raises ``InputUnavailable`` where there is no such place or no netCDF file in it, ``UsageError`` for an address that
    nothing here reads.
    """
    if inputs is None:
        raise InputUnavailable(
            f"{archive} files", found="no place to look", where="--inputs", action="name a folder or a URL of files"
        )
    files: list[NetcdfFile] = []
    unreadable: list[InputRefused] = []
    for uri, path in _located(inputs, scratch, archive, wanted):
        try:
            files += [NetcdfFile(uri, path, dataset) for dataset in open_any(path, uri)]
        except InputRefused as refusal:
            unreadable.append(refusal)
    return Scan(tuple(files), tuple(unreadable))


def is_remote(inputs: str) -> bool:
    """Whether the place is not on this machine, so that its files must be fetched before they are opened."""
    return "://" in inputs and not inputs.startswith("file://")


def listed(inputs: str, archive: str, wanted: Callable[[str], bool] = lambda name: True) -> list[str]:
    """The addresses of the netCDF files at ``inputs`` whose name is ``wanted``; nothing of them is fetched.

    Raises ``InputUnavailable`` where there is no such place or no netCDF file in it, ``UsageError`` for an address that
    nothing here reads.
    """
    names = _remote_names(inputs, archive) if is_remote(inputs) else _local_names(inputs, archive)
    return [name for name in names if wanted(name.rsplit("/", 1)[-1])]


def open_any(path: Path, uri: str) -> tuple[xr.Dataset, ...]:
    """The datasets of one file: one of a netCDF file, one a field of a GRIB file; raises as ``open_file``."""
    if path.suffix not in grib.SUFFIXES:
        return (open_file(path, uri),)
    try:
        return grib.open_file(path)
    except (OSError, ValueError) as error:
        raise _unreadable(path, uri, error) from error


def open_file(path: Path, uri: str) -> xr.Dataset:
    """Open one file lazily: packed integers unpacked in float64, missing values NaN, times left as numbers.

    ``tau``, whose units "hours since analysis" no calendar can decode, is left out. Raises ``InputRefused`` where
    the file is truncated or is no netCDF file.
    """
    try:
        _check_length(path)
        raw = xr.open_dataset(path, engine="netcdf4", decode_cf=False, cache=False)
        if (opened := _OPENED.get()) is not None:
            opened.append(raw)
        return unpacked(raw.drop_vars("tau", errors="ignore"))
    except (OSError, RuntimeError, ValueError) as error:
        raise _unreadable(path, uri, error) from error


def unpacked(raw: xr.Dataset) -> xr.Dataset:
    """Packed integers as float64, missing values NaN, lazily; times are left as they are."""
    return xr.decode_cf(_exact_packing(raw), decode_times=False, decode_coords=False)


def _unreadable(path: Path, uri: str, error: Exception) -> InputRefused:
    kind = "GRIB" if path.suffix in grib.SUFFIXES else "netCDF"
    return InputRefused(
        f"a whole {kind} file", found=f"{path.stat().st_size} bytes that cannot be read ({_first_line(error)})",
        where=uri, action="fetch it again: it is truncated, damaged, or something else under this name",
    )  # fmt: skip


@contextmanager
def reading(files: tuple[FileRecord, ...]) -> Iterator[None]:
    """Turn a failure to read the bytes of an opened file into a refusal that names the files."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise InputRefused(
            "values that can be read", found=f"damaged data ({_first_line(error)})",
            where=", ".join(record.uri for record in files), action="fetch the file again",
        ) from error  # fmt: skip


def _check_length(path: Path) -> None:
    size = path.stat().st_size
    if size and classic.is_classic(path) and size < (needed := classic.needed_bytes(path)):
        raise ValueError(f"the header promises {needed} bytes")


def _exact_packing(raw: xr.Dataset) -> xr.Dataset:
    """Packing attributes as the decimal numbers they stand for; ``missing_value`` only where there is no fill.

    A float32 0.001 is 0.0010000000475; the archive means 0.001.
    """
    for variable in raw.variables.values():
        attrs = variable.attrs
        for name in ("scale_factor", "add_offset"):
            if isinstance(attrs.get(name), np.float32):
                attrs[name] = np.float64(str(attrs[name]))
        missing = attrs.pop("missing_value", None)
        if missing is not None and "_FillValue" not in attrs and np.issubdtype(variable.dtype, np.number):
            attrs["_FillValue"] = np.asarray(missing).astype(variable.dtype).flat[0]
    return raw


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _located(inputs: str, scratch: Path, archive: str, wanted: Callable[[str], bool]) -> Iterator[tuple[str, Path]]:
    for name in listed(inputs, archive, wanted):
        yield name, _fetched(name, scratch, archive) if is_remote(inputs) else Path(name)


def _local_names(inputs: str, archive: str) -> list[str]:
    place = Path(inputs.removeprefix("file://"))
    if place.is_file():
        return [str(place)]
    if not place.is_dir():
        raise _nothing(archive, "no such folder or file", inputs)
    names = sorted(str(path) for path in place.iterdir() if path.suffix in SUFFIXES and path.is_file())
    if not names:
        raise _nothing(archive, "no netCDF file", inputs)
    return names


def _remote_names(inputs: str, archive: str) -> list[str]:
    if inputs.endswith(SUFFIXES):
        return [inputs]
    with _fetching(inputs, archive):
        system, path = _filesystem(inputs)
        names = sorted(system.unstrip_protocol(str(name)) for name in system.ls(path, detail=False))
    names = [name for name in names if name.endswith(SUFFIXES)]
    if not names:
        raise _nothing(archive, "no netCDF file", inputs)
    return names


def _fetched(uri: str, scratch: Path, archive: str) -> Path:
    """The file's bytes in the scratch folder; one already there is used again while its size is the same."""
    with _fetching(uri, archive):
        system, path = _filesystem(uri)
        size = system.info(path)["size"]
        key = hashlib.sha256(f"{uri} {size} {system.ukey(path)}".encode()).hexdigest()[:16]
        local = scratch / "inputs" / key / uri.rsplit("/", 1)[-1]
        if local.exists():
            return local
        local.parent.mkdir(parents=True, exist_ok=True)
        partial = local.with_name(local.name + ".part")
        with system.open(path, "rb", block_size=BLOCK_BYTES) as stream, partial.open("wb") as copy:
            while block := stream.read(BLOCK_BYTES):
                copy.write(block)
    if size is not None and partial.stat().st_size != size:
        raise _nothing(archive, f"{partial.stat().st_size} of {size} bytes", uri)
    return partial.rename(local)


@contextmanager
def _fetching(uri: str, archive: str) -> Iterator[None]:
    try:
        yield
    except (OSError, TimeoutError, aiohttp.ClientError, BotoCoreError) as error:
        raise _nothing(archive, f"no answer that helps ({_first_line(error)})", uri) from error


def _filesystem(uri: str) -> tuple[Any, str]:
    options: dict[str, Any] = {"use_listings_cache": False}
    if uri.startswith("http"):
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
        options["client_kwargs"] = {"timeout": timeout}
    try:
        yarl.URL(uri)  # else a port that is none is found out amid the first request
        system, path = fsspec.core.url_to_fs(uri, **options)
    except (ValueError, TypeError, ImportError) as error:  # a scheme nobody knows, or whose reader is not installed
        raise UsageError(
            "files in a folder or at s3://bucket/prefix or http(s)://host/path", found=f"{uri} ({_first_line(error)})",
            where="--inputs or GOMS_INPUTS", action="name one of them",
        ) from error  # fmt: skip
    return system, str(path)


def _nothing(archive: str, found: str, where: str) -> InputUnavailable:
    return InputUnavailable(
        f"{archive} files", found=found, where=where, action="check the place, or wait for the archive and run again"
    )
