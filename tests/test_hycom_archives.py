"""HYCOM's archives over real servers: the right values, the right instant, no byte more than is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import InputUnavailable
from pipeline.ingest import ingest
from pipeline.provenance import records
from pipeline.sources import SOURCES, Native, Request, hycom_bucket
from pipeline.sources.asking import Answer, DamagedAnswer
from pipeline.systems import CORAL_SEA, Ladder, rungs
from pipeline.variables import Kind
from tests.archive_servers import hycom_world as w
from tests.archive_servers import opendap
from tests.archive_servers.proxy import Proxy
from tests.archive_servers.reanalysis_bucket import Bucket
from tests.s3_server import S3Server

DAYS = {
    "hycom-espc": w.ESPC_DAY, "hycom-gofs": w.ANALYSIS_DAY, "hycom-gofs (reanalysis)": w.REANALYSIS_DAY,
    "hycom-bucket": w.REANALYSIS_DAY,
}  # fmt: skip
each_archive = pytest.mark.parametrize("case", [
    pytest.param(case, marks=pytest.mark.server) if "bucket" in case else case for case in DAYS
])  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> w.World:
    return w.World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Bucket:
    return Bucket(s3_server, tmp_path_factory.mktemp("bucket"))


@pytest.fixture
def server(world: w.World) -> Iterator[Proxy]:
    """The OPeNDAP server, counted; everything in it is as it should be."""
    world.restore()
    with opendap.serving(world.catalogue) as address, Proxy(address) as proxy:
        yield proxy


@pytest.fixture
def counted(case: str, request: pytest.FixtureRequest) -> Iterator[Proxy]:
    """The case's server, counted."""
    if "bucket" not in case:
        yield request.getfixturevalue("server")
        return
    bucket: Bucket = request.getfixturevalue("bucket")
    with Proxy(bucket.address) as proxy:
        yield proxy


def asked(case: str, proxy: Proxy, scratch: Path, **changes: object) -> Request:
    source = case.partition(" ")[0]
    return w.request(DAYS[case], scratch, {source: proxy.address})._replace(**changes)


def fetched(case: str, wanted: Request, sampling: str = "") -> Native:
    return SOURCES[case.partition(" ")[0] + sampling].fetch(wanted)


@each_archive
def test_values_are_the_twins_at_the_instant(case: str, counted: Proxy, tmp_path: Path) -> None:
    wanted = asked(case, counted, tmp_path)
    answer = fetched(case, wanted)
    w.assert_true(answer, [DAYS[case]], wanted)
    assert answer.dataset["time"].values == [np.datetime64(DAYS[case].replace(tzinfo=None), "ns")]
    assert (answer.degraded, answer.near_hours, answer.analysed) == ("", 0.0, None)
    assert len(answer.files) == (5 if case == "hycom-espc" else 1)


@each_archive
def test_at_most_ten_connections_are_open_at_a_time(case: str, counted: Proxy, tmp_path: Path) -> None:
    counted.delay_seconds = 0.02
    fetched(case, asked(case, counted, tmp_path))
    assert 2 <= counted.most_at_once <= 10


@each_archive
def test_a_second_fetch_moves_no_slab_again(case: str, counted: Proxy, tmp_path: Path) -> None:
    wanted = asked(case, counted, tmp_path)
    first = fetched(case, wanted)
    counted.forget()
    second = fetched(case, wanted)
    slabs = [item for item in counted.asked if item.sent_bytes > 8192]
    assert slabs == []
    assert second.files == first.files
    w.assert_true(second, [DAYS[case]], wanted)


def test_a_daily_mean_is_the_mean_of_the_days_steps(server: Proxy, tmp_path: Path) -> None:
    wanted = asked("hycom-gofs", server, tmp_path)
    answer = fetched("hycom-gofs", wanted, "-daily")
    w.assert_true(answer, w.steps_of(w.ANALYSIS_DAY), wanted)
    assert (answer.note, answer.degraded) == ("mean of 8 steps of 2020-07-05", "")


