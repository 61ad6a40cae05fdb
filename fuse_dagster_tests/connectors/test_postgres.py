from __future__ import annotations

import datetime as dt
import decimal
import socket
import time
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
import pytest

from fuse_dagster import PostgreSQL
from fuse_dagster.core.errors import CredentialsError, InputError, NotThereError, StoreError, StoreUnavailableError
from fuse_dagster.testing.databases import DatabaseContract

if TYPE_CHECKING:
    from collections.abc import Callable

    from fuse_dagster_tests.servers.postgres import PostgresServer

NAIVE = dt.datetime.fromisoformat("9999-12-31T23:59:59.999999")
UUID = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"


@pytest.fixture
def other(postgres: PostgresServer) -> Callable[..., PostgreSQL]:
    """Makes connectors to one empty database, with some fields changed."""
    fields: dict[str, Any] = {
        "host": postgres.host,
        "port": postgres.port,
        "database": postgres.database("reading"),
        "user": postgres.user,
        "password": postgres.password,
    }
    return lambda **changed: PostgreSQL(**fields | changed)


@pytest.fixture
def connector(other: Callable[..., PostgreSQL]) -> PostgreSQL:
    return other()


@pytest.fixture
def run(postgres: PostgresServer, connector: PostgreSQL) -> Callable[..., None]:
    return lambda *texts: postgres.sql(";\n".join(texts) + ";", connector.database)


class TestPostgreSQL(DatabaseContract):
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
        ("bytea", r"'\x0061'", pa.binary(), b"\0a"),
        ("uuid", f"'{UUID}'", pa.string(), UUID),
        ("json", """'{"a":  [1]}'""", pa.string(), '{"a":  [1]}'),
        ("jsonb", """'{"a":  [1]}'""", pa.string(), '{"a": [1]}'),
        ("interval", "'14 months 3 days 1 second'", pa.string(), "P1Y2M3DT1S"),
        ("bit(4)", "B'0101'", pa.string(), "0101"),
        ("inet", "'10.0.0.0/8'", pa.string(), "10.0.0.0/8"),
        ("int4range", "'[1,3)'", pa.string(), "[1,3)"),
        ("date", "'0001-01-01'", pa.date32(), dt.date(1, 1, 1)),
        ("time", "'23:59:59.999999'", pa.time64("us"), dt.time(23, 59, 59, 999999)),
        ("timetz", "'10:00+02'", pa.string(), "10:00:00+02"),
        ("timestamp", "'9999-12-31 23:59:59.999999'", pa.timestamp("us"), NAIVE),
        ("timestamptz", "'2024-07-01 02:00+02'", pa.timestamp("us", tz="UTC"), dt.datetime(2024, 7, 1, tzinfo=dt.UTC)),
        ("int4[]", "'{1,NULL}'", pa.list_(pa.int32()), [1, None]),
        ("numeric[]", "'{1.50}'", pa.list_(pa.string()), ["1.50"]),
        ("uuid[]", f"'{{{UUID}}}'", pa.list_(pa.string()), [UUID]),
    ]
    refused: ClassVar = [
        ("numeric", "'NaN'"),
        ("numeric", "'infinity'"),
        ("numeric", "0.0000000001"),
        ("numeric(10,2)", "'NaN'"),
        ("numeric(18,0)", "'NaN'"),
        ("date", "'infinity'"),
        ("date", "'-infinity'"),
        ("timestamp", "'-infinity'"),
        ("timestamptz", "'infinity'"),
        ("time", "'24:00'"),
        ("timestamptz[]", "'{infinity}'"),
    ]


@pytest.mark.parametrize(
    ("kind", "least"),
    [
        ("numeric(18)", "999999999999999999"),
        ("numeric(18,18)", "0.999999999999999999"),
        ("numeric(19,1)", "999999999999999999.9"),
        ("numeric(1)", "9"),
        ("numeric(2,5)", "0.00099"),
        ("numeric(3,-2)", "99900"),
    ],
)
def test_decimals_keep_their_digits_to_the_ends(
    connector: PostgreSQL, run: Callable[..., None], kind: str, least: str
) -> None:
    values = [decimal.Decimal(least), -decimal.Decimal(least), decimal.Decimal(0), None]
    run(f"CREATE TABLE t (a {kind})", f"INSERT INTO t VALUES ({least}), (-{least}), (0), (NULL)")
    with connector.rows("t") as reader:
        assert reader.read_all()["a"].to_pylist() == values


