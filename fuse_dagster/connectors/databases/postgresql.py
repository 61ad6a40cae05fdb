"""Types of PostgreSQL: which its Arrow driver hands over as they are, and what is made of the others."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from fuse_dagster.connectors.databases.arrow import unfit

if TYPE_CHECKING:
    import pyarrow as pa

AS_THEY_ARE = frozenset(
    {
        "int2", "int4", "int8", "float4", "float8", "bool", "text", "varchar", "bpchar", "name", "char", "bytea",
        "date", "time", "timestamp", "timestamptz", "json", "jsonb", "numeric",
    }
)  # fmt: skip
"""Read by the driver as what they are; a `numeric` comes as text or in its units, and becomes a decimal here."""
CASTS = {"oid": "{}::int8", "money": "{}::numeric(21,2)"}
"""Others that are cast by the server; what is in neither is read as the text that the server writes."""
LISTS = frozenset({"int2", "int4", "int8", "float4", "float8", "bool", "text", "varchar", "timestamp", "timestamptz"})
"""Of which types an array of one dimension is read as a list; arrays of others are lists of texts."""
TABLES = """
SELECT n.nspname::text, c.relname::text
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'v', 'm', 'f', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND n.nspname NOT LIKE 'pg\\_toast%' AND n.nspname NOT LIKE 'pg\\_temp%' AND NOT c.relispartition
"""
"""Schemas and names of tables, views and foreign tables; partitions belong to theirs."""
COLUMNS = """
SELECT a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull,
       coalesce(array_position(k.conkey, a.attnum), 0)::int4
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p'
WHERE c.relname = $1 AND c.relkind IN ('r', 'v', 'm', 'f', 'p')
  AND ($2 = '' AND pg_catalog.pg_table_is_visible(c.oid) OR n.nspname = $2)
