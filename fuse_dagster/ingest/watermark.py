"""Watermarks: values of a column that grows, kept as JSON without losing a digit, a zone or a type."""

from __future__ import annotations

import base64
import math
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from fuse_dagster.core.errors import ConfigError, InputError

Cursor = int | Decimal | date | datetime | str | bytes | uuid.UUID
"""What a watermark may be."""

Lag = timedelta | int | Decimal
"""How far to go back from a watermark: a time for times, a number for numbers."""


@dataclass(frozen=True, slots=True)
class _Kind:
    write: Callable[[Any], str]
    read: Callable[[str], Any]


_KINDS: dict[str, _Kind] = {
    "int": _Kind(str, int),
    "decimal": _Kind(str, Decimal),
    "date": _Kind(date.isoformat, date.fromisoformat),
    "timestamp": _Kind(lambda at: at.astimezone(UTC).isoformat(), datetime.fromisoformat),
    "timestamp_ntz": _Kind(datetime.isoformat, datetime.fromisoformat),
    "string": _Kind(str, str),
    "binary": _Kind(lambda raw: base64.b64encode(raw).decode(), base64.b64decode),
    "uuid": _Kind(str, uuid.UUID),
}
_WORDS = "an integer, a decimal, a date, a timestamp with or without a zone, a text, bytes or a UUID"


def kind_of(value: object) -> str:
    """The type of a watermark, by its name in JSON.

    Raises:
        InputError: It is of no type that a source can be read on from.
    """
    if isinstance(value, datetime):
        if getattr(value, "nanosecond", 0):
            raise InputError(
                f"the watermark `{value}` has nanoseconds, which would be lost; round the column to micros"
            )
        return "timestamp_ntz" if value.tzinfo is None else "timestamp"
    plain: dict[type, str] = {
        int: "int", Decimal: "decimal", date: "date", str: "string", bytes: "binary", uuid.UUID: "uuid",
    }  # fmt: skip
    found = plain.get(type(value))
    if found is None or (isinstance(value, Decimal) and not value.is_finite()):
        raise InputError(
            f"`{value!r}` ({type(value).__name__}) can't be a watermark; it is {_WORDS}. A float has no exact order of "
            "its own: cast the column to a decimal in a query"
        )
    return found


def encode(value: Cursor) -> dict[str, str]:
    """The watermark as JSON: its type and its text.

    Raises:
        InputError: It is of no type that a source can be read on from.
    """
    kind = kind_of(value)
    return {"type": kind, "value": _KINDS[kind].write(value)}


def decode(said: Mapping[str, Any]) -> Any:
    """The inverse of `encode`.

    Raises:
        InputError: It is no watermark of ours.
    """
    try:
        return _KINDS[said["type"]].read(said["value"])
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise InputError(f"`{dict(said)}` is no watermark; load once with `full_refresh=True`") from error


def is_before(one: Cursor, other: Cursor) -> bool:
    """Whether a watermark is lower than another of its type.

    Texts, bytes and UUIDs are ordered by the system that holds them, each in its own way: they are not compared here.

    Raises:
        InputError: They are of different types, or of one that only its system can order.
    """
    kinds = {kind_of(one), kind_of(other)}
    if len(kinds) > 1:
        raise InputError(
            f"the watermarks `{one!s}` and `{other!s}` are of different types ({', '.join(sorted(kinds))}): the column "
            "was changed in the source. Load once with `full_refresh=True`"
        )
    if kinds & {"string", "binary", "uuid"}:
        raise InputError(f"watermarks of type {kinds.pop()} are ordered by their own system only")
    return bool(one < other)  # type: ignore[operator]


def less(value: Any, lag: Lag) -> Any:
    """A watermark further back.

    Args:
        value: The watermark.
        lag: How far; a time for dates and timestamps, a number for numbers.

    Raises:
        ConfigError: The lag does not fit the type.
    """
    kind = kind_of(value)
    if kind in {"timestamp", "timestamp_ntz", "date"} and isinstance(lag, timedelta):
        try:
            # A date has no hours: part of a day goes back the whole of it.
            return value - (lag if kind != "date" else timedelta(days=-(-lag // timedelta(days=1))))
        except OverflowError:
            return date.min if kind == "date" else datetime.min.replace(tzinfo=value.tzinfo)
    if kind in {"int", "decimal"} and not isinstance(lag, timedelta):
        return value - (lag if kind == "decimal" else math.ceil(lag))
    raise ConfigError(
        f"the lag `{lag}` can't be taken from the watermark `{value}` ({kind}): give a `timedelta` for dates and "
        "timestamps, a number for numbers, and none for anything else"
    )


def event_time(value: object, timezone: str | None = None) -> datetime | None:
    """The time that a watermark stands for, in UTC; None for what is no time, or a time of an unknown zone.

    Args:
        value: The watermark.
        timezone: What timestamps without a zone, and dates, are written in.
    """
    if isinstance(value, datetime):
        if value.tzinfo is not None:
            return value.astimezone(UTC)
        return value.replace(tzinfo=ZoneInfo(timezone)).astimezone(UTC) if timezone else None
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=ZoneInfo(timezone or "UTC")).astimezone(UTC)
    return None


def in_words(value: object) -> str:
    """A watermark for people."""
    if isinstance(value, datetime):
        shown = value.astimezone(UTC) if value.tzinfo is not None else value
        return shown.replace(tzinfo=None).isoformat(" ") + ("Z" if value.tzinfo is not None else "")
    return value.hex() if isinstance(value, bytes) else str(value)
