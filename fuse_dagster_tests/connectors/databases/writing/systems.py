"""Each system that runs here, by its connector."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from fuse_dagster import ODBC, Database, DuckDB, MySQL, PostgreSQL, SQLite

SYSTEMS = ["postgres", "postgres through odbc", "duckdb", "sqlite", "mariadb"]


def asked(connection: Any, text: str, *values: Any) -> list[Any]:
    """All rows of an answer."""
    with closing(connection.cursor()) as cursor:
        cursor.execute(text, list(values)) if values else cursor.execute(text)
        return [tuple(row) for row in cursor.fetchall()]


CLASSES: dict[str, type[Database]] = {
    "postgres": PostgreSQL,
    "postgres through odbc": ODBC,
    "duckdb": DuckDB,
    "sqlite": SQLite,
    "mariadb": MySQL,
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
