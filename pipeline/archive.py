"""Many gridded days as one training Zarr, built day by day and read back at random.

One array per forecaster array, (time, channel, latitude, longitude), float32 rounded to the registry's mantissa
bits, NaN on land: ``ocean``, ``forcing``, and where the system has their grids ``waves``, ``biogeochemistry`` and
``kuroshio`` (the ocean source brought to the fine grid: what the downscaling is to learn). One shard is one day of
one array, one chunk one channel of it: days can be written by several processes and read in any order.
``held`` says for each day whether its data are complete: it is written after them, so that a build that was
killed goes on with the first day that is not held.
"""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import zarr
from numpy.typing import NDArray

from pipeline import archive_layout as layout
from pipeline import channels, forcing, initialise, truth
from pipeline.contracts import InitialState
from pipeline.cycle import cycle
from pipeline.errors import InputRefused, InputUnavailable
from pipeline.precision import round_mantissa
from pipeline.provenance import degradations, records
from pipeline.systems import System
from pipeline.systems import system as system_named
from pipeline.variables import Kind, variable

Progress = Callable[[int, int, str], None]
"""Called after each day with the days done, the days to do, and a sentence about the day."""


class Built(NamedTuple):
    """What a build left: days now held, and why each missing day is missing, by date."""

    held: int
    missing: dict[str, str]


class Task(NamedTuple):
    """One day to be archived: everything a worker process needs to know."""

    system: System
    day: date
    position: int
    out: str
    arrays: tuple[str, ...]
    inputs: str | None
    scratch: Path
    seed: int


class Outcome(NamedTuple):
    """What became of a day: ``missing`` is the reason it is not held, else ``None``."""

    position: int
    day: date
    sources: dict[str, list[str]]
    degraded: tuple[str, ...]
    missing: str | None


def build(
    system: System,
    first_day: date,
    last_day: date,
    out: str,
    *,
    scratch: Path,
    inputs: str | None = None,
    seed: int = 0,
    workers: int = 1,
    arrays: tuple[str, ...] | None = None,
    progress: Progress | None = None,
) -> Built:
    """Ingest, regrid and append every day from ``first_day`` to ``last_day`` (both included) to the Zarr at ``out``.

    Days already held are left alone; days that were missing are tried again. ``out``: a local path. ``arrays``:
    those to be held, all the system has grids for unless given. ``workers`` > 1: that many processes. Raises
    ``UsageError`` where the archive at ``out`` is of something else, ``InputUnavailable`` where no day at all
    could be had.
    """
    names = arrays or layout.arrays_of(system)
    group = layout.opened(system, (first_day, last_day), out, names, {"inputs": inputs or "", "seed": seed})
    state = np.asarray(layout.member(group, "held")[:])
    tasks = [
        Task(system, first_day + timedelta(days=position), position, out, names, inputs, scratch, seed)
        for position in range((last_day - first_day).days + 1)
        if state[position] != layout.HELD
    ]
    for done, outcome in enumerate(_outcomes(tasks, workers), start=1):
        _record(group, outcome)
        if progress is not None:
            progress(done, len(tasks), f"{outcome.day:%Y-%m-%d}: {outcome.missing or 'held'}")
    return _built(group, system, (first_day, last_day))


def _built(group: zarr.Group, system: System, span: tuple[date, date]) -> Built:
    built = Built(
        int((np.asarray(layout.member(group, "held")[:]) == layout.HELD).sum()),
        dict(layout.attribute(group, "missing")),
    )
    if not built.held:
        raise InputUnavailable(
            f"at least one day of {span[0]}..{span[1]}",
            found=f"none; the first: {next(iter(built.missing.values()))}",
            where=f"the training archive of system {system.name}", action="make the inputs available and build again",
        )  # fmt: skip
    return built


