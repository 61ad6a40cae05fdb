from __future__ import annotations

import datetime as dt
import decimal
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest
import sqlglot
from google.cloud.bigquery import SchemaField
from sqlglot import exp

from fuse_dagster import BigQuery
from fuse_dagster.connectors.base import CanWriteRows
from fuse_dagster.connectors.database import TableColumn
from fuse_dagster.connectors.databases.bigquery_types import arrow_of, cell_of, loaded_as, parameter, word_of
from fuse_dagster.connectors.databases.dialects import BIGQUERY
from fuse_dagster.connectors.databases.fitting import fits_of
from fuse_dagster.connectors.databases.kinds import kind_of, word_for
from fuse_dagster.connectors.databases.modes import AppendRows, Comparison, ReplaceRows, UpsertRows
from fuse_dagster.connectors.databases.naming import written
from fuse_dagster.core.errors import (
    ConfigError,
    CredentialsError,
    FuseError,
    InputError,
    KeyValueError,
    NotThereError,
    OutcomeUnknownError,
    SchemaError,
    StoreError,
    StoreUnavailableError,
)
from fuse_dagster.testing.databases import DatabaseContract
from fuse_dagster_tests.servers.bigquery import FakeBigQuery, bigquery_server

NAIVE = dt.datetime.fromisoformat("9999-12-31T23:59:59.999999")
GOOD = ("a b", "Ä日本", "select", "a-b", "a_b")
BAD = ("a.b", "a/../b", "a?b=c", "a#b", "per%2Fcent", "it's", "a`b", "a`; DROP TABLE guarded; --", "a\\`b", "a\nb", "")


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeBigQuery]:
    with bigquery_server(tmp_path_factory.mktemp("bigquery")) as server:
        yield server


@pytest.fixture
def server(process: FakeBigQuery) -> FakeBigQuery:
    process.reset()
    return process


@pytest.fixture
def other(server: FakeBigQuery) -> Callable[..., BigQuery]:
    """Makes connectors to the empty dataset of the fake, with some fields changed."""
    fields: dict[str, Any] = {"project": "acme", "dataset": "shop", "endpoint": f"http://127.0.0.1:{server.port}",
                              "connect_timeout": 5.0}  # fmt: skip
    return lambda **changed: BigQuery(**fields | changed)


@pytest.fixture
def connector(other: Callable[..., BigQuery]) -> BigQuery:
    return other()


@pytest.fixture
def run(server: FakeBigQuery) -> Callable[..., None]:
    return server.run


