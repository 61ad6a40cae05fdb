"""`fuse read` of what is no lake: by name, by a question, narrowed, counted, and refused."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from fuse_dagster.app.cli import exits
from fuse_dagster.app.envelope import Kind
from fuse_dagster_tests.app.cli.conftest import Fuse


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile with a database of 100 orders, and a lake."""
    monkeypatch.chdir(tmp_path)
    with duckdb.connect("shop.duckdb") as made:
        made.execute("CREATE TABLE orders AS SELECT i AS id, (i * 1.5)::DECIMAL(9, 2) AS total FROM range(100) t(i)")
    (tmp_path / "fuse.yaml").write_text(
        "profiles:\n  dev:\n    connections:\n"
        "      shop: {type: duckdb, path: shop.duckdb}\n      lake: {type: local, root: lake}\n"
    )


def test_a_table_is_shown_by_its_name(fuse: Fuse) -> None:
    found = fuse("read", "shop", "main.orders", "-n", "2", "--columns", "total,id", "--json").result
    assert found["rows"] == [{"total": "0.00", "id": 0}, {"total": "1.50", "id": 1}]
    assert (found["format"], found["uri"], found["rows_total"], found["is_all"]) == (
        "duckdb",
        "shop.duckdb",
        None,
        False,
    )
    assert "First 2 rows of more, not counted" in fuse("read", "shop", "orders", "-n", "2").out
    assert fuse("read", "shop", "orders", "-n", "2", "--count", "--json").result["rows_total"] == 100
    assert fuse("--connection", "shop", "read", "orders", "--json").code == 0


def test_rows_are_narrowed_here(fuse: Fuse) -> None:
    found = fuse("read", "shop", "orders", "--where", "total > 147", "--columns", "id", "--json").result
    assert (found["rows"], found["is_all"]) == ([{"id": 99}], True)
    found = fuse("read", "shop", "orders", "--where", "id >= 10", "-n", "3", "--count", "--json").result
    assert (len(found["rows"]), found["rows_total"]) == (3, 90)
    found = fuse(
        "read", "shop", "orders", "--sql", "SELECT count(*) AS n, max(total) AS most FROM data", "--json"
    ).result
    assert found["rows"] == [{"n": 100, "most": "148.50"}]


def test_a_question_is_asked_there(fuse: Fuse) -> None:
    found = fuse("read", "shop", "--query", "SELECT id FROM orders WHERE id > 97 ORDER BY 1", "--json").result
    assert (found["rows"], found["rows_total"], found["is_all"]) == ([{"id": 98}, {"id": 99}], 2, True)
    found = fuse("read", "shop", "--query", "SELECT * FROM orders", "--columns", "id", "-n", "1", "--json").result
    assert (found["rows"], found["is_all"]) == ([{"id": 0}], False)


@pytest.mark.parametrize(
    ("words", "kind", "says"),
    [
        (["shop", "main.ordres"], Kind.NOT_FOUND, "Did you mean `main.orders`"),
        (["shop", "orders", "--columns", "totl"], Kind.INPUT, "Did you mean `total`"),
        (["shop", "orders", "--where", "nothing = 1"], Kind.CONFIG, "nothing"),
        (["shop", "orders", "--version", "1"], Kind.CONFIG, "Delta tables"),
        (["shop", "orders", "--format", "csv"], Kind.USAGE, "--format is for files"),
        (["shop", "--query", "DELETE FROM orders"], Kind.INPUT, "SELECT"),
        (["lake", "--query", "SELECT 1"], Kind.CONFIG, "answers no questions"),
        (["nowhere", "orders"], Kind.CONFIG, "no connection `nowhere`"),
        (["shop", "orders", "--query", "SELECT 1"], Kind.USAGE, "without a path"),
    ],
)
def test_what_cannot_be_shown_is_said(fuse: Fuse, words: list[str], kind: Kind, says: str) -> None:
    said = fuse("read", *words, "--json")
    assert (said.code, said.error["kind"]) == (exits.CODES[kind], kind)
    assert says in said.error["message"]


def test_a_connection_that_holds_rows_is_tried_and_listed(fuse: Fuse) -> None:
    steps = fuse("connections", "test", "shop", "--json").result["steps"]
    assert [(step["what"], step["ok"]) for step in steps] == [("ask shop.duckdb who it is", True)]
    rows = fuse("connections", "list", "--json").result["connections"]
    assert {"connection": "shop", "type": "duckdb", "root": "shop.duckdb"} in rows
    assert "connection shop" in fuse("doctor", "--json").out
    Path("shop.duckdb").unlink()
    said = fuse("connections", "test", "shop")
    assert said.code == exits.CODES[Kind.STORE]
    assert "no such database" in said.out + said.err
