"""What tests need of Debian: a program that is not installed skips the test; where all must run (CI=true) it fails."""

from __future__ import annotations

import os
import shutil

import pytest


def program(name: str, package: str) -> str:
    """The path of a program; without it the test is skipped, or fails under ``CI=true``."""
    found = shutil.which(name)
    if found is not None:
        return found
    reason = f"needs {name}: apt-get install {package}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
