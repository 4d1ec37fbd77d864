"""What of a system's past is removed and what is kept, and why: first as a plan, then done.

Never removed: the cycle that ``latest.json`` names, the newest published one, the newest that is not degraded, one that
is pinned or held, one that a run is at. An edition goes in two steps: its manifest, which takes it from readers' sight,
and once those who were reading it have had ``reading_hours``, its objects, like those of any revision without a
manifest. Killed anywhere, the next housekeeping goes on. Scores of days beyond the newest ``scores_days`` go in two
steps as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import groupby
from typing import NamedTuple

from pipeline import publish
from pipeline.cycle import Cycle, from_key
from pipeline.errors import CycleHeld, StoreError
from pipeline.operations import pins
from pipeline.record import journal, judgement, lock
from pipeline.record import shelf as shelves
from pipeline.record.journal import Event, Note
from pipeline.record.latest import latest
from pipeline.record.lock import Owned, Scores
from pipeline.record.shelf import Shelf
from pipeline.scoring.scoreboard import ROOT, Board, hide
from pipeline.store import Store
from pipeline.systems import Retention, System


class What(StrEnum):
    """What can be removed of a cycle."""

    SIGHT = "edition, from readers' sight"
    EDITION = "edition, its objects"
    STATE = "state of a run"
    RECORDS = "journal and scores"
    SCORES_SIGHT = "scores of old days, from readers' sight"
    SCORES = "scores of old days, their objects"


BOARDS = "scores"
"""In the place of a cycle: what is of the scoreboards."""
SIGHTS = (What.SIGHT, What.SCORES_SIGHT)
"""What frees nothing yet."""


class Removal(NamedTuple):
    """One thing to be removed. ``seen``: the version of what it was decided from; other by then, it is not removed.

    ``first``: of a board, the valid time from which its scores are kept.
    """

    what: What
    cycle: str
    revision: int | None
    paths: tuple[str, ...]
    why: str
    size_bytes: int
    objects: int
    seen: str = ""
    first: datetime | None = None


class Kept(NamedTuple):
    """One thing that is kept, and why."""

    cycle: str
    revision: int | None
    why: str


def _freed(removals: Iterable[Removal]) -> int:
    """Bytes that are free by removals: what only leaves readers' sight lies there for a while more."""
    return sum(item.size_bytes for item in removals if item.what not in SIGHTS)


class Plan(NamedTuple):
    """What housekeeping would do to a system's past."""

    system: str
    moment: datetime
    removals: tuple[Removal, ...]
    kept: tuple[Kept, ...]

    @property
    def freed_bytes(self) -> int:
        """Bytes that are free once the plan is done."""
        return _freed(self.removals)


class Done(NamedTuple):
    """What was removed, and what was not after all."""

    removed: tuple[Removal, ...]
    kept: tuple[Kept, ...]

    @property
    def freed_bytes(self) -> int:
        """Bytes that are free by it."""
        return _freed(self.removed)


Hold = Callable[[Owned], AbstractContextManager[Store]]
"""Holds a cycle, or a system's scores, like a run does and gives the store to change it by; ``CycleHeld`` where a run
is at it."""


class _Past(NamedTuple):
    """What all decisions on a system are made from."""

    store: Store
    system: System
    moment: datetime
    shelves: Sequence[Shelf]
    shielded: Mapping[tuple[str, int], str]

    @property
    def policy(self) -> Retention:
        return self.system.retention

    def before(self, **ago: float) -> datetime:
        """The moment that was so long ago."""
        return self.moment - timedelta(**ago)


def plan(store: Store, system: System, moment: datetime) -> Plan:
    """What is to be removed of a system at a moment, and what is kept; changes nothing."""
    found = shelves.shelves(store, system.name)
    past = _Past(store, system, moment, found, _shielded(store, system, found))
    decisions = [decision for index in range(len(found)) for decision in _decide(past, index)]
    decisions += _old_scores(past)
    return Plan(
        system.name, moment, tuple(item for item in decisions if isinstance(item, Removal)),
        tuple(item for item in decisions if isinstance(item, Kept)),
    )  # fmt: skip


