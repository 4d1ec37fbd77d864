"""Faults x archives of the atmosphere and of Copernicus: the right values or the right error, never a wrong value.

A proxy before each real server commits the faults on the answers that hold data. Once: what passes is waited for and
the values are right. Always: an error of the right class by the deadline. The table is printed at the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from pipeline.errors import InputRefused, InputUnavailable
from pipeline.sources import SOURCES, Request, era5_cds
from pipeline.sources.era5_arco import LONG_NAMES
from pipeline.variables import DEPTHS_M, Kind, of_kind
from tests.archive_servers import arco
from tests.archive_servers import cds as climate_store
from tests.archive_servers import copernicus as marine
from tests.archive_servers import weather as w
from tests.archive_servers.faults import ArchiveFault, Misbehaviour
from tests.archive_servers.folder_server import FolderServer
from tests.archive_servers.proxy import Proxy
from tests.test_copernicus import GRID as MARINE_GRID
from tests.test_era5_cds import make
from tests.test_weather_forecasts import GRID

DAY = datetime(2024, 3, 1, 12, tzinfo=UTC)
ENOUGH_SECONDS, SHORT_SECONDS, GRACE_SECONDS = 120.0, 3.0, 60.0
"""Deadlines for what ends by itself and for what does not; and what a busy machine may take longer."""
PASSING = (ArchiveFault.SERVER_ERROR, ArchiveFault.RESET, ArchiveFault.TOO_MANY, ArchiveFault.TRUNCATED)
ENDLESS = (*PASSING, ArchiveFault.STALL, ArchiveFault.DRIP)
"""Asked for again and again until the deadline: not available."""
AT_ONCE = (ArchiveFault.MOVED, ArchiveFault.FORBIDDEN, ArchiveFault.PAGE, ArchiveFault.ZEROS)
"""Known at the first answer, long before any deadline."""
OF_THE_ANSWER = (ArchiveFault.PAGE, ArchiveFault.ZEROS, ArchiveFault.TRUNCATED_QUIETLY)
"""Something arrives that is not what was asked for: it may be refused as well."""
PLAIN = ("ifs", "gfs", "era5-arco")
TABLE: dict[tuple[str, str, str], str] = {}


class Case(NamedTuple):
    """One archive behind a proxy: what is asked, which requests hold data, and what must come."""

    proxy: Proxy
    request: Request
    data: str
    truth: Callable[[str], np.ndarray]
    tolerance: float


def weather_truth(kind: Kind) -> Callable[[str], np.ndarray]:
    fields = w.truth(kind, DAY)
    native = {LONG_NAMES.get(name, name): values for name, values in fields.items()} | fields
    return native.__getitem__


def asking(name: str, kind: Kind, tmp_path: Path, archives: dict[str, str]) -> Request:
    names = tuple(entry.name for entry in of_kind(kind))
    grid = MARINE_GRID if name == "copernicus" else GRID
    return Request(kind, DAY, names, DEPTHS_M, grid, None, tmp_path, archives=archives)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Case]]:
    folder = tmp_path_factory.mktemp("archives")
    w.write_ifs(folder / "ifs", DAY, [0])
    w.write_gfs(folder / "gfs", DAY, [0])
    arco.write(folder / "era5-arco", [DAY], stop="2024-02-20", stop_era5t="2024-03-01")
    surface, waves = weather_truth(Kind.SURFACE), marine.truth(Kind.WAVES, DAY)
    (folder / "files").mkdir()
    store = climate_store.ClimateDataStore(folder / "files", make, "2024-03-01T00:00:00Z")
    with FolderServer(folder) as server, store, ExitStack() as stack:
        ahead = {name: stack.enter_context(Proxy(server.address)) for name in (*PLAIN, "copernicus")}
        queue = stack.enter_context(Proxy(store.upstream))
        portal = marine.write(folder, ahead["copernicus"].address, DAY)
        store.address = queue.address
        found = {}
        for name, data in (("ifs", r"grib2"), ("gfs", r"\.f000$"), ("era5-arco", r"\d\.0\.0$")):
            request = asking(name, Kind.SURFACE, folder, {name: f"{ahead[name].address}/{name}"})
            found[name] = Case(ahead[name], request, data, surface, 0.5)
        request = asking("copernicus", Kind.WAVES, folder, portal)._replace(variables=("mwp", "mwd"))
        found["copernicus"] = Case(
            ahead["copernicus"], request, r"/V[HTM]\w+/\d", lambda name: waves[marine.OURS[name]], 0.011
        )
        request = asking("era5-cds", Kind.SURFACE, folder, {"era5-cds": queue.address})
        found["era5-cds"] = Case(queue, request, r"GET /files/", surface, 0.5)
        yield found


@pytest.fixture(autouse=True)
def accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMS_LOGINS__COPERNICUS_USER", "somebody")
    monkeypatch.setenv("GOMS_LOGINS__COPERNICUS_PASSWORD", "a secret")
    monkeypatch.setenv("GOMS_LOGINS__CDS_KEY", climate_store.KEY)


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    yield
    lines = [f"{source:12} {mode:7} {fault:38} {outcome}" for (source, mode, fault), outcome in sorted(TABLE.items())]
    title = f"faults x sources: {len(lines)} ends, nothing lost: right values, or an error that says what is not there"
    print("\n" + "\n".join([title, *lines]))


class End(NamedTuple):
    """What became of a request: the error's class and words, or neither where every value was right."""

    error: type[Exception] | None
    words: str


