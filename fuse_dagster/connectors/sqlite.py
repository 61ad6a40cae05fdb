"""SQLite: a database in one file, whose columns hold what their declaration only suggests."""

import datetime as dt
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fuse_dagster.connectors.database import Database, TableColumn
from fuse_dagster.connectors.databases.arrow import Cell, named, reader_of
from fuse_dagster.connectors.databases.dialects import SQLITE, Dialect
from fuse_dagster.connectors.databases.projecting import bare
from fuse_dagster.connectors.object_store import looked_up
from fuse_dagster.core.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 20_000
_STEPS = 100_000
_DECIMAL = re.compile(r"(?:DECIMAL|NUMERIC)\s*\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)")
_PARAMETER = re.compile(r"'(?:''|[^'])*'|\"(?:\"\"|[^\"])*\"|`(?:``|[^`])*`|\[[^\]]*\]|--[^\n]*|/\*[\s\S]*?\*/|\?")
_DO = "SQLite keeps values of any type in any column: repair them, or cast the column in a query."


class SQLite(Database):
    """A database file of SQLite.

    Examples:
        >>> SQLite(path="shop.sqlite").place
        'shop.sqlite'
    """

    type: Literal["sqlite"] = "sqlite"
    path: str = Field(description="The file. It has to be there for reading; writing makes it.")

    dialect: ClassVar[Dialect] = SQLITE
    checks: ClassVar[Mapping[str, str]] = {
        "host": "Check `path`: that the file is there, is one of SQLite's, and may be read.",
        "database": "Check `path`: reading makes no file.",
        "slow": "Narrow what is asked, add an index, or raise `statement_timeout`.",
    }

    @property
    def place(self) -> str:
        """The file."""
        return looked_up(self.path)

    def connect(self, *, writing: bool = False) -> Any:
        """Open the file; it has to be there for reading, which can't change it."""
        if not writing and not Path(self.place).is_file():
            raise sqlite3.OperationalError("no such file")
        connection = self._open("rwc" if writing else "ro")
        try:
            connection.execute("BEGIN IMMEDIATE" if writing else "BEGIN")
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        except sqlite3.OperationalError as error:
            connection.close()
            if error.sqlite_errorname not in _LEFT:
                raise
            with closing(self._open("rw")) as healing:
                healing.execute("SELECT 1 FROM sqlite_master").fetchone()
            connection = self._open("ro")
            connection.execute("BEGIN")
        if not writing:
            connection.set_authorizer(_without_other_files)
        ends = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=self.statement_timeout)
        connection.set_progress_handler(lambda: dt.datetime.now(dt.UTC) > ends, _STEPS)
        return connection

    def _open(self, mode: str) -> sqlite3.Connection:
        address = f"{Path(self.place).absolute().as_uri()}?mode={mode}"
        return sqlite3.connect(
            address, uri=True, timeout=self.connect_timeout, isolation_level=None, check_same_thread=False
        )

    def version(self, connection: Any) -> str:
        """Say what answers."""
        connection.execute("SELECT count(*) FROM sqlite_master")
        return f"SQLite {sqlite3.sqlite_version}"

    def tables(self, connection: Any) -> Iterator[tuple[str, ...]]:
        """Yield names of tables and views, in `main`."""
        found = connection.execute(
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        )
        yield from (("main", name) for (name,) in found.fetchall())

    def described(self, connection: Any, parts: Sequence[str]) -> Sequence[TableColumn]:
        """The columns of a table, as they are declared."""
        if len(parts) == 2 and parts[0] != "main":
            return []
        found = connection.execute(
            'SELECT name, type, "notnull", pk FROM pragma_table_xinfo(?) WHERE hidden <> 1 AND EXISTS '
            "(SELECT 1 FROM sqlite_master m WHERE m.name = ?) ORDER BY cid",
            [parts[-1], parts[-1]],
        )
        return [
            TableColumn(name=name, type=kind or "ANY", nullable=not never and not key, key=key)
            for name, kind, never, key in found.fetchall()
        ]

    @contextmanager
    def stream(
        self, connection: Any, text: str, values: Sequence[Any], *, declared: Mapping[str, str]
    ) -> "Iterator[pa.RecordBatchReader]":
        """Read an answer row by row; a column's type is that of its declaration, else that of its values."""
        del declared
        with closing(connection.cursor()) as cursor:
            cursor.execute(text, [_sent(value) for value in values])
            if cursor.description is None:
                raise InputError("A statement that returns rows is expected: reading changes nothing.")
            names = [one[0] for one in cursor.description]
            first = cursor.fetchmany(_ROWS)
            named(names)
            kinds = _declared(connection, text, names)
            columns = list(zip(*first, strict=True)) if first else [() for _ in names]
            cells = [cell_of(name, kind, column) for name, kind, column in zip(names, kinds, columns, strict=True)]
            yield reader_of(cells, _chunks(first, cursor))

    def told(self, error: Exception) -> tuple[str | None, str] | None:
        """By SQLite's codes and words."""
        if not isinstance(error, sqlite3.Error):
            return None
        said, code = str(error), getattr(error, "sqlite_errorname", "") or ""
        for words, kind in _KINDS.items():
            if words in said or code.startswith(words):
                return kind, said
        if "no such file" in said:
            return "database", ""
        return ("value" if isinstance(error, sqlite3.DataError | sqlite3.IntegrityError) else "syntax"), said


_LEFT = frozenset({"SQLITE_READONLY_ROLLBACK", "SQLITE_READONLY_RECOVERY"})
"""A writer that was killed left half a transaction, which only somebody who may write can take back."""


