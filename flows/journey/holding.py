"""A run holds its cycle: a heartbeat while it lives, and a way to tell that a holder on this machine is dead."""

from __future__ import annotations

import getpass
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from flows.clock import now
from pipeline.errors import CycleHeld, StoreError
from pipeline.record import lock
from pipeline.record.lock import Held, Lease, Owned
from pipeline.store import Put, Store, parsed, to_json

BOOT = Path("/proc/sys/kernel/random/boot_id")
"""Another number each time a machine starts: random(4)."""
ALONE = uuid.uuid4().hex[:8]
"""Of a process that cannot tell its machine: no other is of the same."""
BEATS_PER_LEASE = 3
"""Signs of life within one lease: two may be lost before another run may take the cycle over."""


class Heartbeat:
    """Renews a lease from a thread of its own, so that a long stage does not lose its cycle."""

    def __init__(self, held: Held, lease_seconds: float) -> None:
        self._held, self._interval = held, lease_seconds / BEATS_PER_LEASE
        self._mutex, self._stop = threading.Lock(), threading.Event()
        self._lost: CycleHeld | None = None
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def alive(self) -> None:
        """Renew now; ``CycleHeld`` where another run has taken the cycle over."""
        if self._lost is not None:
            raise self._lost
        with self._mutex:
            self._held.renew()

    def permit(self) -> None:
        """Asked before every change to the store; ``CycleHeld`` where another run has taken the cycle over."""
        if self._lost is not None:
            raise self._lost
        with self._mutex:
            self._held.permit()

    @contextmanager
    def beating(self) -> Iterator[Heartbeat]:
        """Beat until the block is left."""
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join()

    def _beat(self) -> None:
        while not self._stop.wait(self._interval):
            try:
                with self._mutex:
                    self._held.renew()
            except CycleHeld as error:
                self._lost = error
                return
            except StoreError:
                continue  # the next beat may reach the store; if none does, the next stage's own write says so


HEARTBEAT: ContextVar[Heartbeat | None] = ContextVar("heartbeat", default=None)
"""The heartbeat of the run that is going on."""


def alive() -> None:
    """A sign of life; ``CycleHeld`` where the run that is going on has lost its cycle."""
    heartbeat = HEARTBEAT.get()
    if heartbeat is not None:
        heartbeat.alive()


def opened(uri: str) -> Store:
    """The store of the run that is going on: it takes no change once the run has lost its cycle."""
    heartbeat = HEARTBEAT.get()
    return Store(uri) if heartbeat is None else Store(uri, heartbeat.permit)


@contextmanager
def holding(store: Store, cycle: Owned, lease_seconds: float) -> Iterator[Held]:
    """Hold a cycle with a heartbeat; ``CycleHeld`` (exit 7) names who holds it otherwise.

    A holder that was a process of this machine and is no more is not waited for.
    """
    free_if_dead(store, cycle)
    with (
        lock.hold(store, cycle, this_process(), lease_seconds, now) as held,
        Heartbeat(held, lease_seconds).beating() as heartbeat,
    ):
        token = HEARTBEAT.set(heartbeat)
        try:
            yield held
        finally:
            HEARTBEAT.reset(token)


def this_process() -> str:
    """``process 123 on HOST, started at TICKS``: who holds a cycle, so that another run can tell if it is dead."""
    return _name(os.getpid(), _started(os.getpid()))


def this_person() -> str:
    """``name at HOST``: who types, for what is recorded of an operator's judgement."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        name = f"user {os.getuid()}"
    return f"{name} at {socket.gethostname()}"


def free_if_dead(store: Store, cycle: Owned) -> bool:
    """Release a cycle whose holder was a process of this machine that has ended: whether it was so."""
    found = store.find(lock.path(cycle))
    if found is None:
        return False
    lease = parsed(Lease, found.data, f"{store.uri}/{lock.path(cycle)}")
    if lease.released or not is_dead(lease.owner):
        return False
    released = lease.model_copy(update={"released": True})
    content = to_json(released.model_dump(mode="json"))
    return store.put_if_version(lock.path(cycle), content, found.version) is Put.WON


def is_dead(owner: str) -> bool:
    """Whether a holder was a process of this machine and is no more, as far as this process may know."""
    words = owner.split()
    if len(words) < 2 or not words[1].isdigit():
        return False
    process = int(words[1])
    if owner.partition(" on ")[2].partition(", started")[0] != _machine():
        return False
    started = _started(process)
    return owner != _name(process, started) if started is not None else not _there(process)


def _there(process: int) -> bool:
    """Whether there is a process of this number, be it another user's."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _name(process: int, started: str | None) -> str:
    return f"process {process} on {_machine()}, started at {started}"


def _machine() -> str:
    """The host, its space of process numbers and its start: another machine may have the first two, not the third."""
    try:
        space, start = os.readlink("/proc/self/ns/pid"), BOOT.read_text(encoding="ascii").partition("-")[0]
    except OSError:
        space, start = "pid:unknown", ALONE
    return f"{socket.gethostname()} ({space} {start})"


def _started(process: int) -> str | None:
    """When a process was started, in ticks since the machine was (proc(5), field 22); ``never`` if it is a zombie.

    ``None`` where that cannot be read: it is no more, or it is hidden from us.
    """
    try:
        with open(f"/proc/{process}/stat", encoding="ascii", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
    except OSError:
        return None
    return "never" if fields[0] == "Z" else fields[19]
