"""The kill matrix: a run killed at each named point and run again, with a reader looking on; its table is printed.

A part of the points is the default, the others are run too where GOMS_KILL_EVERYWHERE is set to anything.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import Queue
from typing import NamedTuple

import pytest
from forked import Forks
from journeys import PATIENCE_SECONDS, contents, keys
from kill_points import POINTS, Point
from onlooker import Onlooker, Seen

from pipeline import cycle, publish
from pipeline.record import journal, marks
from pipeline.record.journal import Event
from pipeline.record.latest import latest
from pipeline.store import Store
from pipeline.variables import Kind

FIRST, SECOND = "2023-01-01", "2023-01-02"
CYCLE = cycle.cycle("small-sea", SECOND, 0)
EVERYWHERE = bool(os.environ.get("GOMS_KILL_EVERYWHERE"))
ON_A_FOLDER = tuple(point for point in POINTS if EVERYWHERE or point.often >= 1)
ON_S3 = tuple(point for point in POINTS if EVERYWHERE or point.often == 2)
AT_ONCE = 2
"""Points under way at the same time: one for each core of a small machine."""
ENVIRONMENT = {"GOMS_RESTART_EVERY_DAYS": "2"}


class Row(NamedTuple):
    """What came of one point: the killed run's exit code, where ``latest`` stood then and whether anything of the
    cycle was there for readers; the same of the run after it, what it reused; and what the reader saw."""

    point: Point
    store: str
    killed: int
    latest_then: str
    published_then: bool
    rerun: int
    reused: int
    latest_now: str
    differing: list[str]
    left_over: list[str]
    unsaid: list[str]
    seen: Seen
    seconds: float
    sentence: str

    @property
    def faults(self) -> list[str]:
        """What is not as it must be."""
        wrong = {
            f"the run was not killed but ended with {self.killed}": self.killed != -signal.SIGKILL,
            f"latest stood at {self.latest_then} with the cycle {'' if self.published_then else 'un'}published":
                self.latest_then != "20230101T00" and not self.published_then,
            f"the rerun ended with {self.rerun}: {self.sentence}": self.rerun != 0,
            f"latest stands at {self.latest_now}": self.latest_now != "20230102T00",
            f"differs from an undisturbed run: {self.differing}": bool(self.differing),
            f"left over: {self.left_over}": bool(self.left_over),
            f"not said: {self.unsaid}": bool(self.unsaid),
            f"the reader never saw the forecast: {self.seen.latest}":
                self.seen.latest not in (["20230101T00", "20230102T00"],),
        }  # fmt: skip
        return [text for text, so in wrong.items() if so] + self.seen.faults


class Matrix:
    """Runs the points it is asked for, some at once, and keeps what came of them."""

    def __init__(self, forks: Forks, masks: Path, stores: tuple[Store, Store], folder: Path) -> None:
        self._forks, self._folder = forks, folder
        self._first, self._undisturbed = stores[0], _compared(stores[1])
        self._threads = ThreadPoolExecutor(AT_ONCE)
        self._masks, self._environment = masks, forks.goms.environment | keys()
        self._begun, self._free = list[Onlooker](), Queue[Onlooker]()
        for _ in range(AT_ONCE):
            self._free.put(self._another())
        self._rows: dict[tuple[str, str], Future[Row]] = {}

    def begin(self, points: Sequence[Point], where: Callable[[], Store], kind: str) -> None:
        """Begin with these points on stores of this kind, which are all opened here: a client of S3 copies the
        environment, and pytest takes a variable out of it after each test while the points are under way."""
        for point in points:
            self._rows[kind, point.name] = self._threads.submit(self._row, point, where(), kind)

    def row(self, kind: str, point: Point) -> Row:
        """What came of a point."""
        return self._rows[kind, point.name].result()

    def folder(self) -> Store:
        """An empty store in a folder."""
        return Store(self._folder / uuid.uuid4().hex)

    def close(self) -> None:
        """End the readers, every one, though one of them does not end well."""
        self._threads.shutdown(cancel_futures=True)
        with ExitStack() as stack:
            for onlooker in self._begun:
                stack.callback(onlooker.close)

    def _another(self) -> Onlooker:
        self._begun.append(Onlooker(self._masks, self._environment))
        return self._begun[-1]

    @contextmanager
    def _reader(self) -> Iterator[Onlooker]:
        """A reader of one's own; where its row fails another takes its place, for it looks on or has ended."""
        onlooker, back = self._free.get(timeout=PATIENCE_SECONDS), False
        try:
            yield onlooker
            back = True
        finally:
            self._free.put(onlooker if back else self._another())

    def _row(self, point: Point, store: Store, kind: str) -> Row:
        begun = time.monotonic()
        _copy(self._first, store)
        with self._reader() as onlooker:
            onlooker.look(store)
            killed = self._forks.run(SECOND, store, point.name, **ENVIRONMENT).finish()
            then, published = _newest(store), publish.published(store, CYCLE) is not None
            rerun = self._forks.run(SECOND, store, **ENVIRONMENT).finish()
            seen = onlooker.stop()
        made = _compared(store)
        return Row(
            point, kind, killed.code, then, published, rerun.code, rerun.err.count("reused"), _newest(store),
            sorted(path for path in made.keys() | self._undisturbed if made.get(path) != self._undisturbed.get(path)),
            _left_over(store), _unsaid(store), seen, time.monotonic() - begun,
            f"{killed.err[-300:]} / {rerun.err[-300:]}",
        )  # fmt: skip


