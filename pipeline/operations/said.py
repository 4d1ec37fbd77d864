"""What a watch has said already, so that it says each thing once: kept in the store."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from pipeline.operations.alerts import Alert
from pipeline.store import Store, parsed, to_json


class Sent(BaseModel):
    """One alert that was said: of which cycle, when first, and whom it has reached."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    cycle: str | None
    when: datetime
    reached: tuple[str, ...] = ()


class Said(BaseModel):
    """What a watch has said of a system by each alert's key, and when it looked last."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    looked: datetime | None = None
    sent: Mapping[str, Sent] = {}

    def of(self, cycle: str | None) -> tuple[str, ...]:
        """The keys of what was said of a cycle."""
        return tuple(key for key, sent in self.sent.items() if sent.cycle == cycle)

    def told(self, alert: Alert, reached: tuple[str, ...]) -> Said:
        """The same, and this alert with whom it has reached by now."""
        before = self.sent.get(alert.key)
        sent = Sent(cycle=alert.cycle, when=before.when if before else alert.moment, reached=reached)
        return self.model_copy(update={"sent": {**self.sent, alert.key: sent}})

    def without(self, keys: tuple[str, ...]) -> Said:
        """The same without some keys."""
        return self.model_copy(update={"sent": {key: sent for key, sent in self.sent.items() if key not in keys}})

    def over(self, recovery: Alert, subject: Collection[str], everybody: Collection[str]) -> Said:
        """The same after a recovery from ``subject``, alerts' keys: whoever it has reached is to hear of it again.

        When it has reached everybody, nothing is kept of it.
        """
        reached = self.sent[recovery.key].reached
        if set(reached) >= set(everybody):
            return self.without((*subject, recovery.key))
        left = {key: tuple(name for name in self.sent[key].reached if name not in reached) for key in subject}
        kept = {key: self.sent[key].model_copy(update={"reached": names}) for key, names in left.items() if names}
        after = self.without(tuple(subject))
        return after.model_copy(update={"sent": {**after.sent, **kept}})


def recall(store: Store, system: str) -> Said:
    """What was said of a system."""
    found = store.find(path(system))
    return Said() if found is None else parsed(Said, found.data, f"{store.uri}/{path(system)}")


def remember(store: Store, system: str, said: Said) -> None:
    """Keep what was said of a system."""
    store.write_bytes(path(system), to_json(said.model_dump(mode="json")))


def path(system: str) -> str:
    """Where it lies: among what is private."""
    return f"{system}/runs/watch.json"
