"""Connections that write: statements with bound values, and many rows at a time by the fastest way of each driver."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any

from fuse_dagster.connectors.databases import odbc_values
from fuse_dagster.connectors.databases.fitting import Fit, fitted, schema_of
from fuse_dagster.core.errors import ConfigError, InputError
from fuse_dagster.core.naming import listing

if TYPE_CHECKING:
    import pyarrow as pa

    from fuse_dagster.connectors.databases.dialects import Dialect

CHUNK = 10_000
"""Rows that a driver is handed at a time, where it takes rows and not Arrow."""


_ODBC_LONGEST = 4_000


class Link:
    """A connection of the DB-API that is used for writing.

    Args:
        connection: Of `Database.session`, which closes it: what is not committed is rolled back.
        dialect: Of the system.
    """

    exact = False
    """Whether rows are loaded in the binary form of each type, so that no text becomes another type on its way."""
    in_doubt = False
    """Whether the rows may be there for all to see, should the connection break off now."""

    def __init__(self, connection: Any, dialect: Dialect) -> None:
        self.connection, self.dialect = connection, dialect
        self.begin()

    def begin(self) -> None:
        """Make the session one that writes, where more has to be said than that the connection is for it."""

    def quoted(self, name: str) -> str:
        """A name, as the text of a statement takes it."""
        return self.dialect.quoted(name)

    def path(self, parts: Sequence[str]) -> str:
        """A name of several parts, as the text of a statement takes it."""
        return ".".join(self.quoted(part) for part in parts)

    def listed(self, names: Sequence[str], of: str = "") -> str:
        """Names of columns, with the table's before each of them."""
        return ", ".join(f"{of}.{self.quoted(name)}" if of else self.quoted(name) for name in names)

    def run(self, text: str, values: Sequence[Any] = ()) -> int:
        """Run a statement; how many rows it touched, -1 where the driver doesn't say."""
        with closing(self.connection.cursor()) as cursor:
            self._execute(cursor, text, values)
            return int(-1 if cursor.rowcount is None else cursor.rowcount)

    def ask(self, text: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query, and read its whole answer."""
        with closing(self.connection.cursor()) as cursor:
            self._execute(cursor, text, values)
            return [tuple(row) for row in cursor.fetchall()]

    def load(self, parts: Sequence[str], batches: Iterator[pa.RecordBatch], fits: Sequence[Fit]) -> int:
        """Append batches to a table.

        Args:
            parts: The table's name; of one part, where it is a temporary table of this connection.
            batches: Any number, each brought to the types of `fits` on its way.
            fits: The columns.

        Returns:
            How many rows.
        """
        names = self.listed([fit.name for fit in fits])
        markers = ", ".join(self.marker(number, fit) for number, fit in enumerate(fits, start=1))
        text = f"INSERT INTO {self.path(parts)} ({names}) VALUES ({markers})"  # noqa: S608 - of quoted names
        converts = [self.converter(fit) for fit in fits]
        total = 0
        with closing(self.connection.cursor()) as cursor:
            for batch in fitted(batches, fits):
                self.look(batch, fits)
                for start in range(0, batch.num_rows, CHUNK):
                    part = batch.slice(start, CHUNK)
                    self.ready(cursor, part)
                    cursor.executemany(text, _rows(part, converts))
                    total += part.num_rows
        return total

    def marker(self, number: int, fit: Fit) -> str:  # noqa: ARG002 - asked by others
        """How a column's bound value is written."""
        return self.dialect.mark(number)

    def converter(self, fit: Fit) -> Callable[[Any], Any] | None:  # noqa: ARG002 - asked by others
        """What makes a Python value of a column one that the driver takes; None where it takes it as it is."""
        return None

    def ready(self, cursor: Any, rows: pa.RecordBatch) -> None:
        """Set a cursor up for many rows."""

    def look(self, batch: pa.RecordBatch, fits: Sequence[Fit]) -> None:
        """Refuse what the system would change without a word."""

    def drop(self, table: str) -> None:
        """Drop a temporary table.

        Args:
            table: Its name, quoted.
        """
        self.run(f"DROP TABLE {table}")

    def commit(self) -> None:
        """Commit; the next statement begins another transaction."""
        self.connection.commit()

    def _execute(self, cursor: Any, text: str, values: Sequence[Any]) -> None:
        cursor.execute(text, list(values)) if values else cursor.execute(text)


class AdbcLink(Link):
    """PostgreSQL by ADBC, which loads by binary COPY."""

    exact = True

    def load(self, parts: Sequence[str], batches: Iterator[pa.RecordBatch], fits: Sequence[Fit]) -> int:
        """Append batches by COPY; memory holds a few of them."""
        stream = _Stream(fitted(batches, fits), schema_of(fits))
        schema = parts[0] if len(parts) > 1 else None
        with closing(self.connection.cursor()) as cursor:
            try:
                cursor.adbc_ingest(parts[-1], stream.reader(), mode="append", db_schema_name=schema)
            except Exception:
                if stream.failure is not None:  # what broke off is the source, and not the system
                    raise stream.failure from None
                raise
        return stream.rows


class DuckLink(Link):
    """DuckDB, which reads Arrow as it is."""

    def commit(self) -> None:
        """Commit, and begin another transaction."""
        self.connection.commit()
        self.connection.begin()

    def run(self, text: str, values: Sequence[Any] = ()) -> int:
        """Run a statement; a change answers with how many rows it touched."""
        answer = self.connection.execute(text, list(values)).fetchall()
        counted = len(answer) == 1 and len(answer[0]) == 1 and isinstance(answer[0][0], int)
        return int(answer[0][0]) if counted else -1

    def ask(self, text: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query, and read its whole answer."""
        found: list[tuple[Any, ...]] = self.connection.execute(text, list(values)).fetchall()
        return found

    def load(self, parts: Sequence[str], batches: Iterator[pa.RecordBatch], fits: Sequence[Fit]) -> int:
        """Append batches as DuckDB pulls them."""
        names = self.listed([fit.name for fit in fits])
        stream = _Stream(fitted(batches, fits), schema_of(fits))
        self.connection.register("_fuse_rows", stream.reader())
        try:
            self.connection.execute(
                f"INSERT INTO {self.path(parts)} ({names}) SELECT {names} FROM _fuse_rows"  # noqa: S608
            )
        except Exception:
            self.connection.rollback()  # or nothing more is answered, not even that the rows are let go
            self.connection.unregister("_fuse_rows")
            if stream.failure is not None:
                raise stream.failure from None
            raise
        self.connection.unregister("_fuse_rows")
        return stream.rows


class SqliteLink(Link):
    """SQLite, which holds dates and times as text."""

    def begin(self) -> None:
        """Begin a transaction, and take the lock for writing now rather than in the middle."""
        self.connection.rollback()
        self.connection.isolation_level = None
        self.run("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Commit, and begin another transaction."""
        self.run("COMMIT")
        self.run("BEGIN")

    def converter(self, fit: Fit) -> Callable[[Any], Any] | None:
        """Dates and times as ISO text, as SQLite's own functions write them."""
        return {"date": _iso, "time": _iso, "timestamp": _iso, "instant": _iso}.get(fit.kind.family)

    def look(self, batch: pa.RecordBatch, fits: Sequence[Fit]) -> None:
        """Refuse NaN, which SQLite stores as null."""
        _refuse_nan(batch, fits, "SQLite")


class MySqlLink(Link):
    """MySQL and MariaDB by PyMySQL, which sends many rows in one statement."""

    def begin(self) -> None:
        """Make the session strict, so that nothing is cut or replaced by a zero, and its times those of UTC."""
        self.run("SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO'")
        self.run("SET SESSION time_zone = '+00:00'")

    def quoted(self, name: str) -> str:
        """As PyMySQL takes it, for which a `%` of its own is doubled."""
        return self.dialect.quoted(name).replace("%", "%%")

    def ready(self, cursor: Any, rows: pa.RecordBatch) -> None:  # noqa: ARG002 - asked by others
        """Longer statements: fewer answers to wait for."""
        cursor.max_stmt_length = 4 * 1024 * 1024

    def drop(self, table: str) -> None:
        """Drop a temporary table as such: without the word, DROP would commit what was done so far."""
        self.run(f"DROP TEMPORARY TABLE {table}")

    def look(self, batch: pa.RecordBatch, fits: Sequence[Fit]) -> None:
        """Refuse NaN, for which MySQL has no value."""
        _refuse_nan(batch, fits, "MySQL")

    def _execute(self, cursor: Any, text: str, values: Sequence[Any]) -> None:
        cursor.execute(text, tuple(values))


class OdbcLink(Link):
    """Any system by ODBC, with arrays of values."""

    def ready(self, cursor: Any, rows: pa.RecordBatch) -> None:
        """Send the rows of a chunk together, where its longest values leave room for so many; else one by one."""
        sizes = [odbc_values.size_of(column) for column in rows.columns]
        cursor.fast_executemany = all(size is None or size[1] <= _ODBC_LONGEST for size in sizes)
        cursor.setinputsizes(sizes if cursor.fast_executemany else None)

    def marker(self, number: int, fit: Fit) -> str:
        """The system is told the type of what is sent as text."""
        mark, word = self.dialect.mark(number), odbc_values.cast_to(self.dialect, fit)
        return f"CAST({mark} AS {word})" if word else mark

    def converter(self, fit: Fit) -> Callable[[Any], Any] | None:
        """ODBC's own times have no zone, and its decimals a width that drivers guess."""
        return odbc_values.converter(self.dialect, fit)

    def look(self, batch: pa.RecordBatch, fits: Sequence[Fit]) -> None:
        """Refuse texts that would be cut, and NaN where the system has none."""
        odbc_values.refuse_cut(self.dialect, batch, fits)
        if self.dialect.name == "tsql":
            _refuse_nan(batch, fits, "SQL Server")

    def _execute(self, cursor: Any, text: str, values: Sequence[Any]) -> None:
        cursor.execute(text, *map(odbc_values.sent, values))


_LINKS: dict[str, type[Link]] = {
    "adbc_driver_manager": AdbcLink,
    "duckdb": DuckLink,
    "_duckdb": DuckLink,
    "sqlite3": SqliteLink,
    "pymysql": MySqlLink,
    "pyodbc": OdbcLink,
}


def link_of(connection: Any, dialect: Dialect) -> Link:
    """Use a connection for writing, in the way of its driver.

    Args:
        connection: Of `Database.session(writing=True)`.
        dialect: Of the system.

    Raises:
        ConfigError: The driver is none that rows are written by.
    """
    driver = type(connection).__module__.partition(".")[0]
    if driver == "snowflake":
        from fuse_dagster.connectors.databases.snowflake_link import SnowflakeLink

        return SnowflakeLink(connection, dialect)
    if driver not in _LINKS:
        raise ConfigError(
            f"Rows can't be written by the driver `{driver}` yet. Valid: {listing(sorted([*_LINKS, 'snowflake']))}."
        )
    return _LINKS[driver](connection, dialect)


class _Stream:
    """Batches as a reader for a driver, which remembers how many rows went through, and why it broke off."""

    def __init__(self, batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> None:
        self._batches, self._schema = batches, schema
        self.rows, self.failure = 0, None  # type: int, BaseException | None

    def reader(self) -> pa.RecordBatchReader:
        """The batches, once."""
        import pyarrow as pa

        return pa.RecordBatchReader.from_batches(self._schema, self._counted())

    def _counted(self) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self._batches:
                self.rows += batch.num_rows
                yield batch
        except GeneratorExit:  # the driver wants no more
            raise
        except BaseException as error:
            self.failure = error
            raise


def _rows(batch: pa.RecordBatch, converts: Sequence[Callable[[Any], Any] | None]) -> list[tuple[Any, ...]]:
    columns = []
    for values, convert in zip((column.to_pylist() for column in batch.columns), converts, strict=True):
        columns.append(values if convert is None else [None if one is None else convert(one) for one in values])
    return list(zip(*columns, strict=True))


def _iso(value: date | time | datetime) -> str:
    return value.isoformat(sep=" ") if isinstance(value, datetime) else value.isoformat()


def _refuse_nan(batch: pa.RecordBatch, fits: Sequence[Fit], system: str) -> None:
    import pyarrow.compute as pc

    for fit, column in zip(fits, batch.columns, strict=True):
        if fit.kind.family == "float" and pc.any(pc.is_nan(column)).as_py():
            raise InputError(
                f"The column `{fit.name}` holds NaN, for which {system} has no value. Nothing was written. Put null "
                "there in the asset, or leave such rows out."
            )
