"""SQL Server does not run here: what its driver would be told, and what would be made of its bytes and errors."""

from __future__ import annotations

import datetime as dt
import decimal
import os
import struct
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
import sqlglot
from sqlglot import exp

from fuse_dagster import SQLServer
from fuse_dagster.connectors.database import TableColumn
from fuse_dagster.connectors.databases.arrow import reader_of
from fuse_dagster.connectors.databases.dialects import MSSQL
from fuse_dagster.connectors.databases.failures import in_our_words
from fuse_dagster.connectors.databases.fitting import fits_of
from fuse_dagster.connectors.databases.kinds import kind_of
from fuse_dagster.connectors.databases.links import Link, OdbcLink
from fuse_dagster.connectors.databases.remembering import make_memory
from fuse_dagster.connectors.databases.sqlserver import (
    COLUMNS,
    DESCRIBE,
    SETTINGS,
    TABLES,
    SqlServerByOdbc,
    numbered,
    packed,
)
from fuse_dagster.connectors.databases.sqlserver_types import CONVERTERS, cell, declaration, word_of
from fuse_dagster.core.errors import (
    ConfigError,
    CredentialsError,
    InputError,
    MissingExtraError,
    NotThereError,
    StoreError,
    StoreUnavailableError,
)
from fuse_dagster.testing.connectors import ConnectorContract
from fuse_dagster_tests.servers.certificate import certificate
from fuse_dagster_tests.servers.entra import CLIENT, HEADER, SECRET, TENANT, Entra, entra_server
from fuse_dagster_tests.servers.sql_server import Answers, LoggedIn, Taking, log_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

pyodbc = pytest.importorskip("pyodbc", exc_type=ImportError, reason="There is no ODBC: apt-get install unixodbc")

PRINCIPAL = {"tenant_id": TENANT, "client_id": CLIENT, "client_secret": SECRET}
TOKEN = "eyJ0eXAi.a-token.öé"
DRIVER = "[Microsoft][ODBC Driver 18 for SQL Server]"


@pytest.fixture
def connector() -> SQLServer:
    return SQLServer(host="db.example.com", database="shop", user="reader", password="pass;word}=")


class TestSQLServer(ConnectorContract):
    """Its declaration alone."""


def test_a_token_is_packed_as_the_driver_documents_it() -> None:
    found = packed(TOKEN)
    assert struct.unpack("<I", found[:4]) == (len(found) - 4,)
    assert found[4:].decode("utf-16-le") == TOKEN
    assert found[4:8] == b"e\0y\0"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Callable[[SQLServer], LoggedIn]:
    """Logs in where there is a driver that only takes down what it is told: no server runs here."""

    def said(connector: SQLServer) -> LoggedIn:
        monkeypatch.setattr(pyodbc, "drivers", lambda: [connector.driver])
        monkeypatch.setattr(pyodbc, "connect", log_in)
        with pytest.raises(LoggedIn) as caught:
            connector.connect()
        return caught.value

    return said


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Entra]:
    for name in os.environ:
        if name.startswith(("AZURE_", "IDENTITY_", "MSI_")):
            monkeypatch.delenv(name)
    tls = certificate(tmp_path)
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, str(tls))
    with entra_server(tls) as started:
        yield started


def test_a_password_is_one_value_of_the_login(connector: SQLServer, told: Callable[[SQLServer], LoggedIn]) -> None:
    said = told(connector)
    assert said.text == (
        "DRIVER=ODBC Driver 18 for SQL Server;SERVER={tcp:db.example.com,1433};DATABASE=shop;Encrypt=yes;"
        "TrustServerCertificate=no;APP=fuse_dagster;UID=reader;PWD={pass;word}}=}"
    )
    assert (said.options["autocommit"], said.options["attrs_before"]) == (False, {})


@pytest.mark.parametrize(
    ("host", "audience"),
    [
        ("shop.database.windows.net", "https://database.windows.net"),
        ("Shop.Database.UsGovCloudApi.net.", "https://database.usgovcloudapi.net"),
        ("shop.database.chinacloudapi.cn", "https://database.chinacloudapi.cn"),
    ],
)
def test_a_token_of_its_audience_goes_before_the_login(
    host: str, audience: str, told: Callable[[SQLServer], LoggedIn], fake: Entra
) -> None:
    fake.audience = audience
    connector = SQLServer(host=host, database="shop", authority=fake.address, **PRINCIPAL)
    said = told(connector)
    (token,) = fake.given
    assert said.options["attrs_before"] == {1256: packed(token)}
    assert not {"UID", "PWD"} & set(said.text.replace("=", ";").split(";"))
    assert token not in said.text


