"""Retracting a snapshot: as if it had never been applied, whichever it was and in whatever order they came."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable
from hypothesis import given
from hypothesis import strategies as st

from fuse_dagster.core.errors import ConfigError, TableNotFoundError, TableStateError, TimeValueError
from fuse_dagster.tables import History, Overwrite, known_snapshots, retract, write
from fuse_dagster_tests.tables.history.test_properties import (
    PATIENT,
    keys,
    mode_at,
    moment,
    plain,
    read,
    rows,
    times,
    values,
)
from fuse_dagster_tests.tables.oracle import of_snapshots

MODE = History(keys=["k"])


def apply(table: Path, day: int, **batch: int) -> None:
    frame = pl.DataFrame({"k": list(batch), "v": list(batch.values())}, schema={"k": pl.String, "v": pl.Int64})
    mode = History(keys=["k"], effective_at=dt.date(2024, 1, day), max_delete_fraction=None, allow_empty=True)
    write(table, frame, mode)


def timeline(table: Path) -> list[tuple[Any, ...]]:
    found = pl.read_delta(str(table)).sort("k", "valid_from")
    return [(k, v, start.day, end and end.day) for k, v, start, end in found.drop("is_current").iter_rows()]


@PATIENT
@given(
    st.dictionaries(times, st.dictionaries(keys, values, max_size=4), min_size=1, max_size=5),
    st.data(),
)
def test_what_is_retracted_was_never_applied(snapshots: dict[int, Any], data: st.DataObject) -> None:
    order = data.draw(st.permutations(sorted(snapshots)))
    bad = data.draw(st.sampled_from(order))
    cut = data.draw(st.integers(order.index(bad) + 1, len(order)))
    with TemporaryDirectory() as folder:
        table = folder + "/t"
        for at in order[:cut]:
            write(table, rows(snapshots[at]), mode_at(at))
        version = DeltaTable(table).version()
        done = retract(table, moment(bad), History(keys=["k", "n"]))
        assert done.version == version + 1
        assert done.rows_total == pl.read_delta(table).height
        for at in order[cut:]:
            write(table, rows(snapshots[at]), mode_at(at))
        good = {at: batch for at, batch in snapshots.items() if at != bad}
        assert read(table) == of_snapshots({at: {k: plain(v) for k, v in s.items()} for at, s in good.items()})
        assert known_snapshots(table)["effective_at"].to_list() == [moment(at) for at in sorted(good)]
        write(table, rows(snapshots[bad]), mode_at(bad))
        assert read(table) == of_snapshots({at: {k: plain(v) for k, v in s.items()} for at, s in snapshots.items()})


def test_the_counts_say_what_holds_again(tmp_path: Path) -> None:
    table = tmp_path / "t"
    apply(table, 1, a=1, b=1, c=1)
    apply(table, 2, a=1, b=2, d=1)
    done = retract(table, dt.date(2024, 1, 2), MODE)
    assert (done.rows_in, done.inserted, done.updated, done.unchanged, done.closed) == (3, 1, 1, 1, 1)
    assert timeline(table) == [("a", 1, 1, None), ("b", 1, 1, None), ("c", 1, 1, None)]


def test_the_only_snapshot_leaves_an_empty_history_that_goes_on(tmp_path: Path) -> None:
    table = tmp_path / "t"
    apply(table, 2, a=1)
    assert retract(table, dt.date(2024, 1, 2), MODE).rows_total == 0
    assert known_snapshots(table).is_empty()
    apply(table, 1, a=3)
    assert timeline(table) == [("a", 3, 1, None)]


def test_a_truncated_snapshot_that_was_let_through_is_undone_whatever_the_guards_say(tmp_path: Path) -> None:
    table = tmp_path / "t"
    apply(table, 1, **dict.fromkeys("abcdefgh", 1))
    apply(table, 2)
    guarded = History(keys=["k"], max_delete_fraction=0.0, max_update_fraction=0.0)
    assert retract(table, dt.date(2024, 1, 2), guarded).inserted == 8
    assert {row[2:] for row in timeline(table)} == {(1, None)}


def test_an_unknown_time_is_refused_with_those_that_are_near(tmp_path: Path) -> None:
    table = tmp_path / "t"
    for day in (1, 5, 9):
        apply(table, day, a=day)
    with pytest.raises(TimeValueError, match=r"no snapshot of `2024-01-04.*2024-01-05.*\(3 in all"):
        retract(table, dt.date(2024, 1, 4), MODE)
    assert DeltaTable(str(table)).version() == 2


def test_what_remembers_no_batches_cannot_retract_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="each row speaks for itself"):
        retract(tmp_path, dt.date(2024, 1, 1), History(keys=["k"], source="changes", effective_column="at"))
    with pytest.raises(ConfigError, match='`deletes="ignore"`'):
        retract(tmp_path, dt.date(2024, 1, 1), History(keys=["k"], deletes="ignore"))


def test_only_a_history_of_ours_is_retracted_from(tmp_path: Path) -> None:
    with pytest.raises(TableNotFoundError):
        retract(tmp_path / "none", dt.date(2024, 1, 1), MODE)
    write(tmp_path / "plain", pl.DataFrame({"k": ["a"]}), Overwrite())
    with pytest.raises(TableStateError, match="`adopt`"):
        retract(tmp_path / "plain", dt.date(2024, 1, 1), MODE)


def test_another_declaration_is_refused(tmp_path: Path) -> None:
    apply(tmp_path / "t", 1, a=1)
    with pytest.raises(ConfigError, match="another declaration"):
        retract(tmp_path / "t", dt.date(2024, 1, 1), History(keys=["v"]))


def test_what_later_snapshots_carried_over_is_undone_with_it(tmp_path: Path) -> None:
    def carrying(day: int) -> History:
        return History(keys=["k"], effective_at=dt.date(2024, 1, day), missing_column="carry")

    table = tmp_path / "t"
    for day, v in ((1, 1), (2, 2)):
        write(table, pl.DataFrame({"k": ["a"], "w": [0], "v": [v]}), carrying(day))
    write(table, pl.DataFrame({"k": ["a"], "w": [7]}), carrying(3))
    retract(table, dt.date(2024, 1, 2), History(keys=["k"], missing_column="carry"))
    found = pl.read_delta(str(table)).sort("valid_from").select("w", "v", pl.col("valid_from").dt.day())
    assert found.rows() == [(0, 1, 1), (7, 1, 3)]


def test_a_snapshot_is_retracted_while_others_are_applied(tmp_path: Path) -> None:
    table = tmp_path / "t"
    for day in (1, 5):
        apply(table, day, a=day)
    with ThreadPoolExecutor(4) as pool:
        tasks = [pool.submit(apply, table, day, a=day) for day in (2, 4, 6)]
        tasks.append(pool.submit(retract, table, dt.date(2024, 1, 5), MODE))  # type: ignore[arg-type]
        for task in tasks:
            task.result()
    assert timeline(table) == [("a", 1, 1, 2), ("a", 2, 2, 4), ("a", 4, 4, 6), ("a", 6, 6, None)]
