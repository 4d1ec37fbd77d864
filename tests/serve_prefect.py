"""Serve Prefect's API as ``goms`` does, print where, and stop when a line comes in."""

from __future__ import annotations

import sys

from flows.service.server import serving
from pipeline.settings import Settings

if __name__ == "__main__":
    with serving(Settings()):
        from prefect.settings import PREFECT_API_URL

        print(PREFECT_API_URL.value(), flush=True)
        sys.stdin.readline()