def apply(store: Store, wanted: Plan, who: str, hold: Hold) -> Done:
    """Remove what a plan says, cycle by cycle, each held meanwhile; what has changed since the plan is kept.

    What frees bytes goes first: what only leaves readers' sight needs room for an entry in the journal.
    """
    removed, kept = list[Removal](), list[Kept]()
    groups = [(key, tuple(items)) for key, items in groupby(wanted.removals, key=lambda item: item.cycle)]
    for key, group in sorted(groups, key=lambda pair: _freed(pair[1]) == 0):
        try:
            owned = Scores(wanted.system) if key == BOARDS else from_key(wanted.system, key)
            with hold(owned) as ours:
                outcome = (_remove(ours, owned, group, wanted.moment, who) if isinstance(owned, Cycle)
                           else _remove_scores(ours, group, wanted.moment))  # fmt: skip
        except CycleHeld as error:
            outcome = Done((), (Kept(key, None, str(error)),))
        removed += outcome.removed
        kept += outcome.kept
    return Done(tuple(removed), tuple(kept))


def _shielded(store: Store, system: System, found: Sequence[Shelf]) -> dict[tuple[str, int], str]:
    """Editions that are never removed, by cycle and revision, each with the reason."""
    newest = [shelf for shelf in reversed(found) if shelf.published is not None]
    shield = {(shelf.cycle.key, shelf.published or 0): f"among the {system.retention.keep_newest} newest"
              for shelf in newest[: system.retention.keep_newest]}  # fmt: skip
    for shelf in newest:
        about = shelves.head(store, shelf.cycle, shelf.published or 0)
        if about is not None and not about.degraded:
            shield.setdefault((shelf.cycle.key, shelf.published or 0), "the newest that is not degraded")
            break
    named = latest(store, system.name)
    if named is not None:
        shield[named.cycle, named.revision] = "latest.json names it"
    return shield


def _decide(past: _Past, index: int) -> Iterator[Removal | Kept]:
    """Every decision on one cycle."""
    shelf = past.shelves[index]
    signs = shelves.signs(past.store, shelf, past.moment)
    reason = _untouchable(past.store, shelf.cycle, shelf.private, signs)
    if reason is not None:
        yield Kept(shelf.cycle.key, None, reason)
        return
    seen = _version(past.store, shelf.cycle)
    for revision, whole in sorted(shelf.editions.items()):
        yield _edition(past, index, revision) if whole else _remains(past, shelf, revision, signs, seen)
    if signs.last < past.before(hours=past.policy.abandoned_hours):
        yield from _state(shelf, seen)
    if not shelf.editions and signs.last < past.before(days=past.policy.records_days):
        yield _records(past, shelf, seen)


def _untouchable(store: Store, cycle: Cycle, private: Mapping[str, int], signs: shelves.Signs) -> str | None:
    """Why nothing of a cycle may be removed, or ``None``."""
    if signs.holder is not None:
        return f"held by {signs.holder}"
    if signs.fault is not None:
        return f"not to be judged: {signs.fault}"
    try:
        return _wanted(store, cycle, private)
    except StoreError as error:
        return f"not to be judged: {error}"


def _wanted(store: Store, cycle: Cycle, private: Mapping[str, int]) -> str | None:
    """Who wants a cycle kept and why, or ``None``."""
    pin = pins.pinned(store, cycle) if pins.path(cycle) in private else None
    if pin is not None:
        return f"pinned by {pin.who}, {pin.when:%Y-%m-%d %H:%M} UTC: {pin.why}"
    held = judgement.held(store, cycle) if judgement.path(cycle) in private else None
    if held is not None and held.kind is judgement.Kind.HELD:
        return f"held by {held.who}, {held.when:%Y-%m-%d %H:%M} UTC: {held.why}"
    return None


