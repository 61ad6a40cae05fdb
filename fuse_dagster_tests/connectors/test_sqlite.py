from __future__ import annotations

import datetime as dt
import decimal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa
import pytest

from fuse_dagster import SQLite
from fuse_dagster.core.errors import InputError, StoreError, StoreUnavailableError
from fuse_dagster.testing.databases import DatabaseContract

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def connector(tmp_path: Path) -> SQLite:
    file = tmp_path / "shop.sqlite"
    with closing(sqlite3.connect(file)) as made:
        made.execute("VACUUM")
    return SQLite(path=str(file))


@pytest.fixture
def run(connector: SQLite) -> Callable[..., None]:
    def statements(*texts: str) -> None:
        with closing(sqlite3.connect(connector.path)) as others, others:
            for text in texts:
                others.execute(text)

    return statements


class TestSQLite(DatabaseContract):
    schema = "main"
    types: ClassVar = [
        ("BIGINT", "9223372036854775807", pa.int64(), 2**63 - 1),
        ("BOOLEAN", "1", pa.bool_(), True),
        ("DECIMAL(10,2)", "9.9", pa.decimal128(10, 2), decimal.Decimal("9.90")),
        ("NUMERIC(38)", "12", pa.decimal128(38, 0), decimal.Decimal(12)),
        ("REAL", "1.5", pa.float64(), 1.5),
        ("DOUBLE PRECISION", "2", pa.float64(), 2.0),
        ("VARCHAR(3)", "'longer than it says'", pa.string(), "longer than it says"),
        ("JSON", "'{}'", pa.string(), "{}"),
        ("BLOB", "x'0061'", pa.binary(), b"\0a"),
        ("DATE", "'0001-01-01'", pa.date32(), dt.date(1, 1, 1)),
        ("TIME", "'23:59:59.999999'", pa.time64("us"), dt.time(23, 59, 59, 999999)),
        ("DATETIME", "'9999-12-31 23:59:59'", pa.timestamp("us"), dt.datetime.fromisoformat("9999-12-31T23:59:59")),
        ("", "1.5", pa.float64(), 1.5),
    ]
    refused: ClassVar = [
        ("INTEGER", "'abc'"),
        ("INTEGER", "1.5"),
        ("BOOLEAN", "2"),
        ("DECIMAL(10,2)", "1.005"),
        ("DECIMAL(10,2)", "'abc'"),
        ("REAL", "'abc'"),
        ("TEXT", "x'00'"),
        ("BLOB", "'text'"),
        ("DATE", "'2024-02-30'"),
        ("DATE", "20240101"),
        ("TIMESTAMP", "'2024-01-01 00:00:00+02:00'"),
        ("TIME", "'25:00'"),
    ]


def test_a_column_without_a_declaration_is_refused_where_it_changes_its_type(
    connector: SQLite, run: Callable[..., None]
) -> None:
    run("CREATE TABLE t (a)", "INSERT INTO t VALUES (1), ('x')")
    with pytest.raises(InputError, match="which can't hold `1`"), connector.rows("t") as reader:
        reader.read_all()


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no such database.*reading makes no file"):
        SQLite(path=str(tmp_path / "absent.sqlite")).answer()
    (tmp_path / "other.sqlite").write_bytes(b"no database " * 1000)
    with pytest.raises(StoreUnavailableError, match="Check `path`"):
        SQLite(path=str(tmp_path / "other.sqlite")).answer()
    assert [file.name for file in tmp_path.iterdir()] == ["other.sqlite"]


def test_its_sql_reaches_no_other_file(connector: SQLite, tmp_path: Path) -> None:
    with pytest.raises(InputError), connector.query(f"ATTACH '{tmp_path}/other.sqlite' AS other"):
        pass
    assert not (tmp_path / "other.sqlite").exists()


def test_a_statement_that_takes_too_long_is_ended(connector: SQLite) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS c FROM n"
    with (
        pytest.raises(StoreUnavailableError, match="raise `statement_timeout`"),
        SQLite(path=connector.path, statement_timeout=0.1).query(endless),
    ):
        pass


HALF = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 5")
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE t SET b = 'new' || b")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_half_a_transaction_of_a_killed_writer_is_taken_back(connector: SQLite, run: Callable[..., None]) -> None:
    run("CREATE TABLE t (b TEXT)")
    run("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) "
        "INSERT INTO t SELECT printf('old%0500d', i) FROM n")  # fmt: skip
    subprocess.run([sys.executable, "-c", HALF, connector.path], check=False)
    assert Path(f"{connector.path}-journal").exists()
    with connector.query("SELECT count(*) AS n, min(substr(b, 1, 3)) AS b FROM t") as reader:
        assert reader.read_all().to_pylist() == [{"n": 2000, "b": "old"}]
