from __future__ import annotations

import datetime as dt
import decimal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest
import sqlglot
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlglot import exp

from fuse_dagster import Snowflake
from fuse_dagster.connectors.base import CanWriteRows
from fuse_dagster.connectors.databases.modes import AppendRows, Comparison, ReplaceRows, UpsertRows
from fuse_dagster.connectors.databases.snowflake_types import arrow_of, converted, schema_of
from fuse_dagster.core.errors import (
    ConfigError,
    CredentialsError,
    FuseError,
    InputError,
    KeyValueError,
    OutcomeUnknownError,
    SchemaError,
    StoreError,
    StoreUnavailableError,
)
from fuse_dagster.testing.databases import DatabaseContract
from fuse_dagster_tests.servers.snowflake import FakeSnowflake, snowflake_server

NAIVE = dt.datetime.fromisoformat("9999-12-31T23:59:59.999999")


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeSnowflake]:
    with snowflake_server(tmp_path_factory.mktemp("snowflake")) as server:
        yield server


@pytest.fixture
def server(process: FakeSnowflake) -> FakeSnowflake:
    process.reset()
    return process


@pytest.fixture
def other(server: FakeSnowflake) -> Callable[..., Snowflake]:
    """Makes connectors to the empty database of the fake, with some fields changed."""
    fields: dict[str, Any] = {
        "account": "acme-prod", "user": "LOADER", "password": server.password, "database": "SHOP",
        "endpoint": f"http://127.0.0.1:{server.port}", "connect_timeout": 5.0,
    }  # fmt: skip
    return lambda **changed: Snowflake(**fields | changed)


@pytest.fixture
def connector(other: Callable[..., Snowflake]) -> Snowflake:
    return other()


@pytest.fixture
def run(server: FakeSnowflake) -> Callable[..., None]:
    return server.run


