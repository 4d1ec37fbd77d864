"""Every fault of a server x every archive of HYCOM: right values, or the right exit and a sentence; never a hang."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from pipeline.errors import GomsError
from pipeline.sources import SOURCES, Request
from pipeline.twin import native
from tests.archive_servers import hycom_world as w
from tests.archive_servers import opendap
from tests.archive_servers.faults import ANSWERED, ArchiveFault, Misbehaviour
from tests.archive_servers.proxy import Proxy
from tests.archive_servers.reanalysis_bucket import Bucket
from tests.s3_server import S3Server

RIGHT = 0
"""The outcome of a fetch that gave every value as the twin has it; else the exit code of its error."""
GIVEN_SECONDS, SHORT_SECONDS = 120.0, 6.0
"""Deadlines: of a fault that passes, and of one that stays."""
LATE_SECONDS = 20.0
"""Beyond its deadline, how long a fetch may take on a machine that is busy: a hang is longer."""
DEPTHS = (0.0, 100.0, 500.0)
DAYS = {"hycom-espc": w.ESPC_DAY, "hycom-gofs": w.ANALYSIS_DAY, "hycom-bucket": w.REANALYSIS_DAY}
SLABS = {"hycom-espc": (r"\.dods\?\w+\.\w+", 3), "hycom-gofs": (r"\.dods\?\w+\.\w+", 3), "hycom-bucket": (r"\.nc", 9)}
"""Which requests are for slabs (of the bucket: those after the header and the axes), a few of them let pass."""
WORDS = {
    ArchiveFault.SERVER_ERROR: "HTTP 500", ArchiveFault.TOO_MANY: "HTTP 429", ArchiveFault.MOVED: "HTTP 404",
    ArchiveFault.FORBIDDEN: "HTTP 403",
    ArchiveFault.PAGE: "Down for maintenance|where .* was asked for|of \\d+ bytes|netCDF-3 file begins",
    ArchiveFault.RESET: "Disconnected|reset", ArchiveFault.STALL: "stopped sending",
    ArchiveFault.DRIP: "stopped sending", ArchiveFault.TRUNCATED: "cut short",
    ArchiveFault.TRUNCATED_QUIETLY: "of \\d+ bytes|lengths|no declaration|no attribute|no XML",
}  # fmt: skip
"""What the sentence says where the fault stays."""
OUT_OF_TIME = r"not all of it within|stopped sending, or took too long"
"""What any sentence may say on a machine that is so busy that the deadline comes first."""
PASSES = frozenset(ANSWERED) - {ArchiveFault.MOVED, ArchiveFault.FORBIDDEN}
"""Faults that one more try overcomes; the two others are told at once, for they do not pass by themselves."""


class Outcome(NamedTuple):
    """What a fetch under a fault came to."""

    archive: str
    fault: str
    when: str
    exit: int
    words: str
    seconds_late: float


class Servers(NamedTuple):
    """The two real servers, everything in them as it should be."""

    world: w.World
    opendap: str
    bucket: Bucket

    def address(self, archive: str) -> str:
        return self.bucket.address if "bucket" in archive else self.opendap


@pytest.fixture(scope="module")
def servers(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    world, bucket = (make(tmp_path_factory.mktemp("archives")) for make in (w.World, lambda f: Bucket(s3_server, f)))
    with opendap.serving(world.catalogue) as address:
        yield Servers(world, address, bucket)


def outcome(archive: str, fault: str, when: str, wanted: Request) -> Outcome:
    begun = time.monotonic()
    code, words = RIGHT, "right"
    try:
        answer = SOURCES[archive].fetch(wanted)
    except GomsError as error:
        code, words = error.exit_code, f"found {error.found}"
    late = time.monotonic() - begun - wanted.deadline_seconds
    if code == RIGHT:
        w.assert_true(answer, [wanted.when], wanted)
    return Outcome(archive, fault, when, code, words, late)


def under(servers: Servers, folder: Path, archive: str, plan: Misbehaviour, when: str, seconds: float) -> Outcome:
    with Proxy(servers.address(archive)) as proxy:
        proxy.misbehave(plan)
        wanted = w.request(DAYS[archive], folder, {archive: proxy.address})
        wanted = wanted._replace(depths_m=DEPTHS, deadline_seconds=seconds)
        return outcome(archive, plan.fault, when, wanted)


def cases(servers: Servers, folder: Path) -> list[Callable[[], Outcome]]:
    """Each fault once on a slab, always on slabs, always from the first question on."""
    found = []
    for archive, (slabs, passed) in SLABS.items():
        for fault in ANSWERED:
            for when, matching, after, times, seconds in (
                ("once", slabs, passed, 1, GIVEN_SECONDS), ("always", slabs, passed, None, SHORT_SECONDS),
                ("from the start", "", 0, None, SHORT_SECONDS),
            ):  # fmt: skip
                given = GIVEN_SECONDS if fault is ArchiveFault.REDIRECTED else seconds
                plan = Misbehaviour(fault, matching, after, times)
                place = folder / f"{archive}-{fault.name}-{when}"
                found.append(lambda a=archive, p=plan, w=when, s=given, f=place: under(servers, f, a, p, w, s))
    return found


@pytest.mark.server
def test_no_fault_of_a_server_gives_a_wrong_value_or_a_hang(
    servers: Servers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ThreadPoolExecutor(16) as threads:
        found = [item.result() for item in [threads.submit(case) for case in cases(servers, tmp_path)]]
    found += held_faults(servers, tmp_path)
    with capsys.disabled():
        print(table(found))
    assert [item for item in found if not as_expected(item)] == []
    assert [item for item in found if item.seconds_late > LATE_SECONDS] == []
    assert len(found) == len(DAYS) * (3 * len(ANSWERED) + len(HELD))


def as_expected(item: Outcome) -> bool:
    """The exit that the fault must have, and the sentence that says why."""
    if item.fault in HELD:
        return item.exit == HELD[item.fault][0] and bool(re.search(HELD[item.fault][1], item.words))
    fault = ArchiveFault(item.fault)
    if fault is ArchiveFault.REDIRECTED or (item.when == "once" and fault in PASSES):
        return item.exit == RIGHT
    if item.exit == 3 and re.search(OUT_OF_TIME, item.words):
        return True
    if fault is ArchiveFault.ZEROS:
        return item.exit in ((4,) if item.when == "always" else (3, 4))
    return item.exit == 3 and bool(re.search(WORDS[fault], item.words))


HELD = {
    "nulls in one level": (4, "values in"), "nulls everywhere": (4, "no value in any"),
    "missing 12Z": (RIGHT, "09:00:00"), "tail not landed": (3, "no such step|has not landed"),
}  # fmt: skip
"""Faults of what a server holds: the exit, and a word of the sentence or of the record."""


def nulls_in_one_level(name: str, values: np.ndarray) -> np.ndarray:
    if name != "water_u":
        return values
    level = w.DEPTHS.index(100.0)
    return np.concatenate(
        [values[:, :level], np.full_like(values[:, :1], native.HYCOM_FILL), values[:, level + 1 :]], 1
    )


def nulls_everywhere(name: str, values: np.ndarray) -> np.ndarray:
    return np.full_like(values, native.HYCOM_FILL) if name in w.NAMES else values


@contextmanager
def holding(servers: Servers, archive: str, fault: str) -> Iterator[None]:
    """The archive holding what the fault says, for a while."""
    edit = {"nulls in one level": nulls_in_one_level, "nulls everywhere": nulls_everywhere}.get(fault, opendap.as_it_is)
    world, bucket = servers.world, servers.bucket
    steps = {"missing 12Z": [0, 2], "tail not landed": [0]}.get(fault, [0, 1, 2])
    try:
        if archive == "hycom-espc":
            world.serve_espc(edit, steps)
        elif archive == "hycom-gofs":
            whole = {"missing 12Z": [3, 5], "tail not landed": [0, 1, 2]}.get(fault, [3, 4, 5])
            world.serve_whole("GLBy0.08/expt_93.0", "analysis", edit, whole)
        elif fault == "missing 12Z":
            bucket.remove(w.REANALYSIS_DAY)
        elif fault == "tail not landed":
            bucket.put(w.REANALYSIS_DAY, bucket.files[w.REANALYSIS_DAY].read_bytes()[:-1000])
        else:
            spoiled = w.write_bucket_file(bucket.folder / "spoiled.nc", w.REANALYSIS_DAY, "plain", edit)
            bucket.put(w.REANALYSIS_DAY, spoiled.read_bytes())
        yield
    finally:
        world.restore()
        bucket.restore(w.REANALYSIS_DAY)


def held_faults(servers: Servers, folder: Path) -> list[Outcome]:
    found = []
    for archive in DAYS:
        for fault in HELD:
            with holding(servers, archive, fault):
                wanted = w.request(DAYS[archive], folder / f"{archive} {fault}", {archive: servers.address(archive)})
                wanted = wanted._replace(depths_m=DEPTHS, deadline_seconds=GIVEN_SECONDS)
                found.append(held_outcome(archive, fault, wanted))
    return found


def held_outcome(archive: str, fault: str, wanted: Request) -> Outcome:
    if fault != "missing 12Z":
        return outcome(archive, fault, "held", wanted)
    answer = SOURCES[archive].fetch(wanted)
    w.assert_true(answer, [wanted.when.replace(hour=9)], wanted)
    return Outcome(archive, fault, "held", RIGHT, answer.degraded, 0.0)


def table(found: list[Outcome]) -> str:
    """The table of faults x archives: exit codes, 0 for the right values."""
    lines = ["", "fault (exit code; 0: right values)".ljust(46) + "".join(archive.rjust(15) for archive in DAYS)]
    for fault, when in dict.fromkeys((item.fault, item.when) for item in found):
        row = {item.archive: item.exit for item in found if (item.fault, item.when) == (fault, when)}
        lines.append(f"{fault}, {when}".ljust(46) + "".join(str(row[archive]).rjust(15) for archive in DAYS))
    sentences = {item.fault: item.words for item in found if item.exit}
    return "\n".join([*lines, "", *(f"{fault}: {words}" for fault, words in sentences.items())])
