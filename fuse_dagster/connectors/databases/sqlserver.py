"""SQL Server and Azure SQL behind their ODBC driver: catalogue, types of an answer, tokens, and what errors mean."""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

from fuse_dagster.connectors.database import TableColumn
from fuse_dagster.connectors.databases.dialects import MSSQL, Dialect
from fuse_dagster.connectors.databases.odbc import Plan, asked
from fuse_dagster.connectors.databases.odbc_values import sent
from fuse_dagster.connectors.databases.sqlserver_types import CONVERTERS, cell, declaration, word_of
from fuse_dagster.core.errors import InputError

SQL_COPT_SS_ACCESS_TOKEN = 1256
"""ODBC's attribute of a connection that takes a token of Entra ID."""
SETTINGS = "SET XACT_ABORT ON; SET DATEFORMAT ymd; SET ANSI_NULL_DFLT_ON ON"
"""A failure rolls the whole transaction back; dates as text mean one day in every language."""
TABLES = """
SELECT s.name, o.name FROM sys.objects AS o JOIN sys.schemas AS s ON s.schema_id = o.schema_id
WHERE o.type IN ('U', 'V') AND o.is_ms_shipped = 0
"""
COLUMNS = """
SELECT c.name, COALESCE(TYPE_NAME(c.system_type_id), TYPE_NAME(c.user_type_id)), c.max_length, c.precision, c.scale,
  c.is_nullable, COALESCE(k.key_ordinal, 0)
FROM sys.columns AS c
LEFT JOIN (
  SELECT i.object_id, p.column_id, p.key_ordinal FROM sys.indexes AS i
  JOIN sys.index_columns AS p ON p.object_id = i.object_id AND p.index_id = i.index_id WHERE i.is_primary_key = 1
) AS k ON k.object_id = c.object_id AND k.column_id = c.column_id
WHERE c.object_id = OBJECT_ID(?) ORDER BY c.column_id
"""
DESCRIBE = """
SELECT name, COALESCE(system_type_name, user_type_name), error_message
FROM sys.dm_exec_describe_first_result_set(?, ?, 0) WHERE is_hidden = 0 OR is_hidden IS NULL ORDER BY column_ordinal
"""
_PASSED = re.compile(r"'(?:''|[^'])*'|\"(?:\"\"|[^\"])*\"|\[(?:\]\]|[^\]])*\]|--[^\n]*|/\*[\s\S]*?\*/|\?")
# https://learn.microsoft.com/sql/relational-databases/errors-events/database-engine-events-and-errors
_NUMBERS = {
    207: "column", 208: "table", 229: "rights", 230: "rights", 262: "rights", 297: "rights", 300: "rights",
    916: "rights", 1088: "rights", 15247: "rights", 911: "database", 4060: "database", 18452: "credentials",
    18456: "credentials", 18470: "credentials", 18486: "credentials", 18487: "credentials", 18488: "credentials",
    1204: "busy", 1205: "busy", 1222: "busy", 3960: "busy", 10928: "busy", 10929: "busy", 40197: "busy",
    40501: "busy", 40613: "busy", 49918: "busy", 49919: "busy", 49920: "busy", 3906: "readonly", 3908: "readonly",
    40615: "host", 40914: "host", 47073: "host", 233: "cut", 64: "cut", 10053: "cut", 10054: "cut", 10060: "time",
    220: "value", 241: "value", 242: "value", 245: "value", 248: "value", 295: "value", 515: "value", 544: "value",
    547: "value", 2601: "value", 2627: "value", 2628: "value", 4712: "value", 8114: "value", 8115: "value",
    8134: "value", 8152: "value", 8169: "value",
}  # fmt: skip


def packed(token: str) -> bytes:
    r"""A token as the driver takes it: its length in bytes (4, little-endian), and then itself in UTF-16.

    https://learn.microsoft.com/sql/connect/odbc/using-azure-active-directory#authenticating-with-an-access-token

    Examples:
        >>> packed("ab")
        b'\x04\x00\x00\x00a\x00b\x00'
    """
    text = token.encode("utf-16-le")
    return struct.pack(f"<I{len(text)}s", len(text), text)


def numbered(text: str) -> str:
    """A text whose markers are names, as its description needs it.

    Examples:
        >>> numbered("SELECT '?', [a?] FROM t WHERE a = ? AND b = ?")
        "SELECT '?', [a?] FROM t WHERE a = @P1 AND b = @P2"
    """
    number = itertools.count(1)
    return _PASSED.sub(lambda found: f"@P{next(number)}" if found[0] == "?" else found[0], text)


class SqlServerByOdbc:
    """What is known of it."""

    dialect: ClassVar[Dialect] = MSSQL
    attributes: ClassVar[Mapping[str, str]] = MappingProxyType({"APP": "fuse_dagster"})

    def begin(self, connection: Any, *, writing: bool, seconds: float) -> None:  # noqa: ARG002 - asked by others
        """Say what dates mean, and how the driver's bytes of times are read; reading is never committed."""
        for number, convert in CONVERTERS.items():
            connection.add_output_converter(number, convert)
        with connection.cursor() as cursor:
            cursor.execute(SETTINGS)

    def tables(self, connection: Any) -> Iterator[tuple[str, ...]]:
        """Yield schemas and names."""
        yield from asked(connection, TABLES)

    def described(self, connection: Any, parts: Sequence[str]) -> Sequence[TableColumn]:
        """The columns of a table; without a schema that of the user's own."""
        return [
            TableColumn(name=one[0], type=word_of(*one[1:5]), nullable=bool(one[5]), key=one[6])
            for one in asked(connection, COLUMNS, [self.dialect.path(parts)])
        ]

    def planned(self, connection: Any, text: str, values: Sequence[Any], declared: Mapping[str, str]) -> Plan:
        """The text itself, which the server describes before it is run."""
        if declared:
            return Plan(text, _Cells(declared))
        told = asked(connection, DESCRIBE, [numbered(text), declaration([sent(value) for value in values]) or None])
        refused = next((str(error) for *_, error in told if error), "")
        if refused:  # running it says more precisely what is wrong
            return Plan(text, None, refused)
        if not all(name for name, *_ in told):
            raise InputError("The answer has a column without a name. Give each one by `AS`.")
        return Plan(text, _Cells({name: word for name, word, _ in told}))

    def kind(self, state: str, said: str, number: int) -> str | None:
        """By SQL Server's numbers."""
        if state == "HYT00":
            return "slow" if "Query timeout" in said else "time"
        if state[:2] == "08" and re.search("certificate|SSL|TLS", said):
            return "certificate"
        return _NUMBERS.get(number)


class _Cells(dict[str, Any]):
    """Column -> how it is read, made when it is asked for: a column that is not selected need not be readable."""

    def __init__(self, words: Mapping[str, str]) -> None:
        super().__init__(words)

    def __getitem__(self, name: str) -> Any:
        return cell(name, super().__getitem__(name))
