"""The rooms of the package: who may import whom, how long a file may be, what hosts import."""

import ast
import functools
import importlib
import re
import sys
from graphlib import CycleError
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

# Only the last test imports the package: a wrong import may keep it from being imported at all.
ROOT = Path(__file__).parent.parent / "flask_backfills"
DEVELOPERS = ROOT.parent / "docs" / "developers.md"
PICTURE = ROOT.parent / "docs" / "_static" / "rooms.svg"

#: From the top down: a room may import those below it, and rooms of one line not each other.
FLOORS = [
    ["__init__", "testing"],
    ["blueprint"],
    ["console", "cli"],
    ["api", "worker", "celery"],
    ["threads"],
    ["runner"],
    ["keeper"],
    ["host"],
    ["auth", "changes"],
    ["runs"],
    ["signals"],
    ["tables"],
    ["parsing"],
    ["errors"],
    ["rules", "dbapi", "answering", "config"],
]

#: Functions that import what a string names, which these tests can't see.
BY_NAME = {"import_module", "__import__", "import_string", "resolve_name"}

MODULES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts): file for file in ROOT.rglob("*.py")
}


@functools.cache
def tree_of(module):
    return ast.parse(MODULES[module].read_text())


def imported(module):
    """What a module imports of the package, wherever in it, and what of others."""
    package = [ROOT.name, *module.split(".")[:-1]]
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            paths = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base += node.module.split(".") if node.module else []
            paths = [[*base, alias.name] for alias in node.names]
        else:
            continue
        for first, *path in paths:
            yield ("ours", named(path)) if first == ROOT.name else ("", first)


def named(path):
    """The module of a path, which may end with a name in that module."""
    # A module, a package, or a name in one of the two.
    tried = [path, [*path, "__init__"], path[:-1], [*path[:-1], "__init__"]]
    return next((name for name in map(".".join, tried) if name in MODULES), ".".join(path))


def of_ours(module):
    return {name for whose, name in imported(module) if whose == "ours"} - {module}


def room(module):
    return module.split(".")[0]


def floor(module):
    levels = [level for level, rooms in enumerate(FLOORS) if room(module) in rooms]
    assert levels, (
        f"{room(module)} is a new room: add it to FLOORS, and to the picture and the table of"
        " docs/developers.md"
    )
    return levels[0]


def file_of(module):
    return module.replace(".", "/") + ".py"


def test_every_room_is_on_a_floor():
    for module in sorted(MODULES):
        floor(module)
    gone = {one for rooms in FLOORS for one in rooms} - {room(module) for module in MODULES}
    assert not gone, f"remove from FLOORS and from docs/developers.md: {sorted(gone)}"


def test_a_room_imports_only_those_below_it():
    for module, other in [(one, two) for one in sorted(MODULES) for two in of_ours(one)]:
        assert room(other) == room(module) or floor(other) > floor(module), (
            f"{module} may not import {other}: imports go down only (see FLOORS and"
            " docs/developers.md); move what both need to a lower room"
        )


def test_nothing_imports_in_a_circle():
    # Imports for types alone and imports inside functions count too.
    graph = {module: of_ours(module) for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = " imports ".join(reversed(error.args[1]))
        pytest.fail(f"{circle}: move what both need to a third module")


def test_nothing_is_imported_by_a_string():
    for module in sorted(MODULES):
        for node in ast.walk(tree_of(module)):
            names = {getattr(node, part, None) for part in ("id", "attr", "name")}
            for name in names & BY_NAME:
                pytest.fail(f"{file_of(module)} uses {name}: write an import statement")


def test_the_rules_import_the_standard_library_alone():
    for module in sorted(name for name in MODULES if room(name) == "rules"):
        for whose, name in imported(module):
            assert whose or name in sys.stdlib_module_names, (
                f"{module} imports {name}; rules/ may import the standard library only"
            )


def test_a_file_can_be_read_at_once():
    for module in sorted(MODULES):
        tree, file = tree_of(module), file_of(module)
        count = len((ROOT / file).read_text().splitlines())
        assert count <= 300, f"{file} has {count} lines, at most 300: split it by subject"
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                length = node.end_lineno - node.lineno + 1
                assert length <= 200, f"class {node.name} has {length} lines, at most 200"
        assert ast.get_docstring(tree) or not count, (
            f"{file} has no docstring: its first line says what the file is about"
        )


def test_the_picture_shows_the_floors():
    def shown(room):
        return f"{room}/" if (ROOT / room).is_dir() else f"{room}.py"

    floors = [[shown(room) for room in rooms] for rooms in FLOORS]
    picture = PICTURE.read_text()
    told = "; ".join(", ".join(rooms) for rooms in floors)
    label = re.search(r'aria-label="(.*?)"', picture)[1]
    wanted = f"The rooms from the top down: {told}. Imports go down only."
    assert label == wanted, f"draw FLOORS in {PICTURE.name}, and say it in its aria-label"
    drawn = re.findall(r"<g (.*?)</g>", picture, re.S)
    drawn = [re.findall(r'class="room">(.*?)<', floor) for floor in drawn]
    assert drawn == floors, f"draw FLOORS in {PICTURE.name}"


def test_the_table_of_files_has_each_once():
    told = re.findall(r"^\| `(\S+\.py)` \|", DEVELOPERS.read_text(), re.M)
    there = [str(file.relative_to(ROOT)) for file in ROOT.rglob("*.py") if file.read_text()]
    assert sorted(told) == sorted(there), f"add its line to {DEVELOPERS.name}, or remove it"


@pytest.mark.parametrize(
    "path",
    [
        "flask_backfills.BackfillBlueprint",
        "flask_backfills.BackfillEventMixin",
        "flask_backfills.BackfillMixin",
        "flask_backfills.BackfillRunMixin",
        "flask_backfills.BackfillSchema",
        "flask_backfills.api_key",
        "flask_backfills.oauth_token",
        "flask_backfills.all_of",
        "flask_backfills.any_of",
        "flask_backfills.allow_anyone",
        "flask_backfills.backfill_updated",
        "flask_backfills.current_run",
        "flask_backfills.backfill_started",
        "flask_backfills.backfill_cancelled",
        "flask_backfills.backfill_finished",
        "flask_backfills.auth.api_key",
        "flask_backfills.celery.CeleryDispatcher",
        "flask_backfills.console.ConsoleBlueprint",
        "flask_backfills.errors.NotFound",
        "flask_backfills.signals.backfill_updated",
        "flask_backfills.testing.Kit",
        "flask_backfills.testing.plugin.backfills",
        "flask_backfills.worker.perform",
        "flask_backfills.worker.work",
    ],
)
def test_what_hosts_import_stays_where_it_is(path):
    module, name = path.rsplit(".", 1)
    try:
        getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        pytest.fail(f"hosts import {path}: keep that path ({error})")
