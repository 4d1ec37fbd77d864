"""HYCOM's GOFS 3.1 reanalysis in Amazon's open data: one file a three-hourly step, read by ranges of bytes.

``YYYY/hycom_GLBv0.08_<experiment>_<YYYYMMDD>12_t<tau>.nc`` under the year of the analysis: netCDF-3 with 64-bit
offsets, big-endian, not compressed, 4.83 GB. A level of a field is one run of bytes, so that 61 ranged reads take
1.78 GB. Quirks:

- two header layouts, 40 bytes apart: each file's own header is read, never another's;
- longitude -180..180; latitude steps of 0.08 degrees within 40 degrees of the equator and 0.04 beyond;
- 931 of 64,272 steps are missing, 593 of them at 12 UTC: the nearest step within three hours stands in;
- rows are as long as the globe is round: for a region its rows are moved whole, for a row is the shortest run.

All ranges of a file are asked of the same version (``If-Match``); a file that is shorter than its header promises has
not landed yet.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import quote
from xml.etree import ElementTree

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.errors import InputRefused, InputUnavailable
from pipeline.sources import Request, classic
from pipeline.sources import holdings as h
from pipeline.sources.asking import Answer, Asking, DamagedAnswer, all_of
from pipeline.sources.hycom_archive import HycomArchive, Tier
from pipeline.sources.slabs import Field, Slab

ADDRESS = "https://hycom-gofs-3pt1-reanalysis.s3.us-west-2.amazonaws.com"
YEARS = range(1994, 2016)
HEADER_BYTES, LONGEST_HEADER_BYTES = 1 << 13, 1 << 20
"""The header takes about 5 KB: read first; a longer one is read again, twice as long."""
LISTING_BYTES = 1 << 22
_NAME = re.compile(r"hycom_GLBv0\.08_(\d+)_(\d{8})(\d{2})_t(\d{3})\.nc$")


class Stored(NamedTuple):
    """A file of the bucket: its key, address, size in bytes, version (ETag), header and axes."""

    key: str
    uri: str
    size_bytes: int
    version: str
    header: classic.Header
    axes: Mapping[str, NDArray[Any]]

    def field(self, name: str) -> Field:
        """A variable as a field that can be read."""
        variable = self.header.variables[name]
        time = self.header.variables[variable.dims[0]]
        axis = xr.Variable(("time",), self.axes[variable.dims[0]], dict(time.attributes))
        return Field(
            name, self.key, self.uri, self.version, h.decoded_stamps(axis, self.uri),
            self.axes[variable.dims[1]] if len(variable.dims) == 4 else None, self.axes[variable.dims[-2]],
            self.axes[variable.dims[-1]], variable.attributes,
            np.dtype(classic.TYPES[variable.type_number]).newbyteorder("=").str, self._read, self.axes.get("tau"),
        )  # fmt: skip

    async def _read(self, asking: Asking, slab: Slab) -> NDArray[Any]:
        """The slab's rows whole, of which its columns are kept."""
        variable, (first, last) = self.header.variables[slab.field.name], slab.box.rows
        rows, width = variable.shape[-2:]
        start = self.header.offset(slab.field.name, slab.step, ((slab.level or 0) * rows + first) * width)
        body = await _ranged(asking, self.uri, start, (last - first) * width * variable.value_bytes, self)
        wire = np.frombuffer(body, classic.TYPES[variable.type_number]).reshape(last - first, width)
        columns = np.concatenate([wire[:, slice(*run)] for run in slab.box.columns], axis=1)
        return columns.astype(wire.dtype.newbyteorder("="))


class HycomBucketSource(HycomArchive):
    """The reanalysis 53.X from Amazon's open data."""

    archive, address, label = "hycom-bucket", ADDRESS, "HYCOM GOFS 3.1 reanalysis (AWS)"

    def tiers(self, request: Request, address: str) -> tuple[Tier, ...]:
        """The bucket, for the years it has."""
        if request.when.year not in YEARS:
            raise InputUnavailable(
                f"{self.label} of {request.when:%Y-%m-%d}", found=f"{YEARS[0]}-{YEARS[-1]} only", where=address,
                action="take hycom-gofs or hycom-espc for later dates",
            )  # fmt: skip
        return (_Bucket(address, request.when),)


class _Bucket:
    """The files whose names promise an instant of the request's day, or one within three hours of it."""

    def __init__(self, address: str, when: datetime) -> None:
        self.address, self.when = address, when.astimezone(UTC)
        self._keys: dict[np.datetime64, str] = {}

    async def stamps(self, asking: Asking, names: Sequence[str]) -> Mapping[str, h.Stamps]:
        """The instants that the files' names promise; every file has all five variables."""
        days = sorted({(self.when - timedelta(days=days)).date() for days in (0, 1)})
        for keys in await all_of([self._listed(asking, day) for day in days]):
            self._keys |= {promised(key): key for key in keys}
        stamps = np.array(sorted(self._keys), dtype="datetime64[s]")
        return dict.fromkeys(names, stamps)

    async def fields(self, asking: Asking, names: Sequence[str], stamp: np.datetime64) -> Mapping[str, Field]:
        """See ``Tier.fields``; ``InputRefused`` where the file's own time is not the one in its name."""
        stored = await opened(asking, self._keys[stamp], f"{self.address}/{quote(self._keys[stamp])}")
        fields = {name: stored.field(name) for name in names if name in stored.header.variables}
        for field in fields.values():
            if not (field.stamps == stamp).any():
                raise InputRefused(
                    f"the step of {stamp}, which the name promises", found=str(field.stamps[0]), where=stored.uri,
                    action="tell the archive's keepers",
                )  # fmt: skip
        return fields

    async def _listed(self, asking: Asking, day: date) -> list[str]:
        """The keys of the analysis of a day: with the experiment of the year's first file, else the whole year's."""
        folder = f"{day:%Y}/hycom_GLBv0.08_"
        first = await self._page(asking, folder, "", 1)
        match = _NAME.search(first[0]) if first else None
        if match is None:
            return []
        found = await self._every(asking, f"{folder}{match[1]}_{day:%Y%m%d}")
        return found or [key for key in await self._every(asking, folder) if f"_{day:%Y%m%d}" in key]

    async def _every(self, asking: Asking, prefix: str) -> list[str]:
        keys: list[str] = []
        while page := await self._page(asking, prefix, keys[-1] if keys else "", 1000):
            keys += page
            if len(page) < 1000:
                break
        return [key for key in keys if _NAME.search(key)]

    async def _page(self, asking: Asking, prefix: str, after: str, most: int) -> list[str]:
        late = f"&start-after={quote(after, safe='')}" if after else ""
        url = f"{self.address}/?list-type=2&max-keys={most}&prefix={quote(prefix, safe='')}{late}"
        return await asking.ask(url, _keys, most_bytes=LISTING_BYTES)


