"""Rows of a database arrive once, however late they become visible, and whatever breaks in between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuse_dagster.core.errors import ConfigError, InputError, SchemaError
from fuse_dagster.engines.local.reading import scan
from fuse_dagster.ingest import Ledger, Position, Reading, Source, TableSource, Window, load, position_of
from fuse_dagster.tables import Append, History, Overwrite, Slice, Upsert, WriteMode
from fuse_dagster_tests.ingest.shop import Shop

LAG = 3


class Killed(BaseException):
    """What no handler of ours may catch."""


class _Fragile:
    """A source that is killed at a point of its choice."""

    def __init__(self, inner: Source, at: str | None) -> None:
        self._inner, self._at, self.identity = inner, at, inner.identity

    @contextmanager
    def read(self, since: Position | None, ledger: Ledger | None = None) -> Iterator[Reading]:
        self.check("read")
        with self._inner.read(since, ledger) as reading:
            yield _FragileReading(reading, self)

    def check(self, point: str) -> None:
        if point == self._at:
            raise Killed(point)


class _FragileReading:
    def __init__(self, inner: Reading, source: _Fragile) -> None:
        self._inner, self._source = inner, source

    def batches(self) -> Any:
        self._source.check("batches")
        return self._inner.batches()

    def position(self) -> Position | None:
        self._source.check("position")  # after the rows, before the commit
        return self._inner.position()

    def rejected(self) -> pl.DataFrame:
        return self._inner.rejected()

    def landed(self) -> None:
        self._source.check("landed")  # after the commit


def _rows(table: Path) -> list[tuple[Any, ...]]:
    frame = scan(table).collect()
    return sorted(frame.select(sorted(frame.columns)).rows(), key=repr)


def _source(shop: Shop, **more: Any) -> TableSource:
    return TableSource(**{"database": shop, "table": "orders", "cursor": "stamp", **more})


def _orders(kind: str = "BIGINT") -> Shop:
    return Shop(f"CREATE TABLE orders (id BIGINT, stamp {kind}, name VARCHAR)")


STEP = st.tuples(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, LAG)), max_size=4),
    st.integers(0, 2),
    st.sampled_from([None, None, "read", "batches", "position", "landed"]),
)


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(STEP, min_size=1, max_size=6))
def test_no_row_is_lost_and_none_doubled_without_any_key(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[list[tuple[int, int]], int, str | None]]
) -> None:
    """Rows may be equal; they appear late by no more than the lag; loads are killed anywhere."""
    shop, table, now = _orders(), tmp_path_factory.mktemp("orders"), 10
    source = _source(shop, lag=LAG)
    for born, passing, killed in steps:
        for identity, late in born:
            shop.connection.execute("INSERT INTO orders VALUES (?, ?, 'x')", [identity, now - late])
        try:
            load(_Fragile(source, killed), table, Append())
        except Killed:
            assert killed is not None
        now += passing
    load(source, table, Append())
    expected = shop.connection.execute("SELECT id, name, stamp FROM orders").fetchall()
    assert _rows(table) == sorted(expected, key=repr)
    assert load(source, table, Append()).written.version is None, "nothing new is no commit"


def test_a_row_that_is_later_than_the_lag_is_not_seen(tmp_path: Path) -> None:
    """What the lag is for, and where it ends."""
    shop = _orders()
    shop.do("INSERT INTO orders VALUES (1, 10, 'x')")
    load(_source(shop, lag=LAG), tmp_path, Append())
    shop.do("INSERT INTO orders VALUES (2, 6, 'too late'), (3, 7, 'late')")
    assert load(_source(shop, lag=LAG), tmp_path, Append()).rows == 1


def test_a_lag_that_grows_doubles_nothing(tmp_path: Path) -> None:
    shop = _orders()
    shop.do("INSERT INTO orders SELECT n, n, 'x' FROM range(20) AS r(n)")
    for number, lag in enumerate([None, 5, 1, 8, None, 19]):
        load(_source(shop, lag=lag), tmp_path, Append())
        shop.do(f"INSERT INTO orders VALUES ({100 + number}, {20 + number}, 'y')")
    load(_source(shop, lag=3), tmp_path, Append())
    assert sorted(row[0] for row in _rows(tmp_path)) == [*range(20), *range(100, 106)]


CURSORS: list[tuple[str, list[str], Any]] = [
    ("BIGINT", ["9007199254740993", "9007199254740994"], 1),
    ("DECIMAL(38,9)", [f"{10**28}.000000001", f"{10**28}.000000002"], Decimal(1)),
    ("DATE", ["DATE '2024-02-29'", "DATE '2024-03-01'"], timedelta(hours=1)),
    ("TIMESTAMP", ["TIMESTAMP '2024-03-31 02:30:00.000001'", "TIMESTAMP '2024-03-31 02:30:00.000002'"], timedelta(1)),
    ("TIMESTAMPTZ", ["TIMESTAMPTZ '2024-10-27 01:30Z'", "TIMESTAMPTZ '2024-10-27 01:30:00.000001Z'"], timedelta(1)),
    ("VARCHAR", ["'a''; DROP TABLE orders; --'", "'ü'"], None),
    ("BLOB", ["'\\x00\\xff'::BLOB", "'\\x01'::BLOB"], None),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "values", "lag"), CURSORS, ids=[kind for kind, *_ in CURSORS])
def test_every_type_of_cursor_is_kept_without_loss(tmp_path: Path, kind: str, values: list[str], lag: Any) -> None:
    shop = _orders(kind)
    shop.do(f"INSERT INTO orders VALUES (1, {values[0]}, 'x')")
    assert [load(_source(shop, lag=each), tmp_path, Append()).rows for each in (None, lag)] == [1, 0]
    shop.do(f"INSERT INTO orders VALUES (2, {values[1]}, 'y')")
    assert load(_source(shop, lag=lag), tmp_path, Append()).rows == 1
    assert load(_source(shop, lag=lag), tmp_path, Append()).rows == 0
    assert scan(tmp_path).collect()["id"].sort().to_list() == [1, 2]


def test_the_reading_ends_where_the_source_stood_when_it_began(tmp_path: Path) -> None:
    shop = _orders()
    shop.do("INSERT INTO orders VALUES (1, 1, 'x')")
    source = _source(shop)
    with source.read(None) as reading:
        shop.do("INSERT INTO orders VALUES (2, 2, 'y')")
        assert reading.batches().read_all()["id"].to_pylist() == [1]
        position = reading.position()
    assert position is not None
    assert position.said == "1"
    with source.read(position) as reading:
        assert reading.batches().read_all()["id"].to_pylist() == [2]


def test_rows_that_share_the_last_value_come_once_each(tmp_path: Path) -> None:
    shop = _orders()
    for number in range(3):
        shop.do(f"INSERT INTO orders VALUES ({number}, 5, 'x'), (7, 5, 'twin')")
        assert load(_source(shop), tmp_path, Append()).rows == 2
    assert len(_rows(tmp_path)) == 6


def test_keys_recognize_rows_after_a_column_came(tmp_path: Path) -> None:
    shop = _orders()
    shop.do("INSERT INTO orders VALUES (1, 5, 'x')")
    load(_source(shop, keys=["id"]), tmp_path, Append())
    shop.do("ALTER TABLE orders ADD COLUMN extra INTEGER", "INSERT INTO orders VALUES (2, 5, 'y', 3)")
    result = load(_source(shop, keys=["id"]), tmp_path, Append(), drift="warn")
    assert (result.rows, result.drift.sentences) == (1, ("extra: int32 is new",))


def test_a_column_that_told_rows_apart_and_is_gone_is_refused(tmp_path: Path) -> None:
    shop = _orders()
    shop.do("INSERT INTO orders VALUES (1, 5, 'x')")
    load(_source(shop), tmp_path, Append())
    shop.do("ALTER TABLE orders DROP COLUMN name")
    with pytest.raises(SchemaError, match=r"no longer has \['name'\]"):
        load(_source(shop), tmp_path, Append())


@pytest.mark.parametrize(
    "mode", [Upsert(keys=["id"]), History(keys=["id"], source="changes", effective_column="stamp")]
)
def test_changes_of_a_table_are_applied(tmp_path: Path, mode: WriteMode) -> None:
    shop = Shop("CREATE TABLE orders (id BIGINT, stamp TIMESTAMPTZ, name VARCHAR)")
    shop.do("INSERT INTO orders VALUES (1, '2024-01-01 00:00Z', 'a'), (2, '2024-01-01 00:00Z', 'b')")
    load(_source(shop), tmp_path, mode)
    shop.do("UPDATE orders SET name = 'A', stamp = '2024-01-02 00:00Z' WHERE id = 1")
    result = load(_source(shop), tmp_path, mode)
    assert (result.rows, result.written.updated) == (1, 1)
    assert result.after is not None
    assert result.after.time == datetime(2024, 1, 2, tzinfo=UTC)
    assert result.lag is not None
    assert result.lag > timedelta(days=300)


def test_a_change_table_goes_straight_into_a_history_and_an_upsert(tmp_path: Path) -> None:
    shop = Shop("CREATE TABLE log (lsn BIGINT, op VARCHAR, stamp TIMESTAMPTZ, id BIGINT, name VARCHAR)")
    source = _source(shop, table="log", cursor="lsn")
    upsert = Upsert(keys=["id"], sequence_by="lsn", delete_when="op = 'D'", soft_delete="is_deleted")
    history = History(
        keys=["id"],
        source="changes",
        effective_column="stamp",
        sequence_by="lsn",
        delete_when="op = 'D'",
        ignore=["op"],
    )
    for step in (
        "(1, 'I', '2024-01-01 00:00Z', 1, 'a'), (2, 'I', '2024-01-01 00:00Z', 2, 'b')",
        "(3, 'D', '2024-01-02 00:00Z', 1, 'a')",
    ):
        shop.do(f"INSERT INTO log VALUES {step}")
        for name, mode in (("upsert", upsert), ("history", history)):
            load(source, tmp_path / name, mode)
    assert scan(tmp_path / "upsert").filter(~pl.col("is_deleted")).collect()["id"].to_list() == [2]
    assert scan(tmp_path / "history").filter("is_current").collect()["id"].to_list() == [2]


def test_a_rolling_window_sees_changes_that_moved_no_cursor(tmp_path: Path) -> None:
    shop = _orders()
    shop.do("INSERT INTO orders VALUES (1, 1, 'a'), (2, 9, 'b')")
    source = _source(shop, reread=5)
    load(source, tmp_path, Upsert(keys=["id"]))
    shop.do("UPDATE orders SET name = 'B' WHERE id = 2")
    assert load(source, tmp_path, Upsert(keys=["id"])).written.updated == 1
    with pytest.raises(ConfigError, match="would double"):
        load(source, tmp_path / "other", Append())
    with pytest.raises(ConfigError, match="was read with `reread` so far"):
        load(_source(shop, lag=5), tmp_path, Upsert(keys=["id"]))


def test_a_backfill_of_a_window_leaves_the_watermark_alone(tmp_path: Path) -> None:
    shop = _orders("DATE")
    shop.do("INSERT INTO orders VALUES (1, '2024-01-01', 'a'), (2, '2024-01-02', 'b'), (3, '2024-01-03', 'c')")
    load(_source(shop), tmp_path, Append())
    before = position_of(tmp_path, "orders")
    shop.do("UPDATE orders SET name = 'B' WHERE id = 2", "INSERT INTO orders VALUES (4, '2024-01-04', 'd')")
    day = _source(shop).within(date(2024, 1, 2), date(2024, 1, 3))
    load(day, tmp_path, Overwrite(where=Slice.equals("stamp", date(2024, 1, 2))))
    assert position_of(tmp_path, "orders") == before
    assert scan(tmp_path).collect().sort("id")["name"].to_list() == ["a", "B", "c"]
    load(day, tmp_path, Append(once=["id"]), full_refresh=True)
    assert position_of(tmp_path, "orders") == before, "a part is read as a whole in any case"
    assert len(_rows(tmp_path)) == 3, "and replaces no more"
    shop.do("DELETE FROM orders WHERE id = 2")
    load(day, tmp_path, Overwrite(where=Slice.equals("stamp", date(2024, 1, 2))))
    assert scan(tmp_path).collect().sort("id")["name"].to_list() == ["a", "c"], "a window without rows is empty then"
    with pytest.raises(ConfigError, match="that earlier loads brought"):
        load(_source(shop), tmp_path, Overwrite(where=Slice.equals("stamp", date(2024, 1, 4))))
    assert load(_source(shop), tmp_path, Append()).rows == 1


def test_several_windows_are_read_in_one_statement_and_each_row_once(tmp_path: Path) -> None:
    shop = _orders()
    shop.do("INSERT INTO orders SELECT i, i, 'x' FROM range(20) t(i)")
    parts = [Window(start=2, end=5), Window(start=4, end=7), Window(start=12, end=13)]
    load(_source(shop).within_any(*parts), tmp_path, Upsert(keys=["id"]))
    assert sorted(row[0] for row in _rows(tmp_path)) == [2, 3, 4, 5, 6, 12]
    assert position_of(tmp_path, "orders") is None
    with pytest.raises(ConfigError, match="`window` is empty"):
        _source(shop).within_any()


def test_a_full_refresh_replaces_what_was_appended(tmp_path: Path) -> None:
    shop = _orders()
    shop.do("INSERT INTO orders VALUES (1, 1, 'a'), (2, 2, 'b')")
    load(_source(shop), tmp_path, Append())
    shop.do("DELETE FROM orders WHERE id = 1")
    assert load(_source(shop), tmp_path, Append(), full_refresh=True).before is None
    assert [row[0] for row in _rows(tmp_path)] == [2]
    load(_source(shop, name="other"), tmp_path, Append())
    with pytest.raises(ConfigError, match="other sources have loads there"):
        load(_source(shop), tmp_path, Append(), full_refresh=True)


def test_an_overwrite_reads_its_source_from_the_start(tmp_path: Path) -> None:
    shop = _orders()
    shop.do("INSERT INTO orders VALUES (1, 1, 'a'), (2, 2, 'b')")
    for _ in range(2):
        assert load(_source(shop), tmp_path, Overwrite()).rows == 2


def test_a_whole_truth_without_news_commits_nothing(tmp_path: Path) -> None:
    shop = Shop("CREATE TABLE orders (id INT, changed TIMESTAMP)", "INSERT INTO orders VALUES (1, '2024-06-01')")
    source = TableSource(database=shop, table="orders", cursor="changed", lag=timedelta(minutes=1))
    truth = Upsert(keys=["id"], absent="delete", max_delete_fraction=None, allow_empty=True)
    assert load(source, tmp_path / "t", truth).written.version == 0
    again = load(source, tmp_path / "t", truth)
    assert (again.rows, again.written.version) == (1, None)
    shop.do("DELETE FROM orders")
    assert load(source, tmp_path / "t", truth).written.deleted == 1


def test_rows_without_a_cursor(tmp_path: Path) -> None:
    shop = _orders()
    shop.do("INSERT INTO orders VALUES (1, 1, 'a'), (2, NULL, 'b')")
    with pytest.raises(InputError, match="has 1 rows whose cursor `stamp` is null"):
        load(_source(shop), tmp_path, Append())
    assert load(_source(shop, null_cursor="skip"), tmp_path / "skip", Append()).rows == 1
    for expected in (2, 0):
        assert load(_source(shop, null_cursor="include"), tmp_path / "include", Append()).rows == expected


def test_a_table_without_rows_is_made_and_read_on(tmp_path: Path) -> None:
    shop = _orders()
    assert load(_source(shop), tmp_path, Append()).after is None
    assert scan(tmp_path).collect().shape == (0, 3)
    shop.do("INSERT INTO orders VALUES (1, 1, 'a')")
    assert load(_source(shop), tmp_path, Append()).rows == 1
    shop.do("DELETE FROM orders")
    assert load(_source(shop), tmp_path, Append()).rows == 0
    shop.do("INSERT INTO orders VALUES (1, 1, 'a'), (2, 2, 'b')")
    assert load(_source(shop), tmp_path, Append()).rows == 1


def test_a_row_of_the_far_future_hides_no_other(tmp_path: Path) -> None:
    shop = _orders("TIMESTAMPTZ")
    shop.do("INSERT INTO orders VALUES (1, '9999-12-31 00:00Z', 'x')")
    with pytest.raises(InputError, match="is in the future"):
        load(_source(shop), tmp_path, Append())
    assert load(_source(shop, ahead=None, lag=timedelta(days=1)), tmp_path, Append()).rows == 1


def test_a_cursor_of_another_type_column_or_place_is_no_guess(tmp_path: Path) -> None:
    shop = _orders()
    shop.do("INSERT INTO orders VALUES (1, 1, 'a')")
    load(_source(shop), tmp_path, Append())
    with pytest.raises(InputError, match="by another column"):
        load(_source(shop, cursor="id"), tmp_path, Append())
    shop.place = "duckdb://elsewhere"
    with pytest.raises(ConfigError, match="moved_from"):
        load(_source(shop), tmp_path, Append())
    assert load(_source(shop, moved_from="duckdb://memory"), tmp_path, Append()).rows == 0
    shop.do("ALTER TABLE orders ALTER stamp TYPE DECIMAL(9,2)")
    with pytest.raises(InputError, match="was a int and is a decimal"):
        load(_source(shop, moved_from="duckdb://memory"), tmp_path, Append())


def test_names_reach_the_database_in_quotes(tmp_path: Path) -> None:
    bad = 'at"; DROP TABLE orders; --'
    shop = Shop('CREATE TABLE orders ("at""; DROP TABLE orders; --" BIGINT)', "INSERT INTO orders VALUES (1)")
    source = _source(shop, cursor=bad, columns=[bad], keys=[bad])
    assert load(source, tmp_path, Append()).rows == 1
    assert load(source, tmp_path, Append()).rows == 0
    with pytest.raises(Exception, match="does not exist"):
        load(_source(shop, table='orders"; DROP TABLE orders; --', name="x"), tmp_path, Append())
    assert shop.connection.execute("SELECT COUNT(*) FROM orders").fetchone() == (1,)


def test_a_query_with_parameters_is_a_source(tmp_path: Path) -> None:
    shop = _orders()
    shop.do("INSERT INTO orders VALUES (1, 1, 'a'), (2, 2, 'b')")
    source = _source(
        shop, table=None, query="SELECT * FROM orders WHERE name = :name", parameters={"name": "b"}, name="bs"
    )
    assert load(source, tmp_path, Append()).rows == 1
    assert _rows(tmp_path) == [(2, "b", 2)]


def test_declarations_that_cannot_work_say_all_that_is_wrong() -> None:
    with pytest.raises(ConfigError, match=r"either `table` or `query`.*`columns` leaves out the cursor.*null_cursor"):
        _source(Shop(), query="SELECT 1", name="x", columns=["id"], null_cursor="what")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"needs a `name`"):
        _source(Shop(), table=None, query="SELECT 1")
    with pytest.raises(ConfigError, match="`lag` is `-1`"):
        _source(Shop(), lag=-1)


@pytest.mark.parametrize("lag", [timedelta(days=1), Decimal("0.5")])
def test_a_lag_that_fits_no_text_is_refused(tmp_path: Path, lag: Any) -> None:
    shop = _orders("VARCHAR")
    shop.do("INSERT INTO orders VALUES (1, 'k', 'a')")
    with pytest.raises(ConfigError, match="can't be taken from the watermark"):
        load(_source(shop, lag=lag), tmp_path, Append())


def test_a_float_is_no_cursor(tmp_path: Path) -> None:
    shop = _orders("DOUBLE")
    shop.do("INSERT INTO orders VALUES (1, 0.5, 'a')")
    with pytest.raises(InputError, match="cast the column to a decimal"):
        load(_source(shop), tmp_path, Append())
