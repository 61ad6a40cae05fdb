"""Types of columns: what a system's word for a type can hold, and which word it has for an Arrow type."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fuse_dagster.core.errors import SchemaError

if TYPE_CHECKING:
    import pyarrow as pa

    from fuse_dagster.connectors.databases.dialects import Dialect

Family = Literal[
    "integer", "float", "decimal", "boolean", "text", "bytes", "date", "time", "timestamp", "instant", "list", "other"
]


@dataclass(frozen=True, slots=True)
class Kind:
    """What a column holds.

    Attributes:
        family: Its family; `other` for what only the system itself knows, which takes text.
        size: Bits of a number; characters of a text, or bytes, at the most; 0 where it has no limit of its own.
        scale: Digits after the point of a decimal, whose `size` then counts its digits; of times those of a second.
        signed: Whether an integer may be negative.
        item: Of a list, what it holds.
    """

    family: Family
    size: int = 0
    scale: int = 0
    signed: bool = True
    item: Kind | None = None


_INTEGERS = {
    "tinyint": 8, "smallint": 16, "int2": 16, "mediumint": 24, "int": 32, "integer": 32, "int4": 32, "bigint": 64,
    "int8": 64, "int64": 64, "hugeint": 127, "serial": 32, "bigserial": 64, "utinyint": 8, "usmallint": 16,
    "uinteger": 32, "ubigint": 64, "uhugeint": 128,
}  # fmt: skip
_FLOATS = {"real": 32, "float4": 32, "float": 64, "float8": 64, "float64": 64, "double": 64, "double precision": 64}
_DECIMALS = {"bignumeric", "numeric", "decimal", "number", "dec", "fixed"}
_MONEY = {"money": (19, 4), "smallmoney": (10, 4)}
_BOOLEANS = {"boolean", "bool", "bit"}
_TEXTS = {
    "text", "character varying", "varchar", "character", "char", "bpchar", "nvarchar", "nchar", "string", "tinytext",
    "mediumtext", "longtext", "ntext", "clob", "citext", "name",
}  # fmt: skip
_BYTES = {"bytes", "bytea", "blob", "binary", "varbinary", "tinyblob", "mediumblob", "longblob", "image"}
_TIMESTAMPS = {"timestamp without time zone", "datetime", "datetime2", "timestamp_ntz", "timestamp_ns", "smalldatetime"}
_INSTANTS = {
    "timestamp with time zone", "timestamptz", "datetimeoffset", "timestamp_tz", "timestamp_ltz",
}  # fmt: skip
_WORD = re.compile(
    r"^\s*([a-z_][a-z0-9_ ]*?)\s*(?:\(([^)]*)\))?\s*((?:without|with)(?: local)? time zone)?"
    r"\s*(unsigned)?(?: zerofill)?\s*$"
)


def kind_of(dialect: Dialect, said: str) -> Kind:
    """What a type that a system names holds.

    Args:
        dialect: Of the system.
        said: As `numeric(10,2)`, `int unsigned`, `integer[]`.

    Examples:
        >>> from fuse_dagster.connectors.databases.dialects import POSTGRES
        >>> kind_of(POSTGRES, "numeric(10,2)")
        Kind(family='decimal', size=10, scale=2, signed=True, item=None)
    """
    text = said.strip().lower()
    if text.endswith("[]") and dialect.name in {"postgres", "duckdb"}:
        return Kind("list", item=kind_of(dialect, text.removesuffix("[]")))
    found = _WORD.match(text)
    if found is None:
        return Kind("other")
    word, zone, unsigned = found[1], found[3], found[4]
    if word.endswith(" unsigned"):
        word, unsigned = word.removesuffix(" unsigned"), "unsigned"
    numbers = [int(part) for part in re.findall(r"\d+", found[2] or "")]
    if zone:
        word = f"{word} {zone}"
    return _kind(dialect, word, numbers, unsigned=bool(unsigned))


def _kind(dialect: Dialect, word: str, numbers: list[int], *, unsigned: bool) -> Kind:
    if dialect.name == "sqlite":
        return _of_sqlite(word)
    first, second = [*numbers, 0, 0][:2]
    single = word in {"char", "character"} and not first
    tests: tuple[tuple[bool, Callable[[], Kind]], ...] = (
        (word in _INTEGERS, lambda: _of_integer(dialect, word, unsigned=unsigned)),
        (word in _FLOATS, lambda: Kind("float", _float_bits(dialect, word, first))),
        (word in _DECIMALS, lambda: _of_decimal(dialect, word, first, second)),
        (word in _MONEY and dialect.name == "tsql", lambda: Kind("decimal", *_MONEY[word])),
        (word in _BOOLEANS and (word != "bit" or dialect.name == "tsql"), lambda: Kind("boolean")),
        (word in _TEXTS, lambda: Kind("text", 1 if single else first)),
        (word in _BYTES, lambda: Kind("bytes", first)),
        (word == "date", lambda: Kind("date")),
    )
    return next((kind() for is_it, kind in tests if is_it), None) or _of_moment(dialect, word, numbers)


def _of_integer(dialect: Dialect, word: str, *, unsigned: bool) -> Kind:
    never = unsigned or word.startswith("u") or (word == "tinyint" and dialect.name == "tsql")
    return Kind("integer", _INTEGERS[word], signed=not never)


def _of_decimal(dialect: Dialect, word: str, precision: int, scale: int) -> Kind:
    if dialect.name == "bigquery" and not precision:
        return Kind("decimal", 76, 38) if word == "bignumeric" else Kind("decimal", 38, 9)
    return Kind("decimal", precision, scale)


def _float_bits(dialect: Dialect, word: str, digits: int) -> int:
    single = word == "float" and (dialect.name in {"mysql", "duckdb"} or (dialect.name == "tsql" and 0 < digits < 25))
    return 32 if single else _FLOATS[word]


def _of_moment(dialect: Dialect, word: str, numbers: list[int]) -> Kind:
    if word in {"time", "time without time zone"}:
        return Kind("time", scale=_digits(dialect, numbers))
    if word in _INSTANTS or (word == "timestamp" and dialect.name in {"mysql", "bigquery"}):
        return Kind("instant", scale=_digits(dialect, numbers))
    if word in _TIMESTAMPS or (word == "timestamp" and dialect.name != "tsql"):
        return Kind("timestamp", scale=9 if word == "timestamp_ns" else _digits(dialect, numbers))
    return Kind("other")


def _digits(dialect: Dialect, numbers: list[int]) -> int:
    """Digits of a second: of MySQL none where none are said; of SQL Server's seven those that are read and written."""
    said = numbers[0] if numbers else 0 if dialect.name == "mysql" else 6
    return min(said, 6) if dialect.name == "tsql" else said