@each_archive
def test_a_look_moves_no_field_and_says_what_is_there(case: str, counted: Proxy, tmp_path: Path) -> None:
    source = SOURCES[case.partition(" ")[0]]
    seen = source.look(asked(case, counted, tmp_path))
    assert (seen.ready, seen.newest) == (True, DAYS[case])
    late = source.look(asked(case, counted, tmp_path, when=DAYS[case] + timedelta(days=4)))
    assert not late.ready
    assert counted.sent_bytes < 40_000


def test_a_missing_step_is_stood_in_for_by_the_nearest(world: w.World, server: Proxy, tmp_path: Path) -> None:
    """12Z is absent, 09Z and 15Z are equally near: the earlier is taken, and the record says so."""
    world.serve_whole("GLBy0.08/expt_93.0", "analysis", steps=[0, 1, 2, 3, 5, 6, 7])
    wanted = asked("hycom-gofs", server, tmp_path)
    answer = fetched("hycom-gofs", wanted)
    w.assert_true(answer, [w.ANALYSIS_DAY - timedelta(hours=3)], wanted)
    expected = "no step at 2020-07-05T12:00:00: the nearest, 2020-07-05T09:00:00, 3 h before it, stands in"
    assert (answer.degraded, answer.near_hours) == (expected, 3.0)
    world.serve_whole("GLBy0.08/expt_93.0", "analysis", steps=[0, 1, 2, 6, 7])
    with pytest.raises(InputUnavailable, match=r"no such step, nor one within reach; .* 2020-07-05T06:00:00"):
        fetched("hycom-gofs", wanted)


def test_a_daily_mean_says_which_steps_it_lacks(world: w.World, server: Proxy, tmp_path: Path) -> None:
    world.serve_whole("GLBy0.08/expt_93.0", "analysis", steps=[0, 1, 2, 3, 5, 7])
    wanted = asked("hycom-gofs", server, tmp_path)
    answer = fetched("hycom-gofs", wanted, "-daily")
    steps = w.steps_of(w.ANALYSIS_DAY)
    w.assert_true(answer, [steps[step] for step in (0, 1, 2, 3, 5, 7)], wanted)
    assert answer.degraded == "the day's mean lacks 2 of its 8 steps: 12Z, 18Z"
    world.serve_whole("GLBy0.08/expt_93.0", "analysis", steps=[0, 1, 2, 3, 5])
    with pytest.raises(InputUnavailable, match="daily mean"):
        fetched("hycom-gofs", wanted, "-daily")


def test_a_day_that_the_year_has_not_yet_is_read_from_the_forecasts(server: Proxy, tmp_path: Path) -> None:
    """The aggregation's axis is ``time1``; its 12Z of the next day is 36 h from its analysis by ``tau``."""
    when = w.ESPC_DAY + timedelta(days=1)
    wanted = asked("hycom-espc", server, tmp_path, when=when)
    answer = fetched("hycom-espc", wanted)
    w.assert_true(answer, [when], wanted)
    assert answer.note == "forecast of 36 h from its analysis"
    assert answer.analysed == w.ESPC_DAY - timedelta(hours=12)


def test_a_year_that_has_no_dataset_yet_is_read_from_the_forecasts(
    world: w.World, server: Proxy, tmp_path: Path
) -> None:
    when = w.ESPC_DAY + timedelta(days=1)
    for path in [path for path in world.catalogue.datasets if path.endswith(f"/{when.year}")]:
        del world.catalogue.datasets[path]
    wanted = asked("hycom-espc", server, tmp_path, when=when)
    w.assert_true(fetched("hycom-espc", wanted), [when], wanted)


