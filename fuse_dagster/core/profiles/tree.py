"""YAML as a tree whose nodes know their path and line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import yaml

from fuse_dagster.core.profiles.problems import Problems

_NULL = "tag:yaml.org,2002:null"
_MERGE = "tag:yaml.org,2002:merge"


@dataclass(frozen=True, slots=True)
class Node:
    """One value of the file.

    Scalars are text as it is written: `port: 9000` is "9000", and the field that takes it says that it is a number.
    So `account: 0123` keeps its zero, and `country: no` is no false.

    Attributes:
        value: Text, None, a list of nodes, or a mapping of names to nodes.
        path: As `$.profiles.dev`.
        line: From 1.
    """

    value: str | Sequence[Node] | Mapping[str, Node] | None
    path: str
    line: int

    @property
    def text(self) -> str | None:
        """The text of a scalar; None for anything else."""
        return self.value if isinstance(self.value, str) else None


def parse(text: str, problems: Problems) -> Node:
    """Read one YAML document. Problems are added without what stands on the line, which may be a secret.

    Raises:
        ProfileError: It is no YAML.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        what = _WHY.get(type(error), "it can't be read as YAML")
        problems.add_at("$", line, f"From here on {what}. Check indents, colons and quotes on this line and above.")
        root = None
    except yaml.YAMLError:
        problems.add_at("$", 1, "The file holds a sign that YAML does not allow. Write it again as UTF-8 text.")
        root = None
    problems.raise_any()
    if root is None:
        return Node({}, "$", 1)
    return _node(root, "$", problems, above=())


_WHY: dict[type[Exception], str] = {
    yaml.composer.ComposerError: "there is an alias (`*name`) that no anchor defines, or a second document",
    yaml.scanner.ScannerError: "there is a sign where YAML allows none",
    yaml.parser.ParserError: "the structure does not close as it opened",
}


def _node(raw: yaml.Node, path: str, problems: Problems, *, above: tuple[int, ...]) -> Node:
    line = raw.start_mark.line + 1
    if id(raw) in above:
        problems.add_at(path, line, "This alias leads into itself. Write the values out.")
        return Node(None, path, line)
    above = (*above, id(raw))
    if isinstance(raw, yaml.MappingNode):
        found: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        for key, value in raw.value:
            if key.tag == _MERGE:
                merged = {**_merged(value, path, problems, above=above), **merged}
                continue
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else "?"
            inner = f"{path}.{name}"
            if name in found:
                first = found[name].line
                problems.add_at(inner, key.start_mark.line + 1, f"It is there already, in line {first}. Remove one.")
                continue
            node = _node(value, inner, problems, above=above)
            found[name] = Node(node.value, inner, key.start_mark.line + 1)
        return Node({**merged, **found}, path, line)
    if isinstance(raw, yaml.SequenceNode):
        items = [_node(item, f"{path}[{n}]", problems, above=above) for n, item in enumerate(raw.value)]
        return Node(items, path, line)
    return Node(None if raw.tag == _NULL else str(raw.value), path, line)


def _merged(raw: yaml.Node, path: str, problems: Problems, *, above: tuple[int, ...]) -> dict[str, Node]:
    """What `<<: *name` or `<<: [*one, *two]` brings; of several, the first that has a key states it."""
    found: dict[str, Node] = {}
    for one in reversed(raw.value) if isinstance(raw, yaml.SequenceNode) else [raw]:
        node = _node(one, path, problems, above=above)
        if isinstance(node.value, Mapping):
            found |= node.value
        else:
            problems.add_at(
                f"{path}.<<", raw.start_mark.line + 1, "`<<` takes over names with values: an alias of some."
            )
    return found
