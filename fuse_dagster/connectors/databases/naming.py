"""Names of tables as people write them: of parts with dots between, in double quotes where a part is odd."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fuse_dagster.core.errors import ConfigError

_PART = re.compile(r'"((?:""|[^"\0])+)"|([^".\0]+)')
_PLAIN = re.compile(r'[^".\s]+')


def parts_of(name: str, *, most: int) -> tuple[str, ...]:
    """Split a name at its dots; in double quotes a part may hold dots, and quotes that are doubled.

    Args:
        name: As `schema.table`.
        most: Parts at the most.

    Raises:
        ConfigError: A part is empty or holds a null byte, quotes don't end, or there are too many parts.

    Examples:
        >>> parts_of('public."a.b"', most=2)
        ('public', 'a.b')
    """
    found, place = [], 0
    while True:
        part = _PART.match(name, place)
        if part is None or (part.end() < len(name) and name[part.end()] != "."):
            break
        found.append(part[1].replace('""', '"') if part[1] is not None else part[2])
        if part.end() == len(name):
            if len(found) > most:
                break
            return tuple(found)
        place = part.end() + 1
    msg = (
        f"`{name}` is no name of a table. Valid: 1 to {most} parts with dots between them; a part that holds dots, "
        'spaces at its ends or quotes stands in double quotes, as `public."a.b"`.'
    )
    raise ConfigError(msg)


def written(parts: Sequence[str]) -> str:
    """A name that `parts_of` takes apart again.

    Examples:
        >>> written(("public", "a.b"))
        'public."a.b"'
    """
    return ".".join(part if _PLAIN.fullmatch(part) else '"' + part.replace('"', '""') + '"' for part in parts)
