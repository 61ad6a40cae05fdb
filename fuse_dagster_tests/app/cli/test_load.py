"""`fuse load`: what is new in a connection, once, by every kind of source and every mode."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fuse_dagster.app.cli import exits, progress
from fuse_dagster.app.envelope import Kind
from fuse_dagster.app.loading import window_of
from fuse_dagster.core.errors import ConfigError
from fuse_dagster.engines.local.reading import scan
from fuse_dagster.ingest import TableSource, Window
from fuse_dagster.tables import current
from fuse_dagster_tests.app.cli.conftest import Fuse, Said, on_a_terminal
from fuse_dagster_tests.ingest.shop import Shop
from fuse_dagster_tests.servers.rest import RestServer, rest_server

ORDERS = ("load", "shop", "orders", "lake/orders", "--cursor", "changed")


@pytest.fixture(scope="module")
def rest() -> Iterator[RestServer]:
    with rest_server() as server:
        yield server


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rest: RestServer) -> None:
    """A database of two orders, a folder, an API and a broker that nobody asks."""
    monkeypatch.chdir(tmp_path)
    with closing(sqlite3.connect("shop.db")) as made:
        made.execute("CREATE TABLE orders (id INTEGER NOT NULL, changed INTEGER, name TEXT)")
        made.commit()
    change("INSERT INTO orders VALUES (1, 10, 'a'), (2, 20, 'b')")
    paging = "{style: token, parameter: token, found_at: next_token}"
    (tmp_path / "fuse.yaml").write_text(
        f"""
profiles:
  dev:
    connections:
      shop: {{type: sqlite, path: shop.db}}
      lake: {{type: local, root: lake}}
      landing: {{type: local, root: landing}}
      graph: {{type: sparql, base_url: "https://a.example/sparql"}}
      stream: {{type: kafka, bootstrap_servers: "a.example:9092"}}
      api:
        type: rest
        base_url: {rest.url}
        allow_http: true
        endpoints:
          flights: {{path: token/x, records: items, columns: {{id: int64, at: int64}}, paging: {paging}}}
