"""From values of JSON to Arrow, without loss: a value that does not fit is an error that names it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from fuse_dagster.core.errors import SchemaError
from fuse_dagster.core.naming import listing

if TYPE_CHECKING:
    import pyarrow as pa

    from fuse_dagster.connectors.http.inferring import Seen

_DECIMAL = re.compile(r"decimal\(\s*(\d{1,2})\s*,\s*(\d{1,2})\s*\)")
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d{1,4})?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST = 60


def dumped(value: Any) -> str:
    """A value as JSON, with every digit of its numbers."""
    if isinstance(value, Mapping):
        inner = (f"{json.dumps(name, ensure_ascii=False)}: {dumped(one)}" for name, one in value.items())
        return "{" + ", ".join(inner) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(dumped, value)) + "]"
    return str(value) if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)


def as_text(value: Any) -> str:
    """Text as it is, and what is no text as JSON."""
    return value if isinstance(value, str) else dumped(value)


def array_of(values: Sequence[Any], kind: pa.DataType, seen: Seen) -> pa.Array:
    """A column of the type that `inferring.type_of` found for these values, among others.

    Args:
        values: The values; None for null.
        kind: The type.
        seen: All that the column holds, from which the type was found.
    """
    import pyarrow as pa

    if pa.types.is_struct(kind):
        fields = seen.fields
        children = [
            array_of([None if value is None else value.get(one.name) for value in values], one.type, fields[one.name])
            for one in kind
        ]
        absent = pa.array([value is None for value in values], pa.bool_())
        return pa.StructArray.from_arrays(children, fields=list(kind), mask=absent)
    if pa.types.is_list(kind) and seen.items is not None:
        return _lists(values, kind, seen.items)
    if pa.types.is_string(kind):
        said = dumped if len(seen.examples) > 1 else as_text  # of several kinds, text is told by its quotes
        return pa.array([None if value is None else said(value) for value in values], kind)
    if pa.types.is_floating(kind):
        return pa.array([None if value is None else float(value) for value in values], kind)
    if pa.types.is_decimal(kind):
        return pa.array([None if value is None else Decimal(value) for value in values], kind)
    return pa.array(values, kind)


def _lists(values: Sequence[Any], kind: pa.DataType, seen: Seen) -> pa.Array:
    import pyarrow as pa

    offsets: list[int] = [0]
    items: list[Any] = []
    for value in values:
        items += value or []
        offsets.append(len(items))
    absent = pa.array([value is None for value in values], pa.bool_())
    inner = array_of(items, kind.value_type, seen)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), inner, type=kind, mask=absent)


def _int(value: Any) -> int:
    number = Decimal(_plain(value))
    if number != number.to_integral_value() or not -(2**63) <= number < 2**63:
        raise ValueError
    return int(number)


def _float(value: Any) -> float:
    number = float(_plain(value))
    if not math.isfinite(number):
        raise ValueError
    return number


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}[value]


def _date(value: Any) -> date:
    if not isinstance(value, str) or len(value) != 10:
        raise ValueError
    return date.fromisoformat(value)


def _timestamp(value: Any) -> datetime:
    if not isinstance(value, str):
        raise TypeError
    found = datetime.fromisoformat(value)
    digits = re.search(r"[.,](\d+)", value)
    if found.tzinfo is None or (digits and digits[1][6:].strip("0")):
        raise ValueError
    return found.astimezone(UTC)


def _since_epoch(unit: timedelta) -> Callable[[Any], datetime]:
    def convert(value: Any) -> datetime:
        micros = (Decimal(_plain(value)) * (unit // timedelta(microseconds=1))).normalize()
        if micros != micros.to_integral_value():
            raise ValueError
        return _EPOCH + timedelta(microseconds=int(micros))

    return convert


def _plain(value: Any) -> Any:
    """A number, or text that is one."""
    if isinstance(value, bool | dict | list) or (isinstance(value, str) and not _NUMBER.fullmatch(value)):
        raise ValueError
    return value


def _decimal(precision: int, scale: int) -> Callable[[Any], Decimal]:
    def convert(value: Any) -> Decimal:
        number = Decimal(_plain(value))
        _, digits, exponent = number.as_tuple()
        if not isinstance(exponent, int) or len(digits) + exponent > precision - scale:
            raise ValueError
        fitting = number.quantize(Decimal(1).scaleb(-scale))
        if fitting != number:
            raise ValueError
        return fitting

    return convert


def _kinds() -> dict[str, tuple[Callable[[Any], Any], pa.DataType]]:
    import pyarrow as pa

    utc = pa.timestamp("us", "UTC")
    return {
        "string": (as_text, pa.string()),
        "int64": (_int, pa.int64()),
        "float64": (_float, pa.float64()),
        "bool": (_bool, pa.bool_()),
        "date": (_date, pa.date32()),
        "timestamp": (_timestamp, utc),
        "epoch_seconds": (_since_epoch(timedelta(seconds=1)), utc),
        "epoch_milliseconds": (_since_epoch(timedelta(milliseconds=1)), utc),
        "json": (dumped, pa.string()),
    }


def declared(kind: str) -> tuple[Callable[[Any], Any], pa.DataType]:
    """How values become what a declared type holds.

    Raises:
        KeyError: There is no such type.
    """
    if found := _DECIMAL.fullmatch(kind.strip()):
        import pyarrow as pa

        precision, scale = int(found[1]), int(found[2])
        if not 1 <= precision <= 38 or scale > precision:
            raise KeyError(kind)
        return _decimal(precision, scale), pa.decimal128(precision, scale)
    return _kinds()[kind.strip()]


def column_problem(column: str, kind: str) -> str | None:
    """What is wrong with the type that is declared for a column; None where nothing is."""
    try:
        declared(kind)
    except KeyError:
        return f"`{column}` has the type `{kind}`, which there is not. Valid: {listing([*_kinds(), 'decimal(10,2)'])}."
    return None


def declared_array(column: str, kind: str, values: Sequence[Any], where: str) -> pa.Array:
    """A column of a declared type.

    Args:
        column: Its name.
        kind: The type.
        values: The values; None for null.
        where: The page, for people.

    Raises:
        SchemaError: A value is none of the type, or would lose something.
    """
    import pyarrow as pa

    convert, arrow = declared(kind)
    found = []
    for number, value in enumerate(values, 1):
        try:
            found.append(None if value is None else convert(value))
        except (ValueError, KeyError, TypeError, ArithmeticError):
            short = dumped(value)[:_LONGEST]
            msg = (
                f"`{column}` is to be `{kind}`, and record {number} of {where} has `{short}`. Choose a type that holds "
                "it, as `string`."
            )
            raise SchemaError(msg) from None
    return pa.array(found, arrow)
