"""The analysts' guide: every block in it is run, against a bucket that anybody may read on a real S3 server."""

from __future__ import annotations

import re
import shlex
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import xarray as xr
from s3_server import S3Server
from typer.testing import CliRunner

from flows import cli
from pipeline import channels, products
from pipeline.readers import catalogue
from pipeline.scoring import regions, scoreboard
from pipeline.store import Store
from pipeline.variables import DEPTHS_M
from tests import debian, published
from tests import small_ocean as small

matplotlib.use("Agg")
ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "pipeline" / "guide.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", GUIDE, flags=re.DOTALL)


@pytest.fixture
def address(s3_cycle: Store, s3_keys: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The store as the guide's reader has it: no keys, an empty folder to work in."""
    catalogue.refresh(s3_cycle, small.SYSTEM)
    two_days_of_scores(s3_cycle)
    published.open_to_everybody(s3_cycle, s3_keys)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "GOMS_STORE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GOMS_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.chdir(tmp_path)
    return s3_cycle.uri


def two_days_of_scores(store: Store) -> None:
    """Errors of 1 and 7 K squared, so 2 K in the mean; currents of 1, 2, 3... tenths of the real energy by depth."""
    names = [item.name for item in regions.of(small.SYSTEM.grid)]
    labels, depths = [item.label for item in channels.ocean()], np.arange(1, 1 + len(DEPTHS_M))
    coords = {"by": list(scoreboard.names_by(products.OCEAN)), "channel": labels, "region": names}
    board = scoreboard.Board(store, small.SYSTEM, products.OCEAN)
    for day, square in enumerate((7.0, 1.0)):
        rivals = np.array([square, 2 * square, 2 * square, 2 * square])
        energies = np.multiply.outer(rivals / square, depths / 10.0)
        squares = rivals[:, None, None] * np.ones((len(labels), len(names)))
        fields = {
            "mean_square_error": (("by", "channel", "region"), squares),
            "weight": (("channel", "region"), np.ones((len(labels), len(names)))),
            "kinetic_energy": (("by", "current_depth", "region"), energies[..., None] * np.ones(len(names))),
            "truth_kinetic_energy": (("current_depth", "region"), np.ones((depths.size, len(names)))),
            "energy_weight": (("current_depth", "region"), np.ones((depths.size, len(names)))),
        }  # fmt: skip
        made = xr.Dataset(fields, coords=coords)
        scored = [scoreboard.Scored(lead, 1, 1, made) for lead in (1, 2)]
        board.add(small.START - timedelta(days=day), scored)


@pytest.mark.server
def test_every_block_of_the_guide_runs(address: str, s3_keys: S3Server, capsys: pytest.CaptureFixture[str]) -> None:
    """Blocks of one page follow each other: names that one makes are there for the next."""
    names: dict[str, Any] = {}
    web = f"{s3_keys.endpoint}/{address.removeprefix('s3://')}"
    for language, block in BLOCKS:
        text = block.replace("s3://forecasts/goms", address).replace("https://forecasts.example.org/goms", web)
        text = text.replace("twin", "small")
        if language == "python":
            exec(compile(text, "guide.md", "exec"), names)  # the guide's own code
            continue
        for line in text.splitlines():
            program, *arguments = shlex.split(line)
            answer = CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
            assert (program, answer.exit_code) == ("goms", 0), f"{line}\n{answer.stderr}"
    assert {language for language, _ in BLOCKS} == {"python", "sh"}
    said = capsys.readouterr().out
    assert "synthetic twin: not the real ocean | t2m, msl and sp are climatology" in said
    assert f"small-ocean-20240227T12 True {web}/{published.PREFIX}/ocean.zarr" in said
    assert names["rmse"].sel(by="forecast").values.tolist() == [2.0, 2.0]
    assert names["blur"].values == pytest.approx(np.arange(1, 1 + len(DEPTHS_M)) / 10)
    assert names["scores"]["valid_time"].to_index().is_monotonic_increasing
    assert {"part.nc", "waves.zarr", "challenger.zarr"} <= {path.name for path in Path().iterdir()}


@pytest.mark.parametrize("library", ["xarray", "zarr", "tensorstore", "zarrs"])
def test_the_guide_names_the_versions_that_are_tested(library: str) -> None:
    (held,) = re.findall(rf"^{library}==(.+)$", (ROOT / "deploy" / "constraints.txt").read_text(), flags=re.MULTILINE)
    assert f"{library} {held}" in GUIDE


@pytest.mark.parametrize(
    ("name", "command", "package"),
    [("GDAL", ("gdalinfo", "--version"), "gdal-bin"), ("netCDF-C", ("ncdump",), "netcdf-bin")],
)
def test_debians_programs_are_not_older_than_the_guide_says(name: str, command: tuple[str, ...], package: str) -> None:
    said = subprocess.run(
        [debian.program(command[0], package), *command[1:]], capture_output=True, text=True, check=False
    )
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", said.stdout + said.stderr)
    told = re.search(rf"{name} (\d+)\.(\d+)\.(\d+)", GUIDE)
    assert found is not None
    assert told is not None
    assert tuple(map(int, found.groups())) >= tuple(map(int, told.groups()))
