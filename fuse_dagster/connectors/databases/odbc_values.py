"""Values on their way into ODBC: as what each is sent, and which are refused because somebody would cut them."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from fuse_dagster.core.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

    from fuse_dagster.connectors.databases.dialects import Dialect
    from fuse_dagster.connectors.databases.fitting import Fit

_AS_TEXT = frozenset({"instant", "timestamp", "time", "decimal"})
_PAGED = re.compile(r"(varchar|char|text)\b", re.IGNORECASE)


def sent(value: Any) -> Any:
    """A parameter as ODBC sends it: a time with a zone, for which it has no type, as text that says the zone.

    Raises:
        InputError: It is one that drivers cut or don't take.
    """
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        return value.astimezone(dt.UTC).isoformat(sep=" ")
    if isinstance(value, str) and "\0" in value:
        raise InputError("A parameter is a text with a NUL, at which drivers of ODBC end it. Leave it out of the text.")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise InputError("A parameter is an integer of more than 64 bits, which ODBC does not send. Give a Decimal.")
    return value


def cast_to(dialect: Dialect, fit: Fit) -> str | None:
    """The type that a marker is cast to: of what is sent as text, because ODBC has no such value, or not as exact."""
    # SQL Server takes a null for text where it can't say what stands there, and makes no bytes of that by itself.
    also = {"other", "boolean", "bytes"} if dialect.name == "tsql" else {"other", "boolean"}
    return fit.uncut if fit.kind.family in _AS_TEXT | also else None


def converter(dialect: Dialect, fit: Fit) -> Callable[[Any], Any] | None:
    """What makes a Python value of a column one that ODBC sends whole; None where it does so by itself.

    Raises:
        InputError: No value of the column can be sent.
    """
    if fit.kind.family == "list":
        raise InputError(f"The column `{fit.name}` is a list, which ODBC can't send. Write it through ADBC.")
    word = fit.word.lower() if dialect.name == "tsql" else ""
    if word in ("datetime", "smalldatetime"):
        return partial(_as_datetime, fit)
    if word == "uniqueidentifier":
        return partial(_as_guid, fit)
    if fit.kind.family == "decimal":
        return _digits
    return _iso if fit.kind.family in _AS_TEXT else None


def refuse_cut(dialect: Dialect, batch: pa.RecordBatch, fits: Sequence[Fit]) -> None:
    """Refuse texts that would arrive as others.

    Raises:
        InputError: There are such.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    for fit, column in zip(fits, batch.columns, strict=True):
        if not pa.types.is_string(column.type):
            continue
        if pc.any(pc.match_substring(column, "\0")).as_py():
            raise InputError(
                f"The column `{fit.name}` holds a text with a NUL, at which drivers of ODBC end it. Nothing was "
                "written. Take it out in the asset, or write bytes."
            )
        if dialect.name == "tsql" and _PAGED.match(fit.word) and not pc.all(pc.string_is_ascii(column)).as_py():
            raise InputError(
                f"The column `{fit.name}` holds signs beyond ASCII, and its column `{fit.word}` in the table keeps "
                "those of one code page: of others SQL Server makes `?`, without a word. Nothing was written. Alter "
                "the column to `nvarchar`."
            )


def size_of(column: pa.Array) -> tuple[int, int, int] | None:
    """The ODBC type and length that the values of a column are sent with; None for that of the driver.

    Drivers that are not told ask the server, which knows none for temporary tables of SQL Server.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyodbc

    kind, kinds = column.type, pa.types
    plain = (
        (kinds.is_timestamp(kind) or kinds.is_time(kind), (pyodbc.SQL_WVARCHAR, 40, 0)),
        (kinds.is_decimal(kind), (pyodbc.SQL_WVARCHAR, 90, 0)),
        (kinds.is_integer(kind), (pyodbc.SQL_BIGINT, 19, 0)),
        (kinds.is_floating(kind), (pyodbc.SQL_DOUBLE, 53, 0)),
        (kinds.is_boolean(kind), (pyodbc.SQL_BIT, 1, 0)),
        (kinds.is_date(kind), (pyodbc.SQL_TYPE_DATE, 10, 0)),
    )
    found = next((size for is_it, size in plain if is_it), None)
    if found or not (kinds.is_string(kind) or kinds.is_binary(kind)):
        return found
    # In UTF-16 no text has more units than bytes in UTF-8.
    longest = max(1, pc.max(pc.binary_length(column.cast(pa.binary()))).as_py() or 0)
    return (pyodbc.SQL_WVARCHAR if kinds.is_string(kind) else pyodbc.SQL_VARBINARY), longest, 0


def _digits(value: Any) -> str:
    """A decimal without an exponent, which SQL Server does not read."""
    return format(value, "f")


def _iso(value: dt.date | dt.time | dt.datetime) -> str:
    return value.isoformat(sep=" ") if isinstance(value, dt.datetime) else value.isoformat()


def _as_datetime(fit: Fit, value: dt.datetime) -> str:
    """A time as SQL Server's older types keep it: of a second 0, 3 and 7 thousandths of each ten; or of a minute."""
    millis, rest = divmod(value.microsecond, 1000)
    whole = fit.word.lower() == "datetime" and not rest and millis % 10 in (0, 3, 7)
    if not whole and (value.second or value.microsecond):
        raise InputError(
            f"The column `{fit.name}` holds a value that its column `{fit.word}` in the table would round: that has "
            "parts of 1/300 s, or whole minutes. Nothing was written. Alter the column to `datetime2(6)`, or round in "
            "the asset."
        )
    return value.isoformat(sep=" ", timespec="milliseconds")


def _as_guid(fit: Fit, value: str) -> str:
    """A `uniqueidentifier`; of a longer text SQL Server takes the first 36 signs."""
    if len(value) != 36:
        raise InputError(
            f"The column `{fit.name}` holds a text that is no `uniqueidentifier`: that has 36 signs, as "
            "`0e984725-c51c-4bf4-9960-e1c80e27aba0`. Nothing was written. Repair it in the asset."
        )
    return value