class TrainingArchive:
    """A training Zarr, read day by day: float32 in registry units, (channel, latitude, longitude), NaN on land.

    Days are counted from 0 over the archive's calendar, those that are missing included: ``held`` tells which can
    be read, ``starts`` which of them are followed by enough days to step through. ``channels``: labels by array.
    """

    def __init__(self, path: str, system: System | None = None) -> None:
        """``system``: the registered one the archive names, unless given."""
        self._group = layout.existing(path)
        self.path, self.system = path, system or system_named(str(self._group.attrs["system"]))
        layout.check_same(self._group, self.system, path)
        self.held: NDArray[np.bool_] = np.asarray(layout.member(self._group, "held")[:]) == layout.HELD
        self.days = int(self.held.size)
        self.first_day = layout.first_day(self._group)
        self.channels: dict[str, tuple[str, ...]] = {
            name: tuple(labels) for name, labels in layout.attribute(self._group, "channels").items()
        }

    def date_of(self, day: int) -> date:
        """The calendar date of a day."""
        return self.first_day + timedelta(days=day)

    def index_of(self, when: date) -> int:
        """The day of a calendar date; ``InputUnavailable`` outside the archive."""
        day = (when - self.first_day).days
        if not 0 <= day < self.days:
            raise self._absent(day, f"only {self.first_day}..{self.date_of(self.days - 1)}")
        return day

    def starts(self, steps: int = 1, first: int = 0, last: int | None = None) -> NDArray[np.intp]:
        """The days that are held together with the ``steps`` days after them, all within ``first``..``last``."""
        within = np.zeros(self.days + steps, dtype=bool)
        within[first : self.days if last is None else min(last + 1, self.days)] = True
        within[: self.days] &= self.held
        return np.flatnonzero(np.lib.stride_tricks.sliding_window_view(within, steps + 1).all(axis=1))

    def ocean(self, day: int) -> NDArray[np.float32]:
        """The ocean state of a day."""
        return self.array("ocean", day)

    def waves(self, day: int) -> NDArray[np.float32]:
        """The waves of a day."""
        return self.array("waves", day)

    def biogeochemistry(self, day: int) -> NDArray[np.float32]:
        """The biochemical state of a day."""
        return self.array("biogeochemistry", day)

    def kuroshio(self, day: int) -> NDArray[np.float32]:
        """The surface ocean of a day on the fine grid, from the source itself."""
        return self.array("kuroshio", day)

    def forcing(self, start: int, steps: int) -> NDArray[np.float32]:
        """What a forecast from day ``start`` is given, (steps, channel, latitude, longitude).

        The forcing of the start day under the system's policy (``forcing.path``): never that of later days, which
        a forecast cannot know.
        """
        system, analysis = self.system, self.array("forcing", start)
        when = cycle(system.name, self.date_of(start), system.start_hour).start
        return forcing.path(analysis, when, steps, system.grid, system.forcing_policy)

    def array(self, name: str, day: int) -> NDArray[np.float32]:
        """One array of a day; ``InputUnavailable`` where the day or the array is not held."""
        if not (0 <= day < self.days and self.held[day]):
            missing = layout.attribute(self._group, "missing")
            raise self._absent(day, missing.get(str(self.date_of(day)), "not built yet, or outside of the archive"))
        if name not in self.channels:
            raise self._absent(day, f"no array {name}, only {', '.join(self.channels)}")
        return np.asarray(layout.member(self._group, name)[day], dtype=np.float32)

    def _absent(self, day: int, found: str) -> InputUnavailable:
        return InputUnavailable(
            f"the day {self.date_of(day)}", found=found, where=f"the training archive {self.path}",
            action="build the archive over that day, or choose days from `starts`",
        )  # fmt: skip


def _outcomes(tasks: list[Task], workers: int) -> Iterator[Outcome]:
    """Each day's outcome as it comes; with more than one worker in any order."""
    if workers < 2:
        yield from map(archive_day, tasks)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        futures: list[Future[Outcome]] = [pool.submit(archive_day, task) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _record(group: zarr.Group, outcome: Outcome) -> None:
    """The day's provenance, then its flag: the flag last, because it says that all else is there."""
    day = str(outcome.day)
    sources, degraded, missing = (layout.attribute(group, name) for name in ("sources", "degraded", "missing"))
    missing.pop(day, None)
    if outcome.missing is not None:
        missing[day] = outcome.missing
    if outcome.degraded:
        degraded[day] = list(outcome.degraded)
    for kind, names in outcome.sources.items():
        sources[kind] = sorted({*sources.get(kind, []), *names})
    group.attrs.update({"sources": sources, "degraded": degraded, "missing": dict(sorted(missing.items()))})
    layout.member(group, "held")[outcome.position] = layout.MISSING if outcome.missing is not None else layout.HELD


def archive_day(task: Task) -> Outcome:
    """Bring one day to the archive: its data, not yet its flag. Its scratch folder is removed whatever happens."""
    scratch = task.scratch / f"{task.day:%Y%m%d}"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        fields, state = _fields(task, scratch)
    except (InputUnavailable, InputRefused) as reason:
        return Outcome(task.position, task.day, {}, (), str(reason))
    finally:
        shutil.rmtree(scratch)
    group = zarr.open_group(task.out, mode="r+")
    for name, values in fields.items():
        layout.member(group, name)[task.position : task.position + 1] = _rounded(
            values, layout.channels_of(task.system, name)
        )[None]
    sources: dict[str, list[str]] = {}
    for record in records(state):
        sources.setdefault(record.kind.value, []).append(record.source)
    return Outcome(task.position, task.day, sources, degradations(state), None)


def _fields(task: Task, scratch: Path) -> tuple[dict[str, NDArray[np.float32]], InitialState]:
    """The arrays of a day, and the initial state they are from, with its provenance."""
    system, edge = task.system, truth.Edge(task.inputs, scratch, task.seed)
    when = cycle(system.name, task.day, system.start_hour).start
    heads = tuple(Kind(name) for name in ("waves", "biogeochemistry") if name in task.arrays)
    gridded = {kind: truth.of_kind(system, kind, when, edge) for kind in (Kind.OCEAN, Kind.SURFACE, *heads)}
    state = initialise.initialise(gridded, system, when)
    fields = {name: np.asarray(state[name].values) for name in task.arrays if name != "kuroshio"}
    if "kuroshio" in task.arrays:
        fine = truth.kuroshio(system, when, edge)
        fields["kuroshio"] = np.stack([fine[channel.variable].values for channel in channels.surface_ocean()])
    return fields, state


def _rounded(values: NDArray[np.float32], entries: tuple[channels.Channel, ...]) -> NDArray[np.float32]:
    """A copy with each channel rounded to the precision its variable is published with."""
    copy = np.array(values, dtype=np.float32, order="C")
    for field, channel in zip(copy, entries, strict=True):
        round_mantissa(field, variable(channel.variable).mantissa_bits)
    return copy
