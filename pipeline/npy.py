"""NumPy's own files, read from several threads.

Such a file's header is a Python literal, and two threads that parse literals at once end now and then in a
``SystemError`` ("AST constructor recursion depth mismatch") where Python is older than 3.11.8 (CPython issue 106905).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

_ONE_READER = threading.Lock()


@contextmanager
def opened(file: Path | IO[bytes]) -> Iterator[Any]:
    """The array of a ``.npy`` file, or the arrays of a ``.npz`` file by name; nothing pickled is read.

    One thread at a time: take what is wanted out, and leave. Raises what ``numpy.load`` raises.
    """
    with _ONE_READER:
        found = np.load(file, allow_pickle=False)
        try:
            yield found
        finally:
            if not isinstance(found, np.ndarray):
                found.close()
