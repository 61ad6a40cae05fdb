"""Values as JSON holds them, and as a person reads them."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import math
import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

NULL = "null"
_SPAN = re.compile(r"(\d{1,9})\s*(us|ms|s|m|h|d)")
_UNITS = {"us": "microseconds", "ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def plain(value: Any) -> Any:
    """A value as JSON holds it.

    Times are ISO text, decimals and paths text, bytes base64, NaN and infinities text. A dataclass becomes an object,
    a polars frame an array of objects.

    Args:
        value: Anything that a result is made of.
    """
    for kinds, convert in _CONVERSIONS:
        if isinstance(value, kinds):
            return convert(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    rows = getattr(value, "to_dicts", None)
    return str(value) if rows is None else [plain(row) for row in rows()]


# The first that fits decides; a StrEnum is a str, and a bool an int.
_CONVERSIONS: tuple[tuple[type | tuple[type, ...], Callable[[Any], Any]], ...] = (
    (Enum, lambda value: plain(value.value)),
    ((str, bool, int, type(None)), lambda value: value),
    (float, lambda value: value if math.isfinite(value) else str(value)),
    ((dt.date, dt.time), lambda value: value.isoformat()),
    (bytes, lambda value: base64.b64encode(value).decode()),
    (Mapping, lambda value: {str(name): plain(held) for name, held in value.items()}),
    ((list, tuple, set, frozenset), lambda value: [plain(held) for held in value]),
)


def frame_of(frame: pl.DataFrame) -> dict[str, Any]:
    """A frame as JSON holds it: `schema` (name and type per column) and `rows` (an object each)."""
    return {"schema": schema_of(frame.schema), "rows": plain(frame)}


def schema_of(schema: Mapping[str, Any]) -> list[dict[str, str]]:
    """Names and types of columns."""
    return [{"name": name, "type": type_name(dtype)} for name, dtype in schema.items()]


def type_name(dtype: Any) -> str:
    """A polars type in few words."""
    zone = getattr(dtype, "time_zone", None)
    return str(dtype) if zone is None else f"Datetime({dtype.time_unit}, {zone})"


def read(value: Any) -> str:
    """A value as a person reads it in a cell: one line, and no sign that a terminal would obey."""
    if value is None or isinstance(value, bool):
        return {None: NULL, True: "true", False: "false"}[value]
    if isinstance(value, dt.datetime):
        return value.isoformat(sep=" ")
    text = str(plain(value)) if isinstance(value, bytes) else str(value)
    return text if text.isprintable() else "".join(sign if sign.isprintable() else _escaped(sign) for sign in text)


def size(number: int) -> str:
    """Bytes in the unit that a person would choose.

    Examples:
        >>> size(1536), size(10)
        ('1.5 KiB', '10 B')
    """
    amount, units = float(number), ["B", "KiB", "MiB", "GiB", "TiB"]
    while amount >= 1024 and len(units) > 1:
        amount /= 1024
        units.pop(0)
    return f"{number} B" if units[0] == "B" else f"{amount:.1f} {units[0]}"


def span(text: str) -> dt.timedelta | None:
    """A length of time as somebody writes it; None where it is none.

    Examples:
        >>> span("5m"), span("soon")
        (datetime.timedelta(seconds=300), None)
    """
    match = _SPAN.fullmatch(text.strip())
    return None if match is None else dt.timedelta(**{_UNITS[match[2]]: int(match[1])})


def counted(number: int, noun: str) -> str:
    """A number of things in words.

    Examples:
        >>> counted(1, "row"), counted(1200, "row")
        ('1 row', '1,200 rows')
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape").decode()