def _without_other_files(action: int, *_: object) -> int:
    return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_ATTACH else sqlite3.SQLITE_OK


def _sent(value: Any) -> Any:
    """A value as SQLite keeps it: dates and times as ISO text, decimals as numbers."""
    if isinstance(value, dt.datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    return float(value) if isinstance(value, Decimal) else value


_KINDS = {
    "no such table": "table",
    "no such column": "column",
    "SQLITE_READONLY": "readonly",
    "SQLITE_AUTH": "readonly",
    "SQLITE_INTERRUPT": "slow",
    "SQLITE_BUSY": "busy",
    "SQLITE_LOCKED": "busy",
    "SQLITE_NOTADB": "host",
    "SQLITE_CANTOPEN": "host",
    "SQLITE_CORRUPT": "host",
    "SQLITE_IOERR": "host",
    "SQLITE_MISMATCH": "value",
    "SQLITE_TOOBIG": "value",
    "one statement": "syntax",
}


def _chunks(first: list[Any], cursor: Any) -> Iterator[list[Any]]:
    chunk = first
    while chunk:
        yield chunk
        chunk = cursor.fetchmany(_ROWS)


def _declared(connection: Any, text: str, names: Sequence[str]) -> list[str]:
    """The declared types of an answer's columns, which SQLite says of a view on it; "" for expressions."""
    asked = _PARAMETER.sub(lambda found: "NULL" if found[0] == "?" else found[0], bare(text))
    connection.execute(f"CREATE TEMP VIEW fuse_asked AS {asked}\n")
    found = dict(connection.execute("SELECT name, type FROM pragma_table_xinfo('fuse_asked')").fetchall())
    connection.execute("DROP VIEW temp.fuse_asked")
    return [found.get(name, "") for name in names]


def cell_of(name: str, declared: str, values: Sequence[Any]) -> Cell:
    """How a column is read.

    Args:
        name: Of the column.
        declared: Its type, as declared; "" where there is none.
        values: The first of its values, which say its type where the declaration doesn't.
    """
    import pyarrow as pa

    kind = declared.upper().strip()
    number = _DECIMAL.match(kind)
    if number and int(number[1]) <= 38:
        scale = int(number[2] or 0)
        return Cell(name, pa.decimal128(int(number[1]), scale), _decimal(scale), _DO)
    plain = kind.partition("(")[0].strip()
    if plain in (types := _types()):
        return Cell(name, *types[plain], _DO)
    for words, (arrow, convert) in _affinities():
        if any(word in plain for word in words):
            return Cell(name, arrow, convert, _DO)
    return _guessed(name, values)


def _affinities() -> "list[tuple[tuple[str, ...], tuple[pa.DataType, Any]]]":
    """Words in a declaration -> how SQLite takes such values, in its own order."""
    import pyarrow as pa

    return [
        (("INT",), (pa.int64(), _only(int))),
        (("CHAR", "CLOB", "TEXT", "JSON", "UUID"), (pa.string(), _only(str))),
        (("BLOB",), (pa.binary(), _only(bytes))),
        (("REAL", "FLOA", "DOUB"), (pa.float64(), _float)),
    ]


def _guessed(name: str, values: Sequence[Any]) -> Cell:
    import pyarrow as pa

    kinds = {type(value) for value in values if value is not None}
    if kinds == {int}:
        return Cell(name, pa.int64(), _only(int), _DO)
    if kinds and kinds <= {int, float}:
        return Cell(name, pa.float64(), _float, _DO)
    if kinds == {bytes}:
        return Cell(name, pa.binary(), _only(bytes), _DO)
    return Cell(name, pa.string(), _only(str), _DO)


def _only(kind: type) -> Any:
    def same(value: Any) -> Any:
        if type(value) is not kind:
            raise ValueError(value)
        return value

    return same


def _float(value: Any) -> float:
    if type(value) is int and float(value) != value:
        raise ValueError(value)
    if type(value) not in {int, float}:
        raise ValueError(value)
    return float(value)


def _decimal(scale: int) -> Any:
    def exact(value: Any) -> Decimal:
        if type(value) is float:
            # What SQLite keeps of a decimal is a float: the number with the declared digits that it stands for.
            rounded = Decimal(repr(value))
            if -int(rounded.as_tuple().exponent) > scale:
                raise ValueError(value)
            return rounded
        if type(value) is not int:
            raise ValueError(value)
        return Decimal(value)

    return exact


def _flag(value: Any) -> bool:
    if type(value) is not int or value not in {0, 1}:
        raise ValueError(value)
    return bool(value)


def _date(value: Any) -> dt.date:
    return dt.date.fromisoformat(_only(str)(value))


def _moment(value: Any) -> dt.datetime:
    found = dt.datetime.fromisoformat(_only(str)(value))
    if found.tzinfo is not None:
        raise ValueError(value)
    return found


def _time(value: Any) -> dt.time:
    return dt.time.fromisoformat(_only(str)(value))


def _types() -> "Mapping[str, tuple[pa.DataType, Any]]":
    import pyarrow as pa

    return {
        "BOOLEAN": (pa.bool_(), _flag),
        "BOOL": (pa.bool_(), _flag),
        "DATE": (pa.date32(), _date),
        "DATETIME": (pa.timestamp("us"), _moment),
        "TIMESTAMP": (pa.timestamp("us"), _moment),
        "TIME": (pa.time64("us"), _time),
    }
