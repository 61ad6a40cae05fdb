"""From RDF's texts to Arrow's types: one type for a column, or its texts as they are.

The rule: a column whose values all have one of the types below gets it, if every value fits without loss. Whole numbers
beside decimals are decimals, and numbers beside doubles are doubles where none of them loses a digit. All else, also a
column with one text that is not what its datatype says, stays text.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from fuse_dagster.connectors.rdf.terms import XSD

if TYPE_CHECKING:
    import pyarrow as pa

_SMALL = ("int", "long", "short", "byte", "unsignedLong", "unsignedInt", "unsignedShort", "unsignedByte")
_WHOLE = ("integer", "nonNegativeInteger", "positiveInteger", "nonPositiveInteger", "negativeInteger", *_SMALL)
_KINDS = {XSD + name: "integer" for name in _WHOLE} | {
    XSD + "decimal": "decimal",
    XSD + "float": "float",
    XSD + "double": "double",
    XSD + "boolean": "boolean",
    XSD + "date": "date",
    XSD + "dateTime": "dateTime",
    XSD + "dateTimeStamp": "dateTime",
    XSD + "time": "time",
    XSD + "base64Binary": "base64",
    XSD + "hexBinary": "hex",
}
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?INF|NaN")
_TIME = re.compile(r"(\d{2}):(\d{2}):(\d{2})(?:\.(\d+))?")
_MOMENT = re.compile(r"(\d{4}-\d{2}-\d{2})T([\d:.]+)(Z|[+-]\d{2}:\d{2})?")
_DIGITS = 38
_EXACT = 2**53


class _LossError(ValueError):
    """A text is not what its datatype says, or does not fit."""


def _integer(text: str) -> int:
    if not re.fullmatch(r"[+-]?\d+", text):
        raise _LossError
    return int(text)


def _decimal(text: str) -> Decimal:
    if not re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)", text):
        raise _LossError
    return Decimal(text)


def _double(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise _LossError
    return float(text.replace("INF", "inf"))


def _boolean(text: str) -> bool:
    if text not in {"true", "false", "1", "0"}:
        raise _LossError
    return text in {"true", "1"}


def _date(text: str) -> dt.date:
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        raise _LossError
    return dt.date.fromisoformat(text)


def _clock(text: str) -> dt.time:
    found = _TIME.fullmatch(text)
    if not found or (found[4] or "")[6:].strip("0"):
        raise _LossError
    return dt.time(int(found[1]), int(found[2]), int(found[3]), int((found[4] or "")[:6].ljust(6, "0")))


def _moment(text: str) -> dt.datetime:
    found = _MOMENT.fullmatch(text)
    if not found:
        raise _LossError
    late = found[2] == "24:00:00"
    when = dt.datetime.combine(dt.date.fromisoformat(found[1]), dt.time() if late else _clock(found[2]))
    if found[3]:
        zone = found[3].replace("Z", "+00:00")
        offset = dt.timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6])) * (-1 if zone[0] == "-" else 1)
        when = when.replace(tzinfo=dt.UTC) - offset
    return when + dt.timedelta(days=1) if late else when


def _bytes(text: str) -> bytes:
    return base64.b64decode("".join(text.split()), validate=True)


_READ: dict[str, Callable[[str], Any]] = {
    "integer": _integer,
    "decimal": _decimal,
    "float": _double,
    "double": _double,
    "boolean": _boolean,
    "date": _date,
    "dateTime": _moment,
    "time": _clock,
    "base64": _bytes,
    "hex": bytes.fromhex,
}
_FAILURES = (ValueError, InvalidOperation, OverflowError, binascii.Error)


@dataclass(slots=True)
class Column:
    """What is known of the values of a column, one after the other.

    Attributes:
        kinds: Kinds of its values: of `_READ`, or `text`.
        zoned: Whether moments have an offset, and whether some have none.
    """

    kinds: set[str] = field(default_factory=set)
    zoned: set[bool] = field(default_factory=set)
    whole: int = 0
    places: int = 0
    largest: int = 0

    def see(self, term: dict[str, Any]) -> None:
        """Take notice of a value."""
        is_literal = term.get("type") in {"literal", "typed-literal"}
        kind = _KINDS.get(term.get("datatype", ""), "text") if is_literal else "text"
        if self.kinds == {"text"} or "mixed" in self.kinds:
            if kind != "text":
                self.kinds = {"mixed"}
            return
        if kind != "text":
            try:
                self._measure(kind, _READ[kind](term["value"]))
            except _FAILURES:
                kind = "mixed"
        self.kinds.add(kind)

    def _measure(self, kind: str, value: Any) -> None:
        if kind in {"integer", "decimal"}:
            said = Decimal(value).as_tuple()
            exponent = int(said.exponent)
            self.places = max(self.places, -exponent)
            self.whole = max(self.whole, len(said.digits) + exponent)
            if kind == "integer":
                self.largest = max(self.largest, abs(value) if value != -(2**63) else 2**63 - 1)
            elif Decimal(repr(float(value))) != value:
                self.largest = max(self.largest, _EXACT + 1)  # a double would lose digits
        if kind == "dateTime":
            self.zoned.add(value.tzinfo is not None)

    def type(self) -> pa.DataType:
        """The type that all values have, as the rule says."""
        import pyarrow as pa

        if self.kinds and self.kinds <= {"integer", "decimal", "float", "double"}:
            return self._number()
        if self.kinds == {"dateTime"} and len(self.zoned) == 1:
            return pa.timestamp("us", tz="UTC" if True in self.zoned else None)
        simple = {"boolean": pa.bool_(), "date": pa.date32(), "time": pa.time64("us")}
        simple |= {"base64": pa.binary(), "hex": pa.binary()}
        (only,) = self.kinds if len(self.kinds) == 1 else ("text",)
        return simple.get(only, pa.string())

    def _number(self) -> pa.DataType:
        import pyarrow as pa

        if self.kinds == {"integer"} and self.largest < 2**63:
            return pa.int64()
        if self.kinds == {"float"}:
            return pa.float32()
        if self.kinds & {"double", "float"}:
            return pa.float64() if self.largest <= _EXACT else pa.string()
        fits = self.whole + self.places <= _DIGITS
        return pa.decimal128(max(1, self.whole + self.places), self.places) if fits else pa.string()


def array(terms: Iterable[dict[str, Any] | None], kind: pa.DataType) -> pa.Array:
    """Values of a column, in its type; None for what is not bound."""
    import pyarrow as pa

    return pa.array([None if term is None else _value(term, str(kind)) for term in terms], type=kind)


def _value(term: dict[str, Any], kind: str) -> Any:
    if term["type"] == "bnode":
        return f"_:{term['value']}"
    if kind == "string":
        return term["value"]
    if kind.startswith("decimal"):
        return Decimal(term["value"])
    read = _READ[_KINDS[term["datatype"]]]
    value = read(term["value"])
    return float(value) if kind == "double" else value
