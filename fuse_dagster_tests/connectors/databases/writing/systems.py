"""Each system that runs here; those without a connector of their own have as little of one as writing needs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from fuse_dagster import Database, DuckDB, PostgreSQL
from fuse_dagster.connectors.database import TableColumn
from fuse_dagster.connectors.databases.dialects import MYSQL, POSTGRES, SQLITE, Dialect
from fuse_dagster.connectors.databases.failures import by_state

SYSTEMS = ["postgres", "postgres through odbc", "duckdb", "sqlite", "mariadb"]


def asked(connection: Any, text: str, *values: Any) -> list[Any]:
    """All rows of an answer."""
    with closing(connection.cursor()) as cursor:
        cursor.execute(text, list(values)) if values else cursor.execute(text)
        return [tuple(row) for row in cursor.fetchall()]


class Plain(Database):
    """What the connectors below share."""

    type: Literal["plain"] = "plain"
    port: int = 0
    host: str = "127.0.0.1"
    user: str = ""
    password: str = ""
    database: str = ""
    path: str = ""

    @property
    def place(self) -> str:
        return f"test://{self.database}"

    def version(self, connection: Any) -> str:
        return "test"

    def tables(self, connection: Any) -> Iterator[tuple[str, ...]]:
        return iter(())

    def stream(self, connection: Any, text: str, values: Sequence[Any], *, declared: Mapping[str, str]) -> Any:
        raise NotImplementedError

    def told(self, error: Exception) -> tuple[str | None, str] | None:
        if type(error).__module__.split(".")[0] not in {
            "adbc_driver_manager",
            "pyodbc",
            "sqlite3",
            "pymysql",
            "_duckdb",
        }:
            return None
        said = str(error).splitlines()[0] if str(error) else ""
        state = getattr(error, "sqlstate", None) or (error.args and str(error.args[0])) or ""
        codes = {"1062": "23505", "1048": "23502", "1142": "42501", "1146": "42P01", "2013": "08006", "2006": "08006"}
        if type(error).__name__ in {"ConstraintException", "IntegrityError"}:
            return "value", said
        if re.search("terminating connection|server closed the connection|no connection to the server", str(error)):
            return "cut", said
        return by_state(codes.get(state, state)), said


class PostgresByOdbc(Plain):
    dialect: ClassVar[Dialect] = replace(POSTGRES, marker="?")

    def connect(self, *, writing: bool = False) -> Any:
        import pyodbc

        login = f"UID={self.user};PWD={{{self.password}}}"
        address = f"SERVER=127.0.0.1;PORT={self.port};DATABASE={self.database}"
        return pyodbc.connect(f"DRIVER={{PostgreSQL Unicode}};{address};{login}")

    def described(self, connection: Any, parts: Sequence[str]) -> Sequence[TableColumn]:
        text = """SELECT a.attname::text, format_type(a.atttypid, a.atttypmod)::text, a.attnotnull::text,
            coalesce((SELECT array_position(i.indkey::int2[], a.attnum) + 1 FROM pg_index i
                      WHERE i.indrelid = a.attrelid AND i.indisprimary), 0)
            FROM pg_attribute a WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped
            ORDER BY a.attnum"""
        found = asked(connection, text.replace("$1", self.dialect.mark(1)), self.dialect.path(parts))
        return [TableColumn(name=one[0], type=one[1], nullable=one[2] == "false", key=one[3]) for one in found]


class Sqlite(Plain):
    dialect: ClassVar[Dialect] = SQLITE

    def connect(self, *, writing: bool = False) -> Any:
        import sqlite3

        return sqlite3.connect(self.path)

    def described(self, connection: Any, parts: Sequence[str]) -> Sequence[TableColumn]:
        found = asked(connection, "SELECT * FROM pragma_table_info(?)", parts[-1])
        return [TableColumn(name=one[1], type=one[2], nullable=not one[3], key=one[5]) for one in found]


class MySql(Plain):
    dialect: ClassVar[Dialect] = MYSQL

    def connect(self, *, writing: bool = False) -> Any:
        import pymysql

        login = {"user": self.user, "password": self.password, "charset": "utf8mb4"}
        return pymysql.connect(host="127.0.0.1", port=self.port, database=self.database, **login)

    def described(self, connection: Any, parts: Sequence[str]) -> Sequence[TableColumn]:
        text = """SELECT column_name, column_type, is_nullable, column_key FROM information_schema.columns
            WHERE table_schema = COALESCE(%s, DATABASE()) AND table_name = %s ORDER BY ordinal_position"""
        found = asked(connection, text, parts[0] if len(parts) > 1 else None, parts[-1])
        return [TableColumn(name=one[0], type=one[1], nullable=one[2] == "YES", key=one[3] == "PRI") for one in found]


CLASSES: dict[str, type[Database]] = {
    "postgres": PostgreSQL,
    "postgres through odbc": PostgresByOdbc,
    "duckdb": DuckDB,
    "sqlite": Sqlite,
    "mariadb": MySql,
}


@dataclass(frozen=True)
class System:
    """A system with an empty database.

    Attributes:
        name: Of `SYSTEMS`.
        given: The fields of its connector.
    """

    name: str
    given: Mapping[str, Any]

    @property
    def connector(self) -> Database:
        """Reaches the database."""
        return CLASSES[self.name](**self.given)

    def run(self, *texts: str) -> None:
        """Run statements as somebody else would."""
        with self.connector.session(writing=True) as connection:
            for text in texts:
                with closing(connection.cursor()) as cursor:
                    cursor.execute(text)
            connection.commit()

    def ask(self, text: str) -> list[Any]:
        """Read an answer."""
        with self.connector.session() as connection:
            return asked(connection, text)

    def quoted(self, name: str) -> str:
        return self.connector.dialect.quoted(name)

    def ours(self) -> list[str]:
        """Tables that writing left for itself, but its memory."""
        listed = {
            "sqlite": "SELECT name FROM sqlite_master",
            "duckdb": "SELECT table_name FROM duckdb_tables()",
            "mariadb": "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()",
        }
        text = listed.get(self.name, "SELECT relname::text FROM pg_class")
        return [name for (name,) in self.ask(text) if name.startswith("_fuse_") and not name.startswith("_fuse_loads")]
