"""The analysts' guide: every block in it is run, against a bucket that anybody may read on a real S3 server."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from s3_server import S3Server
from typer.testing import CliRunner

from flows import cli
from pipeline.readers import catalogue
from pipeline.store import Store
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
    published.open_to_everybody(s3_cycle, s3_keys)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "GOMS_STORE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GOMS_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.chdir(tmp_path)
    return s3_cycle.uri


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