class TestBigQuery(DatabaseContract):
    schema = "shop"
    text = "STRING"
    types: ClassVar = [
        ("INT64", "-9223372036854775808", pa.int64(), -(2**63)),
        ("NUMERIC", "1.5", pa.decimal128(38, 9), decimal.Decimal("1.5")),
        ("NUMERIC(10, 2)", "1.25", pa.decimal128(38, 9), decimal.Decimal("1.25")),
        ("FLOAT64", "1.5", pa.float64(), 1.5),
        ("BOOL", "TRUE", pa.bool_(), True),
        ("BYTES", r"b'\x00\xff'", pa.binary(), b"\0\xff"),
        ("STRING", "'日本'", pa.string(), "日本"),
        ("JSON", """JSON '{"a":[1,"ä"]}'""", pa.string(), '{"a":[1,"ä"]}'),
        ("DATE", "DATE '0001-01-01'", pa.date32(), dt.date(1, 1, 1)),
        ("TIME", "TIME '23:59:59.999999'", pa.time64("us"), dt.time(23, 59, 59, 999999)),
        ("DATETIME", "DATETIME '9999-12-31 23:59:59.999999'", pa.timestamp("us"), NAIVE),
        (
            "TIMESTAMP",
            "TIMESTAMP '2024-07-01 02:00:00+02:00'",
            pa.timestamp("us", tz="UTC"),
            dt.datetime(2024, 7, 1, tzinfo=dt.UTC),
        ),
        ("STRUCT<x INT64, y STRING>", "STRUCT(1 AS x, 'q' AS y)", pa.struct([("x", pa.int64()), ("y", pa.string())]),
         {"x": 1, "y": "q"}),
    ]  # fmt: skip
    refused: ClassVar = []

    def test_names_are_listed_and_columns_described(self, connector: Any, run: Any) -> None:
        run("CREATE TABLE t (k INT64 NOT NULL, n NUMERIC(10, 2), l ARRAY<STRING>, s STRUCT<x INT64>)")
        run("CREATE VIEW w AS SELECT n FROM t")
        assert list(connector.names()) == ["shop.t", "shop.w"]
        assert list(connector.names("shop.?")) == ["shop.t", "shop.w"]
        assert list(connector.names("other.*")) == []
        assert [(one.name, one.type, one.nullable) for one in connector.columns("t")] == [
            ("k", "INT64", False),
            ("n", "NUMERIC(10,2)", True),
            ("l", "ARRAY<STRING>", True),
            ("s", "STRUCT<x INT64>", True),
        ]

    def test_what_breaks_into_sql_is_a_name_like_others(self, connector: Any, run: Any) -> None:
        self.table(connector, run, "guarded", {"a": "INT64"}, "1")
        for number, name in enumerate(GOOD):
            self.table(connector, run, name, {name: "INT64", "b": "INT64"}, f"{number}, 0")
            with connector.rows(written([name]), columns=[name]) as reader:
                assert reader.read_all().to_pylist() == [{name: number}]
        for name in BAD:
            with pytest.raises((NotThereError, ConfigError)), connector.rows(written([name]) if name else name):
                pass
            with pytest.raises(SchemaError), connector.rows("guarded", columns=[name]):
                pass
        assert connector.count_rows("guarded") == 1

    def test_two_columns_of_one_name_are_refused(self, connector: Any, server: FakeBigQuery) -> None:
        twice = [{"name": "a", "type": "INTEGER", "mode": "NULLABLE"}] * 2
        server.answered = lambda *_: {"answer": (twice, []), "kind": "SELECT"}  # type: ignore[method-assign]
        try:  # BigQuery refuses it itself, DuckDB names them apart
            with pytest.raises(InputError, match="several columns `a`"), connector.query("SELECT 1 AS a, 2 AS a"):
                pass
        finally:
            del server.answered  # type: ignore[method-assign]

    def test_a_long_answer_comes_in_batches(self, other: Any, run: Any) -> None:
        connector = other(page_rows=1000)
        self.numbers(connector, run, doublings=12)
        with connector.query("SELECT n FROM numbers WHERE n >= @least".replace("@", ":"), {"least": 0}) as reader:
            sizes = [batch.num_rows for batch in reader]
        assert (sum(sizes), max(sizes), len(sizes)) == (2**12, 1000, 5)


@pytest.mark.parametrize(
    ("field", "word", "arrow"),
    [
        (SchemaField("a", "BIGNUMERIC"), "BIGNUMERIC", pa.decimal256(76, 38)),
        (SchemaField("a", "BIGNUMERIC", precision=40, scale=2), "BIGNUMERIC(40,2)", pa.decimal256(40, 2)),
        (SchemaField("a", "GEOGRAPHY"), "GEOGRAPHY", pa.string()),
        (SchemaField("a", "STRING", max_length=7), "STRING(7)", pa.string()),
        (SchemaField("a", "INTEGER", mode="REPEATED"), "ARRAY<INT64>", pa.list_(pa.int64())),
        (SchemaField("a", "RECORD", mode="REPEATED", fields=[SchemaField("b", "JSON")]), "ARRAY<STRUCT<b JSON>>",
         pa.list_(pa.struct([("b", pa.string())]))),
        (SchemaField("a", "RANGE", range_element_type="DATE"), "RANGE<DATE>",
         pa.struct([("start", pa.date32()), ("end", pa.date32())])),
    ],
)  # fmt: skip
def test_each_type_has_one_in_arrow(field: SchemaField, word: str, arrow: pa.DataType) -> None:
    assert (word_of(field), arrow_of(field)) == (word, arrow)


def test_json_within_others_is_text_too() -> None:
    inner = SchemaField("s", "RECORD", mode="REPEATED", fields=[SchemaField("j", "JSON"), SchemaField("k", "INTEGER")])
    convert = cell_of(inner).convert
    assert convert is not None
    assert convert([{"j": {"a": 2**60}, "k": 1}, {"j": None, "k": None}]) == [
        {"j": '{"a":1152921504606846976}', "k": 1},
        {"j": None, "k": None},
    ]


