"""Files are found where the operator says, known by their digest, and refused where they are cut short."""

from __future__ import annotations

import functools
import hashlib
import os
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import netCDF4
import numpy as np
import pytest

from pipeline.errors import InputRefused, InputUnavailable, UsageError
from pipeline.sources import classic, netcdf
from pipeline.store import Store
from tests import native_files as native

CLASSIC_FORMS = ("NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA")


@pytest.mark.parametrize("form", CLASSIC_FORMS)
def test_a_classic_file_needs_exactly_the_bytes_it_has(tmp_path: Path, form: str) -> None:
    path = native.write_hycom(tmp_path / "a.nc", form=form)
    # The last variable written is surf_el: 47 x 25 int16 values are 2350 bytes, padded to 2352 by the library.
    assert path.stat().st_size - classic.needed_bytes(path) in (0, 2)


@pytest.mark.parametrize("form", CLASSIC_FORMS)
@pytest.mark.parametrize("records", [1, 3])
@pytest.mark.parametrize("fields", [1, 2])
def test_a_classic_file_with_records_needs_exactly_the_bytes_it_has(
    tmp_path: Path, form: str, records: int, fields: int
) -> None:
    """A record of one int16 variable of three values is 6 bytes unpadded; of two, 2 x 8 padded."""
    path = tmp_path / "a.nc"
    with netCDF4.Dataset(path, "w", format=form) as file:
        file.title = "odd"
        file.createDimension("time", None)
        file.createDimension("x", 3)
        for place in range(fields):
            variable = file.createVariable(f"v{place}", "i2", ("time", "x"))
            variable[:] = np.full((records, 3), place)
    assert path.stat().st_size - classic.needed_bytes(path) in (0, 2)


@pytest.mark.parametrize("form", [*CLASSIC_FORMS, "NETCDF4"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, form: str, share: float) -> None:
    whole = native.write_hycom(tmp_path / "whole.nc", form=form).read_bytes()
    cut = tmp_path / "cut.nc"
    cut.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputRefused, match=r"a whole netCDF file; found \d+ bytes"):
        netcdf.open_file(cut, "cut.nc")


def test_an_error_page_under_a_files_name_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "a.nc"
    page.write_text("<html>500 Internal Server Error</html>")
    with pytest.raises(InputRefused, match="something else under this name"):
        netcdf.open_file(page, "a.nc")


def test_packing_attributes_are_the_decimals_they_stand_for(tmp_path: Path) -> None:
    """30.5 degC is the integer 10500: 10500 * 0.001 + 20; a float32 0.001 taken literally gives 30.5000005."""
    path = native.write_hycom(tmp_path / "a.nc")
    with netCDF4.Dataset(path, "r+") as file:
        file["water_temp"].set_auto_maskandscale(False)
        file["water_temp"][0, 0, -1, -1] = 10500
    dataset = netcdf.open_file(path, "a.nc")
    assert float(dataset["water_temp"][0, 0, -1, -1]) == 10500 * 0.001 + 20.0


def test_no_place_no_folder_and_no_file_are_unavailable(tmp_path: Path) -> None:
    for inputs in (None, str(tmp_path / "absent"), str(tmp_path)):
        with pytest.raises(InputUnavailable, match="HYCOM files"):
            netcdf.scan(inputs, tmp_path, "HYCOM")


def test_files_are_scanned_in_order_of_name_and_broken_ones_told(tmp_path: Path) -> None:
    native.write_hycom(tmp_path / "b.nc", fields=["surf_el"])
    native.write_hycom(tmp_path / "a.nc", fields=["surf_el"])
    (tmp_path / "c.nc").write_bytes(b"CDF")
    (tmp_path / "notes.txt").write_text("not data")
    found = netcdf.scan(str(tmp_path), tmp_path, "HYCOM")
    assert [file.path.name for file in found.files] == ["a.nc", "b.nc"]
    assert [refusal.where for refusal in found.unreadable] == [str(tmp_path / "c.nc")]


def test_a_record_is_the_size_and_digest_of_the_bytes(tmp_path: Path) -> None:
    path = native.write_hycom(tmp_path / "a.nc", fields=["surf_el"])
    (file,) = netcdf.scan(str(path), tmp_path, "HYCOM").files
    assert file.record().sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert file.record().size_bytes == path.stat().st_size


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address a web server gives it."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


@pytest.mark.server
def test_a_folder_on_a_web_server_is_read_like_a_folder(served: tuple[Path, str], tmp_path: Path) -> None:
    folder, url = served
    path = native.write_hycom(folder / "a.nc", fields=["surf_el"])
    native.write_hycom(folder / "unwanted.nc", fields=["surf_el"])
    scratch = tmp_path / "scratch"
    (file,) = netcdf.scan(url, scratch, "HYCOM", lambda name: name == "a.nc").files
    assert file.uri == f"{url}a.nc"
    assert file.record().sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [item.name for item in scratch.rglob("*.nc*")] == ["a.nc"]


@pytest.mark.server
def test_a_bucket_is_read_like_a_folder_with_the_usual_keys(s3_store: Store, tmp_path: Path) -> None:
    path = native.write_hycom(tmp_path / "a.nc", fields=["surf_el"])
    s3_store.write_bytes("archive/a.nc", path.read_bytes())
    s3_store.write_bytes("archive/readme.txt", b"not data")
    for inputs in (f"{s3_store.uri}/archive", f"{s3_store.uri}/archive/", f"{s3_store.uri}/archive/a.nc"):
        (file,) = netcdf.scan(inputs, tmp_path / "scratch", "HYCOM").files
        assert file.uri == f"{s3_store.uri}/archive/a.nc"
        assert file.record().sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(InputUnavailable, match="HYCOM files"):
        netcdf.scan(f"{s3_store.uri}/nowhere", tmp_path / "scratch", "HYCOM")


@pytest.mark.server
def test_what_a_web_server_does_not_have_is_unavailable(served: tuple[Path, str], tmp_path: Path) -> None:
    _, url = served
    for address in (url, f"{url}absent.nc", f"{url}absent/", "http://127.0.0.1:9/"):
        with pytest.raises(InputUnavailable, match="HYCOM files"):
            netcdf.scan(address, tmp_path, "HYCOM")


@pytest.mark.parametrize("address", ["foo://a/b", "gs://b/a.nc", "http://host:port/", "http://host:port/a.nc"])
def test_an_address_that_nothing_reads_is_a_sentence_about_the_command(address: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a folder or at s3://bucket/prefix or http\(s\)://host/path; found \w+://"):
        netcdf.scan(address, tmp_path, "HYCOM")


def test_files_opened_for_a_stage_are_closed_at_its_end(tmp_path: Path) -> None:
    """As the system sees it: no descriptor of this process is of the file any more, though the dataset is held."""
    path = native.write_hycom(tmp_path / "a.nc")

    def open_here() -> list[str]:
        links = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
        return [str(link) for link in links if link.exists() and link.resolve() == path.resolve()]

    with netcdf.closed_after():
        held = netcdf.open_file(path, "a.nc")
        assert open_here() != []
    assert open_here() == []
    assert float(held["water_temp"].max()) > 0  # read again, it is opened again
    held.close()
