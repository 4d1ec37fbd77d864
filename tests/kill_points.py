"""Named moments at which a run can be killed or stopped: before, amid and after each request it makes of its store.

Nothing in the product knows of them: ``arm`` wraps the two backends of the store, and what they write with, in the
process that is to die.
"""

from __future__ import annotations

import fnmatch
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

STAGED = {"ocean": "ocean", "surface": "surface", "waves": "waves", "initialise": "initial"}
"""The stages that put one private object, and its name."""


class Point(NamedTuple):
    """The ``nth`` request of one kind about a path of this pattern, and when in its course the process dies.

    ``when``: ``before`` it; ``inside``, when half of its bytes are written or sent; ``unanswered``, when all of them
    are and nothing is known of it (in a folder: on disk and not in place yet); ``after`` it. ``holding``: bytes that
    the object must hold. The operation ``step`` is a day of the rollout, and has no path. ``often``: 1 where it is
    killed at whenever the tests are run, 2 where on S3 too, 0 where in the whole matrix alone.
    """

    name: str
    when: str
    operation: str
    pattern: str
    nth: int = 1
    holding: str = ""
    often: int = 0

    def meets(self, operation: str, path: str, data: bytes) -> bool:
        """Whether a request is of this kind."""
        operations = self.operation.split("|")
        return operation in operations and fnmatch.fnmatch(path, self.pattern) and self.holding.encode() in data


def _of_stages() -> Iterator[Point]:
    for stage, name in STAGED.items():
        staged, mark = f"*/staged/{name}.npz", f"*/marks/{stage}.json"
        yield Point(f"{stage}: before its write", "before", "write", staged)
        yield Point(f"{stage}: between the bytes of its write", "inside", "write", staged)
        yield Point(f"{stage}: after its write", "after", "write", staged)
        yield Point(f"{stage}: before its mark", "before", "write", mark)
        yield Point(f"{stage}: after its mark", "after", "write", mark)


def _lead(name: str, variable: str, day: int, when: str) -> Point:
    return Point(name, when, "write", f"*/cycles/*/ocean.zarr/{variable}/c/{day}/*")


_LOCK, _JOURNAL, _LATEST, _MANIFEST = "*/lock.json", "*/journal.json", "*/latest.json", "*/manifest.json"
_STATE, _POINTER = "*/restart/r1/day-*.npz", "*/restart/r1/state.json"
_FORECAST, _DRAWN, _PUBLISHED = "*/marks/forecast.json", "*/marks/quicklooks.json", "*/marks/publish.json"
_LAID_OUT = "*/marks/series.json"
_RELEASED = '"released": true'

