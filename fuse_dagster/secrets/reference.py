"""The text that stands for a secret: `scheme://path?option=value#field`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from fuse_dagster.core.errors import ConfigError

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A reference in its parts. It holds no secret: logs and errors may show it.

    Attributes:
        scheme: The store, as `vault`.
        path: What stands between `://` and the first `?` or `#`, with `%20` and the like decoded.
        field: What stands after the `#`: one value of several that the secret holds; "" for all of it.
        options: What stands after the `?`, as `ttl=60` or `version=3`.
        text: The whole reference, as it was written.
    """

    scheme: str
    path: str
    field: str
    options: Mapping[str, str]
    text: str

    def __str__(self) -> str:
        return self.text


def parse(text: str) -> Reference:
    """Take a reference apart.

    Raises:
        ConfigError: There is no `scheme://`, nothing after it, or an option that is no `name=value`.

    Examples:
        >>> parse("vault://secret/lake?version=3#key").field
        'key'
    """
    found = SCHEME.match(text)
    rest = text[found.end() :] if found else ""
    before, _, fragment = rest.partition("#")
    path, _, query = before.partition("?")
    if not found or not path:
        # The text itself is not shown: it may be a value in the wrong place.
        msg = "A reference to a secret has no path. Valid: `env://NAME`, `file:///path`, `vault://mount/path#field`."
        raise ConfigError(msg)
    return Reference(
        scheme=found[1],
        path=unquote(path),
        field=unquote(fragment),
        options=dict(_option(word, text) for word in query.split("&") if word),
        text=text,
    )


def _option(word: str, text: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not (name and equals and value):
        msg = f"`{text}` has an option without a name or a value. Valid: `?ttl=60`, `?version=3`."
        raise ConfigError(msg)
    return name, unquote(value)


def variable_of(text: str) -> str | None:
    """The variable that a Dagster `EnvVar` names; None for any other text.

    It is told by its public property, so that nothing here imports Dagster.
    """
    name = getattr(text, "env_var_name", None)
    return name if isinstance(name, str) else None
