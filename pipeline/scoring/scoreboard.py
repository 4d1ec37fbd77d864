"""All scores of a system in one place that any Zarr reader opens: ``<system>/scores/scores.zarr/<product>``.

Dimensions: valid_time x lead_day x by x channel x region. Zarr and not Parquet: it is what everything else here is, it
is appended to without reading what is there, and a day of an analysis, with every forecast that is valid then, is one
chunk of each array: one day's verification writes some ten objects and nothing is ever rewritten but the list of days.
The moments are kept (``metrics``), for they add up: RMSE over a month is the root of the mean of ``mean_square_error``.

Days are in the order in which they were scored; ``sortby("valid_time")``. What was not forecast is NaN; ``revision`` is
0 there. A chunk is put before the list says that its day is there, so that a killed run leaves no half a day. Exactly
one process adds at a time: ``record.lock.Scores``.

A system with 30 lead days, 15 depths and the regions of the globe adds 2.6 MB of scores a day on any grid, a gigabyte
in about a year (``tests.benchmarks.scores_room``). The newest days are kept, as many as ``Retention.scores_days`` says.
A board stays one Zarr under one name, days keep their places: the attribute ``kept_from`` says from which valid time on
there are scores, and only ``reading_hours`` after it was written the objects of the days before are removed: they are
NaN then, as what was never forecast is.

A board goes on with the regions it began with, and takes those that came since behind them, in chunks of their own:
nothing that is there is rewritten, and the new regions are NaN on the days before. What else changed is refused.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec
from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.errors import ZarrUserWarning
from zarr.storage import MemoryStore

from pipeline.errors import StoreError
from pipeline.objects.opened import opened
from pipeline.output_gate import channels_of
from pipeline.products import ProductEntry
from pipeline.scoring import metrics, regions
from pipeline.shards import COMPRESSION
from pipeline.store import Store, to_json
from pipeline.systems import System
from pipeline.variables import EASTWARD_VELOCITY, variable

FOLDER, ROOT = "scores.zarr", "zarr.json"
KEPT = ("kept_from", "kept_from_since")
"""Attributes: the valid time from which scores are kept, and when that was said."""
CODECS = (COMPRESSION, Crc32cCodec())
"""A chunk that is not as it was put does not decode."""
DAYS_A_CHUNK = 4096
"""The list of days is one object for eleven years."""
EPOCH = np.datetime64("1950-01-01T00:00:00", "s")
OF_ALL = ("truth_anomaly_variance", "weight", "truth_kinetic_energy", "energy_weight")
"""Moments that all forecasts of a day share."""
OF_EACH = ("mean_square_error", "bias", "anomaly_variance", "anomaly_covariance", "kinetic_energy")
"""Moments of each forecast and of its rivals."""


class Scored(NamedTuple):
    """One forecast at one lead day: which edition, by what forecaster (``identity``), and its moments."""

    lead_day: int
    revision: int
    forecaster: int
    moments: xr.Dataset


class Board:
    """The scores of one product of a system. Whoever adds to it holds ``record.lock.Scores``."""

    def __init__(self, store: Store, system: System, entry: ProductEntry) -> None:
        self._store, self._system, self._entry = store, system, entry
        self.path = f"{system.name}/scores/{FOLDER}/{entry.name}"
        self._places = tuple(item.name for item in regions.of(system.product_grid(entry)))
        self._days, self._chunked, self._grown = list[datetime](), len(self._places), True
        self._codecs: Sequence[Any] = CODECS
        self.kept_from: datetime | None = None
        self.kept_from_since: datetime | None = None
        if store.exists(f"{self.path}/{ROOT}"):
            with self.readable():
                self._go_on(self.opened())
        self._shapes = _shapes(system, entry, len(self._places))

    @property
    def days(self) -> tuple[datetime, ...]:
        """The valid times there are scores of, in the order they came in."""
        return tuple(day for day in self._days if self.kept_from is None or day >= self.kept_from)

    @property
    def first_wanted(self) -> datetime | None:
        """The oldest valid time that retention wants, or ``None`` while there is room for any."""
        newest = sorted(self.days)[-self._system.retention.scores_days :]
        return newest[0] if len(newest) == self._system.retention.scores_days else self.kept_from

    def takes(self, valid: datetime) -> bool:
        """Whether a valid time's scores are kept here: those older than what is kept never come back."""
        return self.first_wanted is None or valid >= self.first_wanted

    def revisions(self, valid: datetime) -> dict[int, int]:
        """The revision that was scored, by lead day, of the forecasts valid then."""
        if valid not in self.days:
            return {}
        found = self._chunk("revision", self._days.index(valid))
        return {int(lead): int(number) for lead, number in enumerate(found, start=1) if number}

    def add(self, valid: datetime, scored: Iterable[Scored]) -> None:
        """Put the scores of one valid time, beside those of it that are there."""
        there, place = valid in self._days, self._days.index(valid) if valid in self._days else len(self._days)
        fields = {name: self._chunk(name, place) if there else _empty(shape[1:], kind)
                  for name, (_, shape, kind) in self._shapes.items()}  # fmt: skip
        for one in scored:
            self._place(fields, one)
        days = self._days if there else [*self._days, valid]
        objects = self._encoded(days, place, fields)
        for path in sorted(objects, key=_order):
            if self._grown or _of_days(path, self._shapes):
                self._store.write_bytes(f"{self.path}/{path}", objects[path])
        self._days, self._grown = days, False

    def objects_before(self, first: datetime) -> dict[str, int]:
        """Paths and bytes of what there is of the days before a valid time."""
        old = {place for place, day in enumerate(self._days) if day < first}
        found = dict(self._store.objects(self.path)) if old else {}
        return {path: size for path, size in found.items() if self._place_of(path) in old}

    def place(self, valid: datetime) -> int:
        """Where a valid time is along ``valid_time``."""
        return self._days.index(valid)

    def opened(self) -> xr.Dataset:
        """Everything, lazily."""
        return opened(self._store, self.path)

    @contextmanager
    def readable(self) -> Iterator[None]:
        """What Zarr and its codecs say of damaged objects, as a ``StoreError``."""
        try:
            yield
        except (OSError, ValueError, KeyError, RuntimeError) as trouble:
            raise StoreError(
                "a whole board of scores", found=f"{type(trouble).__name__}: {trouble}",
                where=self._store.address(self.path), action="restore it from a copy, or delete it: the next "
                "verification begins it anew, from the forecasts that are still published",
            ) from trouble  # fmt: skip

    def _go_on(self, there: xr.Dataset) -> None:
        """Take up the board that is there, its own regions first; ``StoreError`` where the rest is not today's."""
        for name, (values, _) in _coordinates(self._system, self._entry, [], ()).items():
            found = there[name].values.tolist() if name in there.variables else None
            if name not in ("valid_time", "region") and found != values.tolist():
                raise StoreError(
                    f"scores by {name} {_few(values.tolist())}, as the system {self._system.name} has it",
                    found=_few(found), where=self._store.address(self.path),
                    action="move the board away or delete it: the next verification begins it anew, from the forecasts "
                    "that are still published",
                )  # fmt: skip
        before = [str(name) for name in there["region"].values]
        self._grown = not set(self._places) <= set(before)
        self._places = tuple(dict.fromkeys([*before, *self._places]))
        self._chunked = int(there["mean_square_error"].encoding["chunks"][-1])
        self._codecs = there["mean_square_error"].encoding["compressors"]
        seconds = there["valid_time"].values.astype("datetime64[s]").astype(np.int64)
        self._days = [datetime.fromtimestamp(int(second), tz=UTC) for second in seconds]
        self.kept_from, self.kept_from_since = (
            datetime.fromisoformat(there.attrs[name]) if name in there.attrs else None for name in KEPT
        )

    def _place(self, fields: Mapping[str, NDArray[Any]], one: Scored) -> None:
        row = one.lead_day - 1
        fields["revision"][row], fields["forecaster"][row] = one.revision, one.forecaster
        found = one.moments.isel(lead_day=0) if "lead_day" in one.moments.dims else one.moments
        found = found.reindex(region=list(self._places))
        for name, (dims, _, _) in self._shapes.items():
            if name in found:
                fields[name][row] = found[name].transpose(*dims[2:]).values

    def _place_of(self, path: str) -> int | None:
        """Which day an object is of, ``None`` where it is of all."""
        name, _, rest = path.removeprefix(f"{self.path}/").partition("/c/")
        digits = "".join(takewhile(str.isdigit, rest))
        return int(digits) if name in self._shapes and digits else None

    def _chunk(self, name: str, place: int) -> NDArray[Any]:
        """One day of an array; regions that came after it are NaN."""
        dims, shape, _ = self._shapes[name]
        first = f"{name}/c/{place}" + "/0" * (len(dims) - 2)
        objects: dict[str, Buffer] = {}
        array = self._array(zarr.create_group(MemoryStore(objects), zarr_format=3), name, place + 1)
        for part in range(-(-shape[-1] // array.chunks[-1])):
            path = f"{first}/{part}"
            found = self._store.find(f"{self.path}/{path}") if part else None
            data = self._store.read_bytes(f"{self.path}/{path}") if part == 0 else found.data if found else None
            if data is not None:
                objects[path] = default_buffer_prototype().buffer.from_bytes(data)
        with self.readable():
            return np.array(array[place]).reshape(shape[1:])

    def _encoded(self, days: list[datetime], place: int, fields: Mapping[str, NDArray[Any]]) -> dict[str, bytes]:
        """The objects of a day, and all that says what is there."""
        objects: dict[str, Buffer] = {}
        memory = MemoryStore(objects)
        group = zarr.create_group(memory, zarr_format=3, attributes=self._attributes())
        for name, field in fields.items():
            self._array(group, name, len(days))[place] = field
        for name, (values, extra) in _coordinates(self._system, self._entry, days, self._places).items():
            chunk = {"valid_time": DAYS_A_CHUNK, "region": self._chunked}.get(name, len(values))
            _coordinate(group, name, values, extra, chunk)
        with warnings.catch_warnings():  # says that other readers may ignore it, which costs them only time
            warnings.simplefilter("ignore", ZarrUserWarning)
            zarr.consolidate_metadata(memory, zarr_format=3)
        return {path: item.to_bytes() for path, item in objects.items()}

    def _attributes(self) -> dict[str, str]:
        kept = {name: when.isoformat() for name, when in zip(KEPT, (self.kept_from, self.kept_from_since), strict=True)
                if when is not None}  # fmt: skip
        return {"title": f"Scores of the {self._entry.title.lower()}, {self._system.region}",
                "system": self._system.name, "product": self._entry.name, "Conventions": "CF-1.11",
                "comment": (__doc__ or "").partition("\n\n")[2].replace("\n", " ").strip(), **kept}  # fmt: skip

    def _array(self, group: zarr.Group, name: str, days: int) -> zarr.Array[Any]:
        dims, shape, kind = self._shapes[name]
        chunks = (*shape[:-1], self._chunked) if dims[-1] == "region" else shape
        return group.create_array(
            name, shape=(days, *shape[1:]), chunks=chunks, dtype=kind, compressors=self._codecs,
            fill_value=np.nan if kind == "float32" else 0, dimension_names=dims,
            attributes={"coordinates": "variable depth"} if "channel" in dims else {},
            config={"write_empty_chunks": True},
        )  # fmt: skip


def hide(store: Store, path: str, first: datetime, moment: datetime) -> None:
    """Say on the board under a path that scores are kept from a valid time on; the objects of the days before stay."""
    root = store.read_json(f"{path}/{ROOT}")
    root["attributes"] |= dict(zip(KEPT, (first.isoformat(), moment.isoformat()), strict=True))
    store.write_bytes(f"{path}/{ROOT}", to_json(root))


def identity(forecaster: str, digest: str) -> int:
    """A number for a forecaster: its name and the digest of its weights."""
    return zlib.crc32(f"{forecaster} {digest}".encode())


def names_by(entry: ProductEntry) -> tuple[str, ...]:
    """What a product is compared with, itself first."""
    rivals = ("forecast", "persistence", "damped", "climatology")
    return (*rivals, "bicubic") if entry.surface_only else rivals


def _shapes(
    system: System, entry: ProductEntry, places: int
) -> dict[str, tuple[tuple[str, ...], tuple[int, ...], str]]:
    """Each array's dimensions, its chunk (a day) and its type."""
    labels = channels_of(entry.state, system)
    sizes = {"valid_time": 1, "lead_day": system.forecast_days, "by": len(names_by(entry)), "channel": len(labels),
             "region": places,
             "current_depth": sum(label.variable == EASTWARD_VELOCITY.name for label in labels)}  # fmt: skip
    found: dict[str, tuple[tuple[str, ...], str]] = {}
    for name in (*OF_EACH, *OF_ALL):
        currents = name in (*metrics.ENERGIES, "energy_weight")
        if not currents or sizes["current_depth"]:
            by = ("by",) if name in OF_EACH else ()
            row = "current_depth" if currents else "channel"
            found[name] = (("valid_time", "lead_day", *by, row, "region"), "float32")
    found["revision"] = (("valid_time", "lead_day"), "int32")
    found["forecaster"] = (("valid_time", "lead_day"), "uint32")
    return {name: (dims, tuple(sizes[dim] for dim in dims), kind) for name, (dims, kind) in found.items()}


def _coordinates(
    system: System, entry: ProductEntry, days: list[datetime], places: tuple[str, ...]
) -> dict[str, tuple[NDArray[Any], dict[str, Any]]]:
    labels = channels_of(entry.state, system)
    seconds = np.array([day.replace(tzinfo=None) for day in days], dtype="datetime64[s]")
    hours = ((seconds - EPOCH) // np.timedelta64(1, "h")).astype(np.int32)
    deep = [label.depth_m for label in labels if label.variable == EASTWARD_VELOCITY.name]
    texts = {"by": list(names_by(entry)), "region": places, "channel": [label.label for label in labels]}
    made: dict[str, tuple[NDArray[Any], dict[str, Any]]] = {
        "valid_time": (hours, {"units": "hours since 1950-01-01 00:00:00", "calendar": "standard",
                               "standard_name": "time", "long_name": "when the analysis is valid"}),
        "lead_day": (np.arange(1, system.forecast_days + 1, dtype=np.int32), {"units": "day"}),
        "depth": (np.array([0.0 if c.depth_m is None else c.depth_m for c in labels]), {"units": "m",
                                                                                       "positive": "down"}),
        "variable": (np.array([c.variable for c in labels], dtype=object), {
            "units_of": {c.variable: variable(c.variable).units for c in labels}}),
        **{name: (np.array(values, dtype=object), {}) for name, values in texts.items()},
    }  # fmt: skip
    return made | ({"current_depth": (np.array(deep, dtype=np.float64), {"units": "m"})} if deep else {})


def _coordinate(
    group: zarr.Group, name: str, values: NDArray[Any], attributes: dict[str, Any], chunk: int
) -> None:  # fmt: skip
    texts = values.dtype == object
    array = group.create_array(
        name, shape=values.shape, chunks=(chunk,), dtype="string" if texts else values.dtype, attributes=attributes,
        compressors=None, fill_value="" if texts else 0,
        dimension_names=["channel" if name in ("variable", "depth") else name], config={"write_empty_chunks": True},
    )  # fmt: skip
    array[...] = values


def _empty(shape: tuple[int, ...], kind: str) -> NDArray[Any]:
    return np.full(shape, np.nan if kind == "float32" else 0, dtype=kind)


def _of_days(path: str, fields: Iterable[str]) -> bool:
    """Whether an object changes when a day is added: channels, regions and the like never do."""
    return path == ROOT or path.partition("/")[0] in {"valid_time", *fields}


def _order(path: str) -> tuple[bool, ...]:
    """Moments first, then which revision was scored, the list of days, what says how many there are, the root last."""
    return (path == ROOT, "/c/" not in path, path.startswith("valid_time/"), path.startswith("revision/"))


def _few(values: Any) -> str:
    """The first of many values."""
    text = str(values)
    return text if len(text) < 200 else f"{text[:200]}..."