class TestSnowflake(DatabaseContract):
    schema = "PUBLIC"
    types: ClassVar = [
        ("NUMBER(38,0)", "12345678901234567890123", pa.decimal128(38, 0), decimal.Decimal(12345678901234567890123)),
        ("NUMBER(9,0)", "-7", pa.int64(), -7),
        ("NUMBER(38,10)", "1.5", pa.decimal128(38, 10), decimal.Decimal("1.5")),
        ("NUMBER(10,2)", "-1234.50", pa.decimal128(10, 2), decimal.Decimal("-1234.50")),
        ("FLOAT", "1.5", pa.float64(), 1.5),
        ("BOOLEAN", "TRUE", pa.bool_(), True),
        ("BINARY", "TO_BINARY('00ff', 'HEX')", pa.binary(), b"\0\xff"),
        ("VARCHAR", "'日本'", pa.string(), "日本"),
        ("VARIANT", """PARSE_JSON('{"a":[1]}')""", pa.string(), '{"a":[1]}'),
        ("DATE", "'0001-01-01'", pa.date32(), dt.date(1, 1, 1)),
        ("TIME(6)", "'23:59:59.999999'", pa.time64("us"), dt.time(23, 59, 59, 999999)),
        ("TIMESTAMP_NTZ(6)", "'9999-12-31 23:59:59.999999'", pa.timestamp("us"), NAIVE),
        (
            "TIMESTAMP_TZ(6)",
            "'2024-07-01 02:00:00+02:00'",
            pa.timestamp("us", tz="UTC"),
            dt.datetime(2024, 7, 1, tzinfo=dt.UTC),
        ),
    ]
    refused: ClassVar = []

    def test_a_table_is_read_with_its_columns(self, connector: Any, run: Any) -> None:
        run("CREATE TABLE t (a INTEGER, b VARCHAR(100))", "INSERT INTO t VALUES (1, 'x'), (2, NULL)")
        for name in ("T", "PUBLIC.T", "SHOP.PUBLIC.T"):
            with connector.rows(name) as reader:
                found = reader.read_all()
            assert sorted(found.to_pylist(), key=str) == [{"A": 1, "B": "x"}, {"A": 2, "B": None}]
        with connector.rows("T", columns=["B"], limit=1) as reader:
            assert reader.read_all().shape == (1, 1)
        assert connector.count_rows("T") == 2

    def test_names_are_listed_and_columns_described(self, connector: Any, run: Any) -> None:
        run("CREATE TABLE t (k INTEGER NOT NULL, j INTEGER NOT NULL, v VARCHAR, PRIMARY KEY (j, k))")
        run("CREATE VIEW w AS SELECT v FROM t", 'CREATE TABLE "other" (a INTEGER)')
        assert list(connector.names()) == ["PUBLIC.T", "PUBLIC.W", "PUBLIC.other"]
        assert list(connector.names("PUBLIC.?")) == ["PUBLIC.T", "PUBLIC.W"]
        assert [(one.name, one.type, one.nullable, one.key) for one in connector.columns("T")] == [
            ("K", "NUMBER(38,0)", False, 2),
            ("J", "NUMBER(38,0)", False, 1),
            ("V", "VARCHAR(16777216)", True, 0),
        ]

    def test_parameters_are_bound(self, connector: Any, run: Any) -> None:
        run("CREATE TABLE guarded (a INTEGER, b VARCHAR)", "INSERT INTO guarded VALUES (1, 'x'), (2, 'y')")
        question = "SELECT a, b FROM guarded WHERE b = :b OR a = :a ORDER BY a"
        with connector.query(question, {"a": 2, "b": "x"}) as reader:
            assert reader.read_all().to_pylist() == [{"A": 1, "B": "x"}, {"A": 2, "B": "y"}]
        for value in ("'; DROP TABLE guarded; --", "\\'; DROP TABLE guarded; --", "%s ? $1 :x", "", "日本\n\t"):
            with connector.query(question, {"a": -1, "b": value}) as reader:
                assert reader.read_all().num_rows == 0
        assert connector.count_rows("GUARDED") == 2

    def test_two_columns_of_one_name_are_refused(self, connector: Any) -> None:
        with pytest.raises(InputError, match="several columns `a`"):  # DuckDB would name them apart
            schema_of([_Column("a"), _Column("a")], ["FIXED", "FIXED"])

    def test_a_long_answer_comes_in_batches(self, connector: Any, run: Any) -> None:
        self.numbers(connector, run, doublings=15)
        with connector.query('SELECT "n" FROM "numbers" WHERE "n" >= :least', {"least": 0}) as reader:
            sizes = [batch.num_rows for batch in reader]
        assert (sum(sizes), max(sizes) < 2**15, len(sizes) > 2) == (2**15, True, True)

    def numbers(self, connector: Any, run: Any, *, doublings: int) -> None:
        self.table(connector, run, "numbers", {"n": "INTEGER", "m": "INTEGER"}, "0, 0")
        for power in range(doublings):
            run(f'INSERT INTO "numbers" SELECT "n" + {2**power}, "m" + {2**power} FROM "numbers"')

    def test_parts_are_read_at_once_and_make_the_whole(self, connector: Any, run: Any) -> None:
        from fuse_dagster.connectors.databases.partitions import read_parted

        self.numbers(connector, run, doublings=10)
        run('INSERT INTO "numbers" VALUES (NULL, -1)')
        with read_parted(connector, "numbers", on="n", connections=3) as reader:
            assert sorted(reader.read_all()["m"].to_pylist()) == list(range(-1, 2**10))


class _Column:
    def __init__(self, name: str, precision: int | None = None, scale: int | None = None) -> None:
        self.name, self.precision, self.scale = name, precision, scale


@pytest.mark.parametrize(
    ("kind", "precision", "scale", "arrow"),
    [
        ("FIXED", 18, 0, pa.int64()), ("FIXED", 19, 0, pa.decimal128(19, 0)), ("FIXED", 38, 37, pa.decimal128(38, 37)),
        ("TIMESTAMP_NTZ", 0, 9, pa.timestamp("ns")), ("TIMESTAMP_LTZ", 0, 3, pa.timestamp("us", "UTC")),
        ("TIMESTAMP_TZ", 0, 9, pa.timestamp("ns", "UTC")), ("TIME", 0, 9, pa.time64("ns")),
        ("OBJECT", 0, 0, pa.string()),
        ("GEOGRAPHY", 0, 0, pa.string()),
    ],
)  # fmt: skip
def test_each_type_has_one_in_arrow(kind: str, precision: int, scale: int, arrow: pa.DataType) -> None:
    assert arrow_of(_Column("a", precision, scale), kind) == arrow


@pytest.mark.parametrize("kind", ["VECTOR", "MAP", "FILE", "INTERVAL_DAY_TIME"])
def test_what_arrow_would_hold_as_something_else_is_refused(kind: str) -> None:
    with pytest.raises(InputError, match=rf"`a` is of Snowflake's type {kind}.*Cast it"):
        arrow_of(_Column("a"), kind)


