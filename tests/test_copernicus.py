"""Copernicus Marine, from a portal of its own shape: in-situ temperature on our levels, daily means said to be such."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import InputRefused, InputUnavailable
from pipeline.grids import Grid
from pipeline.sources import Request
from pipeline.sources.copernicus import CopernicusSource
from pipeline.variables import DEPTHS_M, Kind, of_kind
from tests.archive_servers import copernicus as c
from tests.archive_servers.faults import ArchiveFault, Misbehaviour
from tests.archive_servers.folder_server import FolderServer
from tests.archive_servers.proxy import Proxy

DAY = datetime(2024, 3, 1, 12, tzinfo=UTC)
GRID = Grid(south=-78.0, west=0.0, latitude_step=2.0, longitude_step=2.5, rows=80, columns=144)


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FolderServer, Proxy, dict[str, str]]]:
    folder = tmp_path_factory.mktemp("copernicus")
    with FolderServer(folder) as server, Proxy(server.address) as proxy:
        yield server, proxy, c.write(folder, proxy.address, DAY)


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMS_LOGINS__COPERNICUS_USER", "somebody")
    monkeypatch.setenv("GOMS_LOGINS__COPERNICUS_PASSWORD", "a secret")


def asked(portal: tuple[FolderServer, Proxy, dict[str, str]], kind: Kind, tmp_path: Path, **changes: object) -> Request:
    names = tuple(entry.name for entry in of_kind(kind))
    request = Request(kind, DAY, names, DEPTHS_M, GRID, None, tmp_path, archives=portal[2], deadline_seconds=60.0)
    return request._replace(**changes)


def plane(field) -> np.ndarray:
    found = field.isel(time=0)
    return found.assign_coords(longitude=found["longitude"] % 360.0).sortby("longitude").values


def linear(levels: np.ndarray) -> np.ndarray:
    """The archive's levels brought to ours, the uppermost above it: (depth, latitude, longitude)."""
    rows = np.stack([np.interp(DEPTHS_M, c.DEPTHS_M, row) for row in np.eye(c.DEPTHS_M.size)], axis=1)
    used = np.where(np.isnan(levels), 0.0, levels)
    wet = np.tensordot(rows, np.isnan(levels), 1) == 0
    return np.where(wet, np.tensordot(rows, used, 1), np.nan)


def test_the_ocean_is_the_twin_s_in_situ_on_our_levels(portal, tmp_path: Path) -> None:
    """Held to the twin's own in-situ temperature between the same levels, to its packing (7e-4 degC) and a little:
    at 500 m potential and in-situ temperature differ by some 0.05 degC, so that no mixing up passes."""
    native = CopernicusSource().fetch(asked(portal, Kind.OCEAN, tmp_path))
    levels = c.truth(Kind.OCEAN, DAY, tuple(c.DEPTHS_M))
    for name, ours, tolerance in (("thetao", "to", 3e-3), ("so", "so", 1e-3), ("uo", "uo", 3e-4), ("vo", "vo", 3e-4)):
        found, expected = plane(native.dataset[name]), linear(levels[ours])
        wet = ~np.isnan(expected)
        assert not np.isnan(found[wet]).any()
        np.testing.assert_allclose(found[wet], expected[wet], atol=tolerance, err_msg=name)
    np.testing.assert_allclose(plane(native.dataset["zos"]), levels["zos"], atol=2e-4)
    assert "daily mean of 2024-03-01, not a snapshot" in native.note
    assert "TEOS-10" in native.note


