"""Deletes by comparing keys: what a source no longer has ends, what comes back returns, and nothing else moves."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from fuse_dagster.core.errors import ConfigError, ConflictError, DeleteGuardError, SchemaError
from fuse_dagster.engines.local.reading import scan
from fuse_dagster.ingest import ListsKeys, Position, TableSource, load, reconcile_deletes
from fuse_dagster.tables import Append, History, Overwrite, Upsert, WriteMode, as_of, current, write
from fuse_dagster_tests.ingest.shop import Shop

UPSERTS = {
    "plain": Upsert(keys=["id"], max_delete_fraction=None, allow_empty=True),
    "soft": Upsert(keys=["id"], soft_delete="is_deleted", max_delete_fraction=None, allow_empty=True),
    "sequenced": Upsert(
        keys=["id"], soft_delete="is_deleted", sequence_by="stamp", max_delete_fraction=None, allow_empty=True
    ),
    "two keys": Upsert(keys=["id", "part"], when_matched="update", max_delete_fraction=None, allow_empty=True),
}


def shop_of(*more: str) -> Shop:
    return Shop("CREATE TABLE orders (id BIGINT, part VARCHAR, stamp BIGINT, name VARCHAR)", *more)


def source_of(shop: Shop, **more: Any) -> TableSource:
    return TableSource(**{"database": shop, "table": "orders", "cursor": "stamp", **more})


def held(table: Path, mode: WriteMode) -> list[Any]:
    rows = current(table) if isinstance(mode, History) else scan(table)
    if isinstance(mode, Upsert) and mode.soft_delete is not None:
        rows = rows.filter(~pl.col(mode.soft_delete).fill_null(False))
    return sorted(rows.select("id", "part", "stamp", "name").collect().rows())


def asked(shop: Shop) -> list[Any]:
    return sorted(shop.connection.execute("SELECT id, part, stamp, name FROM orders").fetchall())


def change(shop: Shop, chance: random.Random, now: int) -> int:
    """A few keys come, change, go and come back, each with a cursor above all before."""
    for _ in range(chance.randint(0, 6)):
        key, now = chance.randint(0, 9), now + 1
        shop.do(f"DELETE FROM orders WHERE id = {key}")
        if chance.random() < 0.6:
            shop.do(f"INSERT INTO orders VALUES ({key}, 'p', {now}, '{chance.choice('abc')}')")
    return now


@pytest.mark.parametrize("name", UPSERTS)
def test_a_table_is_what_its_source_is_after_each_comparison(tmp_path: Path, name: str) -> None:
    """The oracle is the source itself, which changes at random between loads and comparisons."""
    mode, shop, chance, now = UPSERTS[name], shop_of(), random.Random(name), 0
    source, ended = source_of(shop), 0
    assert isinstance(source, ListsKeys)
    for _ in range(12):
        now = change(shop, chance, now)
        load(source, tmp_path / "orders", mode)
        if chance.random() < 0.5:
            before = held(tmp_path / "orders", mode)
            found = reconcile_deletes(source, tmp_path / "orders", mode)
            assert held(tmp_path / "orders", mode) == asked(shop)
            assert (found.gone, found.in_table) == (len(before) - len(asked(shop)), len(before))
            assert (found.in_source, found.only_in_source, found.at) == (len(asked(shop)), 0, None)
            assert (found.written.version is not None) == (found.gone > 0)
            ended += found.gone
    assert ended > 1
    if name == "sequenced":
        assert scan(tmp_path / "orders").collect()["id"].is_unique().all(), "a mark replaces the row of its key"


HISTORIES: dict[str, History] = {
    "by load": History(keys=["id"], deletes="ignore", restatements="forget", max_delete_fraction=None),
    "by time": History(keys=["id"], deletes="ignore", effective_column="happened", max_delete_fraction=None),
    "changes": History(
        keys=["id"], source="changes", effective_column="happened", sequence_by="stamp", max_delete_fraction=None
    ),
}


@pytest.mark.parametrize("name", HISTORIES)
def test_a_history_ends_what_is_gone_and_reopens_what_returns(tmp_path: Path, name: str) -> None:
    """The oracle keeps, in plain Python, since when each key holds which name, and when it was seen to be gone."""
    shop = Shop("CREATE TABLE orders (id BIGINT, part VARCHAR, stamp BIGINT, name VARCHAR, happened TIMESTAMPTZ)")
    declared, chance = HISTORIES[name], random.Random(name)
    at, stamp = datetime(2024, 1, 1, tzinfo=UTC), 0
    source, table = source_of(shop, columns=["id", "stamp", "name", "happened"]), tmp_path / "orders"
    truth: dict[int, str] = {}
    moments: list[tuple[datetime, dict[int, str]]] = []
    for _ in range(9):
        now: dict[int, str] = dict(shop.connection.execute("SELECT id, name FROM orders").fetchall())
        for _ in range(chance.randint(1, 4)):
            key, stamp, at = chance.randint(0, 6), stamp + 1, at + timedelta(minutes=1)
            shop.do(f"DELETE FROM orders WHERE id = {key}")
            now.pop(key, None)
            if chance.random() < 0.6:
                now[key] = chance.choice("abc")
                shop.do(f"INSERT INTO orders VALUES ({key}, 'p', {stamp}, '{now[key]}', '{at.isoformat()}')")
        at += timedelta(minutes=1)
        load(source, table, _at(declared, at))
        truth |= now
        moments.append((at, dict(truth)))
        at += timedelta(minutes=1)
        found = reconcile_deletes(source, table, _at(declared, at), effective_at=at)
        assert (found.gone, found.left, found.at) == (len(truth) - len(now), 0, at)
        truth = now
        moments.append((at, dict(truth)))
        assert dict(current(table).select("id", "name").collect().rows()) == truth
    for when, expected in moments:
        assert dict(as_of(table, when).select("id", "name").collect().rows()) == expected, when


def _at(mode: History, at: datetime) -> History:
    return mode if mode.effective_column is not None else replace(mode, effective_at=at)


def test_keys_whose_version_begins_later_are_left_for_the_next_time(tmp_path: Path) -> None:
    shop = Shop("CREATE TABLE orders (id BIGINT, stamp BIGINT, happened DATE)")
    shop.do("INSERT INTO orders VALUES (1, 1, '2024-01-01'), (2, 2, '2024-01-05')")
    mode = History(
        keys=["id"], deletes="ignore", effective_column="happened", max_delete_fraction=1.0, allow_empty=True
    )
    load(source_of(shop), tmp_path / "orders", mode)
    shop.do("DELETE FROM orders")
    at = datetime(2024, 1, 3, 12, tzinfo=UTC)
    first = reconcile_deletes(source_of(shop), tmp_path / "orders", mode, effective_at=at)
    assert (first.gone, first.left, first.written.closed) == (2, 1, 1)
    assert scan(tmp_path / "orders").filter(id=1).collect()["valid_to"].to_list() == [datetime(2024, 1, 3, tzinfo=UTC)]
    same = reconcile_deletes(source_of(shop), tmp_path / "orders", mode, effective_at=at + timedelta(days=2))
    assert (same.gone, same.left, same.at) == (1, 1, datetime(2024, 1, 5, tzinfo=UTC)), "a date says the day only"
    later = reconcile_deletes(source_of(shop), tmp_path / "orders", mode)
    assert (later.gone, later.left, later.written.closed) == (1, 0, 1)
    assert current(tmp_path / "orders").collect().is_empty()
    assert later.at is not None
    assert later.at.date() >= date(2024, 1, 6)


@pytest.mark.parametrize("mode", [UPSERTS["plain"], Upsert(keys=["id"]), History(keys=["id"], deletes="ignore")])
def test_a_source_that_shows_little_ends_nothing(tmp_path: Path, mode: Any) -> None:
    mode = replace(mode, max_delete_fraction=0.5, allow_empty=False)
    if isinstance(mode, History):
        mode = replace(mode, effective_at=datetime(2024, 1, 1, tzinfo=UTC))
    shop = shop_of("INSERT INTO orders SELECT i, 'p', i, 'secret' || i FROM range(10) t(i)")
    load(source_of(shop), tmp_path / "orders", mode)
    before = held(tmp_path / "orders", mode)
    shop.do("DELETE FROM orders WHERE id >= 4")
    with pytest.raises(
        DeleteGuardError, match=r"6 of 10 keys are gone from `orders` \(60.0%; at the most 50.0%\), as \(id=4\)"
    ):
        reconcile_deletes(source_of(shop), tmp_path / "orders", mode)
    with pytest.raises(DeleteGuardError, match=r"as \(id=\*\*\*\)"):
        reconcile_deletes(source_of(shop), tmp_path / "orders", mode, masked=["id"])
    shop.do("DELETE FROM orders")
    with pytest.raises(DeleteGuardError, match="has no rows"):
        reconcile_deletes(source_of(shop), tmp_path / "orders", replace(mode, max_delete_fraction=None))
    assert held(tmp_path / "orders", mode) == before
    done = reconcile_deletes(
        source_of(shop), tmp_path / "orders", replace(mode, max_delete_fraction=None, allow_empty=True)
    )
    assert (done.gone, held(tmp_path / "orders", mode)) == (10, [])


class Meddling:
    """A source during whose reading something else happens to the table."""

    identity = "orders"

    def __init__(self, shop: Shop, *happenings: Any) -> None:
        self.shop, self.happenings = shop, list(happenings)

    @contextmanager
    def key_rows(self, keys: Sequence[str], since: Position | None = None) -> Iterator[pa.RecordBatchReader]:
        with source_of(self.shop).key_rows(keys, since) as reader:
            rows = reader.read_all()
        if self.happenings:
            self.happenings.pop(0)()
        yield rows.to_reader()


def test_a_key_that_returns_while_keys_are_compared_is_not_ended(tmp_path: Path) -> None:
    table, mode = tmp_path / "orders", UPSERTS["plain"]
    shop = shop_of("INSERT INTO orders VALUES (1, 'p', 1, 'a'), (2, 'p', 2, 'b'), (3, 'p', 3, 'c')")
    load(source_of(shop), table, mode)
    shop.do("DELETE FROM orders WHERE id < 3")

    def returns() -> None:
        shop.do("INSERT INTO orders VALUES (1, 'p', 4, 'back')")
        load(source_of(shop), table, mode)

    found = reconcile_deletes(Meddling(shop, returns), table, mode)
    assert (found.gone, found.only_in_source) == (1, 0)
    assert held(table, mode) == [(1, "p", 4, "back"), (3, "p", 3, "c")]

    def other(number: int) -> Any:
        return lambda: write(table, pl.DataFrame({"id": [9], "part": "p", "stamp": 0, "name": str(number)}), mode)

    shop.do("DELETE FROM orders WHERE id = 3")
    with pytest.raises(ConflictError, match="made from version"):
        reconcile_deletes(Meddling(shop, other(1), other(2), other(3)), table, mode)
    assert (3, "p", 3, "c") in held(table, mode)


def test_rows_that_no_load_brought_are_counted(tmp_path: Path) -> None:
    """A row whose cursor is far below what was read is never loaded; the comparison says that it is there."""
    shop = shop_of("INSERT INTO orders VALUES (1, 'p', 100, 'a')")
    load(source_of(shop), tmp_path / "orders", UPSERTS["plain"])
    shop.do("INSERT INTO orders VALUES (2, 'p', 5, 'too late')")
    assert load(source_of(shop), tmp_path / "orders", UPSERTS["plain"]).rows == 0
    assert reconcile_deletes(source_of(shop), tmp_path / "orders", UPSERTS["plain"]).only_in_source == 1


def test_keys_that_come_in_several_rows_count_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a log of changes: what no load brought is one key, in however many parts it comes."""
    monkeypatch.setattr("fuse_dagster.ingest.reconciling.ROWS_AT_A_TIME", 2)
    shop = shop_of("INSERT INTO orders SELECT i % 3, 'p', i, 'a' FROM range(9) t(i)")
    mode = Upsert(keys=["id"], sequence_by="stamp")
    load(source_of(shop), tmp_path / "orders", mode)
    shop.do("INSERT INTO orders SELECT 7, 'p', 0, 'late' FROM range(5)", "DELETE FROM orders WHERE id = 0")
    found = reconcile_deletes(source_of(shop), tmp_path / "orders", mode)
    assert (found.gone, found.in_source, found.in_table, found.only_in_source) == (1, 3, 3, 1)


