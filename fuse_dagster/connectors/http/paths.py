"""Where something is in an answer: dotted paths such as `data.items`, `legs[0].code`, `routes[*].legs`, or a header."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fuse_dagster.core.errors import ConfigError

_STEP = re.compile(r"""\.?([^.\[\]'"]+)|\[(\d+)\]|\[(\*)\]|\[(?:'([^']*)'|"([^"]*)")\]|\.(\*)""")
_HEADER = "header:"

ABSENT: Any = object()
"""What is found where there is nothing."""


@dataclass(frozen=True, slots=True)
class Path:
    """A path, read.

    Attributes:
        text: As it was written.
        steps: Names of objects, positions in lists, and None for every item.
    """

    text: str
    steps: tuple[str | int | None, ...]

    @classmethod
    def parse(cls, text: str) -> Path:
        """Read a path; a `$` may stand before it, and `.` alone is the answer itself.

        Raises:
            ConfigError: It can't be read.

        Examples:
            >>> Path.parse("$.data['a.b'][0]").steps
            ('data', 'a.b', 0)
        """
        rest = text.strip().removeprefix("$")
        rest = "" if rest == "." else rest
        steps: list[str | int | None] = []
        at = 0
        while at < len(rest):
            found = _STEP.match(rest, at)
            if not found or (not steps and found[0].startswith(".") and text.strip()[:1] == "."):
                msg = f"`{text}` is no path. Valid: names with dots between, as `data.items`, `a[0].b`, `a[*]['b.c']`."
                raise ConfigError(msg)
            name, number, star, single, double, dotted = found.groups()
            if star or dotted or name == "*":
                steps.append(None)
            elif number is not None:
                steps.append(int(number))
            else:
                steps.append(next(one for one in (name, single, double) if one is not None))
            at = found.end()
        return cls(text, tuple(steps))

    def one(self, value: Any) -> Any:
        """What is there; `ABSENT` where there is nothing."""
        return next(iter(_walk(value, self.steps)), ABSENT)

    def every(self, value: Any) -> list[Any]:
        """All that is there: several where the path has a `*`."""
        return list(_walk(value, self.steps))


def _walk(value: Any, steps: Sequence[str | int | None]) -> Iterator[Any]:
    if not steps:
        yield value
        return
    step, *rest = steps
    if step is None:
        for each in value if isinstance(value, list) else value.values() if isinstance(value, Mapping) else ():
            yield from _walk(each, rest)
    elif isinstance(step, int):
        if isinstance(value, list) and step < len(value):
            yield from _walk(value[step], rest)
    elif isinstance(value, Mapping) and step in value:
        yield from _walk(value[step], rest)


def looked_at(place: str, body: Any, headers: Mapping[str, str]) -> Any:
    """What stands at a path in an answer, or in one of its headers where the path is `header:NAME`.

    Args:
        place: The path, or `header:` and a name.
        body: The answer, read.
        headers: Name in small letters -> value.

    Returns:
        The value, or `ABSENT`.
    """
    if place.startswith(_HEADER):
        return headers.get(place.removeprefix(_HEADER).strip().lower(), ABSENT)
    return Path.parse(place).one(body)


def path_problem(text: str, *, header: bool = False) -> str | None:
    """What is wrong with a path, as a sentence; None where nothing is."""
    if header and text.startswith(_HEADER):
        return None
    try:
        Path.parse(text)
    except ConfigError as error:
        return str(error)
    return None


def put(body: Any, place: str, value: object) -> Any:
    """A copy of a body in which a value stands at a path of names; objects on the way are made.

    Raises:
        ConfigError: On the way there is something else than an object.
    """

    def inside(found: Any, steps: Sequence[str | int | None]) -> Any:
        if not steps:
            return value
        if not isinstance(found, Mapping) or not isinstance(steps[0], str):
            raise ConfigError(f"`{place}` can't be put into the body, which has something else there than an object.")
        return {**found, steps[0]: inside(found.get(steps[0], {}), steps[1:])}

    return inside(body, Path.parse(place).steps)
