"""Upsert: conditions, sequences, deletes and whole truths, one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from fuse_dagster.core.errors import (
    ConfigError,
    CorrectionError,
    DeleteGuardError,
    FuseError,
    KeyValueError,
    SchemaError,
    TableStateError,
)
from fuse_dagster.core.results import WriteResult
from fuse_dagster.tables import Append, Upsert, write

SCHEMA = {"k": pl.String, "s": pl.Int64, "v": pl.String}
WITH_OP = {**SCHEMA, "op": pl.String}
Row = tuple[Any, ...]


def frame(*rows: Row) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA if not rows or len(rows[0]) == 3 else WITH_OP, orient="row")


def rows(table: Path) -> list[Row]:
    return sorted(pl.read_delta(str(table)).rows())


def counts(result: WriteResult) -> dict[str, int]:
    """What is not zero, after a look at whether it adds up."""
    assert result.rows_in >= result.inserted + result.updated + result.unchanged + result.duplicates
    names = ("inserted", "updated", "unchanged", "duplicates", "closed", "deleted")
    return {name: getattr(result, name) for name in names if getattr(result, name)}


def test_insert_only_leaves_known_keys_alone(tmp_path: Path) -> None:
    mode = Upsert(keys="k", when_matched="ignore")
    write(tmp_path / "t", frame(("a", 1, "old")), mode)
    result = write(tmp_path / "t", frame(("a", 2, "new"), ("b", 2, "new")), mode)
    assert counts(result) == {"inserted": 1, "unchanged": 1}
    assert rows(tmp_path / "t") == [("a", 1, "old"), ("b", 2, "new")]
    assert write(tmp_path / "t", frame(("a", 3, "x")), mode).version is None


def test_a_row_is_updated_only_where_the_condition_holds(tmp_path: Path) -> None:
    mode = Upsert(keys="k", update_when="new.s > old.s OR old.v = 'new.s'")
    write(tmp_path / "t", frame(("a", 5, "x"), ("b", None, "x"), ("c", 5, "x"), ("d", 9, "new.s")), mode)
    batch = frame(("a", 4, "y"), ("b", 1, "y"), ("c", 6, "y"), ("d", 1, "y"), ("e", 0, "y"))
    assert counts(write(tmp_path / "t", batch, mode)) == {"inserted": 1, "updated": 2, "unchanged": 2}
    assert rows(tmp_path / "t") == [("a", 5, "x"), ("b", None, "x"), ("c", 6, "y"), ("d", 1, "y"), ("e", 0, "y")]


@pytest.mark.parametrize("name", ["sp ace", 'quo"te', "a.b", "ünï", "New", "old"])
def test_a_condition_may_name_any_column(tmp_path: Path, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    mode = Upsert(keys="k", update_when=f"NEW.{quoted} > old.{quoted}")
    for value in (1, 3, 2):
        write(tmp_path / "t", pl.DataFrame({"k": [1], name: [value]}), mode)
    assert rows(tmp_path / "t") == [(1, 3)]


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("updated_at > old.updated_at", "`updated_at` is neither a `new.` nor an `old.` column"),
        ("new.a.b > 1", "is neither"),
        ("max(new.s) > old.s", "takes several rows together"),
        ("1 = 1", "reads no column"),
        ("new.s >", "no SQL"),
    ],
)
def test_a_condition_that_compares_no_rows_fails_when_it_is_declared(condition: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"Upsert: `update_when` is .*{message}"):
        Upsert(keys="k", update_when=condition)


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        (Upsert(keys="k", update_when="new.w > old.s"), "reads `new.w`. Valid"),
        (Upsert(keys="k", update_when="new.s > old.vv"), "reads `old.vv`. Did you mean `v`"),
        (Upsert(keys="k", update_when="new.s > old.v"), "cannot be evaluated"),
        (Upsert(keys="k", update_when="new.s"), "does not say yes or no"),
        (Upsert(keys="k", delete_when="opp = 'D'"), "reads `opp`"),
        (Upsert(keys="k", delete_when="s = 'D'"), "cannot be evaluated"),
    ],
)
def test_a_condition_that_does_not_fit_the_columns_is_refused(tmp_path: Path, mode: Upsert, message: str) -> None:
    write(tmp_path / "t", frame(("a", 1, "x")), Append())
    with pytest.raises(ConfigError, match=message):
        write(tmp_path / "t", frame(("a", 2, "y")), mode)
    assert DeltaTable(str(tmp_path / "t")).version() == 0


IN_ORDER = Upsert(keys="k", sequence_by="s")


def test_the_highest_sequence_holds(tmp_path: Path) -> None:
    result = write(
        tmp_path / "t", frame(("a", 2, "two"), ("a", 3, "three"), ("a", 1, "one"), ("a", 3, "three")), IN_ORDER
    )
    assert counts(result) == {"inserted": 1, "unchanged": 2, "duplicates": 1}
    assert write(tmp_path / "t", frame(("a", 2, "late"), ("a", 3, "three")), IN_ORDER).version is None
    assert counts(write(tmp_path / "t", frame(("a", 4, "three")), IN_ORDER)) == {"updated": 1}
    assert rows(tmp_path / "t") == [("a", 4, "three")]


def test_the_same_sequence_with_other_values_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "t", frame(("a", 3, "x")), IN_ORDER)
    with pytest.raises(CorrectionError, match=r"1 rows say something else.*v='y', known s=3, known v='x'"):
        write(tmp_path / "t", frame(("a", 3, "y"), ("b", 1, "z")), IN_ORDER)
    with pytest.raises(KeyValueError, match="two things of one key and `s`: fix the source"):
        write(tmp_path / "t", frame(("b", 3, "x"), ("b", 3, "y")), IN_ORDER)
    delete = Upsert(keys="k", sequence_by="s", delete_when="v = 'x'")
    with pytest.raises(CorrectionError, match="say something else"):
        write(tmp_path / "t", frame(("a", 3, "x")), delete)
    assert DeltaTable(str(tmp_path / "t")).version() == 0


def test_rows_from_before_there_was_a_sequence_are_older_than_any(tmp_path: Path) -> None:
    write(tmp_path / "t", frame(("a", None, "x"), ("b", None, "x")), Append())
    assert counts(write(tmp_path / "t", frame(("a", -9, "y")), IN_ORDER)) == {"updated": 1}
    assert rows(tmp_path / "t")[0] == ("a", -9, "y")


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        (frame(("a", None, "x")), KeyValueError, "`sequence_by` `s` is null in 1 rows"),
        (frame(("a", 1, "x")).drop("s"), SchemaError, "`sequence_by` names `s`"),
        (frame(("a", 1, "x")).cast({"s": pl.Float64}), SchemaError, "no exact order"),
        (frame(("a", 1, "x"), ("b", 1, None)).with_columns(k=None), SchemaError, "`keys` names `k`"),
    ],
)
def test_a_sequence_that_gives_no_order_is_refused(
    tmp_path: Path, batch: pl.DataFrame, error: type[FuseError], message: str
) -> None:
    with pytest.raises(error, match=message):
        write(tmp_path / "t", batch, IN_ORDER)
    assert not (tmp_path / "t").exists()


def test_deletes_remove_rows(tmp_path: Path) -> None:
    mode = Upsert(keys="k", delete_when="op = 'D'")
    write(tmp_path / "t", frame(("a", 1, "x", "I"), ("b", 1, "x", None)), mode)
    result = write(
        tmp_path / "t", frame(("a", None, None, "D"), ("zz", 1, "never seen", "D"), ("b", 1, "y", "U")), mode
    )
    assert counts(result) == {"updated": 1, "unchanged": 1, "closed": 1, "deleted": 1}
    assert rows(tmp_path / "t") == [("b", 1, "y", "U")]
    with pytest.raises(KeyValueError, match=r"more than once.*Order such rows by `sequence_by`"):
        write(tmp_path / "t", frame(("b", 1, "y", "U"), ("b", 1, "y", "D")), mode)
    gone = write(tmp_path / "t", frame(("b", 1, "one", "D"), ("b", 2, "other", "D")), mode)
    assert counts(gone) == {"closed": 1, "deleted": 1, "duplicates": 1}
    assert gone.rows_total == 0


def test_a_column_of_nulls_marks_nothing(tmp_path: Path) -> None:
    batch = pl.DataFrame({"k": ["a"], "op": [None]})
    assert write(tmp_path / "t", batch, Upsert(keys="k", delete_when="op = 'D'")).inserted == 1


def test_a_deleted_key_is_forgotten_and_an_older_row_brings_it_back(tmp_path: Path) -> None:
    mode = Upsert(keys="k", sequence_by="s", delete_when="op = 'D'")
    write(tmp_path / "t", frame(("a", 2, "x", "I"), ("b", 2, "x", "I")), mode)
    assert write(tmp_path / "t", frame(("a", 1, None, "D")), mode).version is None, "an older delete does nothing"
    assert counts(write(tmp_path / "t", frame(("a", 3, None, "D")), mode)) == {"closed": 1, "deleted": 1}
    assert write(tmp_path / "t", frame(("a", 1, "late", "U")), mode).inserted == 1


SOFT = Upsert(keys="k", delete_when="op = 'D'", soft_delete="gone")


def test_a_soft_delete_marks_the_row_and_a_returning_key_is_unmarked(tmp_path: Path) -> None:
    write(tmp_path / "t", frame(("a", 1, "x", "I"), ("b", 1, "x", "I")), SOFT)
    result = write(tmp_path / "t", frame(("a", None, None, "D"), ("zz", 1, "x", "D")), SOFT)
    assert counts(result) == {"unchanged": 1, "closed": 1}
    assert rows(tmp_path / "t") == [("a", 1, "x", "I", True), ("b", 1, "x", "I", False)]
    assert write(tmp_path / "t", frame(("a", 7, None, "D")), SOFT).version is None
    assert counts(write(tmp_path / "t", frame(("a", 1, "x", "I")), SOFT)) == {"updated": 1}
    assert rows(tmp_path / "t") == [("a", 1, "x", "I", False), ("b", 1, "x", "I", False)]


def test_a_returning_key_is_not_asked_for_the_condition(tmp_path: Path) -> None:
    mode = Upsert(keys="k", delete_when="op = 'D'", soft_delete="gone", update_when="new.s > old.s")
    write(tmp_path / "t", frame(("a", 5, "x", "I")), mode)
    assert write(tmp_path / "t", frame(("a", 1, "y", "U")), mode).version is None
    assert write(tmp_path / "t", frame(("a", 1, None, "D")), mode).closed == 1
    assert write(tmp_path / "t", frame(("a", 5, "x", "I")), mode).updated == 1
    assert rows(tmp_path / "t") == [("a", 5, "x", "I", False)]


def test_marks_come_to_a_table_that_had_none(tmp_path: Path) -> None:
    write(tmp_path / "t", frame(("a", 1, "x", "I"), ("b", 1, "x", "I")), Append())
    write(tmp_path / "t", frame(("c", 1, "x", "I")), Append())
    result = write(tmp_path / "t", frame(("a", 1, None, "D"), ("b", 2, "x", "U")), SOFT)
    assert counts(result) == {"updated": 1, "closed": 1}
    assert result.schema_changes == ("gone: boolean added",)
    assert [(row[0], row[-1]) for row in rows(tmp_path / "t")] == [("a", True), ("b", False), ("c", False)]
    with pytest.raises(SchemaError, match="the batch brings"):
        write(tmp_path / "t", frame(("a", 1, "x", "I")).with_columns(gone=True), SOFT)
    with pytest.raises(SchemaError, match="lacks"):
        write(tmp_path / "t", frame(("a", 1, "x", "I")), Upsert(keys="k"))


def test_a_column_that_is_no_mark_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "t", frame(("a", 1, "x")).with_columns(gone=pl.lit("no")), Append())
    with pytest.raises(SchemaError, match="`gone`, which is String in the table; a mark is a boolean"):
        write(tmp_path / "t", frame(("a", 1, "x")), Upsert(keys="k", soft_delete="gone"))


WHOLE = Upsert(keys="k", absent="delete")
WHOLE_SOFT = Upsert(keys="k", absent="delete", soft_delete="gone")
FIVE = [(key, 1, "x") for key in "abcde"]


def test_keys_that_a_whole_truth_leaves_out_are_deleted(tmp_path: Path) -> None:
    write(tmp_path / "t", frame(*FIVE), WHOLE)
    result = write(tmp_path / "t", frame(*FIVE[:3], ("f", 1, "new")), WHOLE)
    assert counts(result) == {"inserted": 1, "unchanged": 3, "closed": 2, "deleted": 2}
    assert [row[0] for row in rows(tmp_path / "t")] == ["a", "b", "c", "f"]
    assert write(tmp_path / "t", frame(*FIVE[:3], ("f", 1, "new")), WHOLE).version is None


def test_only_keys_that_are_not_marked_yet_are_newly_marked(tmp_path: Path) -> None:
    write(tmp_path / "t", frame(*FIVE), WHOLE_SOFT)
    assert counts(write(tmp_path / "t", frame(*FIVE[:3]), WHOLE_SOFT)) == {"unchanged": 3, "closed": 2}
    assert write(tmp_path / "t", frame(*FIVE[:3]), WHOLE_SOFT).version is None
    second = write(tmp_path / "t", frame(*FIVE[1:4]), WHOLE_SOFT)
    assert counts(second) == {"updated": 1, "unchanged": 2, "closed": 1}
    assert [row[-1] for row in rows(tmp_path / "t")] == [True, False, False, False, True]
    with pytest.raises(DeleteGuardError, match=r"2 of 3 keys are absent \(66.7%; at the most 50.0%\), as \(k='"):
        write(tmp_path / "t", frame(*FIVE[3:4]), WHOLE_SOFT)


def test_a_truncated_truth_deletes_nothing(tmp_path: Path) -> None:
    write(tmp_path / "t", frame(*FIVE), WHOLE)
    with pytest.raises(DeleteGuardError, match=r"the batch has 2 keys; of the table, 3 of 5 keys are absent"):
        write(tmp_path / "t", frame(*FIVE[:2]), WHOLE)
    with pytest.raises(DeleteGuardError, match="no rows, which would delete every key"):
        write(tmp_path / "t", frame(), WHOLE)
    with pytest.raises(DeleteGuardError, match="5 of 5"):
        write(tmp_path / "t", frame(), Upsert(keys="k", absent="delete", allow_empty=True))
    assert DeltaTable(str(tmp_path / "t")).version() == 0
    emptied = Upsert(keys="k", absent="delete", allow_empty=True, max_delete_fraction=None)
    assert counts(write(tmp_path / "t", frame(), emptied)) == {"closed": 5, "deleted": 5}


@pytest.mark.parametrize("keys", [["b", "b"], [None]])
def test_rows_that_no_key_tells_apart_are_not_deleted_by_absence(tmp_path: Path, keys: list[str | None]) -> None:
    write(tmp_path / "t", frame(*FIVE[:1], *((key, 1, "x") for key in keys)), Append())
    with pytest.raises(TableStateError, match=r"1 keys that the batch leaves out stand more than once in"):
        write(tmp_path / "t", frame(*FIVE[:1]), Upsert(keys="k", absent="delete", max_delete_fraction=None))
    assert DeltaTable(str(tmp_path / "t")).count() == 1 + len(keys)


def test_a_row_that_states_a_delete_is_no_absence(tmp_path: Path) -> None:
    mode = Upsert(keys="k", absent="delete", delete_when="op = 'D'")
    write(tmp_path / "t", frame(*((*row, "I") for row in FIVE)), mode)
    batch = frame(*((*row, "D") for row in FIVE[:3]), *((*row, "I") for row in FIVE[3:4]))
    assert counts(write(tmp_path / "t", batch, mode)) == {"unchanged": 1, "closed": 4, "deleted": 4}


@pytest.mark.parametrize("options", [{}, {"sequence_by": "s"}, {"delete_when": "v = 'D'"}])
def test_a_key_that_stands_twice_in_the_table_is_an_error(tmp_path: Path, options: dict[str, Any]) -> None:
    write_deltalake(str(tmp_path / "t"), frame(("a", 1, "x"), ("a", 2, "y"), ("b", 1, "x")))
    with pytest.raises(TableStateError, match=r"1 keys of the batch stand more than once.*\(k='a'\).*replace_keys"):
        write(tmp_path / "t", frame(("a", 3, "z")), Upsert(keys="k", **options))
    assert write(tmp_path / "t", frame(("b", 2, "z")), Upsert(keys="k", **options)).updated == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"when_matched": "ignore", "delete_when": "v = 'D'"}, "only inserts, so `delete_when` would do nothing"),
        ({"when_matched": "ignore", "absent": "delete", "soft_delete": "gone"}, "`absent`, `soft_delete`"),
        ({"absent": "delete", "sequence_by": "s"}, "an absence has no sequence"),
        ({"sequence_by": "k"}, "already in `keys`"),
        ({"soft_delete": "s", "sequence_by": "s"}, "a column has one role"),
        ({"max_delete_fraction": 50}, "give a share from 0 to 1"),
        ({"absent": "drop"}, "`absent` is `drop`; valid: 'keep', 'delete'"),
        ({"delete_when": "count(*) > 1"}, "takes several rows together"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Upsert(keys="k", **options)


def test_only_files_with_a_changed_key_are_touched(tmp_path: Path) -> None:
    mode = Upsert(keys="k", sequence_by="s", delete_when="op = 'D'", soft_delete="gone")
    for key in "az":
        write(tmp_path / "t", frame((key, 1, "x", "I")), mode)
    before = set(DeltaTable(str(tmp_path / "t")).file_uris())
    write(tmp_path / "t", frame(("a", 2, None, "D")), mode)
    assert len(before & set(DeltaTable(str(tmp_path / "t")).file_uris())) == 1


def test_masked_values_stay_out_of_errors(tmp_path: Path) -> None:
    write(tmp_path / "t", frame(("a", 1, "s3cr3t")), IN_ORDER)
    for batch, mode in (
        (frame(("a", 1, "pin")), IN_ORDER),
        (frame(("a", 2, "pin")), Upsert(keys="k", delete_when="cast(v as int) = 1")),
        (frame(("a", 2, "pin")), Upsert(keys="k", update_when="cast(old.v as int) = 1")),
    ):
        with pytest.raises(FuseError) as caught:
            write(tmp_path / "t", batch, mode, masked=["v"])
        said = "".join(str(error) for error in (caught.value, caught.value.__cause__, caught.value.__context__))
        assert "s3cr3t" not in said
        assert "pin" not in said
