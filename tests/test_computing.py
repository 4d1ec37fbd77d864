"""The same bytes and the same refusals wherever dask computes: on threads, or on the workers of a scheduler."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import native_files as native
import netCDF4
import numpy as np
import pytest
import small_goms

from pipeline import computing
from pipeline.contracts import Gridded
from pipeline.earth import landmask
from pipeline.errors import InputRefused, UsageError
from pipeline.ingest import ingest
from pipeline.regrid import regrid
from pipeline.variables import Kind

SERVE = """
import sys
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.readline()
"""


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a scheduler with one worker, each a process, on loopback."""
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "serve.py").write_text(SERVE)
    with subprocess.Popen([sys.executable, str(folder / "serve.py")], cwd=folder, text=True, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as process:  # fmt: skip
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("tcp://127.0.0.1:"), address
        yield address
        process.communicate("stop\n")


def gridded(inputs: Path, scratch: Path) -> Gridded:
    parts = ingest(small_goms.SMALL_SEA, Kind.OCEAN, native.START, inputs=str(inputs), scratch=scratch)
    return regrid(parts, Kind.OCEAN, small_goms.SMALL_SEA)


@pytest.mark.server
def test_a_scheduler_s_workers_regrid_to_the_same_bytes_and_refuse_the_same(
    small_sea: tuple[Path, Path], scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, masks = small_sea
    monkeypatch.setattr(landmask, "FOLDER", masks)
    with computing.on(None, threads=2):
        here = gridded(inputs, tmp_path)
    with computing.on(scheduler, threads=2):
        there = gridded(inputs, tmp_path)
        with pytest.raises(InputRefused):
            gridded(_land_moved(tmp_path / "moved"), tmp_path)
    for name in here.data_vars:
        np.testing.assert_array_equal(here[name].values, there[name].values)


def _land_moved(folder: Path) -> Path:
    """A file whose land lies elsewhere: only the regridding, on the worker, can tell."""
    folder.mkdir()
    native.write_hycom(folder / "hycom.nc", longitude=native.LONGITUDE)
    with netCDF4.Dataset(folder / "hycom.nc", "r+") as file:
        file.set_auto_maskandscale(False)
        for name in native.HYCOM_FIELDS:
            file[name][:] = np.roll(file[name][:], 8, axis=-1)
    return folder


def test_a_scheduler_that_is_not_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(computing, "CONNECT_SECONDS", 1)
    with (
        pytest.raises(UsageError, match="a dask scheduler; found no answer"),
        computing.on("tcp://127.0.0.1:9", 1),
    ):
        raise AssertionError
