"""`${NAME:default}` in values, and the `.env` beside the file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dotenv import dotenv_values

from fuse_dagster.core.profiles.problems import Problems
from fuse_dagster.core.profiles.tree import Node

_HOLE = re.compile(r"\$(?P<escaped>\$\{)|\$\{(?P<name>[A-Za-z_]\w*)(?P<default>:[^}]*)?\}|(?P<broken>\$\{)")

Source = Literal["file", "environment", ".env", "default", "argument"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from.

    Attributes:
        source: `file` for what the file says itself, `environment` or `.env` for a variable, `default` for the
            default of a variable or of the connector, `argument` for what code asked for.
        where: File and line, as `fuse.yaml:7`; "" where the file does not mention it.
        variable: The variables that the value names, joined by `, `; "" for none.
    """

    source: Source
    where: str = ""
    variable: str = ""

    def __str__(self) -> str:
        told = {
            "file": "",
            "environment": f"environment variable `{self.variable}`",
            ".env": f"`.env`: `{self.variable}`",
            "default": f"default of `{self.variable}`" if self.variable else "default",
            "argument": "argument",
        }[self.source]
        return f"{told} ({self.where})" if told and self.where else told or self.where


_put: dict[str, tuple[Path, str]] = {}  # what each `.env` has put into this process's environment


def load_env(file: Path) -> None:
    """Put the variables of a `.env` into the environment, where they are not set already.

    So they are there for everything: for `${NAME}`, for `env://NAME`, and for the clients of the clouds. What the
    same file has put there before, and doesn't hold any more, is taken out again.
    """
    wanted = dotenv_values(file, encoding="utf-8") if file.is_file() else {}
    for name, (by, before) in list(_put.items()):
        if by == file:
            del _put[name]
            if os.environ.get(name) == before:
                del os.environ[name]
    for name, new in wanted.items():
        if new is not None and name not in os.environ:
            os.environ[name] = new
            _put[name] = (file, new)


def source_of(name: str) -> Literal["environment", ".env"]:
    """Say who has set a variable that is set."""
    return ".env" if name in _put and os.environ.get(name) == _put[name][1] else "environment"


def expand(node: Node, problems: Problems, origins: dict[str, Origin], name: str) -> object:
    """The plain value of a node: its text with variables filled in, lists and mappings of such.

    Args:
        node: The value.
        problems: Takes variables that are not set, and what only looks like one.
        origins: Takes where each text came from.
        name: What `origins` calls the value, as `connections.lake.root`.
    """
    if isinstance(node.value, Mapping):
        return {key: expand(inner, problems, origins, f"{name}.{key}") for key, inner in node.value.items()}
    if isinstance(node.value, str):
        text, origins[name] = _filled(node, node.value, problems)
        return text
    origins[name] = Origin("file", f"{problems.file.name}:{node.line}")
    if node.value is None:
        return None
    return [expand(inner, problems, origins, f"{name}[{number}]") for number, inner in enumerate(node.value)]


def _filled(node: Node, text: str, problems: Problems) -> tuple[str, Origin]:
    used: dict[str, Source] = {}

    def fill(hole: re.Match[str]) -> str:
        if hole["escaped"]:
            return "${"
        if hole["broken"]:
            valid = "Valid: `${NAME}`, `${NAME:default}`, and `$${` for `${` itself."
            problems.add(node, f"It has a `${{` that begins no variable. {valid}")
            return ""
        variable = hole["name"]
        if variable in os.environ:
            used[variable] = source_of(variable)
            return os.environ[variable]
        if hole["default"] is not None:
            used[variable] = "default"
            return hole["default"][1:]
        problems.add(
            node,
            f"The environment variable `{variable}` is not set. Set it, write it into the `.env` beside the file, "
            f"or give it a default: `${{{variable}:default}}`.",
        )
        return ""

    filled = _HOLE.sub(fill, text)
    where = f"{problems.file.name}:{node.line}"
    if not used:
        return filled, Origin("file", where)
    # Of several variables the strongest source is told: what is set beats what nobody has set.
    order: tuple[Source, ...] = ("environment", ".env", "default")
    strongest = min(used.values(), key=order.index)
    return filled, Origin(strongest, where, ", ".join(used))
