r"""RDF terms of Python values, written so that no value can be taken for a part of the question.

SPARQL 1.1, 19: strings have escapes, and `\uXXXX` may be replaced by an engine before anything else is read, even
behind a backslash. So the letter behind an escaped backslash is written as such a replacement itself.
"""

from __future__ import annotations

import base64
import datetime as dt
import re
from dataclasses import dataclass
from decimal import Decimal

from fuse_dagster.core.errors import InputError

XSD = "http://www.w3.org/2001/XMLSchema#"
_IRI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x20<>\"{}|^`\\\ud800-\udfff]*")
_LANGUAGE = re.compile(r"[a-zA-Z]{1,8}(-[a-zA-Z0-9]{1,8})*")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}
_UNICODE = {"u": "\\U00000075", "U": "\\U00000055"}  # eight digits: some engines take four more behind `\\u0075`


@dataclass(frozen=True, slots=True)
class IRI:
    """The name of a thing, as a parameter of a question.

    Attributes:
        value: Absolute, as `https://example.org/stations/EDDF`.

    Examples:
        >>> written(IRI("https://example.org/stations/EDDF"))
        '<https://example.org/stations/EDDF>'
    """

    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Literal:
    """A text with a language or a datatype, where none of Python's types says it.

    Attributes:
        text: As RDF writes it.
        language: As `de-AT`; "" for none.
        datatype: The IRI of a datatype; "" for none.

    Examples:
        >>> written(Literal(text="Wien", language="de"))
        '"Wien"@de'
    """

    text: str
    language: str = ""
    datatype: str = ""


def written(value: object) -> str:
    r"""The term that a value stands for.

    Args:
        value: Text, whether, a number, `Decimal`, a date, a time, bytes, `IRI` or `Literal`.

    Raises:
        InputError: RDF has no such value.

    Examples:
        >>> written("it's"), written(3)
        ('"it\'s"', '"3"^^<http://www.w3.org/2001/XMLSchema#integer>')
    """
    if isinstance(value, IRI):
        return _iri(value.value)
    if isinstance(value, Literal):
        return _literal(value)
    if isinstance(value, str):
        return _quoted(value)
    found = _typed(value)
    if found is None:
        kind = type(value).__name__
        hint = " RDF has no null: leave the condition out." if value is None else ""
        msg = (
            f"A `{kind}` can't be a parameter.{hint} Valid: text, numbers, `Decimal`, dates, times, bytes, `IRI` for "
            "the names of things, and `Literal` for a language or another datatype."
        )
        raise InputError(msg)
    text, datatype = found
    return f"{_quoted(text)}^^<{XSD}{datatype}>"


def _typed(value: object) -> tuple[str, str] | None:
    """How XML Schema writes a value, and the datatype; the first class that fits counts."""
    if isinstance(value, bool):
        return str(value).lower(), "boolean"
    if isinstance(value, float):
        return {"inf": "INF", "-inf": "-INF", "nan": "NaN"}.get(str(value), repr(value)), "double"
    if isinstance(value, Decimal):
        return (f"{value:f}", "decimal") if value.is_finite() else None
    if isinstance(value, bytes):
        return base64.b64encode(value).decode(), "base64Binary"
    if isinstance(value, dt.date | dt.time):
        kind = "dateTime" if isinstance(value, dt.datetime) else "time" if isinstance(value, dt.time) else "date"
        return value.isoformat(), kind
    return (str(value), "integer") if isinstance(value, int) else None


def _iri(text: str) -> str:
    if not _IRI.fullmatch(text):
        msg = f"`{text!r}` is no IRI. Valid: absolute, as `https://example.org/a`, without spaces, quotes and brackets."
        raise InputError(msg)
    return f"<{text}>"


def _literal(value: Literal) -> str:
    if value.language and value.datatype:
        raise InputError("A `Literal` has a language or a datatype, not both. Take one away.")
    if value.language:
        if not _LANGUAGE.fullmatch(value.language):
            raise InputError(f"`{value.language!r}` is no language. Valid: as `de` or `de-AT`.")
        return f"{_quoted(value.text)}@{value.language}"
    return f"{_quoted(value.text)}^^{_iri(value.datatype)}" if value.datatype else _quoted(value.text)


def _quoted(text: str) -> str:
    found, behind = ['"'], False
    for sign in text:
        if "\ud800" <= sign <= "\udfff" or sign == "\0":
            raise InputError(f"`{text[:60]!r}` holds a sign that no RDF text can hold. Take it out.")
        if behind and sign in _UNICODE:
            found.append(_UNICODE[sign])
        elif sign in _ESCAPES:
            found.append(_ESCAPES[sign])
        else:
            found.append(f"\\u{ord(sign):04X}" if sign < " " or sign == "\x7f" else sign)
        behind = sign == "\\"
    return "".join([*found, '"'])
