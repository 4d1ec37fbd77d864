"""The house rules that a machine can hold."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cf_units
import cmocean
import compliance_checker
import pytest
import readme_map

from pipeline import channels, products, systems, variables
from pipeline.sources import SOURCES
from pipeline.variables import Variable

ROOT = Path(__file__).parents[1]
MODULES = sorted(path for package in ("pipeline", "models", "flows") for path in (ROOT / package).rglob("*.py"))
FORBIDDEN_NAMES = {"utils", "common", "helpers", "base", "core", "manager", "handler", "context"}
LONGEST_FILE, LONGEST_FUNCTION = 400, 40

HOMES = {
    "torch": ("models/",),
    "safetensors": ("models/",),
    "prefect": ("flows/",),
    "typer": ("flows/",),
    "rich": ("flows/",),
    "fsspec": ("pipeline/store.py", "pipeline/sources/"),
    "s3fs": ("pipeline/store.py", "pipeline/sources/"),
    "botocore": ("pipeline/objects/", "pipeline/sources/"),
    "xarray": ("pipeline/",),
    "dask": ("pipeline/",),
    "icechunk": ("pipeline/readers/repository.py",),
    "zarr": ("pipeline/",),
    "matplotlib": ("pipeline/report.py", "pipeline/drawing.py", "pipeline/gate/picture.py"),
}
"""One library, one home: the only places that may import it."""

NEVER_IMPORTS = {"pipeline": {"models", "flows"}, "models": {"pipeline", "flows"}}

OUTER_ROOMS = {"operations", "readers", "training"}
"""Rooms of ``pipeline`` that the journey does not stand on; each stands on none of the others."""

ROOMS_OF_FLOWS = ("", "journey", "service", "desk", "commands")
"""From what stands on nothing else of ``flows`` (the folder itself) to what stands on all of it, but for ``cli``."""


class Import(NamedTuple):
    """A module that a file imports, in full and by its first name."""

    name: str
    line: int

    @property
    def top(self) -> str:
        return self.name.partition(".")[0]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports(path: Path) -> Iterator[Import]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (Import(item.name, node.lineno) for item in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield Import(node.module, node.lineno)


def dotted(node: ast.expr) -> str:
    """``a.b.c`` for the expression that says so, else what ends it."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [path for name in listed.decode().split("\0") if name and (path := ROOT / name).is_file()]


each_module = pytest.mark.parametrize("path", MODULES, ids=relative)
each_variable = pytest.mark.parametrize("entry", variables.VARIABLES, ids=lambda entry: entry.name)


def test_there_are_modules_to_hold_the_rules_for() -> None:
    assert len(MODULES) > 40


@each_module
def test_imports_go_one_way(path: Path) -> None:
    never = NEVER_IMPORTS.get(relative(path).partition("/")[0], set())
    assert [item for item in imports(path) if item.top in never] == []


@each_module
def test_the_journey_stands_on_no_outer_room(path: Path) -> None:
    """But for the one door that analysts import."""
    if relative(path).startswith("pipeline/") and relative(path) != "pipeline/__init__.py":
        rooms = {item.name.split(".")[1] for item in imports(path) if item.name.startswith("pipeline.")}
        assert rooms & OUTER_ROOMS <= {path.parent.name}


@each_module
def test_each_room_of_flows_stands_on_those_before_it(path: Path) -> None:
    here = relative(path).split("/")
    if here[0] != "flows" or relative(path) == "flows/cli.py":
        return
    others = {item.name.split(".")[1] for item in imports(path) if item.name.startswith("flows.")}
    allowed = ROOMS_OF_FLOWS[: ROOMS_OF_FLOWS.index(here[1] if len(here) > 2 else "") + 1]
    assert others & set(ROOMS_OF_FLOWS) <= set(allowed)


@each_module
def test_each_library_is_imported_only_at_home(path: Path) -> None:
    strangers = [item for item in imports(path) if not relative(path).startswith(HOMES.get(item.top, ("",)))]
    assert strangers == []


