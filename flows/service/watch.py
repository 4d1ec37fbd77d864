"""``goms watch``: a dead man's switch that reads the store alone, and so works when everything else is down.

It looks at every system in service, keeps ``status.json`` fresh, and tells each trouble once, and once that it is
over. A store that does not answer is itself a trouble. Nothing of Prefect is imported here.
"""

from __future__ import annotations

import hashlib
import signal
import sys
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import typer
from pydantic import ValidationError

from flows import clock
from flows.service import notify
from flows.service.notify import Channel
from pipeline import systems
from pipeline.errors import CheckFailed, CycleAlarm, StoreError
from pipeline.operations import alerts, freshness, said
from pipeline.operations.alerts import Alert
from pipeline.operations.freshness import Freshness
from pipeline.operations.said import Said
from pipeline.operations.verdict import CLOSED
from pipeline.scoring import skill
from pipeline.settings import Settings
from pipeline.store import Store
from pipeline.systems import System

STORE_SECONDS = 30.0
"""Patience with a store that does not answer: the next look comes soon enough."""


class Look(NamedTuple):
    """One look at the store: what is not well. ``lost``: why the store could not be read or written."""

    alarms: tuple[Alert, ...]
    lost: StoreError | None = None


def watch(store: str | None, every_seconds: float, once: bool, webhooks: Sequence[str]) -> None:
    """Look, tell, and look again until the process is ended.

    With ``once``: ``CycleAlarm`` (exit 8) where something is not well, ``StoreError`` (exit 6) where the store is lost.
    """
    ended = threading.Event()
    if not once:
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda *_: ended.set())
    while True:
        settings = Settings()
        uri = store or settings.store
        found = look(uri, notify.channels(settings, webhooks), settings)
        _beat(settings)
        _say(found, uri)
        if once:
            _judge(found, uri)
            return
        if ended.wait(every_seconds):
            return


def look(uri: str, channels: Sequence[Channel], settings: Settings) -> Look:
    """Look at every system once, and tell what was not told before: of the store too, that it is lost or back.

    What was told of a lost store is kept on this machine: who has none that lasts uses ``look_at_systems``.
    """
    found = look_at_systems(uri, channels, settings)
    if found.lost is not None:
        _tell_lost(found.lost, uri, channels, settings)
    else:
        _tell_found(uri, channels, settings)
    return found


def look_at_systems(uri: str, channels: Sequence[Channel], settings: Settings) -> Look:
    """The same, but of a lost store nobody is told."""
    alarms, lost = list[Alert](), list[StoreError]()
    try:
        store = Store(uri, patience_seconds=STORE_SECONDS)
        there = _systems(store, settings)
    except StoreError as error:
        return Look((), error)
    for name in there:
        try:
            alarms += _look_at(systems.system(name), store, channels, settings)
        except StoreError as error:
            lost.append(error)
    return Look(tuple(alarms), lost[0] if lost else None)


def _systems(store: Store, settings: Settings) -> list[str]:
    """The systems in a store; ``StoreError`` where there were some and are none: a disk that is not mounted."""
    there, seen = store.folders(""), _aside(store.uri, settings).with_suffix(".seen")
    found = [entry.name for entry in systems.SYSTEMS if entry.name in there]
    if found:
        with suppress(OSError):  # a full disk: then an unmounted store is not noticed, but the watch goes on
            seen.parent.mkdir(parents=True, exist_ok=True)
            seen.touch()
    elif seen.exists():
        raise StoreError(
            "the systems that were in the store", found="none of them", where=store.uri,
            action="see whether the disk is mounted and the address right",
        )  # fmt: skip
    return found


def _look_at(system: System, store: Store, channels: Sequence[Channel], settings: Settings) -> tuple[Alert, ...]:
    """A system's alarms, told; then its ``status.json`` and what was said, written. What is damaged hides no other."""
    moment, after = clock.now(), _recalled_in(store, system)
    alarms, faults = tuple[Alert, ...](), list[CheckFailed]()
    for part in (_cycles, _drifts):
        try:
            found, after = part(system, store, after, channels, settings)
            alarms += found
        except CheckFailed as error:
            faults.append(error)
    found, after = _damages(system, faults, after, channels, settings)
    said.remember(store, system.name, after.model_copy(update={"looked": moment}))
    return alarms + found


def _cycles(
    system: System, store: Store, before: Said, channels: Sequence[Channel], settings: Settings
) -> tuple[tuple[Alert, ...], Said]:  # fmt: skip
    """Alarms of cycles and what is over of them, told; of cycles that are not looked at any more nothing is kept."""
    made = freshness.of(store, system, clock.now())
    alarms = tuple(alerts.alarm(system.name, item, made.as_of, settings.runbook) for item in made.alarms)
    back = tuple(alerts.over_key(system.name, item.cycle) for item in made.alarms)
    after = _tell(alarms, before.without(back), channels)
    for recovery in _over(made, before, settings):
        after = _told_over(recovery, after.of(recovery.cycle), after, channels)
    freshness.publish(store, made)
    gone = {sent.cycle for sent in after.sent.values()} - {item.cycle for item in made.cycles} - {None}
    return alarms, after.without(tuple(key for cycle in gone for key in after.of(cycle)))


