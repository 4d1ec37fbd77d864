"""The README's folder map, made from the first line of every module's docstring: ``python -m tests.readme_map``."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("pipeline", "models", "flows")
BEGIN, END = "<!-- map: made by python -m tests.readme_map -->\n", "<!-- end of map -->\n"


def packages() -> list[str]:
    """The three folders, each followed by its rooms."""
    found = [path.parent for folder in FOLDERS for path in sorted((ROOT / folder).rglob("__init__.py"))]
    return [path.relative_to(ROOT).as_posix() for path in found]


def modules(package: str) -> list[Path]:
    """A package's own modules, ``__init__`` first."""
    return sorted((ROOT / package).glob("*.py"), key=lambda path: (path.stem != "__init__", path.stem))


def caption(path: Path) -> str:
    """The first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]


def folder_map() -> str:
    """The map as it must stand in the README, between its two markers."""
    lines = []
    for package in packages():
        files = modules(package)
        lines += ["", f"{package}/"]
        lines += [f"  {path.name:<18} {caption(path)}" for path in files]
    return BEGIN + "```\n" + "\n".join(lines[1:]) + "\n```\n" + END


def in_readme(text: str) -> str:
    """The map as it stands in a README's text."""
    return text[text.index(BEGIN) : text.index(END) + len(END)]


def main() -> None:
    """Put the map that the tree gives into the README."""
    path = ROOT / "README.md"
    text = path.read_text()
    path.write_text(text.replace(in_readme(text), folder_map()))


if __name__ == "__main__":
    main()
