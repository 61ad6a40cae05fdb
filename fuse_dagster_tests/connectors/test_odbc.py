from __future__ import annotations

import datetime as dt
import decimal
import socket
import sys
import time
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
import pytest

from fuse_dagster import ODBC
from fuse_dagster.connectors.databases import odbc
from fuse_dagster.connectors.databases.modes import AppendRows
from fuse_dagster.connectors.databases.odbc import opened
from fuse_dagster.connectors.databases.odbc_standard import AnyByOdbc
from fuse_dagster.core.errors import (
    ConfigError,
    CredentialsError,
    FuseError,
    InputError,
    MissingExtraError,
    StoreError,
    StoreUnavailableError,
)
from fuse_dagster.testing.databases import DatabaseContract
from fuse_dagster_tests.servers.postgres import missing_driver

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fuse_dagster_tests.servers.postgres import PostgresServer

NAIVE = dt.datetime.fromisoformat("9999-12-31T23:59:59.999999")
UUID = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
PLACE = {"SERVER": "db", "DATABASE": "shop"}


@pytest.fixture
def other(postgres: PostgresServer) -> Callable[..., ODBC]:
    """Makes connectors to one empty database, with some fields or attributes changed."""
    if why := missing_driver():
        pytest.skip(why)
    attributes = {"SERVER": postgres.host, "PORT": str(postgres.port), "DATABASE": postgres.database("reading")}
    fields: dict[str, Any] = {
        "driver": "PostgreSQL Unicode",
        "system": "postgres",
        "user": postgres.user,
        "password": postgres.password,
    }
    return lambda **changed: ODBC(
        **fields
        | {name: value for name, value in changed.items() if name.islower()}
        | {"attributes": attributes | {name: value for name, value in changed.items() if name.isupper()}}
    )


@pytest.fixture
def connector(other: Callable[..., ODBC]) -> ODBC:
    return other()


@pytest.fixture
def run(postgres: PostgresServer, connector: ODBC) -> Callable[..., None]:
    return lambda *texts: postgres.sql(";\n".join(texts) + ";", connector.attributes["DATABASE"])


class TestODBC(DatabaseContract):
    schema = "public"
    types: ClassVar = [
        ("int2", "-1", pa.int16(), -1),
        ("int8", "9223372036854775807", pa.int64(), 2**63 - 1),
        ("oid", "4294967295", pa.int64(), 2**32 - 1),
        ("float4", "1.5", pa.float32(), 1.5),
        ("float8", "'infinity'", pa.float64(), float("inf")),
        ("bool", "true", pa.bool_(), True),
        ("numeric(38,10)", "1.5", pa.decimal128(38, 10), decimal.Decimal("1.5")),
        ("numeric(5,-2)", "12345", pa.decimal128(7, 0), decimal.Decimal(12300)),
        ("numeric", "-0.000000001", pa.decimal128(38, 9), decimal.Decimal("-1E-9")),
        ("numeric(50,2)", "1e40", pa.string(), "1" + 40 * "0" + ".00"),
        ("money", "'12.34'", pa.decimal128(21, 2), decimal.Decimal("12.34")),
        ("char(3)", "'a'", pa.string(), "a  "),
        ("varchar(9)", "'😀é'", pa.string(), "😀é"),
        ("bytea", r"'\x0061'", pa.binary(), b"\0a"),
        ("uuid", f"'{UUID}'", pa.string(), UUID),
        ("json", """'{"a":  [1]}'""", pa.string(), '{"a":  [1]}'),
        ("jsonb", """'{"a":  [1]}'""", pa.string(), '{"a": [1]}'),
        ("interval", "'14 months 3 days 1 second'", pa.string(), "P1Y2M3DT1S"),
        ("bit(4)", "B'0101'", pa.string(), "0101"),
        ("inet", "'10.0.0.0/8'", pa.string(), "10.0.0.0/8"),
        ("date", "'0001-01-01'", pa.date32(), dt.date(1, 1, 1)),
        ("time", "'23:59:59.999999'", pa.time64("us"), dt.time(23, 59, 59, 999999)),
        ("timetz", "'10:00+02'", pa.string(), "10:00:00+02"),
        ("timestamp", "'9999-12-31 23:59:59.999999'", pa.timestamp("us"), NAIVE),
        ("timestamp(0)", "'2024-07-01 02:00'", pa.timestamp("us"), dt.datetime.fromisoformat("2024-07-01T02:00")),
        ("timestamptz", "'2024-07-01 02:00+02'", pa.timestamp("us", tz="UTC"), dt.datetime(2024, 7, 1, tzinfo=dt.UTC)),
        ("int4[]", "'{1,NULL}'", pa.string(), "{1,NULL}"),
    ]
    refused: ClassVar = [
        ("numeric", "'NaN'"),
        ("numeric", "'infinity'"),
        ("numeric", "0.0000000001"),
        ("date", "'infinity'"),
        ("date", "'4713-01-01 BC'"),
        ("timestamp", "'-infinity'"),
        ("timestamptz", "'infinity'"),
        ("time", "'24:00'"),
    ]