def _edition(past: _Past, index: int, revision: int) -> Removal | Kept:
    """The decision on an edition that readers see."""
    shelf, policy = past.shelves[index], past.policy
    key, shield = shelf.cycle.key, past.shielded.get((shelf.cycle.key, revision))
    if shield is not None:
        return Kept(key, revision, shield)
    if revision != shelf.published:
        return _replaced(past, shelf, revision)
    newer = [later for later in past.shelves[index + 1 :] if later.published is not None]
    too_many = policy.keep_at_most is not None and len(newer) >= policy.keep_at_most
    if not too_many and shelf.cycle.start > past.before(days=policy.keep_days):
        return Kept(key, revision, f"not {policy.keep_days:g} days old")
    about = shelves.head(past.store, shelf.cycle, revision)
    if about is None:
        return Kept(key, revision, "its manifest cannot be read")
    if not too_many and about.created > past.before(days=policy.keep_days):
        return Kept(key, revision, f"published less than {policy.keep_days:g} days ago")
    reading = past.before(hours=policy.reading_hours)
    after = shelves.head(past.store, newer[0].cycle, newer[0].published or 0) if newer else None
    if about.created > reading or after is None or after.created > reading:
        return Kept(key, revision, f"may have been the newest to readers within {policy.reading_hours:g} hours")
    why = f"more than {policy.keep_at_most} newer" if too_many else f"published {about.created:%Y-%m-%d}, too old"
    return _out_of_sight(past.store, shelf, revision, about, why)


def _replaced(past: _Past, shelf: Shelf, revision: int) -> Removal | Kept:
    """The decision on a revision that a later one of the same cycle has replaced."""
    key, days = shelf.cycle.key, past.policy.replaced_days
    about = shelves.head(past.store, shelf.cycle, revision)
    later = min(other for other, whole in shelf.editions.items() if whole and other > revision)
    by = shelves.head(past.store, shelf.cycle, later)
    if about is None or by is None:
        return Kept(key, revision, "a manifest cannot be read")
    if by.created > min(past.before(days=days), past.before(hours=past.policy.reading_hours)):
        return Kept(key, revision, f"replaced by r{later} less than {days:g} days ago")
    return _out_of_sight(past.store, shelf, revision, about, f"replaced by r{later} on {by.created:%Y-%m-%d}")


def _out_of_sight(store: Store, shelf: Shelf, revision: int, about: shelves.Head, why: str) -> Removal:
    path = shelves.manifest_path(shelf.cycle, revision)
    found = store.find(path)
    seen = "" if found is None else found.version
    return Removal(What.SIGHT, shelf.cycle.key, revision, (path,), why, about.size_bytes, len(about.objects), seen)


def _remains(past: _Past, shelf: Shelf, revision: int, signs: shelves.Signs, seen: str) -> Removal | Kept:
    """The decision on objects that no reader sees: what was withdrawn, or never finished."""
    key, policy = shelf.cycle.key, past.policy
    hours = policy.reading_hours if signs.withdrawn else policy.abandoned_hours
    what = "withdrawn" if signs.withdrawn else "left unfinished"
    if signs.last > past.before(hours=hours):
        return Kept(key, revision, f"{what} less than {hours:g} hours ago")
    prefix = shelf.cycle.revision_prefix(revision)
    sizes = [size for _, size in past.store.objects(prefix)]
    why = f"{what} {signs.last:%Y-%m-%d %H:%M} UTC"
    return Removal(What.EDITION, key, revision, (prefix,), why, sum(sizes), len(sizes), seen)


def _state(shelf: Shelf, seen: str) -> Iterator[Removal]:
    """Staged fields and restart states that no run needs any more; without an edition, the marks too."""
    parts = ("staged", "restart") if shelf.published is not None else ("staged", "restart", "marks")
    prefixes = tuple(f"{shelf.cycle.run_prefix}/{part}/" for part in parts)
    sizes = [size for path, size in shelf.private.items() if path.startswith(prefixes)]
    if sizes:
        paths = tuple(prefix.rstrip("/") for prefix in prefixes)
        why = "no run needs it any more" if shelf.published is not None else "its run was given up"
        yield Removal(What.STATE, shelf.cycle.key, None, paths, why, sum(sizes), len(sizes), seen)


def _records(past: _Past, shelf: Shelf, seen: str) -> Removal:
    scores = f"{past.system.name}/scores/{shelf.cycle.key}"
    sizes = [size for _, size in past.store.objects(scores)] + list(shelf.private.values())
    why = f"nothing happened for {past.policy.records_days:g} days"
    paths = (scores, shelf.cycle.published_prefix, shelf.cycle.run_prefix)
    return Removal(What.RECORDS, shelf.cycle.key, None, paths, why, sum(sizes), len(sizes), seen)