"""
    )


def change(*statements: str) -> None:
    with closing(sqlite3.connect("shop.db")) as shop:
        for statement in statements:
            shop.execute(statement)
        shop.commit()


def rows(table: str = "lake/orders") -> list[Any]:
    return sorted(scan(table).select("id", "changed", "name").collect().rows())


def test_a_load_goes_on_where_the_last_one_ended(fuse: Fuse) -> None:
    first = fuse(*ORDERS, "--json").result
    assert (first["rows"], first["watermark_before"], first["watermark_after"]) == (2, None, "20")
    assert (first["written"]["version"], first["written"]["inserted"], first["rejected"]) == (0, 2, 0)
    change("INSERT INTO orders VALUES (3, 20, 'c')")
    again = fuse(*ORDERS)
    assert "Loaded 1 row in version 1." in again.out
    assert again.err.splitlines() == ["load orders of shop into lake/orders"]
    assert "Loaded 0 rows; nothing had to be written." in fuse(*ORDERS).out
    assert rows() == [(1, 10, "a"), (2, 20, "b"), (3, 20, "c")]


def test_late_rows_come_within_the_lag_and_columns_can_be_chosen(fuse: Fuse) -> None:
    words = (*ORDERS, "--lag", "15", "-o", "columns=id,changed")
    assert fuse(*words, "--json").result["rows"] == 2
    change("INSERT INTO orders VALUES (3, 6, 'late'), (4, 4, 'too late')")
    assert fuse(*words, "--json").result["rows"] == 1
    assert sorted(scan("lake/orders").collect().rows()) == [(1, 10), (2, 20), (3, 6)]


def test_a_query_is_loaded_under_its_name(fuse: Fuse) -> None:
    words = ("load", "shop", "big", "lake/orders", "--query", "SELECT * FROM orders WHERE id > 1", "--cursor", "id")
    assert fuse(*words, "--json").result["rows"] == 1
    assert fuse(*words, "--json").result["rows"] == 0
    assert rows() == [(2, 20, "b")]


def test_an_upsert_takes_changes_and_a_full_refresh_takes_all_again(fuse: Fuse) -> None:
    words = (*ORDERS, "--mode", "upsert", "--keys", "id")
    assert fuse(*words).code == exits.OK
    change("UPDATE orders SET name = 'B', changed = 30 WHERE id = 2", "UPDATE orders SET name = 'A' WHERE id = 1")
    found = fuse(*words, "--json").result
    assert (found["rows"], found["written"]["updated"]) == (1, 1)
    assert rows() == [(1, 10, "a"), (2, 30, "B")]
    found = fuse(*words, "--full-refresh", "--json").result
    assert (found["rows"], found["watermark_before"]) == (2, None)
    assert rows() == [(1, 10, "A"), (2, 30, "B")]


def test_an_append_by_keys_takes_each_key_once_and_a_full_refresh_replaces(fuse: Fuse) -> None:
    assert fuse(*ORDERS, "--keys", "id").code == exits.OK
    change("UPDATE orders SET changed = 30")
    assert fuse(*ORDERS, "--keys", "id", "--json").result["written"]["inserted"] == 0
    change("DELETE FROM orders WHERE id = 1")
    assert fuse(*ORDERS, "--full-refresh", "--json").result["rows"] == 1
    assert rows() == [(2, 30, "b")]


def test_an_overwrite_reads_all_each_time_or_replaces_a_window(fuse: Fuse) -> None:
    words = (*ORDERS, "--mode", "overwrite")
    for _ in range(2):
        assert fuse(*words, "--json").result["rows"] == 2
    change("INSERT INTO orders VALUES (3, 20, 'c'), (4, 21, 'd')", "UPDATE orders SET name = 'x' WHERE id = 1")
    found = fuse(*words, "--window", "20..21", "--json").result
    assert (found["rows"], found["watermark_after"]) == (2, "20")
    assert rows() == [(1, 10, "a"), (2, 20, "b"), (3, 20, "c")]
    change("UPDATE orders SET name = 'y'")
    assert fuse(*words, "--window", "10..11", "--window", "21..30", "--json").result["rows"] == 2
    assert rows() == [(1, 10, "y"), (2, 20, "b"), (3, 20, "c"), (4, 21, "y")]


def test_a_history_keeps_versions_and_remembers_its_keys(fuse: Fuse) -> None:
    assert fuse(*ORDERS, "--mode", "history", "--keys", "id").code == exits.OK
    change("UPDATE orders SET name = 'B', changed = 30 WHERE id = 2")
    found = fuse(*ORDERS, "--mode", "history", "--json").result
    assert (found["rows"], found["written"]["updated"]) == (1, 1)
    held = current("lake/orders").select("id", "name").collect()
    assert sorted(held.rows()) == [(1, "a"), (2, "B")]
    assert scan("lake/orders").collect().height == 3


def test_a_history_of_whole_snapshots_ends_what_is_gone(fuse: Fuse) -> None:
    words = (*ORDERS, "--mode", "history", "--keys", "id", "--deletes", "close")
    assert fuse(*words).code == exits.OK
    change("DELETE FROM orders WHERE id = 1")
    found = fuse(*words, "--json").result
    assert (found["rows"], found["written"]["closed"]) == (1, 1)


def test_a_history_of_changes_takes_its_operations(fuse: Fuse) -> None:
    change("ALTER TABLE orders ADD COLUMN at TEXT", "UPDATE orders SET at = '2024-01-0' || id")
    query = "SELECT id, changed, name, at FROM orders"
    words = ["load", "shop", "log", "lake/log", "--query", query, "--cursor", "changed", "--mode", "history"]
    words += ["--keys", "id", "--source", "changes", "--effective-column", "at", "--delete-when", "name = 'gone'"]
    refused = fuse(*words, "--json")  # SQLite has no times
    assert refused.error["kind"] == Kind.INPUT
    assert "at" in refused.error["message"]


@pytest.mark.parametrize("mode", ["upsert", "history"])
def test_keys_are_compared_where_loads_bring_only_what_is_new(fuse: Fuse, mode: str) -> None:
    words = (*ORDERS, "--mode", mode, "--keys", "id", "--compare-keys")
    assert fuse(*ORDERS, "--mode", mode, "--keys", "id").code == exits.OK
    assert "Nothing is gone" in fuse(*words).out
    change("DELETE FROM orders WHERE id = 1", "INSERT INTO orders VALUES (3, 1, 'never seen')")
    refused = fuse(*words, "--max-delete-fraction", "0.1", "--json")
    assert (refused.error["type"], refused.code) == ("DeleteGuardError", exits.CODES[Kind.INPUT])
    found = fuse(*words, "--json").result
    assert (found["keys_gone"], found["keys_only_in_source"], found["written"]["closed"]) == (1, 1, 1)
    held = current("lake/orders") if mode == "history" else scan("lake/orders")
    assert held.collect()["id"].to_list() == [2]


def test_files_of_a_folder_come_once_and_broken_ones_are_put_aside(fuse: Fuse, tmp_path: Path) -> None:
    folder = tmp_path / "landing" / "flights"
    folder.mkdir(parents=True)
    (folder / "AA_20240101.csv").write_text("n,delay\n1,2\n")
    (folder / "UA_20240101.csv").write_text("n,delay\n1\n")
    words = ["load", "landing", "flights", "bronze/flights", "--connection", "lake", "-o", "settle=0"]
    words += ["-o", "name={carrier}_{day:%Y%m%d}.csv", "-o", "metadata=path", "-o", "after=move"]
    said = fuse(*words, "--json")
    assert (said.result["rows"], said.result["rejected"]) == (1, 1)
    assert said.result["progress"] == {
        "files_loaded": 1,
        "file_bytes": 12,
        "files_broken": 1,
        "files_known": 0,
        "files_waiting": 0,
    }
    assert said.result["uri"] == str(tmp_path / "lake" / "bronze" / "flights")
    assert "1 could not be taken" in said.err
    assert "bronze/flights__rejected" in said.err
    (folder / "LH_20240101.csv").write_text("n,delay\n1,2\n")  # the content that was loaded
    (folder / "LX_20240101.csv.part").write_text("n")
    again = fuse(*words)
    assert "Loaded 0 rows" in again.out
    shown = [line for line in again.out.splitlines() if line.startswith("files")]
    assert [line.split() for line in shown] == [
        ["files", "loaded", "0"],
        ["files", "broken", "0"],
        ["files", "known", "1"],
        ["files", "waiting", "1"],
    ]
    assert scan("lake/bronze/flights").select("carrier", "n").collect().rows() == [("AA", 1)]
    assert (folder / "_done" / "AA_20240101.csv").is_file()


def test_an_endpoint_is_asked_for_what_is_new(fuse: Fuse, rest: RestServer) -> None:
    rest.reset()
    rest.rows += [{"id": 1, "at": 5}, {"id": 2, "at": 6}]
    words = ("load", "api", "flights", "lake/flights", "--cursor", "at", "-o", "since=from")
    assert fuse(*words, "--json").result["rows"] == 2
    rest.rows.append({"id": 3, "at": 6})
    assert fuse(*words, "--json").result["rows"] == 1
    assert scan("lake/flights").collect()["id"].sort().to_list() == [1, 2, 3]


@pytest.mark.parametrize(
    ("words", "kind", "says"),
    [
        (("shop", "orders"), "config", "--cursor updated_at"),
        (("shop", "orders", "--cursor", "chnged"), "input", "chnged"),
        (("shop", "orders", "--cursor", "changed", "--lag", "soon"), "config", "as 5m"),
        (("shop", "orders", "--cursor", "changed", "-o", "nullcursor=skip"), "config", "null_cursor"),
        (("shop", "orders", "--cursor", "changed", "-o", "null_cursor=what"), "config", "valid: error, skip, include"),
        (("shop", "nothing", "--cursor", "id"), "not_found", "nothing"),
        (("shp", "orders", "--cursor", "changed"), "config", "`shop`"),
        (("shop", "orders", "--cursor", "changed", "--mode", "upsert"), "usage", "--keys"),
        (("shop", "orders", "--cursor", "changed", "--mode", "history"), "usage", "--keys"),
        (("shop", "orders", "--cursor", "changed", "--delete-when", "id = 1"), "usage", "--mode append"),
        (("shop", "orders", "--cursor", "changed", "--mode", "overwrite", "--keys", "id"), "usage", "`--keys`"),
        (("shop", "orders", "--cursor", "changed", "--mode", "replace"), "usage", "replace"),
        (("shop", "orders", "--cursor", "changed", "--window", "1"), "config", "two values"),
        (("shop", "orders", "--cursor", "changed", "--window", "2..1"), "config", "ends where it begins"),
        (("shop", "orders", "--cursor", "changed", "--window", "a..b"), "config", "int64"),
        (("shop", "orders", "--cursor", "name", "--window", "a..b"), "config", "no window"),
        (("shop", "orders", "--cursor", "changed", "--window", "1..2"), "config", "would double"),
        (("shop", "orders", "--cursor", "changed", "--window", "1..2", "--full-refresh"), "usage", "keep one"),
        (("shop", "orders", "--cursor", "changed", "--compare-keys", "--full-refresh"), "usage", "keep one"),
        (("shop", "orders", "--cursor", "changed", "--compare-keys"), "config", "knows no keys"),
        (("stream", "orders", "--mode", "upsert", "--keys", "id", "--compare-keys"), "config", "can't list its keys"),
        (("shop", "orders", "--cursor", "changed", "-o", "columns"), "usage", "old=new"),
        (("shop", "orders", "--cursor", "changed", "-o", "reread=5"), "config", "would double"),
        (("api", "flights", "--cursor", "at"), "config", "-o since=updated_since"),
        (("api", "flight", "--cursor", "at", "-o", "since=x"), "config", "`flights`"),
        (("api", "flights", "--cursor", "at", "-o", "since=x", "-o", "format=unix"), "config", "epoch_seconds"),
        (("api", "flights", "--query", "SELECT 1"), "config", "--query"),
        (("stream", "orders", "--cursor", "at"), "config", "offsets"),
        (("stream", "orders", "--lag", "5m"), "config", "offsets"),
        (("stream", "orders", "-o", "value=xml"), "config", "raw"),
        (("stream", "orders", "-o", "start=soon"), "config", "earliest"),
        (("stream", "orders", "-o", "max_messages=few"), "config", "whole number"),
        (("stream", "orders", "-o", "headers=maybe"), "config", "true"),
        (("stream", "orders", "--window", "1..2"), "config", "only=0:100-200"),
        (("landing", "flights", "--cursor", "at"), "config", "contents of files"),
        (("landing", "flights", "-o", "settle=long"), "config", "seconds"),
        (("landing", "flights", "-o", "afer=move"), "config", "`after`"),
        (("landing", "flights", "--window", "1..2"), "config", "for a database"),
        (("graph", "anything"), "config", "can't be loaded"),
    ],
)
def test_what_cannot_be_loaded_is_said_before_anything_is_written(
    fuse: Fuse, tmp_path: Path, words: tuple[str, ...], kind: str, says: str
) -> None:
    said: Said = fuse("load", *words[:2], "lake/orders", *words[2:], "--json")
    assert (said.error["kind"], said.code) == (kind, exits.CODES[Kind(kind)]), said.out
    assert says in said.error["message"]
    assert not (tmp_path / "lake").exists()


def test_drift_is_refused_where_it_is_to_be(fuse: Fuse) -> None:
    assert fuse(*ORDERS).code == exits.OK
    change("ALTER TABLE orders ADD COLUMN size INTEGER", "INSERT INTO orders VALUES (3, 30, 'c', 1)")
    said = fuse(*ORDERS, "--drift", "refuse", "--json")
    assert (said.error["kind"], rows()[-1]) == ("input", (2, 20, "b"))
    assert fuse(*ORDERS, "--json").result["drift"] == ["size: int64 is new"]


ATTACKS = ('orders"; DROP TABLE orders; --', "orders' OR 1=1 --", "id) OR (1=1", ":fuse_upper", "a\\", 'x".id')


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_word_of_the_command_line_becomes_sql(fuse: Fuse, attack: str) -> None:
    for words in (
        (attack, "lake/x", "--cursor", "changed"),
        ("orders", "lake/x", "--cursor", attack),
        ("orders", "lake/x", "--cursor", "changed", "-o", f"columns=changed,{attack}"),
        ("orders", "lake/x", "--cursor", "changed", "--mode", "overwrite", "--window", f"1..{attack}"),
    ):
        said = fuse("load", "shop", *words, "--json")
        assert said.code in {exits.CODES[Kind.INPUT], exits.CODES[Kind.NOT_FOUND], exits.CODES[Kind.CONFIG]}, said.out
        assert not Path("lake").exists()
    assert fuse(*ORDERS, "--json").result["rows"] == 2


def test_no_secret_is_shown_of_what_was_asked(fuse: Fuse) -> None:
    """Neither where a load goes well, nor in what is said of it on the way, nor where it fails."""
    there = "lake/x?sig=geheim"
    for words in (("orders", there, "--cursor", "changed"), ("nothing?token=geheim", there, "--cursor", "changed")):
        for how in ((), ("--json",), ("--debug",)):
            said = fuse("load", "shop", *words, *how)
            assert (said.code == exits.OK) == (words[0] == "orders")
            assert "geheim" not in said.out + said.err
            assert "***" in said.out + said.err


def test_windows_are_read_in_the_type_of_the_cursor() -> None:
    shop = Shop("CREATE TABLE t (d DATE, z TIMESTAMPTZ, n TIMESTAMP, m DECIMAL(9, 2))")
    utc = dt.UTC

    def bounds(cursor: str, text: str) -> tuple[Any, Any]:
        part, _ = window_of(TableSource(database=shop, table="t", cursor=cursor), [text])
        assert isinstance(part, TableSource)
        assert isinstance(part.window, Window)
        return part.window.start, part.window.end

    assert bounds("d", "2024-01-01..2024-02-01") == (dt.date(2024, 1, 1), dt.date(2024, 2, 1))
    assert bounds("z", "2024-01-01..2024-01-02T10:00:00+02:00") == (
        dt.datetime(2024, 1, 1, tzinfo=utc),
        dt.datetime(2024, 1, 2, 8, tzinfo=utc),
    )
    assert bounds("n", "2024-01-01..2024-01-01T12:00") == (dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 1, 12))  # noqa: DTZ001
    assert bounds("m", "1.5..2") == (Decimal("1.5"), Decimal(2))
    for cursor, text, says in (
        ("z", "2024-01-01T10:00..2024-01-02", "has no zone"),
        ("n", "2024-01-01T10:00Z..2024-01-02", "has a zone"),
        ("d", "2024-13-01..2024-02-01", "no value"),
        ("m", "1,5..2", "no value"),
    ):
        with pytest.raises(ConfigError, match=says):
            bounds(cursor, text)


def test_a_terminal_shows_the_result_without_leftovers(tmp_path: Path) -> None:
    shown = on_a_terminal(*ORDERS)
    assert "Loaded 2 rows in version 0." in shown
    assert pl.read_delta("lake/orders").height == 2


def test_lines_are_written_off_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.counting("load orders", every=0) as told:
        told(1, 10)
        told(2500, 3_000_000)
    assert capsys.readouterr().err.splitlines() == [
        "load orders",
        "load orders: 1 row, 10 B",
        "load orders: 2,500 rows, 2.9 MiB",
    ]
    with progress.counting("load orders") as told:
        told(1, 10)
    assert capsys.readouterr().err.splitlines() == ["load orders"]