def _drifts(
    system: System, store: Store, before: Said, channels: Sequence[Channel], settings: Settings
) -> tuple[tuple[Alert, ...], Said]:  # fmt: skip
    """Skill that left its usual range, told; and that it is back, after which the next drift is news again."""
    found, moment = skill.read(store, system.name), clock.now()
    back = alerts.drifted_back(system.name, moment, settings.runbook)
    if found is not None and found.drifts:
        alarm = alerts.drifted(found, moment, settings.runbook)
        return (alarm,), _tell((alarm,), before.without((back.key,)), channels)
    subject = tuple(key for key in before.of(None) if key.startswith(f"{system.name} skill "))
    return (), _told_over(back, subject, before, channels)


def _damages(
    system: System, found: Sequence[CheckFailed], before: Said, channels: Sequence[Channel], settings: Settings
) -> tuple[tuple[Alert, ...], Said]:  # fmt: skip
    """That what is kept of a system is damaged, told; and that it can be read again."""
    moment, words = clock.now(), "; ".join(map(str, found))
    back = alerts.readable_again(system.name, moment, settings.runbook)
    alarm = alerts.unreadable(system.name, words, moment, settings.runbook)
    if found:
        return (alarm,), _tell((alarm,), before.without((back.key,)), channels)
    return (), _told_over(back, (alarm.key,), before, channels)


def _told_over(recovery: Alert, subject: Iterable[str], before: Said, channels: Sequence[Channel]) -> Said:
    """A recovery from ``subject``, alerts' keys, told where they were; whoever hears of it hears of the next such."""
    told = {key for key in subject if key in before.sent} - {recovery.key}
    if not told and recovery.key not in before.sent:
        return before
    return _tell((recovery,), before, channels).over(recovery, told, [item.name for item in channels])


def _over(made: Freshness, before: Said, settings: Settings) -> Iterable[Alert]:
    """The recoveries: of cycles that an alarm was told of, and that need nobody any more."""
    for item in made.cycles:
        if item.verdict in CLOSED and before.of(item.cycle):
            yield alerts.recovery(made.system, item, made.as_of, settings.runbook)


def _tell(found: Iterable[Alert], before: Said, channels: Sequence[Channel]) -> Said:
    """Send what has not reached everybody yet; what fails is tried again at the next look."""
    after = before
    for alert in found:
        sent = after.sent.get(alert.key)
        reached = sent.reached if sent else ()
        if sent is None:
            typer.echo(alerts.text(alert))
        arrived = [item.name for item in channels if item.name not in reached and notify.deliver(alert, item)]
        after = after.told(alert, (*reached, *arrived))
    return after


def _tell_lost(error: StoreError, uri: str, channels: Sequence[Channel], settings: Settings) -> None:
    path, alert = _aside(uri, settings), alerts.store_lost(str(error), clock.now(), settings.runbook)
    before = _recalled(path)
    after = _tell((alert,), before.without((alerts.store_found(alert.moment, "").key,)), channels)
    _remember(path, after)


def _tell_found(uri: str, channels: Sequence[Channel], settings: Settings) -> None:
    path = _aside(uri, settings)
    if not path.exists():
        return
    before, alert = _recalled(path), alerts.store_found(clock.now(), settings.runbook)
    after = _tell((alert,), before, channels)
    if set(after.sent[alert.key].reached) >= {item.name for item in channels}:
        path.unlink()
    else:
        _remember(path, after)


def _recalled_in(store: Store, system: System) -> Said:
    """What was said of a system; nothing where that is damaged: then it is said again."""
    try:
        return said.recall(store, system.name)
    except CheckFailed as error:
        typer.echo(f"goms: what was told of {system.name} is told again: {error}", err=True)
        return Said()


def _recalled(path: Path) -> Said:
    """What was said of a lost store; nothing where that was never kept, or not whole: then it is said again."""
    try:
        return Said.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return Said()


def _remember(path: Path, after: Said) -> None:
    """Keep what was said. A disk that takes nothing ends no watch: the next look says it again."""
    new = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(after.model_dump_json(), encoding="utf-8")
        new.replace(path)
    except OSError as error:
        typer.echo(f"goms: what was told of the store cannot be kept in {path.parent}: {error.strerror}", err=True)


def _aside(uri: str, settings: Settings) -> Path:
    """Where it is remembered that a store was lost: on this machine, for the store cannot take it."""
    return settings.scratch / "watch" / f"{hashlib.sha256(uri.encode()).hexdigest()[:16]}.json"


def _beat(settings: Settings) -> None:
    """Tell whoever watches the watch that it has looked."""
    if settings.alert_heartbeat is not None:
        receiver = notify.Webhook(settings.alert_heartbeat.get_secret_value())
        fault = receiver.post({"service": "goms", "looked": clock.now().isoformat()})
        if fault is not None:
            typer.echo(f"goms: the heartbeat did not reach the {receiver.name}: {fault}", err=True)


def _say(found: Look, uri: str) -> None:
    moment = f"{clock.now():%Y-%m-%d %H:%M:%S} UTC"
    if found.lost is not None:
        print(f"{moment}  the store is lost: {found.lost}", file=sys.stderr)
    else:
        words = "; ".join(alarm.headline for alarm in found.alarms) or "all well"
        typer.echo(f"{moment}  {uri}: {words}")


def _judge(found: Look, uri: str) -> None:
    if found.lost is not None:
        raise found.lost
    if found.alarms:
        raise CycleAlarm(
            "every promised cycle on time", found="; ".join(alarm.headline for alarm in found.alarms), where=uri,
            action=f"begin with: {found.alarms[0].command}",
        )  # fmt: skip
