from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

import fuse_dagster

SOURCE = Path(fuse_dagster.__file__)


def test_the_three_lists_of_public_names_agree() -> None:
    tree = ast.parse(SOURCE.read_text())
    imported = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    where = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_WHERE"
    )
    assert imported == {name: f"fuse_dagster.{module}" for name, module in where.items()}
    assert sorted(fuse_dagster.__all__) == sorted(where)  # ruff holds their order


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nope'"):
        _ = fuse_dagster.Nope


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text())["project"]
    assert fuse_dagster.__version__ == project["version"]
