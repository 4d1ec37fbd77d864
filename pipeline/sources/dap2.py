"""OPeNDAP's DAP2 as bytes: the declarations (DDS), the attributes (DAS), the values (``.dods``), each checked.

After "The Data Access Protocol, DAP 2.0" (ESE-RFC-004): values follow the declarations in XDR, big-endian; an array
has its length before it, twice; Int16 and UInt16 take four bytes a value; bytes are padded to a multiple of four.
``ValueError`` where the text or the bytes are not what the protocol says: the answer is damaged, or none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

WIRE = {"Byte": "u1", "Int16": ">i4", "UInt16": ">u4", "Int32": ">i4", "UInt32": ">u4", "Float32": ">f4",
        "Float64": ">f8"}  # fmt: skip
"""How each type travels."""
NATIVE = {"Byte": "u1", "Int16": "i2", "UInt16": "u2", "Int32": "i4", "UInt32": "u4", "Float32": "f4", "Float64": "f8"}
LENGTHS_BYTES = 8
_MARK = re.compile(rb"\r?\nData:\r?\n")
_OPENS = re.compile(r"\s*(Dataset|Structure|Grid|Sequence)\s*\{")
_PART = re.compile(r"\s*(?:Array|Maps)\s*:", re.IGNORECASE)
_LEAF = re.compile(r"\s*(Byte|U?Int16|U?Int32|Float32|Float64|String|Url)\s+([^\[\];]+?)\s*((?:\[[^\]]*\]\s*)*);")
_CLOSES = re.compile(r"\s*\}\s*([^;]*);")
_DIMENSION = re.compile(r"\[\s*(?:([^=\]]+?)\s*=\s*)?(\d+)\s*\]")
_ATTRIBUTE = re.compile(r"\s*(\w+)\s+(\"[^\"]+\"|[^\s\"{};]+)\s+((?:\"(?:[^\"\\]|\\.)*\"|[^\";])+);", re.DOTALL)
_GROUP = re.compile(r"\s*(\"[^\"]+\"|[^\s{};]+)\s*\{")
_END = re.compile(r"\s*\}\s*;?")
_VALUE = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|([^\s,\"]+)")
_ERROR = re.compile(r"Error\s*\{.*?message\s*=\s*\"?(.*?)\"?\s*;", re.DOTALL)


class Array(NamedTuple):
    """One declared array (or scalar: no dimensions). ``path``: the structures it lies in, outermost first."""

    path: tuple[str, ...]
    name: str
    kind: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]


def declarations(text: str) -> tuple[Array, ...]:
    """The arrays of a DDS in the order in which their values travel."""
    if not (opening := _OPENS.match(text)):
        raise ValueError(_first_words(text))
    found, place = _members(text, opening.end(), ())
    if text[place:].strip():
        raise ValueError(f"words after the declarations: {text[place:].strip()[:60]!r}")
    return tuple(found)


def attributes(text: str) -> dict[str, dict[str, Any]]:
    """The attributes of a DAS by variable; numbers in their own types."""
    start = re.match(r"\s*Attributes\s*\{", text, re.IGNORECASE)
    if not start:
        raise ValueError(_first_words(text))
    groups, _ = _group(text, start.end())
    return {name: value for name, value in groups.items() if isinstance(value, dict)}


def values(body: bytes | bytearray) -> tuple[dict[str, NDArray[Any]], tuple[Array, ...]]:
    """The arrays of a ``.dods`` answer by name, and their declarations; not a byte may be missing or left over."""
    mark = _MARK.search(body, 0, 1 << 16)
    if not mark:
        raise ValueError(_first_words(body[:2000].decode("utf-8", "replace")))
    declared = declarations(body[: mark.start()].decode("utf-8", "replace"))
    found, place = {}, mark.end()
    for item in declared:
        found[item.name], place = _decoded(body, place, item)
    if place != len(body):
        raise ValueError(f"{len(body) - place} bytes after the last value")
    return found, declared


def _members(text: str, place: int, path: tuple[str, ...]) -> tuple[list[Array], int]:
    """Everything up to the brace that closes this structure, its name put before the paths."""
    found: list[Array] = []
    while not (closing := _CLOSES.match(text, place)):
        if part := _PART.match(text, place):
            place = part.end()
        elif leaf := _LEAF.match(text, place):
            found.append(_leaf(*leaf.groups()))
            place = leaf.end()
        elif (opening := _OPENS.match(text, place)) and opening[1] != "Sequence":
            inner, place = _members(text, opening.end(), path)
            found += inner
        else:
            raise ValueError(f"no declaration: {text[place : place + 60].strip()!r}")
    outermost = closing.end() >= len(text.rstrip())
    prefix = () if outermost else (closing[1].strip(),)
    return [item._replace(path=prefix + item.path) for item in found], closing.end()


def _leaf(kind: str, name: str, brackets: str) -> Array:
    dimensions = _DIMENSION.findall(brackets)
    return Array((), name, kind, tuple(dim or name for dim, _ in dimensions), tuple(int(n) for _, n in dimensions))


def _decoded(body: bytes | bytearray, place: int, item: Array) -> tuple[NDArray[Any], int]:
    if item.kind not in WIRE:
        raise ValueError(f"{item.name} is of type {item.kind}, which is not read")
    wire, count = np.dtype(WIRE[item.kind]), prod(item.shape)
    if item.dims:
        lengths = np.frombuffer(body, ">u4", 2, place) if place + LENGTHS_BYTES <= len(body) else np.zeros(2)
        if (lengths != count).any():
            raise ValueError(f"{item.name}: lengths {lengths.tolist()} where {count} values were declared")
        place += LENGTHS_BYTES
    size = count * wire.itemsize
    size += -size % 4
    if place + size > len(body):
        raise ValueError(f"{item.name}: {len(body) - place} of {size} bytes")
    sent = np.frombuffer(body, wire, count, place)
    kept = sent.astype(NATIVE[item.kind])
    if kept.dtype.itemsize < wire.itemsize and not np.array_equal(kept, sent):
        raise ValueError(f"{item.name}: values beyond {item.kind}")
    return kept.reshape(item.shape), place + size


def _group(text: str, place: int) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    while not (end := _END.match(text, place)):
        if opening := _GROUP.match(text, place):
            found[opening[1].strip('"')], place = _group(text, opening.end())
        elif attribute := _ATTRIBUTE.match(text, place):
            found[attribute[2].strip('"')] = _value(attribute[1], attribute[3])
            place = attribute.end()
        else:
            raise ValueError(f"no attribute: {text[place : place + 60].strip()!r}")
    return found, end.end()


def _value(kind: str, text: str) -> Any:
    """One value, or a list of several."""
    words = [quoted.replace('\\"', '"') or bare for quoted, bare in _VALUE.findall(text)]
    if kind in NATIVE:
        numbers = [
            np.dtype(NATIVE[kind]).type(float(word) if kind.startswith("Float") else int(word)) for word in words
        ]
        return numbers[0] if len(numbers) == 1 else numbers
    return ", ".join(words)


def _first_words(text: str) -> str:
    """What the server says instead of what was asked for."""
    if error := _ERROR.search(text):
        return f"the server's error {' '.join(error[1].split())[:200]!r}"
    plain = " ".join(re.sub(r"<[^>]*>", " ", text).split())
    return f"something else: {plain[:80]!r}" if plain else "an empty answer"


def by_name(declared: tuple[Array, ...]) -> Mapping[str, Array]:
    """Each array by its own name: a grid's array before the maps of others."""
    grids = {item.name: item for item in reversed(declared) if item.path and item.path[-1] == item.name}
    return {item.name: item for item in reversed(declared) if not item.path} | grids
