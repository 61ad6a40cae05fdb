"""The header `Link`, as RFC 8288 has it."""

from __future__ import annotations

import re
from collections.abc import Iterator

_PARAMETER = re.compile(r";\s*([\w!#$%&'*+.^`|~-]+)\s*(?:=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s;,]*)))?\s*")
_LINK = re.compile(r"\s*,?\s*<([^>]*)>\s*")


def next_link(header: str) -> str | None:
    """The address that a `Link` header names for `rel="next"` (RFC 8288); None for none.

    Examples:
        >>> next_link('<a?p=1>; rel="first", <a?p=3>; title="x, y"; rel="last next"')
        'a?p=3'
    """
    for address, parameters in _links(header):
        if "next" in parameters.get("rel", "").lower().split():
            return address
    return None


def _links(header: str) -> Iterator[tuple[str, dict[str, str]]]:
    at = 0
    while link := _LINK.match(header, at):
        at = link.end()
        parameters: dict[str, str] = {}
        while found := _PARAMETER.match(header, at):
            parameters.setdefault(found[1].lower(), found[2] if found[2] is not None else found[3] or "")
            at = found.end()
        yield link[1], parameters
