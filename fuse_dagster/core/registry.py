"""Named things that are imported on first use: our own lines, and other packages' entry points."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Generic, TypeVar

from fuse_dagster.core.errors import ConfigError, MissingExtraError
from fuse_dagster.core.naming import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

OURSELVES = "fuse-dagster"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One registered name.

    Attributes:
        name: What users write.
        target: Where it is, as `package.module:attribute`.
        package: The distribution that registers it.
    """

    name: str
    target: str
    package: str


class Registry(Generic[T]):
    """Names of one kind of thing, each imported only when it is asked for.

    Args:
        group: Entry point group that other packages register under, as `fuse_dagster.connectors`.
        kind: The class that each target must be a subclass of.
        builtin: Our own lines: name -> `package.module:attribute`.
    """

    def __init__(self, group: str, kind: type[T], builtin: Mapping[str, str]) -> None:
        self._group = group
        self._kind = kind
        self._builtin = dict(builtin)

    @property
    def names(self) -> tuple[str, ...]:
        """All registered names, sorted.

        Raises:
            ConfigError: Two packages claim one name.
        """
        return tuple(sorted(self._lines))

    def line(self, name: str) -> Line:
        """Look a name up without importing it.

        Raises:
            ConfigError: Nobody registered `name`, or two packages claim one name.
        """
        if name not in self._lines:
            msg = f"No `{self._group}` is named `{name}`. {did_you_mean(name, self._lines)}"
            raise ConfigError(msg)
        return self._lines[name]

    def load(self, name: str) -> type[T]:
        """Import the class behind a name.

        Raises:
            ConfigError: Nobody registered `name`, two packages claim it, or the target is no such class.
            MissingExtraError: What it is built on is not installed.
        """
        line = self.line(name)
        module, _, attribute = line.target.partition(":")
        try:
            loaded = getattr(import_module(module), attribute)
        except ModuleNotFoundError as error:
            raise MissingExtraError(_install_line(line, error)) from error
        except AttributeError as error:
            msg = f"`{line.package}` registers `{name}` as `{line.target}`, but there is no `{attribute}`."
            raise ConfigError(msg) from error
        if not (isinstance(loaded, type) and issubclass(loaded, self._kind)):
            msg = (
                f"`{line.package}` registers `{name}` as `{line.target}`, which is no subclass of "
                f"`{self._kind.__name__}`. Make it one, or take the entry point out."
            )
            raise ConfigError(msg)
        return loaded

    @cached_property
    def _lines(self) -> dict[str, Line]:
        claims: dict[str, dict[str, Line]] = {}
        for name, target in self._builtin.items():
            line = Line(name=name, target=target, package=OURSELVES)
            claims.setdefault(name, {})[OURSELVES] = line
        for point in entry_points(group=self._group):
            package = point.dist.name if point.dist else point.value.partition(".")[0]
            line = Line(name=point.name, target=point.value, package=package)
            claims.setdefault(point.name, {})[package] = line
        problems = [
            f"`{name}` is claimed by {' and '.join(f'`{package}`' for package in sorted(lines))}"
            for name, lines in sorted(claims.items())
            if len(lines) > 1
        ]
        if problems:
            msg = f"Two packages register one name of `{self._group}`: {'; '.join(problems)}. Uninstall one."
            raise ConfigError(msg)
        return {name: next(iter(lines.values())) for name, lines in claims.items()}


def _install_line(line: Line, error: ModuleNotFoundError) -> str:
    what = f"{OURSELVES}[{line.name}]" if line.package == OURSELVES else line.package
    return f'`{line.name}` needs the package `{error.name}`. Install it with: pip install "{what}"'
