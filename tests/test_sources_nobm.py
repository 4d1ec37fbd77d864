"""NOBM's daily layout: its names, its fill value, its dates."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import netCDF4
import numpy as np
import pytest

from pipeline.errors import InputRefused, InputUnavailable
from pipeline.ingest import ingest
from pipeline.provenance import records
from pipeline.sources import SOURCES, Request
from pipeline.systems import TWIN, Ladder, rungs
from pipeline.variables import BIOGEOCHEMISTRY, Kind
from tests import native_files as native
from tests.archive_servers.faults import ANSWERED, ArchiveFault, Misbehaviour
from tests.archive_servers.opendap import Catalogue, dataset, serving
from tests.archive_servers.proxy import Proxy

SYSTEM = TWIN.model_copy(update={"ladders": (Ladder(kind=Kind.BIOGEOCHEMISTRY, rungs=rungs("nobm"), required=False),)})
NOON = native.START + timedelta(hours=12)


def read(folder: Path, days: int = 0):
    when = NOON + timedelta(days=days)
    (part,) = ingest(SYSTEM, Kind.BIOGEOCHEMISTRY, when, inputs=str(folder), scratch=folder)
    return part


@pytest.mark.parametrize("fill_attribute", [True, False])
@pytest.mark.parametrize(("name", "days_after"), [("a.nc", [0.0, 1.0]), ("day20230101.nc", None)])
def test_a_daily_mean_is_read_for_an_instant_of_its_day(
    tmp_path: Path, name: str, days_after: list[float] | None, fill_attribute: bool
) -> None:
    native.write_nobm(tmp_path / name, days_after=days_after, fill_attribute=fill_attribute)
    part = read(tmp_path)
    roll = np.argsort(native.NOBM_LONGITUDE % 360)
    for place, entry in enumerate(BIOGEOCHEMISTRY):
        expected = native.nobm_values(place)[:, roll].astype(np.float32)
        np.testing.assert_array_equal(part[entry.name].values, expected, err_msg=entry.name)
    assert records(part)[0].note == "daily mean of 2023-01-01"
    assert records(part)[0].age_hours == 0.0


def test_another_day_is_unavailable(tmp_path: Path) -> None:
    native.write_nobm(tmp_path / "a.nc")
    with pytest.raises(InputUnavailable, match="nothing nearer than 2023-01-01"):
        read(tmp_path, days=1)


def test_two_means_of_one_day_are_refused(tmp_path: Path) -> None:
    native.write_nobm(tmp_path / "a.nc", days_after=[0.0, 0.5])
    with pytest.raises(InputRefused, match="one step of 2023-01-01"):
        read(tmp_path)


def test_a_file_without_a_date_is_refused(tmp_path: Path) -> None:
    native.write_nobm(tmp_path / "a.nc", days_after=None)
    with pytest.raises(InputRefused, match="with a time coordinate"):
        read(tmp_path)


def test_a_file_without_units_is_refused_with_the_accepted_ones(tmp_path: Path) -> None:
    path = native.write_nobm(tmp_path / "a.nc")
    with netCDF4.Dataset(path, "r+") as file:
        del file["irn"].units
    with pytest.raises(InputRefused, match=r"'nmol/L', .*; found units ''"):
        read(tmp_path)


def test_other_archives_use_of_the_same_names_is_not_nobm(tmp_path: Path) -> None:
    with netCDF4.Dataset(tmp_path / "bathymetry.nc", "w") as file:
        for name, size in (("lat", 180), ("lon", 360)):
            file.createDimension(name, size)
            file.createVariable(name, "f8", (name,))[:] = np.arange(size) + 0.5 - 90 * (name == "lat")
        file.createVariable("h", "f4", ("lat", "lon"))[:] = 1.0
    with pytest.raises(InputUnavailable, match="none among 1 files"):
        read(tmp_path)


@pytest.fixture
def catalogue() -> Iterator[tuple[Catalogue, Proxy]]:
    """An OPeNDAP server without datasets, behind a proxy."""
    served = Catalogue()
    with serving(served) as address, Proxy(address) as proxy:
        yield served, proxy


def asked_by_dap(address: str, folder: Path, when: datetime = NOON, seconds: float = 20.0) -> Request:
    names = tuple(entry.name for entry in BIOGEOCHEMISTRY)
    return Request(Kind.BIOGEOCHEMISTRY, when, names, (), SYSTEM.grid, None, folder, archives={"nobm-dap": address},
                   deadline_seconds=seconds)  # fmt: skip


@pytest.mark.parametrize(("pattern", "days_after"), [
    ("NOBM/%Y/day%Y%m%d.nc", None), ("NOBM/%Y/day%Y%m%d.nc", [0.5]), ("NOBM/{name}/%Y", [0.0, 1.0, 2.0]),
])  # fmt: skip
def test_the_day_is_read_over_opendap(
    pattern: str, days_after: list[float] | None, catalogue: tuple[Catalogue, Proxy], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """One dataset a day with and without a time axis, and one a variable and a year; a token goes with each request."""
    monkeypatch.setenv("GOMS_LOGINS__EARTHDATA_TOKEN", "a-token")
    path = native.write_nobm(tmp_path / "day.nc", days_after=days_after)
    for name in native.NOBM_UNITS if "{name}" in pattern else ("",):
        fields = (name,) if name else tuple(native.NOBM_UNITS)
        catalogue[0].datasets[NOON.strftime(pattern).replace("{name}", name)] = dataset(path, "nobm", fields)
    asked = asked_by_dap(f"{catalogue[1].address}/{pattern}", tmp_path)
    assert SOURCES["nobm-dap"].look(asked).ready
    found = SOURCES["nobm-dap"].fetch(asked)
    for place, name in enumerate(native.NOBM_UNITS):
        np.testing.assert_array_equal(found.dataset[name].values[0], native.nobm_values(place).astype(np.float32))
        assert found.dataset[name].attrs["units"] == native.NOBM_UNITS[name]
    assert found.note == "daily mean of 2023-01-01"
    assert len(found.files) == 8
    later = asked._replace(when=NOON + timedelta(days=3))
    assert not SOURCES["nobm-dap"].look(later).ready
    with pytest.raises(InputUnavailable, match=r"none of .* of that day|not there, or moved"):
        SOURCES["nobm-dap"].fetch(later)


def test_without_an_address_it_says_where_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(InputUnavailable, match="no public one is certain; in GOMS_ARCHIVES"):
        SOURCES["nobm-dap"].fetch(asked_by_dap("", tmp_path)._replace(archives={}))


@pytest.mark.parametrize("fault", [fault for fault in ANSWERED if fault is not ArchiveFault.REDIRECTED])
def test_no_fault_of_the_server_is_a_field(
    fault: ArchiveFault, catalogue: tuple[Catalogue, Proxy], tmp_path: Path
) -> None:
    """A server that misbehaves for ever on every value: unavailable within the deadline, or refused; never a field."""
    path = native.write_nobm(tmp_path / "day.nc", days_after=[0.5])
    catalogue[0].datasets["nobm"] = dataset(path, "nobm", tuple(native.NOBM_UNITS))
    catalogue[1].misbehave(Misbehaviour(fault, matching=r"\.dods\?.*%5B"))
    asked = asked_by_dap(f"{catalogue[1].address}/nobm", tmp_path, seconds=1.2)
    with pytest.raises((InputUnavailable, InputRefused)):
        SOURCES["nobm-dap"].fetch(asked)
