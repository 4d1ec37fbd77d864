"""ERA5's cloud store: over HTTP and from the real S3 server, an hour of it and no more, never a fill value."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import numpy as np
import pytest
import zarr
from s3_server import BUCKET, S3Server

from pipeline.errors import InputRefused, InputUnavailable
from pipeline.sources import Request
from pipeline.sources.era5_arco import LONG_NAMES, Era5ArcoSource
from pipeline.variables import Kind
from tests.archive_servers import arco
from tests.archive_servers import weather as w
from tests.archive_servers.folder_server import FolderServer
from tests.archive_servers.proxy import Proxy
from tests.test_weather_forecasts import GRID, request

DAY = datetime(2024, 3, 1, 12, tzinfo=UTC)
NAMES = ("u10", "v10", "t2m", "msl", "sp")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Filled to 1 March, final to 20 February; the noon of 29 February holds nothing, that of 28 February is there."""
    folder = tmp_path_factory.mktemp("arco")
    hours = [DAY, DAY - timedelta(days=2), DAY - timedelta(days=10)]
    return arco.write(folder / "era5-arco", hours, stop="2024-02-20", stop_era5t="2024-03-01",
                      kinds=(Kind.SURFACE, Kind.WAVES), nulls=(DAY - timedelta(days=1),))  # fmt: skip


@pytest.fixture(scope="module")
def server(store: Path) -> Iterator[FolderServer]:
    with FolderServer(store.parent) as found:
        yield found


def asked(server: FolderServer, tmp_path: Path, **changes: object) -> Request:
    return request(server, tmp_path, "era5-arco", **changes)


def held_to_truth(dataset, kind: Kind, moment: datetime) -> None:
    expected = w.truth(kind, moment)
    for name, values in expected.items():
        plane = dataset[LONG_NAMES[name]].isel(time=0).sortby("latitude").values
        np.testing.assert_array_equal(plane, values.astype("f4"), err_msg=name)


def test_an_hour_is_the_weather_of_its_instant(server: FolderServer, tmp_path: Path) -> None:
    native = Era5ArcoSource().fetch(asked(server, tmp_path))
    held_to_truth(native.dataset, Kind.SURFACE, DAY)
    assert "preliminary (ERA5T)" in native.note
    older = Era5ArcoSource().fetch(asked(server, tmp_path, when=DAY - timedelta(days=10)))
    assert "final" in older.note


def test_the_waves_are_read_where_the_store_has_them(server: FolderServer, tmp_path: Path) -> None:
    native = Era5ArcoSource().fetch(asked(server, tmp_path, kind=Kind.WAVES, variables=("swh", "mwp", "mwd")))
    held_to_truth(native.dataset, Kind.WAVES, DAY)


def test_only_the_hour_is_moved(server: FolderServer, tmp_path: Path) -> None:
    with Proxy(server.address) as proxy:
        Era5ArcoSource().fetch(asked(proxy, tmp_path))
        chunks = [item.target for item in proxy.asked if item.target.endswith(".0.0")]
        step = (DAY - arco.BEGIN) // timedelta(hours=1)
        assert sorted(chunks) == sorted(f"/era5-arco/{LONG_NAMES[name]}/{step}.0.0" for name in NAMES)


def test_an_age_takes_the_newest_hour_that_is_filled_and_there(server: FolderServer, tmp_path: Path) -> None:
    """Of 2 March nothing is filled; at an age of a day there is 1 March. Of 29 February the chunks hold no value."""
    tomorrow = DAY + timedelta(days=1)
    with pytest.raises(InputUnavailable, match="filled to 2024-03-01T23Z"):
        Era5ArcoSource().fetch(asked(server, tmp_path, when=tomorrow))
    native = Era5ArcoSource().fetch(asked(server, tmp_path, when=tomorrow, maximum_age_days=7.0))
    held_to_truth(native.dataset, Kind.SURFACE, DAY)
    empty = DAY - timedelta(days=1)
    with pytest.raises(InputUnavailable, match="not there or without any value"):
        Era5ArcoSource().fetch(asked(server, tmp_path, when=empty))
    native = Era5ArcoSource().fetch(asked(server, tmp_path, when=empty, maximum_age_days=7.0))
    held_to_truth(native.dataset, Kind.SURFACE, DAY - timedelta(days=2))


def test_a_chunk_that_is_not_there_is_not_a_fill_value(server: FolderServer, store: Path, tmp_path: Path) -> None:
    """The library alone would read 21 February, of which nothing was written, as missing values without a word."""
    when = DAY - timedelta(days=9)
    array = zarr.open_group(store, mode="r")[LONG_NAMES["u10"]]
    assert np.isnan(array[(when - arco.BEGIN) // timedelta(hours=1)]).all()
    with pytest.raises(InputUnavailable, match="not there"):
        Era5ArcoSource().fetch(asked(server, tmp_path, when=when))


def test_a_look_moves_no_field(server: FolderServer, tmp_path: Path) -> None:
    with Proxy(server.address) as proxy:
        sighting = Era5ArcoSource().look(asked(proxy, tmp_path))
        assert (sighting.ready, sighting.newest) == (True, DAY)
        late = Era5ArcoSource().look(asked(proxy, tmp_path, when=DAY + timedelta(days=3)))
        assert (late.ready, late.newest) == (False, datetime(2024, 3, 1, 23, tzinfo=UTC))
        assert {item.target.rsplit("/", 1)[-1] for item in proxy.asked} <= {".zmetadata", "zarr.json"}


def test_a_store_without_the_waves_says_so(server: FolderServer, tmp_path: Path) -> None:
    folder = tmp_path / "dry" / "era5-arco"
    arco.write(folder, [DAY], stop="2024-02-20", stop_era5t="2024-03-01")
    asking = asked(server, tmp_path, kind=Kind.WAVES, variables=("swh",), archives={"era5-arco": str(folder)})
    with pytest.raises(InputUnavailable, match="without these variables"):
        Era5ArcoSource().fetch(asking)


def test_a_store_that_does_not_say_how_far_it_is_filled_is_refused(tmp_path: Path, server: FolderServer) -> None:
    folder = tmp_path / "mute" / "era5-arco"
    arco.write(folder, [DAY], stop="", stop_era5t="soon")
    with pytest.raises(InputRefused, match="valid_time_stop_era5t"):
        Era5ArcoSource().fetch(asked(server, tmp_path, archives={"era5-arco": str(folder)}))


@pytest.mark.server
def test_the_store_is_read_from_s3(store: Path, server: FolderServer, s3_keys: S3Server, tmp_path: Path) -> None:
    client = boto3.client("s3")
    for path in sorted(store.rglob("*")):
        if path.is_file():
            client.put_object(Bucket=BUCKET, Key=f"mirror/{path.relative_to(store)}", Body=path.read_bytes())
    asking = asked(server, tmp_path, archives={"era5-arco": f"s3://{BUCKET}/mirror"})
    native = Era5ArcoSource().fetch(asking)
    held_to_truth(native.dataset, Kind.SURFACE, DAY)
    assert not any("Signature" in record.uri or "?" in record.uri for record in native.files)
    assert asking.grid == GRID