def test_potential_temperature_becomes_in_situ_temperature() -> None:
    """TEOS-10's check: SA 35.7, CT from pt of t = 10 degC at 500 dbar must give 10 degC back."""
    import gsw
    import xarray as xr

    from pipeline.sources.vertical import in_situ

    latitude, longitude, depth = np.array([-20.0, 30.0]), np.array([150.0, 210.0]), np.array([0.0, 500.0])
    practical = np.full((2, 2, 2), 35.5)
    pressure = gsw.p_from_z(-depth[:, None, None], latitude[None, :, None])
    absolute = gsw.SA_from_SP(practical, pressure, longitude, latitude[:, None])
    potential = gsw.pt0_from_t(absolute, np.full((2, 2, 2), 10.0), pressure)
    assert 0.03 < 10.0 - potential[1].mean() < 0.1
    dims, coords = ("depth", "latitude", "longitude"), {"depth": depth, "latitude": latitude, "longitude": longitude}
    found = in_situ(xr.DataArray(potential, coords, dims), xr.DataArray(practical, coords, dims))
    np.testing.assert_allclose(found.values, 10.0, atol=1e-4)


def test_waves_are_the_instant_s_own(portal, tmp_path: Path) -> None:
    native = CopernicusSource().fetch(asked(portal, Kind.WAVES, tmp_path))
    expected = c.truth(Kind.WAVES, DAY)
    for name, ours in c.OURS.items():
        found = plane(native.dataset[name])
        assert np.array_equal(np.isnan(found), np.isnan(expected[ours]))
        np.testing.assert_allclose(found, expected[ours], atol=0.011)
    assert native.note == "instantaneous"


def test_plankton_is_of_the_surface_and_iron_in_ours(portal, tmp_path: Path) -> None:
    """The mixed layer is physics', on three times as many points: the ones that both have are taken."""
    names = ("chl", "no3", "fe", "diatoms", "mld")
    native = CopernicusSource().fetch(asked(portal, Kind.BIOGEOCHEMISTRY, tmp_path, variables=names))
    expected = c.truth(Kind.BIOGEOCHEMISTRY, DAY)
    assert set(native.dataset.data_vars) == {"chl", "no3", "fe", "mlotst"}
    assert native.dataset.sizes == {"time": 1, "latitude": 23, "longitude": 48}
    for ours in ("chl", "no3", "fe", "mld"):
        field = native.dataset[native.lexicon[ours].native]
        factor, offset = native.lexicon[ours].units[field.attrs["units"]]
        packed = c.SCALES[field.name][0] if field.name in c.SCALES else 0.0
        found = plane(field) * factor + offset
        np.testing.assert_allclose(found, expected[ours], rtol=1e-5, atol=0.51 * packed, err_msg=ours)


def test_a_day_that_is_not_there_is_not_taken_unless_an_age_allows(portal, tmp_path: Path) -> None:
    tomorrow = DAY + timedelta(days=1)
    with pytest.raises(InputUnavailable, match="no dataset that reaches it"):
        CopernicusSource().fetch(asked(portal, Kind.WAVES, tmp_path, when=tomorrow))
    native = CopernicusSource().fetch(asked(portal, Kind.WAVES, tmp_path, when=tomorrow, maximum_age_days=1.0))
    assert native.dataset["time"].values[0] == np.datetime64("2024-03-01T12", "ns")
    assert not CopernicusSource().look(asked(portal, Kind.WAVES, tmp_path, when=tomorrow)).ready
    assert CopernicusSource().look(asked(portal, Kind.WAVES, tmp_path)).ready


def test_what_lies_beyond_the_last_analysis_is_a_forecast(portal, tmp_path: Path) -> None:
    """The store's last stamp is ten days beyond it."""
    ahead = asked(portal, Kind.WAVES, tmp_path, when=DAY + timedelta(days=10))
    native, of_the_day = (CopernicusSource().fetch(each) for each in (ahead, asked(portal, Kind.WAVES, tmp_path)))
    assert (native.analysed, of_the_day.analysed) == (DAY, None)
    assert native.note == "instantaneous; forecast of 240 h from the archive's last analysis"
    assert "a forecast of 240 h" in CopernicusSource().look(ahead).words
    tomorrow = asked(portal, Kind.OCEAN, tmp_path, when=DAY + timedelta(days=10, hours=3))
    assert "a forecast of 240 h" in CopernicusSource().look(tomorrow).words, "of a daily mean the days count"


