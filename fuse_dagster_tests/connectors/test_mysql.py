from __future__ import annotations

import datetime as dt
import decimal
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
import pytest

from fuse_dagster import MySQL
from fuse_dagster.core.errors import CredentialsError, InputError, StoreError, StoreUnavailableError
from fuse_dagster.testing.databases import DatabaseContract

if TYPE_CHECKING:
    from collections.abc import Callable

    from fuse_dagster_tests.servers.mariadb import MariaDBServer

NAIVE = dt.datetime.fromisoformat("9999-12-31T23:59:59.999999")
UUID = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"


@pytest.fixture
def other(mariadb: MariaDBServer) -> Callable[..., MySQL]:
    """Makes connectors to one empty database, with some fields changed."""
    fields: dict[str, Any] = {
        "host": mariadb.host,
        "port": mariadb.port,
        "database": mariadb.database("reading"),
        "user": mariadb.user,
        "password": mariadb.password,
    }
    return lambda **changed: MySQL(**fields | changed)


@pytest.fixture
def connector(other: Callable[..., MySQL]) -> MySQL:
    return other()


@pytest.fixture
def run(mariadb: MariaDBServer, connector: MySQL) -> Callable[..., None]:
    return lambda *texts: mariadb.sql(
        ";\n".join(["SET sql_mode=''", "SET time_zone='+00:00'", *texts]), connector.database
    )


class TestMySQL(DatabaseContract):
    schema = "reading"
    types: ClassVar = [
        ("TINYINT(1)", "-1", pa.int8(), -1),
        ("INT UNSIGNED", "4294967295", pa.uint32(), 2**32 - 1),
        ("BIGINT UNSIGNED", "18446744073709551615", pa.uint64(), 2**64 - 1),
        ("DECIMAL(38,10)", "1.5", pa.decimal128(38, 10), decimal.Decimal("1.5")),
        ("DECIMAL(65,2)", "1e40", pa.string(), "1" + 40 * "0" + ".00"),
        ("FLOAT", "1.5", pa.float32(), 1.5),
        ("DOUBLE", "1.5", pa.float64(), 1.5),
        ("BIT(9)", "b'101010101'", pa.binary(), b"\x01U"),
        ("VARBINARY(9)", "x'00ff'", pa.binary(), b"\0\xff"),
        ("BLOB", "x'00ff'", pa.binary(), b"\0\xff"),
        ("TEXT CHARACTER SET utf8mb4", "'日本'", pa.string(), "日本"),
        ("JSON", """'{"a": 1}'""", pa.string(), '{"a": 1}'),
        ("ENUM('x','y')", "'y'", pa.string(), "y"),
        ("SET('x','y')", "'x,y'", pa.string(), "x,y"),
        ("UUID", f"'{UUID}'", pa.string(), UUID),
        ("YEAR", "2024", pa.int16(), 2024),
        ("DATE", "'0001-01-01'", pa.date32(), dt.date(1, 1, 1)),
        ("TIME(6)", "'-838:59:59'", pa.duration("us"), -dt.timedelta(hours=838, minutes=59, seconds=59)),
        ("DATETIME(6)", "'9999-12-31 23:59:59.999999'", pa.timestamp("us"), NAIVE),
        (
            "TIMESTAMP(6) NULL",
            "'2024-07-01 00:00'",
            pa.timestamp("us", tz="UTC"),
            dt.datetime(2024, 7, 1, tzinfo=dt.UTC),
        ),
    ]
    refused: ClassVar = [
        ("DATE", "'0000-00-00'"),
        ("DATE", "'2024-00-00'"),
        ("DATETIME", "'0000-00-00'"),
        ("TIMESTAMP NULL", "'0000-00-00'"),
    ]


def test_an_integer_without_a_sign_is_refused_where_a_query_cannot_hold_it(
    connector: MySQL, run: Callable[..., None]
) -> None:
    run("CREATE TABLE t (a BIGINT UNSIGNED, b BLOB)", "INSERT INTO t VALUES (18446744073709551615, x'ff')")
    for column in ("a", "b"):
        with (
            pytest.raises(InputError, match="read the table by its name"),
            connector.query(f"SELECT {column} FROM t") as reader,
        ):
            reader.read_all()
    with connector.query("SELECT CAST(a AS DECIMAL(20,0)) AS a FROM t") as reader:
        assert reader.read_all().to_pylist() == [{"a": decimal.Decimal(2**64 - 1)}]


@pytest.mark.parametrize(
    ("changed", "error", "says"),
    [
        ({"password": "something-else"}, CredentialsError, "Check `user` and `password`"),
        ({"database": "nowhere"}, StoreError, "no such database"),
        ({"port": 1}, StoreUnavailableError, "Check `host` and `port`"),
    ],
)
def test_a_wrong_login_says_which_field(
    other: Callable[..., MySQL], changed: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        other(**changed).answer()


def test_a_statement_that_takes_too_long_is_ended(other: Callable[..., MySQL]) -> None:
    with (
        pytest.raises(StoreUnavailableError, match="raise `statement_timeout`"),
        other(statement_timeout=0.2).query("SELECT sleep(60) AS a") as reader,
    ):
        reader.read_all()


def test_a_connection_that_is_cut_in_the_middle_fails_the_read(connector: MySQL, mariadb: MariaDBServer) -> None:
    with connector.query("SELECT seq AS n, repeat('x', 1000) AS filler FROM seq_1_to_100000") as reader:
        assert reader.read_next_batch().num_rows
        for (number,) in mariadb.sql("SELECT id FROM information_schema.processlist WHERE db = 'reading'"):
            mariadb.sql(f"KILL {number}")
        with pytest.raises(StoreUnavailableError, match="broke the connection off"):
            sum(batch.num_rows for batch in reader)
