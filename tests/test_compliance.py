"""Published products against the IOOS compliance checker: cf:1.11 and acdd, strict, on the netCDF export."""

import io
import sys
from contextlib import redirect_stdout
from pathlib import Path

import netCDF4
import pytest

from pipeline import edition, publish
from pipeline.edition import Edition
from pipeline.products import PRODUCTS
from pipeline.readers import export
from pipeline.store import Store
from tests import small_ocean as small

compliance_checker = pytest.importorskip("compliance_checker.runner")

MASKS = small.masks()


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Edition:
    store = Store(tmp_path_factory.mktemp("store"))
    making = Edition(store, small.SYSTEM, small.CYCLE, small.facts())
    written = edition.write(making, small.initial(), small.persistence(), inputs_digest="x", masks=MASKS)
    publish.publish(making, written, created=small.CREATED, masks=MASKS)
    return making


def complaints(path: Path) -> str:
    """What the checker has against a file, in its own words; empty where it has nothing at any priority."""
    from compliance_checker.runner import CheckSuite, ComplianceChecker

    CheckSuite.load_all_available_checkers()
    report = io.StringIO()
    with redirect_stdout(report):
        passed, errors = ComplianceChecker.run_checker(
            str(path), ["cf:1.11", "acdd:1.3"], verbose=0, criteria="strict", output_format="text"
        )
    return "" if passed and not errors else report.getvalue()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("entry", PRODUCTS, ids=lambda entry: entry.name)
def test_every_products_export_passes_cf_and_acdd_without_error_warning_or_suggestion(
    published: Edition, tmp_path: Path, entry
) -> None:
    uri = published.store.address(f"{published.prefix}/{entry.name}.zarr")
    assert complaints(export.to_netcdf(uri, tmp_path / f"{entry.name}.nc")) == ""


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda file: file["to"].setncattr("standard_name", "sea_watr_temperature"), "sea_watr_temperature"),
        (lambda file: file["to"].setncattr("units", "kg"), "units"),
        (lambda file: file.delncattr("summary"), "summary"),
        (lambda file: file["depth"].setncattr("positive", "sideways"), "positive"),
    ],
    ids=["standard name", "units", "summary", "positive"],
)
def test_the_check_can_fail(published: Edition, tmp_path: Path, spoil, words: str) -> None:
    uri = published.store.address(f"{published.prefix}/ocean.zarr")
    path = export.to_netcdf(uri, tmp_path / "spoiled.nc")
    with netCDF4.Dataset(path, "a") as file:
        spoil(file)
    assert words in complaints(path)


def test_the_exports_zos_is_at_no_depth(published: Edition, tmp_path: Path) -> None:
    uri = published.store.address(f"{published.prefix}/kuroshio.zarr")
    with netCDF4.Dataset(export.to_netcdf(uri, tmp_path / "kuroshio.nc")) as file:
        assert "depth" in file["to"].coordinates.split()
        assert "depth" not in file["zos"].coordinates.split()
        assert file["to"].valid_max.dtype == file["to"].dtype
        assert not hasattr(file["latitude"], "_FillValue")


def test_the_checkers_pyproj_was_loaded_before_eccodes() -> None:
    """Else this process ends by a double free, as ``conftest`` says."""
    loaded = [name for name in sys.modules if name in ("pyproj", "eccodes")]
    assert loaded[:1] == ["pyproj"]