def test_a_query_is_read_with_the_types_that_the_server_says(connector: ODBC) -> None:
    question = """WITH a AS (SELECT 1::int2 AS i, 1.5::numeric AS n, 1.50::numeric(9,3) AS d, 7::numeric(28,6) AS w,
        TIMESTAMPTZ '2024-07-01 02:00+02' AS t, DATE '2024-01-01' AS "a day?")
        SELECT * FROM a WHERE i < :most OR t = :when -- all of it"""
    with connector.query(question, {"most": 2, "when": dt.datetime(2024, 7, 1, tzinfo=dt.UTC)}) as reader:
        found = reader.read_all()
    kinds = [pa.int16(), pa.decimal128(38, 9), pa.decimal128(9, 3), pa.decimal128(38, 9), pa.timestamp("us", "UTC")]
    assert found.schema.types == [*kinds, pa.date32()]
    assert found["a day?"].to_pylist() == [dt.date(2024, 1, 1)]
    for value in ("DATE 'infinity'", "TIMESTAMPTZ '-infinity'", "'NaN'::numeric", "TIME '24:00'"):
        with pytest.raises(InputError, match="The column `bad`"), connector.query(f"SELECT {value} AS bad") as reader:
            reader.read_all()


def test_a_time_with_a_zone_is_bound_as_the_moment_that_it_is(connector: ODBC) -> None:
    moment = dt.datetime(2024, 7, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    with connector.query("SELECT :at = TIMESTAMPTZ '2024-07-01 00:00+00' AS same", {"at": moment}) as reader:
        assert reader.read_all().to_pylist() == [{"same": True}]


@pytest.mark.parametrize(
    ("value", "says"), [("a\0b", "text with a NUL"), (2**63, "integer of more than 64 bits")], ids=["nul", "integer"]
)
def test_parameters_that_the_driver_would_cut_are_refused(connector: ODBC, value: Any, says: str) -> None:
    with pytest.raises(InputError, match=says), connector.query("SELECT :a::text AS a", {"a": value}):
        pass
    ends = {"a": -(2**63), "b": 2**63 - 1, "c": decimal.Decimal(2**70)}
    with connector.query("SELECT :a::int8 AS a, :b::int8 AS b, :c::numeric(38,0) AS c", ends) as reader:
        assert reader.read_all().to_pylist() == [ends]


def test_a_marker_that_nothing_is_bound_to_is_said(connector: ODBC) -> None:
    with pytest.raises(InputError, match="parameter markers"), connector.query("SELECT '{}'::jsonb ? 'a' AS x"):
        pass


def test_of_long_rows_fewer_are_fetched_at_a_time(connector: ODBC, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(odbc, "BYTES", 1000)
    with connector.query("SELECT repeat('x', 100) AS a FROM generate_series(1, 600)") as reader:
        assert [batch.num_rows for batch in reader] == [odbc.FIRST, *([10] * 10)]


def test_long_texts_and_bytes_are_whole(connector: ODBC) -> None:
    question = "SELECT repeat('é😀', 50000) AS a, decode(repeat('00ff', 100000), 'hex') AS b, NULL AS c, '' AS d"
    with connector.query(question) as reader:
        (found,) = reader.read_all().to_pylist()
    assert (found["a"], found["b"]) == ("é😀" * 50_000, b"\x00\xff" * 100_000)
    assert (found["c"], found["d"]) == (None, "")


def test_reading_writes_nothing_even_where_the_text_ends_the_transaction(
    connector: ODBC, run: Callable[..., None]
) -> None:
    run("CREATE TABLE guarded (a int)", "INSERT INTO guarded VALUES (1)")
    for question in (
        "SELECT 1 AS a) AS b; COMMIT; DELETE FROM guarded; SELECT * FROM (SELECT 1 AS a",
        "WITH gone AS (DELETE FROM guarded RETURNING a) SELECT * FROM gone",
        "COMMIT",
    ):
        with pytest.raises(FuseError), connector.query(question) as reader:
            reader.read_all()
    assert connector.count_rows("guarded") == 1


@pytest.mark.parametrize(
    ("changed", "error", "says"),
    [
        ({"password": "something-else"}, CredentialsError, "Check `user` and `password`"),
        ({"user": "nobody';DATABASE=x"}, CredentialsError, "Check `user` and `password`"),
        ({"DATABASE": "nowhere;UID=x"}, StoreError, "no such database"),
        ({"PORT": "1"}, StoreUnavailableError, "Check the server and port in `attributes`"),
        ({"SERVER": "nowhere.invalid"}, StoreUnavailableError, "Check the server and port in `attributes`"),
        ({"SSLMODE": "require"}, StoreError, "say of TLS"),
        ({"driver": "PostgreSQL Unicod"}, MissingExtraError, "not installed.*Did you mean `PostgreSQL Unicode`"),
        ({"driver": "ODBC Driver 18 for SQL Server"}, MissingExtraError, "apt-get install msodbcsql18"),
        ({"driver": "/nowhere/driver.so"}, StoreError, "Check `driver` and `dsn`"),
        ({"driver": "", "dsn": "nowhere"}, StoreError, "Check `driver` and `dsn`"),
        ({"system": "other"}, ConfigError, "is `PostgreSQL`. Declare `system: postgres`"),
        ({"system": "mssql"}, ConfigError, "is `PostgreSQL`. Declare `system: postgres`"),
    ],
)
def test_a_wrong_login_says_which_field(
    other: Callable[..., ODBC], changed: dict[str, Any], error: type[Exception], says: str
) -> None:
    connector = other(**changed)
    with pytest.raises(error, match=says) as caught:
        connector.answer()
    assert connector.password not in f"{caught.value}"
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_data_source_is_enough(connector: ODBC, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"SERVER": "Servername", "PORT": "Port", "DATABASE": "Database"}
    said = "".join(f"{names[name]} = {value}\n" for name, value in connector.attributes.items())
    (tmp_path / "odbc.ini").write_text(f"[shop]\nDriver = PostgreSQL Unicode\n{said}")
    monkeypatch.setenv("ODBCINI", str(tmp_path / "odbc.ini"))
    by_source = ODBC(dsn="shop", system="postgres", user=connector.user, password=connector.password)
    assert by_source.place == "odbc://shop"
    assert by_source.answer().startswith("PostgreSQL ")


def test_a_password_is_one_value_whatever_signs_are_in_it(other: Callable[..., ODBC], run: Callable[..., None]) -> None:
    password = "a};UID=fuse;PWD={b' =%"
    run("DROP ROLE IF EXISTS odd", "CREATE ROLE odd LOGIN PASSWORD 'a};UID=fuse;PWD={b'' =%'")
    with other(user="odd", password=password).query("SELECT current_user::text AS who") as reader:
        assert reader.read_all().to_pylist() == [{"who": "odd"}]


def test_a_server_that_is_silent_is_given_up(other: Callable[..., ODBC]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError, match="raise `connect_timeout`"):
            other(PORT=str(silent.getsockname()[1]), connect_timeout=2).answer()
        assert time.monotonic() - began < 20


def test_a_statement_that_takes_too_long_is_ended(other: Callable[..., ODBC]) -> None:
    with (
        pytest.raises(StoreUnavailableError, match="raise `statement_timeout`"),
        other(statement_timeout=0.2).query("SELECT pg_sleep(60)::text AS a") as reader,
    ):
        reader.read_all()


def test_a_connection_that_is_cut_in_the_middle_fails_the_read(connector: ODBC, postgres: PostgresServer) -> None:
    question = "SELECT g, repeat('x', 1000) AS filler FROM generate_series(1, 100000) g"
    with connector.query(question) as reader:
        assert reader.read_next_batch().num_rows
        postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'reading'")
        with pytest.raises(StoreUnavailableError, match="broke the connection off"):
            sum(batch.num_rows for batch in reader)


def test_rights_that_lack_are_named(other: Callable[..., ODBC], run: Callable[..., None]) -> None:
    run("CREATE TABLE t (a int)", "DROP ROLE IF EXISTS reader", "CREATE ROLE reader LOGIN PASSWORD 'of-the-reader'")
    reader = other(user="reader", password="of-the-reader")
    with pytest.raises(StoreError, match=r"forbids this.*permission denied for table t"), reader.rows("t"):
        pass


def test_an_unknown_system_is_read_by_odbcs_own_functions(connector: ODBC, run: Callable[..., None]) -> None:
    run(
        'CREATE TABLE "a_b%" (k int NOT NULL, j numeric(9,2) NOT NULL, v varchar(7), PRIMARY KEY (j, k))',
        """INSERT INTO "a_b%" VALUES (1, 2.50, 'x'), (2, 3.50, NULL)""",
        'CREATE TABLE "axb%" (z int)',
        "CREATE SCHEMA s",
        'CREATE TABLE s."axb%" (y int)',
    )
    unknown = AnyByOdbc()
    with connector.session() as connection:
        assert {("public", "a_b%"), ("public", "axb%"), ("s", "axb%")} <= set(unknown.tables(connection))
        found = unknown.described(connection, ["a_b%"])
        assert [(one.name, one.nullable, one.key) for one in found] == [
            ("k", False, 2),
            ("j", False, 1),
            ("v", True, 0),
        ]
        assert [one.name for one in unknown.described(connection, ["s", "axb%"])] == ["y"]
        assert unknown.described(connection, ["nowhere"]) == []
        assert [one.name for one in unknown.described(connection, ["axb%"])] == ["z"]
        text = unknown.dialect.select(['"k"', '"j"', '"v"'], '"a_b%"', where='"k" >= ?', limit=1)
        with opened(connection, unknown.planned(connection, text, [1], {}), [1]) as reader:
            rows = reader.read_all()
    assert rows.schema.types == [pa.int64(), pa.decimal128(9, 2), pa.string()]
    assert rows.num_rows == 1


def test_an_unknown_system_is_not_written(connector: ODBC) -> None:
    unknown = ODBC(driver="PostgreSQL Unicode", attributes=connector.attributes)
    with pytest.raises(ConfigError, match="whose SQL is not known"):
        unknown.write_rows("t", pa.table({"a": [1]}).to_reader(), AppendRows())


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "`$.driver`: Give it, or `dsn`"),
        ({"driver": "a", "dsn": "b"}, "`$.dsn`: `driver` is given as well"),
        ({"driver": "a", "attributes": {"PWD": "x-secret"}}, "`PWD` is said by the field `password`"),
        ({"driver": "a", "attributes": {"Auth_AccessToken": "x-secret"}}, "`Auth_AccessToken` holds a secret"),
        ({"driver": "a", "attributes": {"Server": "env://PASSWORD"}}, "is a reference to a secret"),
        ({"driver": "a", "attributes": {"Server;UID": "x-secret"}}, "is no name of an attribute"),
        ({"driver": "a", "attributes": {"Server": "x-secret\0"}}, "control signs"),
        ({"driver": "a", "attributes": {"pqopt": "sslpassword = x-secret"}}, "a value that holds a secret"),
        ({"driver": "a", "password_attribute": "PWD=x;UID"}, "`$.password_attribute`"),
        ({"driver": "a", "password_attribute": "Server"}, "`$.password_attribute`: Something else is said by it"),
        (
            {"driver": "a", "password_attribute": "Odd", "attributes": {"odd": "b"}},
            "`$.password_attribute`: Something else is said by it",
        ),
    ],
)
def test_what_cannot_be_declared_is_said(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ODBC(**given)
    assert says in str(caught.value)
    assert "x-secret" not in str(caught.value)


@pytest.mark.parametrize("given", [{"driver": "a"}, {"dsn": "a"}])
def test_a_missing_driver_manager_says_what_to_install(
    given: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyodbc.py").write_text("raise ImportError('libodbc.so.2: cannot open shared object file')")
    monkeypatch.delitem(sys.modules, "pyodbc", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtraError, match="apt-get install unixodbc"):
        ODBC(**given).answer()


def test_its_place_names_server_and_database() -> None:
    assert ODBC(driver="a", attributes=PLACE).place == "odbc://db/shop"
    assert ODBC(dsn="source").place == "odbc://source"
