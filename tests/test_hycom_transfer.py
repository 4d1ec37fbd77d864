"""What a fetch costs the archive: no byte more than wanted, none twice when killed, and patience when asked for."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from pipeline.errors import InputUnavailable
from pipeline.grids import Grid
from pipeline.sources import SOURCES, asking
from pipeline.sources.espc import DATASETS
from pipeline.store import Store
from pipeline.twin import native
from pipeline.variables import DEPTHS_M
from tests.archive_servers import hycom_world as w
from tests.archive_servers import opendap
from tests.archive_servers.faults import ArchiveFault, Misbehaviour
from tests.archive_servers.proxy import Proxy
from tests.archive_servers.reanalysis_bucket import Bucket
from tests.s3_server import S3Server

ROOT = Path(__file__).parents[1]
LATITUDE, LONGITUDE = -79.75 + 0.5 * np.arange(339.0), 0.25 + 0.5 * np.arange(720.0)
GLOBE = Grid(south=-89.5, west=0.5, latitude_step=1.0, longitude_step=1.0, rows=180, columns=360)
SLABS, SLAB = 61, r"\.dods\?\w+\.\w+"
"""How many there are, and by what a request for one is known."""
MOST_MOVED = 1.02
"""Bytes moved over those of the wanted slabs: what the archive is promised."""


class Whole(NamedTuple):
    """A global ocean file with all forty depths, and the OPeNDAP datasets of it."""

    path: Path
    catalogue: opendap.Catalogue


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """Half a degree; between the wanted depths lie others, as in HYCOM."""
    depths = tuple(depth for depth in native.HYCOM_DEPTHS_M if depth in DEPTHS_M or depth in (2.0, 15.0, 600.0))
    path = tmp_path_factory.mktemp("globe") / "whole.nc"
    native.write_hycom(path, [w.ESPC_DAY], w.TWIN, LATITUDE, LONGITUDE, depths)
    catalogue = opendap.Catalogue()
    for name, short in DATASETS.items():
        place = f"ESPC-D-V02/{short}/{w.ESPC_DAY.year}"
        catalogue.datasets[place] = opendap.dataset(path, place, (name,))
    return Whole(path, catalogue)


def test_over_opendap_no_more_than_the_wanted_slabs_is_moved(
    whole: Whole, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the protocol carries them: it gives an int16 four bytes."""
    with opendap.serving(whole.catalogue) as address, Proxy(address) as proxy:
        wanted = w.request(w.ESPC_DAY, tmp_path, {"hycom-espc": proxy.address})._replace(grid=GLOBE)
        answer = SOURCES["hycom-espc"].fetch(wanted)
        moved = proxy.sent_bytes
    share = moved / (SLABS * LATITUDE.size * LONGITUDE.size * 4)
    with capsys.disabled():
        print(f"\nhycom-espc: {moved / 1e6:.2f} MB moved, {share:.4f} of the wanted slabs")
    assert 1.0 < share <= MOST_MOVED
    assert answer.dataset["water_temp"].shape == (1, 15, LATITUDE.size, LONGITUDE.size)


