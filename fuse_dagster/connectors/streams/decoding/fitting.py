"""Values of JSON in types that somebody declared: exactly, or not at all."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa

from fuse_dagster.connectors.streams.decoding.decoded import UndecodableError

_EXACT = 2**53


def fit(value: Any, wanted: pa.DataType) -> Any:
    """A value as Arrow takes it for a type.

    Args:
        value: What JSON holds: null, a text, a number, true or false, a list or a dict.
        wanted: The type. Times are ISO 8601; with a zone where the type has one, without where it has none.

    Raises:
        UndecodableError: The type can't hold it as it is.
    """
    if value is None:
        return None
    for is_of, convert in _FITS:
        if is_of(wanted):
            try:
                found = convert(value, wanted)
            except (ValueError, ArithmeticError, TypeError):
                found = None
            if found is None:
                break
            return found
    raise UndecodableError(f"{_said(value)} is no `{wanted}`")


def _said(value: Any) -> str:
    """What a value is, without showing it."""
    names = {bool: "true or false", int: "a whole number", str: "a text", list: "a list", dict: "an object"}
    return names.get(type(value), "a number")


def _bool(value: Any, _: pa.DataType) -> bool | None:
    return value if isinstance(value, bool) else None


def _integer(value: Any, wanted: pa.DataType) -> int | None:
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    signed = pa.types.is_signed_integer(wanted)
    low, high = (-(2 ** (wanted.bit_width - 1)), 2 ** (wanted.bit_width - 1)) if signed else (0, 2**wanted.bit_width)
    return value if low <= value < high else None


def _float(value: Any, wanted: pa.DataType) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    found = float(value)
    exact = found == value and (wanted == pa.float64() or pa.scalar(found, wanted).as_py() == found)
    return found if exact else None


def _decimal(value: Any, _: pa.DataType) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    found = Decimal(repr(value) if isinstance(value, float) else value)
    return found if found.is_finite() else None


def _text(value: Any, _: pa.DataType) -> str | None:
    if not isinstance(value, str):
        return None
    value.encode()  # half of a surrogate pair is no text
    return value


def _moment(value: Any, wanted: pa.DataType) -> dt.datetime | None:
    if not isinstance(value, str) or _digits(value) > _DIGITS[wanted.unit]:
        return None
    found = dt.datetime.fromisoformat(value)
    return found if (found.tzinfo is None) == (wanted.tz is None) else None


def _date(value: Any, _: pa.DataType) -> dt.date | None:
    return dt.date.fromisoformat(value) if isinstance(value, str) else None


def _time(value: Any, wanted: pa.DataType) -> dt.time | None:
    if not isinstance(value, str) or _digits(value) > _DIGITS[wanted.unit]:
        return None
    found = dt.time.fromisoformat(value)
    return found if found.tzinfo is None else None


def _list(value: Any, wanted: pa.DataType) -> list[Any] | None:
    return [fit(one, wanted.value_type) for one in value] if isinstance(value, list) else None


def _struct(value: Any, wanted: pa.DataType) -> dict[str, Any] | None:
    types = {one.name: one.type for one in wanted}
    if not isinstance(value, dict) or value.keys() - types.keys():
        return None
    return {name: fit(one, types[name]) for name, one in value.items()}


def _map(value: Any, wanted: pa.DataType) -> list[tuple[str, Any]] | None:
    if not isinstance(value, dict) or not pa.types.is_string(wanted.key_type):
        return None
    return [(name, fit(one, wanted.item_type)) for name, one in value.items()]


def _digits(text: str) -> int:
    """How many digits of a second a time needs."""
    found = re.search(r"[.,](\d+)", text)
    return len(found[1].rstrip("0")) if found else 0


_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 6}  # Python's times hold six
_FITS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[Any, pa.DataType], Any]], ...] = (
    (pa.types.is_boolean, _bool),
    (pa.types.is_integer, _integer),
    (pa.types.is_floating, _float),
    (pa.types.is_decimal, _decimal),
    (lambda one: pa.types.is_string(one) or pa.types.is_large_string(one), _text),
    (pa.types.is_timestamp, _moment),
    (pa.types.is_date, _date),
    (pa.types.is_time, _time),
    (pa.types.is_map, _map),
    (lambda one: pa.types.is_list(one) or pa.types.is_large_list(one), _list),
    (pa.types.is_struct, _struct),
)