def test_two_parts_of_one_name_are_refused() -> None:
    twice = [SchemaField("a", "INTEGER")] * 2
    with pytest.raises(InputError, match="several columns `a`"):
        arrow_of(SchemaField("s", "RECORD", fields=twice))


@pytest.mark.parametrize(
    ("word", "kind"), [("NUMERIC", "NUMERIC"), ("BIGNUMERIC(30,2)", "NUMERIC"), ("BIGNUMERIC", "BIGNUMERIC")]
)
def test_decimals_lie_in_a_file_as_bigquery_tells_them_apart(word: str, kind: str) -> None:
    table = [TableColumn(name="a.b", type=word)]
    fits = fits_of(BIGQUERY, "t", table, pa.schema({"a.b": pa.decimal128(20, 2)}))
    assert [(one.name, one.field_type) for one in loaded_as(fits)] == [("c0", kind)]


def test_an_interval_is_refused() -> None:
    with pytest.raises(InputError, match=r"`a` is of BigQuery's type INTERVAL.*CAST"):
        arrow_of(SchemaField("a", "INTERVAL"))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, "BOOL"), (2**63 - 1, "INT64"), (2**63, "BIGNUMERIC"), (1.5, "FLOAT64"), ("x", "STRING"), (b"x", "BYTES"),
        (decimal.Decimal("1.123456789"), "NUMERIC"), (decimal.Decimal("1.1234567891"), "BIGNUMERIC"),
        (decimal.Decimal("1e30"), "BIGNUMERIC"), (dt.date(2024, 1, 1), "DATE"), (dt.time(1), "TIME"),
        (NAIVE, "DATETIME"),
        (NAIVE.replace(tzinfo=dt.UTC), "TIMESTAMP"),
    ],
)  # fmt: skip
def test_a_bound_value_has_its_type(value: Any, kind: str) -> None:
    assert parameter("a", value).to_api_repr()["parameterType"] == {"type": kind}


def test_what_can_not_be_bound_is_said() -> None:
    assert parameter("a", [1, 2]).to_api_repr()["parameterType"]["arrayType"] == {"type": "INT64"}
    for value in ([], [1, "a"], object(), {"a": 1}):
        with pytest.raises(InputError, match="`a`"):
            parameter("a", value)


@pytest.mark.parametrize(
    ("arrow", "word"),
    [
        (pa.uint64(), "numeric(20,0)"), (pa.decimal128(38, 9), "numeric(38,9)"),
        (pa.decimal128(30, 10), "bignumeric(30,10)"),
        (pa.decimal128(38, 0), "bignumeric(38,0)"), (pa.timestamp("us"), "datetime"),
        (pa.timestamp("us", "UTC"), "timestamp"),
        (pa.float32(), "float64"), (pa.int8(), "int64"),
    ],
)  # fmt: skip
def test_a_new_column_has_a_type_without_loss(arrow: pa.DataType, word: str) -> None:
    assert word_for(BIGQUERY, pa.field("a", arrow)) == word
    assert kind_of(BIGQUERY, word).family != "other"
    assert sqlglot.parse_one(f"CREATE TABLE t (a {word})", read="bigquery").find(exp.ColumnDef)


def rows(**columns: Any) -> pa.RecordBatchReader:
    return pa.table(columns).to_reader()


def read(connector: BigQuery, name: str) -> list[dict[str, Any]]:
    with connector.rows(name) as reader:
        return sorted(reader.read_all().to_pylist(), key=str)


def test_rows_are_appended_replaced_and_merged(connector: BigQuery, server: FakeBigQuery) -> None:
    assert isinstance(connector, CanWriteRows)
    far = pa.array([NAIVE, None], pa.timestamp("us"))
    done = connector.write_rows("t", rows(k=[1, 2], v=["a", None], at=far, b=[b"\0", b"'"]), AppendRows())
    assert (done.rows, done.created) == (2, True)
    done = connector.write_rows("t", rows(k=[2, 3], v=["x", "y"]), UpsertRows(keys="k"))
    assert (done.inserted, done.updated) == (1, 1)
    assert [(row["k"], row["v"], row["at"]) for row in read(connector, "t")] == [
        (1, "a", NAIVE),
        (2, "x", None),
        (3, "y", None),
    ]
    first = ReplaceRows(where=((Comparison("k", "in", (1, 2)),), (Comparison("v", "=", "nothing"),)))
    assert connector.write_rows("shop.t", rows(k=[9], v=["z"]), first).rows == 1
    assert [row["k"] for row in read(connector, "t")] == [3, 9]
    assert connector.write_rows("acme.shop.t", rows(k=[7], v=["q"]), ReplaceRows()).rows == 1
    assert [row["k"] for row in read(connector, "t")] == [7]
    assert server.tables() == ["t"], "what was staged is dropped"