@pytest.mark.parametrize("value", ["1.005", "123456789", "'infinity'", "1e30", "-1e16"])
def test_a_decimal_that_is_not_what_its_column_says_is_never_rounded(
    connector: PostgreSQL, run: Callable[..., None], value: str
) -> None:
    run("CREATE TABLE t (a numeric, b numeric(10,2))", f"INSERT INTO t VALUES ({value}, 1)")
    # As a foreign table may do it: the column says `numeric(10,2)` of what it never looked at.
    run(
        "UPDATE pg_attribute SET atttypmod = (SELECT b.atttypmod FROM pg_attribute b WHERE b.attrelid = "
        "'t'::regclass AND b.attname = 'b') WHERE attrelid = 't'::regclass AND attname = 'a'"
    )
    with pytest.raises(InputError), connector.rows("t") as reader:
        reader.read_all()


def test_a_value_means_the_same_bound_and_written(connector: PostgreSQL) -> None:
    zone = dt.timezone(dt.timedelta(hours=-5, minutes=-30))
    values: list[Any] = [
        0, -1, 2**63 - 1, -(2**63), 0.1, -1e-300, 1.7976931348623157e308, True, False, decimal.Decimal("-1.50"),
        dt.date(1, 1, 1), dt.date(9999, 12, 31), NAIVE, dt.datetime.fromisoformat("0001-01-01T00:00:00"),
        dt.datetime(2024, 7, 1, 2, 30, tzinfo=zone),
        dt.datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=dt.UTC), dt.datetime(999, 2, 3, 4, 5, 6, tzinfo=dt.UTC),
    ]  # fmt: skip
    for value in values:
        assert connector.literal(value)
        with connector.query("SELECT :v AS v, pg_typeof(:v)::text AS kind", {"v": value}) as reader:
            written = reader.read_all().to_pylist()
        # With a text beside it, all values are bound.
        with connector.query("SELECT :v AS v, pg_typeof(:v)::text AS kind, :t AS t", {"v": value, "t": ""}) as reader:
            assert reader.read_all().select(["v", "kind"]).to_pylist() == written
        assert written[0]["v"] == value


def test_an_enum_a_domain_and_a_row_are_read(connector: PostgreSQL, run: Callable[..., None]) -> None:
    run(
        "CREATE TYPE mood AS ENUM ('sad', 'ok')",
        "CREATE DOMAIN positive AS int CHECK (VALUE > 0)",
        "CREATE TABLE t (a mood, b positive, c mood[])",
        "INSERT INTO t VALUES ('ok', 3, '{ok,sad}')",
    )
    with connector.rows("t") as reader:
        assert reader.read_all().to_pylist() == [{"a": "ok", "b": 3, "c": ["ok", "sad"]}]


def test_an_array_of_several_dimensions_is_refused_rather_than_flattened(
    connector: PostgreSQL, run: Callable[..., None]
) -> None:
    run("CREATE TABLE t (a int[])", "INSERT INTO t VALUES ('{1,2}'), ('{{1,2},{3,4}}')")
    with pytest.raises(InputError, match=r"several dimensions.*\{\{1,2\},\{3,4\}\}"), connector.rows("t") as reader:
        reader.read_all()


def test_a_comment_or_a_semicolon_may_end_a_question(connector: PostgreSQL) -> None:
    for question in ("SELECT 1 AS a;", "SELECT 1 AS a -- one", "SELECT 1 AS a ;\n"):
        with connector.query(question) as reader:
            assert reader.read_all().to_pylist() == [{"a": 1}]


@pytest.mark.parametrize(
    ("changed", "error", "says"),
    [
        ({"password": "something-else"}, CredentialsError, "Check `user` and `password`"),
        ({"user": "nobody' OR '1'='1"}, CredentialsError, "Check `user` and `password`"),
        ({"database": "nowhere?sslmode=disable"}, StoreError, "no such database"),
        ({"port": 1}, StoreUnavailableError, "Check `host` and `port`"),
        ({"host": "nowhere.invalid"}, StoreUnavailableError, "Check `host` and `port`"),
        ({"sslmode": "require"}, StoreError, "Check `sslmode`"),
    ],
)
def test_a_wrong_login_says_which_field(
    other: Callable[..., PostgreSQL], changed: dict[str, Any], error: type[Exception], says: str
) -> None:
    connector = other(**changed)
    with pytest.raises(error, match=says) as caught:
        connector.answer()
    assert connector.password not in f"{caught.value}"
    assert caught.value.__suppress_context__


