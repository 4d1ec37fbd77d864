"""Classic netCDF headers: where each variable's values lie, and how long the file must be.

The netCDF library reads the missing end of a short file as zeros; and of a file on a server only the wanted bytes are
fetched. Layout from the netCDF classic format specification (CDF-1, CDF-2 with 64-bit offsets, CDF-5 with 64-bit
data).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}
"""Bytes of one value by the format's type number (byte, char, short, int, float, double, then CDF-5's own)."""
TYPES = {1: ">i1", 3: ">i2", 4: ">i4", 5: ">f4", 6: ">f8", 7: ">u1", 8: ">u2", 9: ">u4", 10: ">i8", 11: ">u8"}
"""numpy's name of each; 2 is text."""
ATTRIBUTES, VARIABLES, DIMENSIONS = 0x0C, 0x0B, 0x0A
CHAR = 2


class Variable(NamedTuple):
    """One variable: ``begin`` is the file's byte at which its values (or its first record) begin.

    ``shape`` has 0 for the record dimension; ``type_number`` is the format's.
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    type_number: int
    begin: int
    attributes: Mapping[str, Any]

    @property
    def value_bytes(self) -> int:
        """Bytes of one value."""
        return TYPE_BYTES[self.type_number]

    @property
    def grows(self) -> bool:
        """Whether its first dimension is the record dimension."""
        return bool(self.shape) and self.shape[0] == 0

    @property
    def record_bytes(self) -> int:
        """Bytes of one step of its first dimension, without padding."""
        return prod(self.shape[1:]) * self.value_bytes


class Header(NamedTuple):
    """What a file says of itself; ``record_bytes``: from one record to the next, over all variables that grow."""

    records: int
    variables: Mapping[str, Variable]
    record_bytes: int
    needed_bytes: int

    def offset(self, name: str, step: int = 0, skipped: int = 0) -> int:
        """The file's byte of a variable's step, after ``skipped`` values of it."""
        variable = self.variables[name]
        stride = self.record_bytes if variable.grows else variable.record_bytes
        return variable.begin + step * stride + skipped * variable.value_bytes


class _Cursor:
    """A cursor over the header; ``ValueError`` or ``struct.error`` where the bytes are not one."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        magic = stream.read(4)
        if magic[:3] != b"CDF" or magic[3:] not in (b"\x01", b"\x02", b"\x05"):
            raise ValueError(f"it begins with {magic!r}")
        self.version = magic[3]
        self.count_format = ">q" if self.version == 5 else ">i"
        self.offset_format = ">i" if self.version == 1 else ">q"

    def number(self, form: str = ">i") -> int:
        """The next big-endian integer."""
        return int(struct.unpack(form, self.stream.read(struct.calcsize(form)))[0])

    def count(self) -> int:
        """The next length or number of elements."""
        return self.number(self.count_format)

    def padded(self, size: int) -> bytes:
        """The next ``size`` bytes; their padding to a multiple of four is passed over."""
        content = self.stream.read(size + -size % 4)
        if len(content) < size:
            raise struct.error(f"{len(content)} of {size} bytes")
        return content[:size]

    def name(self) -> str:
        """The next name."""
        return self.padded(self.count()).decode("utf-8", "replace")

    def elements(self, tag: int) -> range:
        """The elements of the list that comes next, which is absent or of this kind."""
        found, count = self.number(), self.count()
        if found not in (0, tag) or (found == 0 and count):
            raise ValueError(f"list {found:#x} where {tag:#x} belongs")
        return range(count)

    def attributes(self) -> dict[str, Any]:
        """A list of attributes: text, or numbers in their own types."""
        found: dict[str, Any] = {}
        for _ in self.elements(ATTRIBUTES):
            name, number, count = self.name(), self.number(), self.count()
            content = self.padded(count * TYPE_BYTES[number])
            if number == CHAR:
                found[name] = content.decode("utf-8", "replace").rstrip("\0")
            else:
                values = np.frombuffer(content, TYPES[number])
                values = values.astype(values.dtype.newbyteorder("="))
                found[name] = values[0] if count == 1 else values
        return found


def is_classic(path: Path) -> bool:
    """Whether the file begins as a classic netCDF file does."""
    with path.open("rb") as stream:
        magic = stream.read(4)
    return magic[:3] == b"CDF" and magic[3:] in (b"\x01", b"\x02", b"\x05")


def needed_bytes(path: Path) -> int:
    """The least size in bytes at which every value the header promises is in the file.

    Raises ``ValueError`` where the header itself is cut short or is not one.
    """
    with path.open("rb") as stream:
        return header(stream).needed_bytes


def header(stream: BinaryIO) -> Header:
    """The header at the beginning of a stream; ``ValueError`` where it is cut short or is not one."""
    try:
        return _header(_Cursor(stream))
    except (struct.error, KeyError, IndexError) as error:
        raise ValueError(f"header ends early or is damaged: {error}") from error


def _header(cursor: _Cursor) -> Header:
    records = cursor.count()
    dimensions = [(cursor.name(), cursor.count()) for _ in cursor.elements(DIMENSIONS)]
    cursor.attributes()
    variables = dict(_variable(cursor, dimensions) for _ in cursor.elements(VARIABLES))
    growing = [item for item in variables.values() if item.grows]
    record_bytes = sum(_padded(item.record_bytes, len(growing)) for item in growing)
    ends = [item.begin + prod(item.shape) * item.value_bytes for item in variables.values() if not item.grows]
    if records > 0:
        ends += [item.begin + (records - 1) * record_bytes + item.record_bytes for item in growing]
    return Header(records, variables, record_bytes, max([cursor.stream.tell(), *ends]))


def _variable(cursor: _Cursor, dimensions: list[tuple[str, int]]) -> tuple[str, Variable]:
    name = cursor.name()
    mine = [dimensions[cursor.count()] for _ in range(cursor.count())]
    attributes, type_number = cursor.attributes(), cursor.number()
    cursor.count()
    begin = cursor.number(cursor.offset_format)
    dims, shape = tuple(dim for dim, _ in mine), tuple(size for _, size in mine)
    return name, Variable(dims, shape, type_number, begin, attributes)


def _padded(size: int, variables: int) -> int:
    return size if variables == 1 else size + -size % 4
