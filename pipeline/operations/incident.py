"""One archive of everything that is known of a cycle, for whoever must find out what happened: no secret is in it."""

from __future__ import annotations

import gzip
import io
import json
import platform
import re
import tarfile
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from importlib.metadata import distributions
from pathlib import Path
from urllib.parse import quote

from pipeline import systems
from pipeline.cycle import Cycle
from pipeline.errors import GomsError
from pipeline.objects import staged
from pipeline.operations import freshness, headline
from pipeline.record import journal, judgement, lock, marks
from pipeline.store import Store, to_json

LAST_LINES = 2000
"""Lines of a log that are taken, from its end."""
SHORTEST_SECRET = 4
"""Characters below which a secret is not looked for: it would be found in every other word."""
HIDDEN = "[hidden]"

Members = dict[str, bytes]
"""The archive's files by their names."""


def of_store(store: Store, cycle: Cycle, moment: datetime) -> Members:
    """What the store holds of a cycle and of its system; what cannot be read says why in its place."""
    run, made = cycle.run_prefix, Members()
    for name, path in (("journal.json", journal.path(cycle)), ("lock.json", lock.path(cycle)),
                       ("judgement.json", judgement.path(cycle)), ("latest.json", f"{cycle.system}/latest.json"),
                       *((f"marks/{stage}.json", f"{run}/marks/{stage}.json") for stage in marks.STAGES)):  # fmt: skip
        made |= _file(name, partial(_found, store, path))
    made |= _file("objects.txt", lambda: _listing(store, (run, cycle.published_prefix)))
    made |= _file("status.json", lambda: _status(store, cycle, moment))
    made |= _file("manifest.json", lambda: _manifest(store, cycle))
    made |= _file("restart.json", lambda: _restart(store, cycle))
    made |= _file("inputs.json", lambda: _inputs(store, cycle))
    return made


def of_machine(settings: Mapping[str, object], logs: Mapping[str, Path]) -> Members:
    """What this machine says: settings, versions of all that is installed, the last lines of its logs."""
    versions = {item.metadata["Name"]: item.version for item in distributions()}
    made = {
        "settings.json": to_json(settings),
        "versions.json": to_json({"python": platform.python_version(), "system": platform.platform(), **versions}),
    }
    for name, path in logs.items():
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
        except OSError as error:
            lines = [f"not there: {error.strerror}"]
        made[name] = ("\n".join(lines) + "\n").encode()
    return made


def pack(members: Members, root: str, secrets: Iterable[str], moment: datetime) -> bytes:
    """The archive (``.tar.gz``): the same members at the same moment give the same bytes; no secret is in it."""
    hidden, buffer, stamp = hiding(secrets), io.BytesIO(), int(moment.timestamp())
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=stamp) as squeezed,
        tarfile.open(fileobj=squeezed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name in sorted(members):
            content = hidden(members[name].decode("utf-8", errors="replace")).encode()
            entry = tarfile.TarInfo(f"{root}/{name}")
            entry.size, entry.mtime, entry.mode = len(content), stamp, 0o644
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def hiding(secrets: Iterable[str]) -> Callable[[str], str]:
    """What takes every secret out of a text, however it was quoted, and passwords out of addresses."""
    forms = {form for secret in secrets if len(secret) >= SHORTEST_SECRET
             for form in (secret, quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1],
                          json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1])}  # fmt: skip
    known = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
    general = r"(?<=://)[^/\s@'\"]+@|(?<=hooks\.slack\.com/)\S+|(?<=Signature=)[\w%+/=-]+"
    pattern = re.compile(f"{known}|{general}" if known else general)
    return lambda text: pattern.sub(HIDDEN, text)


def _file(name: str, read: Callable[[], bytes | None]) -> Members:
    """A member, none where there is nothing, or the reason why it could not be read."""
    try:
        content = read()
    except GomsError as error:
        return {f"{name}.unreadable.txt": f"{error}\n".encode()}
    return {} if content is None else {name: content}


def _found(store: Store, path: str) -> bytes | None:
    found = store.find(path)
    return None if found is None else found.data


def _listing(store: Store, prefixes: Iterable[str]) -> bytes:
    lines = [f"{size:>14} {path}" for prefix in prefixes for path, size in store.objects(prefix)]
    return ("\n".join(lines) + "\n").encode()


def _status(store: Store, cycle: Cycle, moment: datetime) -> bytes:
    """The freshness with what readers are not given: this archive is for operators."""
    return to_json(freshness.whole(freshness.of(store, systems.system(cycle.system), moment, (cycle,))))


def _manifest(store: Store, cycle: Cycle) -> bytes | None:
    found = headline.newest(store, cycle)
    return None if found is None else _found(store, f"{cycle.revision_prefix(found.revision)}/manifest.json")


def _restart(store: Store, cycle: Cycle) -> bytes | None:
    """The pointers to the states that an interrupted rollout goes on from."""
    found = [path for path, _ in store.objects(f"{cycle.run_prefix}/restart") if path.endswith(".json")]
    return to_json({path: store.read_json(path) for path in found}) if found else None


def _inputs(store: Store, cycle: Cycle) -> bytes | None:
    """What was taken in, from where, how old, with which digests: as the stages staged it."""
    paths = [path for path, _ in store.objects(f"{cycle.run_prefix}/staged") if path.endswith(".npz")]
    attributes = {Path(path).stem: staged.attributes(store, path) for path in paths}
    report = {name: {key: _unfolded(value) for key, value in found.items()} for name, found in attributes.items()}
    return to_json(report) if report else None


def _unfolded(value: object) -> object:
    """JSON inside of an attribute as what it says."""
    if isinstance(value, str) and value[:1] in "[{":
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value