def _of_sqlite(word: str) -> Kind:
    """A column of SQLite takes anything; what it is declared as says what is meant."""
    exact: dict[str, Kind] = {
        "boolean": Kind("boolean"),
        "date": Kind("date"),
        "time": Kind("time", scale=6),
        "timestamp": Kind("timestamp", scale=6),
        "datetime": Kind("timestamp", scale=6),
        "timestamptz": Kind("instant", scale=6),
        "timestamp with time zone": Kind("instant", scale=6),
    }
    if word in exact:
        return exact[word]
    # https://www.sqlite.org/datatype3.html#determination_of_column_affinity
    if "int" in word:
        return Kind("integer", 64)
    if any(part in word for part in ("char", "clob", "text")):
        return Kind("text")
    if "blob" in word or not word:
        return Kind("bytes")
    if any(part in word for part in ("real", "floa", "doub")):
        return Kind("float", 64)
    return Kind("other")


_WORDS: dict[str, dict[str, str]] = {
    "postgres": {
        "float32": "real", "float64": "double precision", "decimal": "numeric", "boolean": "boolean", "text": "text",
        "bytes": "bytea", "date": "date", "time": "time", "timestamp": "timestamp", "instant": "timestamptz",
        "key text": "text", "key bytes": "bytea",
    },
    "mysql": {
        "float32": "double", "float64": "double", "decimal": "decimal", "boolean": "boolean", "text": "longtext",
        "bytes": "longblob", "date": "date", "time": "time(6)", "timestamp": "datetime(6)",
        "instant": "timestamp(6) NULL", "key text": "varchar(255)", "key bytes": "varbinary(255)",
    },
    "tsql": {
        "float32": "real", "float64": "float(53)", "decimal": "decimal", "boolean": "bit", "text": "nvarchar(max)",
        "bytes": "varbinary(max)", "date": "date", "time": "time(6)", "timestamp": "datetime2(6)",
        "instant": "datetimeoffset(6)", "key text": "nvarchar(400)", "key bytes": "varbinary(800)",
    },
    "snowflake": {
        "float32": "float", "float64": "float", "decimal": "number", "boolean": "boolean", "text": "text",
        "bytes": "binary", "date": "date", "time": "time(6)", "timestamp": "timestamp_ntz(6)",
        "instant": "timestamp_tz(6)", "key text": "text", "key bytes": "binary",
    },
    "bigquery": {
        "float32": "float64", "float64": "float64", "boolean": "bool", "text": "string", "bytes": "bytes",
        "date": "date", "time": "time", "timestamp": "datetime", "instant": "timestamp",
    },
    "duckdb": {
        "float32": "float", "float64": "double", "decimal": "decimal", "boolean": "boolean", "text": "varchar",
        "bytes": "blob", "date": "date", "time": "time", "timestamp": "timestamp", "instant": "timestamptz",
        "key text": "varchar", "key bytes": "blob",
    },
    "sqlite": {
        "float32": "REAL", "float64": "REAL", "boolean": "BOOLEAN", "text": "TEXT", "bytes": "BLOB", "date": "DATE",
        "time": "TIME", "timestamp": "TIMESTAMP", "instant": "TIMESTAMPTZ", "key text": "TEXT", "key bytes": "BLOB",
    },
}  # fmt: skip
_INTEGER_WORDS: dict[str, dict[str, str]] = {
    "postgres": {"uint8": "smallint", "int8": "smallint", "int16": "smallint", "uint16": "integer", "int32": "integer",
                 "uint32": "bigint", "int64": "bigint", "uint64": "numeric(20,0)"},
    "mysql": {"int8": "tinyint", "int16": "smallint", "int32": "int", "int64": "bigint", "uint8": "tinyint unsigned",
              "uint16": "smallint unsigned", "uint32": "int unsigned", "uint64": "bigint unsigned"},
    "tsql": {"int8": "smallint", "int16": "smallint", "int32": "int", "int64": "bigint", "uint8": "tinyint",
             "uint16": "int", "uint32": "bigint", "uint64": "decimal(20,0)"},
    "snowflake": {"int8": "number(3,0)", "int16": "number(5,0)", "int32": "number(10,0)", "int64": "number(19,0)",
                  "uint8": "number(3,0)", "uint16": "number(5,0)", "uint32": "number(10,0)", "uint64": "number(20,0)"},
    "bigquery": dict.fromkeys(("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"), "int64")
    | {"uint64": "numeric(20,0)"},
    "duckdb": {"int8": "tinyint", "int16": "smallint", "int32": "integer", "int64": "bigint", "uint8": "utinyint",
               "uint16": "usmallint", "uint32": "uinteger", "uint64": "ubigint"},
    "sqlite": dict.fromkeys(("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"), "INTEGER"),
}  # fmt: skip
_DIGITS = {"postgres": 1000, "mysql": 65, "tsql": 38, "snowflake": 38, "duckdb": 38}


