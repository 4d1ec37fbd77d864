"""``pipeline.open_forecast``: in one line, without keys, lazily, and never less than what was published."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dask.array
import numpy as np
import pytest
import xarray as xr
from s3_server import S3Server

import pipeline
from pipeline import edition, publish
from pipeline.edition import Edition
from pipeline.errors import StoreError, UsageError
from pipeline.readers import public
from pipeline.store import Store
from tests import published
from tests import small_ocean as small
from tests.published import MASKS, PREFIX


@pytest.fixture(params=["folder", "web", pytest.param("bucket", marks=pytest.mark.server),
                        pytest.param("bucket by https", marks=pytest.mark.server)])  # fmt: skip
def address(request: pytest.FixtureRequest, small_cycle: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The store of the small cycle as somebody without keys reaches it: ``by https`` stands for any web address."""
    if request.param == "folder":
        yield str(small_cycle)
    elif request.param == "web":
        with published.web_server(small_cycle) as web:
            yield web
    else:
        store: Store = request.getfixturevalue("s3_cycle")
        server: S3Server = request.getfixturevalue("s3_keys")
        published.open_to_everybody(store, server)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        https = f"{server.endpoint}/{store.uri.removeprefix('s3://')}"
        yield store.uri if request.param == "bucket" else https


def test_the_latest_is_opened_in_one_line_lazily_and_is_what_was_published(small_cycle: Path, address: str) -> None:
    ocean = pipeline.open_forecast(address, product="ocean", system="small")
    assert isinstance(ocean["to"].data, dask.array.Array)
    assert ocean["to"].data.chunksize == (1, 1, 14, 11), "one map at a time"
    assert ocean.attrs["date_created"] == "2024-02-28T01:02:03Z"
    assert ocean.attrs["edition"].endswith(PREFIX)
    with xr.open_zarr(small_cycle / PREFIX / "ocean.zarr") as wanted:
        xr.testing.assert_equal(ocean.load(), wanted.load())


def test_a_map_is_two_requests(small_cycle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ocean, asked, find_part = pipeline.open_forecast(small_cycle), [], Store.find_part

    def counted(store: Store, path: str, first: int, end: int | None) -> bytes | None:
        asked.append(path)
        return find_part(store, path, first, end)

    monkeypatch.setattr(Store, "find_part", counted)
    assert np.isfinite(ocean["to"].sel(depth=100).isel(time=2).values).any()
    assert asked == [f"{PREFIX}/ocean.zarr/to/c/2/0/0/0"] * 2, "the shard's index, and the map"


def test_a_cycle_and_an_edition_are_opened_by_name(small_cycle: Path, address: str) -> None:
    wanted = pipeline.open_forecast(small_cycle, "waves").attrs["id"]
    for where, cycle in ((address, "20240227T12"), (f"{address}/small", "20240227T12"), (f"{address}/{PREFIX}", None)):
        assert pipeline.open_forecast(where, "waves", system=None if cycle is None else "small", cycle=cycle).attrs[
            "id"
        ] == wanted  # fmt: skip


def test_what_is_not_there_is_told_in_a_sentence(address: str) -> None:
    with pytest.raises(StoreError, match=r"cycles/20240301T12/manifest\.json; found nothing there"):
        pipeline.open_forecast(address, system="small", cycle="20240301T12")
    with pytest.raises(StoreError, match="needed a published forecast of atlantis"):
        pipeline.open_forecast(address, system="atlantis")
    with pytest.raises(UsageError, match="choose one of biogeochemistry, kuroshio, ocean, waves"):
        pipeline.open_forecast(address, "ice", system="small")


def test_the_only_system_of_a_store_need_not_be_named_and_of_several_one_must(own_cycle: Store) -> None:
    assert pipeline.open_forecast(own_cycle.uri).attrs["forecast_system"] == "small"
    assert pipeline.open_forecast(own_cycle.uri, cycle="2024-02-27").attrs["forecast_system"] == "small"
    own_cycle.write_bytes("other/latest.json", own_cycle.read_bytes("small/latest.json"))
    with pytest.raises(UsageError, match=r"found those of other, small; .* name the system"):
        pipeline.open_forecast(own_cycle.uri)


def test_it_follows_the_latest(own_cycle: Store) -> None:
    published.publish_small(own_cycle, revision=2)
    assert pipeline.open_forecast(own_cycle.uri).attrs["product_version"] == "r2"
    assert public.find(own_cycle.address(small.CYCLE.published_prefix)).prefix == "r2"


def test_an_edition_that_is_not_published_or_withdrawn_is_refused(own_cycle: Store) -> None:
    own_cycle.delete(f"{PREFIX}/manifest.json")
    for where in (own_cycle.uri, own_cycle.address(PREFIX), own_cycle.address(f"{PREFIX}/ocean.zarr")):
        with pytest.raises(StoreError, match="it is unfinished or was withdrawn"):
            pipeline.open_forecast(where)


def test_a_product_that_was_left_out_is_told_with_its_reason(tmp_path: Path) -> None:
    store = Store(tmp_path)
    making = Edition(store, small.SYSTEM, small.CYCLE, small.facts(left_out={"waves": "era5 has no waves"}))
    written = edition.write(making, small.initial(), small.persistence(), inputs_digest="x", masks=MASKS)
    publish.publish(making, written, created=small.CREATED, masks=MASKS)
    with pytest.raises(StoreError, match="found it was left out: era5 has no waves"):
        pipeline.open_forecast(store.uri, "waves")


def test_a_lost_shard_is_an_error_and_never_missing_values(own_cycle: Store) -> None:
    ocean = pipeline.open_forecast(own_cycle.uri)
    own_cycle.delete(f"{PREFIX}/ocean.zarr/to/c/3/0/0/0")
    assert np.isfinite(ocean["to"].isel(time=2, depth=0).values).any()
    with pytest.raises(StoreError, match=r"ocean\.zarr/to/c/3/0/0/0; found nothing there"):
        ocean["to"].isel(time=3, depth=0).values  # noqa: B018


def test_a_dataset_goes_to_other_processes(address: str) -> None:
    ocean = pipeline.open_forecast(address, system="small")
    sent = pickle.loads(pickle.dumps(ocean["zos"].isel(time=1)))
    np.testing.assert_array_equal(sent.values, ocean["zos"].isel(time=1).values)


def test_a_web_server_that_is_away_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public, "PATIENCE_SECONDS", 0.2)
    with pytest.raises(StoreError, match=r"needed a web server to read .*check the address and the network"):
        pipeline.open_forecast("http://127.0.0.1:9/store", system="small")


def test_what_is_read_from_a_web_server_is_not_written(small_cycle: Path) -> None:
    with published.web_server(small_cycle) as web:
        store = public.Public(web)
        for change in (lambda: store.write_bytes("a", b""), lambda: store.put_if_absent("a", b""),
                       lambda: store.put_if_version("a", b"", "v"), lambda: store.delete("a")):  # fmt: skip
            with pytest.raises(UsageError, match="needed a store that can be changed"):
                change()
        with pytest.raises(StoreError, match="needed a store that lists"):
            store.objects("small")


def test_importing_the_package_costs_nothing() -> None:
    code = "import sys, pipeline; sys.exit(sorted({'xarray', 'zarr', 'numpy', 'dask'} & set(sys.modules)) or 0)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert "open_forecast" in dir(pipeline)
    with pytest.raises(AttributeError, match="no attribute 'open_yesterday'"):
        pipeline.open_yesterday  # noqa: B018
