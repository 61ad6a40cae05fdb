"""PostgreSQL behind its ODBC driver, which moves infinite times and drops zones: the server says the types instead."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from fuse_dagster.connectors.database import TableColumn
from fuse_dagster.connectors.databases.arrow import Cell, named
from fuse_dagster.connectors.databases.dialects import POSTGRES, Dialect
from fuse_dagster.connectors.databases.odbc import Plan, asked
from fuse_dagster.connectors.databases.odbc_values import sent
from fuse_dagster.connectors.databases.postgresql import COLUMNS, TABLES, described, login_kind
from fuse_dagster.connectors.databases.projecting import around, bare

if TYPE_CHECKING:
    import pyarrow as pa

_SETTINGS = "SET TimeZone = 'UTC'; SET IntervalStyle = 'iso_8601'; SET DateStyle = 'ISO'; SET extra_float_digits = 3"
_DECIMAL = re.compile(r"numeric\((\d+),(-?\d+)\)")
_UNSAID = (28, 6)  # what the driver says of a `numeric` without digits, as of `numeric(28,6)`
_PRECISION, _SCALE = 38, 9
_CASTS = {"oid": ("{}::int8", "bigint"), "money": ("{}::numeric(21,2)::text", "numeric(21,2)")}
_DO = (
    "PostgreSQL has values there that are no such, as `infinity` or `NaN`, or that are longer: leave such rows out in "
    "a query, put NULL there, or cast the column to text."
)


class PostgresByOdbc:
    """What is known of it."""

    dialect: ClassVar[Dialect] = replace(POSTGRES, marker="?")
    attributes: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"UseDeclareFetch": "1", "Fetch": "5000", "BoolsAsChar": "0", "ByteaAsLongVarBinary": "1"}
    )

    def begin(self, connection: Any, *, writing: bool, seconds: float) -> None:
        """Times in UTC; what reads may change nothing and sees the database as of its first statement."""
        how = "READ COMMITTED, READ WRITE" if writing else "REPEATABLE READ, READ ONLY"
        limit = f"SET statement_timeout = {max(1, round(seconds * 1000))}"  # 0 would be none
        session = f"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL {how}"
        with connection.cursor() as cursor:
            cursor.execute(f"{_SETTINGS}; {limit}; {session}")
        connection.commit()  # the next transaction is the first of that kind

    def tables(self, connection: Any) -> Iterator[tuple[str, ...]]:
        """Yield schemas and names."""
        yield from asked(connection, TABLES)

    def described(self, connection: Any, parts: Sequence[str]) -> Sequence[TableColumn]:
        """The columns of a table; without a schema it is looked for in the search path."""
        schema = parts[0] if len(parts) == 2 else ""
        text = COLUMNS.replace("$1", "?").replace("$2", "?")
        return [TableColumn(**one) for one in described(asked(connection, text, [parts[-1], schema, schema]))]

    def planned(self, connection: Any, text: str, values: Sequence[Any], declared: Mapping[str, str]) -> Plan:
        """Ask for text where the driver would make something else of a value."""
        inner = f"(\n{bare(text)}\n) AS fuse_asked"
        digits = {}
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {inner} LIMIT 0", *map(sent, values))  # noqa: S608 - the question itself
            names = [one[0] for one in cursor.description]
            digits = {one[0]: (one[4], one[5]) for one in cursor.description}
        named(names)
        words = {name: declared[name] for name in names if name in declared}
        if len(words) < len(names):
            words |= self._words(connection, inner, names, values)
        said = {name: _said(words[name], digits[name]) for name in names}
        casts = [said[name][0] or "{}" for name in names]  # always around: only a SELECT is read by parts
        return Plan(around(self.dialect, text, names, casts), {name: _cell(name, said[name][1]) for name in names})

    def _words(self, connection: Any, inner: str, names: Sequence[str], values: Sequence[Any]) -> dict[str, str]:
        """The types of a question's columns, which it is not run for."""
        types = ", ".join(f"pg_typeof(fuse_asked.{self.dialect.quoted(name)})::text" for name in names)
        text = f"SELECT {types} FROM (SELECT 1) AS fuse_one LEFT JOIN {inner} ON false"  # noqa: S608 - quoted names
        return dict(zip(names, asked(connection, text, list(map(sent, values)))[0], strict=True))

    def kind(self, state: str, said: str, number: int) -> str | None:  # noqa: ARG002 - asked by others
        """Of a login the words say more than the state."""
        return login_kind(Exception(said)) if state[:2] in {"08", "HY"} else None


def _said(word: str, digits: tuple[int, int]) -> tuple[str | None, str]:
    """What to select in place of a column, and what is read then."""
    base = re.sub(r"\(.*?\)", "", word)
    if base in {"smallint", "integer", "bigint", "real", "double precision", "boolean", "bytea"}:
        return None, base
    if base == "numeric":
        found = _DECIMAL.fullmatch(word)
        if word == base and digits != _UNSAID:
            return "{}::text", f"{base}({digits[0]},{digits[1]})"
        return "{}::text", found[0] if found else base
    if base in {"text", "character varying", "character", "bpchar", "json", "jsonb"}:  # a cast would cut blanks off
        return None, "text"
    return _CASTS.get(base, ("{}::text", base))


def _cell(name: str, word: str) -> Cell:
    import pyarrow as pa

    types = {
        "smallint": pa.int16(), "integer": pa.int32(), "bigint": pa.int64(), "real": pa.float32(),
        "double precision": pa.float64(), "boolean": pa.bool_(), "bytea": pa.binary(),
    }  # fmt: skip
    parsed = {
        "date": pa.date32(),
        "timestamp without time zone": pa.timestamp("us"),
        "timestamp with time zone": pa.timestamp("us", tz="UTC"),
    }
    if word in types:
        return Cell(name, types[word])
    if word in parsed:
        return Cell(name, parsed[word], None, _DO, pa.string())
    if word == "time without time zone":
        return Cell(name, pa.time64("us"), _time, _DO)
    if word.startswith("numeric"):
        kind = _decimal(word)
        return Cell(name, kind, None, _DO, pa.string())
    return Cell(name, pa.string())


def _decimal(word: str) -> pa.DataType:
    """The decimal that a `numeric` becomes: with its own digits, or 38 of which 9 stand behind the point."""
    import pyarrow as pa

    found = _DECIMAL.fullmatch(word)
    if found is None:
        return pa.decimal128(_PRECISION, _SCALE)
    precision, scale = int(found[1]), int(found[2])
    precision, scale = (precision - scale, 0) if scale < 0 else (max(precision, scale), scale)
    return pa.decimal128(precision, scale) if precision <= _PRECISION else pa.string()


def _time(value: str) -> dt.time:
    if value.startswith("24"):
        raise ValueError(value)
    return dt.time.fromisoformat(value)
