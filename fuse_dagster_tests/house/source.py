"""The repository as the house tests see it: its files, its modules, and what they import."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "fuse_dagster"

# `fuse_dagster.connectors.local:Local`, or `fuse_dagster.connectors.local`: a registry line. Two words alone
# are also the names of entry point groups, so they count only where they are imported by name.
DOTTED = re.compile(r"fuse_dagster(\.[a-z_0-9]+){2,}(:\w+|\.[A-Z]\w+)?|fuse_dagster\.[a-z_0-9]+:\w+")


@dataclass(frozen=True)
class Module:
    """One Python file."""

    path: Path
    name: str
    text: str
    tree: ast.Module

    @property
    def room(self) -> str:
        """The folder under the package, or "" for the package's own `__init__`."""
        parts = self.name.split(".")
        return parts[1] if len(parts) > 1 else ""

    def where(self, node: ast.AST) -> str:
        """File and line, as an editor opens them."""
        return f"{self.path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"


def _read(path: Path) -> Module:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    text = path.read_text(encoding="utf-8")
    return Module(path=path, name=name, text=text, tree=ast.parse(text, filename=str(path)))


@functools.cache
def package_modules() -> tuple[Module, ...]:
    """All modules of the package."""
    return tuple(_read(path) for path in sorted(PACKAGE.rglob("*.py")))


@functools.cache
def test_modules() -> tuple[Module, ...]:
    """All modules of the tests."""
    return tuple(_read(path) for path in sorted((ROOT / "fuse_dagster_tests").rglob("*.py")))


test_modules.__test__ = False  # type: ignore[attr-defined]  # the name is no test


@functools.cache
def files() -> tuple[Path, ...]:
    """All files that are, or would be, committed."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    paths = (ROOT / name.decode() for name in listed.stdout.split(b"\0") if name)
    return tuple(sorted(path for path in paths if path.exists()))


@functools.cache
def texts() -> tuple[tuple[Path, str], ...]:
    """All files that are text, with their text."""
    found = []
    for path in files():
        data = path.read_bytes()
        if b"\0" in data[:8000]:
            continue
        try:
            found.append((path, data.decode("utf-8")))
        except UnicodeDecodeError:
            continue
    return tuple(found)


def imported(module: Module) -> list[tuple[ast.AST, str]]:
    """Every module that a module imports, wherever in it, with the place.

    `from a import b` counts as `a.b`, which may be a name in `a`: the room is the same. Dotted strings count,
    as registries import them on first use.
    """
    found: list[tuple[ast.AST, str]] = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found += [(node, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [(node, f"{node.module}.{alias.name}") for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and DOTTED.fullmatch(node.value):
            found.append((node, node.value.replace(":", ".")))
        elif isinstance(node, ast.Call) and _called(node) in {"import_module", "__import__"}:
            found += [(node, arg.value) for arg in node.args if isinstance(arg, ast.Constant) and arg.value]
    return found


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
