"""How long a classic netCDF file must be: the netCDF library reads the missing end of a short one as zeros.

Layout from the netCDF classic format specification (CDF-1, CDF-2 with 64-bit offsets, CDF-5 with 64-bit data).
"""

from __future__ import annotations

import struct
from math import prod
from pathlib import Path
from typing import BinaryIO, NamedTuple

TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}
"""Bytes of one value by the format's type number (byte, char, short, int, float, double, then CDF-5's own)."""
ATTRIBUTES, VARIABLES, DIMENSIONS = 0x0C, 0x0B, 0x0A


class _Variable(NamedTuple):
    shape: tuple[int, ...]
    value_bytes: int
    begin: int


class _Header:
    """A cursor over the header; ``ValueError`` or ``struct.error`` where the bytes are not one."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.version = stream.read(4)[3]
        self.count_format = ">q" if self.version == 5 else ">i"
        self.offset_format = ">i" if self.version == 1 else ">q"

    def number(self, form: str = ">i") -> int:
        """The next big-endian integer."""
        return int(struct.unpack(form, self.stream.read(struct.calcsize(form)))[0])

    def count(self) -> int:
        """The next length or number of elements."""
        return self.number(self.count_format)

    def skip(self, size: int) -> None:
        """Pass over ``size`` bytes and their padding to a multiple of four."""
        self.stream.seek(size + -size % 4, 1)

    def elements(self, tag: int) -> range:
        """The elements of the list that comes next, which is absent or of this kind."""
        found, count = self.number(), self.count()
        if found not in (0, tag) or (found == 0 and count):
            raise ValueError(f"list {found:#x} where {tag:#x} belongs")
        return range(count)

    def attributes(self) -> None:
        """Pass over a list of attributes."""
        for _ in self.elements(ATTRIBUTES):
            self.skip(self.count())
            value_bytes = TYPE_BYTES[self.number()]
            self.skip(self.count() * value_bytes)


def is_classic(path: Path) -> bool:
    """Whether the file begins as a classic netCDF file does."""
    with path.open("rb") as stream:
        magic = stream.read(4)
    return magic[:3] == b"CDF" and magic[3:] in (b"\x01", b"\x02", b"\x05")


def needed_bytes(path: Path) -> int:
    """The least size in bytes at which every value the header promises is in the file.

    Raises ``ValueError`` where the header itself is cut short or is not one.
    """
    try:
        with path.open("rb") as stream:
            return _needed(_Header(stream))
    except (struct.error, KeyError) as error:
        raise ValueError(f"header ends early or is damaged: {error}") from error


def _needed(header: _Header) -> int:
    records = header.count()
    sizes = []
    for _ in header.elements(DIMENSIONS):
        header.skip(header.count())
        sizes.append(header.count())
    header.attributes()
    variables = [_variable(header, sizes) for _ in header.elements(VARIABLES)]
    growing = [item for item in variables if item.shape and item.shape[0] == 0]
    record_bytes = sum(_padded(_record(item), len(growing)) for item in growing)
    ends = [item.begin + prod(item.shape) * item.value_bytes for item in variables if item not in growing]
    if records > 0:
        ends += [item.begin + (records - 1) * record_bytes + _record(item) for item in growing]
    return max([header.stream.tell(), *ends])


def _variable(header: _Header, sizes: list[int]) -> _Variable:
    header.skip(header.count())
    shape = tuple(sizes[header.count()] for _ in range(header.count()))
    header.attributes()
    value_bytes = TYPE_BYTES[header.number()]
    header.count()
    return _Variable(shape, value_bytes, header.number(header.offset_format))


def _record(item: _Variable) -> int:
    return prod(item.shape[1:]) * item.value_bytes


def _padded(size: int, variables: int) -> int:
    return size if variables == 1 else size + -size % 4