def word_for(dialect: Dialect, field: pa.Field, *, key: bool = False) -> str:
    """The type of a new column that holds an Arrow column without loss.

    Args:
        dialect: Of the system.
        field: The Arrow column.
        key: Whether it is part of the key, which some systems only index up to a length.

    Raises:
        SchemaError: The system has no such type.
    """
    word = _word(dialect, family_of(field.type), field.type, key=key)
    if word is None:
        raise SchemaError(
            f"The column `{field.name}` is {field.type}, for which {dialect.name} has no type that holds it without "
            "loss. Cast it in the asset, as a nested value to JSON text, or leave it out."
        )
    return word


def _word(  # noqa: PLR0911 - one for each family that needs more than a table
    dialect: Dialect, family: Family, arrow: pa.DataType, *, key: bool
) -> str | None:
    words = _WORDS.get(dialect.name, {})
    if family == "integer":
        return _INTEGER_WORDS.get(dialect.name, {}).get(str(arrow))
    if family == "float":
        return words.get("float64" if str(arrow) == "halffloat" else {"float": "float32"}.get(str(arrow), "float64"))
    if family == "decimal" and dialect.name == "bigquery":
        return _decimal_of_bigquery(arrow.precision, arrow.scale)
    if family == "decimal":
        fits = 0 <= arrow.scale <= arrow.precision <= _DIGITS.get(dialect.name, 0)
        return f"{words['decimal']}({arrow.precision},{arrow.scale})" if fits else None
    if family == "list" and dialect.name in {"postgres", "duckdb"}:
        item = _word(dialect, family_of(arrow.value_type), arrow.value_type, key=False)
        return None if item is None else f"{item}[]"
    if key and family in ("text", "bytes"):
        return words.get(f"key {family}")
    return words.get(family)


def _decimal_of_bigquery(precision: int, scale: int) -> str | None:
    """https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#parameterized_decimal_type."""
    if 0 <= scale <= 9 and scale <= precision <= scale + 29 and precision > 0:
        return f"numeric({precision},{scale})"
    return f"bignumeric({precision},{scale})" if 0 <= scale <= 38 and scale <= precision <= scale + 38 else None


def family_of(arrow: pa.DataType) -> Family:
    """The family of an Arrow type; of a dictionary that of its values."""
    import pyarrow as pa

    kinds = pa.types
    if kinds.is_dictionary(arrow):
        return family_of(arrow.value_type)
    tests: tuple[tuple[Family, bool], ...] = (
        ("integer", kinds.is_integer(arrow)),
        ("float", kinds.is_floating(arrow)),
        ("decimal", kinds.is_decimal(arrow)),
        ("boolean", kinds.is_boolean(arrow)),
        ("text", kinds.is_string(arrow) or kinds.is_large_string(arrow) or kinds.is_string_view(arrow)),
        ("bytes", kinds.is_binary(arrow) or kinds.is_large_binary(arrow) or kinds.is_binary_view(arrow)),
        ("date", kinds.is_date(arrow)),
        ("time", kinds.is_time(arrow)),
        ("timestamp", kinds.is_timestamp(arrow) and arrow.tz is None),
        ("instant", kinds.is_timestamp(arrow) and arrow.tz is not None),
        ("list", kinds.is_list(arrow) or kinds.is_large_list(arrow)),
    )
    return next((family for family, is_it in tests if is_it), "other")
