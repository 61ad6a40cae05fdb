"""A database behind an ODBC driver, whichever system it is."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from pydantic import Field

from fuse_dagster.connectors.database import Database, TableColumn
from fuse_dagster.connectors.databases.failures import by_state
from fuse_dagster.connectors.databases.odbc import OdbcSystem, attribute_problems, opened, said_by
from fuse_dagster.connectors.object_store import looked_up

if TYPE_CHECKING:
    import pyarrow as pa

    from fuse_dagster.connectors.declaring import Problem


class OdbcDatabase(Database):
    """A database behind an ODBC driver."""

    attributes: dict[str, str] = Field(
        default_factory=dict,
        description="More of what the driver is told, by its own names, as `ApplicationIntent: ReadOnly`; no secrets.",
    )

    @property
    @abstractmethod
    def speaks(self) -> OdbcSystem:
        """What is known of the system."""

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> "list[Problem]":
        """Times above zero, and attributes that are some and hold no secret."""
        return super().problems(given) + attribute_problems(given["attributes"])

    @property
    def told_attributes(self) -> dict[str, str]:
        """The attributes, with the values of variables.

        Raises:
            ConfigError: A variable is not set.
        """
        return {name: looked_up(value) for name, value in self.attributes.items()}

    def version(self, connection: Any) -> str:
        """Say what answers, as `PostgreSQL 15.18`."""
        import pyodbc

        name, number = (connection.getinfo(what) for what in (pyodbc.SQL_DBMS_NAME, pyodbc.SQL_DBMS_VER))
        return f"{name} {number}"

    def tables(self, connection: Any) -> Iterator[tuple[str, ...]]:
        """Yield schemas and names of tables and views."""
        yield from self.speaks.tables(connection)

    def described(self, connection: Any, parts: Sequence[str]) -> Sequence[TableColumn]:
        """The columns of a table."""
        return self.speaks.described(connection, parts)

    def declared(self, connection: Any, name: str) -> Mapping[str, str]:
        """A driver says less of a column than the catalogue."""
        return {column.name: column.type for column in self.columns_in(connection, name)}

    def stream(
        self, connection: Any, text: str, values: Sequence[Any], *, declared: Mapping[str, str]
    ) -> "AbstractContextManager[pa.RecordBatchReader]":
        """Read an answer, some thousand rows at a time."""
        return opened(connection, self.speaks.planned(connection, text, values, declared), values)

    def told(self, error: Exception) -> tuple[str | None, str] | None:
        """By the system's number or words, else by the SQLSTATE."""
        if type(error).__module__ != "pyodbc":  # which may lack, and what is said then is no error of it
            return None
        state, said, number = said_by(error)
        if state == "01000" and "Can't open lib" in str(error):
            return "driver", ""
        kind = self.speaks.kind(state, said, number) or by_state(state)
        return kind, said if kind is not None else f"{state} {number}"