def end(name: str, case: Case, tmp_path: Path, deadline_seconds: float) -> End:
    """A wrong value ends the test, and so does a hang."""
    request = case.request._replace(deadline_seconds=deadline_seconds, scratch=tmp_path)
    begun = time.monotonic()
    try:
        native = SOURCES[name].fetch(request)
        for variable, field in native.dataset.data_vars.items():
            found = field.isel(time=0)
            found = found.assign_coords(longitude=found["longitude"] % 360.0).sortby("latitude").sortby("longitude")
            np.testing.assert_allclose(found.values, case.truth(str(variable)), atol=case.tolerance)
    except (InputUnavailable, InputRefused) as error:
        assert time.monotonic() - begun < deadline_seconds + GRACE_SECONDS
        return End(type(error), str(error))
    return End(None, "")


def befallen(name: str, case: Case, fault: ArchiveFault, tmp_path: Path) -> End:
    """The end by a short deadline: a longer one where a busy machine did not come to the fault in time."""
    for deadline_seconds in (SHORT_SECONDS, 4 * SHORT_SECONDS, 16 * SHORT_SECONDS):
        case.proxy.misbehave(Misbehaviour(fault, case.data))
        found = end(name, case, tmp_path, deadline_seconds)
        (_, (seen,)), *_ = case.proxy._plan
        if seen:
            return found
    raise AssertionError(f"{name}: no request came to {fault}: {found}")


def tell(name: str, mode: str, fault: ArchiveFault, found: End) -> None:
    TABLE[name, mode, fault.value] = found.error.__name__ if found.error else "right values"


over_http = pytest.mark.parametrize("name", [*PLAIN, "copernicus"])


@pytest.mark.parametrize("fault", [*PASSING, ArchiveFault.REDIRECTED], ids=lambda fault: fault.name)
@over_http
def test_what_passes_is_waited_for(name: str, fault: ArchiveFault, cases: dict[str, Case], tmp_path: Path) -> None:
    case = cases[name]
    case.proxy.misbehave(Misbehaviour(fault, case.data, times=1))
    found = end(name, case, tmp_path, ENOUGH_SECONDS)
    tell(name, "once", fault, found)
    assert found == End(None, "")


@pytest.mark.parametrize("fault", ENDLESS, ids=lambda fault: fault.name)
def test_what_does_not_pass_ends_at_the_deadline(fault: ArchiveFault, cases: dict[str, Case], tmp_path: Path) -> None:
    """All archives at once, since they do nothing but wait."""
    names = (*PLAIN, "copernicus")
    with ThreadPoolExecutor(len(names)) as threads:
        ends = list(threads.map(lambda name: befallen(name, cases[name], fault, tmp_path / name), names))
    for name, found in zip(names, ends, strict=True):
        tell(name, "always", fault, found)
    assert [found.error for found in ends] == [InputUnavailable] * len(names), ends


