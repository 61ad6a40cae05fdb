"""MySQL and MariaDB."""

import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fuse_dagster import secrets
from fuse_dagster.connectors.database import Database, TableColumn
from fuse_dagster.connectors.databases.arrow import named, reader_of
from fuse_dagster.connectors.databases.dialects import MYSQL, Dialect
from fuse_dagster.connectors.databases.mysql_types import answered_cell, declared_cell
from fuse_dagster.connectors.object_store import looked_up, name_problems
from fuse_dagster.core.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

    from fuse_dagster.connectors.declaring import Problem

_TABLES = "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
_COLUMNS = """
SELECT c.column_name, c.column_type, c.is_nullable = 'YES', COALESCE(k.ordinal_position, 0)
FROM information_schema.columns c LEFT JOIN information_schema.key_column_usage k
  ON k.table_schema = c.table_schema AND k.table_name = c.table_name AND k.column_name = c.column_name
  AND k.constraint_name = 'PRIMARY'
WHERE c.table_schema = COALESCE(NULLIF(%s, ''), DATABASE()) AND c.table_name = %s ORDER BY c.ordinal_position
"""
_ROWS = 20_000
_CODES = {
    1040: "busy", 1203: "busy", 1205: "busy", 1213: "busy", 1044: "rights", 1142: "rights", 1143: "rights",
    1227: "rights", 1370: "rights", 1045: "credentials", 1698: "credentials", 1049: "database", 1146: "table",
    1051: "table", 1054: "column", 1064: "syntax", 1305: "syntax", 1792: "readonly", 1969: "slow", 3024: "slow",
    1317: "slow", 2006: "cut", 2013: "cut", 2014: "cut", 1927: "cut", 1053: "cut", 2026: "certificate",
    1290: "readonly",
}  # fmt: skip
_TIMES = ("timed out", "timeout")


