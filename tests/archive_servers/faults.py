"""What archives' servers do wrong: one vocabulary for every protocol, and when it is done."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple


class ArchiveFault(StrEnum):
    """One way to misbehave. The last three are faults of what a server holds: the server is made so, no proxy can."""

    SERVER_ERROR = "HTTP 500"
    RESET = "connection reset"
    STALL = "stall: nothing is sent any more"
    TOO_MANY = "429 with Retry-After"
    TRUNCATED = "body cut short of its length"
    TRUNCATED_QUIETLY = "body cut short, length to match"
    PAGE = "200 with a page of words"
    DRIP = "slow drip"
    MOVED = "moved: 404"
    REDIRECTED = "moved: 302 to the new place"
    FORBIDDEN = "403"
    ZEROS = "200 with zeros for data"
    NULLS = "200 with nulls"
    MISSING_STEP = "missing step"
    TAIL = "tail not landed"


HELD = (ArchiveFault.NULLS, ArchiveFault.MISSING_STEP, ArchiveFault.TAIL)
"""Faults of the holdings, not of the answers."""
ANSWERED = tuple(fault for fault in ArchiveFault if fault not in HELD)
"""Faults that ``proxy.Proxy`` commits on any HTTP server's answers."""


class Misbehaviour(NamedTuple):
    """A fault and the requests it befalls: those whose target matches, after the first ``after``, ``times`` of them.

    ``matching``: a regular expression searched for in ``METHOD target``; ``times``: ``None`` for always.
    ``retry_after``: of 429, as the header says it.
    """

    fault: ArchiveFault
    matching: str = ""
    after: int = 0
    times: int | None = None
    retry_after: str = "1"

    def befalls(self, request: str, seen: int) -> bool:
        """Whether it befalls this request, of which ``seen`` matching ones came before."""
        late = seen >= self.after and (self.times is None or seen < self.after + self.times)
        return late and self.matches(request)

    def matches(self, request: str) -> bool:
        """Whether this request is one of those it counts."""
        return re.search(self.matching, request) is not None
