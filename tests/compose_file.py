"""``deploy/compose.yaml`` as the tests read it: its variables filled in, its services as they would be started."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

PATH = Path(__file__).parents[1] / "deploy" / "compose.yaml"
_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::?-(?P<default>[^}]*))?\}")


def document(text: str, values: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The file's content, ``${NAME:-default}`` replaced by the value or the default; what is for reuse left out."""
    filled = _VARIABLE.sub(lambda found: (values or {}).get(found["name"]) or found["default"] or "", text)
    return {name: value for name, value in yaml.safe_load(filled).items() if not name.startswith("x-")}


def services(profile: str, values: Mapping[str, str] | None = None) -> dict[str, dict[str, Any]]:
    """The services that a profile starts."""
    every = document(PATH.read_text(), values)["services"]
    return {name: service for name, service in every.items() if profile in service.get("profiles", [profile])}


def command(service: Mapping[str, Any]) -> list[str]:
    """A service's command, as words."""
    given = service["command"]
    return given.split() if isinstance(given, str) else [str(word) for word in given]


def environment(service: Mapping[str, Any]) -> dict[str, str]:
    """A service's environment; what is passed on from outside is left out."""
    return {name: str(value) for name, value in service.get("environment", {}).items() if value is not None}
