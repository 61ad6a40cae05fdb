"""History by scenarios: what is refused, what a message says, and what a commit leaves behind."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from fuse_dagster.core.errors import (
    ConfigError,
    CorrectionError,
    DeleteGuardError,
    KeyValueError,
    SchemaError,
    TableStateError,
    TimeValueError,
)
from fuse_dagster.tables import History, Upsert, as_of, current, write

JAN, FEB, MAR = (dt.datetime(2024, month, 1, tzinfo=dt.UTC) for month in (1, 2, 3))


def snapshot(**values: Any) -> pl.DataFrame:
    return pl.DataFrame({"k": list(values), "v": list(values.values())})


def at(moment: dt.datetime, **options: Any) -> History:
    return History(keys=["k"], effective_at=moment, **options)


def state(table: Path) -> tuple[int, list[str]]:
    """What must not move when a write is refused."""
    return DeltaTable(str(table)).version(), sorted(p.name for p in table.rglob("*.parquet") if "_fuse" not in p.parts)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "t"
    write(path, snapshot(a=1, b=2, c=3, d=4), at(JAN))
    return path


def test_a_snapshot_cut_short_is_refused_with_the_numbers(table: Path) -> None:
    before = state(table)
    with pytest.raises(
        DeleteGuardError,
        match=r"has 1 keys; of the snapshot before it, 3 of 4 keys are absent \(75.0%; at the most 50.0%\)",
    ):
        write(table, snapshot(a=1), at(FEB))
    assert state(table) == before
    assert write(table, snapshot(a=1), at(FEB, max_delete_fraction=0.8)).closed == 3


def test_a_late_snapshot_is_guarded_against_the_next_one(table: Path) -> None:
    write(table, snapshot(a=1, b=2, c=3, d=4), at(MAR))
    late = snapshot(**dict.fromkeys("abcdefghij", 0))
    with pytest.raises(DeleteGuardError, match=r"from the next one, of 2024-03-01.* 6 of 10"):
        write(table, late, at(FEB))


def test_a_correction_cut_short_is_guarded_against_what_it_corrects(table: Path) -> None:
    with pytest.raises(DeleteGuardError, match="of the one it corrects"):
        write(table, snapshot(a=1), at(JAN))


def test_times_of_single_rows_are_not_taken_for_snapshots(tmp_path: Path) -> None:
    feed = snapshot(a=1, b=2, c=3).with_columns(updated_at=pl.Series([JAN, FEB, MAR]))
    with pytest.raises(DeleteGuardError, match='declare `source="changes"`'):
        write(tmp_path / "t", feed, History(keys=["k"], effective_column="updated_at"))
    assert not (tmp_path / "t").exists()


def test_an_empty_snapshot_needs_a_word(table: Path) -> None:
    with pytest.raises(DeleteGuardError, match="no rows"):
        write(table, snapshot().cast({"k": pl.String, "v": pl.Int64}), at(FEB))
    allowed = at(FEB, allow_empty=True, max_delete_fraction=None)
    assert write(table, pl.DataFrame(schema={"k": pl.String, "v": pl.Int64}), allowed).closed == 4


def test_the_same_snapshot_again_writes_nothing(table: Path) -> None:
    before = state(table)
    result = write(table, snapshot(d=4, c=3, b=2, a=1), at(JAN))
    assert result.version is None
    assert (result.unchanged, result.table_version) == (4, 0)
    assert state(table) == before


def test_an_unchanged_snapshot_keeps_its_time_unless_told_to_forget(table: Path) -> None:
    same = snapshot(a=1, b=2, c=3, d=4)
    assert write(table, same, at(FEB, restatements="forget")).version is None
    assert write(table, same, at(FEB)).version == 1
    late = dt.datetime(2024, 1, 15, tzinfo=dt.UTC)
    write(table, snapshot(a=9, b=2, c=3, d=4), at(late))
    ends = pl.read_delta(str(table)).filter(k="a", v=9).select("valid_from", "valid_to").row(0)
    assert ends == (late, FEB)


def test_a_correction_can_be_refused(table: Path) -> None:
    before = state(table)
    with pytest.raises(CorrectionError, match="1 changed"):
        write(table, snapshot(a=1, b=2, c=3, d=5), at(JAN, on_correction="error"))
    assert state(table) == before


def test_one_write_is_one_commit_also_when_a_column_appears(table: Path) -> None:
    wider = snapshot(a=1, b=2, c=3, d=4).with_columns(lid=pl.Series([None, "x", "", None]))
    result = write(table, wider, at(FEB))
    assert (result.version, result.updated, result.unchanged) == (1, 2, 2)
    assert result.schema_changes == ("lid: string added",)
    assert pl.read_delta(str(table)).filter(k="a")["valid_from"].to_list() == [JAN]


def test_a_column_that_vanishes_is_refused_in_either_order(table: Path) -> None:
    with pytest.raises(SchemaError, match=r"lacks \['v'\]"):
        write(table, snapshot(a=1, b=2, c=3, d=4).drop("v"), at(FEB))
    with pytest.raises(SchemaError, match="the later one of 2024-01-01"):
        write(table, snapshot(a=1, b=2, c=3).with_columns(extra=pl.lit(1)), at(JAN - dt.timedelta(days=1)))


def test_a_column_that_grows_is_widened_in_one_commit(tmp_path: Path) -> None:
    table = tmp_path / "t"
    write(table, snapshot(a=1, b=2).cast({"v": pl.Int16}), at(JAN))
    result = write(table, snapshot(a=1, b=100_000).cast({"v": pl.Int32}), at(FEB))
    assert (result.version, result.updated) == (1, 1)
    assert result.schema_changes == ("v: widened to int32",)
    assert write(table, snapshot(a=1, b=100_000).cast({"v": pl.Int16}, strict=False).drop_nulls(), at(MAR)).closed == 1


@pytest.mark.parametrize(
    ("frame", "error", "message"),
    [
        (pl.DataFrame({"k": ["a", None], "v": [1, 2]}), KeyValueError, "1 rows have a null key `k`: .*v=2"),
        (pl.DataFrame({"k": ["a", "a"], "v": [1, 2]}), KeyValueError, "stand more than once with different values"),
        (pl.DataFrame({"k": [1.0], "v": [1]}), SchemaError, "`k` is float64 in the batch but string"),
        (pl.DataFrame({"k": ["a"], "v": ["x"]}), SchemaError, "cast it in the input"),
        (pl.DataFrame({"k": ["a"], "v": [1], "valid_to": [1]}), SchemaError, "the table adds by itself"),
        (pl.DataFrame({"k": ["a"], "v": [1], "V": [1]}), SchemaError, "differ only in case"),
        (pl.DataFrame({"key": ["a"], "v": [1]}), SchemaError, "`keys` names `k`"),
        (pl.DataFrame({"k": ["a"], "v": [dt.timedelta(1)]}), SchemaError, "Delta has no type for"),
    ],
)
def test_bad_batches_leave_the_table_as_it_was(table: Path, frame: pl.DataFrame, error: type, message: str) -> None:
    before = state(table)
    with pytest.raises(error, match=message):
        write(table, frame, at(FEB, max_delete_fraction=None))
    assert state(table) == before


def test_float_keys_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="has no exact equality"):
        write(tmp_path / "t", pl.DataFrame({"k": [1.5]}), at(JAN))


def test_copies_collapse_even_where_ignored_columns_differ(tmp_path: Path) -> None:
    frame = pl.DataFrame({"k": ["a", "a"], "v": [1, 1], "_row": [7, 8]})
    result = write(tmp_path / "t", frame, at(JAN, ignore=["_row"]))
    assert (result.inserted, result.duplicates) == (1, 1)
    assert pl.read_delta(str(tmp_path / "t"))["_row"].to_list() == [7]


def test_another_declaration_is_refused(table: Path) -> None:
    with pytest.raises(ConfigError, match=r"`track` was `None`, is `\['v'\]`"):
        write(table, snapshot(a=1), at(FEB, track=["v"], max_delete_fraction=None))


def test_a_plain_table_is_not_taken_for_a_history(tmp_path: Path) -> None:
    write_deltalake(str(tmp_path / "t"), snapshot(a=1))
    with pytest.raises(TableStateError, match="no history was written to"):
        write(tmp_path / "t", snapshot(a=1), at(JAN))


def test_lost_memory_is_an_error_and_not_a_guess(table: Path) -> None:
    for file in (table / "_fuse").iterdir():
        file.unlink()
    with pytest.raises(TableStateError, match="memory of the history"):
        write(table, snapshot(a=1, b=2, c=3, d=4), at(FEB))


@pytest.mark.parametrize("deed", ["delete", "append", "restore"])
def test_rows_changed_by_others_are_noticed(table: Path, deed: str) -> None:
    write(table, snapshot(a=1, b=2, c=3, d=5), at(FEB))
    opened = DeltaTable(str(table))
    match deed:
        case "delete":
            opened.delete("k = 'a'")
        case "append":
            write_deltalake(opened, pl.read_delta(str(table)).head(1), mode="append")
        case "restore":
            opened.restore(0)
    with pytest.raises(TableStateError, match="was changed by others since version 1"):
        write(table, snapshot(a=1, b=2, c=3, d=6), at(MAR))


def test_files_compacted_by_others_do_no_harm(table: Path) -> None:
    write(table, snapshot(a=1, b=2, c=3, d=5), at(FEB))
    DeltaTable(str(table)).optimize.compact()
    assert write(table, snapshot(a=1, b=2, c=3, d=6), at(MAR)).updated == 1
    assert pl.read_delta(str(table)).filter(k="d").sort("valid_from")["v"].to_list() == [4, 5, 6]


def test_memory_survives_checkpoint_log_cleanup_and_vacuum(table: Path) -> None:
    write(table, snapshot(a=1, b=2, c=3, d=5), at(MAR))
    opened = DeltaTable(str(table))
    opened.create_checkpoint()
    opened.cleanup_metadata()
    opened.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)
    assert write(table, snapshot(a=1, b=2, c=3, d=4), at(FEB)).version is not None
    assert pl.read_delta(str(table)).filter(k="d").sort("valid_from")["valid_to"].to_list() == [MAR, None]


def test_closed_versions_are_neither_read_nor_rewritten(table: Path) -> None:
    write(table, snapshot(a=1, b=2, c=3, d=5), at(FEB))
    [closed] = [
        path for path in DeltaTable(str(table)).file_uris() if pl.read_parquet(path)["valid_to"].null_count() == 0
    ]
    Path(closed).write_bytes(b"not read")
    write(table, snapshot(a=1, b=2, c=3, d=6), at(MAR))
    assert closed in DeltaTable(str(table)).file_uris()


def test_a_damaged_file_is_an_error_before_the_commit(table: Path) -> None:
    [only] = DeltaTable(str(table)).file_uris()
    Path(only).write_bytes(Path(only).read_bytes()[:100])
    with pytest.raises(TableStateError, match="cannot be read"):
        write(table, snapshot(a=1, b=2, c=3, d=9), at(FEB))


def test_a_constraint_is_not_bypassed(table: Path) -> None:
    DeltaTable(str(table)).alter.add_constraint({"small": "v < 10"})
    with pytest.raises(TableStateError, match=r"delta.constraints.small"):
        write(table, snapshot(a=1, b=2, c=3, d=99), at(FEB))


def test_times_in_a_zone(tmp_path: Path) -> None:
    frame = snapshot(a=1)
    with pytest.raises(TimeValueError, match="has no zone"):
        write(tmp_path / "t", frame, at(dt.datetime(2024, 6, 1)))  # noqa: DTZ001 - the point of the test
    with pytest.raises(TimeValueError, match="twice or never in `Europe/Vienna`"):
        write(tmp_path / "t", frame, at(dt.datetime(2024, 10, 27, 2, 30), timezone="Europe/Vienna"))  # noqa: DTZ001
    write(tmp_path / "t", frame, at(dt.date(2024, 6, 1), timezone="Europe/Vienna"))
    assert pl.read_delta(str(tmp_path / "t"))["valid_from"].item() == dt.datetime(2024, 5, 31, 22, tzinfo=dt.UTC)


def test_changes_need_an_order_where_a_delete_meets_an_insert(tmp_path: Path) -> None:
    feed = pl.DataFrame({"k": ["a", "a"], "v": [1, None], "op": ["I", "D"], "at": [JAN, JAN]})
    mode = History(keys=["k"], source="changes", effective_column="at", delete_when="op = 'D'")
    with pytest.raises(KeyValueError, match="more than once"):
        write(tmp_path / "t", feed, mode)


def test_a_known_statement_is_corrected_only_on_request(tmp_path: Path) -> None:
    feed = pl.DataFrame({"k": ["a"], "v": [1], "at": [JAN]})
    mode = History(keys=["k"], source="changes", effective_column="at")
    write(tmp_path / "t", feed, mode)
    with pytest.raises(CorrectionError, match="say something else"):
        write(tmp_path / "t", feed.with_columns(v=2), mode)
    replacing = History(keys=["k"], source="changes", effective_column="at", on_correction="replace")
    assert write(tmp_path / "t", feed.with_columns(v=2), replacing).updated == 0
    assert pl.read_delta(str(tmp_path / "t"))["v"].to_list() == [2]


@pytest.mark.parametrize(("ignore", "operations"), [([], ["I", "U"]), (["op"], ["I"])])
def test_an_operation_code_makes_versions_unless_ignored(
    tmp_path: Path, ignore: list[str], operations: list[str]
) -> None:
    feed = pl.DataFrame({"k": ["a", "a"], "v": [1, 1], "op": ["I", "U"], "at": [JAN, FEB]})
    mode = History(keys=["k"], source="changes", effective_column="at", delete_when="op = 'D'", ignore=ignore)
    write(tmp_path / "t", feed, mode)
    assert pl.read_delta(str(tmp_path / "t")).sort("valid_from")["op"].to_list() == operations


def test_a_predicate_that_reads_nothing_known_is_refused(tmp_path: Path) -> None:
    feed = pl.DataFrame({"k": ["a"], "at": [JAN]})
    with pytest.raises(SchemaError, match="`delete_when` names `op`"):
        write(tmp_path / "t", feed, History(keys=["k"], source="changes", effective_column="at", delete_when="op='D'"))


def test_reading_as_of_includes_the_start_and_excludes_the_end(table: Path) -> None:
    write(table, snapshot(a=9, b=2, c=3), at(FEB))
    assert as_of(table, FEB - dt.timedelta(microseconds=1)).filter(k="a").collect()["v"].to_list() == [1]
    assert as_of(table, FEB).filter(k="a").collect()["v"].to_list() == [9]
    assert as_of(table, dt.date(2023, 12, 31)).collect().is_empty()
    assert sorted(current(table).collect()["k"]) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keys": []}, "`keys` is empty"),
        ({"source": "snapshots"}, "valid: 'snapshot', 'changes'"),
        ({"source": "changes"}, "needs `effective_column`"),
        ({"sequence_by": "s"}, 'goes with `source="changes"`'),
        ({"effective_at": JAN, "effective_column": "at"}, "exclude each other"),
        ({"max_delete_fraction": 50}, "a share from 0 to 1"),
        ({"timezone": "Vienna"}, "IANA name"),
        ({"track": ["v"], "ignore": ["v"]}, "both in `track` and in `ignore`"),
        ({"track": ["k"]}, "a column has one role"),
        ({"valid_to": "valid_from"}, "needs a name of its own"),
    ],
)
def test_declarations_that_cannot_work(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        History(**{"keys": ["k"], **options})


def test_all_problems_of_a_declaration_are_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"`keys` is empty.*`timezone` is `Mars`"):
        History(keys=[], timezone="Mars")


def test_a_snapshot_before_all_others_is_counted_against_the_next(table: Path) -> None:
    earlier = snapshot(a=1, b=0, x=9)
    result = write(table, earlier, at(JAN - dt.timedelta(days=1)))
    assert (result.inserted, result.updated, result.unchanged, result.closed) == (1, 1, 1, 1)
    assert write(table, earlier, at(JAN - dt.timedelta(days=1))).unchanged == 3


def test_a_lost_segment_of_facts_is_an_error(tmp_path: Path) -> None:
    feed = pl.DataFrame({"k": ["a", "a"], "v": [1, 1], "at": [JAN, FEB]})
    mode = History(keys=["k"], source="changes", effective_column="at")
    write(tmp_path / "t", feed, mode)
    [segment] = (tmp_path / "t/_fuse").glob("facts-*.parquet")
    segment.unlink()
    with pytest.raises(TableStateError, match="is gone or damaged"):
        write(tmp_path / "t", feed.with_columns(at=pl.lit(MAR)).unique(), mode)


def test_an_upserted_table_is_not_taken_for_a_history(tmp_path: Path) -> None:
    write(tmp_path / "t", snapshot(a=1), Upsert(keys="k"))
    write(tmp_path / "t", snapshot(a=2), Upsert(keys="k"))
    with pytest.raises(TableStateError, match="no history was written to"):
        write(tmp_path / "t", snapshot(a=1), at(JAN))


def test_long_decimals_find_their_version(tmp_path: Path) -> None:
    key = pl.Series("k", [Decimal("1234567890123456.78"), Decimal("9007199254740993.01")], dtype=pl.Decimal(30, 2))
    feed = pl.DataFrame({"k": key, "v": [1, 1], "at": [JAN, JAN]})
    mode = History(keys=["k"], source="changes", effective_column="at")
    write(tmp_path / "t", feed, mode)
    later = feed.with_columns(v=2, at=pl.lit(FEB))
    assert write(tmp_path / "t", later, mode).updated == 2
    assert current(tmp_path / "t").collect().height == 2


def test_the_guard_says_where_the_snapshot_came_from(tmp_path: Path) -> None:
    first = snapshot(a=1, b=2, c=3).with_columns(_file=pl.lit("one.csv"))
    write(tmp_path / "t", first, at(JAN, ignore=["_file"]))
    with pytest.raises(DeleteGuardError, match=r"the snapshot's first row says \(_file='two.csv'\)"):
        write(tmp_path / "t", first.head(1).with_columns(_file=pl.lit("two.csv")), at(FEB, ignore=["_file"]))


def test_the_same_statement_corrected_more_than_once(tmp_path: Path) -> None:
    mode = History(
        keys=["k"], source="changes", effective_column="at", delete_when="v IS NULL", on_correction="replace"
    )
    for batch in (
        [("a", 1, JAN), ("a", 1, FEB)],
        [("a", None, FEB)],
        [("a", 5, FEB)],
        [("a", 1, FEB)],
        [("a", 2, JAN)],
    ):
        frame = pl.DataFrame(
            batch, schema={"k": pl.String, "v": pl.Int64, "at": pl.Datetime("us", "UTC")}, orient="row"
        )
        write(tmp_path / "t", frame, mode)
    found = pl.read_delta(str(tmp_path / "t")).sort("valid_from").select("v", "valid_from", "valid_to").rows()
    assert found == [(2, JAN, FEB), (1, FEB, None)]


def test_a_delete_said_again_after_a_correction_is_remembered_again(tmp_path: Path) -> None:
    """Memory holds several facts of one time then; the newest is what was said last."""
    mode = History(
        keys=["k"], source="changes", effective_column="at", delete_when="v IS NULL", on_correction="replace"
    )
    for value, day in ((None, 5), ("A", 5), ("A", 1), (None, 5), (None, 3), ("A", 4)):
        frame = pl.DataFrame(
            {"k": ["a"], "v": [value], "at": [JAN.replace(day=day)]}, schema_overrides={"v": pl.String}
        )
        write(tmp_path / "t", frame, mode)
    found = pl.read_delta(str(tmp_path / "t")).sort("valid_from").select("valid_from", "valid_to").rows()
    assert found == [(JAN, JAN.replace(day=3)), (JAN.replace(day=4), JAN.replace(day=5))]


@pytest.mark.parametrize("predicate", ["true", "NULL", "max(v) = 2", "v"])
def test_a_predicate_that_does_not_look_at_rows_is_refused(tmp_path: Path, predicate: str) -> None:
    feed = pl.DataFrame({"k": [1, 2], "v": [1, 2], "at": [JAN, JAN]})
    with pytest.raises(ConfigError, match=r"single rows|of each row"):
        write(tmp_path / "t", feed, History(keys=["k"], source="changes", effective_column="at", delete_when=predicate))


@pytest.mark.parametrize(
    ("moment", "zone"),
    [
        (dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=5))), None),
        (dt.date(1, 1, 1), "Europe/Vienna"),
        (dt.datetime(9999, 12, 31, 23), "America/New_York"),  # noqa: DTZ001 - in that zone
    ],
)
def test_times_before_and_after_all_years_are_refused(tmp_path: Path, moment: Any, zone: str | None) -> None:
    with pytest.raises(TimeValueError, match="years 1 to 9999"):
        write(tmp_path / "t", snapshot(a=1), at(moment, timezone=zone))


def test_a_zone_that_is_none_is_told(table: Path) -> None:
    with pytest.raises(ConfigError, match="IANA name"):
        as_of(table, dt.date(2024, 1, 1), timezone="Nope")


def test_half_a_manifest_of_a_killed_writer_is_never_read(tmp_path: Path) -> None:
    mode = History(keys=["k"], effective_at=JAN)
    write(tmp_path / "t", pl.DataFrame({"k": ["a"], "v": [1]}), mode)
    [manifest] = (tmp_path / "t/_fuse").glob("*.parquet")
    half = manifest.with_name(manifest.name.replace(manifest.stem.rpartition("-")[2], "0" * 32))
    half.write_bytes(manifest.read_bytes()[:40])
    again = write(tmp_path / "t", pl.DataFrame({"k": ["a"], "v": [2]}), replace(mode, effective_at=FEB))
    assert again.updated == 1
