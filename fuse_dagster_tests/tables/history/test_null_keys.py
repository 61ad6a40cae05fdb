"""Rows with a null key are refused, dropped, or handed over, once, before anything is committed; none is lost."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from fuse_dagster.core.errors import ConfigError, DeleteGuardError, InputError, KeyValueError, SchemaError
from fuse_dagster.tables import History, write
from fuse_dagster.tables.sifting import REASONS
from fuse_dagster.tables.tally import Tally
from fuse_dagster_tests.tables.history.test_properties import PATIENT, SCHEMA, moment, plain, read, times, values
from fuse_dagster_tests.tables.oracle import of_snapshots


def at(day: int, **options: Any) -> History:
    return History(keys=["k", "n"], effective_at=dt.date(2024, 1, day), **options)


ROWS = pl.DataFrame({"k": ["a", None, "b"], "n": [1, 2, None], "v": [1, 2, 3]})


def test_a_null_key_is_an_error_by_default(tmp_path: Path) -> None:
    with pytest.raises(KeyValueError, match="2 rows have a null key"):
        write(tmp_path / "t", ROWS, at(1))


def test_dropped_rows_are_counted_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    result = write(tmp_path / "t", ROWS, at(1, null_keys="drop"))
    assert (result.rows_in, result.inserted, result.rejected, result.unchanged) == (3, 1, 2, 0)
    assert pl.read_delta(str(tmp_path / "t"))["k"].to_list() == ["a"]
    assert "2 rows with a null key were dropped" in caplog.text


def test_rejected_rows_are_handed_over_before_the_commit(tmp_path: Path) -> None:
    table, taken = str(tmp_path / "t"), []

    def take(rows: pl.DataFrame) -> None:
        assert not DeltaTable.is_deltatable(table), "nothing is committed yet"
        taken.append(rows)

    result = write(table, ROWS, at(1, null_keys="reject"), on_rejected=take)
    assert (result.inserted, result.rejected) == (1, 2)
    (rows,) = taken
    assert rows.drop(REASONS).rows() == [(None, 2, 2), ("b", None, 3)]
    assert rows[REASONS].to_list() == [["null_key"], ["null_key"]]


def test_who_fails_to_take_the_rows_stops_the_write(tmp_path: Path) -> None:
    def refuse(rows: pl.DataFrame) -> None:
        raise OSError(f"no place for {rows.height} rows")

    table = str(tmp_path / "t")
    with pytest.raises(OSError, match="no place for 2 rows"):
        write(table, ROWS, at(1, null_keys="reject"), on_rejected=refuse)
    assert not DeltaTable.is_deltatable(table)
    taken: list[pl.DataFrame] = []
    assert write(table, ROWS, at(1, null_keys="reject"), on_rejected=taken.append).inserted == 1
    assert len(taken) == 1


def test_a_batch_that_is_refused_hands_nothing_over(tmp_path: Path) -> None:
    taken: list[pl.DataFrame] = []
    mode = at(1, null_keys="reject")
    doubled = pl.concat([ROWS, ROWS.with_columns(v=pl.col("v") + 1)])
    with pytest.raises(KeyValueError, match="more than once"):
        write(tmp_path / "t", doubled, mode, on_rejected=taken.append)
    believing = at(1, null_keys="reject", allow_empty=True)
    with pytest.raises(DeleteGuardError, match="2 rows, and none of them has a whole key `k, n`"):
        write(tmp_path / "t", ROWS[1:], believing, on_rejected=taken.append)
    assert not taken
    assert not (tmp_path / "t").exists()


def test_a_broken_snapshot_is_not_an_empty_one(tmp_path: Path) -> None:
    write(tmp_path / "t", ROWS[:1], at(1))
    believing = at(2, null_keys="drop", allow_empty=True, max_delete_fraction=None)
    with pytest.raises(DeleteGuardError, match="`allow_empty` does not count; nothing was written"):
        write(tmp_path / "t", ROWS[1:], believing)
    assert DeltaTable(tmp_path / "t").version() == 0
    assert write(tmp_path / "t", ROWS.clear(), believing).closed == 1


def test_a_lost_race_hands_nothing_over_twice(tmp_path: Path) -> None:
    """While the rows are taken, somebody else commits: the write is planned again."""
    table, taken = str(tmp_path / "t"), []
    write(table, ROWS[:1], at(1))

    def take(rows: pl.DataFrame) -> None:
        taken.append(rows)
        write(table, ROWS[:1].with_columns(v=5), at(2))

    result = write(table, ROWS.with_columns(v=7), at(3, null_keys="reject"), on_rejected=take)
    assert len(taken) == 1
    assert (result.updated, result.rejected, result.table_version) == (1, 2, 2)
    assert sorted(pl.read_delta(table)["v"]) == [1, 5, 7]


def test_a_batch_said_again_commits_nothing_and_still_hands_over(tmp_path: Path) -> None:
    """Whether the rows were taken before, only who took them can tell."""
    taken: list[pl.DataFrame] = []
    for _ in range(2):
        result = write(tmp_path / "t", ROWS, at(1, null_keys="reject"), on_rejected=taken.append)
    assert result.version is None
    assert (result.unchanged, result.rejected) == (1, 2)
    assert len(taken) == 2


def test_reject_needs_somebody_who_takes_the_rows(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give `on_rejected`"):
        write(tmp_path / "t", ROWS, at(1, null_keys="reject"))
    with pytest.raises(SchemaError, match="`_rejection_reasons`, which rejected rows get"):
        write(
            tmp_path / "t", ROWS.with_columns(pl.lit("x").alias(REASONS)), at(1, null_keys="reject"), on_rejected=print
        )


def test_changes_without_a_key_are_dropped(tmp_path: Path) -> None:
    rows = ROWS.with_columns(at=pl.lit(dt.datetime(2024, 1, 1, tzinfo=dt.UTC)))
    mode = History(keys=["k", "n"], source="changes", effective_column="at", null_keys="drop")
    result = write(tmp_path / "t", pl.concat([rows, rows[:1]]), mode)
    assert (result.inserted, result.rejected, result.duplicates, result.unchanged) == (1, 2, 1, 0)
    nothing = write(tmp_path / "t", rows[1:].with_columns(new=1), mode)
    assert (nothing.version, nothing.table_version, nothing.rejected, nothing.unchanged) == (None, 0, 2, 0)


def test_a_snapshot_that_ends_nothing_may_have_no_key(tmp_path: Path) -> None:
    taken: list[pl.DataFrame] = []
    result = write(tmp_path / "t", ROWS[1:], at(1, deletes="ignore", null_keys="reject"), on_rejected=taken.append)
    assert (result.version, result.table_version, result.rejected, result.rows_total) == (None, -1, 2, 0)
    assert [rows.height for rows in taken] == [2]
    assert not (tmp_path / "t").exists()


@settings(PATIENT, max_examples=20)
@given(
    st.dictionaries(
        times,
        st.dictionaries(st.tuples(st.sampled_from(["a", None]), st.sampled_from([1, 2, None])), values, min_size=1),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(["drop", "reject"]),
)
def test_the_history_is_that_of_the_rows_with_a_key(snapshots: dict[int, Any], policy: Any) -> None:
    with TemporaryDirectory() as folder:
        taken: list[pl.DataFrame] = []
        for when, batch in snapshots.items():
            frame = pl.DataFrame([(*key, *value) for key, value in batch.items()], schema=SCHEMA, orient="row")
            mode = History(
                keys=["k", "n"], effective_at=moment(when), max_delete_fraction=None, allow_empty=True,
                null_keys=policy,
            )  # fmt: skip
            if batch and all(None in key for key in batch):
                with pytest.raises(DeleteGuardError, match="none of them has a whole key"):
                    write(folder + "/t", frame, mode, on_rejected=taken.append)
                continue
            result = write(folder + "/t", frame, mode, on_rejected=taken.append)
            assert result.rejected == sum(None in key for key in batch)
            assert result.inserted + result.updated + result.unchanged + result.rejected == result.rows_in
        believed = {when: batch for when, batch in snapshots.items() if any(None not in key for key in batch)}
        lost = sum(None in key for batch in believed.values() for key in batch)
        assert sum(rows.height for rows in taken) == (lost if policy == "reject" else 0)
        whole = {
            when: {key: plain(value) for key, value in batch.items() if None not in key}
            for when, batch in believed.items()
        }
        assert (read(folder + "/t") if believed else set()) == of_snapshots(whole)


@pytest.mark.parametrize("wrong", [{"applied": 3}, {"applied": 4, "rejected": 1}, {"applied": 4, "inserted": 5}])
def test_a_batch_that_does_not_add_up_is_not_committed(wrong: dict[str, int]) -> None:
    Tally(applied=4, inserted=2, updated=1, rejected=0).refuse_lost(4)
    with pytest.raises(InputError, match="rows were lost or made: of 4 rows"):
        Tally(**wrong).refuse_lost(4)