def test_a_managed_identity_logs_in_with_its_token(
    told: Callable[[SQLServer], LoggedIn], fake: Entra, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.audience = "https://database.windows.net"
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{fake.plain}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", HEADER)
    for login in ("managed_identity", "default"):
        said = told(SQLServer(host="shop.database.windows.net", database="shop", login=login))
        assert said.options["attrs_before"] == {1256: packed(fake.given[-1])}
    assert set(fake.asked) == {"platform"}


def test_a_principal_that_is_refused_says_which_fields(fake: Entra, monkeypatch: pytest.MonkeyPatch) -> None:
    connector = SQLServer(
        host="db", database="shop", authority=fake.address, **PRINCIPAL | {"client_secret": "wrong-canary"}
    )
    monkeypatch.setattr(pyodbc, "drivers", lambda: [connector.driver])
    with pytest.raises(StoreError, match="`tenant_id`, `client_id` and `client_secret`") as caught:
        connector.answer()
    assert "canary" not in str(caught.value)


def test_a_missing_driver_says_what_to_install(connector: SQLServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyodbc, "drivers", lambda: ["PostgreSQL Unicode"])
    with pytest.raises(MissingExtraError, match=r"`ODBC Driver 18 for SQL Server` is not installed.*msodbcsql18"):
        connector.answer()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"user": "a"}, "`$.password`: A login by SQL Server itself"),
        ({"password": "x-secret"}, "`$.user`: A login by SQL Server itself"),
        ({"user": "a", "password": "x-secret", "login": "cli"}, "`$.login`: `user` is given as well"),
        ({"tenant_id": "a", "client_secret": "x-secret"}, "`$.client_id`"),
        ({"host": "tcp:a,1"}, "`$.host`"),
        ({"database": "a;UID=sa"}, "`$.database`: It is no name"),
        ({"attributes": {"AccessToken": "x-secret"}}, "holds a secret"),
        ({"attributes": {"Network Address": "elsewhere"}}, "`Network Address` is said by the field `host`"),
        ({"attributes": {"ENCRYPT": "no"}}, "`ENCRYPT` is said by the field `encrypt`"),
        ({"connect_timeout": 0}, "`$.connect_timeout`"),
    ],
)
def test_what_cannot_be_declared_is_said(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SQLServer(**{"host": "db", "database": "shop"} | given)
    assert says in str(caught.value)
    assert "x-secret" not in str(caught.value)


def test_attributes_go_before_our_own(connector: SQLServer, told: Callable[[SQLServer], LoggedIn]) -> None:
    given = {"ApplicationIntent": "ReadOnly", "app": "mine", "HostnameInCertificate": "a;UID=sa"}
    text = told(connector.model_copy(update={"attributes": given})).text
    assert "ApplicationIntent=ReadOnly;app=mine;HostnameInCertificate={a;UID=sa};UID=reader;" in text
    assert "fuse_dagster" not in text


@pytest.mark.parametrize(
    ("state", "said", "error", "says"),
    [
        ("28000", "[SQL Server]Login failed for user 'reader'. (18456) (SQLDriverConnect)", CredentialsError, "`user`"),
        ("42000", "[SQL Server]Cannot open database 'x'. (4060) (SQLDriverConnect)", StoreError, "no such database"),
        ("42S02", "[SQL Server]Invalid object name 'x'. (208) (SQLExecDirectW)", NotThereError, "object name 'x'"),
        ("42S22", "[SQL Server]Invalid column name 'x'. (207) (SQLExecDirectW)", InputError, "no such column"),
        ("42000", "[SQL Server]The SELECT permission was denied. (229) (SQLExecDirectW)", StoreError, "forbids"),
        ("42000", "[SQL Server]Incorrect syntax near 'x'. (102) (SQLExecDirectW)", InputError, "near 'x'"),
        ("40001", "[SQL Server]Transaction was deadlocked. (1205) (SQLExecDirectW)", StoreUnavailableError, "is busy"),
        ("23000", "[SQL Server]Violation of PRIMARY KEY. (2627) (SQLExecute)", InputError, "PRIMARY KEY"),
        (
            "42000",
            "[SQL Server]Database on server is not available. (40613) (SQLDriverConnect)",
            StoreUnavailableError,
            "is busy",
        ),
        (
            "42000",
            "[SQL Server]Client with IP is not allowed. (40615) (SQLDriverConnect)",
            StoreUnavailableError,
            "host",
        ),
        ("HYT00", "Login timeout expired (0) (SQLDriverConnect)", StoreUnavailableError, "`connect_timeout`"),
        ("HYT00", "Query timeout expired (0) (SQLExecDirectW)", StoreUnavailableError, "`statement_timeout`"),
        ("08S01", "TCP Provider: Error code 0x68 (104) (SQLFetch)", StoreUnavailableError, "broke the connection off"),
        ("08001", "SSL Provider: certificate verify failed (-1) (SQLDriverConnect)", StoreError, "`encrypt`"),
        ("01000", "Can't open lib 'x' : file not found (0) (SQLDriverConnect)", StoreError, "Check `driver`"),
        ("ZZZZZ", "password is hunter2 (1) (SQLExecute)", StoreError, "failed with `Error` (ZZZZZ 1)"),
    ],
)
def test_errors_are_told_by_their_numbers(
    connector: SQLServer, state: str, said: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error) as caught, in_our_words(connector.place, connector.checks, connector.told):
        raise pyodbc.Error(state, f"[{state}] {DRIVER}{said}")
    assert says in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "Microsoft" not in str(caught.value)


@pytest.mark.parametrize("text", [TABLES, COLUMNS, DESCRIBE, SETTINGS])
def test_what_the_catalogue_is_asked_is_t_sql(text: str) -> None:
    assert all(sqlglot.parse(text, read="tsql"))


WORDS: Sequence[tuple[str, pa.DataType, Any]] = [
    ("tinyint", pa.uint8(), 255), ("bigint", pa.int64(), -(2**63)), ("bit", pa.bool_(), True),
    ("decimal(38,10)", pa.decimal128(38, 10), decimal.Decimal("1.5")), ("numeric(5)", pa.decimal128(5, 0), None),
    ("money", pa.decimal128(19, 4), decimal.Decimal("922337203685477.5807")), ("real", pa.float32(), 1.5),
    ("float", pa.float64(), 0.1), ("nvarchar(max)", pa.string(), "日本"), ("char(3)", pa.string(), "a  "),
    ("uniqueidentifier", pa.string(), "A0EEBC99"), ("xml", pa.string(), "<a/>"), ("varbinary(max)", pa.binary(), b"\0"),
    ("timestamp", pa.binary(), b"\0\0\0\0\0\0\x07\xd1"), ("date", pa.date32(), dt.date(1, 1, 1)),
    ("datetime", pa.timestamp("us"), dt.datetime(1753, 1, 1, 0, 0, 0, 3000)),  # noqa: DTZ001
    ("smalldatetime", pa.timestamp("us"), dt.datetime(2079, 6, 6)),  # noqa: DTZ001
]  # fmt: skip


@pytest.mark.parametrize(("word", "arrow", "value"), WORDS)
def test_types_are_read_as_what_they_are(word: str, arrow: pa.DataType, value: Any) -> None:
    (found,) = reader_of([cell("a", word)], [[[value], [None]]])
    assert (found.schema.field("a").type, found.column(0).to_pylist()) == (arrow, [value, None])


@pytest.mark.parametrize("word", ["sql_variant", "geography", "geometry", "hierarchyid", "vector(3)", ""])
def test_types_that_are_not_read_are_refused_with_what_to_ask_instead(word: str) -> None:
    with pytest.raises(InputError, match=r"The column `a` is .*in a query|Cast it to the type"):
        cell("a", word)


def test_the_drivers_bytes_of_times_are_read_whole_or_refused() -> None:
    wall = struct.pack("<hHHHHHI", 9999, 12, 31, 23, 59, 59, 999_999_000)
    clock = struct.pack("<3H2xI", 23, 59, 59, 999_999_000)
    moment = struct.pack("<h5HI2h", 2024, 7, 1, 2, 0, 0, 500_000_000, -5, -30)
    expected = [
        (93, "datetime2(7)", wall, dt.datetime.fromisoformat("9999-12-31T23:59:59.999999")),
        (-154, "time(7)", clock, dt.time(23, 59, 59, 999999)),
        (-155, "datetimeoffset(7)", moment, dt.datetime(2024, 7, 1, 7, 30, 0, 500_000, tzinfo=dt.UTC)),
    ]
    for number, word, value, meant in expected:
        convert = CONVERTERS[number]
        (found,) = reader_of([cell("a", word)], [[[convert(value)], [convert(None)]]])
        assert found.column(0).to_pylist() == [meant, None]
    nanos = {93: 12, -154: 8, -155: 12}
    for number, word, value, _ in expected:
        seventh = bytearray(value)
        seventh[nanos[number] : nanos[number] + 4] = struct.pack("<I", 100)
        with pytest.raises(InputError, match=r"can't hold .*0000001.*CAST\(a AS datetime2\(6\)\)"):
            list(reader_of([cell("a", word)], [[[CONVERTERS[number](bytes(seventh))]]]))
    for convert in CONVERTERS.values():
        with pytest.raises(struct.error):  # which is said in our words where rows are fetched
            convert(b"\0\0\0")


def test_words_of_the_catalogue_say_sizes() -> None:
    rows = [("nvarchar", 100, 0, 0), ("nchar", -1, 0, 0), ("varchar", 8000, 0, 0), ("numeric", 9, 18, 4),
            ("datetimeoffset", 10, 34, 7), ("int", 4, 10, 0), ("float", 8, 53, 0)]  # fmt: skip
    words = ["nvarchar(50)", "nchar(max)", "varchar(8000)", "numeric(18,4)", "datetimeoffset(7)", "int", "float"]
    assert [word_of(*row) for row in rows] == words
    assert (kind_of(MSSQL, "datetime2(7)").scale, kind_of(MSSQL, "tinyint").signed) == (6, False)


def test_markers_are_numbered_where_they_are_some() -> None:
    text = "SELECT '?''?', \"?\", [a]]?] /* ? */ FROM t -- ?\nWHERE a = ? AND b = ?"
    found = numbered(text)
    assert found == text.replace("a = ?", "a = @P1").replace("b = ?", "b = @P2")
    assert sqlglot.parse_one(found, read="tsql").find(exp.Parameter)
    values = [True, 1, 1.5, decimal.Decimal("1.50"), b"a", dt.date(1, 1, 1), dt.time(1), None, "'; DROP TABLE t; --"]
    assert declaration(values) == (
        "@P1 bit, @P2 bigint, @P3 float, @P4 decimal(38,2), @P5 varbinary(8000), @P6 date, @P7 time(7), "
        "@P8 nvarchar(4000), @P9 nvarchar(4000)"
    )


def test_a_question_is_described_before_it_is_run() -> None:
    evil = "a]'; DROP TABLE t; --"
    connection = Answers([("a", "datetime2(7)", None), ("b", "geography", None)])
    plan = SqlServerByOdbc().planned(connection, "SELECT a, b FROM t WHERE c = ?", [evil], {})
    ((text, values),) = connection.asked
    assert evil not in text
    assert values == ("SELECT a, b FROM t WHERE c = @P1", "@P1 nvarchar(4000)")
    assert plan.cells is not None
    assert plan.cells["a"].arrow == pa.timestamp("us")
    with pytest.raises(InputError, match="STAsText"):
        plan.cells["b"]
    refused = SqlServerByOdbc().planned(Answers([(None, None, "Invalid object name 't'.")]), "EXEC p", [], {})
    assert refused.unknown == "Invalid object name 't'."
    with pytest.raises(InputError, match="without a name"):
        SqlServerByOdbc().planned(Answers([(None, "int", None)]), "SELECT 1", [], {})


def test_a_table_is_asked_for_by_a_quoted_name() -> None:
    connection = Answers([("k", "int", 4, 10, 0, False, 1), ("v", "nvarchar", -1, 0, 0, True, 0)])
    found = SqlServerByOdbc().described(connection, ["dbo", "a]; DROP TABLE t; --"])
    assert connection.asked[0][1] == ("[dbo].[a]]; DROP TABLE t; --]",)
    assert found == [
        TableColumn(name="k", type="int", nullable=False, key=1),
        TableColumn(name="v", type="nvarchar(max)", nullable=True, key=0),
    ]


def test_batches_are_remembered_by_every_sign_of_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    link = Link(None, MSSQL)
    monkeypatch.setattr(link, "run", ran.append)
    make_memory(link, ["dbo", "t"], there=False)
    (made,) = (sqlglot.parse_one(text, read="tsql") for text in ran)
    assert isinstance(made, exp.Create)
    collated = [column.name for column in made.find_all(exp.ColumnDef) if "BIN2" in column.sql(dialect="tsql")]
    assert collated == ["table_name", "batch"]


def loaded(columns: dict[str, str], data: pa.Table) -> Taking:
    """What the driver would be handed for rows of a table."""
    fits = fits_of(MSSQL, "t", [TableColumn(name=name, type=word) for name, word in columns.items()], data.schema)
    taking = Taking()
    OdbcLink(taking, MSSQL).load(["dbo", "t"], iter(data.to_batches()), fits)
    return taking


def test_rows_are_sent_by_types_that_are_certain() -> None:
    data = pa.table(
        {
            "n": pa.array([None, decimal.Decimal("1E-9")], pa.decimal128(38, 9)),
            "m": pa.array([decimal.Decimal("1.5"), None], pa.decimal128(9, 2)),
            "i": pa.array([None, 1], pa.int32()),
            "f": pa.array([None, 0.1]),
            "b": pa.array([b"\0", None]),
            "t": pa.array([dt.datetime(2024, 7, 1, tzinfo=dt.UTC), None], pa.timestamp("us", "UTC")),
            "s": pa.array(["日本", None]),
        }
    )
    words = {"n": "decimal(38,9)", "m": "money", "i": "int", "f": "float", "b": "varbinary(max)",
             "t": "datetimeoffset(7)", "s": "nvarchar(9)"}  # fmt: skip
    taking = loaded(words, data)
    (tree,) = sqlglot.parse(taking.text, read="tsql")
    assert isinstance(tree, exp.Insert)
    casts = [one.to.sql(dialect="tsql").lower() for one in tree.find_all(exp.Cast)]
    assert casts == ["numeric(38, 9)", "money", "varbinary(max)", "datetimeoffset(7)"]
    assert taking.rows == [
        (None, "1.5000", None, None, b"\0", "2024-07-01 00:00:00+00:00", "日本"),
        ("0.000000001", None, 1, 0.1, None, None, None),
    ]
    sizes = taking.sizes
    assert sizes is not None
    assert [size[0] for size in sizes] == [-9, -9, -5, 8, -3, -9, -9]
    assert taking.fast_executemany
    assert loaded({"s": "nvarchar(max)"}, pa.table({"s": ["x" * 5000]})).sizes is None


@pytest.mark.parametrize(
    ("word", "value", "says"),
    [
        ("varchar(9)", "日本", "beyond ASCII.*Alter the column to `nvarchar`"),
        ("text", "é", "beyond ASCII"),
        ("nvarchar(9)", "a\0b", "NUL"),
        ("uniqueidentifier", "0e984725-c51c-4bf4-9960-e1c80e27aba0wrong", "has 36 signs"),
        ("money", decimal.Decimal("1.23456"), "can't take without loss"),
        ("float", float("nan"), "holds NaN"),
    ],
)
def test_what_the_system_would_change_without_a_word_is_refused(word: str, value: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        loaded({"a": word}, pa.table({"a": [value]}))


def test_a_datetime_takes_what_it_keeps() -> None:
    (fit,) = fits_of(MSSQL, "t", [TableColumn(name="a", type="datetime")], pa.schema({"a": pa.timestamp("us")}))
    convert = OdbcLink(None, MSSQL).converter(fit)
    assert convert is not None
    assert convert(dt.datetime(2024, 7, 1, 2, 0, 0, 7000)) == "2024-07-01 02:00:00.007"  # noqa: DTZ001
    for lost in (1000, 7001):
        with pytest.raises(InputError, match=r"`a` holds a value .*`datetime`.*1/300"):
            convert(dt.datetime(2024, 7, 1, 2, 0, 0, lost))  # noqa: DTZ001
