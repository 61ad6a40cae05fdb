"""What is wrong with a file, collected so that all of it is said at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fuse_dagster.core.errors import ConfigError

if TYPE_CHECKING:
    from fuse_dagster.core.profiles.tree import Node


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        path: Where in the file's structure, as `$.profiles.dev.connections.lake.rooot`.
        line: Line of the file, from 1.
        text: What is wrong, and what is valid, in sentences. Never a value of a field.
    """

    path: str
    line: int
    text: str


class ProfileError(ConfigError):
    """A `fuse.yaml` that can't be used.

    Attributes:
        file: The file.
        problems: All that is wrong, from top to bottom.
    """

    def __init__(self, file: Path, problems: tuple[Problem, ...]) -> None:
        self.file = file
        self.problems = problems
        lines = [f"{file.name}:{one.line}: `{one.path}`: {one.text}" for one in problems]
        count = "a problem" if len(lines) == 1 else f"{len(lines)} problems"
        super().__init__("\n".join([f"`{file}` has {count}.", *lines]))

    def __reduce__(self) -> tuple[type[ProfileError], tuple[Path, tuple[Problem, ...]]]:
        return type(self), (self.file, self.problems)


class Problems:
    """Collects what is wrong with one file.

    Args:
        file: The file.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._found: list[Problem] = []

    def add(self, node: Node, text: str, *, path: str = "") -> None:
        """Add one, at a node, or at a `path` below it."""
        self._found.append(Problem(path or node.path, node.line, text))

    def add_at(self, path: str, line: int, text: str) -> None:
        """Add one where there is no node."""
        self._found.append(Problem(path, line, text))

    def at(self, path: str) -> bool:
        """Say whether there is one at a path already."""
        return any(one.path == path for one in self._found)

    def raise_any(self) -> None:
        """Say all of them.

        Raises:
            ProfileError: There is one or more.
        """
        if self._found:
            unique = dict.fromkeys(self._found)
            raise ProfileError(self.file, tuple(sorted(unique, key=lambda one: (one.line, one.path))))
