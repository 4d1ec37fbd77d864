"""The journey on the archives' real files: the Coral Sea from HYCOM and ERA5, on a day whose next day is known."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr
from journeys import Answer, Here

from pipeline import cycle, publish, variables
from pipeline.publish import Manifest
from pipeline.store import Store

DAY, START = "2023-01-01", cycle.cycle("coral-sea", "2023-01-01", 0)
HYCOM = "hycom_coral_sea_20230101_20230102.nc"
PACKED = {"to": ("water_temp", 20.0), "so": ("salinity", 20.0), "uo": ("water_u", 0.0), "vo": ("water_v", 0.0),
          "zos": ("surf_el", 0.0)}  # fmt: skip
"""Our name -> HYCOM's, and the offset its int16 are packed with; the step is 0.001 for all."""
STEP = 0.001

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def published(realdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("coral-sea") / "store")


@pytest.fixture
def run(here: Here, published: Store, realdata: Path) -> Answer:
    """The run; after the first test it finds the cycle published and says where everything is."""
    return here("run", DAY, "--system", "coral-sea", "--inputs", realdata, "--store", published.uri,
                "--forecaster", "persistence")  # fmt: skip


@pytest.fixture
def manifest(run: Answer, published: Store) -> Manifest:
    assert run.code == 0, run.err
    found = publish.read_manifest(published, START, 1)
    assert found is not None
    return found


@pytest.fixture
def ocean(manifest: Manifest, published: Store) -> Iterator[xr.Dataset]:
    with xr.open_zarr(published.address(f"{START.revision_prefix(1)}/ocean.zarr"), chunks=None) as dataset:
        yield dataset


def test_what_real_input_lacks_is_said_everywhere(manifest: Manifest, ocean: xr.Dataset, run: Answer) -> None:
    assert manifest.degraded
    assert manifest.real_ocean
    reasons = " ".join(manifest.degraded_reasons)
    for word in ("t2m and sp from climatology", "waves is left out", "biogeochemistry is left out"):
        assert word in reasons
        assert word in run.out
    assert ocean.attrs["degraded"] == "true"
    assert "t2m and sp from climatology" in ocean.attrs["degraded_reasons"]
    assert {record.source for record in manifest.facts.inputs} == {"hycom", "era5", "climatology"}
    assert all(len(item.sha256) == 64 for record in manifest.facts.inputs for item in record.files)


@pytest.mark.parametrize("name", PACKED)
def test_the_initial_state_is_the_files_to_packing_precision(name: str, ocean: xr.Dataset, realdata: Path) -> None:
    """|product - file| <= half a packing step + half a step of the float32 mantissa kept, at every coincident point.

    The grid's points are HYCOM's own, so that regridding may change nothing there; it fills only the coast's rim,
    which the file has no value for. A value v kept to b mantissa bits is off by at most |v| 2**-(b + 1).
    """
    native, offset = PACKED[name]
    with netCDF4.Dataset(realdata / HYCOM) as file:
        file.set_auto_maskandscale(False)
        raw = np.asarray(file[native][0])
        latitude, longitude = np.asarray(file["lat"][:]), np.asarray(file["lon"][:]) % 360.0
        depth = np.asarray(file["depth"][:])
        assert file[native].scale_factor == pytest.approx(STEP)
        fill = file[native]._FillValue
    expected = np.where(raw == fill, np.nan, raw * STEP + offset)
    rows = [int(np.abs(latitude - y).argmin()) for y in ocean["latitude"].values]
    columns = [int(np.abs(longitude - x).argmin()) for x in ocean["longitude"].values]
    assert np.abs(latitude[rows] - ocean["latitude"].values).max() < 1e-3
    assert np.abs(longitude[columns] - ocean["longitude"].values).max() < 1e-3
    if expected.ndim == 3:
        expected = expected[[int(np.flatnonzero(depth == level)[0]) for level in ocean["depth"].values]]
    expected = expected[..., rows, :][..., columns]
    found = ocean[name].isel(time=0).values.astype(np.float64)
    both = np.isfinite(expected) & np.isfinite(found)
    assert both.sum() > 0.95 * np.isfinite(found).sum()
    bits = variables.variable(name).mantissa_bits
    allowed = STEP / 2 + np.abs(expected) * 2.0 ** -(bits + 1)
    assert bool((np.abs(found - expected) <= allowed)[both].all())


def test_day_one_is_scored_against_the_real_analysis(
    here: Here, manifest: Manifest, published: Store, realdata: Path
) -> None:
    """Persistence is its own yardstick; one day of real weather moves the real ocean by a measurable amount."""
    answer = here("verify", DAY, "--system", "coral-sea", "--inputs", realdata, "--store", published.uri)
    assert answer.code == 0, answer.err
    assert "persistence" in answer.out
    scores = json.loads(published.read_bytes("coral-sea/scores/20230101T00/r1/ocean.json"))
    rows = {row["variable"]: row for row in scores["rows"]}
    assert set(rows) == set(PACKED)
    for row in rows.values():
        assert row["lead_day"] == 1
        assert row["rmse"] == row["persistence"] > 0
        assert row["rmse"] < row["climatology"]
    assert scores["attributes"]["unverified"] == "[5, 10, 20, 30]"
