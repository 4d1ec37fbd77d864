"""What was used, how old it was, and what is degraded: carried from ingest to manifest and Zarr attributes."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from pipeline.addresses import without_account
from pipeline.variables import Kind

if TYPE_CHECKING:  # the settings need these words, and whoever only asks for the settings is in a hurry
    import xarray as xr


class FileRecord(BaseModel):
    """One file that was read: where (readers see it: without an account), how many bytes, and their SHA-256."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    uri: Annotated[str, AfterValidator(without_account)]
    size_bytes: int
    sha256: str


class InputRecord(BaseModel):
    """One or more variables as one source gave them.

    ``rung``: 0 is the first of the ladder. ``age_hours``: forecast start minus ``valid_time``, or minus the last
    observed state that a forecast taken for an input began from.
    ``degraded``: the reason, in a sentence, when this is less than what the system asks for; else ``None``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Kind
    variables: tuple[str, ...]
    source: str
    rung: int
    valid_time: datetime | None
    age_hours: float
    files: tuple[FileRecord, ...] = ()
    note: str = ""
    degraded: str | None = None


def attach(dataset: xr.Dataset, records: tuple[InputRecord, ...]) -> xr.Dataset:
    """The dataset with these records as its ``inputs`` attribute (JSON), which survives Zarr."""
    return dataset.assign_attrs(inputs=json.dumps([json.loads(r.model_dump_json()) for r in records], sort_keys=True))


def records(dataset: xr.Dataset) -> tuple[InputRecord, ...]:
    """The records a dataset carries; ``KeyError`` if none were ever attached."""
    return tuple(InputRecord.model_validate_json(json.dumps(item)) for item in json.loads(dataset.attrs["inputs"]))


def degradations(dataset: xr.Dataset) -> tuple[str, ...]:
    """Every reason for which the dataset is less than was asked for, in ladder order."""
    return tuple(record.degraded for record in records(dataset) if record.degraded)