class MySQL(Database):
    """A database of MySQL or MariaDB.

    Examples:
        >>> MySQL(host="db.example.com", database="shop", user="reader", password="env://SHOP_PASSWORD").place
        'mysql://db.example.com:3306/shop'
    """

    type: Literal["mysql"] = "mysql"
    host: str = Field(description="The server's name or address.")
    port: int = Field(default=3306, description="Where the server listens.")
    database: str = Field(description="The database. It has to be there already.")
    user: str = Field(description="The user to log in as; to read it needs SELECT.")
    password: str = secrets.secret_field(description="The user's password.")
    tls: Literal["disable", "require", "verify"] = Field(
        default="disable", description="Whether to encrypt; only `verify` makes sure who is at the other end."
    )
    tls_ca: str = Field(default="", description="File of the authorities that sign the server's certificate.")
    read_timeout: float = Field(
        default=300.0, description="Seconds without a byte from the server, after which the read fails."
    )

    dialect: ClassVar[Dialect] = MYSQL
    extra: ClassVar[str] = "mysql"
    checks: ClassVar[Mapping[str, str]] = {
        "host": "Check `host` and `port`, DNS, firewalls, and that the server runs.",
        "credentials": "Check `user` and `password`, and from where the user may log in.",
        "database": "Check `database` for a typing error, or make it.",
        "certificate": "Check `tls` and `tls_ca`.",
    }

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> "list[Problem]":
        """A host by its name alone, and times above zero."""
        from fuse_dagster.connectors.declaring import wrong_times

        return super().problems(given) + name_problems(given, "host") + wrong_times(given, ("read_timeout",))

    @property
    def place(self) -> str:
        """Host, port and database."""
        return f"mysql://{looked_up(self.host)}:{self.port}/{looked_up(self.database)}"

    def connect(self, *, writing: bool = False) -> Any:
        """Log in; a transaction that only reads sees the database as of its first statement."""
        import pymysql

        from fuse_dagster.connectors.databases.mysql_cursor import Rows

        connection = pymysql.connect(
            host=looked_up(self.host),
            port=self.port,
            user=looked_up(self.user),
            password=secrets.resolve(self.password),
            database=looked_up(self.database),
            charset="utf8mb4",
            connect_timeout=max(1, round(self.connect_timeout)),
            read_timeout=max(self.read_timeout, self.connect_timeout),
            ssl=self._tls(),
            autocommit=False,
            cursorclass=Rows,
        )
        with connection.cursor() as cursor:
            cursor.execute("SET time_zone = '+00:00'")
            cursor.execute("SELECT VERSION()")
            seconds = self.statement_timeout
            maria = "MariaDB" in cursor.fetchall()[0][0]
            limit = f"max_statement_time = {seconds}" if maria else f"max_execution_time = {round(seconds * 1000)}"
            cursor.execute(f"SET SESSION {limit}")
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            if not writing:  # of the session: statements that commit by themselves, as DROP, are in no transaction
                cursor.execute("SET SESSION TRANSACTION READ ONLY")
            cursor.execute("START TRANSACTION" if writing else "START TRANSACTION READ ONLY")
        return connection

    def version(self, connection: Any) -> str:
        """Say what answers, as `MariaDB 10.11.14`."""
        found = str(_fetched(connection, "SELECT VERSION()")[0][0])
        return f"{'MariaDB' if 'MariaDB' in found else 'MySQL'} {found.partition('-')[0]}"

    def tables(self, connection: Any) -> Iterator[tuple[str, ...]]:
        """Yield names of tables and views in the database."""
        yield from _fetched(connection, _TABLES)

    def described(self, connection: Any, parts: Sequence[str]) -> Sequence[TableColumn]:
        """The columns of a table; of another database, where its name stands before."""
        found = _fetched(connection, _COLUMNS, [parts[0] if len(parts) == 2 else "", parts[-1]])
        return [TableColumn(name=one[0], type=one[1], nullable=bool(one[2]), key=int(one[3])) for one in found]

    def declared(self, connection: Any, name: str) -> Mapping[str, str]:
        """An answer doesn't say which integers have no sign, and which texts are bytes: the catalogue does."""
        return {column.name: column.type for column in self.columns_in(connection, name)}

    @contextmanager
    def stream(
        self, connection: Any, text: str, values: Sequence[Any], *, declared: Mapping[str, str]
    ) -> "Iterator[pa.RecordBatchReader]":
        """Read an answer from the server row by row; it is not kept here."""
        cursor, done = connection.cursor(), []

        def chunks() -> Iterator[Any]:
            while chunk := cursor.fetchmany(_ROWS):
                yield chunk
            done.append(True)

        try:
            cursor.execute(text, list(values) or None)
            if cursor.description is None:
                done.append(True)
                raise InputError("A statement that returns rows is expected: reading changes nothing.")
            named([one[0] for one in cursor.description])
            cells = [
                declared_cell(one[0], declared[one[0]])
                if one[0] in declared
                else answered_cell(one[0], one[1], one[3], one[5])
                for one in cursor.description
            ]
            yield reader_of(cells, chunks())
        finally:
            if done:
                cursor.close()
            else:  # closing it would read the answer to its end; the connection is closed without that
                cursor.leave()

    def told(self, error: Exception) -> tuple[str | None, str] | None:
        """By MySQL's numbers."""
        import pymysql

        if not isinstance(error, pymysql.Error):
            return None
        number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        said = str(error.args[1]) if len(error.args) > 1 else ""
        if number in {2003, 2005}:
            return ("time" if any(word in said for word in _TIMES) else "host"), ""
        kind = "cut" if isinstance(error, pymysql.InterfaceError) else _CODES.get(number)
        if kind is None:
            kind = "value" if isinstance(error, pymysql.DataError | pymysql.IntegrityError) else "syntax"
        return kind, said

    def _tls(self) -> ssl.SSLContext | None:
        if self.tls == "disable":
            return None
        context = ssl.create_default_context(cafile=looked_up(self.tls_ca) or None)
        if self.tls == "require":
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def _fetched(connection: Any, text: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    with closing(connection.cursor()) as cursor:
        cursor.execute(text, list(values) or None)
        return list(cursor.fetchall())
