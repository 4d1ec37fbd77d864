"""What readers' commands do and say: ``goms check``, ``goms export``, ``goms catalogue``."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from flows import clock
from flows.progress import readable
from flows.screen import say
from pipeline import signature, systems
from pipeline.errors import CheckFailed, UsageError
from pipeline.readers import catalogue as catalogues
from pipeline.readers import check as checking
from pipeline.readers import export as exporting
from pipeline.readers import public
from pipeline.readers.public import Published
from pipeline.readers.subset import Subset
from pipeline.settings import Settings
from pipeline.store import Store

TOLD = 50
"""Damages and documents that are told one by one."""
_DAY = re.compile(r"latest|today|yesterday|\d{4}-\d{2}-\d{2}|\d{8}T\d{2}")


def found(where: str, system: str | None, cycle: str | None, store: str | None, *, own_keys: bool) -> Published:
    """The edition a reader means: by its address, or a day of the own store, which is read with the own keys."""
    if not _DAY.fullmatch(where):
        return public.find(where, system=system, cycle=cycle, signed=own_keys)
    if cycle is not None and where != "latest":
        raise UsageError("one start", found=f"{where} and --cycle {cycle}", where="the command", action="name it once")
    name = system or systems.SYSTEMS[0].name
    entry = systems.system(name)
    key = cycle if where == "latest" else where if "T" in where else clock.cycle_of(entry, where).key
    return public.find(store or Settings().store, system=name, cycle=key, signed=True)


def check(edition: Published, public_key: str | None, *, quick: bool, values: bool) -> None:
    """Say what was found; ``CheckFailed`` unless it is whole."""
    key = None if public_key is None else signature.read_public_key(public_key)
    report = checking.check(edition, public_key=key, quick=quick, values=values)
    for damage in report.damages[:TOLD]:
        say(f"{damage.kind.value:<8} {damage.path}: {damage.words}")
    for note in report.notes:
        say(f"note: {note}")
    if not report.whole:
        counts = Counter(damage.kind.value for damage in report.damages)
        raise CheckFailed(
            "the edition as it was published", found=", ".join(f"{count} {kind}" for kind, count in counts.items())
            + f", first {report.damages[0].path}", where=report.address,
            action="do not use it: take another cycle, and tell the publisher",
        )  # fmt: skip
    assert report.manifest is not None
    manifest = report.manifest
    ocean = "" if manifest.real_ocean else ", synthetic twin: not the real ocean"
    say(f"{'present' if quick else 'whole'}: {manifest.system} {manifest.cycle} r{manifest.revision}{ocean}: "
         f"{report.objects} objects, {readable(report.size_bytes)}, {report.address}")  # fmt: skip
    for reason in manifest.degraded_reasons:
        say(f"degraded: {reason}")


def subset(variables: str | None, box: str | None, depths: str | None, leads: str | None) -> Subset:
    """What part of a product a reader asks for; ``UsageError`` where it cannot be meant."""
    edges = None if box is None else tuple(_number(item, "--box") for item in box.split(","))
    if edges is not None and len(edges) != 4:
        raise UsageError("SOUTH,NORTH,WEST,EAST", found=repr(box), where="--box", action="type it like 30,45,-20,10")
    return Subset(
        variables=None if variables is None else tuple(name.strip() for name in variables.split(",")),
        box=edges, depths=_choice(depths, "--depths"), leads=_choice(leads, "--leads"),
    )  # fmt: skip


def export(edition: Published, product: str, layout: str, out: Path | None, part: Subset) -> None:
    """Write a product in another format and say where."""
    if layout not in exporting.FORMATS:
        raise UsageError(
            "a format", found=repr(layout), where="--format", action=f"choose one of {', '.join(exporting.FORMATS)}"
        )
    manifest = edition.manifest
    suffix = {"netcdf": ".nc", "zarr2": ".zarr", "oceanbench": "-oceanbench.zarr"}[layout]
    path = out or Path(f"goms-{manifest.system}-{manifest.cycle}-r{manifest.revision}-{product}{suffix}")
    say(str(exporting.export(edition, product, path, layout, part)))


def catalogue(system: str, store: str | None) -> None:
    """Make a system's catalogue and feed say what is published; print what was written and what is left out."""
    entry, opened, left_out = systems.system(system), Store(store or Settings().store), list[str]()
    changed = catalogues.refresh(opened, entry, left_out.append)
    there = [path for path, _ in opened.objects(catalogues.prefix(system))]
    for path in changed[:TOLD]:
        say(f"{'written' if path in there else 'removed'} {path}")
    if len(changed) > TOLD:
        say(f"and {len(changed) - TOLD} more")
    for words in left_out:
        say(f"left out: {words}")
    told = f"{len(there)} documents, {len(changed)} changed" if there else "nothing is published: no catalogue"
    say(f"{system}: {told}, {opened.address(catalogues.prefix(system))}")


def _choice(text: str | None, option: str) -> tuple[float, ...] | slice | None:
    """Numbers by comma, or a span ``FROM:TO``."""
    if text is None:
        return None
    if ":" in text:
        first, _, last = text.partition(":")
        return slice(_number(first, option) if first else None, _number(last, option) if last else None)
    return tuple(_number(item, option) for item in text.split(","))


def _number(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise UsageError("numbers", found=repr(text), where=option, action="type them like 0,10,100") from error
