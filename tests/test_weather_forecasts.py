"""Weather forecasts of ECMWF and NOAA, from servers in their layouts: the twin's weather, or the right refusal."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import numpy as np
import pytest

from pipeline.errors import InputRefused, InputUnavailable
from pipeline.grids import Grid
from pipeline.sources import SOURCES, Request, transfer
from pipeline.variables import Kind, of_kind
from tests.archive_servers import weather as w
from tests.archive_servers.folder_server import FolderServer
from tests.archive_servers.proxy import Proxy

RUN = datetime(2024, 3, 1, 12, tzinfo=UTC)
GRID = Grid(south=-88.0, west=0.0, latitude_step=2.0, longitude_step=2.5, rows=89, columns=144)
TOLERANCE = {"u10": 1e-4, "v10": 1e-4, "t2m": 1e-3, "msl": 0.5, "sp": 0.5, "swh": 1e-4, "mwp": 1e-4, "mwd": 1e-2}
"""Of GRIB's packing in 24 bits of the field's range (of CCSDS's, in 16)."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both archives' folders, one beside the other: a run of noon and one of midnight before it."""
    folder = tmp_path_factory.mktemp("weather")
    w.write_ifs(folder / "ifs", RUN, [0, 24, 48, 72])
    w.write_ifs(folder / "ifs", RUN, [0], Kind.WAVES, packing="grid_ccsds")
    w.write_ifs(folder / "ifs", RUN - timedelta(hours=6), [30])
    w.write_gfs(folder / "gfs", RUN, [0, 24, 48])
    return folder


@pytest.fixture(scope="module")
def server(archive: Path) -> Iterator[FolderServer]:
    with FolderServer(archive) as found:
        yield found


def request(server: FolderServer, tmp_path: Path, name: str, kind: Kind = Kind.SURFACE, **changes: object) -> Request:
    """A request of the run's own instant, at the server."""
    names = tuple(entry.name for entry in of_kind(Kind.SURFACE if kind is Kind.FORCING else kind))
    asked = Request(kind, RUN, names, (), GRID, None, tmp_path, archives={name: f"{server.address}/{name}"},
                    deadline_seconds=20.0)  # fmt: skip
    return asked._replace(**changes)


def held_to_truth(dataset, kind: Kind, moment: datetime) -> None:
    """Every field is the twin's at the moment, whatever the order of its axes."""
    expected = w.truth(kind, moment)
    assert set(dataset.data_vars) == set(expected)
    for name, field in dataset.data_vars.items():
        plane = field.isel(time=0).sortby("latitude").sortby("longitude")
        np.testing.assert_allclose(plane["longitude"], w.EASTWARD)
        np.testing.assert_allclose(plane.values, expected[name], atol=TOLERANCE[name] * 10, rtol=0, err_msg=name)
        assert np.array_equal(np.isnan(plane.values), np.isnan(expected[name]))


@pytest.mark.parametrize("name", ["ifs", "gfs"])
def test_a_run_s_analysis_is_the_weather_of_its_instant(name: str, server: FolderServer, tmp_path: Path) -> None:
    native = SOURCES[name].fetch(request(server, tmp_path, name))
    held_to_truth(native.dataset, Kind.SURFACE, RUN)
    assert native.analysed is None
    assert all(record.size_bytes > 0 and len(record.sha256) == 64 for record in native.files)
    assert len(native.files) == 5


def test_waves_are_missing_over_land_and_directions_are_from(server: FolderServer, tmp_path: Path) -> None:
    native = SOURCES["ifs"].fetch(request(server, tmp_path, "ifs", Kind.WAVES))
    expected = w.truth(Kind.WAVES, RUN)
    assert np.isnan(expected["swh"]).any()
    for name, field in native.dataset.data_vars.items():
        plane = field.isel(time=0).sortby("latitude").sortby("longitude").values
        assert np.array_equal(np.isnan(plane), np.isnan(expected[name]))
        np.testing.assert_allclose(plane, expected[name], atol=0.02)
    assert native.lexicon["mwd"].units["Degree true"] == (1.0, 0.0)


@pytest.mark.parametrize("name", ["ifs", "gfs"])
def test_the_days_to_come_come_from_one_run(name: str, server: FolderServer, tmp_path: Path) -> None:
    moments = [RUN + timedelta(days=day) for day in (1, 2, 3)]
    series = SOURCES[name].series(request(server, tmp_path, name, Kind.FORCING, issued_by=RUN), moments)
    assert series.issued == RUN
    held = moments if name == "ifs" else moments[:2]
    assert list(series.fields) == held
    for moment in held:
        held_to_truth(series.fields[moment], Kind.SURFACE, moment)


def test_a_run_after_the_start_is_never_used(server: FolderServer, tmp_path: Path) -> None:
    """At 06 UTC nobody had the run of noon; the run of 06 has one step, 30 h ahead."""
    early = RUN - timedelta(hours=6)
    asked = request(server, tmp_path, "ifs", Kind.FORCING, issued_by=early)
    series = SOURCES["ifs"].series(asked, [RUN + timedelta(days=1)])
    assert series.issued == early
    held_to_truth(series.fields[RUN + timedelta(days=1)], Kind.SURFACE, RUN + timedelta(days=1))


def test_a_step_of_an_older_run_is_a_forecast_and_says_how_old(server: FolderServer, tmp_path: Path) -> None:
    moment = RUN + timedelta(days=1)
    asked = request(server, tmp_path, "ifs", when=moment)
    with pytest.raises(InputUnavailable, match="no run with it"):
        SOURCES["ifs"].fetch(asked)
    native = SOURCES["ifs"].fetch(asked._replace(maximum_age_days=1.0))
    assert native.analysed == RUN
    assert "24 h ahead" in native.note


def test_only_the_wanted_fields_are_moved(archive: Path, server: FolderServer, tmp_path: Path) -> None:
    with Proxy(server.address) as proxy:
        asked = request(server, tmp_path, "ifs", archives={"ifs": f"{proxy.address}/ifs"})
        native = SOURCES["ifs"].fetch(asked)
        wanted = sum(record.size_bytes for record in native.files)
        index = sum(item.sent_bytes for item in proxy.asked if item.target.endswith(".index"))
        assert proxy.sent_bytes == wanted + index
        assert proxy.most_at_once <= 10


def test_a_look_asks_for_the_index_of_the_last_day_alone(server: FolderServer, tmp_path: Path) -> None:
    with Proxy(server.address) as proxy:
        asked = request(server, tmp_path, "gfs", archives={"gfs": f"{proxy.address}/gfs"})
        assert SOURCES["gfs"].look(asked).ready
        assert [item.target.rsplit(".", 1)[-1] for item in proxy.asked] == ["idx"]
        coming = SOURCES["gfs"].look(asked._replace(kind=Kind.FORCING))
        assert not coming.ready


class _Circle(BaseHTTPRequestHandler):
    asked = 0

    def do_GET(self) -> None:
        _Circle.asked += 1
        self.send_response_only(302)
        self.send_header("Location", self.path)
        self.end_headers()


def test_an_address_that_leads_nowhere_is_not_available_and_not_tried_again() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Circle) as server:
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            with pytest.raises(InputUnavailable, match=r"an answer of the archive; found .*redirects"):
                transfer.fetch_one(f"http://127.0.0.1:{server.server_address[1]}/a", archive="the archive",
                                   deadline_seconds=60.0)  # fmt: skip
        finally:
            server.shutdown()
            thread.join()
    assert _Circle.asked == httpx.AsyncClient().max_redirects + 1
    for address in ("http://host:port/a", "foo://host/a"):
        with pytest.raises(InputUnavailable, match=r"found (Invalid port|Request URL has an unsupported protocol)"):
            transfer.fetch_one(address, archive="the archive", deadline_seconds=60.0)
        with pytest.raises(InputUnavailable, match=r"found (Invalid port|Request URL has an unsupported protocol)"):
            transfer.post(address, {}, archive="the archive", deadline_seconds=60.0)