def _old_scores(past: _Past) -> Iterator[Removal | Kept]:
    """The decisions on each product's board, which is no cycle's."""
    for entry in past.system.products:
        try:
            yield from _old_days(past, Board(past.store, past.system, entry), entry.name)
        except StoreError as error:
            yield Kept(BOARDS, None, str(error))


def _old_days(past: _Past, board: Board, name: str) -> Iterator[Removal]:
    """What goes of a board: objects of days that are out of sight, days that are older than the newest so many."""
    root = past.store.find(f"{board.path}/{ROOT}")
    if root is None:
        return
    hidden = {} if board.kept_from is None else board.objects_before(board.kept_from)
    since, most = board.kept_from_since or past.moment, past.policy.scores_days
    if hidden and since <= past.before(hours=past.policy.reading_hours):
        why = f"{name}: of before {board.kept_from:%Y-%m-%d}, as was said {since:%Y-%m-%d %H:%M} UTC"
        yield Removal(What.SCORES, BOARDS, None, tuple(hidden), why, sum(hidden.values()), len(hidden), root.version)
    first = board.first_wanted
    leaving = [day for day in board.days if first is not None and day < first]
    if first is not None and leaving:
        sizes = [size for path, size in board.objects_before(first).items() if path not in hidden]
        why = f"{name}: {len(leaving)} days older than the newest {most}"
        yield Removal(What.SCORES_SIGHT, BOARDS, None, (f"{board.path}/{ROOT}",), why, sum(sizes), len(sizes),
                      root.version, first)  # fmt: skip


def _remove_scores(store: Store, items: Sequence[Removal], moment: datetime) -> Done:
    """Remove what was planned for the boards, which are ours now; what was scored meanwhile waits for the next time."""
    removed, kept = list[Removal](), list[Kept]()
    for item in items:
        path = "/".join(item.paths[0].split("/")[:4])  # SYSTEM/scores/scores.zarr/PRODUCT
        found = store.find(f"{path}/{ROOT}")
        if found is None or found.version != item.seen:
            kept.append(Kept(BOARDS, None, f"{path} changed since the plan"))
        elif item.first is not None:
            hide(store, path, item.first, moment)
            removed.append(item)
        else:
            for gone in item.paths:
                store.delete(gone)
            removed.append(item)
    return Done(tuple(removed), tuple(kept))


def _remove(store: Store, cycle: Cycle, items: Sequence[Removal], moment: datetime, who: str) -> Done:
    """Remove what was planned for a cycle that is ours now, unless it is another by now."""
    reason = _changed(store, cycle, items)
    if reason is not None:
        return Done((), (Kept(cycle.key, None, reason),))
    for item in sorted(items, key=lambda item: item.what in SIGHTS):
        if item.what is What.SIGHT:
            words = f"r{item.revision} taken from readers' sight: {item.why}"
            journal.note(store, cycle, Note(when=moment, event=Event.WITHDRAWN, who=who, words=words))
        for path in item.paths:
            store.delete(path)
    if not store.objects(cycle.published_prefix):
        store.delete(cycle.published_prefix)  # of a folder, what is left of it
    if publish.published(store, cycle) is None:
        store.delete(lock.path(cycle))  # last: until then no run begins
    return Done(tuple(items), ())


def _changed(store: Store, cycle: Cycle, items: Sequence[Removal]) -> str | None:
    """Why nothing may be removed of a cycle after all, or ``None``: looked at again while it is held."""
    named, journal_version = latest(store, cycle.system), _version(store, cycle)
    if pins.pinned(store, cycle) is not None:
        return "pinned since the plan"
    for item in items:
        if item.what is What.SIGHT:
            found = store.find(*item.paths)
            if found is None or found.version != item.seen:
                return "its manifest changed since the plan"
            if named is not None and (named.cycle, named.revision) == (cycle.key, item.revision):
                return "latest.json names it since the plan"
        elif journal_version != item.seen:
            return "something happened to it since the plan"
        elif item.what is What.EDITION and store.exists(shelves.manifest_path(cycle, item.revision or 0)):
            return "published since the plan"
        elif item.what is What.RECORDS and store.objects(cycle.published_prefix):
            return "there is an edition since the plan"
    return None


def _version(store: Store, cycle: Cycle) -> str:
    """The version of a cycle's journal; empty without one."""
    found = store.find(journal.path(cycle))
    return "" if found is None else found.version