def _copy(source: Store, target: Store) -> None:
    root = Path(source.address(""))
    if not target.uri.startswith("s3://"):
        shutil.copytree(root, target.uri, ignore=shutil.ignore_patterns(".*"))
        return
    for path, _ in source.objects(""):
        target.write_bytes(path, source.read_bytes(path))


def _newest(store: Store) -> str:
    found = latest(store, "small-sea")
    return "nothing" if found is None else found.cycle


def _compared(store: Store) -> Mapping[str, str]:
    """SHA-256 of everything published of the cycle but its manifest, which holds the time of its making."""
    prefix = CYCLE.revision_prefix(1)
    return {path: digest for path, digest in contents(store, prefix).items() if path != f"{prefix}/manifest.json"}


def _left_over(store: Store) -> list[str]:
    """What a published cycle needs no more: restart states, and what was staged but for the surface; that, if it is
    not there for the next cycle."""
    prefixes = (f"{CYCLE.run_prefix}/staged", f"{CYCLE.run_prefix}/restart")
    found = {path for prefix in prefixes for path, _ in store.objects(prefix)}
    return sorted(found ^ {f"{CYCLE.run_prefix}/staged/surface.npz"})


def _unsaid(store: Store) -> list[str]:
    """What the marks and the journal of a published cycle must say and do not, or say twice."""
    published = [entry for entry in journal.read(store, CYCLE) if entry.event is Event.PUBLISHED]
    unmarked = [stage for stage in marks.STAGES if stage != Kind.BIOGEOCHEMISTRY and stage != Kind.FORCING
                and marks.recorded(store, CYCLE, stage) is None]  # fmt: skip
    return [f"{stage}'s mark" for stage in unmarked] + [f"published {len(published)} times"] * (len(published) != 1)


def table(rows: Sequence[Row]) -> Iterator[str]:
    """The matrix as lines of text."""
    yield (f"{'killed':<58}{'store':<8}{'latest then':<13}{'rerun':>5}{'reused':>8}{'looks':>7}{'products':>10}  "
           f"{'seconds':>7}  result")  # fmt: skip
    for row in rows:
        then = row.latest_then if row.latest_then != "20230101T00" else "the day before"
        then = {"20230102T00": "this cycle"}.get(then, then)
        yield (f"{row.point.name:<58}{row.store:<8}{then:<14}{row.rerun:>4}{row.reused:>8}{row.seen.looks:>7}"
               f"{row.seen.products:>10}  {row.seconds:>7.1f}  {'; '.join(row.faults) or 'same bytes'}")  # fmt: skip


ROWS = pytest.StashKey[list[Row]]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table of the points that were run."""
    rows = config.stash.get(ROWS, [])
    if rows:
        terminalreporter.section("kill matrix")
        for line in table(rows):
            terminalreporter.write_line(line)


if __name__ == "__main__":
    os.environ["GOMS_KILL_EVERYWHERE"] = "yes"
    raise SystemExit(pytest.main([str(Path(__file__).with_name("test_kill_matrix.py")), "-q"]))
