"""The table of settings, ``deploy/settings.md``, made from ``Settings``: ``python -m tests.settings_table``."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from pipeline.settings import Settings

PATH = Path(__file__).parents[1] / "deploy" / "settings.md"
HEAD = """# Settings of a machine

Made from `pipeline/settings.py` by `python -m tests.settings_table`; a test holds that it is current. S3's endpoint and
keys come from the usual `AWS_*` variables, Prefect's from `PREFECT_*`. In the image, `FROM_FILE_NAME` names a file
whose content becomes `NAME`: so secrets are given by reference.

| variable | type | unless set | meaning |
|---|---|---|---|
"""


def table() -> str:
    """The page as it must be."""
    return HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows(Settings, "GOMS_"))


def rows(model: type[BaseModel], prefix: str, whole: str = "") -> Iterator[tuple[str, str, str, str]]:
    """One row a variable; a setting of several parts has one a part, which means what the whole does unless it says."""
    for name, field in model.model_fields.items():
        variable = prefix + name.upper()
        part = field.annotation
        if isinstance(part, type) and issubclass(part, BaseModel):
            yield from rows(part, f"{variable}__", field.description or "")
        else:
            yield f"`{variable}`", _type(field), _default(field), _cell(field.description or whole)


def _type(field: FieldInfo) -> str:
    limits = [f"{word} {getattr(item, attribute):g}" for item in field.metadata
              for attribute, word in (("ge", "at least"), ("gt", "more than"), ("le", "at most"), ("lt", "less than"))
              if hasattr(item, attribute)]  # fmt: skip
    return _cell(", ".join((_name(field.annotation), *limits)))


def _name(annotation: Any) -> str:
    words = {
        str: "text",
        int: "whole number",
        float: "number",
        bool: "true or false",
        Path: "folder",
        SecretStr: "secret text",
    }
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return " or ".join(_name(item) for item in typing.get_args(annotation) if item is not type(None))
    if typing.get_origin(annotation) is typing.Literal:
        return " or ".join(str(item) for item in typing.get_args(annotation))
    return words.get(annotation) or re.sub(r"\b(\w+\.)+", "", getattr(annotation, "__name__", str(annotation)))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "must be set"
    value = field.get_default(call_default_factory=True)
    text = "" if value in (None, (), {}) else str(value)
    return f"`{_cell(text)}`" if text else "nothing"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main() -> None:
    """Write the page."""
    PATH.write_text(table())


if __name__ == "__main__":
    main()
