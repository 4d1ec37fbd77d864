"""``goms incident``: the archive of a cycle, written where the operator says."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import typer

from flows import clock
from pipeline import systems
from pipeline.errors import StoreError, UsageError
from pipeline.operations import incident
from pipeline.operations.incident import Members
from pipeline.settings import Settings, secrets
from pipeline.store import Store

STORE_SECONDS = 30.0
"""Patience with a store that does not answer: what the machine itself says is packed all the same."""


def pack(day: str, system: str, store: str | None, out: Path | None) -> None:
    """Pack what is known of a cycle and say where it is."""
    settings, moment = Settings(), clock.now()
    cycle = clock.cycle_of(systems.system(system), day)
    root = f"goms-incident-{system}-{cycle.key}"
    logs = {"log.jsonl": settings.scratch / "logs" / system / f"{cycle.key}.jsonl",
            "tracebacks.log": settings.scratch / "tracebacks.log"}  # fmt: skip
    members = incident.of_machine(settings.model_dump(mode="json"), logs)
    try:
        members |= incident.of_store(Store(store or settings.store, patience_seconds=STORE_SECONDS), cycle, moment)
    except StoreError as error:
        members["store.unreadable.txt"] = f"{error}\n".encode()
    members["README.txt"] = _contents(root, members, f"{moment:%Y-%m-%d %H:%M:%S} UTC")
    content = incident.pack(members, root, secrets(), moment)
    path = _written(content, f"{root}.tar.gz", out, settings.scratch)
    typer.echo(f"{path}: {len(members)} files, secrets hidden")


def _written(content: bytes, name: str, out: Path | None, scratch: Path) -> Path:
    """Write it as asked for, else where the command is typed, and where nobody may write there to the scratch folder.

    So it is in a container, whose root is read-only.
    """
    path = out or Path(name)
    try:
        path.write_bytes(content)
    except OSError as error:
        if out is None:
            with suppress(OSError):  # then it cannot be written there either, which is said
                scratch.mkdir(parents=True, exist_ok=True)
            return _written(content, name, scratch.absolute() / name, scratch)
        raise UsageError(
            "a file to write the archive to", found=f"{error.strerror}", where=str(path),
            action="name another one by --out",
        ) from error  # fmt: skip
    return path


def _contents(root: str, members: Members, moment: str) -> bytes:
    sizes = (f"{len(content):>10}  {name}" for name, content in sorted(members.items()))
    lines = [f"{root}, packed {moment}", "", *sizes]
    lines += ["", "What names a secret of the environment is replaced by [hidden].",
              "journal.json: what happened, in order. status.json: how all stood when this was packed."]  # fmt: skip
    return ("\n".join(lines) + "\n").encode()