_ALL = (
    Point("lock: before it is taken", "before", "create", _LOCK),
    Point("lock: before it is taken over", "before", "swap", _LOCK),
    Point("lock: taken, its answer not seen", "unanswered", "create", _LOCK),
    Point("lock: held, nothing done", "after", "create", _LOCK),
    Point("lock: between the bytes of a sign of life", "inside", "swap", _LOCK),
    Point("journal: between the bytes of its first entry", "inside", "create", _JOURNAL),
    Point("journal: between the bytes of a later entry", "inside", "swap", _JOURNAL, nth=3),
    *_of_stages(),
    Point("forecast: before its first object", "before", "write", "*/ocean.zarr/*"),
    Point("forecast: among the metadata", "after", "write", "*/waves.zarr/zarr.json"),
    _lead("forecast: first shard of the first day", "to", 0, "after"),
    _lead("forecast: mid-shard, between its bytes", "so", 3, "inside"),
    _lead("forecast: shard whole, its answer not seen", "vo", 1, "unanswered"),
    _lead("forecast: between two shards of a day", "uo", 5, "after"),
    Point("forecast: mid-rollout, day 1", "before", "step", "", nth=1),
    Point("forecast: mid-rollout, day 4", "before", "step", "", nth=4),
    Point("forecast: before the restart state", "before", "write", _STATE),
    Point("forecast: between the bytes of the restart state", "inside", "write", _STATE),
    Point("forecast: between restart state and its pointer", "after", "write", _STATE),
    Point("forecast: between the bytes of the pointer", "inside", "write", _POINTER),
    Point("forecast: after the pointer", "after", "write", _POINTER),
    Point("forecast: between two restart states", "after", "write", _STATE, nth=2),
    Point("forecast: before the older restart state goes", "before", "delete", _STATE),
    Point("forecast: after its last object", "after", "write", "*/waves.zarr/mwd/c/6/*"),
    Point("forecast: before its mark", "before", "write", _FORECAST),
    Point("forecast: between the bytes of its mark", "inside", "write", _FORECAST),
    Point("forecast: after its mark", "after", "write", _FORECAST),
    Point("quicklooks: before the first picture", "before", "write", "*/quicklooks/*.png"),
    Point("quicklooks: between the bytes of a picture", "inside", "write", "*/quicklooks/*.png", nth=2),
    Point("quicklooks: between two pictures", "after", "write", "*/quicklooks/*.png", nth=3),
    Point("quicklooks: before its mark", "before", "write", _DRAWN),
    Point("quicklooks: after its mark", "after", "write", _DRAWN),
    Point("series: before its metadata", "before", "write", "*/series/ocean.zarr/*"),
    Point("series: between the bytes of a shard", "inside", "write", "*/series/ocean.zarr/so/c/*"),
    Point("series: between two variables", "after", "write", "*/series/ocean.zarr/uo/c/*"),
    Point("series: before its mark", "before", "write", _LAID_OUT),
    Point("series: after its mark", "after", "write", _LAID_OUT),
    Point("publish: during the check", "before", "find", "*/cycles/*/ocean.zarr/vo/c/2/*"),
    Point("publish: between check and manifest", "before", "create", _MANIFEST),
    Point("publish: between the bytes of the manifest", "inside", "create", _MANIFEST),
    Point("publish: manifest put, its answer not seen", "unanswered", "create", _MANIFEST),
    Point("publish: between manifest and its mark", "before", "write", _PUBLISHED),
    Point("publish: between manifest and latest", "before", "swap|create", _LATEST),
    Point("publish: between the bytes of latest", "inside", "swap|create", _LATEST),
    Point("publish: latest moved, its answer not seen", "unanswered", "swap|create", _LATEST),
    Point("publish: after latest", "after", "swap|create", _LATEST),
    Point("publish: before the restart states go", "before", "delete", "*/restart/r1"),
    Point("tidying: before what was staged goes", "before", "delete", "*/staged/*"),
    Point("lock: before it is released", "before", "swap", _LOCK, holding=_RELEASED),
    Point("lock: between the bytes of its release", "inside", "swap", _LOCK, holding=_RELEASED),
    Point("lock: released, its answer not seen", "unanswered", "swap", _LOCK, holding=_RELEASED),
)

_ON_BOTH = (
    "ocean: between the bytes of its write", "forecast: mid-shard, between its bytes", "forecast: mid-rollout, day 4",
    "forecast: between restart state and its pointer", "publish: between the bytes of the manifest",
    "publish: between manifest and latest", "lock: between the bytes of its release",
)  # fmt: skip
_ON_A_FOLDER = (
    "lock: held, nothing done", "journal: between the bytes of its first entry", "surface: after its write",
    "waves: before its mark", "initialise: after its mark", "forecast: between two shards of a day",
    "forecast: before the older restart state goes", "forecast: after its mark",
    "quicklooks: between the bytes of a picture", "series: between the bytes of a shard",
    "publish: between check and manifest", "publish: between the bytes of latest", "publish: after latest",
    "tidying: before what was staged goes",
)  # fmt: skip
_OFTEN = dict.fromkeys(_ON_BOTH, 2) | dict.fromkeys(_ON_A_FOLDER, 1)
POINTS = tuple(point._replace(often=_OFTEN.get(point.name, 0)) for point in _ALL)
"""Every point, in the order of a run."""
assert set(_OFTEN) <= {point.name for point in POINTS}


def point(name: str) -> Point:
    """The point of a name."""
    return next(point for point in POINTS if point.name == name)


def arm(point: Point, how: signal.Signals = signal.SIGKILL) -> None:
    """Let this process die at a point, or be stopped there and go on when it is told to."""
    trigger = _Trigger(point, how)
    from pipeline.objects.bucket import Bucket
    from pipeline.objects.folder import Folder

    for backend in (Folder, Bucket):
        for operation in ("find", "write", "create", "swap", "delete"):
            setattr(backend, operation, _watched(getattr(backend, operation), operation, trigger))
    _cut_files(trigger)
    _cut_requests(trigger)
    _count_days(trigger)


