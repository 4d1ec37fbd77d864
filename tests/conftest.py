"""What every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest_plugins = ("journeys", "forked", "kill_matrix", "s3_server")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real files: beside the project, or where GOMS_REALDATA says; the test is skipped without it."""
    folder = Path(os.environ.get("GOMS_REALDATA", ROOT.parent / "shared" / "realdata"))
    if not folder.is_dir():
        pytest.skip(f"no folder of real files at {folder}; name one by GOMS_REALDATA")
    return folder
