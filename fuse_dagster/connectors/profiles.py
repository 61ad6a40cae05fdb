"""Connections by name from a profile of `fuse.yaml`: a connection's YAML is its Python constructor."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from fuse_dagster import secrets
from fuse_dagster.connectors import Connector, connectors
from fuse_dagster.connectors.declaring import in_words
from fuse_dagster.core.errors import ConfigError, MissingExtraError
from fuse_dagster.core.naming import did_you_mean
from fuse_dagster.core.profiles import Chosen, Node, Origin, choose, find
from fuse_dagster.core.profiles.variables import expand

M = TypeVar("M", bound=BaseModel)


class LiteralSecretWarning(UserWarning):
    """A profile holds a secret itself, rather than a reference to one."""


@dataclass(frozen=True, slots=True)
class Row:
    """One field of one connection, as people may see it.

    Attributes:
        name: As `connections.lake.root`.
        value: Its text; `***` for a secret, while a reference to one stays as it is.
        origin: Where it came from.
    """

    name: str
    value: str
    origin: Origin


@dataclass(frozen=True)
class Profile:
    """A profile, ready for use.

    Attributes:
        name: Its name.
        file: The `fuse.yaml`.
        production: Whether literal secrets are refused.
        connections: Name -> connector. They are Dagster resources.
        stores: Scheme -> store of secrets, of those whose settings the profile states. They are in use.
        origins: `profile`, and each field as `connections.lake.root` -> where its value came from.
        warnings: What is allowed here and should be otherwise, with file and line.
    """

    name: str
    file: Path
    production: bool
    connections: Mapping[str, Connector]
    stores: Mapping[str, secrets.Store]
    origins: Mapping[str, Origin]
    warnings: tuple[str, ...]

    def rows(self) -> Iterator[Row]:
        """All fields of all connections and stores, in order, with secrets masked."""
        models: dict[str, BaseModel] = {f"connections.{name}": each for name, each in self.connections.items()}
        models |= {f"secrets.{name}": each for name, each in self.stores.items()}
        for name, model in models.items():
            secret = secrets.secret_fields(type(model))
            for field in type(model).model_fields:
                value = getattr(model, field)
                text = secrets.mask(value) if field in secret and isinstance(value, str) else f"{value}"
                yield Row(f"{name}.{field}", text, self.origins[f"{name}.{field}"])


def load_profile(name: str | None = None, *, start: Path | None = None) -> Profile:
    """Build the connections of a profile. No secret is resolved, and no system is reached.

    Args:
        name: The profile; else the one that `FUSE_PROFILE` names, else the file's `default`.
        start: Where to look for `fuse.yaml`, in that folder and those above it; or the file itself. Else the current
            folder.

    Returns:
        The profile. The variables of the `.env` beside the file are in the environment now, where they weren't set, and
        the settings of its stores of secrets are in use in this process.

    Raises:
        ProfileError: All that is wrong with the file, its variables, connections and references at once.
        ConfigError: There is no `fuse.yaml`.

    Warns:
        LiteralSecretWarning: A secret stands in the file itself. In production that is refused.
    """
    chosen = choose(find(start), name)
    found = _Building(chosen)
    stores = {scheme: found.store(scheme) for scheme in chosen.stores}
    connections = {connection: found.connection(connection) for connection in chosen.connections}
    chosen.problems.raise_any()
    for store in stores.values():
        if store is not None:
            secrets.use(store)
    for text in found.warnings:
        warnings.warn(text, LiteralSecretWarning, stacklevel=2)
    return Profile(
        name=chosen.name,
        file=chosen.problems.file,
        production=chosen.production,
        connections={connection: built for connection, built in connections.items() if built is not None},
        stores={scheme: built for scheme, built in stores.items() if built is not None},
        origins=found.origins,
        warnings=tuple(found.warnings),
    )


class _Building:
    """Collects what building the connections brings to light."""

    def __init__(self, chosen: Chosen) -> None:
        self._chosen = chosen
        self._problems = chosen.problems
        self.origins: dict[str, Origin] = {"profile": chosen.by}
        self.warnings: list[str] = []

    def connection(self, name: str) -> Connector | None:
        """One connection, or None after adding what is wrong with it."""
        nodes = self._chosen.connections[name]
        place = self._chosen.places[f"connections.{name}"]
        stated = nodes.get("type")
        if not nodes and self._problems.at(place.path):
            return None  # it is no mapping, which is said already
        if stated is None or not stated.text:
            valid = did_you_mean("", connectors.names)
            self._problems.add(stated or place, f"It has no type. {valid}", path=f"{place.path}.type")
            return None
        try:
            kind = connectors.load(stated.text)
        except (ConfigError, MissingExtraError) as error:
            self._problems.add(stated, str(error))
            return None
        return self._made(f"connections.{name}", kind, nodes)

    def store(self, scheme: str) -> secrets.Store | None:
        """One store of secrets, or None after adding what is wrong with its settings."""
        try:
            kind = secrets.stores.load(scheme)
        except (ConfigError, MissingExtraError) as error:
            self._problems.add(self._chosen.places[f"secrets.{scheme}"], str(error))
            return None
        return self._made(f"secrets.{scheme}", kind, self._chosen.stores[scheme])

    def _made(self, name: str, kind: type[M], nodes: Mapping[str, Node]) -> M | None:
        values: dict[str, object] = {}
        for field, node in nodes.items():
            if field in kind.model_fields:
                text = expand(node, self._problems, self.origins, f"{name}.{field}")
                values[field] = _typed(kind, field, text)
            else:
                valid = did_you_mean(field, sorted(set(kind.model_fields) - {"type"}))
                self._problems.add(node, f"`{kind.__name__}` has no such field. {valid}")
        self._look_at_secrets(name, kind, nodes, values)
        for field in kind.model_fields:
            self.origins.setdefault(f"{name}.{field}", Origin("default"))
        return self._built(name, kind, nodes, values)

    def _look_at_secrets(
        self, name: str, kind: type[BaseModel], nodes: Mapping[str, Node], values: Mapping[str, object]
    ) -> None:
        for field in sorted(secrets.secret_fields(kind) & set(values)):
            value, node = values[field], nodes[field]
            if not isinstance(value, str) or not value:
                continue
            try:
                secrets.check(value)
            except ConfigError as error:
                self._problems.add(node, str(error))
                continue
            if not secrets.is_reference(value):
                self._literal(node, self.origins[f"{name}.{field}"])

    def _literal(self, node: Node, origin: Origin) -> None:
        if origin.variable:
            instead = f"Write `env://{origin.variable.partition(',')[0]}`, which is read when it is needed."
            what = f"It takes a secret from {origin.source} while the profile is loaded."
        else:
            instead = f"Put it into a store and write a reference, as `env://NAME`. Stores: {_stores()}."
            what = "It holds a secret itself."
        if self._chosen.production:
            self._problems.add(node, f"{what} In production that is refused. {instead}")
        else:
            self.warnings.append(f"{self._problems.file.name}:{node.line}: `{node.path}`: {what} {instead}")

    def _built(self, name: str, kind: type[M], nodes: Mapping[str, Node], values: Mapping[str, object]) -> M | None:
        place = self._chosen.places[name]
        try:
            return kind(**values)
        except ValidationError as error:  # its text shows what was given, which may be a secret
            found = error.errors(include_input=False, include_context=False, include_url=False)
            wrong = [(str(each["loc"][0]) if each["loc"] else "", in_words(each)) for each in found]
        except ConfigError as error:
            wrong = [(each.field, each.words) for each in getattr(error, "problems", ())] or [("", str(error))]
        for field, words in wrong:
            path = nodes[field].path if field in nodes else f"{place.path}.{field}" if field else place.path
            if not self._problems.at(path):  # one that is said already may have led to this one
                self._problems.add(nodes.get(field, place), words, path=path)
        return None


def _typed(kind: type[BaseModel], field: str, value: object) -> object:
    """What the text in the file is in Python; the text where it can't be, which the connector then refuses."""
    try:
        taken: TypeAdapter[object] = TypeAdapter(kind.model_fields[field].annotation or object)
        return taken.validate_python(value)
    except ValidationError:
        return value


def _stores() -> str:
    return ", ".join(f"`{name}://`" for name in secrets.stores.names)
