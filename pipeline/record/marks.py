"""What is done: a stage's mark says from which inputs it made which outputs. It lives in the store, not in a cache."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.cycle import Cycle
from pipeline.store import ObjectRecord, Store, to_json

STAGES = ("ocean", "surface", "waves", "biogeochemistry", "forcing", "initialise", "forecast", "quicklooks", "series",
          "publish")  # fmt: skip
"""The stages that leave a mark, in order."""


class Mark(BaseModel):
    """A stage that was completed: the digest of its inputs, and every object it made."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    stage: str
    inputs_digest: str
    outputs: tuple[ObjectRecord, ...]

    @property
    def outputs_digest(self) -> str:
        """SHA-256 over the outputs' records: what the next stage's inputs are made of."""
        return digest(*(f"{item.path} {item.size_bytes} {item.sha256}" for item in self.outputs))


def digest(*parts: str) -> str:
    """SHA-256 of some texts, in order; their boundaries count."""
    return hashlib.sha256(to_json(list(parts))).hexdigest()


def mark(store: Store, cycle: Cycle, stage: str, inputs_digest: str, outputs: Iterable[ObjectRecord]) -> Mark:
    """Record that a stage is done. Outputs are sorted by path."""
    made = Mark(stage=stage, inputs_digest=inputs_digest, outputs=tuple(sorted(outputs, key=lambda item: item.path)))
    store.write_json(_path(cycle, stage), made.model_dump(mode="json"))
    return made


def marked(store: Store, cycle: Cycle, stage: str, inputs_digest: str) -> Mark | None:
    """The stage's mark, if it was made from these very inputs and its outputs are there with the recorded sizes."""
    found = recorded(store, cycle, stage)
    if found is None or found.inputs_digest != inputs_digest:
        return None
    whole = all(store.size(item.path) == item.size_bytes for item in found.outputs)
    return found if whole else None


def recorded(store: Store, cycle: Cycle, stage: str) -> Mark | None:
    """The stage's mark as it lies there, whatever it was made from; an unreadable one is none."""
    found = store.find(_path(cycle, stage))
    if found is None:
        return None
    try:
        return Mark.model_validate_json(found.data)
    except ValidationError:
        return None


def unmark(store: Store, cycle: Cycle, stage: str) -> None:
    """Forget that a stage was done."""
    store.delete(_path(cycle, stage))


def _path(cycle: Cycle, stage: str) -> str:
    return f"{cycle.run_prefix}/marks/{stage}.json"