@each_module
def test_numpys_files_are_read_at_one_door(path: Path) -> None:
    """``pipeline.npy`` says why; ``models`` reads none."""
    readers = [node.lineno for node in ast.walk(tree(path)) if isinstance(node, ast.Call)
               and dotted(node.func) in ("np.load", "numpy.load")]  # fmt: skip
    assert readers == [] or relative(path) == "pipeline/npy.py"


@each_module
def test_the_environment_is_read_in_settings_alone(path: Path) -> None:
    if relative(path) == "pipeline/settings.py":
        return
    found = [node.lineno for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute)
             and dotted(node) in ("os.environ", "os.getenv", "os.putenv", "os.environb")]  # fmt: skip
    taken = [item for node in ast.walk(tree(path)) if isinstance(node, ast.ImportFrom) and node.module == "os"
             for item in node.names if item.name in ("environ", "getenv")]  # fmt: skip
    assert (found, taken) == ([], [])


@each_module
def test_only_flows_know_what_time_it_is(path: Path) -> None:
    if relative(path).startswith("flows/"):
        return
    clocks = re.compile(r"(datetime|date)\.(now|utcnow|today)$|^time\.(time|time_ns|localtime|gmtime)$")
    calls = [dotted(node.func) for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    assert [call for call in calls if clocks.search(call)] == []


def test_the_clock_is_one_function() -> None:
    clocks = ("datetime.now", "datetime.utcnow", "datetime.today", "date.today")
    callers = {relative(path) for path in MODULES for node in ast.walk(tree(path))
               if isinstance(node, ast.Call) and dotted(node.func) in clocks}  # fmt: skip
    assert callers == {"flows/clock.py"}


@each_module
def test_no_error_is_caught_broadly(path: Path) -> None:
    handlers = [node for node in ast.walk(tree(path)) if isinstance(node, ast.ExceptHandler)]
    broad = [
        node.lineno for node in handlers if node.type is None or dotted(node.type) in ("Exception", "BaseException")
    ]
    assert broad == []


@each_module
def test_nothing_is_left_to_be_done_later(path: Path) -> None:
    assert re.findall(r"\b(TODO|FIXME|XXX|HACK)\b", path.read_text()) == []


@each_module
def test_names_say_what_is_in_them(path: Path) -> None:
    assert FORBIDDEN_NAMES.isdisjoint({path.stem, *path.parent.relative_to(ROOT).parts})


@each_module
def test_files_and_functions_are_short(path: Path) -> None:
    functions = [node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = [f"{node.name}: {lines}" for node in functions
            if (lines := (node.end_lineno or 0) - node.lineno + 1) > LONGEST_FUNCTION]  # fmt: skip
    assert (len(path.read_text().splitlines()) < LONGEST_FILE, long) == (True, [])


def test_tasks_are_thin() -> None:
    """Eight lines of body at most: a task reads a reference, calls a verb, writes, marks and returns a reference."""
    functions = [node for node in tree(ROOT / "flows/journey/tasks.py").body if isinstance(node, ast.FunctionDef)]
    bodies = {node.name: (node.end_lineno or 0) - node.body[1].lineno + 1 for node in functions}
    assert bodies
    assert {name: lines for name, lines in bodies.items() if lines > 8} == {}


@each_module
def test_every_public_thing_says_what_it_is(path: Path) -> None:
    nodes = [node for node in tree(path).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    silent = [node.name for node in nodes if not node.name.startswith("_") and not ast.get_docstring(node)]
    assert (bool(readme_map.caption(path)), silent) == (True, [])


def test_readme_map_is_the_tree() -> None:
    """After a change of modules or their captions: ``python -m tests.readme_map``."""
    listed = readme_map.in_readme((ROOT / "README.md").read_text())
    assert listed == readme_map.folder_map()


def test_packages_are_all_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    there = {path.parent.relative_to(ROOT).as_posix().replace("/", ".") for path in MODULES}
    assert set(project["tool"]["setuptools"]["packages"]) == there


def test_every_dependency_is_held_by_a_constraint() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    names = {re.split(r"[<>=\[;~! ]", item)[0].lower().replace("_", "-") for item in wanted}
    lines = (ROOT / "deploy/constraints.txt").read_text().splitlines()
    held = {line.partition("==")[0].lower().replace("_", "-"): line for line in lines if not line.startswith("#")}
    assert names - set(held) == set()
    assert all(re.fullmatch(r"[\w.\-]+==[\w.!]+", line) for line in held.values()), "name==version, nothing local"


def test_variables_have_names_of_their_own() -> None:
    names = [entry.name for entry in variables.VARIABLES]
    assert len(set(names)) == len(names)
    assert len({entry.title for entry in variables.VARIABLES}) == len(names)


@pytest.fixture(scope="module")
def standard_names() -> dict[str, str]:
    """CF's standard names, aliases included, with their canonical units."""
    table = Path(compliance_checker.__file__).parent / "data" / "cf-standard-name-table.xml"
    root = ElementTree.parse(table).getroot()
    return {item.attrib["id"]: item.findtext("canonical_units") or "1" for item in root.iter("entry")}


@each_variable
def test_variable_is_named_by_cf_with_units_that_convert(entry: Variable, standard_names: dict[str, str]) -> None:
    assert entry.standard_name in standard_names
    canonical = standard_names[entry.standard_name]
    assert cf_units.Unit(entry.units).is_convertible(cf_units.Unit(canonical)), (entry.units, canonical)


@each_variable
def test_variable_can_be_drawn_and_bounded(entry: Variable) -> None:
    assert entry.colour_map in cmocean.cm.cmapnames
    assert entry.lower < entry.upper
    assert not entry.logarithmic or entry.lower >= 0


@each_variable
def test_variable_is_published_or_taken_in(entry: Variable) -> None:
    published = {item.name for product in products.PRODUCTS for item in product.variables}
    taken_in = {channel.variable for channel in channels.forcing()}
    assert entry.name in published | taken_in


def test_channels_are_those_of_the_paper() -> None:
    assert (len(channels.ocean()), len(channels.forcing())) == (61, 6)
    assert all(channels.parse(channel.label) == channel for channel in channels.ocean() + channels.forcing())


@pytest.mark.parametrize("system", systems.SYSTEMS, ids=lambda system: system.name)
def test_every_rung_of_a_ladder_is_a_source_of_its_kind(system: systems.System) -> None:
    rungs = [(ladder.kind, name) for ladder in system.ladders for name in ladder.sources]
    assert [name for _, name in rungs if name not in SOURCES] == []
    assert [(kind, name) for kind, name in rungs if kind not in SOURCES[name].kinds] == []
    assert all(SOURCES[name].name == name for _, name in rungs)


@pytest.mark.parametrize("system", systems.SYSTEMS, ids=lambda system: system.name)
def test_every_product_of_a_system_has_a_grid(system: systems.System) -> None:
    assert [system.product_grid(entry).shape for entry in system.products]


def test_the_project_speaks_of_itself_alone() -> None:
    """No path of the machine it was written on, no tracker's numbers, no package registry's host."""
    words = (
        "/work" + "/",
        "/root" + "/",
        "issue" + " #",
        "pypi" + ".org",
        "files.python" + "hosted",
        "download.py" + "torch",
    )
    found = [f"{relative(path)}: {word}" for path in tracked() if path.suffix not in (".nc", ".npz", ".safetensors")
             for word in words if word.encode() in path.read_bytes()]  # fmt: skip
    assert found == []


def test_secrets_are_not_kept() -> None:
    patterns = re.compile(rb"AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY-----")
    assert [relative(path) for path in tracked() if patterns.search(path.read_bytes())] == []


@pytest.mark.parametrize("word", [
    *(f"| `{entry.name}` |" for entry in systems.SYSTEMS),
    *(f"| {code} |" for code in range(9)),
])  # fmt: skip
def test_readme_tells_every_system_and_exit_code(word: str) -> None:
    assert word in (ROOT / "README.md").read_text()
