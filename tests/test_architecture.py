"""The rooms of the package: who may import whom, how long a file may be, what hosts import."""

import ast
import importlib
import sys
from graphlib import CycleError
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import flask_backfills

ROOT = Path(flask_backfills.__file__).parent

#: From the top down: a room may import those below it, and rooms of one line not each other.
FLOORS = [
    ["__init__"],
    ["blueprint"],
    ["console", "cli"],
    ["api", "worker", "celery"],
    ["host"],
    ["auth", "changes"],
    ["runs"],
    ["signals"],
    ["tables"],
    ["errors"],
    ["rules"],
]

#: Imports that the floors would not allow: a worker of Celery's does the work of a run as any
#: other worker does.
BESIDE = {("celery", "worker")}

MODULES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts): ast.parse(file.read_text())
    for file in ROOT.rglob("*.py")
}


def imported(module):
    """What a module imports of the package, wherever in it, and what of others."""
    package = module.split(".")[:-1]
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.Import):
            yield from (("", alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield "", node.module
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1]
            base += node.module.split(".") if node.module else []
            for alias in node.names:
                # A module, a package, or a name in one of the two.
                tried = [[*base, alias.name], [*base, alias.name, "__init__"], base]
                tried = [".".join(parts) for parts in [*tried, [*base, "__init__"]]]
                yield "ours", next(name for name in tried if name in MODULES)


def of_ours(module):
    return {name for whose, name in imported(module) if whose == "ours"} - {module}


def room(module):
    return module.split(".")[0]


def floor(module):
    return next(level for level, rooms in enumerate(FLOORS) if room(module) in rooms)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_room_imports_only_those_below_it(module):
    for other in of_ours(module):
        if room(other) != room(module) and (room(module), room(other)) not in BESIDE:
            assert floor(other) > floor(module), f"{module} imports {other}"


def test_nothing_imports_in_a_circle():
    # Imports for types alone and imports inside functions count too.
    graph = {module: of_ours(module) for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


@pytest.mark.parametrize("module", sorted(name for name in MODULES if room(name) == "rules"))
def test_the_rules_import_the_standard_library_alone(module):
    others = {name.split(".")[0] for whose, name in imported(module) if not whose}
    assert others <= sys.stdlib_module_names


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_file_can_be_read_at_once(module):
    tree = MODULES[module]
    lines = ROOT.joinpath(*module.split(".")).with_suffix(".py").read_text().splitlines()
    assert len(lines) <= 300
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            assert node.end_lineno - node.lineno < 200, node.name
    assert ast.get_docstring(tree) or not lines, "the first line says what it is about"


@pytest.mark.parametrize(
    "path",
    [
        "flask_backfills.BackfillBlueprint",
        "flask_backfills.BackfillMixin",
        "flask_backfills.BackfillRunMixin",
        "flask_backfills.BackfillSchema",
        "flask_backfills.api_key",
        "flask_backfills.oauth_token",
        "flask_backfills.all_of",
        "flask_backfills.allow_anyone",
        "flask_backfills.backfill_updated",
        "flask_backfills.backfill_started",
        "flask_backfills.backfill_cancelled",
        "flask_backfills.backfill_finished",
        "flask_backfills.auth.api_key",
        "flask_backfills.celery.CeleryDispatcher",
        "flask_backfills.console.ConsoleBlueprint",
        "flask_backfills.errors.NotFound",
        "flask_backfills.signals.backfill_updated",
        "flask_backfills.worker.perform",
        "flask_backfills.worker.work",
    ],
)
def test_what_hosts_import_stays_where_it_is(path):
    module, name = path.rsplit(".", 1)
    assert hasattr(importlib.import_module(module), name)
