"""Which types hold all values of a column without loss.

Numbers widen: whole ones to `int64`, beyond that to `decimal(38, 0)`; with fractions to `float64` where each is, to the
last digit, what a float prints; else to a decimal of 38 digits; else to text. Text, booleans, objects and lists don't
turn into each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Any

from fuse_dagster.connectors.http.conversions import as_text
from fuse_dagster.core.errors import SchemaError

if TYPE_CHECKING:
    import pyarrow as pa

_INT64 = (-(2**63), 2**63 - 1)
_EXACT = 2**53
_DIGITS = 38
_WORDS = {"text": "text", "number": "numbers", "boolean": "booleans", "object": "objects", "list": "lists"}


@dataclass
class Seen:
    """What a column held so far.

    Attributes:
        examples: Kind of value -> the first one.
        low: The least whole number.
        high: The greatest one.
        fractions: Whether a number has a fraction or an exponent.
        floats: Whether all of those are what a float prints.
        digits: The most digits before the point.
        scale: The most digits after it.
        fields: Of objects: name -> what it held.
        items: Of lists: what they held.
    """

    examples: dict[str, Any] = field(default_factory=dict)
    low: int = 0
    high: int = 0
    fractions: bool = False
    floats: bool = True
    digits: int = 1
    scale: int = 0
    fields: dict[str, Seen] = field(default_factory=dict)
    items: Seen | None = None

    def add(self, values: Sequence[Any]) -> None:
        """Look at more values; null says nothing of a type."""
        kinds = [kind for kind in dict.fromkeys(map(type, values)) if kind is not type(None)]
        for kind in kinds:
            chosen = values if len(kinds) == 1 else [value for value in values if type(value) is kind]
            some = [value for value in chosen if value is not None]
            self.examples.setdefault(_KIND[kind], some[0])
            _LOOK.get(kind, _nothing)(self, some)


def _nothing(seen: Seen, values: Sequence[Any]) -> None:
    del seen, values


def _whole(seen: Seen, values: Sequence[int]) -> None:
    seen.low, seen.high = min(seen.low, *values, 0), max(seen.high, *values, 0)
    seen.digits = max(seen.digits, len(str(max(abs(seen.low), abs(seen.high)))))


def _fraction(seen: Seen, values: Sequence[Decimal]) -> None:
    seen.fractions = True
    for value in values:
        _, digits, exponent = value.as_tuple()
        assert isinstance(exponent, int)  # infinities were refused when the answer was read
        seen.digits = max(seen.digits, len(digits) + exponent)
        seen.scale = max(seen.scale, -exponent)
        if seen.floats and Decimal(repr(float(value))) != value:
            seen.floats = False


def _objects(seen: Seen, values: Sequence[Mapping[str, Any]]) -> None:
    for name in dict.fromkeys(chain.from_iterable(values)):
        seen.fields.setdefault(name, Seen()).add([value.get(name) for value in values])


def _lists(seen: Seen, values: Sequence[list[Any]]) -> None:
    seen.items = seen.items or Seen()
    seen.items.add(list(chain.from_iterable(values)))


_KIND: dict[type, str] = {
    str: "text",
    int: "number",
    Decimal: "number",
    bool: "boolean",
    dict: "object",
    list: "list",
}
_LOOK: dict[type, Any] = {int: _whole, Decimal: _fraction, dict: _objects, list: _lists}


def type_of(seen: Seen, where: str, *, nested: str, mixed: str) -> pa.DataType:
    """The type that holds all that was seen.

    Args:
        seen: The values.
        where: The column, for people.
        nested: `struct`, or `json` for objects and lists as text.
        mixed: `refuse`, or `json` for columns of several kinds as text.

    Raises:
        SchemaError: There are several kinds of values.
    """
    import pyarrow as pa

    kinds = [*seen.examples]
    if len(kinds) > 1 and mixed != "json":
        raise contradiction(seen, where)
    if len(kinds) == 1:
        (kind,) = kinds
        if kind == "number":
            return _number(seen)
        if kind == "boolean":
            return pa.bool_()
        if nested == "struct" and kind == "list" and seen.items is not None:
            return pa.list_(type_of(seen.items, f"{where}[*]", nested=nested, mixed=mixed))
        if nested == "struct" and seen.fields:  # no column can be an object without names
            inner = seen.fields.items()
            return pa.struct(
                [(name, type_of(one, f"{where}.{name}", nested=nested, mixed=mixed)) for name, one in inner]
            )
    return pa.string() if kinds else pa.null()


def _number(seen: Seen) -> pa.DataType:
    import pyarrow as pa

    if not seen.fractions:
        if _INT64[0] <= seen.low and seen.high <= _INT64[1]:
            return pa.int64()
        return pa.decimal128(_DIGITS, 0) if seen.digits <= _DIGITS else pa.string()
    if seen.floats and max(abs(seen.low), seen.high) <= _EXACT:
        return pa.float64()
    return pa.decimal128(_DIGITS, seen.scale) if seen.digits + seen.scale <= _DIGITS else pa.string()


def contradiction(seen: Seen, where: str) -> SchemaError:
    """The error for a column of several kinds."""
    shown = [f"{_WORDS[kind]} (`{as_text(value)[:40]}`)" for kind, value in seen.examples.items()]
    return SchemaError(
        f"`{where}` holds {' and '.join(shown)}. Set its type by `columns`, where `string` and `json` take all, or let "
        "`mixed` be `json`."
    )


def columns_of(records: Sequence[Mapping[str, Any]], seen: dict[str, Seen], only: Iterable[str] | None = None) -> None:
    """Look at the records of a page, column by column.

    Args:
        records: The records.
        seen: Column -> what it held so far; it is added to.
        only: The columns to look at; None for all.
    """
    for name in dict.fromkeys(chain.from_iterable(records)):
        if only is None or name in only:
            seen.setdefault(name, Seen()).add([record.get(name) for record in records])
