"""One cycle, one writer: a lock object taken by conditional put, with a lease and a fencing number that grows.

A system's scores are held in the same way.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from pipeline.cycle import Cycle
from pipeline.errors import CycleHeld
from pipeline.store import Put, Store, Versioned, parsed, to_json

Clock = Callable[[], datetime]
"""The time now, with its zone. It comes in from the caller: nothing here reads a clock."""


FRESH = 0.5
"""Share of a lease that must be left for a change to be made without asking the lock."""


class Scores(NamedTuple):
    """The scores of a system, as what one verification holds: like a cycle, with a private folder and a name."""

    system: str

    @property
    def run_prefix(self) -> str:
        """Where their lock lies, relative to the store: readers see the scores, not who writes them."""
        return f"{self.system}/runs/scores"


Owned = Cycle | Scores
"""What exactly one process at a time may change."""


class Lease(BaseModel):
    """What the lock object says. ``fence`` grows with every taking; ``released`` by its holder, or left to expire."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    owner: str
    token: str
    fence: int
    since: datetime
    expires: datetime
    released: bool = False


class Held:
    """A cycle that is ours until ``lease.expires``; every sign of life (``renew``) moves that on."""

    def __init__(self, store: Store, cycle: Owned, lease: Lease, lease_seconds: float, clock: Clock) -> None:
        self.lease = lease
        self._store, self._cycle, self._lease_seconds, self._clock = store, cycle, lease_seconds, clock

    @property
    def fence(self) -> int:
        """The fencing number: larger than that of every holder before."""
        return self.lease.fence

    def renew(self) -> None:
        """Prolong the lease; ``CycleHeld`` where another run has taken the cycle over in the meantime.

        Call it at every piece of progress, and right before anything that readers can see.
        """
        expires = self._clock() + timedelta(seconds=self._lease_seconds)
        self._replace(self.lease.model_copy(update={"expires": expires}))

    def permit(self) -> None:
        """To be asked right before every change to the store: ``CycleHeld`` where the cycle is not ours any more.

        Costs nothing while the lease is fresh. A process that was paused finds it worn and asks the lock first, so
        that what it does after another run took over is nothing. One request can still be under way at that moment:
        the store gives up on a request in far less than ``1 - FRESH`` of a lease.
        """
        if self.lease.expires - self._clock() < FRESH * timedelta(seconds=self._lease_seconds):
            self.renew()

    def release(self) -> None:
        """Give the cycle back. The object stays, so that the fencing number goes on growing."""
        self._replace(self.lease.model_copy(update={"expires": self._clock(), "released": True}))

    def _replace(self, lease: Lease) -> None:
        found = self._store.find(path(self._cycle))
        there = None if found is None else _read(self._store, self._cycle, found)
        if found is None or there is None or there.token != self.lease.token:
            raise _held(self._cycle, there)
        if self._store.put_if_version(path(self._cycle), _content(lease), found.version) is Put.LOST:
            there = holder(self._store, self._cycle)
            if there != lease:
                raise _held(self._cycle, there)
        self.lease = lease


@contextmanager
def hold(store: Store, cycle: Owned, owner: str, lease_seconds: float, clock: Clock) -> Iterator[Held]:
    """Hold a cycle; ``CycleHeld`` (exit 7) names who does otherwise. Expired and released leases are taken over."""
    held = Held(store, cycle, _take(store, cycle, owner, lease_seconds, clock), lease_seconds, clock)
    try:
        yield held
    finally:
        there = holder(store, cycle)
        if there is not None and there.token == held.lease.token:
            held.release()


def holder(store: Store, cycle: Owned) -> Lease | None:
    """What the lock object says, or ``None`` where the cycle was never held."""
    found = store.find(path(cycle))
    return None if found is None else _read(store, cycle, found)


def path(cycle: Owned) -> str:
    """Where a cycle's lock object lies."""
    return f"{cycle.run_prefix}/lock.json"


def _take(store: Store, cycle: Owned, owner: str, lease_seconds: float, clock: Clock) -> Lease:
    now = clock()
    found = store.find(path(cycle))
    there = None if found is None else _read(store, cycle, found)
    if there is not None and not there.released and there.expires > now:
        raise _held(cycle, there)
    lease = Lease(
        owner=owner, token=secrets.token_hex(16), fence=1 if there is None else there.fence + 1, since=now,
        expires=now + timedelta(seconds=lease_seconds),
    )  # fmt: skip
    if store.put_after(path(cycle), _content(lease), found) is Put.LOST:
        winner = holder(store, cycle)
        if winner != lease:  # a put of our own may have been answered as lost when the connection broke
            raise _held(cycle, winner)
    return lease


def _read(store: Store, cycle: Owned, found: Versioned) -> Lease:
    return parsed(Lease, found.data, f"{store.uri}/{path(cycle)}")


def _content(lease: Lease) -> bytes:
    return to_json(lease.model_dump(mode="json"))


def _held(cycle: Owned, lease: Lease | None) -> CycleHeld:
    if lease is None:
        found = "its lock object gone"
    else:
        found = f"it held by {lease.owner} since {lease.since:%Y-%m-%d %H:%M:%S} UTC, until {lease.expires:%H:%M:%S}"
    what = f"cycle {cycle.key}" if isinstance(cycle, Cycle) else "the scores"
    return CycleHeld(
        f"{what} of system {cycle.system} for this run alone", found=found, where=path(cycle),
        action="wait for that run to end; if it is dead, its lease expires by itself",
    )  # fmt: skip
