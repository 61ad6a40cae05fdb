"""Types of SQL Server: from its own words to Arrow, and the bytes of those that pyodbc does not read, or cuts."""

from __future__ import annotations

import datetime as dt
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from fuse_dagster.connectors.databases.arrow import Cell
from fuse_dagster.core.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

_WORD = re.compile(r"\s*([a-z_0-9]+)\s*(?:\(\s*(\d+|max)\s*(?:,\s*(\d+)\s*)?\))?", re.IGNORECASE)
_SEVENTH = (
    "It has a seventh digit of the second, which is not read: cast it in a query, as `CAST(a AS datetime2(6))`, or "
    "alter the column."
)
_REFUSED = {
    "sql_variant": "Cast it to the type that its values have.",
    "geography": "Ask for `a.STAsText()` or `a.STAsBinary()` in a query.",
    "geometry": "Ask for `a.STAsText()` or `a.STAsBinary()` in a query.",
    "hierarchyid": "Ask for `a.ToString()` in a query.",
}


def word_of(name: str, length: int, precision: int, scale: int) -> str:
    """A type as T-SQL writes it, from a row of `sys.columns`.

    Examples:
        >>> word_of("nvarchar", 100, 0, 0), word_of("decimal", 9, 10, 2), word_of("varbinary", -1, 0, 0)
        ('nvarchar(50)', 'decimal(10,2)', 'varbinary(max)')
    """
    if name in {"decimal", "numeric"}:
        return f"{name}({precision},{scale})"
    if name in {"datetime2", "datetimeoffset", "time"}:
        return f"{name}({scale})"
    if name in {"nvarchar", "nchar", "varchar", "char", "varbinary", "binary"}:
        size = length // 2 if name.startswith("n") and length > 0 else length
        return f"{name}({'max' if size < 0 else size})"
    return name


def cell(name: str, word: str) -> Cell:
    """How a column of an answer is read.

    Args:
        name: Of the column.
        word: Its type in T-SQL, as `decimal(10,2)`.

    Raises:
        InputError: It is of a type that is not read.
    """
    import pyarrow as pa

    found = _WORD.match(word)
    base = found[1].lower() if found else ""
    if base in {"decimal", "numeric"} and found:
        return Cell(name, pa.decimal128(int(found[2] or 18), int(found[3] or 0)))
    moments: dict[str, tuple[pa.DataType, type]] = {
        "datetime2": (pa.timestamp("us"), dt.datetime),
        "datetimeoffset": (pa.timestamp("us", tz="UTC"), dt.datetime),
        "time": (pa.time64("us"), dt.time),
    }
    if base in moments:
        arrow, kind = moments[base]
        return Cell(name, arrow, _only(kind), _SEVENTH)
    plain = _plain()
    if base in plain:
        return Cell(name, plain[base])
    do = _REFUSED.get(base, "Cast it to text in a query.")
    raise InputError(f"The column `{name}` is `{word}`, which is not read. {do} Or read the other columns by name.")


def _plain() -> Mapping[str, pa.DataType]:
    import pyarrow as pa

    texts = ("char", "varchar", "text", "nchar", "nvarchar", "ntext", "sysname", "xml", "json", "uniqueidentifier")
    return {
        "tinyint": pa.uint8(), "smallint": pa.int16(), "int": pa.int32(), "bigint": pa.int64(), "bit": pa.bool_(),
        "real": pa.float32(), "float": pa.float64(), "money": pa.decimal128(19, 4), "smallmoney": pa.decimal128(10, 4),
        "date": pa.date32(), "datetime": pa.timestamp("us"), "smalldatetime": pa.timestamp("us"),
        **dict.fromkeys(texts, pa.string()),
        **dict.fromkeys(("binary", "varbinary", "image", "timestamp", "rowversion"), pa.binary()),
    }  # fmt: skip


def _only(kind: type) -> Callable[[Any], Any]:
    def same(value: Any) -> Any:
        if type(value) is not kind:
            raise ValueError(value)
        return value

    return same


def timestamp(value: bytes | None) -> dt.datetime | str | None:
    """A `datetime2` of the bytes of an SQL_TIMESTAMP_STRUCT; as text where it has more digits than microseconds."""
    if value is None:
        return None
    year, month, day, hour, minute, second, nanos = struct.unpack("<hHHHHHI", value)
    if nanos % 1000:
        return f"{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{nanos // 100:07}"
    return dt.datetime(year, month, day, hour, minute, second, nanos // 1000)  # noqa: DTZ001 - it has no zone


def time(value: bytes | None) -> dt.time | str | None:
    """A `time` of the bytes of an SQL_SS_TIME2_STRUCT; as text where it has more digits than microseconds."""
    if value is None:
        return None
    hour, minute, second, nanos = struct.unpack("<3H2xI", value)
    if nanos % 1000:
        return f"{hour:02}:{minute:02}:{second:02}.{nanos // 100:07}"
    return dt.time(hour, minute, second, nanos // 1000)


def offset(value: bytes | None) -> dt.datetime | str | None:
    """A `datetimeoffset` of the bytes of an SQL_SS_TIMESTAMPOFFSET_STRUCT, whose zone is that of the value."""
    if value is None:
        return None
    *moment, hours, minutes = struct.unpack("<h5HI2h", value)
    found = timestamp(struct.pack("<hHHHHHI", *moment))
    if not isinstance(found, dt.datetime):
        return f"{found} {hours:+03}:{abs(minutes):02}"
    return found.replace(tzinfo=dt.timezone(dt.timedelta(hours=hours, minutes=minutes)))


CONVERTERS: Mapping[int, Callable[[bytes | None], Any]] = {93: timestamp, -154: time, -155: offset}
"""ODBC's number of a type -> what makes a value of its bytes.

https://learn.microsoft.com/sql/relational-databases/native-client-odbc-date-time/data-type-support-for-odbc-date-and-time-improvements
"""


def declaration(values: Sequence[Any]) -> str:
    """Bound values as `sys.dm_exec_describe_first_result_set` is told of them.

    Examples:
        >>> declaration([1, "a", None])
        '@P1 bigint, @P2 nvarchar(4000), @P3 nvarchar(4000)'
    """
    return ", ".join(f"@P{number} {_declared(value)}" for number, value in enumerate(values, start=1))


def _declared(value: Any) -> str:
    if isinstance(value, Decimal) and value.is_finite():
        scale = max(0, -int(value.as_tuple().exponent))
        return f"decimal(38,{min(scale, 38)})"
    kinds: tuple[tuple[type, str], ...] = (
        (bool, "bit"), (int, "bigint"), (float, "float"), (bytes, "varbinary(8000)"), (dt.datetime, "datetime2(7)"),
        (dt.date, "date"), (dt.time, "time(7)"),
    )  # fmt: skip
    return next((word for kind, word in kinds if isinstance(value, kind)), "nvarchar(4000)")