def test_a_server_that_is_silent_is_given_up(other: Callable[..., PostgreSQL]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError, match="raise `connect_timeout`"):
            other(port=silent.getsockname()[1], connect_timeout=2).answer()
        assert time.monotonic() - began < 20


def test_a_statement_that_takes_too_long_is_ended(other: Callable[..., PostgreSQL]) -> None:
    slow = "SELECT pg_sleep(60)::text AS a"
    with (
        pytest.raises(StoreUnavailableError, match="raise `statement_timeout`"),
        other(statement_timeout=0.2).query(slow) as reader,
    ):
        reader.read_all()


def test_a_connection_that_is_cut_in_the_middle_fails_the_read(connector: PostgreSQL, postgres: PostgresServer) -> None:
    question = "SELECT g, repeat('x', 1000) AS filler FROM generate_series(1, 300000) g"
    with connector.query(question) as reader:
        assert reader.read_next_batch().num_rows
        postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'reading'")
        with pytest.raises(StoreUnavailableError, match="broke the connection off"):
            sum(batch.num_rows for batch in reader)


def test_rights_that_lack_are_named(other: Callable[..., PostgreSQL], run: Callable[..., None]) -> None:
    run(
        "CREATE TABLE t (a int)",
        "DROP ROLE IF EXISTS reader",
        "CREATE ROLE reader LOGIN PASSWORD 'of-the-reader'",
    )
    reader = other(user="reader", password="of-the-reader")
    with pytest.raises(StoreError, match=r"forbids this.*permission denied for table t"), reader.rows("t"):
        pass
    run("GRANT SELECT ON t TO reader")
    with reader.rows("t") as rows:
        assert rows.read_all().num_rows == 0


def test_all_parts_see_one_moment(connector: PostgreSQL, run: Callable[..., None]) -> None:
    from fuse_dagster.connectors.databases.partitions import read_parted

    run("CREATE TABLE t (a int)", "INSERT INTO t SELECT * FROM generate_series(1, 1000)")
    with connector.session() as first, connector.session() as second:
        snapshot = connector.share(first)
        run("DELETE FROM t WHERE a > 500")
        connector.join(second, snapshot)
        with connector.streamed(second, "SELECT count(*) AS n FROM t") as reader:
            assert reader.read_all().to_pylist() == [{"n": 1000}]
    with read_parted(connector, "t", on="a", connections=3) as reader:
        run("DELETE FROM t")
        assert reader.read_all().num_rows == 500


def test_a_key_may_be_named_as_an_attacker_would(connector: PostgreSQL, run: Callable[..., None]) -> None:
    from fuse_dagster.connectors.databases.partitions import read_parted

    name = """{} {0} $1 :a '"; DROP TABLE t; --"""
    quoted = '"' + name.replace('"', '""') + '"'
    run(f"CREATE TABLE t ({quoted} int, b numeric(9,2))", "INSERT INTO t SELECT g, g FROM generate_series(1, 100) g")
    with read_parted(connector, "t", on=name, connections=3) as reader:
        assert sorted(reader.read_all()[name].to_pylist()) == list(range(1, 101))


def test_a_part_that_fails_fails_the_whole(connector: PostgreSQL, run: Callable[..., None]) -> None:
    from fuse_dagster.connectors.databases.partitions import read_parted

    run("CREATE TABLE t (a int, b numeric)", "INSERT INTO t SELECT g, 1 FROM generate_series(1, 999) g")
    run("INSERT INTO t VALUES (1000, 'NaN')")
    with pytest.raises(InputError, match="nan"), read_parted(connector, "t", on="a", connections=3) as reader:
        reader.read_all()


def test_a_table_that_is_dropped_while_it_is_looked_at_is_not_there(
    connector: PostgreSQL, run: Callable[..., None]
) -> None:
    run("CREATE TABLE t (a int)")
    with connector.session() as connection:
        text = connector.selecting(connection, "t")
    run("ALTER TABLE t RENAME COLUMN a TO b")
    with pytest.raises(InputError, match="no such column"), connector.query(text) as reader:
        reader.read_all()
    run("DROP TABLE t")
    with pytest.raises(NotThereError, match="no such table"), connector.query(text) as reader:
        reader.read_all()
