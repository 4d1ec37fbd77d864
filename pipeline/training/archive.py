"""Many gridded days as one training Zarr, built day by day and finished with statistics, climatology and manifest.

One array per forecaster array, (time, channel, latitude, longitude), float32 rounded to the registry's mantissa
bits, NaN on land: ``ocean``, and where the system has them ``forcing``, ``waves``, ``biogeochemistry`` and
``kuroshio`` (the ocean source brought to the fine grid: what the downscaling is to learn). One shard is one day of
one array, one chunk one channel of it: days can be written by several processes and read in any order.
``held`` says for each day whether its data are complete: it is written after them, so that a build that was
killed goes on with the first day that is not held.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from datetime import date, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import zarr

from pipeline.errors import InputUnavailable
from pipeline.sources import killable
from pipeline.systems import System
from pipeline.training import archive_contract, archive_statistics
from pipeline.training import archive_layout as layout
from pipeline.training.archive_days import Outcome, Task, archive_day

Progress = Callable[[int, int, str], None]
"""Called after each day with the days done, the days to do, and a sentence about the day."""


class Built(NamedTuple):
    """What a build left: days now held, and why each missing day is missing, by date.

    ``fitted``: those of the held ones that statistics and climatology are of; there are none of fewer than
    ``archive_statistics.LEAST_DAYS``, and no training on the archive.
    """

    held: int
    missing: dict[str, str]
    fitted: int


class Workers(NamedTuple):
    """Who computes: ``processes`` of this machine with ``threads`` each, or the workers of a dask ``scheduler``."""

    processes: int = 1
    threads: int = 1
    scheduler: str | None = None


ONE = Workers()
"""This process alone."""


def build(
    system: System,
    first_day: date,
    last_day: date,
    out: str,
    *,
    scratch: Path,
    inputs: str | None = None,
    seed: int = 0,
    workers: Workers = ONE,
    fit: tuple[date, date] | None = None,
    arrays: tuple[str, ...] | None = None,
    archives: Mapping[str, str] = MappingProxyType({}),
    progress: Progress | None = None,
) -> Built:
    """Ingest, regrid and append every day from ``first_day`` to ``last_day`` (both included) to the Zarr at ``out``.

    Days already held are left alone; days that were missing are tried again. ``out``: a local path, which workers
    must see too. ``arrays``: those to be held, all the system has unless given. ``fit``: the days that statistics and
    climatology are of, and that training may see; all unless given. ``archives``: base addresses by archive name, where
    they are not the documented ones. Raises ``UsageError`` where the archive at ``out`` is of something else or has
    not the days to fit, ``InputUnavailable`` where no day at all could be had.
    """
    out = out.rstrip("/")  # what is unfinished is written beside it, under a name that begins with this one
    names, span = arrays or archive_contract.arrays_of(system), (first_day, last_day)
    contract = archive_contract.contract_of(system, names)
    group = layout.opened(contract, span, out, {"inputs": inputs or "", "seed": seed})
    archive_statistics.days_of(group, fit or span)  # refuses what it has not before any day is built
    first = Task(system, first_day, 0, out, names, inputs, scratch, seed, workers.threads, dict(archives))
    tasks = _tasks(group, first, last_day)
    for done, outcome in enumerate(_outcomes(tasks, workers), start=1):
        _record(group, outcome)
        if progress is not None:
            progress(done, len(tasks), f"{outcome.day:%Y-%m-%d}: {outcome.missing or 'held'}")
    built = _built(group, system, span, fit or span)
    _measured(out, fit or span, workers)
    return built


def _tasks(group: zarr.Group, first: Task, last_day: date) -> list[Task]:
    """Of the days from the first to the last, those that are not held."""
    state = np.asarray(layout.member(group, "held")[:])
    return [
        first._replace(day=first.day + timedelta(days=position), position=position)
        for position in range((last_day - first.day).days + 1)
        if state[position] != layout.HELD
    ]


def _measured(out: str, fit: tuple[date, date], workers: Workers) -> None:
    """What follows from the days that are held: statistics, climatology, manifest."""
    archive_statistics.finish(out, fit, workers.scheduler, workers.threads)
    write_manifest(out)


def _built(group: zarr.Group, system: System, span: tuple[date, date], fit: tuple[date, date]) -> Built:
    built = Built(
        int((np.asarray(layout.member(group, "held")[:]) == layout.HELD).sum()),
        dict(layout.attribute(group, "missing")),
        len(archive_statistics.held_of(group, fit)),
    )
    if not built.held:
        raise InputUnavailable(
            f"at least one day of {span[0]}..{span[1]}",
            found=f"none; the first: {next(iter(built.missing.values()))}",
            where=f"the training archive of system {system.name}", action="make the inputs available and build again",
        )  # fmt: skip
    return built


def manifest_path(out: str) -> Path:
    """Where the manifest of an archive is: beside it."""
    return Path(f"{out.rstrip('/')}.manifest.json")


def write_manifest(out: str) -> None:
    """What the archive holds, day by day, with the SHA-256 of every shard: written whole, beside the archive."""
    group = layout.existing(out)
    arrays, first = layout.attribute(group, "arrays"), layout.first_day(group)
    digests = np.asarray(layout.member(group, "sha256")[:])
    days = {
        str(first + timedelta(days=int(day))): {
            name: bytes(row).hex() for name, row in zip(arrays, digests[day], strict=True)
        }
        for day in _held(group)
    }
    said = ("title", "contract", "inputs", "seed", "statistics", "sources", "degraded", "near_hours", "missing")
    text = json.dumps({**{name: layout.attribute(group, name) for name in said}, "days": days}, indent=1)
    unfinished = manifest_path(out).with_suffix(".new")
    unfinished.write_text(text + "\n", encoding="utf-8")
    unfinished.rename(manifest_path(out))


def _held(group: zarr.Group) -> list[int]:
    return [int(day) for day in np.flatnonzero(np.asarray(layout.member(group, "held")[:]) == layout.HELD)]


def _outcomes(tasks: list[Task], workers: Workers) -> Iterator[Outcome]:
    """Each day's outcome as it comes; with more than one worker in any order."""
    if workers.scheduler is not None:
        yield from _scheduled(tasks, workers.scheduler)
    elif workers.processes < 2:
        yield from map(archive_day, tasks)
    else:
        yield from _processes(tasks, workers.processes)