def test_a_step_of_which_no_chunk_is_there_is_not_land(portal, tmp_path: Path) -> None:
    """The first stamp of each store was announced and not landed: every chunk is absent, as land's are."""
    with pytest.raises(InputUnavailable, match="not there, where the sea is"):
        CopernicusSource().fetch(asked(portal, Kind.WAVES, tmp_path, when=DAY - timedelta(hours=3)))


def test_a_chunk_that_is_gone_is_not_land_and_one_that_is_land_is(portal, tmp_path: Path) -> None:
    """The Sahara's chunk was never stored; of the one around 150 E, 5 N the server has nothing any more."""
    (store,) = portal[0].folder.glob("data/*WAV/*/timeChunked.zarr")
    rows, columns = c.SMALL_CHUNK
    sahara, pacific = ((int((lat + 80.0) / 2.5 // rows), int((lon + 180.0) / 2.5 // columns))
                       for lat, lon in ((20.0, 10.0), (5.0, 150.0)))  # fmt: skip
    assert not (store / "VHM0" / f"1.{sahara[0]}.{sahara[1]}").exists()
    gone = store / "VHM0" / f"1.{pacific[0]}.{pacific[1]}"
    gone.rename(gone.with_suffix(".aside"))
    try:
        with pytest.raises(InputUnavailable, match=rf"chunk \({pacific[0]}, {pacific[1]}\) .* where the sea is"):
            CopernicusSource().fetch(asked(portal, Kind.WAVES, tmp_path, variables=("swh",)))
    finally:
        gone.with_suffix(".aside").rename(gone)
    native = CopernicusSource().fetch(asked(portal, Kind.WAVES, tmp_path, variables=("swh",)))
    assert np.isnan(native.dataset["VHM0"].sel(latitude=20.0, longitude=10.0).values).all()


def test_what_was_fetched_is_kept_and_read_level_by_level(portal, tmp_path: Path) -> None:
    """A second fetch moves no chunk of a field; none of its levels is opened before it is wanted."""
    wanted = asked(portal, Kind.OCEAN, tmp_path, variables=("uo", "zos"), depths_m=(0.0, 100.0))
    first = CopernicusSource().fetch(wanted)
    portal[1].forget()
    again = CopernicusSource().fetch(wanted)
    assert not [item.target for item in portal[1].asked if "/uo/" in item.target or "/zos/" in item.target]
    assert [record.sha256 for record in again.files] == [record.sha256 for record in first.files]
    assert again.dataset["uo"].chunks is not None
    assert again.dataset["uo"].chunks[1] == (1, 1)
    np.testing.assert_array_equal(again.dataset["zos"].values, first.dataset["zos"].values)


@pytest.mark.parametrize("fault", [ArchiveFault.STALL, ArchiveFault.DRIP])
def test_a_login_that_never_ends_is_given_up_at_the_deadline(fault: ArchiveFault, portal, tmp_path: Path) -> None:
    """Its answer of 1.2 kB would drip for seven seconds, and stall for ever: no single wait is longer than 0.1 s."""
    portal[1].misbehave(Misbehaviour(fault, matching="/token"))
    try:
        with pytest.raises(InputUnavailable, match=r"login.*no whole answer within 0\.[0-9]+ s"):
            CopernicusSource().fetch(asked(portal, Kind.WAVES, tmp_path, deadline_seconds=0.5))
    finally:
        portal[1].misbehave()


def test_without_an_account_nothing_is_asked(portal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOMS_LOGINS__COPERNICUS_PASSWORD")
    portal[1].forget()
    with pytest.raises(InputUnavailable, match="GOMS_LOGINS__COPERNICUS_USER"):
        CopernicusSource().fetch(asked(portal, Kind.WAVES, tmp_path))
    assert portal[1].asked == []


def test_a_catalogue_that_has_changed_is_refused(portal, tmp_path: Path) -> None:
    archives = {
        **portal[2],
        "copernicus": portal[2]["copernicus"].replace("/meta", "/stac/GLOBAL_ANALYSISFORECAST_WAV"),
    }
    with pytest.raises((InputRefused, InputUnavailable), match="catalogue"):
        CopernicusSource().fetch(asked(portal, Kind.WAVES, tmp_path, archives=archives))
