"""Which file, which profile, and what it inherits."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.core.naming import did_you_mean, listing
from fuse_dagster.core.profiles.problems import Problems
from fuse_dagster.core.profiles.tree import Node, parse
from fuse_dagster.core.profiles.variables import Origin, load_env, source_of

FILE = "fuse.yaml"
VARIABLE = "FUSE_PROFILE"
"""Environment variable that chooses a profile where code doesn't."""

PRODUCTION = frozenset({"prod", "production"})
"""Profiles that are in production by their name."""

_AT_THE_TOP = ("default", "profiles")
_IN_A_PROFILE = ("connections", "extends", "production", "secrets")


@dataclass(frozen=True)
class Chosen:
    """One profile with what it inherits, before its variables are filled in.

    Attributes:
        name: Its name.
        by: Who chose it.
        connections: Name -> the fields of that connection, each where it was written last.
        places: `connections.lake`, `secrets.vault` -> where it was written last.
        stores: Name of a store of secrets -> its settings, each where it was written last.
        production: Whether literal secrets are refused.
        problems: What is wrong with the file so far, to add to.
    """

    name: str
    by: Origin
    connections: Mapping[str, Mapping[str, Node]]
    places: Mapping[str, Node]
    stores: Mapping[str, Mapping[str, Node]]
    production: bool
    problems: Problems


def find(start: Path | None = None) -> Path:
    """The `fuse.yaml` in a folder or the nearest one above it.

    Args:
        start: A folder, or the file itself; the current folder if None.

    Raises:
        ConfigError: There is none.
    """
    begin = (start or Path.cwd()).absolute()
    if begin.is_file():
        return begin
    for folder in (begin, *begin.parents):
        if (folder / FILE).is_file():
            return folder / FILE
    msg = (
        f"There is no `{FILE}` in `{begin}` or above. Write one there, as in:\n"
        "default: dev\nprofiles:\n  dev:\n    connections:\n      lake: {type: local, root: lake}"
    )
    raise ConfigError(msg)


def names(file: Path) -> tuple[str, ...]:
    """The profiles of a file, as they stand there.

    Raises:
        ProfileError: The file can't be read.
    """
    problems = Problems(file)
    found = tuple(_profiles(_read(file, problems), problems))
    problems.raise_any()
    return found


def choose(file: Path, name: str | None = None) -> Chosen:
    """Choose a profile: by `name`, else by `FUSE_PROFILE`, else the file's `default`. Loads the `.env` beside it.

    Raises:
        ProfileError: The file can't be read, or nothing chooses a profile that is there.
    """
    load_env(file.parent / ".env")
    problems = Problems(file)
    root = _read(file, problems)
    profiles = _profiles(root, problems)
    chosen, by = _name(root, name, profiles, problems)
    lines = {one: _ancestors(one, profiles, problems) for one in profiles}
    problems.raise_any()
    connections: dict[str, dict[str, Node]] = {}
    places: dict[str, Node] = {}
    stores: dict[str, dict[str, Node]] = {}
    production = False
    for profile in reversed(lines[chosen]):
        body = _mapping(profiles[profile], problems)
        if "production" in body:
            production = _is_true(body["production"], problems)
        production = production or profile in PRODUCTION
        for connection, node in _mapping(body.get("connections"), problems).items():
            places[f"connections.{connection}"] = node
            connections[connection] = _over(connections.get(connection, {}), _mapping(node, problems))
        for store, node in _mapping(body.get("secrets"), problems).items():
            places[f"secrets.{store}"] = node
            stores[store] = {**stores.get(store, {}), **_mapping(node, problems)}
    return Chosen(chosen, by, connections, places, stores, production, problems)


def _read(file: Path, problems: Problems) -> Mapping[str, Node]:
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        problems.add_at("$", 1, "The file is no text in UTF-8. Write it again as UTF-8.")
        text = ""
    problems.raise_any()
    root = parse(text, problems)
    top = _mapping(root, problems)
    _only(top, _AT_THE_TOP, problems)
    return top


def _profiles(root: Mapping[str, Node], problems: Problems) -> Mapping[str, Node]:
    if "profiles" not in root:
        problems.add_at("$", 1, "There are no `profiles`. Valid: `profiles:`, and below it names such as `dev:`.")
        return {}
    profiles = _mapping(root["profiles"], problems)
    for node in profiles.values():
        _only(_mapping(node, problems), _IN_A_PROFILE, problems)
    return profiles


def _name(
    root: Mapping[str, Node], name: str | None, profiles: Mapping[str, Node], problems: Problems
) -> tuple[str, Origin]:
    stated = root.get("default")
    if name:
        chosen, by = name, Origin("argument")
    elif os.environ.get(VARIABLE):
        chosen, by = os.environ[VARIABLE], Origin(source_of(VARIABLE), "", VARIABLE)
    elif stated is not None and stated.text:
        chosen, by = stated.text, Origin("file", f"{problems.file.name}:{stated.line}")
    elif stated is None and len(profiles) == 1:
        chosen, by = next(iter(profiles)), Origin("file", problems.file.name)
    elif not profiles:  # which is said already
        return "", Origin("file")
    else:
        valid = listing(profiles)
        text = f"No profile is chosen. Set `{VARIABLE}`, or write `default:` at the top of the file. Valid: {valid}."
        problems.add_at("$.default", stated.line if stated else 1, text)
        return "", Origin("file")
    if chosen not in profiles:
        who = f"which `{by.variable}` names" if by.variable else "which was asked for"
        line = stated.line if stated is not None and by.source == "file" else 1
        path = "$.default" if by.source == "file" else "$.profiles"
        text = f"There is no profile `{chosen}`{'' if by.source == 'file' else ', ' + who}."
        problems.add_at(path, line, f"{text} {did_you_mean(chosen, profiles)}")
    return chosen, by


def _ancestors(name: str, profiles: Mapping[str, Node], problems: Problems) -> list[str]:
    """The profile and those that it extends, from the nearest to the farthest."""
    line = [name]
    while True:
        extends = _mapping(profiles[line[-1]], Problems(problems.file)).get("extends")
        if extends is None:
            return line
        if extends.text is None or extends.text not in profiles:
            told = f"There is no profile `{extends.text}`." if extends.text else "It is no name of a profile."
            problems.add(extends, f"{told} {did_you_mean(extends.text or '', profiles)}")
            return line
        if extends.text in line:
            problems.add(extends, f"`{extends.text}` extends itself: {' -> '.join([*line, extends.text])}.")
            return line
        line.append(extends.text)


def _over(below: Mapping[str, Node], above: Mapping[str, Node]) -> dict[str, Node]:
    """The fields of a connection, of which the profile above states some; another `type` inherits nothing."""
    if "type" in above and "type" in below and above["type"].value != below["type"].value:
        return dict(above)
    return {**below, **above}


def _mapping(node: Node | None, problems: Problems) -> Mapping[str, Node]:
    if node is None or node.value is None:
        return {}
    if isinstance(node.value, Mapping):
        return node.value
    problems.add(node, "There must be names with values here, as `name: value`.")
    return {}


def _only(found: Mapping[str, Node], valid: tuple[str, ...], problems: Problems) -> None:
    for name, node in found.items():
        if name not in valid:
            problems.add(node, f"There is no such key here. {did_you_mean(name, valid)}")


def _is_true(node: Node, problems: Problems) -> bool:
    if node.text not in {"true", "false"}:
        problems.add(node, "It is neither `true` nor `false`.")
    return node.text == "true"
