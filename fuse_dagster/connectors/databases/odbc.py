"""What databases by ODBC share: how a login is written, how rows are fetched, what an error says."""

from __future__ import annotations

import datetime as dt
import logging
import math
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from dagster import EnvVar

from fuse_dagster.connectors.databases.arrow import Cell, named, reader_of
from fuse_dagster.connectors.databases.odbc_values import sent
from fuse_dagster.connectors.declaring import Problem
from fuse_dagster.core.errors import InputError, MissingExtraError
from fuse_dagster.core.naming import did_you_mean
from fuse_dagster.secrets import is_reference

if TYPE_CHECKING:
    import pyarrow as pa

    from fuse_dagster.connectors.database import TableColumn
    from fuse_dagster.connectors.databases.dialects import Dialect

logger = logging.getLogger(__name__)

FIRST, ROWS = 500, 20_000
"""Rows that are fetched at first, and at the most at a time."""
BYTES = 64 * 1024 * 1024
"""What texts and bytes may take of memory that are fetched at a time."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_ ]*")
_OWN = {
    "driver": "driver", "dsn": "dsn", "filedsn": "dsn", "savefile": "dsn", "uid": "user", "user": "user",
    "username": "user", "pwd": "password", "password": "password",
}  # fmt: skip
_SECRET = (
    "password", "passwd", "pwd", "passphrase", "secret", "token", "accesskey", "accountkey", "apikey", "privatekey",
    "sharedkey",
)  # fmt: skip
_SECRET_WITHIN = re.compile(rf"({'|'.join(_SECRET)})\s*=", re.IGNORECASE)
_ODD = re.compile(r"[\[\]{}(),;?*=!@]|^\s|\s$")
_INSTALL = {
    "ODBC Driver 18 for SQL Server": "apt-get install msodbcsql18, from Microsoft's repository: "
    "https://learn.microsoft.com/sql/connect/odbc/download-odbc-driver-for-sql-server",
    "ODBC Driver 17 for SQL Server": "apt-get install msodbcsql17, from Microsoft's repository: "
    "https://learn.microsoft.com/sql/connect/odbc/download-odbc-driver-for-sql-server",
    "PostgreSQL Unicode": "apt-get install odbc-postgresql",
    "MariaDB Unicode": "apt-get install odbc-mariadb",
}
_BRACKETS = re.compile(r"^(?:\[[^\]]*\]\s*)+")
_CALL = re.compile(r"\s*\((-?\d+)\)\s*\(SQL\w+\)")


class OdbcSystem(Protocol):
    """What is known of a system behind an ODBC driver."""

    @property
    def dialect(self) -> Dialect:
        """How its SQL is written."""

    @property
    def attributes(self) -> Mapping[str, str]:
        """What its driver is told where nobody says otherwise."""

    def begin(self, connection: Any, *, writing: bool, seconds: float) -> None:
        """Set a new connection up; `seconds` is how long one statement may take."""

    def tables(self, connection: Any) -> Iterator[tuple[str, ...]]:
        """Yield the names of all tables and views."""

    def described(self, connection: Any, parts: Sequence[str]) -> Sequence[TableColumn]:
        """The columns of a table."""

    def planned(self, connection: Any, text: str, values: Sequence[Any], declared: Mapping[str, str]) -> Plan:
        """What to ask instead of a text, and how to read the answer."""

    def kind(self, state: str, said: str, number: int) -> str | None:
        """The kind of a failure, where the system knows it better than its SQLSTATE."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A question, and how its answer is read.

    Attributes:
        text: What to ask.
        cells: Column -> how it is read; None for what the driver says of it.
        unknown: Why the types of the answer can't be known, so that it is refused; empty where they are.
    """

    text: str
    cells: Mapping[str, Cell] | None
    unknown: str = ""


def attribute_problems(attributes: Any) -> list[Problem]:
    """What is wrong with attributes of a driver: names that are none, that a field has, or that hold secrets."""
    found = []
    for name, value in attributes.items() if isinstance(attributes, Mapping) else ():
        plain = re.sub(r"[ _]", "", str(name)).lower()
        if not _NAME.fullmatch(str(name)):
            words = f"{str(name)[:40]!r} is no name of an attribute. Valid: letters, digits, `_` and spaces."
        elif plain in _OWN:
            words = f"`{name}` is said by the field `{_OWN[plain]}`."
        elif any(part in plain for part in _SECRET):
            words = f"`{name}` holds a secret, which would be shown here. Give it as `password`."
        elif isinstance(value, EnvVar):
            continue
        elif is_reference(value):
            words = f"`{name}` is a reference to a secret, and attributes hold none. Write the value."
        elif _SECRET_WITHIN.search(value):
            words = f"`{name}` has a value that holds a secret, which would be shown here. Give it as `password`."
        elif not value.isprintable():
            words = f"`{name}` has a value with control signs. Valid: text in one line."
        else:
            continue
        found.append(Problem("attributes", words))
    return found


def address(parts: Mapping[str, str]) -> str:
    """A connection string; each value is one, whatever signs are in it. Those that are empty are left out.

    Examples:
        >>> address({"SERVER": "db", "PWD": "a;b}c"})
        'SERVER=db;PWD={a;b}}c}'
    """
    return ";".join(f"{name}={_value(text)}" for name, text in parts.items() if text)


def _value(text: str) -> str:
    if "\0" in text:
        raise InputError("A value of the login holds a NUL, which no driver takes. Correct it.")
    return "{" + text.replace("}", "}}") + "}" if _ODD.search(text) else text


def driver_manager() -> Any:
    """The package of ODBC, which needs a library of the system.

    Raises:
        MissingExtraError: The library lacks.
        ModuleNotFoundError: The package itself does.
    """
    try:
        import pyodbc
    except ModuleNotFoundError:
        raise
    except ImportError as error:
        msg = "`pyodbc` finds no ODBC driver manager on this machine. Install it with: apt-get install unixodbc"
        raise MissingExtraError(msg) from error
    return pyodbc


def refuse_missing(driver: str) -> None:
    """Refuse a driver that is not installed here.

    Args:
        driver: Its name in `odbcinst.ini`, or its file.

    Raises:
        MissingExtraError: It is not; the message says what to install.
    """
    there = driver_manager().drivers()
    if "/" in driver or "\\" in driver or driver in there:
        return
    install = _INSTALL.get(driver)
    do = f"Install it with: {install}." if install else f"Install it, or name another. {did_you_mean(driver, there)}"
    raise MissingExtraError(f"The ODBC driver `{driver}` is not installed on this machine. {do}")


def connected(
    text: str, *, seconds: float, writing: bool, before: Mapping[int, bytes] | None = None, login: float
) -> Any:
    """Log in; the driver's errors come as they are.

    Args:
        text: Of `address`: never shown.
        seconds: How long one statement may take.
        writing: Whether something may be changed; drivers make what they like of it.
        before: ODBC's attribute of a connection -> value, as of a token.
        login: Seconds to wait for the connection.
    """
    import pyodbc

    connection = pyodbc.connect(
        text, autocommit=False, readonly=not writing, timeout=math.ceil(login), attrs_before=dict(before or {})
    )
    try:
        connection.timeout = math.ceil(seconds)
    except pyodbc.Error:  # a driver without it: the system may have a limit of its own
        connection.rollback()
    return connection


@contextmanager
def closed_if_it_fails(connection: Any) -> Iterator[None]:
    """Close a connection where setting it up fails."""
    try:
        yield
    except BaseException:
        connection.close()
        raise


def asked(connection: Any, text: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """All rows of a short answer."""
    cursor = connection.cursor()
    try:
        cursor.execute(text, *values)
        return [tuple(row) for row in cursor.fetchall()]
    finally:
        cursor.close()


@contextmanager
def opened(connection: Any, plan: Plan, values: Sequence[Any]) -> Iterator[pa.RecordBatchReader]:
    """Ask, and read the answer in batches; leaving the context ends it, also in the middle.

    Args:
        connection: Of `connected`.
        plan: What to ask, and how to read it.
        values: For the markers.

    Raises:
        InputError: It returns no rows; or while it is read, a value that its column's type can't hold.
    """
    cursor, done = connection.cursor(), []

    def chunks() -> Iterator[Any]:
        rows = FIRST
        while chunk := _fetched(cursor, rows):
            yield chunk
            rows = _next(chunk)
        done.append(True)

    try:
        cursor.execute(plan.text, *map(sent, values))
        if cursor.description is None:
            done.append(True)
            raise InputError("A statement that returns rows is expected: reading changes nothing.")
        if plan.unknown:
            raise InputError(f"The types of this answer can't be known: {plan.unknown} Ask by one plain SELECT.")
        named([one[0] for one in cursor.description])
        cells = [
            cell_of(*one) if plan.cells is None or one[0] not in plan.cells else plan.cells[one[0]]
            for one in cursor.description
        ]
        yield reader_of(cells, chunks())
    finally:
        _left(cursor, is_done=bool(done))


def _left(cursor: Any, *, is_done: bool) -> None:
    import pyodbc

    try:
        if not is_done:
            cursor.cancel()
        cursor.close()
    except pyodbc.Error as error:  # harmless: the connection is gone, which who reads has been told, and closes it
        logger.info("a cursor could not be closed: SQLSTATE %s", said_by(error)[0])


def _next(chunk: Sequence[Sequence[Any]]) -> int:
    """How many rows to fetch next, by how long some of this chunk are."""
    some = chunk[:: max(1, len(chunk) // 100)]
    longest = max(sum(len(value) for value in row if isinstance(value, str | bytes)) for row in some)
    return max(1, min(ROWS, BYTES // max(1, longest)))


def _fetched(cursor: Any, rows: int) -> list[Any]:
    try:
        found: list[Any] = cursor.fetchmany(rows)
    except (ValueError, OverflowError, struct.error) as error:
        msg = f"The driver hands over a date or time that is none ({error}). Cast that column to text in a query."
        raise InputError(msg) from None
    return found


def cell_of(name: str, kind: type, _shown: Any, _size: Any, precision: int, scale: int, _nullable: Any) -> Cell:
    """How a column is read of which the driver alone says the type.

    Args:
        name: Of the column.
        kind: The Python type of its values.
        precision: Digits of a decimal.
        scale: Digits of it behind the point.

    Raises:
        InputError: It is of a type that is not read.
    """
    import decimal

    import pyarrow as pa

    types = {
        bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string(), bytes: pa.binary(),
        bytearray: pa.binary(), dt.date: pa.date32(), dt.time: pa.time64("us"), dt.datetime: pa.timestamp("us"),
    }  # fmt: skip
    if kind is decimal.Decimal:
        if 0 <= scale <= precision <= 38 and precision:
            return Cell(name, pa.decimal128(precision, scale))
        return Cell(name, pa.string(), lambda value: format(value, "f"))
    if kind not in types:
        raise InputError(f"The column `{name}` is of a type that is not read by ODBC. Cast it to text in a query.")
    return Cell(name, types[kind])


def said_by(error: Exception) -> tuple[str, str, int]:
    """The SQLSTATE, what the system says in one line, and its own number of it.

    Args:
        error: Of pyodbc.
    """
    state = str(error.args[0]) if error.args else ""
    text = str(error.args[1]) if len(error.args) > 1 else ""
    number = _CALL.search(text)
    line = _BRACKETS.sub("", _CALL.split(text)[0].strip()).strip()
    line = line.splitlines()[0] if line else ""
    return (
        state,
        line.removeprefix("ERROR:").removeprefix("FATAL:").strip().rstrip(";"),
        int(number[1] if number else 0),
    )