def test_a_place_that_loads_did_not_read_is_not_compared(tmp_path: Path) -> None:
    """A connection that shows another database of the same tables, as one of a test, ends nothing."""
    shop, mode = shop_of("INSERT INTO orders SELECT i, 'p', i, 'a' FROM range(4) t(i)"), UPSERTS["plain"]
    load(source_of(shop), tmp_path / "orders", mode)
    other = shop_of("INSERT INTO orders VALUES (1, 'p', 1, 'a')")
    other.place = "duckdb://test"
    with pytest.raises(ConfigError, match="is now read from `duckdb://test`"):
        reconcile_deletes(source_of(other), tmp_path / "orders", mode)
    write(tmp_path / "made", pl.DataFrame({"id": [1], "part": "p", "stamp": 1, "name": "a"}), mode)
    with pytest.raises(ConfigError, match="no load of `orders` has landed"):
        reconcile_deletes(source_of(other), tmp_path / "made", mode)
    assert len(held(tmp_path / "orders", mode)) == 4
    moved = source_of(other, moved_from=shop.place)
    assert reconcile_deletes(moved, tmp_path / "orders", mode).gone == 3


def test_names_and_keys_of_all_kinds_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that attack SQL, null keys of the source, wider types, and more rows than one part holds."""
    monkeypatch.setattr("fuse_dagster.ingest.reconciling.ROWS_AT_A_TIME", 7)
    odd = 'a "b"; DROP TABLE x --'
    quoted = odd.replace('"', '""')
    shop = Shop(f'CREATE TABLE x AS SELECT i::INTEGER AS "{quoted}", i AS stamp FROM range(50) t(i)')
    source = TableSource(database=shop, table="x", cursor="stamp")
    mode = Upsert(keys=[odd])
    load(source, tmp_path / "x", mode)
    shop.do(f'DELETE FROM x WHERE "{quoted}" % 5 = 0', f'ALTER TABLE x ALTER "{quoted}" TYPE HUGEINT')
    shop.do(f'ALTER TABLE x ALTER "{quoted}" TYPE BIGINT', f'INSERT INTO x ("{quoted}", stamp) VALUES (NULL, 1)')
    shop.do(f'INSERT INTO x ("{quoted}", stamp) VALUES (9000000000, 1)')
    found = reconcile_deletes(source, tmp_path / "x", mode)
    assert (found.gone, found.in_source, found.only_in_source) == (10, 41, 1)
    assert scan(tmp_path / "x").collect().height == 40
    shop.do(f'ALTER TABLE x ALTER "{quoted}" TYPE VARCHAR')
    with pytest.raises(SchemaError, match="no key would be found again"):
        reconcile_deletes(source, tmp_path / "x", mode)


def test_where_there_is_no_table_nothing_is_gone(tmp_path: Path) -> None:
    found = reconcile_deletes(source_of(shop_of()), tmp_path / "orders", UPSERTS["plain"])
    assert (found.gone, found.in_table, found.written.table_version) == (0, 0, -1)
    assert not (tmp_path / "orders").exists()


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        (Append(), "knows no keys"),
        (Overwrite(), "knows no keys"),
        (Upsert(keys=["id"], absent="delete"), "whole truth"),
        (History(keys=["id"], effective_at=datetime(2024, 1, 1, tzinfo=UTC)), "whole truth"),
    ],
)
def test_a_mode_that_does_not_need_it_is_refused(tmp_path: Path, mode: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        reconcile_deletes(source_of(shop_of()), tmp_path, mode)


def test_what_is_not_all_of_a_table_is_refused(tmp_path: Path) -> None:
    shop, mode = shop_of("INSERT INTO orders VALUES (1, 'p', 1, 'a')"), UPSERTS["plain"]
    with pytest.raises(ConfigError, match="without windows"):
        reconcile_deletes(source_of(shop).within(0, 1), tmp_path, mode)
    with pytest.raises(ConfigError, match="can't list its keys"):
        reconcile_deletes(shop, tmp_path, mode)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="without a zone"):
        reconcile_deletes(source_of(shop), tmp_path, mode, effective_at=datetime(2024, 1, 1))  # noqa: DTZ001
    load(source_of(shop), tmp_path / "orders", mode)
    load(source_of(shop, name="others"), tmp_path / "orders", mode)
    with pytest.raises(ConfigError, match="rows of other sources, too"):
        reconcile_deletes(source_of(shop), tmp_path / "orders", mode)


def test_a_snapshot_without_absences_may_mark_its_deletes(tmp_path: Path) -> None:
    mode = History(keys=["id"], deletes="ignore", delete_when="gone", ignore=["gone"], effective_column="at")
    rows = pl.DataFrame({"id": [1, 2], "gone": [False, False], "at": [date(2024, 1, 1)] * 2})
    write(tmp_path, rows, mode)
    done = write(tmp_path, pl.DataFrame({"id": [1], "gone": [True], "at": [date(2024, 1, 2)]}), mode)
    assert done.closed == 1
    assert current(tmp_path).collect()["id"].to_list() == [2]
    with pytest.raises(ConfigError, match='with `deletes="ignore"`'):
        History(keys=["id"], delete_when="gone")
