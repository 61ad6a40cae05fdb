"""Rebuilding a history from its batches: equal to applying them one by one, whatever became of the table."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable, Schema, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from fuse_dagster.core.errors import (
    ConfigError,
    ConflictError,
    DeleteGuardError,
    KeyValueError,
    SchemaError,
    TableStateError,
)
from fuse_dagster.tables import History, Overwrite, adopt, known_snapshots, rebuild, write
from fuse_dagster_tests.tables.history.test_properties import (
    PATIENT,
    feed,
    grouped,
    keys,
    mode_at,
    moment,
    plain,
    plain_statements,
    read,
    rows,
    statements,
    times,
    values,
)
from fuse_dagster_tests.tables.oracle import Statement, of_changes, of_snapshots

MODE = History(keys=["k"])
FEWER = settings(PATIENT, max_examples=20)  # each example writes a table several times


def break_nothing(table: str) -> None:
    pass


def lose_memory(table: str) -> None:
    shutil.rmtree(table + "/_fuse")


def delete_by_hand(table: str) -> None:
    DeltaTable(table).delete("k = 'a'")


def update_by_hand(table: str) -> None:
    DeltaTable(table).update(updates={"n": "n + 1"})


def go_back(table: str) -> None:
    if DeltaTable(table).version():
        DeltaTable(table).restore(0)


harm = st.sampled_from([break_nothing, lose_memory, delete_by_hand, update_by_hand, go_back])


@FEWER
@given(
    st.dictionaries(times, st.dictionaries(keys, values, max_size=3), min_size=2, max_size=5),
    harm,
    st.data(),
)
def test_snapshots_rebuilt_are_snapshots_applied(
    snapshots: dict[int, Any], harm: Callable[[str], None], data: st.DataObject
) -> None:
    *most, last = data.draw(st.permutations(sorted(snapshots)))
    mode = History(keys=["k", "n"], max_delete_fraction=None, allow_empty=True)
    with TemporaryDirectory() as folder:
        table = folder + "/t"
        for at in most:
            write(table, rows(snapshots[at]), mode_at(at))
        harm(table)
        version = DeltaTable(table).version()
        batches = [(moment(at), rows(snapshots[at])) for at in data.draw(st.permutations(most))]
        done = rebuild(table, batches, mode)
        if harm is break_nothing:
            assert (done.version, done.is_equal, done.memory_problem) == (None, True, None)
        assert DeltaTable(table).version() == version + int(done.version is not None)
        assert rebuild(table, batches, mode).version is None
        write(table, rows(snapshots[last]), mode_at(last))
        assert read(table) == of_snapshots({at: {k: plain(v) for k, v in s.items()} for at, s in snapshots.items()})


@FEWER
@given(statements, harm, st.booleans(), st.data())
def test_changes_rebuilt_are_changes_applied(
    batch: list[Statement], harm: Callable[[str], None], sequence: bool, data: st.DataObject
) -> None:
    said = batch if sequence else list({(s.key, s.at): s for s in batch}.values())
    mode = History(
        keys=["k", "n"],
        source="changes",
        effective_column="at",
        sequence_by="seq" if sequence else None,
        delete_when="gone",
        ignore=["gone"],
    )
    cut = data.draw(st.integers(1, len(said)))
    with TemporaryDirectory() as folder:
        table = folder + "/t"
        for group in grouped(said[:cut], data):
            write(table, feed(group, sequence=sequence), mode)
        harm(table)
        frames = [feed(group, sequence=sequence) for group in grouped(said[:cut], data)]
        done = rebuild(table, frames, mode)
        if harm is break_nothing:
            assert (done.version, done.is_equal, done.memory_problem) == (None, True, None)
        assert rebuild(table, frames, mode).version is None
        if said[cut:]:
            write(table, feed(said[cut:], sequence=sequence), mode)
        assert read(table) == of_changes(plain_statements(said))


DAYS = {1: {"a": 1, "b": 1}, 2: {"a": 2, "b": 1}, 3: {"a": 2, "b": 3}}


def batch(day: int, **more: Any) -> tuple[dt.date, pl.DataFrame]:
    frame = pl.DataFrame({"k": list(DAYS[day]), "v": list(DAYS[day].values())})
    return dt.date(2024, 1, day), frame.with_columns(**{name: pl.lit(value) for name, value in more.items()})


@pytest.fixture
def table(tmp_path: Path) -> str:
    path = str(tmp_path / "t")
    for at, frame in map(batch, DAYS):
        write(path, frame, History(keys=["k"], effective_at=at))
    return path


def test_the_difference_is_told_before_anything_is_written(table: str) -> None:
    DeltaTable(table).update(updates={"v": "9"}, predicate="k = 'b' and v = 1")
    told = rebuild(table, map(batch, DAYS), MODE, dry_run=True)
    assert (told.version, told.batches, told.rows_total) == (None, 3, 4)
    assert (told.only_in_table, told.only_in_rebuilt, told.is_equal) == (1, 1, False)
    assert told.table_examples.select("k", "v").rows() == [("b", 9)]
    assert told.rebuilt_examples.select("k", "v").rows() == [("b", 1)]
    assert told.memory_problem is not None
    assert "UPDATE, changed 1 rows" in told.memory_problem
    assert DeltaTable(table).version() == 3
    assert rebuild(table, map(batch, DAYS), MODE).version == 4
    assert rebuild(table, map(batch, DAYS), MODE).version is None


def test_a_lost_memory_comes_back_without_rows_being_written(table: str) -> None:
    files = DeltaTable(table).file_uris()
    lose_memory(table)
    done = rebuild(table, map(batch, DAYS), MODE)
    assert (done.version, done.is_equal) == (3, True)
    assert "is gone or damaged" in str(done.memory_problem)
    assert DeltaTable(table).file_uris() == files
    assert known_snapshots(table).height == 3
    assert write(table, batch(2)[1], History(keys=["k"], effective_at=batch(2)[0])).version is None


def test_what_the_batches_leave_out_is_told(table: str) -> None:
    told = rebuild(table, map(batch, [1, 3]), MODE, dry_run=True)
    assert told.forgotten == (dt.datetime(2024, 1, 2, tzinfo=dt.UTC),)
    assert told.memory_problem == "it knows other snapshots"
    assert (told.only_in_table, told.only_in_rebuilt) == (2, 2)


def test_another_declaration_is_taken_from_then_on(table: str) -> None:
    ignoring = History(keys=["k"], ignore=["v"])
    done = rebuild(table, map(batch, DAYS), ignoring)
    assert (done.memory_problem, done.rows_total) == ("it belongs to another declaration", 2)
    assert pl.read_delta(table).sort("k")["v"].to_list() == [1, 1]
    with pytest.raises(ConfigError, match="`rebuild`"):
        write(table, batch(3)[1], History(keys=["k"], effective_at=dt.date(2024, 1, 4)))
    later = History(keys=["k"], ignore=["v"], effective_at=dt.date(2024, 1, 4))
    assert write(table, batch(3)[1], later).unchanged == 2


def test_other_names_and_hashed_keys_replace_the_columns_in_one_commit(table: str) -> None:
    mode = History(keys=["k"], valid_from="since", valid_to="until", surrogate_key="sk")
    done = rebuild(table, map(batch, DAYS), mode)
    assert done.version == 3
    assert "valid_from: only in the table" in done.schema_changes
    assert pl.read_delta(table).columns == ["k", "v", "is_current", "since", "until", "sk"]
    assert pl.read_delta(table).height == 4


def test_a_type_that_changed_in_the_batches_changes_in_the_table(table: str) -> None:
    text = [(at, frame.cast({"v": pl.String})) for at, frame in map(batch, DAYS)]
    done = rebuild(table, text, MODE)
    assert done.schema_changes == ("v: Int64 becomes String",)
    assert pl.read_delta(table).filter(k="a").sort("valid_from")["v"].to_list() == ["1", "2"]


def test_a_narrower_type_and_an_empty_column_do_not_rewrite_the_table(table: str) -> None:
    DeltaTable(table).alter.add_columns(Schema.from_arrow(pa.schema([("note", pa.string())])).fields)
    narrow = [(at, frame.cast({"v": pl.Int16})) for at, frame in map(batch, DAYS)]
    assert rebuild(table, narrow, MODE).version is None
    assert pl.read_delta(table).schema["v"] == pl.Int64


def test_a_column_of_the_table_that_no_batch_brings_is_told_and_goes(table: str) -> None:
    write(table, batch(3, note="x")[1], History(keys=["k"], effective_at=dt.date(2024, 1, 4)))
    done = rebuild(table, map(batch, DAYS), MODE)
    assert done.schema_changes == ("note: only in the table",)
    assert "note" not in pl.read_delta(table).columns


def test_a_history_is_built_where_there_was_none(tmp_path: Path) -> None:
    done = rebuild(tmp_path / "new", (batch(day) for day in (3, 1, 2)), MODE)
    assert (done.version, done.only_in_rebuilt, done.only_in_table, done.memory_problem) == (0, 4, 0, None)
    assert rebuild(tmp_path / "new", map(batch, DAYS), MODE).version is None


def test_frames_with_an_effective_column(tmp_path: Path) -> None:
    frames = [batch(number, released=batch(number)[0])[1] for number in (2, 3, 1)]
    mode = History(keys=["k"], effective_column="released")
    assert rebuild(tmp_path / "t", frames, mode).rows_total == 4
    with pytest.raises(ConfigError, match=r"batch 1 is a tuple.*`effective_column` `released`"):
        rebuild(tmp_path / "t", [batch(1)], mode)


def test_what_was_said_last_of_deleted_keys_is_rebuilt(tmp_path: Path) -> None:
    mode = History(
        keys=["k"],
        source="changes",
        effective_column="at",
        delete_when="gone",
        ignore=["gone"],
        overwrite_columns=["o"],
    )
    schema = {"k": pl.String, "v": pl.Int64, "o": pl.String, "gone": pl.Boolean, "at": pl.Datetime("us", "UTC")}
    said = [("a", 1, "x", False, 1), ("a", None, None, True, 2), ("b", 1, "x", False, 3), ("b", 1, "y", False, 4)]
    frames = [pl.DataFrame([(*row, moment(at))], schema=schema, orient="row") for *row, at in said]
    for frame in frames:
        write(tmp_path / "t", frame, mode)
    assert rebuild(tmp_path / "t", frames, mode).version is None
    lose_memory(str(tmp_path / "t"))
    assert rebuild(tmp_path / "t", reversed(frames), mode).is_equal
    assert rebuild(tmp_path / "t", frames, mode).version is None


def test_batches_that_cannot_be_placed_are_refused(table: str) -> None:
    with pytest.raises(ConfigError, match="batch 2 is a `DataFrame` without a time"):
        rebuild(table, [batch(1), batch(2)[1]], MODE)
    with pytest.raises(ConfigError, match="`batches` is empty"):
        rebuild(table, [], MODE)
    assert DeltaTable(table).version() == 2


def test_the_guards_apply(table: str) -> None:
    with pytest.raises(DeleteGuardError):
        rebuild(table, [batch(1), (batch(2)[0], batch(2)[1].clear())], MODE)
    assert DeltaTable(table).version() == 2


def keyless(day: int) -> tuple[dt.date, pl.DataFrame]:
    """The batch of a day with one more row, which has no key."""
    at, frame = batch(day)
    return at, pl.concat([frame, pl.DataFrame({"k": [None], "v": [day]}, schema=frame.schema)])


REJECTING = History(keys=["k"], null_keys="reject")


def test_rejected_rows_are_handed_over_before_the_one_commit(table: str) -> None:
    DeltaTable(table).delete("k = 'a'")
    taken: list[list[int]] = []

    def take(rows: pl.DataFrame) -> None:
        assert DeltaTable(table).version() == 3, "nothing is committed yet"
        assert rows["_rejection_reasons"].to_list() == [["null_key"]]
        taken.append(rows["v"].to_list())

    with pytest.raises(ConfigError, match=f"the write to `{table}` has .* give `on_rejected`"):
        rebuild(table, map(keyless, DAYS), REJECTING)
    assert rebuild(table, map(keyless, DAYS), REJECTING, dry_run=True, on_rejected=take).only_in_rebuilt == 2
    assert rebuild(table, map(keyless, DAYS), REJECTING, dry_run=True).only_in_rebuilt == 2
    assert not taken
    done = rebuild(table, map(keyless, [3, 1, 2]), REJECTING, on_rejected=take)
    assert (done.version, done.rows_total, taken) == (4, 4, [[3], [1], [2]])
    again: list[pl.DataFrame] = []
    assert rebuild(table, map(keyless, DAYS), REJECTING, on_rejected=again.append).version is None
    assert len(again) == 3


def test_who_fails_to_take_rejected_rows_stops_the_rebuild(table: str) -> None:
    def refuse(rows: pl.DataFrame) -> None:
        raise OSError(f"no place for {rows.height} rows")

    lose_memory(table)
    with pytest.raises(OSError, match="no place for 1 rows"):
        rebuild(table, map(keyless, DAYS), REJECTING, on_rejected=refuse)
    assert DeltaTable(table).version() == 2


def test_rejected_rows_are_handed_over_once_however_often_the_commit_is_tried(table: str) -> None:
    """While the rows are taken, somebody else commits."""
    lose_memory(table)
    taken: list[pl.DataFrame] = []

    def take(rows: pl.DataFrame) -> None:
        taken.append(rows)
        DeltaTable(table).alter.set_table_properties({"delta.appendOnly": "false"})

    assert rebuild(table, [*map(batch, [1, 2]), keyless(3)], REJECTING, on_rejected=take).version == 4
    assert len(taken) == 1


def test_batches_without_any_key_are_refused(table: str) -> None:
    mode = History(keys=["k"], deletes="ignore", null_keys="drop")
    with pytest.raises(KeyValueError, match="no row of the 2 batches has a whole key `k`"):
        rebuild(table, [(at, frame[-1:]) for at, frame in map(keyless, [1, 2])], mode)
    with pytest.raises(DeleteGuardError, match="none of them has a whole key"):
        rebuild(table, [batch(1), (batch(2)[0], keyless(2)[1][-1:])], REJECTING, on_rejected=print)
    assert DeltaTable(table).version() == 2


def test_a_batch_applied_meanwhile_is_not_lost(table: str) -> None:
    def slowly() -> Iterator[tuple[dt.date, pl.DataFrame]]:
        yield batch(1)
        write(table, batch(2)[1], History(keys=["k"], effective_at=dt.date(2024, 1, 9)))
        yield batch(2)

    with pytest.raises(ConflictError, match="while it was being rebuilt"):
        rebuild(table, slowly(), MODE)
    assert known_snapshots(table).height == 4


def test_an_optimize_meanwhile_is_no_matter(table: str) -> None:
    def slowly() -> Iterator[tuple[dt.date, pl.DataFrame]]:
        yield from map(batch, [1, 3])
        DeltaTable(table).optimize.compact()

    assert rebuild(table, slowly(), MODE).version == 4
    assert known_snapshots(table).height == 2


def test_a_table_of_others_is_not_overwritten(tmp_path: Path) -> None:
    write(tmp_path / "t", batch(1)[1], Overwrite())
    with pytest.raises(TableStateError, match="`adopt`"):
        rebuild(tmp_path / "t", [batch(1)], MODE)


def test_what_stays_not_null_takes_no_null(tmp_path: Path) -> None:
    schema = pa.schema([
        pa.field("k", pa.string()),
        pa.field("v", pa.int64(), nullable=False),
        pa.field("valid_from", pa.timestamp("us", "UTC")),
        pa.field("valid_to", pa.timestamp("us", "UTC")),
        pa.field("is_current", pa.bool_()),
    ])  # fmt: skip
    start = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    rows = [{"k": "a", "v": 1, "valid_from": start, "valid_to": None, "is_current": True}]
    write_deltalake(tmp_path / "t", pa.Table.from_pylist(rows, schema=schema))
    adopt(tmp_path / "t", MODE)
    null = pl.DataFrame({"k": ["a"], "v": [None]}, schema={"k": pl.String, "v": pl.Int64})
    with pytest.raises(SchemaError, match="`v` is NOT NULL"):
        rebuild(tmp_path / "t", [(start, null)], MODE)