def test_a_value_beyond_its_type_is_refused_and_not_rounded() -> None:
    far = pa.table({"a": pa.array([2**62], pa.timestamp("us"))})
    with pytest.raises(InputError, match=r"Years beyond 2262.*TIMESTAMP_NTZ\(6\)"):
        list(converted([far], pa.schema({"a": pa.timestamp("ns")}), ["TIMESTAMP_NTZ"]))
    split = pa.table({"a": pa.array([1.5])})
    with pytest.raises(InputError, match="NUMBER"):
        list(converted([split], pa.schema({"a": pa.int64()}), ["FIXED"]))


def rows(**columns: Any) -> pa.RecordBatchReader:
    return pa.table(columns).to_reader()


def read(connector: Snowflake, name: str) -> list[dict[str, Any]]:
    with connector.rows(name) as reader:
        return sorted(reader.read_all().to_pylist(), key=str)


def test_rows_are_appended_replaced_and_merged(connector: Snowflake, server: FakeSnowflake) -> None:
    assert isinstance(connector, CanWriteRows)
    far = pa.array([dt.datetime.fromisoformat("9999-12-31"), None], pa.timestamp("us"))
    done = connector.write_rows("T", rows(K=[1, 2], V=["a", None], AT=far, B=[b"\0", b"'"]), AppendRows())
    assert (done.rows, done.created) == (2, True)
    done = connector.write_rows("T", rows(K=[2, 3], V=["x", "y"]), UpsertRows(keys="K"))
    assert (done.inserted, done.updated) == (1, 1)
    assert [(row["K"], row["V"]) for row in read(connector, "T")] == [(1, "a"), (2, "x"), (3, "y")]
    first = ReplaceRows(where=((Comparison("K", "in", (1, 2)),),))
    assert connector.write_rows("T", rows(K=[9], V=["z"]), first).deleted == 2
    assert connector.write_rows("T", rows(K=[7], V=["q"]), ReplaceRows()).rows == 1
    assert [(row["K"], row["V"]) for row in read(connector, "T")] == [(7, "q")]
    assert not [text for text in server.asked if text.startswith(("DROP", "ALTER", "TRUNCATE"))]


def test_a_batch_is_appended_once(connector: Snowflake, server: FakeSnowflake) -> None:
    for repeated in (False, True):
        assert connector.write_rows("T", rows(K=[1]), AppendRows(once="monday")).repeated is repeated
    assert connector.write_rows("T", rows(K=[1]), AppendRows(once="tuesday")).rows == 1
    assert connector.count_rows("T") == 2
    last = [text for text in server.asked if text.startswith(("COPY", "COMMIT", "UPDATE", "SELECT 1", "INSERT"))]
    begun = [number for number, text in enumerate(last) if text.startswith("UPDATE")][-1]
    last = last[begun : begun + 5]
    assert [text.split()[0] for text in last] == ["UPDATE", "SELECT", "INSERT", "COPY", "COMMIT"], (
        "one transaction, locked before"
    )


@pytest.mark.parametrize(
    "at", ["COPY INTO", "PUT '", 'INSERT INTO "_fuse_loads" (table_name, batch, loaded_at) VALUES']
)
def test_what_breaks_off_leaves_the_old_rows(connector: Snowflake, server: FakeSnowflake, at: str) -> None:
    connector.write_rows("T", rows(K=[1]), AppendRows(once="first"))
    server.refuse[at] = 3001
    with pytest.raises(StoreError, match=r"forbids this.*Name a `role`"):
        connector.write_rows("T", rows(K=[2]), AppendRows(once="second"))
    assert read(connector, "T") == [{"K": 1}]
    if not at.startswith("INSERT"):
        server.refuse[at] = 3001
        with pytest.raises(StoreError):
            connector.write_rows("T", rows(K=[3]), ReplaceRows())
    assert read(connector, "T") == [{"K": 1}]
    assert connector.write_rows("T", rows(K=[2]), AppendRows(once="second")).rows == 1


def test_a_commit_without_a_certain_end_is_in_doubt(connector: Snowflake, server: FakeSnowflake) -> None:
    connector.write_rows("T", rows(K=[1]), AppendRows())
    server.lose = True
    with pytest.raises(OutcomeUnknownError):
        connector.write_rows("T", rows(K=[2]), AppendRows())
    assert connector.count_rows("T") == 2, "it was committed"
    server.refuse["COMMIT"] = 604
    with pytest.raises(OutcomeUnknownError):
        connector.write_rows("T", rows(K=[3]), AppendRows())
    server.refuse["COMMIT"] = 3001
    with pytest.raises(StoreError, match="forbids this"):
        connector.write_rows("T", rows(K=[4]), AppendRows())
    assert connector.count_rows("T") == 2


