"""Keeping values out of what people read."""

from __future__ import annotations

import re
from collections import OrderedDict
from threading import Lock
from urllib.parse import quote, quote_plus

from fuse_dagster.secrets.reference import SCHEME, variable_of

MASK = "***"
SHORTEST = 6
"""Characters below which a value is not looked for in a message: it would be found in ordinary words."""

_CREDENTIALS = re.compile(r"://[^/\s]*:[^/\s]*@")


def known_scheme(text: str) -> str | None:
    """The store that a text is a reference to; None where it is none."""
    from fuse_dagster.secrets.stores import stores  # a store's repr masks, so this module is loaded before the stores

    found = SCHEME.match(text)
    return found[1] if found and found[1] in stores.names else None


def mask(text: str) -> str:
    """What may be shown of the content of a secret field.

    Returns:
        A reference as it is, a Dagster `EnvVar` as `env://NAME`, nothing for nothing, and `***` for any other text.

    Examples:
        >>> mask("env://S3_KEY"), mask("swordfish")
        ('env://S3_KEY', '***')
    """
    variable = variable_of(text)
    if variable is not None:
        return f"env://{variable}"
    if not text or (known_scheme(text) and not _CREDENTIALS.search(text)):
        return text
    return MASK


class Known:
    """The values that this process has used as secrets, to find them in what others say.

    Args:
        limit: How many are kept; the ones not used for longest go first.
    """

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._values: OrderedDict[str, None] = OrderedDict()
        self._lock = Lock()

    def add(self, value: str) -> None:
        """Remember a value, and how it looks in a URL."""
        with self._lock:
            for form in (value, quote(value, safe=""), quote_plus(value)):
                if len(form) >= SHORTEST:
                    self._values[form] = None
                    self._values.move_to_end(form)
            while len(self._values) > self._limit:
                self._values.popitem(last=False)

    def copy(self) -> Known:
        """The same values, of which each side forgets and learns its own from now on."""
        other = Known(self._limit)
        with self._lock:
            other._values = self._values.copy()
        return other

    def scrub(self, text: str) -> str:
        """Put `***` for each value in a text; the longest first, as one may hold another."""
        with self._lock:
            values = sorted(self._values, key=len, reverse=True)
        for value in values:
            text = text.replace(value, MASK)
        return text