def test_an_index_that_points_elsewhere_is_found_out(archive: Path, server: FolderServer, tmp_path: Path) -> None:
    (index,) = (archive / "ifs").rglob("*12*0000-24h-oper-fc.index")
    kept = index.read_text()
    try:
        index.write_text(kept.replace('"param": "10u"', '"param": "swap"').replace('"param": "10v"', '"param": "10u"'))
        asked = request(server, tmp_path, "ifs", Kind.FORCING, issued_by=RUN)
        with pytest.raises(InputRefused, match=r"needed u10 of run .* found v10"):
            SOURCES["ifs"].series(asked, [RUN + timedelta(days=1)])
    finally:
        index.write_text(kept)


def test_a_sum_over_a_step_is_not_taken_for_an_instant() -> None:
    from pipeline.sources.grib import decoded

    field = np.zeros((w.LATITUDE.size, w.LONGITUDE.size))
    with pytest.raises(InputRefused, match=r"at an instant.*accum"):
        decoded(w.message("tp", field, RUN, 6, accumulated=True), "a test")


def test_a_message_cut_short_is_no_message() -> None:
    from pipeline.sources.grib import decoded

    field = np.arange(float(w.LATITUDE.size * w.LONGITUDE.size)).reshape(w.LATITUDE.size, w.LONGITUDE.size)
    whole = w.message("10u", field, RUN, 6)
    for damaged in (whole[:-1], whole[: len(whole) // 2], whole[:-4] + b"0000", b"<html>", b""):
        with pytest.raises(InputRefused, match="GRIB message"):
            decoded(damaged, "a test")