def test_a_folder_for_files_may_have_any_name(
    connector: Snowflake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "it's %20 *?"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    assert connector.write_rows("T", rows(K=[1]), AppendRows()).rows == 1
    assert not list(place.iterdir())


def test_fewer_rows_than_sent_are_no_success(connector: Snowflake, server: FakeSnowflake) -> None:
    connector.write_rows("T", rows(K=[1]), AppendRows())
    server.short = 1
    with pytest.raises(StoreError, match=r"took 1 of 2 rows\. Nothing is committed"):
        connector.write_rows("T", rows(K=[2, 3]), AppendRows())
    assert connector.count_rows("T") == 1


def test_keys_and_columns_that_do_not_fit_are_refused(connector: Snowflake, run: Callable[..., None]) -> None:
    connector.write_rows("T", rows(K=[1], V=["a"]), AppendRows())
    for keys in ([1, 1], [None, 2]):
        with pytest.raises(KeyValueError):
            connector.write_rows("T", rows(K=pa.array(keys, pa.int64()), V=["a", "b"]), UpsertRows(keys="K"))
    with pytest.raises(SchemaError, match="no column `k`"):
        connector.write_rows("T", rows(k=[1]), AppendRows())
    run("CREATE TABLE g (a GEOGRAPHY)")
    with pytest.raises(FuseError):
        connector.write_rows("G", rows(A=["POINT(1 2)"]), AppendRows())


def test_odd_names_are_written_and_nothing_else_is_touched(connector: Snowflake) -> None:
    connector.write_rows("guarded", rows(a=[1]), AppendRows())
    for name in ('say "hi"', "x; DROP TABLE guarded; --", "Ä日本", "a.b"):
        table = '"' + name.replace('"', '""') + '"'
        connector.write_rows(table, pa.table({name: [1], "v": ["'"]}).to_reader(), UpsertRows(keys=[name]))
        assert read(connector, table) == [{name: 1, "v": "'"}]
    assert connector.count_rows("guarded") == 1


def test_its_statements_are_read_by_a_parser_of_its_sql(connector: Snowflake, server: FakeSnowflake) -> None:
    odd = 'a"; DROP TABLE t; --'
    connector.write_rows("T", pa.table({odd: [1], "v": ["x"]}).to_reader(), UpsertRows(keys=[odd]))
    connector.write_rows("T", pa.table({odd: [2], "v": ["x"]}).to_reader(), AppendRows(once="a"))
    read(connector, "T")
    kinds = set()
    for text in server.asked:
        (tree,) = sqlglot.parse(text.replace("CREATE TEMPORARY STAGE", "CREATE STAGE"), read="snowflake")
        assert tree is not None
        assert next(tree.find_all(exp.Drop), None) is None
        kinds.add(type(tree).__name__)
    assert {"Merge", "Copy", "Select", "Insert", "Create", "Put", "Describe"} <= kinds


PEM = "-----BEGIN PRIVATE KEY-----\nMIIB-not-a-key\n-----END PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"password": "p"}, {"password": "p"}),
        ({"password": "", "private_key": PEM}, {"authenticator": "SNOWFLAKE_JWT", "private_key": PEM}),
        (
            {"password": "", "private_key": PEM, "private_key_passphrase": "x"},
            {"authenticator": "SNOWFLAKE_JWT", "private_key": PEM, "private_key_password": "x"},
        ),
        ({"password": "", "user": "", "token": "t"}, {"authenticator": "OAUTH", "token": "t"}),
        (
            {"password": "", "token": "t", "authenticator": "programmatic_access_token"},
            {"authenticator": "PROGRAMMATIC_ACCESS_TOKEN", "token": "t"},
        ),
        ({"authenticator": "https://acme.okta.com", "password": "p"},
         {"authenticator": "https://acme.okta.com", "password": "p"}),
        ({"role": "R", "warehouse": "W", "endpoint": "https://a.privatelink.example"},
         {"role": "R", "warehouse": "W", "host": "a.privatelink.example", "protocol": "https"}),
    ],
)  # fmt: skip
def test_the_driver_is_told_how_to_log_in(
    other: Callable[..., Snowflake], given: dict[str, Any], told: dict[str, Any]
) -> None:
    from snowflake.connector.connection_config import ConnectionConfig

    said = other(**given).arguments()
    assert told.items() <= said.items()
    known = set(ConnectionConfig.__dataclass_fields__)
    assert not said.keys() - known, "each is one of the driver's own"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"password": ""}, "Give one of"),
        ({"token": "t"}, "and not several"),
        ({"user": ""}, "`password` needs it"),
        ({"authenticator": "magic"}, "`magic` is none. Valid: snowflake"),
        ({"authenticator": "snowflake_jwt"}, r"`\$\.private_key`: `authenticator: snowflake_jwt` needs it"),
        ({"private_key_passphrase": "x"}, "is given without it"),
        ({"authenticator": "oauth", "token": "t"}, r"`\$\.password`: `authenticator: oauth` takes none"),
        ({"endpoint": "http://10.0.0.1"}, "in the clear"),
        ({"account": "https://acme"}, "without a scheme"),
        ({"connect_timeout": 0}, "no time to wait"),
    ],
)
def test_fields_that_do_not_go_together_are_said(
    other: Callable[..., Snowflake], given: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        other(**given)


def test_who_has_the_key_is_let_in(other: Callable[..., Snowflake], server: FakeSnowflake, tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    server.key = key.public_key()
    kind, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    text = key.private_bytes(serialization.Encoding.PEM, kind, plain).decode()
    locked = serialization.BestAvailableEncryption(b"s3cr3t")
    file = tmp_path / "key.p8"
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, kind, locked))
    assert other(password="", private_key=text).answer().startswith("Snowflake")
    assert other(password="", private_key=str(file), private_key_passphrase="s3cr3t").answer()
    for wrong in ({"private_key": PEM}, {"private_key": str(file), "private_key_passphrase": "s3cr3t2"}):
        with pytest.raises(CredentialsError, match="the key with its passphrase") as caught:
            other(password="", **wrong).answer()
        assert "s3cr3t" not in f"{caught.value}"
    server.key = rsa.generate_private_key(65537, 2048).public_key()
    with pytest.raises(CredentialsError):
        other(password="", private_key=text).answer()


