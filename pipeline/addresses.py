"""Addresses as they may be shown and published, without anybody's password, and as they may be given to others."""

from __future__ import annotations

import re
from pathlib import Path

_ACCOUNT = re.compile(r"(?<=://)[^/\s@'\"]+@")


def without_account(text: str) -> str:
    """A text in which every ``scheme://user:password@host`` is ``scheme://host``."""
    return _ACCOUNT.sub("", text)


def from_anywhere(place: str) -> str:
    """A folder or file by its whole path, for a process that works in another folder; an address stays as it is."""
    scheme, separator, rest = place.partition("://")
    return place if separator and scheme != "file" else str(Path(rest if separator else place).absolute())