def test_a_batch_is_appended_once(connector: BigQuery, server: FakeBigQuery) -> None:
    for repeated in (False, True):
        assert connector.write_rows("t", rows(k=[1]), AppendRows(once="monday")).repeated is repeated
    connector.write_rows("t", rows(k=[1]), AppendRows(once="tuesday"))
    connector.write_rows("u", rows(k=[1]), AppendRows(once="monday"))
    assert (connector.count_rows("t"), connector.count_rows("u")) == (2, 1)
    assert len([name for name in server.jobs if name.startswith("fuse_once_")]) == 3


def test_two_writers_of_one_batch_write_it_once(connector: BigQuery) -> None:
    connector.write_rows("t", rows(k=[0]), AppendRows())
    found: list[Any] = []

    def write() -> None:
        found.append(connector.write_rows("t", rows(k=[1]), AppendRows(once="same")))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.repeated for one in found) == [False, True, True, True]
    assert connector.count_rows("t") == 2


def test_a_job_that_failed_is_done_by_another(connector: BigQuery, server: FakeBigQuery) -> None:
    connector.write_rows("t", rows(k=[1]), AppendRows())
    server.refuse["INSERT"] = "accessDenied"
    with pytest.raises(StoreError, match=r"forbids this.*Data Editor"):
        connector.write_rows("t", rows(k=[2]), AppendRows(once="a"))
    assert connector.count_rows("t") == 1
    assert connector.write_rows("t", rows(k=[2]), AppendRows(once="a")).rows == 1
    assert connector.write_rows("t", rows(k=[2]), AppendRows(once="a")).repeated
    assert connector.count_rows("t") == 2
    assert server.tables() == ["t"]


@pytest.mark.parametrize("how", [ReplaceRows(), ReplaceRows(where=((Comparison("k", "=", 1),),)), UpsertRows(keys="k")])
def test_what_breaks_off_leaves_the_old_rows(connector: BigQuery, server: FakeBigQuery, how: Any) -> None:
    connector.write_rows("t", rows(k=[1], v=["a"]), AppendRows())
    server.refuse["INSERT"] = "quotaExceeded"
    with pytest.raises(StoreUnavailableError, match="busy"):
        connector.write_rows("t", rows(k=[1], v=["b"]), how)
    assert read(connector, "t") == [{"k": 1, "v": "a"}]


def test_a_statement_that_fails_behind_another_takes_that_back(connector: BigQuery, server: FakeBigQuery) -> None:
    connector.write_rows("t", rows(k=[1]), AppendRows())
    server.breaks = "insert"
    with pytest.raises(StoreUnavailableError, match="broke the connection off"):
        connector.write_rows("t", rows(k=[2]), ReplaceRows())
    assert (server.breaks, read(connector, "t"), server.tables()) == ("", [{"k": 1}], ["t"])


def test_a_job_that_nobody_may_ask_about_is_in_doubt(connector: BigQuery, server: FakeBigQuery) -> None:
    connector.write_rows("t", rows(k=[1]), AppendRows())
    server.silent = "jobs"
    with pytest.raises(OutcomeUnknownError, match="`fuse_"):
        connector.write_rows("t", rows(k=[2]), AppendRows())
    assert connector.count_rows("t") == 2
    with pytest.raises(StoreError, match="forbids this"):
        connector.write_rows("t", rows(k=[3]), AppendRows(once="a"))
    assert connector.count_rows("t") == 2, "whether the batch is there can't be asked"