@pytest.mark.server
def test_of_the_buckets_file_no_more_than_the_wanted_slabs_is_moved(
    whole: Whole, s3_server: S3Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket = Bucket(s3_server, tmp_path)
    path = native.write_hycom(
        tmp_path / "a.nc", [w.REANALYSIS_DAY], w.TWIN, LATITUDE, LONGITUDE, (*DEPTHS_M[:3], 15.0, *DEPTHS_M[3:])
    )
    bucket.put(w.REANALYSIS_DAY, path.read_bytes())
    with Proxy(bucket.address) as proxy:
        wanted = w.request(w.REANALYSIS_DAY, tmp_path, {"hycom-bucket": proxy.address})._replace(grid=GLOBE)
        SOURCES["hycom-bucket"].fetch(wanted)
        moved = proxy.sent_bytes
    share = moved / (SLABS * LATITUDE.size * LONGITUDE.size * 2)
    with capsys.disabled():
        print(f"\nhycom-bucket: {moved / 1e6:.2f} MB moved, {share:.4f} of the wanted slabs")
    assert 1.0 < share <= MOST_MOVED


PROGRAM = """
from pathlib import Path
from pipeline.sources import SOURCES
from tests.archive_servers import hycom_world as w
wanted = w.request(w.ESPC_DAY, Path({scratch!r}), {{"hycom-espc": {address!r}}})
SOURCES["hycom-espc"].fetch(wanted)
"""


def test_a_killed_fetch_goes_on_without_a_slab_fetched_twice(whole: Whole, tmp_path: Path) -> None:
    """SIGKILL in the middle; what lies in the cache then is not asked for again, the rest is asked for once."""
    kept = Store(tmp_path)
    with opendap.serving(whole.catalogue) as address, Proxy(address, delay_seconds=0.3) as proxy:
        program = PROGRAM.format(scratch=str(tmp_path), address=proxy.address)
        process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
        while len(kept.objects("cache/slabs")) < 10:
            assert process.poll() is None, "it ended by itself"
            time.sleep(0.02)
        process.kill()
        process.wait()
        finished = len(kept.objects("cache/slabs"))
        while proxy.at_once:
            time.sleep(0.02)
        proxy.delay_seconds = 0.0
        proxy.forget()
        wanted = w.request(w.ESPC_DAY, tmp_path, {"hycom-espc": proxy.address})
        answer = SOURCES["hycom-espc"].fetch(wanted)
        again = [item.target for item in proxy.asked if re.search(SLAB, item.target)]
    assert 10 <= finished < SLABS
    assert len(again) == len(set(again)) == SLABS - finished
    w.assert_true(answer, [w.ESPC_DAY], wanted)


@pytest.mark.parametrize("seconds", ["2", "Sun, 06 Nov 1994 08:49:39 GMT"])
def test_a_server_that_asks_to_stay_away_is_left_alone(
    whole: Whole, tmp_path: Path, seconds: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retry-After in seconds, or as a date by the server's own clock: the next request comes after it."""
    monkeypatch.setattr(asking, "CONNECTIONS", 1)
    with opendap.serving(whole.catalogue) as address, Proxy(address) as proxy:
        proxy.clock = "Sun, 06 Nov 1994 08:49:37 GMT"
        proxy.misbehave(Misbehaviour(ArchiveFault.TOO_MANY, SLAB, after=2, times=1, retry_after=seconds))
        wanted = w.request(w.ESPC_DAY, tmp_path, {"hycom-espc": proxy.address})._replace(variables=("to",))
        SOURCES["hycom-espc"].fetch(wanted)
    refused = next(item for item in proxy.asked if item.status == 429)
    later = [item.begun - refused.begun for item in proxy.asked if item.begun > refused.begun]
    assert len(later) == 13
    assert min(later) >= 2.0


def test_a_server_that_asks_for_more_time_than_there_is_is_given_up(whole: Whole, tmp_path: Path) -> None:
    with opendap.serving(whole.catalogue) as address, Proxy(address) as proxy:
        proxy.misbehave(Misbehaviour(ArchiveFault.TOO_MANY, retry_after="3600"))
        wanted = w.request(w.ESPC_DAY, tmp_path, {"hycom-espc": proxy.address})._replace(variables=("to",))
        with pytest.raises(InputUnavailable, match="asks to stay away for 3600 s"):
            SOURCES["hycom-espc"].fetch(wanted)
    assert len(proxy.asked) <= 2


def test_an_address_where_nothing_listens_is_no_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "LONGEST_WAIT_SECONDS", 0.1)
    wanted = w.request(w.ESPC_DAY, tmp_path, {"hycom-espc": "http://127.0.0.1:9"})._replace(deadline_seconds=60.0)
    with pytest.raises(InputUnavailable, match="Cannot connect to host"):
        SOURCES["hycom-espc"].fetch(wanted)
    seen = SOURCES["hycom-espc"].look(wanted)
    assert (seen.ready, "Cannot connect" in seen.words) == (False, True)
