"""The tree is the design: what may import what, who knows pytest, and that nothing calls the package by its name."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "fixtures"
# From the bottom up: a room may import from those before it and from itself. Commands stand above all.
ROOMS = (
    *(
        "exits",
        "clock",
        "late",
        "suggest",
        "progress",
        "files",
        "devices",
        "cases",
        "config",
        "guard",
        "record",
        "stats",
        "inputs",
        "models",
    ),
    *("runtimes", "judge", "show", "measure", "quality", "remote", "history", "report", "fetch"),
    *("options", "bench", "run", "workers", "plugins"),
)
COMMANDS = {"__main__", "check", "gate", "readout"}
KNOW_PYTEST = {"bench", "run", "workers", "plugins"}
Name = tuple[str, ...]


@cache
def modules() -> dict[Name, Path]:
    found = {}
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).with_suffix("").parts
        found[name[:-1] if name[-1] == "__init__" else name] = path
    return found


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def for_types_only(tree: ast.Module) -> set[ast.AST]:
    """What a type checker alone reads, which makes no circle."""
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    return {inner for block in blocks for inner in ast.walk(block)}


def imports(name: Name, path: Path) -> Iterator[Name]:
    """Modules of the package that one imports, at its top or late."""
    package = name if path.name == "__init__.py" else name[:-1]
    tree = tree_of(path)
    skipped = for_types_only(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level and node not in skipped:
            base = package[: len(package) - node.level + 1] + tuple(
                (node.module or "").split(".") if node.module else ()
            )
            for each in node.names:
                yield (*base, each.name) if (*base, each.name) in modules() else base


def is_command(name: Name) -> bool:
    return name[-1] == "__main__" or name[0] in COMMANDS


def test_rooms_import_from_those_below() -> None:
    wrong = [
        f"{'.'.join(name)} imports {'.'.join(other)}"
        for name, path in modules().items()
        if name and not is_command(name)
        for other in imports(name, path)
        if other and (is_command(other) or ROOMS.index(other[0]) > ROOMS.index(name[0]))
    ]
    assert wrong == []


def test_every_room_has_its_place_and_says_what_it_is_for() -> None:
    assert {name[0] for name in modules() if name} - COMMANDS == set(ROOMS)
    silent = [str(path) for path in modules().values() if not (ast.get_docstring(tree_of(path)) or "").strip()]
    assert silent == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {name: set(imports(name, path)) - {name, ()} for name, path in modules().items()}
    assert list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def test_inside_imports_are_relative_and_no_text_names_the_package() -> None:
    """Installed it has another name; children are started by `__package__`."""
    wrong = []
    for path in modules().values():
        tree = tree_of(path)
        documents = {
            node.body[0].value
            for node in ast.walk(tree)
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in documents:
                if "fixtures." in node.value or "fixtures/" in node.value or node.value == "fixtures":
                    wrong.append(f"{path}:{node.lineno} {node.value!r}")
            elif isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").startswith("fixtures"):
                wrong.append(f"{path}:{node.lineno} imports {node.module}")
            elif isinstance(node, ast.Import) and any(each.name.startswith("fixtures") for each in node.names):
                wrong.append(f"{path}:{node.lineno} imports by name")
    assert wrong == []


def test_pytest_is_known_in_four_rooms() -> None:
    """Whoever measures, judges or reports can be used without it."""
    wrong = []
    for name, path in modules().items():
        tree = tree_of(path)
        skipped = for_types_only(tree)
        for node in ast.walk(tree):
            if node in skipped or not isinstance(node, (ast.Import, ast.ImportFrom)):
                continue
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            packages = {each.partition(".")[0] for each in names}
            allowed = name and name[0] in KNOW_PYTEST
            if ("pytest_benchmark" in packages and name != ("bench",)) or (
                packages & {"pytest", "_pytest"} and not allowed
            ):
                wrong.append(".".join(name))
    assert wrong == []


def torch_imports(nodes: Iterable[ast.AST]) -> list[ast.AST]:
    """Also of what `late` imports when it is used."""
    return [
        node
        for node in nodes
        if (isinstance(node, ast.Import) and any(each.name.partition(".")[0] == "torch" for each in node.names))
        or (isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").partition(".")[0] == "torch")
        or (
            isinstance(node, ast.ImportFrom)
            and node.module == "late"
            and {"torch", "nn"} & {x.name for x in node.names}
        )
    ]


@pytest.mark.parametrize("room", ["record", "stats", "judge", "show", "report", "history"])
def test_the_reading_side_never_imports_torch(room: str) -> None:
    files = [(name, path) for name, path in modules().items() if name and name[0] == room]
    assert len(files) > 3
    assert [".".join(name) for name, path in files if torch_imports(ast.walk(tree_of(path)))] == []


def test_torch_is_imported_late_in_one_place() -> None:
    """Everywhere else at a module's top, or by what `late` lends; one child begins with it on purpose."""
    found = [
        ".".join(name)
        for name, path in modules().items()
        for outer in ast.walk(tree_of(path))
        if isinstance(outer, (ast.FunctionDef, ast.AsyncFunctionDef))
        if torch_imports(ast.walk(outer))
    ]
    assert found == ["workers.child"]