def promised(key: str) -> np.datetime64:
    """The instant that a file's name promises: its analysis and tau hours."""
    match = _NAME.search(key)
    if match is None:
        raise ValueError(f"{key} is no name of the reanalysis")
    analysis = datetime.strptime(match[2] + match[3], "%Y%m%d%H").replace(tzinfo=UTC)
    return h.instant(analysis + timedelta(hours=int(match[4])))


async def opened(asking: Asking, key: str, uri: str) -> Stored:
    """A file's header and axes; ``InputUnavailable`` where it is shorter than the header promises."""
    size = HEADER_BYTES
    while True:
        head, total, version = await asking.ask(uri, _first(size), headers=_range(0, size), most_bytes=size)
        try:
            header = classic.header(io.BytesIO(head))
            break
        except ValueError as error:
            if len(head) < size or size >= LONGEST_HEADER_BYTES:
                raise InputRefused(
                    "a netCDF-3 header", found=str(error), where=uri,
                    action="look at the file: it is something else under this name",
                ) from error  # fmt: skip
            size *= 2
    if total < header.needed_bytes:
        raise InputUnavailable(
            f"the {header.needed_bytes} bytes of {key}", found=f"{total}: its end has not landed", where=uri,
            action="wait until it is there and run again",
        )  # fmt: skip
    stored = Stored(key, uri, total, version, header, {})
    names = [name for name, item in header.variables.items() if len(item.dims) == 1 and item.dims[0] == name]
    names += ["tau"] if "tau" in header.variables else []
    axes = await all_of([_axis(asking, stored, name) for name in names])
    return stored._replace(axes=dict(zip(names, axes, strict=True)))


async def _axis(asking: Asking, stored: Stored, name: str) -> NDArray[Any]:
    variable = stored.header.variables[name]
    if variable.grows and stored.header.records != 1:
        raise InputRefused(f"one step along {name}", found=str(stored.header.records), where=stored.uri,
                           action="look at the file: the archive has one step a file")  # fmt: skip
    size = variable.record_bytes * (1 if variable.grows else variable.shape[0])
    body = await _ranged(asking, stored.uri, stored.header.offset(name), size, stored)
    return np.frombuffer(body, classic.TYPES[variable.type_number]).astype(np.float64)


async def _ranged(asking: Asking, uri: str, start: int, size: int, stored: Stored) -> bytes | bytearray:
    """Exactly these bytes of this version of the file."""

    def check(answer: Answer) -> bytes | bytearray:
        _check_range(answer, start, size, stored.size_bytes)
        return answer.body

    headers = _range(start, size) | ({"If-Match": stored.version} if stored.version else {})
    return await asking.ask(uri, check, headers=headers, most_bytes=size)


def _range(start: int, size: int) -> dict[str, str]:
    return {"Range": f"bytes={start}-{start + size - 1}", "Accept-Encoding": "identity"}


def _first(size: int) -> Any:
    """A check of the first bytes: these, the file's size, and its version."""

    def check(answer: Answer) -> tuple[bytes | bytearray, int, str]:
        told = answer.headers.get("Content-Range", "nothing")
        whole = told.rpartition("/")[2]
        if not whole.isdecimal():  # "*": a size that the server does not know, or does not tell
            raise DamagedAnswer(f"{told} (HTTP {answer.status}) where {size} bytes and the file's size were asked for")
        total = int(whole)
        _check_range(answer, 0, min(size, total), total)
        if not answer.body.startswith(b"CDF"):
            raise DamagedAnswer(f"{bytes(answer.body[:4])!r} where a netCDF-3 file begins")
        return answer.body, total, answer.headers.get("ETag", "")

    return check


def _check_range(answer: Answer, start: int, size: int, total: int) -> None:
    told, expected = answer.headers.get("Content-Range", "nothing"), f"bytes {start}-{start + size - 1}/{total}"
    if answer.status != 206 or told != expected:
        raise DamagedAnswer(f"{told} (HTTP {answer.status}) where {expected} was asked for")
    if len(answer.body) != size:
        raise DamagedAnswer(f"{len(answer.body)} of {size} bytes")


def _keys(answer: Answer) -> list[str]:
    try:
        root = ElementTree.fromstring(answer.body)
    except ElementTree.ParseError as error:
        raise DamagedAnswer(f"a listing that is no XML ({error})") from error
    if not root.tag.endswith("ListBucketResult"):
        raise DamagedAnswer(f"{root.tag} where a listing was asked for")
    return [str(item.text) for item in root.iter() if item.tag.rpartition("}")[2] == "Key"]
