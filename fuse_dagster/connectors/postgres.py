"""PostgreSQL, and what speaks its protocol, by ADBC: Arrow from the wire."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import quote, urlencode

from pydantic import Field

from fuse_dagster import secrets
from fuse_dagster.connectors.database import Database, TableColumn
from fuse_dagster.connectors.databases.arrow import named
from fuse_dagster.connectors.databases.dialects import POSTGRES, Dialect
from fuse_dagster.connectors.databases.failures import by_state
from fuse_dagster.connectors.databases.limits import within_limits
from fuse_dagster.connectors.databases.postgresql import (
    COLUMNS,
    TABLES,
    cast_of,
    converted,
    described,
    literal,
    login_kind,
    read_as,
    said_by,
    state_of,
)
from fuse_dagster.connectors.databases.projecting import around, bare
from fuse_dagster.connectors.object_store import looked_up, name_problems

if TYPE_CHECKING:
    import pyarrow as pa

    from fuse_dagster.connectors.declaring import Problem

_ROWS = 50_000
_COPY = "adbc.postgresql.use_copy"


class PostgreSQL(Database):
    """A database of PostgreSQL, or of a system that speaks its protocol.

    Examples:
        >>> PostgreSQL(host="db.example.com", database="shop", user="reader", password="env://SHOP_PASSWORD").place
        'postgresql://db.example.com:5432/shop'
    """

    type: Literal["postgres"] = "postgres"
    host: str = Field(description="The server's name or address.")
    port: int = Field(default=5432, description="Where the server listens.")
    database: str = Field(description="The database. It has to be there already.")
    user: str = Field(description="The role to log in as; to read it needs CONNECT, USAGE and SELECT.")
    password: str = secrets.secret_field(
        description="Its password; without it libpq's own means count: a password file, a certificate, a ticket."
    )
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = Field(
        default="prefer", description="Whether to encrypt; only `verify-full` makes sure who is at the other end."
    )
    sslrootcert: str = Field(default="", description="File of the authorities that sign the server's certificate.")

    dialect: ClassVar[Dialect] = POSTGRES
    extra: ClassVar[str] = "postgres"
    checks: ClassVar[Mapping[str, str]] = {
        "host": "Check `host` and `port`, DNS, firewalls, and that the server runs.",
        "credentials": "Check `user` and `password`, and the line of pg_hba.conf that is for them.",
        "database": "Check `database` for a typing error, or make it.",
        "certificate": "Check `sslmode` and `sslrootcert`.",
    }

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> "list[Problem]":
        """A host, a database and a user, by their names alone."""
        return super().problems(given) + name_problems(given, "host")

    @property
    def place(self) -> str:
        """Host, port and database."""
        return f"postgresql://{looked_up(self.host)}:{self.port}/{looked_up(self.database)}"

    def connect(self, *, writing: bool = False) -> Any:
        """Log in; a transaction that only reads sees the database as of its first statement."""
        import adbc_driver_postgresql.dbapi as driver

        connection = driver.connect(self._address(), autocommit=False)
        if not writing:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return connection

    def version(self, connection: Any) -> str:
        """Say what answers, as `PostgreSQL 15.18`."""
        found = _fetched(connection, "SELECT version()")[0][0]
        return " ".join(str(found).split()[:2])

    def tables(self, connection: Any) -> Iterator[tuple[str, ...]]:
        """Yield schemas and names of tables, views and foreign tables; partitions belong to theirs."""
        yield from (tuple(row) for row in _fetched(connection, TABLES))

    def described(self, connection: Any, parts: Sequence[str]) -> Sequence[TableColumn]:
        """The columns of a table; without a schema it is looked for in the search path."""
        schema = parts[0] if len(parts) == 2 else ""
        return [TableColumn(**one) for one in described(_fetched(connection, COLUMNS, [parts[-1], schema]))]

    def share(self, connection: Any) -> str:
        """Export what this transaction sees."""
        return str(_fetched(connection, "SELECT pg_export_snapshot()")[0][0])

    def join(self, connection: Any, snapshot: str) -> None:
        """See what the transaction that exported the snapshot sees."""
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION SNAPSHOT '" + snapshot.replace("'", "''") + "'")

    @contextmanager
    def stream(
        self, connection: Any, text: str, values: Sequence[Any], *, declared: Mapping[str, str]
    ) -> "Iterator[pa.RecordBatchReader]":
        """Read an answer from COPY; with bound values, which COPY doesn't take, from a cursor of the server."""
        import pyarrow as pa

        del declared
        with connection.cursor() as asking:
            told = asking.adbc_execute_schema(text, list(values) or None)
        named(told.names)
        text = around(POSTGRES, text, told.names, [cast_of(field) for field in told])
        with _answer(connection, text, list(values)) as reader:
            schema = pa.schema([read_as(asked, came) for asked, came in zip(told, reader.schema, strict=True)])
            batches = within_limits(converted(reader, schema))
            yield pa.RecordBatchReader.from_batches(schema, batches)

    def literal(self, value: Any) -> str | None:
        """Numbers and times as SQL: COPY takes no bound values."""
        return literal(value)

    def told(self, error: Exception) -> tuple[str | None, str] | None:
        """By the SQLSTATE; by libpq's words where there is none."""
        from adbc_driver_manager import Error

        if not isinstance(error, Error) and not str(error).startswith("[libpq]"):  # pyarrow's, while rows come in
            return None
        kind = by_state(state_of(error)) or login_kind(error)
        return kind, said_by(error)

    def _address(self) -> str:
        """The URL for libpq, with the password: never shown."""
        patience = max(1, round(self.connect_timeout))
        options = {
            "connect_timeout": max(2, patience),
            "sslmode": self.sslmode,
            "sslrootcert": looked_up(self.sslrootcert),
            "application_name": "fuse_dagster",
            "client_encoding": "UTF8",
            "keepalives_idle": 15,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "options": f"-c statement_timeout={round(self.statement_timeout * 1000)} -c TimeZone=UTC "
            "-c IntervalStyle=iso_8601 -c DateStyle=ISO -c extra_float_digits=3 -c bytea_output=hex",
        }
        said = urlencode({name: value for name, value in options.items() if value}, quote_via=quote)
        password = secrets.resolve(self.password)
        who = quote(looked_up(self.user), safe="") + (":" + quote(password, safe="") if password else "")
        host = quote(looked_up(self.host), safe="")
        return f"postgresql://{who}@{host}:{self.port}/{quote(looked_up(self.database), safe='')}?{said}"


def _fetched(connection: Any, text: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(text, list(values) or None)
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


@contextmanager
def _answer(connection: Any, text: str, values: list[Any]) -> "Iterator[pa.RecordBatchReader]":
    import pyarrow as pa

    with closing(connection.cursor()) as cursor:
        if not values:
            cursor.execute(f"{bare(text)}\n")  # a comment may end it, and the driver puts it in brackets
            yield cursor.fetch_record_batch()
            return
        cursor.adbc_statement.set_options(**{_COPY: False})
        name = f"fuse_{next(_numbers)}"
        cursor.execute(f"DECLARE {name} NO SCROLL CURSOR FOR {bare(text)}", values)
        first = _fetch(cursor, name)

        def batches() -> Iterator[Any]:
            part = first
            while part.num_rows:
                yield from part.to_batches()
                part = _fetch(cursor, name)

        yield pa.RecordBatchReader.from_batches(first.schema, batches())


def _fetch(cursor: Any, name: str) -> "pa.Table":
    cursor.adbc_statement.set_options(**{_COPY: False})
    cursor.execute(f"FETCH FORWARD {_ROWS} FROM {name}")
    return cursor.fetch_arrow_table()


_numbers = count(1)
