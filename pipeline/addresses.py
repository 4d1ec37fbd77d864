"""Addresses as they may be shown and published: nobody's name and password in them."""

from __future__ import annotations

import re

_ACCOUNT = re.compile(r"(?<=://)[^/\s@'\"]+@")


def without_account(text: str) -> str:
    """A text in which every ``scheme://user:password@host`` is ``scheme://host``."""
    return _ACCOUNT.sub("", text)
