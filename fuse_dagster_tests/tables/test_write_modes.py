"""Append, Overwrite and Upsert: what they replace, what they leave alone, and what they refuse."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable, Field, QueryBuilder, Schema, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from fuse_dagster.core.errors import ConfigError, KeyValueError, PartitionError, SchemaError, TableStateError
from fuse_dagster.tables import Append, History, Overwrite, Slice, Upsert, write

NAIVE = dt.datetime(2024, 1, 1)  # noqa: DTZ001 - a column without a zone
AWARE = NAIVE.replace(tzinfo=dt.UTC)


def read(table: Path) -> pl.DataFrame:
    return pl.read_delta(str(table))


def test_append_adds_rows_and_columns(tmp_path: Path) -> None:
    write(tmp_path / "t", pl.DataFrame({"a": [1]}), Append())
    result = write(tmp_path / "t", pl.DataFrame({"a": [1], "b": ["x"]}), Append())
    assert (result.inserted, result.rows_total, result.files_added) == (1, 2, 1)
    assert result.schema_changes == ("b: string added",)
    assert_frame_equal(read(tmp_path / "t"), pl.DataFrame({"a": [1, 1], "b": [None, "x"]}), check_row_order=False)


def test_an_append_may_leave_out_columns_in_any_order(tmp_path: Path) -> None:
    write(tmp_path / "t", pl.DataFrame({"a": [1], "b": ["x"], "c": [1.5]}), Append())
    result = write(tmp_path / "t", pl.DataFrame({"c": [2.5], "a": [2]}), Append())
    assert (result.inserted, result.rows_total, result.files_added) == (1, 2, 1)
    expected = pl.DataFrame({"a": [1, 2], "b": ["x", None], "c": [1.5, 2.5]})
    assert_frame_equal(read(tmp_path / "t"), expected, check_row_order=False)


def test_an_append_keeps_what_the_table_promises(tmp_path: Path) -> None:
    schema = Schema([Field("k", "long", nullable=False), Field("v", "long")])
    table = DeltaTable.create(str(tmp_path / "t"), schema)
    with pytest.raises(SchemaError, match="column `k` is NOT NULL"):
        write(tmp_path / "t", pl.DataFrame({"k": [None, 1]}, schema={"k": pl.Int64}), Append())
    table.alter.add_constraint({"positive": "v > 0"})
    with pytest.raises(TableStateError, match="failed validation check"):
        write(tmp_path / "t", pl.DataFrame({"k": [1], "v": [-1]}), Append())
    assert read(tmp_path / "t").is_empty()
    assert write(tmp_path / "t", pl.DataFrame({"k": [1], "v": [1]}), Append()).inserted == 1


def test_strict_refuses_a_new_column(tmp_path: Path) -> None:
    write(tmp_path / "t", pl.DataFrame({"amount": [1]}), Append())
    with pytest.raises(SchemaError, match=r"new column `amout`.*Did you mean `amount`"):
        write(tmp_path / "t", pl.DataFrame({"amount": [1], "amout": [2]}), Append(schema="strict"))


def test_a_narrower_type_is_cast_and_a_wider_one_refused(tmp_path: Path) -> None:
    write(tmp_path / "t", pl.DataFrame({"a": [1]}, schema={"a": pl.Int32}), Append())
    write(tmp_path / "t", pl.DataFrame({"a": [2]}, schema={"a": pl.UInt8}), Append())
    with pytest.raises(SchemaError, match="wider type"):
        write(tmp_path / "t", pl.DataFrame({"a": [3]}, schema={"a": pl.Int64}), Append())
    assert sorted(read(tmp_path / "t")["a"]) == [1, 2]


def test_overwriting_the_whole_table_takes_other_columns(tmp_path: Path) -> None:
    write(tmp_path / "t", pl.DataFrame({"a": [1], "old": [1]}), Overwrite())
    result = write(tmp_path / "t", pl.DataFrame({"a": ["x"], "new": [2]}), Overwrite())
    assert set(result.schema_changes) == {"a: Int64 became String", "new: Int64 added", "old: dropped"}
    assert_frame_equal(read(tmp_path / "t"), pl.DataFrame({"a": ["x"], "new": [2]}))


def test_overwriting_with_the_same_rows_in_another_order_commits_nothing(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": [1, 2, 2], "f": [math.nan, None, 0.0]})
    write(tmp_path / "t", frame, Overwrite())
    assert write(tmp_path / "t", frame.reverse(), Overwrite()).version is None
    assert write(tmp_path / "t", frame.with_columns(a=pl.Series([1, 1, 2])), Overwrite()).version == 1
    assert write(tmp_path / "t", frame, Overwrite(skip_if_unchanged=False)).version == 2


SLICES: list[tuple[str, list[Any], Any]] = [
    ("integer", [1, 2, None], Slice.equals("p", 1)),
    ("string", ["O'Hare", 'a"b', None], Slice.equals("p", "O'Hare")),
    ("odd string", ["a/b=c%ä", "x", None], Slice.equals("p", "a/b=c%ä")),
    ("boolean", [True, False, None], Slice.equals("p", True)),
    ("date", [NAIVE.date(), dt.date(2024, 1, 2), None], Slice.equals("p", NAIVE.date())),
    ("naive time", [NAIVE, dt.datetime(2024, 1, 2), None], Slice.window("p", NAIVE, dt.datetime(2024, 1, 2))),  # noqa: DTZ001
    (
        "aware time",
        [AWARE, AWARE + dt.timedelta(days=1), None],
        Slice.window("p", AWARE, AWARE + dt.timedelta(hours=1)),
    ),
]


@pytest.mark.parametrize(("values", "where"), [s[1:] for s in SLICES], ids=[s[0] for s in SLICES])
def test_only_the_slice_is_replaced(tmp_path: Path, values: list[Any], where: Slice) -> None:
    frame = pl.DataFrame({"p": values, "v": [1, 2, 3]})
    write(tmp_path / "t", frame, Append())
    result = write(tmp_path / "t", frame.head(1).with_columns(v=10), Overwrite(where=where))
    assert (result.inserted, result.deleted, result.rows_total) == (1, 1, 3)
    assert_frame_equal(read(tmp_path / "t").sort("v"), frame.with_columns(v=pl.Series([10, 2, 3])).sort("v"))
    assert write(tmp_path / "t", frame.head(1).with_columns(v=10), Overwrite(where=where)).version is None


def test_rows_outside_the_slice_are_refused(tmp_path: Path) -> None:
    frame = pl.DataFrame({"p": [1, 2, None], "_file_name": ["x.csv"] * 3})
    write(tmp_path / "t", frame, Append())
    with pytest.raises(PartitionError, match=r"2 of 3 rows do not belong.*p=2, _file_name='x.csv'"):
        write(tmp_path / "t", frame, Overwrite(where=Slice.equals("p", 1)))
    assert read(tmp_path / "t").height == 3
    assert DeltaTable(str(tmp_path / "t")).version() == 0


@pytest.mark.parametrize(
    ("column", "value"),
    [(1, "1"), ("a", 1), (NAIVE, AWARE), (AWARE, NAIVE), (1, True), (NAIVE.date(), NAIVE), (1, 2**70)],
)
def test_a_value_of_another_type_is_never_compared(tmp_path: Path, column: Any, value: Any) -> None:
    frame = pl.DataFrame({"p": [column]})
    write(tmp_path / "t", frame, Append())
    with pytest.raises(PartitionError, match="cannot be a value of column `p`"):
        write(tmp_path / "t", frame, Overwrite(where=Slice.equals("p", value)))
    assert DeltaTable(str(tmp_path / "t")).version() == 0


def test_a_slice_with_several_alternatives(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": [1, 1, 2], "b": ["x", "y", "x"], "v": [1, 2, 3]})
    write(tmp_path / "t", frame, Append(partition_by=["a"]))
    both = Slice((*Slice.equals("a", 2).any_of, (*Slice.equals("a", 1).any_of[0], *Slice.equals("b", "y").any_of[0])))
    write(tmp_path / "t", pl.DataFrame({"a": [2], "b": ["z"], "v": [9]}), Overwrite(where=both))
    assert sorted(read(tmp_path / "t").rows()) == [(1, "x", 1), (2, "z", 9)]


def test_an_empty_slice_is_no_slice() -> None:
    with pytest.raises(PartitionError, match="at least one condition"):
        Slice(())


def test_upsert_touches_only_what_changed(tmp_path: Path) -> None:
    write(tmp_path / "t", pl.DataFrame({"k": [1, 2], "v": ["a", None]}), Upsert(keys="k"))
    write(tmp_path / "t", pl.DataFrame({"k": [11, 12], "v": ["c", "d"]}), Upsert(keys="k"))
    files = set(DeltaTable(str(tmp_path / "t")).file_uris())
    result = write(tmp_path / "t", pl.DataFrame({"k": [1, 2, 3], "v": ["a", "", "n"]}), Upsert(keys="k"))
    assert (result.inserted, result.updated, result.unchanged, result.rows_total) == (1, 1, 1, 5)
    assert len(files & set(DeltaTable(str(tmp_path / "t")).file_uris())) == 1
    assert sorted(read(tmp_path / "t").rows()) == [(1, "a"), (2, ""), (3, "n"), (11, "c"), (12, "d")]
    assert write(tmp_path / "t", pl.DataFrame({"k": [2], "v": [""]}), Upsert(keys="k")).version is None


@pytest.mark.parametrize(
    ("frame", "error", "message"),
    [
        (pl.DataFrame({"k": [None, 1], "v": ["a", "b"]}), KeyValueError, "null key"),
        (pl.DataFrame({"k": [1, 1], "v": ["a", "b"]}), KeyValueError, "more than once"),
        (pl.DataFrame({"k": ["1"], "v": ["a"]}), SchemaError, "`k` is string in the batch but int64"),
        (pl.DataFrame({"k": [1]}), SchemaError, "lacks"),
    ],
)
def test_upsert_refuses_what_it_cannot_place(tmp_path: Path, frame: pl.DataFrame, error: type, message: str) -> None:
    write(tmp_path / "t", pl.DataFrame({"k": [1], "v": ["a"]}), Upsert(keys="k"))
    with pytest.raises(error, match=message):
        write(tmp_path / "t", frame, Upsert(keys="k"))
    assert DeltaTable(str(tmp_path / "t")).version() == 0


def test_upsert_refuses_tables_whose_promises_it_cannot_keep(tmp_path: Path) -> None:
    frame = pl.DataFrame({"k": [1], "v": [1]})
    write_deltalake(str(tmp_path / "p"), frame, partition_by="k")
    write_deltalake(str(tmp_path / "c"), frame)
    DeltaTable(str(tmp_path / "c")).alter.add_constraint({"positive": "v > 0"})
    for name, reason in (("p", "physical partitions"), ("c", "positive")):
        with pytest.raises(TableStateError, match=reason):
            write(tmp_path / name, frame.with_columns(v=-1), Upsert(keys="k"))


batches = st.lists(
    st.dictionaries(st.integers(0, 4), st.sampled_from([None, 0.0, -0.0, 1.0, math.nan]), max_size=5), max_size=4
)


@settings(max_examples=40, deadline=None)
@given(batches)
def test_upsert_agrees_with_a_dictionary(said: list[dict[int, float | None]]) -> None:
    truth: dict[int, float | None] = {}
    schema = {"k": pl.Int64, "v": pl.Float64}
    with TemporaryDirectory() as folder:
        for batch in said:
            frame = pl.DataFrame(list(batch.items()), schema=schema, orient="row")
            result = write(folder + "/t", frame, Upsert(keys="k"))
            new = [k for k in batch if k not in truth]
            truth |= batch
            assert result.inserted == len(new)
            assert write(folder + "/t", frame, Upsert(keys="k")).version is None
        if said:
            expected = pl.DataFrame(list(truth.items()), schema=schema, orient="row")
            assert_frame_equal(pl.read_delta(folder + "/t").sort("k"), expected.sort("k"))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pl.DataFrame({"a": [2**63]}, schema={"a": pl.UInt64}), "not every value fits"),
        (pl.DataFrame({"a": [dt.time(1)]}), "Delta has no type for"),
        (pl.DataFrame({"a": [1]}).select(pl.col("a").cast(pl.Datetime("ns"))), "nanoseconds"),
        (pl.DataFrame({"a": [[None]]}), "nested part that is null in every row"),
    ],
)
def test_values_that_delta_would_lose_are_refused(tmp_path: Path, frame: pl.DataFrame, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        write(tmp_path / "t", frame, Append())
    assert not (tmp_path / "t").exists()


def test_what_is_no_table_is_never_taken_for_an_absent_one(tmp_path: Path) -> None:
    write(tmp_path / "t", pl.DataFrame({"k": [1]}), Append())
    (tmp_path / "t/_delta_log/00000000000000000000.json").write_text("{ damaged")
    files = sorted(tmp_path.rglob("*"))
    for mode in (Append(), Overwrite(), Overwrite(where=Slice.equals("k", 1)), Upsert(keys="k")):
        with pytest.raises(TableStateError, match="can't be opened"):
            write(tmp_path / "t", pl.DataFrame({"k": [1]}), mode)
    assert sorted(tmp_path.rglob("*")) == files


def test_what_is_no_mode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="valid: Append, Overwrite, Upsert, History"):
        write(tmp_path / "t", pl.DataFrame({"k": [1]}), "append")  # type: ignore[arg-type]


ODD_NAMES = [
    "same",
    "begins",
    "ends",
    "inserts",
    "index",
    "a.b",
    'quo"te',
    "sp ace",
    "ünï",
    "path",
    "num_records",
    "__row",
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_no_column_name_gets_in_the_way(tmp_path: Path, name: str) -> None:
    start = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    for i, values in enumerate((["a", "b"], ["a", "c"])):
        frame = pl.DataFrame({"k": [1, 2], name: values, "at": start + dt.timedelta(days=i)})
        write(tmp_path / "u", frame, Upsert(keys="k"))
        write(tmp_path / "o", frame, Overwrite(where=Slice.equals(name, *values)))
        write(tmp_path / "s", frame, History(keys=["k"], effective_column="at"))
        write(tmp_path / "c", frame, History(keys=["k"], effective_column="at", source="changes"))
        write(tmp_path / "k", frame, History(keys=[name], effective_column="at", source="changes"))
    assert sorted(read(tmp_path / "u")[name]) == ["a", "c"]
    assert sorted(read(tmp_path / "o")[name]) == ["a", "b", "c"]
    assert [read(tmp_path / t).height for t in "sck"] == [3, 3, 3]


def test_names_of_helper_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="kept for helper columns"):
        write(tmp_path / "t", pl.DataFrame({"__fuse_row": [1]}), Append())


SECRET = "s3cr3t"
REFUSED: list[tuple[pl.DataFrame, Any]] = [
    (pl.DataFrame({"k": ["a", "a"], "pin": [SECRET, "x"]}), Upsert(keys="k")),
    (
        pl.DataFrame({"k": [None, "b"], "pin": [SECRET, "x"]}, schema={"k": pl.String, "pin": pl.String}),
        Upsert(keys="k"),
    ),
    (pl.DataFrame({"k": ["b"], "pin": [SECRET]}), Overwrite(where=Slice.equals("k", "a"))),
    (pl.DataFrame({"k": ["a"], "pin": [[SECRET]]}), Append()),
    (pl.DataFrame({"k": ["a"], "pin": [SECRET], "at": [AWARE]}), History(keys=["k"], effective_column="pin")),
]


@pytest.mark.parametrize(("frame", "mode"), REFUSED)
def test_masked_values_stay_out_of_errors(tmp_path: Path, frame: pl.DataFrame, mode: Any) -> None:
    if not isinstance(mode, History):
        write(tmp_path / "t", pl.DataFrame({"k": ["a"], "pin": ["1"]}), Append())
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - whatever the reason
        write(tmp_path / "t", frame, mode, masked=["pin"])
    said = "".join(str(error) for error in (caught.value, caught.value.__cause__, caught.value.__context__))
    assert SECRET not in said


def test_strict_holds_for_the_whole_table_too(tmp_path: Path) -> None:
    write(tmp_path / "t", pl.DataFrame({"a": [1], "b": [1]}, schema={"a": pl.Int32, "b": pl.Int32}), Append())
    for frame, message in (
        (pl.DataFrame({"a": [1]}, schema={"a": pl.Int32}), "lacks"),
        (pl.DataFrame({"a": [1], "b": [1]}), "strict"),
        (pl.DataFrame({"a": [1], "b": [1], "c": [1]}, schema=dict.fromkeys("abc", pl.Int32)), "new column `c`"),
    ):
        with pytest.raises(SchemaError, match=message):
            write(tmp_path / "t", frame, Overwrite(schema="strict"))
    assert DeltaTable(str(tmp_path / "t")).version() == 0


def test_a_refused_commit_is_no_lost_race(tmp_path: Path) -> None:
    write_deltalake(str(tmp_path / "t"), pl.DataFrame({"a": [1]}), configuration={"delta.appendOnly": "true"})
    with pytest.raises(TableStateError, match="nothing was written"):
        write(tmp_path / "t", pl.DataFrame({"a": [2]}), Overwrite())


def test_a_new_column_does_not_lift_not_null(tmp_path: Path) -> None:
    schema = Schema([Field("k", "long", nullable=False), Field("v", "long")])
    DeltaTable.create(str(tmp_path / "t"), schema=schema)
    write(tmp_path / "t", pl.DataFrame({"k": [1], "v": [1]}), Upsert(keys="k"))
    with pytest.raises(SchemaError, match="NOT NULL or have comments"):
        write(tmp_path / "t", pl.DataFrame({"k": [2], "v": [1], "new": [1]}), Upsert(keys="k"))
    assert [field.nullable for field in DeltaTable(str(tmp_path / "t")).schema().fields] == [False, True]


@pytest.mark.parametrize("digits", ["1234567890123456.78", "9007199254740993.01", "99999999999999999999.99"])
def test_upsert_finds_long_decimals(tmp_path: Path, digits: str) -> None:
    frame = pl.DataFrame({"k": [Decimal(digits)], "v": [1]}, schema={"k": pl.Decimal(30, 2), "v": pl.Int64})
    write(tmp_path / "t", frame, Upsert(keys="k"))
    assert write(tmp_path / "t", frame.with_columns(v=2), Upsert(keys="k")).updated == 1
    assert read(tmp_path / "t").height == 1


END = dt.datetime.max  # noqa: DTZ901 - the usual "infinity"


@pytest.mark.parametrize("frame", [pl.DataFrame(), pl.DataFrame({"zz": [None, None]})])
@pytest.mark.parametrize("mode", [Append(), Overwrite(), Upsert(keys="a")])
def test_a_batch_without_a_typed_column_is_refused(tmp_path: Path, frame: pl.DataFrame, mode: Any) -> None:
    write(tmp_path / "t", pl.DataFrame({"a": [1]}), Append())
    with pytest.raises(SchemaError, match="no column with a type"):
        write(tmp_path / "t", frame, mode)
    assert read(tmp_path / "t").rows() == [(1,)]


@pytest.mark.parametrize(
    "values",
    [
        pl.Series([[2**63 + 1, 1]], dtype=pl.List(pl.UInt64)),
        pl.Series([{"x": 2**63 + 1}], dtype=pl.Struct({"x": pl.UInt64})),
        pl.Series([[1]]).cast(pl.List(pl.Datetime("ns"))),
        pl.Series([2**55 + 2**54]).cast(pl.Datetime("ms")),
        pl.Series([2**58]).cast(pl.Datetime("us")),
        pl.Series([3_000_000]).cast(pl.Date),
    ],
)
def test_what_does_not_fit_is_refused_however_deep(tmp_path: Path, values: pl.Series) -> None:
    with pytest.raises(SchemaError, match=r"not every value fits|outside of the years"):
        write(tmp_path / "t", values.alias("v").to_frame(), Append())


def test_the_last_microsecond_is_a_time_like_any_other(tmp_path: Path) -> None:
    for end in (END, END.replace(tzinfo=dt.UTC)):
        table = tmp_path / str(end.tzinfo)
        write(table, pl.DataFrame({"k": [1, 2], "e": [end, end]}), Upsert(keys="k"))
        write(table, pl.DataFrame({"k": [2, 3], "e": [end.replace(year=2000), end]}), Upsert(keys="k"))
        assert sorted(read(table)["e"].dt.year()) == [2000, 9999, 9999]
        assert pl.scan_delta(str(table)).filter(pl.col("e") == end).collect().height == 2


def test_the_text_for_null_partitions_is_refused(tmp_path: Path) -> None:
    frame = pl.DataFrame({"p": ["__HIVE_DEFAULT_PARTITION__"], "a": [1]})
    with pytest.raises(PartitionError, match="read back as null"):
        write(tmp_path / "t", frame, Append(partition_by=["p"]))
    write(tmp_path / "t", frame.with_columns(p=pl.lit("x")), Append(partition_by=["p"]))
    with pytest.raises(PartitionError, match="read back as null"):
        write(tmp_path / "t", frame, Append())


@pytest.mark.parametrize("columns", [["nope"], ["p", "a"]])
def test_a_layout_that_cannot_be_is_refused(tmp_path: Path, columns: list[str]) -> None:
    with pytest.raises(ConfigError, match="partition_by"):
        write(tmp_path / "t", pl.DataFrame({"p": ["x"], "a": [1]}), Append(partition_by=columns))


@pytest.mark.parametrize("mode", [Append(), Overwrite(), Upsert(keys="k")])
def test_a_history_is_written_as_a_history_only(tmp_path: Path, mode: Any) -> None:
    write(tmp_path / "t", pl.DataFrame({"k": [1]}), History(keys=["k"], effective_at=dt.date(2024, 1, 1)))
    with pytest.raises(TableStateError, match="is a history"):
        write(tmp_path / "t", read(tmp_path / "t"), mode)
    assert DeltaTable(str(tmp_path / "t")).version() == 0


@pytest.mark.parametrize("part", ["a[1]", "a%20b", "a|b", "a^b", "a\\b"])
def test_paths_that_delta_reads_as_others_are_refused(tmp_path: Path, part: str) -> None:
    with pytest.raises(ConfigError, match="reads as something else"):
        write(tmp_path / part / "t", pl.DataFrame({"k": [1]}), Append())


def test_a_key_beyond_sixteen_bits_is_found_again(tmp_path: Path) -> None:
    def rows(value: int) -> pl.DataFrame:
        return pl.DataFrame({"k": ["𠮷野家", "\U0010ffff", "😀"], "v": [value] * 3})

    table = tmp_path / "t"
    results = [write(table, rows(value), Upsert(keys=["k"])) for value in (1, 1, 2)]
    assert [(r.inserted, r.updated) for r in results] == [(3, 0), (0, 0), (0, 3)]
    found = QueryBuilder().register("t", DeltaTable(table)).execute("SELECT v FROM t WHERE k = '𠮷野家'")
    assert pl.DataFrame(found.read_all())["v"].to_list() == [2]


@pytest.mark.parametrize("name", ["^zz$", "^v$", "*"])
def test_a_column_named_like_a_pattern_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="named like patterns"):
        write(tmp_path / "t", pl.DataFrame({"k": [1], "v": [1], name: [7]}), Append())


@pytest.mark.parametrize("name", ["a=b", "a/b", "a\nb"])
def test_a_layout_by_a_column_that_no_folder_can_be_named_by_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="folder"):
        write(tmp_path / "t", pl.DataFrame({name: [1], "z": [1]}), Append(partition_by=[name]))


@pytest.mark.parametrize("mode", [Append(schema="strict"), Upsert(keys=["k"], schema="strict")])
def test_strict_refuses_a_wider_type(mode: Append | Upsert, tmp_path: Path) -> None:
    write(tmp_path / "t", pl.DataFrame({"k": [1], "v": pl.Series([1], dtype=pl.Int8)}), mode)
    with pytest.raises(SchemaError, match="strict"):
        write(tmp_path / "t", pl.DataFrame({"k": [2], "v": [1]}), mode)
