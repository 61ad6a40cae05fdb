"""Only public names of dependencies: what they hide may change with any release of theirs."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from fuse_dagster_tests.house.source import Module, imported, package_modules, test_modules

# Public by their documentation, in spite of the underscore.
NAMED_TUPLE = {"_replace", "_asdict", "_fields", "_make"}


def _is_private(name: str) -> bool:
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


def _own_names(tree: ast.Module) -> set[str]:
    """Underscored names that the module itself defines: its own to use."""
    own = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                own.add(name)
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                own.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                own.add(name)
    return own


def _findings(module: Module) -> list[str]:
    found = [
        f"{module.where(node)}: imports {name}"
        for node, name in imported(module)
        if any(_is_private(part) for part in name.split("."))
        and not (name.startswith("fuse_dagster") and name.startswith(module.name.rpartition(".")[0]))
    ]
    own = _own_names(module.tree)
    for node in ast.walk(module.tree):
        match node:
            case ast.Attribute(value=value, attr=name) if _is_private(name) and name not in NAMED_TUPLE | own:
                if not (isinstance(value, ast.Name) and value.id in {"self", "cls"}):
                    found.append(f"{module.where(node)}: reaches for .{name}")
            case ast.Call(
                func=ast.Name(id="getattr" | "setattr" | "hasattr"),
                args=[_, ast.Constant(value=str(name)), *_],
            ):
                if _is_private(name) and name not in NAMED_TUPLE | own:
                    found.append(f"{module.where(node)}: reaches for .{name}")
    return found


def test_nothing_reaches_for_private_names() -> None:
    wrong = [finding for module in (*package_modules(), *test_modules()) for finding in _findings(module)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "text",
    [
        "import dagster._core.definitions",
        "from dagster._core import definitions",
        "from dagster import _check",
        "def f(frame):\n    return frame._ldf",
        "def f(frame):\n    return getattr(frame, '_ldf')",
        "import importlib\nimportlib.import_module('dagster._core')",
    ],
)
def test_every_way_to_a_private_name_is_seen(text: str) -> None:
    assert _findings(Module(path=Path(__file__), name="fuse_dagster.core.x", text=text, tree=ast.parse(text)))