def test_an_allowed_age_takes_the_newest_day_there_is(server: Proxy, tmp_path: Path) -> None:
    when = w.ANALYSIS_DAY + timedelta(days=2)
    with pytest.raises(InputUnavailable):
        fetched("hycom-gofs", asked("hycom-gofs", server, tmp_path, when=when))
    wanted = asked("hycom-gofs", server, tmp_path, when=when, maximum_age_days=3.0)
    answer = fetched("hycom-gofs", wanted)
    w.assert_true(answer, [w.ANALYSIS_DAY], wanted)
    assert answer.dataset["time"].values == [np.datetime64("2020-07-05T12", "ns")]


def test_what_stands_in_is_told_on_the_record_of_the_input(world: w.World, server: Proxy, tmp_path: Path) -> None:
    world.serve_whole("GLBy0.08/expt_93.0", "analysis", steps=[0, 1, 2, 3, 5, 6, 7])
    ladder = Ladder(kind=Kind.OCEAN, rungs=rungs("hycom-gofs"), required=True)
    system = CORAL_SEA.model_copy(update={"grid": w.GRID, "start_hour": 12, "ladders": (ladder,)})
    archives = {"hycom-gofs": server.address}
    (part,) = ingest(system, Kind.OCEAN, w.ANALYSIS_DAY, inputs=None, scratch=tmp_path, archives=archives)
    (record,) = records(part)
    assert (record.valid_time, record.age_hours) == (w.ANALYSIS_DAY - timedelta(hours=3), 3.0)
    assert record.degraded is not None
    assert record.degraded.startswith("to, so, uo, vo and zos from hycom-gofs: no step at 2020-07-05T12:00:00: the")
    assert part["time"].values == np.datetime64("2020-07-05T09")
    assert part["to"].dtype == np.float32


@pytest.mark.parametrize("told", [{"Content-Range": "bytes 0-8191/*"}, {}])
def test_a_range_of_a_file_of_unknown_size_is_asked_for_again(told: dict[str, str]) -> None:
    with pytest.raises(DamagedAnswer, match="8192 bytes and the file's size were asked for"):
        hycom_bucket._first(8192)(Answer("https://a/b.nc", 206, told, b"CDF\x01" + bytes(8188)))


@pytest.mark.server
def test_a_step_that_the_bucket_lacks_is_stood_in_for(bucket: Bucket, tmp_path: Path) -> None:
    """593 of the reanalysis's 12Z steps are missing: 09Z is in the file of the day before, 21 h on."""
    bucket.remove(w.REANALYSIS_DAY)
    try:
        wanted = w.request(w.REANALYSIS_DAY, tmp_path, {"hycom-bucket": bucket.address})
        answer = fetched("hycom-bucket", wanted)
    finally:
        bucket.restore(w.REANALYSIS_DAY)
    w.assert_true(answer, [w.REANALYSIS_DAY - timedelta(hours=3)], wanted)
    assert "2012-01-05T09:00:00, 3 h before it, stands in" in answer.degraded


@pytest.mark.parametrize(("case", "when", "words"), [
    ("hycom-gofs", datetime(2017, 1, 1, 12, tzinfo=w.ESPC_DAY.tzinfo), "1994-2015"),
    ("hycom-gofs", datetime(2024, 9, 6, 12, tzinfo=w.ESPC_DAY.tzinfo), "to 2024-09-05"),
    ("hycom-bucket", datetime(2016, 1, 1, 12, tzinfo=w.ESPC_DAY.tzinfo), "1994-2015 only"),
])  # fmt: skip
def test_dates_that_an_archive_never_had_are_not_asked_for(
    case: str, when: datetime, words: str, tmp_path: Path
) -> None:
    """Nothing listens at the address: a question would be told as no connection."""
    wanted = w.request(when, tmp_path, {case: "http://127.0.0.1:9"})
    with pytest.raises(InputUnavailable, match=words):
        SOURCES[case].fetch(wanted)
    assert words in SOURCES[case].look(wanted).words
