from __future__ import annotations

import datetime as dt
import decimal
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import duckdb
import pyarrow as pa
import pytest

from fuse_dagster import DuckDB
from fuse_dagster.connectors.duckdb import SETTINGS
from fuse_dagster.core.errors import InputError, StoreError, StoreUnavailableError
from fuse_dagster.testing.databases import DatabaseContract

if TYPE_CHECKING:
    from collections.abc import Callable

NAIVE = dt.datetime.fromisoformat("2024-01-01T00:00:00")


@pytest.fixture
def connector(tmp_path: Path) -> DuckDB:
    file = tmp_path / "shop.duckdb"
    duckdb.connect(str(file), config=SETTINGS).close()
    return DuckDB(path=str(file))


@pytest.fixture
def run(connector: DuckDB) -> Callable[..., None]:
    def statements(*texts: str) -> None:
        with duckdb.connect(connector.path, config=SETTINGS) as others:
            for text in texts:
                others.execute(text)

    return statements


class TestDuckDB(DatabaseContract):
    schema = "main"
    types: ClassVar = [
        ("TINYINT", "-1", pa.int8(), -1),
        ("UBIGINT", "18446744073709551615", pa.uint64(), 2**64 - 1),
        ("HUGEINT", "12345678901234567890123", pa.decimal128(38, 0), decimal.Decimal(12345678901234567890123)),
        ("DECIMAL(38,10)", "1.5", pa.decimal128(38, 10), decimal.Decimal("1.5")),
        ("DOUBLE", "'nan'::DOUBLE + 1.5 - 'nan'::DOUBLE IS NULL", pa.float64(), 0.0),
        ("BOOLEAN", "true", pa.bool_(), True),
        ("BLOB", r"'\x00a'", pa.binary(), b"\0a"),
        ("UUID", "'A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11'", pa.string(), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("JSON", """'{"a": [1]}'""", pa.string(), '{"a": [1]}'),
        ("INTERVAL", "INTERVAL '14 months 3 days'", pa.string(), "1 year 2 months 3 days"),
        ("ENUM('x', 'y')", "'y'", pa.string(), "y"),
        ("BIT", "'0101'", pa.string(), "0101"),
        ("DATE", "'0001-01-01'", pa.date32(), dt.date(1, 1, 1)),
        ("TIME", "'23:59:59.999999'", pa.time64("us"), dt.time(23, 59, 59, 999999)),
        ("TIMETZ", "'10:00:00+02'", pa.string(), "10:00:00+02"),
        (
            "TIMESTAMP",
            "'9999-12-31 23:59:59.999999'",
            pa.timestamp("us"),
            NAIVE.replace(9999, 12, 31, 23, 59, 59, 999999),
        ),
        ("TIMESTAMP_S", "'2024-01-01 00:00:01'", pa.timestamp("us"), NAIVE.replace(second=1)),
        (
            "TIMESTAMPTZ",
            "'2024-07-01 02:00:00+02'",
            pa.timestamp("us", tz="UTC"),
            dt.datetime(2024, 7, 1, tzinfo=dt.UTC),
        ),
        ("INTEGER[]", "[1, NULL]", pa.list_(pa.field("l", pa.int32())), [1, None]),
        (
            'STRUCT("a b" INTEGER, i UUID)',
            "{'a b': 1, 'i': 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'}",
            pa.struct([("a b", pa.int32()), ("i", pa.string())]),
            {"a b": 1, "i": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
        ),
    ]
    refused: ClassVar = [
        ("DATE", "'infinity'"),
        ("DATE", "'-infinity'"),
        ("TIMESTAMP", "'-infinity'"),
        ("TIMESTAMPTZ", "'infinity'"),
        ("TIME", "'24:00:00'"),
        ("TIMESTAMP[]", "['infinity'::TIMESTAMP]"),
    ]


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no such database.*reading makes no file"):
        DuckDB(path=str(tmp_path / "absent.duckdb")).answer()
    assert not list(tmp_path.iterdir())


def test_a_file_of_another_kind_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "a.duckdb").write_bytes(b"no database " * 1000)
    with pytest.raises(StoreUnavailableError, match="Check `path`"):
        DuckDB(path=str(tmp_path / "a.duckdb")).answer()


def test_its_sql_reaches_no_file_and_no_variable(connector: DuckDB, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    secret = pa.table({"a": [1]})
    assert secret.num_rows
    for question in (f"SELECT * FROM '{tmp_path}/secret.csv'", "SELECT * FROM secret", "ATTACH 'x.duckdb'"):
        with pytest.raises((InputError, FileNotFoundError)), connector.query(question) as reader:
            reader.read_all()