def test_a_key_that_is_not_there_is_not_shown(other: Callable[..., Snowflake]) -> None:
    with pytest.raises(ConfigError, match="`private_key` names can't be read") as caught:
        other(password="", private_key="s3cr3t-that-is-no-path").answer()
    assert "s3cr3t" not in str(caught.value)


def test_what_goes_wrong_at_the_login_is_said_without_secrets(other: Callable[..., Snowflake]) -> None:
    with pytest.raises(CredentialsError, match="Check `user` and the key") as caught:
        other(password="hunter2-is-wrong").answer()
    assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__}"
    with pytest.raises(StoreUnavailableError, match="`snowflake://acme-prod/SHOP`"):
        other(endpoint="http://127.0.0.1:1", connect_timeout=1.0).answer()


@pytest.mark.parametrize(
    ("number", "error"),
    [(2003, FuseError), (904, InputError), (1003, InputError), (3001, StoreError), (606, StoreError),
     (604, StoreUnavailableError), (625, StoreUnavailableError), (390114, CredentialsError), (100038, InputError)],
)  # fmt: skip
def test_its_numbers_become_our_errors(
    connector: Snowflake, server: FakeSnowflake, number: int, error: type[Exception]
) -> None:
    server.refuse["SELECT 7"] = number
    with pytest.raises(error, match="snowflake://acme-prod/SHOP"), connector.query("SELECT 7 AS a") as reader:
        reader.read_all()


@pytest.mark.parametrize(
    "text",
    ["DELETE FROM t", "SELECT 1; DROP TABLE t", "CALL p()", "SHOW TABLES ->> DROP TABLE t", "/* SELECT */ DROP TABLE t",
     "BEGIN DELETE FROM t; END", "", ";", "SELECT 'a", "EXECUTE IMMEDIATE 'DROP TABLE t'",
     "WITH p AS PROCEDURE () RETURNS INT LANGUAGE SQL AS $$ DROP TABLE t $$ CALL p()",
     "/* /* */ DROP TABLE t -- */ SELECT 1", "SELECT 1 --\r; DROP TABLE t", "SELECT 1 {# ; DROP TABLE t #}"],
)  # fmt: skip
def test_what_could_change_something_is_not_sent(connector: Snowflake, server: FakeSnowflake, text: str) -> None:
    with pytest.raises(InputError), connector.query(text):
        pass
    assert text not in server.asked