class _Trigger:
    """Counts the requests a point is about; ``open`` is set in the thread whose request is the one."""

    def __init__(self, point: Point, how: signal.Signals) -> None:
        self.point, self._how, self.fired = point, how, False
        self._mutex, self._met, self._here = threading.Lock(), 0, threading.local()
        self._turn, self._busy, self._stopping = threading.Condition(), 0, False

    def meets(self, operation: str, path: str, data: bytes) -> bool:
        with self._mutex:
            if not self.point.meets(operation, path, data):
                return False
            self._met += 1
            return self._met == self.point.nth

    @property
    def open(self) -> bool:
        return getattr(self._here, "open", False)

    @open.setter
    def open(self, value: bool) -> None:
        self._here.open = value

    def at(self, when: str) -> bool:
        return self.open and not self.fired and self.point.when == when

    @contextmanager
    def request(self) -> Iterator[None]:
        """A request of this thread's; none begins while the process is about to be stopped."""
        if getattr(self._here, "busy", False):
            yield
            return
        with self._turn:
            self._turn.wait_for(lambda: not self._stopping)
            self._busy += 1
        self._here.busy = True
        try:
            yield
        finally:
            self._here.busy = False
            with self._turn:
                self._busy -= 1
                self._turn.notify_all()

    def fire(self) -> None:
        """Send the signal. A process that will go on is stopped at this point alone: in no other thread's request."""
        self.fired = True
        if self._how is not signal.SIGSTOP:
            os.kill(os.getpid(), self._how)
            return
        own = int(getattr(self._here, "busy", False))
        with self._turn:
            self._stopping = True
            assert self._turn.wait_for(lambda: self._busy <= own, timeout=60)
            os.kill(os.getpid(), self._how)
            self._stopping = False
            self._turn.notify_all()


def _watched(call: Callable[..., Any], operation: str, trigger: _Trigger) -> Callable[..., Any]:
    def watched(backend: Any, path: str, *arguments: Any) -> Any:
        with trigger.request():
            return asked(backend, path, *arguments)

    def asked(backend: Any, path: str, *arguments: Any) -> Any:
        data = next((item for item in arguments if isinstance(item, bytes)), b"")
        if trigger.open or not trigger.meets(operation, path, data):
            return call(backend, path, *arguments)
        if trigger.point.when == "before":
            trigger.fire()
            return call(backend, path, *arguments)
        trigger.open = True
        answer = call(backend, path, *arguments)
        trigger.open = False
        if trigger.point.when == "after":
            trigger.fire()
        assert trigger.fired, f"{trigger.point.name}: the request was made and nothing was cut"
        return answer

    return watched


def _cut_files(trigger: _Trigger) -> None:
    """A folder's object ends in the middle of its bytes, or on disk and not in place."""
    opened, synced = os.fdopen, os.fsync

    class Half:
        def __init__(self, file: Any) -> None:
            self._file = file

        def __enter__(self) -> Half:
            self._file.__enter__()
            return self

        def __exit__(self, *error: object) -> None:
            self._file.__exit__(*error)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

        def write(self, data: bytes) -> None:
            self._file.write(data[: len(data) // 2])
            self._file.flush()
            trigger.fire()
            self._file.write(data[len(data) // 2 :])

    def fdopen(descriptor: int, *arguments: Any, **options: Any) -> Any:
        file = opened(descriptor, *arguments, **options)
        return Half(file) if trigger.at("inside") else file

    def fsync(descriptor: int) -> None:
        synced(descriptor)
        if trigger.at("unanswered"):
            trigger.fire()

    os.fdopen, os.fsync = fdopen, fsync  # type: ignore[assignment]


def _cut_requests(trigger: _Trigger) -> None:
    """A request to S3 ends in the middle of its body, or sent and not answered."""
    from botocore.awsrequest import AWSConnection, AWSHTTPConnection

    send, answered = AWSConnection.send, AWSHTTPConnection.getresponse

    def half(connection: Any, data: Any) -> Any:
        content = bytes(data) if not isinstance(data, str) else data.encode()
        if trigger.at("inside") and not content.startswith(b"PUT "):
            connection.sock.sendall(content[: len(content) // 2])
            trigger.fire()
            data = content[len(content) // 2 :]
        return send(connection, data)

    def unanswered(connection: Any, *arguments: Any, **options: Any) -> Any:
        if trigger.at("unanswered"):
            trigger.fire()
        return answered(connection, *arguments, **options)

    AWSConnection.send, AWSHTTPConnection.getresponse = half, unanswered


def _count_days(trigger: _Trigger) -> None:
    """A rollout ends before one of its days."""
    from pipeline.forecast import Persistence

    roll_out = Persistence.roll_out

    def counted(*arguments: Any) -> Iterator[Any]:
        days = roll_out(*arguments)
        while True:
            if trigger.meets("step", "", b""):
                trigger.fire()
            try:
                day = next(days)
            except StopIteration:
                return
            yield day

    Persistence.roll_out = counted  # type: ignore[method-assign]
