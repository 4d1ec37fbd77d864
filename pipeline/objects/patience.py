"""Patience with a server: what may be tried again, how soon, and for how long at the most."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
)
from botocore.parsers import ResponseParserError

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.1, 10.0
"""Waits double from the first to the longest, each shortened by up to a half at random, so that runs that lost the
server together do not come back together."""
SILENT_SECONDS = 5.0
"""How long a server may be away before a line in the log says so."""

PASSING_STATUS = frozenset({408, 429, 500, 502, 503, 504})
"""HTTP's own words for "ask again"."""
PASSING_CODES = frozenset({
    "SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "ConditionalRequestConflict",
    "OperationAborted", "BadDigest", "IncompleteBody", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch",
})  # fmt: skip
"""S3's: overload, another put under way, or a body that did not arrive as it was sent."""
UNREAD = frozenset({"400", "404"})
"""What stands in the place of S3's word where the answer's body did not arrive: what is wrong is not known then."""

Failure = (BotoCoreError, ClientError, ResponseParserError)
"""Everything that asking an S3 server may raise."""

_log = logging.getLogger(__name__)


class CutOff(BotoCoreError):  # type: ignore[misc]  # botocore has no types
    """An answer that says all is well and lacks what every such answer holds: it ended on its way."""

    fmt = "the answer ended before {missing}"


class Tries:
    """The tries of one request, for as long as patience lasts. ``failed``: how many there have been in vain."""

    def __init__(self, seconds: float) -> None:
        self.failed = 0
        self._begun, self._seconds, self._told = time.monotonic(), seconds, False

    def again(self, doing: str, error: Exception) -> bool:
        """Wait before the next try; False where the error does not pass by itself or patience is at its end."""
        longest = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2**self.failed)
        wait = longest * random.uniform(0.5, 1.0)
        away = time.monotonic() - self._begun
        if not passing(error) or away + wait > self._seconds:
            return False
        if away > SILENT_SECONDS and not self._told:
            _log.warning("the store does not answer to %s (%s): tried for %.0f s more", doing, error,
                         self._seconds - away)  # fmt: skip
            self._told = True
        time.sleep(wait)
        self.failed += 1
        return True


def passing(error: Exception) -> bool:
    """Whether an error may pass by itself: the server is overloaded, unreachable, or did not finish its answer."""
    if isinstance(error, ClientError):
        return status(error) in PASSING_STATUS or code(error) in PASSING_CODES or code(error) in UNREAD
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return False
    cut_off = (
        ConnectionError, HTTPClientError, IncompleteReadError, FlexibleChecksumError, ResponseParserError, CutOff,
    )  # fmt: skip
    return isinstance(error, cut_off)


def field(answer: Mapping[str, Any], name: str) -> Any:
    """What every whole answer holds; ``CutOff`` where this one does not."""
    if name not in answer:
        raise CutOff(missing=name)
    return answer[name]


def code(error: ClientError) -> str:
    """S3's own word for an error."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status(error: ClientError) -> int:
    """HTTP's number for an error."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
