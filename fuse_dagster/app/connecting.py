"""What there is to say about connectors: where they come from, what they need and can do, how one is declared."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Literal, get_args, get_origin

from fuse_dagster import __version__, secrets
from fuse_dagster.connectors import Connector, base, connectors
from fuse_dagster.connectors.lake import Lake
from fuse_dagster.core.errors import ConfigError, MissingExtraError
from fuse_dagster.core.registry import OURSELVES

_EXTRA = re.compile(r"extra\s*==\s*['\"]([\w.-]+)['\"]")
_NAME = re.compile(r"[\w.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a connector.

    Attributes:
        name: As in YAML and in Python.
        type: Its type, or the values that it may have.
        required: Whether it has to be given.
        default: What holds where it is not given, as YAML says it; None where it is required.
        secret: Whether it holds a reference to a secret.
        description: Why one would set it.
    """

    name: str
    type: str
    required: bool
    default: str | None
    secret: bool
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A connector.

    Attributes:
        name: The value of `type`.
        what: What it reaches, in one sentence; "" where its class can't be imported.
        target: Where its class is.
        package: The distribution that registers it.
        version: Version of that distribution; "" where it does not say.
        extra: The extra to install; "" where it needs none.
        missing: Packages of that extra that are not installed.
        problem: Why its class can't be imported; "" where it can.
        capabilities: What it can do, by the protocols that it meets.
        fields: How it is declared.
    """

    name: str
    what: str
    target: str
    package: str
    version: str
    extra: str
    missing: tuple[str, ...]
    problem: str
    capabilities: tuple[str, ...]
    fields: tuple[Field, ...]

    @property
    def is_ready(self) -> bool:
        """Whether all that it needs is installed."""
        return not self.missing and not self.problem

    @property
    def install(self) -> str:
        """The line that installs what is missing; "" where nothing is."""
        return "" if self.is_ready else f'pip install "{self.package}[{self.extra or self.name}]"'


def describe(name: str) -> Described:
    """Say what a connector is.

    Args:
        name: The value of `type`.

    Raises:
        ConfigError: Nobody registered that name, or two packages claim it.
    """
    line = connectors.line(name)
    problem, found = "", None
    try:
        found = connectors.load(name)
    except (ConfigError, MissingExtraError) as error:
        problem = str(error)
    extra = name if name in extras(line.package) else ""
    return Described(
        name=name,
        what="" if found is None else (inspect.getdoc(found) or "").split("\n", maxsplit=1)[0],
        target=line.target,
        package=line.package,
        version=_version(line.package),
        extra=extra,
        missing=tuple(one for one in extras(line.package).get(extra, ()) if not _version(one)),
        problem=problem,
        capabilities=() if found is None else tuple(capabilities_of(found)),
        fields=() if found is None else tuple(_fields(found)),
    )


def capabilities_of(kind: type[Connector]) -> Iterator[str]:
    """What a class can do: `hold tables`, and the protocols of `connectors.base` it meets, as `list` for `CanList`."""
    if issubclass(kind, Lake):
        yield "hold tables"
    for name, protocol in vars(base).items():
        if name.startswith("Can") and isinstance(protocol, type) and issubclass(kind, protocol):
            yield re.sub(r"(?<!^)(?=[A-Z])", " ", name.removeprefix("Can")).lower()


def _fields(kind: type[Connector]) -> Iterator[Field]:
    """Required ones first, then those of the class itself, then those that it shares with others."""
    secret, own = secrets.secret_fields(kind), inspect.get_annotations(kind)
    known = {name: field for name, field in kind.model_fields.items() if name != "type"}
    for name, field in sorted(known.items(), key=lambda one: (not one[1].is_required(), one[0] not in own)):
        required = field.is_required()
        default = field.get_default(call_default_factory=True)
        yield Field(
            name=name,
            type=_type(field.annotation),
            required=required,
            default=None if required else str(default).lower() if isinstance(default, bool) else str(default),
            secret=name in secret,
            description=" ".join((field.description or "").split()),
        )


def _type(annotation: object) -> str:
    if get_origin(annotation) is Literal:
        return " | ".join(str(value) for value in get_args(annotation))
    if isinstance(annotation, type) and not hasattr(annotation, "__args__"):
        return annotation.__name__
    return re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", str(annotation))


@cache
def extras(package: str) -> dict[str, tuple[str, ...]]:
    """Extras of a distribution -> names of the packages that each brings."""
    try:
        requirements = metadata.requires(package) or []
    except metadata.PackageNotFoundError:
        return {}
    found: dict[str, list[str]] = {}
    for text in requirements:
        extra, name = _EXTRA.search(text), _NAME.match(text)
        if extra and name:
            found.setdefault(extra[1], []).append(name[0])
    return {extra: tuple(names) for extra, names in found.items()}


def _version(package: str) -> str:
    if package == OURSELVES:
        return __version__
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
