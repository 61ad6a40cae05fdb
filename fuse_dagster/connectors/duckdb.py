"""DuckDB: a database in one file."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fuse_dagster.connectors.database import Database, TableColumn
from fuse_dagster.connectors.databases.dialects import DUCKDB, Dialect
from fuse_dagster.connectors.databases.duck import opened
from fuse_dagster.connectors.object_store import looked_up
from fuse_dagster.core.errors import first_line

if TYPE_CHECKING:
    import pyarrow as pa

SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "python_enable_replacements": "false",
    "autoinstall_known_extensions": "false",
}
"""Connections of one process to one file need the same."""
_TABLES = (
    "SELECT schema_name, table_name FROM duckdb_tables() WHERE NOT internal AND database_name = current_database()"
)
_VIEWS = "SELECT schema_name, view_name FROM duckdb_views() WHERE NOT internal AND database_name = current_database()"
_COLUMNS = """
SELECT c.column_name, c.data_type, c.is_nullable,
       coalesce((SELECT list_position(k.constraint_column_names, c.column_name) FROM duckdb_constraints() k
                 WHERE k.constraint_type = 'PRIMARY KEY' AND k.table_oid = c.table_oid), 0)
FROM duckdb_columns() c
WHERE c.database_name = current_database() AND c.schema_name = $1 AND c.table_name = $2 AND NOT c.internal
ORDER BY c.column_index
"""
_KINDS = {
    "CatalogException": "table",
    "BinderException": "column",
    "ParserException": "syntax",
    "SyntaxException": "syntax",
    "NotImplementedException": "syntax",
    "PermissionException": "readonly",
    "InterruptException": "slow",
    "TransactionException": "busy",
}


class DuckDB(Database):
    """A database file of DuckDB.

    Examples:
        >>> DuckDB(path="warehouse.duckdb").place
        'warehouse.duckdb'
    """

    type: Literal["duckdb"] = "duckdb"
    path: str = Field(description="The file. It has to be there for reading; writing makes it.")

    dialect: ClassVar[Dialect] = DUCKDB
    checks: ClassVar[dict[str, str]] = {
        "host": "Check `path`: that the file is there, is one of DuckDB's, may be read, and that no other process "
        "has it open for writing.",
        "database": "Check `path`: reading makes no file.",
    }

    @property
    def place(self) -> str:
        """The file."""
        return looked_up(self.path)

    def connect(self, *, writing: bool = False) -> Any:
        """Open the file, which has to be there for reading. Other files and addresses can't be reached from its SQL."""
        import duckdb

        if not writing and not Path(self.place).is_file():
            raise duckdb.IOException("no such file")
        connection = duckdb.connect(self.place, config=SETTINGS)
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("BEGIN TRANSACTION" if writing else "BEGIN TRANSACTION READ ONLY")
        return connection

    def version(self, connection: Any) -> str:
        """Say what answers."""
        return f"DuckDB {connection.execute('SELECT version()').fetchone()[0]}"

    def tables(self, connection: Any) -> Iterator[tuple[str, ...]]:
        """Yield schemas and names of tables and views."""
        yield from connection.execute(f"{_TABLES} UNION ALL {_VIEWS}").fetchall()

    def described(self, connection: Any, parts: Sequence[str]) -> Sequence[TableColumn]:
        """The columns of a table; without a schema it is looked for in `main`."""
        schema, name = parts if len(parts) == 2 else ("main", parts[0])
        found = connection.execute(_COLUMNS, [schema, name]).fetchall()
        return [TableColumn(name=one[0], type=one[1], nullable=one[2], key=one[3]) for one in found]

    def stream(
        self, connection: Any, text: str, values: Sequence[Any], *, declared: Mapping[str, str]
    ) -> AbstractContextManager["pa.RecordBatchReader"]:
        """Read an answer in batches; DuckDB makes them as they are read."""
        del declared
        return opened(connection, text, values)

    def told(self, error: Exception) -> tuple[str | None, str] | None:
        """By the class of the error."""
        import duckdb

        if not isinstance(error, duckdb.Error):
            return None
        said = first_line(error)
        name = type(error).__name__
        if name in {"IOException", "ConnectionException"}:
            return ("host" if Path(self.place).is_file() else "database"), ""
        if name == "CatalogException" and "Table with name" not in said:
            return "syntax", said
        if name == "InvalidInputException" and "read-only" in said:
            return "readonly", said
        return _KINDS.get(name, "value"), said