def test_a_job_whose_answer_can_not_be_read_is_asked_itself(connector: BigQuery, server: FakeBigQuery) -> None:
    connector.write_rows("t", rows(k=[1]), AppendRows())
    server.silent = "queries"
    for repeated in (False, True):
        assert connector.write_rows("t", rows(k=[2]), AppendRows(once="a")).repeated is repeated
    assert connector.count_rows("t") == 2


def test_what_is_left_of_the_way_is_no_failure(
    connector: BigQuery, server: FakeBigQuery, caplog: pytest.LogCaptureFixture
) -> None:
    server.sticky = True
    assert connector.write_rows("t", rows(k=[1]), AppendRows()).rows == 1
    assert "left until tomorrow" in caplog.text
    assert [name for name in server.tables() if name.startswith("_fuse_")]
    server.breaks = "insert"
    with pytest.raises(StoreUnavailableError):
        connector.write_rows("t", rows(k=[2]), AppendRows())
    assert connector.count_rows("t") == 1


def test_an_answer_that_is_lost_is_looked_up_and_not_repeated(connector: BigQuery, server: FakeBigQuery) -> None:
    connector.write_rows("t", rows(k=[1]), AppendRows())
    for number, once in enumerate((None, "a"), start=2):
        server.lose = ["INSERT INTO"]
        done = connector.write_rows("t", rows(k=[number]), AppendRows(once=once))
        assert (done.rows, done.repeated) == (1, False), "what came first was its own"
        assert server.lose == [], "it was lost"
        assert connector.count_rows("t") == number


def test_fewer_rows_than_sent_are_no_success(connector: BigQuery, server: FakeBigQuery) -> None:
    connector.write_rows("t", rows(k=[1]), AppendRows())
    server.short = 1
    with pytest.raises(StoreError, match=r"took 1 of 2 rows\. Nothing is written"):
        connector.write_rows("t", rows(k=[2, 3]), ReplaceRows())
    assert connector.count_rows("t") == 1


def test_keys_and_columns_that_do_not_fit_are_refused(connector: BigQuery, run: Callable[..., None]) -> None:
    connector.write_rows("t", rows(k=[1], v=["a"]), AppendRows())
    for keys in ([1, 1], [None, 2]):
        with pytest.raises(KeyValueError):
            connector.write_rows("t", rows(k=pa.array(keys, pa.int64()), v=["a", "b"]), UpsertRows(keys="k"))
    with pytest.raises(SchemaError, match="no column `K`"):
        connector.write_rows("t", rows(K=[1]), AppendRows())
    with pytest.raises(SchemaError, match="no key column `x`"):
        connector.write_rows("t", rows(k=[1]), UpsertRows(keys="x"))
    run("CREATE TABLE m (n NUMERIC(4, 2))")
    with pytest.raises(InputError, match="can't take without loss"):
        connector.write_rows("m", rows(n=pa.array([decimal.Decimal("1.234")])), AppendRows())
    run("CREATE TABLE a (l ARRAY<INT64>)")
    with pytest.raises(InputError, match="ARRAY<INT64>, into which rows are not loaded"):
        connector.write_rows("a", rows(l=["[1]"]), AppendRows())
    with pytest.raises(ConfigError, match="begins like the tables"):
        connector.write_rows("_fuse_x", rows(k=[1]), AppendRows())


def test_odd_names_are_written_and_others_refused(connector: BigQuery, server: FakeBigQuery) -> None:
    connector.write_rows("guarded", rows(a=[1]), AppendRows())
    for name in GOOD:
        connector.write_rows(name, pa.table({name: [1], "v": ["'"]}).to_reader(), UpsertRows(keys=[name]))
        assert read(connector, name) == [{name: 1, "v": "'"}]
    for name in BAD:
        with pytest.raises(ConfigError):
            connector.write_rows(written([name]) if name else name, rows(a=[1]), AppendRows())
    for name in ("a`; DROP TABLE guarded; --", "a\\`b", "a\nb", ""):
        with pytest.raises(FuseError):
            connector.write_rows("new", pa.table({name: [1]}).to_reader(), AppendRows())
    assert connector.count_rows("guarded") == 1
    for text in server.asked:
        for tree in sqlglot.parse(text, read="bigquery"):
            assert tree is not None
            assert not isinstance(tree, exp.Drop)


