"""Types of MySQL and MariaDB: from a column's declaration, else from what an answer says of itself, to Arrow."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fuse_dagster.connectors.databases.arrow import Cell

if TYPE_CHECKING:
    import pyarrow as pa

_DECLARED = re.compile(r"(\w+)(?:\((\d+)(?:,(\d+))?\))?(.*)")
_ZERO = (
    "It is a zero date or one that is no day, which only MySQL has: put NULL or a real date there, or cast it to char."
)
_WIDE = "In a query an integer is read with a sign: cast it to `DECIMAL(20,0)`, or read the table by its name."
_SIZES = {"tinyint": 8, "smallint": 16, "mediumint": 32, "int": 32, "integer": 32, "bigint": 64}
_BYTES = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "bit", "geometry"})
_DO = "Cast the column in a query, or repair the values."


def declared_cell(name: str, declared: str) -> Cell:
    """How a column of a table is read.

    Args:
        name: Of the column.
        declared: Its type as MySQL says it, as `int(10) unsigned`.
    """
    import pyarrow as pa

    found = _DECLARED.match(declared.lower())
    assert found is not None
    kind, first, second, rest = found[1], found[2], found[3], found[4]
    if kind in _SIZES:
        number = getattr(pa, f"{'u' if 'unsigned' in rest else ''}int{_SIZES[kind]}")()
        return Cell(name, number)
    if kind == "decimal":
        return _decimal(name, int(first or 10), int(second or 0))
    if kind == "float":
        return Cell(name, pa.float32())
    if kind == "double":
        return Cell(name, pa.float64())
    if kind in _BYTES:
        return Cell(name, pa.binary())
    return _temporal(name, kind) or Cell(name, pa.string(), _text)


def answered_cell(name: str, code: int, length: int, scale: int) -> Cell:
    """How a column of an answer is read, of which the driver says the kind and the length alone.

    Args:
        name: Of the column.
        code: MySQL's number of the type.
        length: Signs that its values take at the most.
        scale: Digits behind the point.
    """
    import pyarrow as pa
    from pymysql.constants import FIELD_TYPE as KIND

    if code in {KIND.TINY, KIND.SHORT, KIND.INT24, KIND.LONG, KIND.LONGLONG, KIND.YEAR}:
        return Cell(name, pa.int64(), None, _WIDE)
    if code in {KIND.DECIMAL, KIND.NEWDECIMAL}:
        return _decimal(name, length if length <= 38 else length - 1 - bool(scale), scale)
    if code in {KIND.FLOAT, KIND.DOUBLE}:
        return Cell(name, pa.float64())
    kinds = {KIND.DATE: "date", KIND.NEWDATE: "date", KIND.DATETIME: "datetime", KIND.TIMESTAMP: "timestamp",
             KIND.TIME: "time"}  # fmt: skip
    if code in kinds:
        return _temporal(name, kinds[code]) or Cell(name, pa.string(), _text)
    if code in {KIND.BIT, KIND.GEOMETRY}:
        return Cell(name, pa.binary())
    return Cell(name, pa.string(), _text, "It holds bytes that are no text: read the table by its name.")


def _decimal(name: str, precision: int, scale: int) -> Cell:
    import pyarrow as pa

    if precision <= 38:
        return Cell(name, pa.decimal128(precision, scale))
    return Cell(name, pa.string(), lambda value: format(value, "f"))


def _temporal(name: str, kind: str) -> Cell | None:
    import pyarrow as pa

    def only(of: type) -> Callable[[Any], Any]:
        def same(value: Any) -> Any:
            if type(value) is not of:
                raise ValueError(value)
            return value

        return same

    known: dict[str, tuple[pa.DataType, type]] = {
        "date": (pa.date32(), dt.date),
        "datetime": (pa.timestamp("us"), dt.datetime),
        "timestamp": (pa.timestamp("us", tz="UTC"), dt.datetime),
    }
    if kind in known:
        arrow, of = known[kind]
        convert = only(of)
        if kind == "timestamp":
            return Cell(name, arrow, lambda value: convert(value).replace(tzinfo=dt.UTC), _ZERO)
        return Cell(name, arrow, convert, _ZERO)
    if kind == "time":  # from -838 to 838 hours: a duration, whatever its name
        return Cell(name, pa.duration("us"), only(dt.timedelta))
    if kind == "year":
        return Cell(name, pa.int16())
    return None


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode()
    if not isinstance(value, str):
        raise TypeError(value)
    return value
