"""What all databases share: names, columns, tables and queries as Arrow streams, and errors in our words."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from fuse_dagster.connectors.base import Connector
from fuse_dagster.connectors.databases.dialects import Dialect, bound
from fuse_dagster.connectors.databases.failures import in_our_words
from fuse_dagster.connectors.databases.modes import RowsMode, RowsWritten
from fuse_dagster.connectors.databases.naming import parts_of, written
from fuse_dagster.connectors.declaring import Problem, wrong_times
from fuse_dagster.core.errors import ConfigError, MissingExtraError, NotThereError, SchemaError
from fuse_dagster.core.naming import did_you_mean, listing

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True, kw_only=True)
class TableColumn:
    """One column of a table, as the system describes it.

    Attributes:
        name: Its name.
        type: Its type in the system's own words, as `numeric(10,2)` or `int unsigned`.
        nullable: Whether it takes nulls.
        key: Its place in the primary key, from 1; 0 where it is no part of one.
    """

    name: str
    type: str
    nullable: bool = True
    key: int = 0


class Database(Connector):
    """A database that is asked by SQL.

    Tables and queries are read as Arrow streams: the system keeps the answer, and memory here holds a batch of it.
    Reading changes nothing: where the system can say so, the transaction is read-only.
    """

    connect_timeout: float = Field(default=10.0, description="Seconds to wait for a connection and the login.")
    statement_timeout: float = Field(
        default=3600.0, description="Seconds that the system may work at one statement before it gives up."
    )

    dialect: ClassVar[Dialect]
    """How its SQL is written."""
    checks: ClassVar[Mapping[str, str]] = {}
    """Kind of failure (`databases.failures.FAULTS`) -> what to look at, in the fields of the connector."""
    longest_path: ClassVar[int] = 2
    """How many parts the name of a table may have."""
    extra: ClassVar[str] = ""
    """What to install for it."""

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> list[Problem]:
        """Times above zero."""
        return wrong_times(given, ("connect_timeout", "statement_timeout"))

    @abstractmethod
    def connect(self, *, writing: bool = False) -> Any:
        """Open a connection of the driver's DB-API, in a transaction that is not committed by itself.

        Secrets are resolved now, and the driver's errors come as they are: see `session`.

        Args:
            writing: Whether the transaction may change something; else it is read-only where the system has such.
        """

    @abstractmethod
    def version(self, connection: Any) -> str:
        """Say what answers, as `PostgreSQL 15.18`."""

    @abstractmethod
    def tables(self, connection: Any) -> Iterator[tuple[str, ...]]:
        """Yield the names of all tables and views that the user sees, part by part."""

    @abstractmethod
    def described(self, connection: Any, parts: Sequence[str]) -> Sequence[TableColumn]:
        """The columns of a table in their order; none where there is no such table.

        Args:
            connection: Of `connect`.
            parts: The table's name, as written by who asks: the schema may be missing.
        """

    @abstractmethod
    def stream(
        self, connection: Any, text: str, values: Sequence[Any], *, declared: Mapping[str, str]
    ) -> AbstractContextManager["pa.RecordBatchReader"]:
        """Ask in the driver's SQL with bound values, and read the answer in batches of types that are certain.

        Leaving the context closes the cursor, also in the middle of the answer.

        Args:
            connection: Of `connect`.
            text: The question.
            values: What the markers in it stand for.
            declared: Column -> type in the system's words, where `declared` says so of a table.
        """

    def declared(self, connection: Any, name: str) -> Mapping[str, str]:
        """The declared types of a table's columns, for systems whose answers say too little of them; else nothing."""
        del connection, name
        return {}

    def literal(self, value: Any) -> str | None:
        """A number or a time as SQL, for systems that answer faster where no value is bound; None for all else.

        Whatever can hold signs of its own, as text does, is none.
        """
        del value
        return None

    @abstractmethod
    def told(self, error: Exception) -> tuple[str | None, str] | None:
        """Say of a driver's error of which kind it is (`FAULTS`), and what the system says, in one line.

        Returns:
            The kind, None for one that nobody foresaw, and the line; None alone for what is no error of the driver.
        """

    @contextmanager
    def session(self, *, writing: bool = False) -> Iterator[Any]:
        """A connection of the driver's DB-API, closed afterwards; what isn't committed is rolled back.

        Errors of the driver come out as ours.

        Args:
            writing: Whether the transaction may change something.

        Raises:
            StoreUnavailableError: It can't be reached, breaks off, or takes too long.
            StoreError: It refuses.
            NotThereError: It has no such table.
            InputError: It doesn't understand the question, or can't work with a value.
        """
        with in_our_words(self.place, self.checks, self.told), closing(self._logged_in(writing=writing)) as connection:
            yield connection

    def answer(self) -> str:
        """Log in and ask what answers.

        Raises:
            StoreUnavailableError: It can't be reached.
            StoreError: It refuses; or a `FuseError`, where a secret can't be resolved.
        """
        with self.session() as connection:
            return self.version(connection)

    def names(self, pattern: str = "*") -> Iterator[str]:
        """Yield the names of tables and views, sorted.

        Args:
            pattern: Which of them, as `public.*`: `*` stands for anything, `?` for one sign.
        """
        with self.session() as connection:
            found = sorted(written(parts) for parts in self.tables(connection))
        yield from (name for name in found if fnmatchcase(name, pattern.replace("[", "[[]")))

    def columns(self, name: str) -> Sequence[TableColumn]:
        """The columns of a table, in their order.

        Args:
            name: As `schema.table`.

        Raises:
            NotThereError: There is no such table.
            ConfigError: It is no name of a table.
        """
        with self.session() as connection:
            return self.columns_in(connection, name)

    def columns_in(self, connection: Any, name: str) -> Sequence[TableColumn]:
        """As `columns`, by a connection that is open.

        Raises:
            NotThereError: There is no such table.
            ConfigError: It is no name of a table.
        """
        found = self.described(connection, parts_of(name, most=self.longest_path))
        if not found:
            names = [written(parts) for parts in self.tables(connection)]
            msg = f"`{self.place}` has no table `{name}`, or it may not be seen. {did_you_mean(name, names)}"
            raise NotThereError(msg)
        return found

    def table(self, name: str) -> str:
        """A table's name as SQL of this system, each part in quotes.

        Raises:
            ConfigError: It is no name of a table.
        """
        return self.dialect.path(parts_of(name, most=self.longest_path))

    @contextmanager
    def rows(
        self, name: str, *, columns: Sequence[str] | None = None, limit: int | None = None
    ) -> Iterator["pa.RecordBatchReader"]:
        """Open a table or view, and read it in batches; leaving the context closes the connection.

        Args:
            name: As `schema.table`.
            columns: The columns to read, in this order; None for all.
            limit: Rows at the most; None for all.

        Raises:
            NotThereError: There is no such table.
            SchemaError: It has no such column.
            InputError: While it is read: a value that its type can't hold.
            StoreUnavailableError: While it is read: the connection breaks.
        """
        with self.session() as connection:
            text = self.selecting(connection, name, columns=columns, limit=limit)
            with self.streamed(connection, text, declared=self.declared(connection, name)) as reader:
                yield reader

    @contextmanager
    def query(self, text: str, parameters: Mapping[str, Any] | None = None) -> Iterator["pa.RecordBatchReader"]:
        """Ask in the system's SQL, and read the answer in batches; leaving the context closes the connection.

        Args:
            text: One statement that returns rows. Where there are parameters, `:name` leaves a value open.
            parameters: Name -> value. The driver sends them beside the text, but for numbers and times where `literal`
                has words for them.

        Raises:
            InputError: The system doesn't understand it; or the parameters and the text don't agree.
            StoreUnavailableError: While it is read: the connection breaks.
        """
        said, values = bound(self.dialect, text, parameters, literal=self.literal) if parameters else (text, [])
        with self.session() as connection, self.streamed(connection, said, values) as reader:
            yield reader

    def write_rows(self, name: str, rows: "pa.RecordBatchReader", how: RowsMode) -> RowsWritten:
        """Write rows to a table in one transaction, or not at all; the table is made where there is none.

        Args:
            name: As `schema.table`.
            rows: Consumed once; memory holds a few batches of them.
            how: `AppendRows`, `ReplaceRows` or `UpsertRows`.

        Raises:
            InputError: The rows are refused; nothing was written.
            ConfigError: The mode does not fit the table, or it is no name of a table.
            StoreError: The system refuses; nothing was written.
            StoreUnavailableError: It can't be reached, or broke off before the commit; nothing was written.
            OutcomeUnknownError: It broke off during the commit.
        """
        from fuse_dagster.connectors.databases.writing import write_rows

        return write_rows(self, name, rows, how)

    def count_rows(self, name: str) -> int:
        """Say how many rows a table or view has now.

        Raises:
            NotThereError: There is no such table.
        """
        with self.session() as connection:
            self.columns_in(connection, name)
            text = self.dialect.select(["count(*) AS n"], self.table(name))
            with self.streamed(connection, text) as reader:
                return int(reader.read_all().column(0)[0].as_py())

    def selecting(
        self,
        connection: Any,
        name: str,
        *,
        columns: Sequence[str] | None = None,
        where: str = "",
        limit: int | None = None,
    ) -> str:
        """The SELECT that reads a table, after looking whether it and the columns are there.

        Args:
            connection: Of `session`.
            name: As `schema.table`.
            columns: The columns, in this order; None for all.
            where: A condition in SQL with the driver's markers.
            limit: Rows at the most.

        Raises:
            NotThereError: There is no such table.
            SchemaError: It has no such column.
        """
        there = [column.name for column in self.columns_in(connection, name)]
        unknown = [column for column in columns or () if column not in there]
        if unknown:
            msg = f"`{name}` has no column {listing(unknown)}. {did_you_mean(unknown[0], there)}"
            raise SchemaError(msg)
        if columns is not None and not columns:
            raise ConfigError("No column is asked for. Name one, or leave `columns` out for all.")
        if limit is not None and limit < 0:
            raise ConfigError(f"`{limit}` rows can't be read. Valid: 0 or more.")
        chosen = [self.dialect.quoted(column) for column in (there if columns is None else columns)]
        return self.dialect.select(chosen, self.table(name), where=where, limit=limit)

    def _logged_in(self, *, writing: bool) -> Any:
        """A connection; where the secrets are refused, once more with new ones."""
        try:
            return self.connect(writing=writing)
        except ModuleNotFoundError as error:
            msg = f'It needs the package `{error.name}`. Install it with: pip install "fuse-dagster[{self.extra}]"'
            raise MissingExtraError(msg) from error
        except Exception as error:
            if (self.told(error) or ("", ""))[0] != "credentials" or not self.forget_secrets():
                raise
        return self.connect(writing=writing)

    @contextmanager
    def streamed(
        self, connection: Any, text: str, values: Sequence[Any] = (), *, declared: Mapping[str, str] | None = None
    ) -> Iterator["pa.RecordBatchReader"]:
        """As `stream`, and what the driver raises while the batches are read comes out as ours.

        Args:
            connection: Of `session`.
            text: SQL with the driver's markers.
            values: One for each of them.
            declared: As `stream` takes it.
        """
        import pyarrow as pa

        with self.stream(connection, text, list(values), declared=declared or {}) as reader:

            def batches() -> Iterator[Any]:
                with in_our_words(self.place, self.checks, self.told):
                    yield from reader

            yield pa.RecordBatchReader.from_batches(reader.schema, batches())


__all__ = ["Database", "TableColumn"]
