"""What others do to a history: told apart, told in words, and refused where it makes the memory wrong."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable, Schema, write_deltalake

from fuse_dagster.core.errors import TableNotFoundError, TableStateError
from fuse_dagster.tables import History, Overwrite, foreign_changes, known_snapshots, write

BATCH = pl.DataFrame({"k": ["a", "b", "c"], "v": [1, 2, 3]})


def on(day: int) -> History:
    return History(keys=["k"], effective_at=dt.date(2024, 1, day))


@pytest.fixture
def table(tmp_path: Path) -> str:
    path = str(tmp_path / "t")
    write(path, BATCH, on(1))
    write(path, BATCH.with_columns(pl.col("v") + 1), on(2))
    return path


def insert_again(table: str) -> None:
    found = pl.read_delta(table).filter(k="a")
    DeltaTable(table).delete("k = 'a'")
    write_deltalake(table, found, mode="append")


def merge(table: str) -> None:
    source = pa.table({"k": ["b", "z"], "v": [9, 9]})
    DeltaTable(table).merge(
        source, "s.k = t.k", source_alias="s", target_alias="t"
    ).when_matched_delete().when_not_matched_insert({"k": "s.k", "v": "s.v"}).execute()


HARMFUL: dict[str, tuple[Callable[[str], object], str]] = {
    "a delete": (lambda t: DeltaTable(t).delete("v = 2"), "version 2: DELETE, removed 2 rows"),
    "an update": (lambda t: DeltaTable(t).update(updates={"v": "7"}, predicate="v = 4"), "UPDATE, changed 1 rows"),
    "a merge": (merge, "version 2: MERGE, added 1 rows, removed 2 rows"),
    "an append": (
        lambda t: write_deltalake(t, pl.read_delta(t).head(1), mode="append"),
        r"version 2: WRITE \(Append\), added 1 rows",
    ),
    "an overwrite with the same rows": (
        lambda t: write_deltalake(t, pl.read_delta(t), mode="overwrite"),
        r"version 2: WRITE \(Overwrite\), added 6 rows",
    ),
    "a delete and an equal insert": (
        insert_again,
        r"DELETE, removed 2 rows; version 3: WRITE \(Append\), added 2 rows; 6 rows, 6 remembered",
    ),
    "a restore": (lambda t: DeltaTable(t).restore(0), "version 2: RESTORE of 0"),
}


@pytest.mark.parametrize("name", HARMFUL)
def test_what_changes_rows_is_told_and_refused(table: str, name: str) -> None:
    change, words = HARMFUL[name]
    change(table)
    before = DeltaTable(table).version()
    with pytest.raises(TableStateError, match=words) as refused:
        write(table, BATCH, on(3))
    assert DeltaTable(table).version() == before
    for remedy in ("`rebuild`", "`adopt(..., again=True)`", "`DeltaTable.restore(1)`"):
        assert remedy in str(refused.value)
    assert not any(change.is_harmless for change in foreign_changes(table))


def harmless(table: str) -> None:
    DeltaTable(table).optimize.compact()
    DeltaTable(table).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    DeltaTable(table).alter.set_table_properties({"delta.logRetentionDuration": "interval 7 days"})
    DeltaTable(table).alter.add_columns(Schema.from_arrow(pa.schema([("note", pa.string())])).fields)
    DeltaTable(table).create_checkpoint()


def test_what_leaves_the_rows_alone_is_told_and_let_through(table: str) -> None:
    harmless(table)
    told = foreign_changes(table)
    operations = ["OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES", "ADD COLUMN"]
    assert [change.operation for change in told] == operations
    assert all(change.is_harmless for change in told)
    assert told[0].did == "version 2: OPTIMIZE, the rows stayed as they were"
    late = BATCH.with_columns(note=pl.lit("x"))
    assert write(table, late, on(3)).updated == 3
    assert foreign_changes(table) == []


def test_a_change_by_hand_that_was_restored_away_is_forgiven(table: str) -> None:
    DeltaTable(table).optimize.compact()
    DeltaTable(table).delete("k = 'a'")
    with pytest.raises(TableStateError, match=r"`DeltaTable.restore\(2\)`"):
        write(table, BATCH, on(3))
    DeltaTable(table).restore(2)
    assert write(table, BATCH, on(3)).updated == 3


def test_a_commit_whose_log_entry_is_gone_is_not_taken_for_harmless(table: str) -> None:
    DeltaTable(table).update(updates={"v": "7"}, predicate="v = 4")
    DeltaTable(table).optimize.compact()
    DeltaTable(table).create_checkpoint()
    for version in (0, 1, 2):
        Path(table, "_delta_log", f"{version:020d}.json").unlink()
    with pytest.raises(TableStateError, match="version 2: gone from the log"):
        write(table, BATCH, on(3))


def test_changes_are_told_without_the_memory_too(table: str) -> None:
    for file in Path(table, "_fuse").iterdir():
        file.unlink()
    DeltaTable(table).delete("k = 'a'")
    (told,) = foreign_changes(table)
    assert (told.version, told.rows_removed, told.is_harmless) == (2, 2, False)
    assert told.committed_at is not None
    with pytest.raises(TableStateError, match=r"memory of the history.*`rebuild`"):
        write(table, BATCH, on(3))


def test_the_known_snapshots_are_listed_with_their_columns(table: str) -> None:
    write(table, BATCH.with_columns(lid=pl.lit("x")), on(3))
    assert known_snapshots(table).rows() == [
        (dt.datetime(2024, 1, 1, tzinfo=dt.UTC), ["k", "v"]),
        (dt.datetime(2024, 1, 2, tzinfo=dt.UTC), ["k", "v"]),
        (dt.datetime(2024, 1, 3, tzinfo=dt.UTC), ["k", "lid", "v"]),
    ]


def test_a_feed_of_changes_has_no_snapshots(tmp_path: Path) -> None:
    feed = BATCH.with_columns(at=pl.lit(dt.datetime(2024, 1, 1, tzinfo=dt.UTC)))
    write(tmp_path / "t", feed, History(keys=["k"], source="changes", effective_column="at"))
    assert known_snapshots(tmp_path / "t").is_empty()


def test_other_tables_are_no_histories(tmp_path: Path) -> None:
    with pytest.raises(TableNotFoundError):
        known_snapshots(tmp_path / "t")
    write(tmp_path / "t", BATCH, Overwrite())
    with pytest.raises(TableStateError, match="no history was written"):
        foreign_changes(tmp_path / "t")
