"""Rooms import downwards only: an arrow the wrong way is found before it becomes a habit."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from fuse_dagster_tests.house.source import PACKAGE, Module, imported, package_modules, test_modules

# What each room may import, besides itself. The same table is drawn in docs/pages/architecture.md.
ALLOWED: dict[str, frozenset[str]] = {}
ALLOWED["core"] = frozenset()
ALLOWED["secrets"] = frozenset({"core"})
ALLOWED["connectors"] = ALLOWED["secrets"] | {"secrets"}
ALLOWED["engines"] = frozenset({"core"})
ALLOWED["tables"] = ALLOWED["engines"] | {"engines"}
ALLOWED["ingest"] = ALLOWED["connectors"] | ALLOWED["tables"] | {"connectors", "tables"}
for _room in ("quality", "sql", "platforms", "governance", "catalog"):
    ALLOWED[_room] = ALLOWED["tables"] | {"tables"}
ALLOWED["orchestration"] = frozenset(ALLOWED)
ALLOWED["definitions"] = ALLOWED["orchestration"] | {"orchestration"}
ALLOWED["app"] = ALLOWED["orchestration"] | {"orchestration"}
ALLOWED["testing"] = frozenset(ALLOWED)
# The package itself only hands on names; it must load neither the demo nor the front doors nor test helpers.
ALLOWED[""] = frozenset(ALLOWED) - {"definitions", "app", "testing"}

WITHOUT_DAGSTER = frozenset(
    {"core", "engines", "tables", "ingest", "quality", "sql", "platforms", "governance", "catalog"}
)


def _rooms_imported(module: Module) -> list[tuple[ast.AST, str]]:
    found = []
    for node, name in imported(module):
        parts = name.split(".")
        if parts[0] == "fuse_dagster" and len(parts) > 1:
            found.append((node, parts[1]))
    return found


def test_every_folder_is_a_room_that_the_design_names() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms <= set(ALLOWED), f"unknown rooms: {sorted(rooms - set(ALLOWED))}"


def test_no_room_is_empty() -> None:
    for path in PACKAGE.iterdir():
        if path.is_dir() and path.name != "__pycache__":
            assert [file for file in path.rglob("*.py") if file.name != "__init__.py"], f"{path.name} holds nothing"


def test_rooms_import_downwards_only() -> None:
    wrong = []
    for module in package_modules():
        for node, room in _rooms_imported(module):
            if room in ALLOWED and room != module.room and room not in ALLOWED[module.room]:
                wrong.append(f"{module.where(node)}: {module.room or 'the package'} imports {room}")
    assert not wrong, "\n".join(wrong)


def test_only_the_rooms_for_it_import_dagster() -> None:
    wrong = [
        f"{module.where(node)}: {module.room} imports {name}"
        for module in package_modules()
        for node, name in imported(module)
        if module.room in WITHOUT_DAGSTER and name.split(".")[0].startswith("dagster")
    ]
    assert not wrong, "\n".join(wrong)


def test_the_package_never_imports_its_tests() -> None:
    wrong = [
        module.where(node)
        for module in package_modules()
        for node, name in imported(module)
        if name.split(".")[0] == "fuse_dagster_tests"
    ]
    assert not wrong, "\n".join(wrong)


def test_tests_mirror_the_package() -> None:
    beside = {"contract", "house", "docs", "benchmarks", "servers", "packages", "ui"}
    folders = {module.name.split(".")[1] for module in test_modules() if module.name.count(".") > 1}
    assert folders <= set(ALLOWED) | beside, f"not a room: {sorted(folders - set(ALLOWED) - beside)}"


@pytest.mark.parametrize(
    "text",
    [
        "import fuse_dagster.tables",
        "def f():\n    from fuse_dagster.tables import write",
        "def f():\n    from fuse_dagster import tables",
        "LOCAL = 'fuse_dagster.tables.write:write'",
        "LOCAL = 'fuse_dagster.tables.write'",
        "import importlib\nimportlib.import_module('fuse_dagster.tables')",
    ],
)
def test_every_way_to_import_a_room_is_seen(text: str) -> None:
    module = Module(path=Path(__file__), name="fuse_dagster.core.x", text=text, tree=ast.parse(text))
    assert "tables" in [room for _, room in _rooms_imported(module)]