ORDER BY a.attnum
"""
"""The columns of the table `$1` in the schema `$2`; where that is empty, in the search path."""
_PRECISION, _SCALE = 38, 9
_DIGITS_OF_UNITS = 18
_NO_UNITS = -(2**63) + 1
_HEADER = 4  # bytes that a type modifier counts too much
_DO = (
    "Cast it in a query to `numeric(p,s)` with the digits that it needs, 38 at the most, or to `text`; "
    "leave out what is NaN or infinite."
)


def literal(value: Any) -> str | None:
    """A number or a time in the type that the driver would bind it with; None for all else, and for its subclasses.

    Examples:
        >>> literal(-1), literal(date(2024, 6, 1)), literal("1")
        ("CAST('-1' AS int8)", "CAST('2024-06-01' AS date)", None)
    """
    word, said = _in_words(value)
    return f"CAST('{said}' AS {word})" if said else None


def _in_words(value: Any) -> tuple[str, str]:
    """Type and text of a number or a time; no text for what the driver can say only by itself."""
    kind = type(value)
    if kind is bool:
        return "bool", str(value)
    if kind is int:
        return "int8", str(value) if -(2**63) <= value < 2**63 else ""
    if kind is float:
        return "float8", str(value) if math.isfinite(value) else ""
    if kind is Decimal:
        return "numeric", str(value) if value.is_finite() else ""
    if kind is date:
        return "date", value.isoformat()
    return _in_utc(value) if kind is datetime else ("", "")


def _in_utc(value: datetime) -> tuple[str, str]:
    try:
        if value.tzinfo is None:
            return "timestamp", value.isoformat()
        return "timestamptz", value.astimezone(UTC).isoformat()
    except OverflowError:  # at the ends of the calendar
        return "", ""


def kind_of(field: pa.Field) -> str:
    """PostgreSQL's name of a column's type, as the driver says it; `_int4` is an array of `int4`."""
    return str((field.metadata or {}).get(b"POSTGRESQL:type", b"").decode())


def cast_of(field: pa.Field) -> str | None:
    """What to select in place of a column; None for the column itself."""
    kind = kind_of(field)
    if kind in AS_THEY_ARE:
        return None if kind != "numeric" else "{}::text" if decimal_of(field) is None else _as_units(field)
    if kind in CASTS:
        return CASTS[kind]
    if kind.startswith("_"):
        item = kind[1:] if kind[1:] in LISTS else "text"
        # The driver would make one list of several dimensions: casting what is no array ends the statement.
        no_array = "('an array of several dimensions: ' || {}::text)"
        return f"CASE WHEN array_ndims({{}}) > 1 THEN {no_array}::{item}[] ELSE {{}}::{item}[] END"
    return "{}::text"


def decimal_of(field: pa.Field) -> pa.DataType | None:
    """The decimal that a `numeric` becomes: with its own digits, or 38 of which 9 stand behind the point.

    Returns:
        None for one with more digits than a decimal of 128 bits holds: it is read as text.
    """
    import pyarrow as pa

    modifier = int((field.metadata or {}).get(b"POSTGRESQL:typmod", b"-1"))
    if modifier < _HEADER:
        return pa.decimal128(_PRECISION, _SCALE)
    precision, scale = (modifier - _HEADER) >> 16 & 0xFFFF, (modifier - _HEADER) & 0x7FF
    scale = scale - 2048 if scale >= 1024 else scale
    if scale < 0:
        precision, scale = precision - scale, 0
    return pa.decimal128(max(precision, scale), scale) if max(precision, scale) <= _PRECISION else None


def _as_units(field: pa.Field) -> str | None:
    """A decimal as the integer of its smallest units, which costs the driver a fraction of its text.

    What is no number with these digits becomes `_NO_UNITS`; None where 64 bits don't hold all the digits.
    """
    kind = decimal_of(field)
    if kind is None or kind.precision > _DIGITS_OF_UNITS:
        return None
    fits, units = f"pg_catalog.scale({{}}) <= {kind.scale}", f"{{}} * {10**kind.scale}"
    return f"(CASE WHEN {fits} THEN {units} WHEN {{}} IS NOT NULL THEN {_NO_UNITS} END)::int8"


def read_as(field: pa.Field, came: pa.Field | None = None) -> pa.Field:
    """The column as it is handed on: without the driver's extension types and metadata.

    Args:
        field: As the question has it.
        came: As the answer has it, where it was cast; the same by default.
    """
    import pyarrow as pa

    came = came or field
    number = next((one for one in (field, came) if kind_of(one) == "numeric"), None)
    if number is not None:
        return pa.field(field.name, decimal_of(number) or pa.string())
    kind = came.type
    if pa.types.is_list(kind):
        return pa.field(field.name, pa.list_(kind.value_type))
    return pa.field(field.name, kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind)


def converted(batches: pa.RecordBatchReader, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The driver's batches with decimals that are decimals.

    Raises:
        InputError: A decimal that is NaN, infinite, or has more digits than its type.
    """
    import pyarrow as pa

    for batch in batches:
        arrays = [_column(column, field) for column, field in zip(batch.columns, schema, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _column(column: pa.Array, field: pa.Field) -> pa.Array:
    import pyarrow as pa

    plain = column.storage if isinstance(column, pa.ExtensionArray) else column
    if not pa.types.is_decimal(field.type):
        return plain
    if pa.types.is_int64(plain.type):
        return _of_units(plain, field)
    try:
        return plain.cast(field.type)
    except pa.ArrowInvalid:
        raise unfit(field.name, field.type, _wrong(plain, field.type), _DO) from None


def _of_units(units: pa.Array, field: pa.Field) -> pa.Array:
    """Decimals from their smallest units: the digits stay, and the point is put between them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ends, most = pc.min_max(units), 10**field.type.precision
    least = ends["min"].as_py()
    if least is not None and (least <= -most or ends["max"].as_py() >= most):
        wrong = "NaN, or a number with more digits"
        raise unfit(field.name, field.type, [wrong], _DO)
    whole = units.cast(pa.decimal128(19, 0))
    return pa.Array.from_buffers(field.type, len(whole), whole.buffers(), whole.null_count, whole.offset)


def _wrong(column: pa.Array, kind: Any) -> Iterator[str]:
    import pyarrow as pa

    for value in column.to_pylist():
        try:
            pa.array([value], pa.string()).cast(kind)
        except pa.ArrowInvalid:
            yield value


_STATE = re.compile(r"SQLSTATE: (\w{5})")
_SAID = re.compile(r"(?:ERROR|FATAL):\s+([^\n]+)")
_LOGIN = (
    (re.compile(r"password authentication failed|no password supplied|role \"[^\n]*\" does not exist"
                r"|no pg_hba\.conf entry|not permitted to log in|authentication failed"), "credentials"),
    (re.compile(r"database \"[^\n]*\" does not exist"), "database"),
    (re.compile(r"timeout expired|[Tt]imed out"), "time"),
    (re.compile(r"too many clients|remaining connection slots|too many connections"), "busy"),
    (re.compile(r"SSL|certificate"), "certificate"),
    (re.compile(r"server closed the connection unexpectedly|no connection to the server|SSL SYSCALL|connection reset"
                r"|EOF detected|lost synchronization|insufficient data|terminating connection|could not receive data",
                re.IGNORECASE), "cut"),
)  # fmt: skip


def state_of(error: BaseException) -> str | None:
    """The SQLSTATE of the driver's error, which stands in its message where it isn't given apart."""
    found = _STATE.search(str(error))
    return getattr(error, "sqlstate", None) or (found[1] if found else None)


def said_by(error: BaseException) -> str:
    """What the server says, in one line; nothing of the statement, which the driver repeats."""
    found = _SAID.search(str(error))
    return found[1] if found else ""


def login_kind(error: BaseException) -> str | None:
    """The kind of failure that only the words tell: of a login, or of a connection."""
    text = str(error)
    if "canceling statement" in text:
        return "slow"
    kind = next((kind for words, kind in _LOGIN if words.search(text)), None)
    if kind is not None:
        return kind
    if "Failed to connect" in text or "connection to server" in text:
        return "host"
    return "value" if "ERROR:" in text else None  # of a row, while the answer is on its way


def described(rows: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """Rows of the catalogue as the fields of a `TableColumn`."""
    return [{"name": name, "type": kind, "nullable": not never, "key": key} for name, kind, never, key in rows]
