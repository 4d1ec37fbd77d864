"""What every test may ask for.

No ``Store``, ``Settings`` or client of HTTP is made in a thread that outlives a test: each walks the environment, from
which pytest takes a variable out between two tests, and a walk of it beside that fails on Python 3.11.
"""

from __future__ import annotations

import importlib
import os
from contextlib import suppress
from pathlib import Path

import pytest

with suppress(ModuleNotFoundError):
    importlib.import_module("pyproj")
"""Before eccodes, which opens its own libproj for the whole process: loaded after it, pyproj's is mixed up with that
one, and the process ends by a double free when all its tests have passed (``test_compliance``)."""

pytest_plugins = ("journeys", "forked", "kill_matrix", "s3_server", "small_disk", "tests.published")

ROOT = Path(__file__).parents[1]
LONGEST_FIRST = (
    "test_service", "test_together", "test_kill_matrix", "test_store_faults", "test_concurrent_runs",
    "test_models_training", "test_flow_daily", "test_hycom_faults", "test_atmosphere_faults", "test_backfill",
)  # fmt: skip
"""Files that take minutes or wait a lot: begun first, beside others, they are not what is waited for at the end."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest files come first; tests of the live archives run where they are asked for by name alone."""
    places = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))
    if "network" in config.option.markexpr:
        return
    for item in items:
        if item.get_closest_marker("network"):
            item.add_marker(pytest.mark.skip(reason="reads a live archive: run it by `pytest -m network`"))


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real files: beside the project, or where GOMS_REALDATA says; the test is skipped without it."""
    folder = Path(os.environ.get("GOMS_REALDATA", ROOT.parent / "shared" / "realdata"))
    if not folder.is_dir():
        pytest.skip(f"no folder of real files at {folder}; name one by GOMS_REALDATA")
    return folder