def _scheduled(tasks: list[Task], scheduler: str) -> Iterator[Outcome]:
    from pipeline import computing

    with computing.on(scheduler, 1):
        from distributed import as_completed as completed
        from distributed import get_client

        for future in completed(get_client().map(archive_day, tasks, pure=False)):  # type: ignore[no-untyped-call]
            yield future.result()


def _processes(tasks: list[Task], processes: int) -> Iterator[Outcome]:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn, initializer=killable.end_with, initargs=(os.getpid(),)) as pool:
        futures: list[Future[Outcome]] = [pool.submit(archive_day, task) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _record(group: zarr.Group, outcome: Outcome) -> None:
    """The day's provenance, then its flag: the flag last, because it says that all else is there."""
    day = str(outcome.day)
    names = ("sources", "degraded", "near_hours", "missing")
    sources, degraded, near, missing = (layout.attribute(group, name) for name in names)
    missing.pop(day, None)
    if outcome.missing is not None:
        missing[day] = outcome.missing
    if outcome.degraded:
        degraded[day] = list(outcome.degraded)
    if outcome.near_hours:
        near[day] = outcome.near_hours
    for kind, told in outcome.sources.items():
        sources[kind] = sorted({*sources.get(kind, []), *told})
    group.attrs.update({"sources": sources, "degraded": degraded, "near_hours": near,
                        "missing": dict(sorted(missing.items()))})  # fmt: skip
    if outcome.missing is None:
        digests = np.stack([np.frombuffer(one, dtype=np.uint8) for one in outcome.sha256])
        layout.member(group, "sha256")[outcome.position : outcome.position + 1] = digests[None]
    layout.member(group, "held")[outcome.position] = layout.MISSING if outcome.missing is not None else layout.HELD