@pytest.mark.parametrize("fault", [*AT_ONCE, ArchiveFault.TRUNCATED_QUIETLY], ids=lambda fault: fault.name)
@over_http
def test_what_is_not_the_data_is_known_for_it(
    name: str, fault: ArchiveFault, cases: dict[str, Case], tmp_path: Path
) -> None:
    case = cases[name]
    case.proxy.misbehave(Misbehaviour(fault, case.data))
    if fault in AT_ONCE:
        found = end(name, case, tmp_path, ENOUGH_SECONDS)
        assert "within 120 s" not in found.words
    else:
        found = befallen(name, case, fault, tmp_path)
    tell(name, "always", fault, found)
    assert found.error in ((InputUnavailable, InputRefused) if fault in OF_THE_ANSWER else (InputUnavailable,)), found


QUEUE = {"rejected": "rejected", "dismissed": "dismissed", "failed": "too many fields", "expired": "results expired"}
"""What may become of a job in the queue, and the store's words about it."""


@pytest.mark.parametrize("outcome", QUEUE)
def test_a_job_that_comes_to_nothing_is_not_available(outcome: str, tmp_path: Path) -> None:
    """As the process that waits for the queue sees it: the store's own words, and no file."""
    (tmp_path / "files").mkdir()
    with climate_store.ClimateDataStore(tmp_path / "files", make, "2024-03-01T00:00:00Z") as store:
        store.outcome = outcome
        job = era5_cds.asked(asking("era5-cds", Kind.SURFACE, tmp_path, {}), DAY)
        with pytest.raises(InputUnavailable, match=QUEUE[outcome]) as caught:
            era5_cds.retrieve(store.upstream, climate_store.KEY, job, str(tmp_path / "era5.nc"))
    TABLE["era5-cds", "always", f"the job {outcome}"] = caught.type.__name__
    assert len(store.jobs) == 1
    assert not (tmp_path / "era5.nc").exists()


def test_a_job_that_is_never_done_is_given_up_at_the_deadline(tmp_path: Path) -> None:
    """On a busy machine the deadline may be over before there is a job: that has a sentence of its own."""
    with climate_store.ClimateDataStore(tmp_path, make, "2024-03-01T00:00:00Z") as store:
        store.polls = 10_000
        request = asking("era5-cds", Kind.SURFACE, tmp_path / "scratch", {"era5-cds": store.upstream})
        with pytest.raises(InputUnavailable, match=r"no answer within|not all of it within"):
            SOURCES["era5-cds"].fetch(request._replace(deadline_seconds=SHORT_SECONDS))
    TABLE["era5-cds", "always", "the job never done"] = "InputUnavailable"


@pytest.mark.parametrize("fault", [ArchiveFault.PAGE, ArchiveFault.ZEROS, ArchiveFault.STALL], ids=lambda f: f.name)
def test_a_queue_s_file_that_is_not_right_is_not_taken(
    fault: ArchiveFault, cases: dict[str, Case], tmp_path: Path
) -> None:
    """The client finds a length that differs; the reader a file that is none; the deadline a stall."""
    case = cases["era5-cds"]
    case.proxy.misbehave(Misbehaviour(fault, case.data))
    stalls = fault is ArchiveFault.STALL
    found = befallen("era5-cds", case, fault, tmp_path) if stalls else end("era5-cds", case, tmp_path, ENOUGH_SECONDS)
    tell("era5-cds", "always", fault, found)
    words = {ArchiveFault.PAGE: "byte", ArchiveFault.ZEROS: "whole netCDF file", ArchiveFault.STALL: "no answer within"}
    assert found.error is (InputRefused if fault is ArchiveFault.ZEROS else InputUnavailable), found
    assert words[fault] in found.words
    assert not list((tmp_path / "cds").glob("*[0-9a-f]"))
