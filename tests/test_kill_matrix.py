"""Killed anywhere, run once more: the same bytes, and nobody ever read half a forecast."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from forked import Forks
from kill_matrix import ON_A_FOLDER, ON_S3, ROWS, Matrix
from kill_points import POINTS, Point
from s3_server import BUCKET, S3Server

from pipeline.store import Store

LEAST = 20
"""Points at the least."""


@pytest.fixture(scope="module")
def matrix(
    forks: Forks, small_sea: tuple[Path, Path], both_days: tuple[Store, Store], s3_server: S3Server,
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest,
) -> Iterator[Matrix]:  # fmt: skip
    """All points that this session asks for, under way."""
    asked = [item.callspec.params for item in request.session.items
             if item.path == request.path and hasattr(item, "callspec")]  # fmt: skip
    with pytest.MonkeyPatch.context() as environment:
        for name, value in s3_server.environment(s3_server.admin).items():
            environment.setenv(name, value)
        with closing(Matrix(forks, small_sea[1], both_days, tmp_path_factory.mktemp("killed"))) as made:
            made.begin([item["point"] for item in asked if item["where"] == "folder"], made.folder, "folder")
            made.begin([item["point"] for item in asked if item["where"] == "S3"], _on_s3, "S3")
            yield made


def _on_s3() -> Store:
    return Store(f"s3://{BUCKET}/{uuid.uuid4().hex}")


@pytest.mark.server
@pytest.mark.parametrize(
    ("where", "point"),
    [(where, point) for where, points in (("folder", ON_A_FOLDER), ("S3", ON_S3)) for point in points],
    ids=lambda value: value.name if isinstance(value, Point) else value,
)
def test_killed_and_run_again_a_cycle_has_the_bytes_of_an_undisturbed_run(
    matrix: Matrix, where: str, point: Point, request: pytest.FixtureRequest
) -> None:
    row = matrix.row(where, point)
    request.config.stash.setdefault(ROWS, []).append(row)
    assert row.faults == []


def test_there_are_enough_points_and_no_two_of_a_name() -> None:
    assert len(ON_A_FOLDER) >= LEAST
    assert len(ON_S3) * 3 >= len(ON_A_FOLDER)
    assert len({point.name for point in POINTS}) == len(POINTS)