def test_costs_are_looked_at_before(other: Callable[..., BigQuery], server: FakeBigQuery) -> None:
    server.run("CREATE TABLE t (a INT64)")
    server.bytes = 5_000_000
    assert other().estimate("SELECT * FROM t WHERE a = :a", {"a": 1}) == 5_000_000
    assert server.asked == [], "a dry run only"
    with (
        pytest.raises(InputError, match=r"would read more than is allowed.*raise `maximum_bytes_billed`"),
        other(maximum_bytes_billed=1000).query("SELECT * FROM t"),
    ):
        pass
    with other(maximum_bytes_billed=10**7, labels={"team": "data"}).query("SELECT * FROM t") as reader:
        assert reader.read_all().num_rows == 0
    config = list(server.jobs.values())[-1]["configuration"]
    assert (config["labels"], config["query"]["maximumBytesBilled"]) == ({"team": "data"}, "10000000")
    with pytest.raises(InputError, match="One SELECT"):
        other().estimate("DELETE FROM t WHERE TRUE")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"project": ""}, "needs a name"),
        ({"project": "https://acme"}, "without a scheme"),
        ({"maximum_bytes_billed": -1}, "no limit"),
        ({"service_account": "key.json", "endpoint": "http://10.0.0.1"}, "in the clear"),
        ({"page_rows": 0}, "page_rows"),
        ({"statement_timeout": 0}, "no time to wait"),
    ],
)
def test_fields_that_do_not_go_together_are_said(
    other: Callable[..., BigQuery], given: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        other(**given)


def test_a_table_needs_its_dataset(other: Callable[..., BigQuery], server: FakeBigQuery) -> None:
    server.run("CREATE TABLE shop.t (a INT64)")
    free = other(dataset="")
    assert list(free.names()) == ["shop.t"]
    assert free.count_rows("shop.t") == free.count_rows("acme.shop.t") == 0
    with pytest.raises(ConfigError, match=r"`t` needs its dataset: write `dataset\.t`"):
        free.count_rows("t")
    assert free.answer().startswith("BigQuery")
    with pytest.raises(NotThereError):
        other(dataset="nowhere").answer()


def test_a_key_that_is_none_is_not_shown(other: Callable[..., BigQuery], tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text(json.dumps({"type": "service_account", "private_key": "s3cr3t"}))
    for given in ("s3cr3t-no-path", '{"private_key": "s3cr3t"}', '{"s3cr3t', str(tmp_path / "key.json")):
        with pytest.raises(ConfigError, match="no key of a service account") as caught:
            other(service_account=given).answer()
        assert "s3cr3t" not in f"{caught.value!r} {caught.value.__cause__}"


def test_a_server_that_is_not_there_is_said(other: Callable[..., BigQuery]) -> None:
    with pytest.raises(StoreUnavailableError, match=r"`bigquery://acme/shop` can't be reached. Check `endpoint`"):
        other(endpoint="http://127.0.0.1:1", connect_timeout=1.0).answer()


@pytest.mark.parametrize(
    ("reason", "error"),
    [("accessDenied", StoreError), ("quotaExceeded", StoreUnavailableError), ("notFound", NotThereError),
     ("authError", CredentialsError), ("invalidQuery", InputError)],
)  # fmt: skip
def test_its_reasons_become_our_errors(
    connector: BigQuery, server: FakeBigQuery, reason: str, error: type[Exception]
) -> None:
    server.refuse["SELECT 7"] = reason
    with pytest.raises(error, match="bigquery://acme/shop") as caught, connector.query("SELECT 7 AS a") as reader:
        reader.read_all()
    assert "http://" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["DELETE FROM t WHERE TRUE", "SELECT 1; DROP TABLE t", "CALL p()", "BEGIN DELETE FROM t WHERE TRUE; END", "",
     "EXPORT DATA OPTIONS(uri='gs://x') AS SELECT 1", "DECLARE x INT64", "SELECT 'a", "FROM t |> INSERT INTO u",
     "/* /* */ DROP TABLE t -- */ SELECT 1", "/* /* */ DROP TABLE t; /* */ */ SELECT 1", "SELECT 1 --\r; DROP TABLE t"],
)  # fmt: skip
def test_what_could_change_something_is_not_sent(connector: BigQuery, server: FakeBigQuery, text: str) -> None:
    with pytest.raises(InputError), connector.query(text):
        pass
    assert server.asked == []
