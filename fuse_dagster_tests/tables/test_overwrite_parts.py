"""Overwrite by keys and by predicate: what goes, what stays, which files are touched, and what is refused."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from fuse_dagster.core.errors import ConfigError, KeyValueError, PartitionError, SchemaError, TableStateError
from fuse_dagster.tables import Append, Overwrite, Slice, write

BY_ORDER = Overwrite(replace_keys=["order"])
EUROPE = Overwrite(predicate="region = 'EU'")


def lines(*rows: tuple[int | None, str | None]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"order": pl.Int64, "item": pl.String}, orient="row")


def regions(*rows: tuple[str | None, float | None]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"region": pl.String, "v": pl.Float64}, orient="row")


def rows(table: Path | str) -> list[tuple[Any, ...]]:
    return sorted(pl.read_delta(str(table)).rows(), key=repr)


def files(table: Path) -> set[str]:
    return set(DeltaTable(str(table)).file_uris())


def test_all_rows_of_a_key_are_replaced_by_those_of_the_batch(tmp_path: Path) -> None:
    write(tmp_path / "t", lines((1, "a"), (1, "b"), (2, "c"), (None, "n")), Append())
    write(tmp_path / "t", lines((900, "far")), Append())
    untouched = files(tmp_path / "t")
    result = write(tmp_path / "t", lines((1, "b"), (1, "b"), (1, "d"), (3, "e")), BY_ORDER)
    assert (result.inserted, result.deleted, result.rows_total) == (4, 2, 7)
    assert rows(tmp_path / "t") == sorted(
        [(1, "b"), (1, "b"), (1, "d"), (2, "c"), (3, "e"), (None, "n"), (900, "far")], key=repr
    )
    assert len(untouched & files(tmp_path / "t")) == 1, "the file of key 900 stays as it is"
    again = write(tmp_path / "t", lines((3, "e"), (1, "d"), (1, "b"), (1, "b")), BY_ORDER)
    assert (again.version, again.unchanged) == (None, 4)
    assert write(tmp_path / "t", lines((3, "e")), Overwrite(replace_keys="order", skip_if_unchanged=False)).version == 3
    assert write(tmp_path / "t", lines(), BY_ORDER).version is None


def test_only_what_meets_the_predicate_is_replaced(tmp_path: Path) -> None:
    write(tmp_path / "t", regions(("EU", 1), ("EU", None), ("US", 2), (None, 3)), Append())
    write(tmp_path / "t", regions(("US", 4)), Append())
    untouched = files(tmp_path / "t")
    result = write(tmp_path / "t", regions(("EU", math.nan), ("EU", 0)), EUROPE)
    assert (result.inserted, result.deleted, result.rows_total) == (2, 2, 5)
    expected = [("EU", math.nan), ("EU", 0.0), ("US", 2.0), (None, 3.0), ("US", 4.0)]
    assert repr(rows(tmp_path / "t")) == repr(sorted(expected, key=repr)), "a NaN differs from itself in Python"
    assert len(untouched & files(tmp_path / "t")) == 1
    assert write(tmp_path / "t", regions(("EU", -0.0), ("EU", math.nan)), EUROPE).version is None
    emptied = write(tmp_path / "t", regions(), EUROPE)
    assert (emptied.inserted, emptied.deleted, emptied.rows_total) == (0, 2, 3)


@pytest.mark.parametrize("stray", ["US", None])
def test_a_row_that_does_not_meet_the_predicate_is_refused(tmp_path: Path, stray: str | None) -> None:
    write(tmp_path / "t", regions(("EU", 1)), Append())
    with pytest.raises(PartitionError, match=rf"1 of 2 rows do not meet.*region={stray!r}, v=2.0"):
        write(tmp_path / "t", regions(("EU", 1), (stray, 2)), EUROPE)
    assert DeltaTable(str(tmp_path / "t")).version() == 0


@pytest.mark.parametrize(
    ("predicate", "message"),
    [
        ("v > avg(v)", "takes several rows together"),
        ("v = (select max(v) from t)", "queries a table"),
        ("row_number() over (order by v) = 1", "takes several rows together"),
        ("1 = 1", "reads no column"),
        ("region = 'EU'; drop table t", "not one expression"),
        ("region =", "no SQL"),
        ("", "not one expression"),
        ("unheard_of(region)", "cannot be evaluated"),
    ],
)
def test_a_predicate_of_more_than_one_row_fails_when_it_is_declared(predicate: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"Overwrite: `predicate` is .*{message}"):
        Overwrite(predicate=predicate)


@pytest.mark.parametrize(
    ("predicate", "message"),
    [
        ("regoin = 'EU'", "reads `regoin`. Did you mean `region`"),
        ("region = 1", "cannot be evaluated: cannot compare"),
        ("region", "does not say yes or no"),
        ("cast(region as int) = 1", "fails on a value"),
    ],
)
def test_a_predicate_that_does_not_fit_the_table_is_refused(tmp_path: Path, predicate: str, message: str) -> None:
    for table in ("new", "old"):
        if table == "old":
            write(tmp_path / table, regions(("EU", 1)), Append())
        with pytest.raises(ConfigError, match=message):
            write(tmp_path / table, regions(("EU", 1)), Overwrite(predicate=predicate))
    assert not (tmp_path / "new").exists()
    assert DeltaTable(str(tmp_path / "old")).version() == 0


PREDICATES = [
    "day = DATE '2024-01-02'",
    "day >= DATE '2024-01-02' and day < DATE '2024-01-03'",
    "n in (2, 7) and (s = 'b')",
    "s = 'b' and n = 300000",
    "f > 1 and f < 3",
    "day = DATE '2024-01-02' or n = 2",
    "2 = n",
]


@pytest.mark.parametrize("predicate", PREDICATES)
def test_statistics_leave_out_no_row_that_meets_the_predicate(tmp_path: Path, predicate: str) -> None:
    frame = pl.DataFrame(
        {
            "day": [dt.date(2024, 1, day) for day in (1, 2, 3)],
            "n": pl.Series([1, 2, 3], dtype=pl.Int8),
            "s": ["a", "b", None],
            "f": [1.0, 2.0, math.nan],
        }
    )
    for number in range(3):  # a file for each row
        write(tmp_path / "t", frame[number : number + 1], Append())
    met = frame.filter(pl.sql_expr(predicate)).height
    result = write(tmp_path / "t", frame.clear(), Overwrite(predicate=predicate))
    assert result.deleted == met
    assert pl.read_delta(str(tmp_path / "t")).height == 3 - met


@pytest.mark.parametrize("mode", [BY_ORDER, Overwrite(predicate='"order" < 10')])
def test_columns_may_come_and_be_left_out(tmp_path: Path, mode: Overwrite) -> None:
    write(tmp_path / "t", lines((1, "a"), (20, "b")), Append())
    result = write(tmp_path / "t", pl.DataFrame({"order": [1], "note": ["n"]}), mode)
    assert result.schema_changes == ("note: string added",)
    assert rows(tmp_path / "t") == [(1, None, "n"), (20, "b", None)]
    assert write(tmp_path / "t", pl.DataFrame({"order": [1], "note": ["n"]}), mode).version is None
    with pytest.raises(SchemaError, match="new column `more`"):
        write(tmp_path / "t", pl.DataFrame({"order": [1], "more": [1]}), replace(mode, schema="strict"))


def test_tables_whose_promises_cannot_be_kept_are_refused(tmp_path: Path) -> None:
    write_deltalake(str(tmp_path / "p"), regions(("EU", 1)), partition_by="region")
    for mode in (EUROPE, Overwrite(replace_keys=["region"])):
        with pytest.raises(TableStateError, match="physical partitions"):
            write(tmp_path / "p", regions(("EU", 2)), mode)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"where": Slice.equals("a", 1), "predicate": "a = 1"}, "`where` and `predicate` exclude each other"),
        ({"replace_keys": ["a"], "predicate": "a = 1"}, "`replace_keys` and `predicate` exclude"),
        ({"replace_keys": ["a", "a"]}, "more than once"),
        ({"replace_keys": ["a"], "partition_by": ["a"]}, "leave it out"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Overwrite(**options)


@pytest.mark.parametrize(
    ("frame", "error", "message"),
    [
        (lines((None, "a")), KeyValueError, "null key `order`"),
        (pl.DataFrame({"ordr": [1]}), SchemaError, "`replace_keys` names `order`.*Did you mean `ordr`"),
        (pl.DataFrame({"order": [1.0]}), SchemaError, "no exact equality"),
    ],
)
def test_keys_that_identify_nothing_are_refused(
    tmp_path: Path, frame: pl.DataFrame, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        write(tmp_path / "t", frame, BY_ORDER)
    assert not (tmp_path / "t").exists()


batches = st.lists(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([None, "", "x"])), max_size=6), max_size=4)


@settings(max_examples=30, deadline=None)
@given(batches)
def test_replacing_by_key_agrees_with_a_list(said: list[list[tuple[int, str | None]]]) -> None:
    truth: list[tuple[int, str | None]] = []
    with TemporaryDirectory() as folder:
        for batch in said:
            keys = {key for key, _ in batch}
            result = write(folder + "/t", lines(*batch), BY_ORDER)
            kept = [row for row in truth if row[0] not in keys]
            if result.committed:
                assert (result.inserted, result.deleted) == (len(batch), len(truth) - len(kept))
            truth = kept + batch
            assert result.rows_total == len(truth)
            assert write(folder + "/t", lines(*batch[::-1]), BY_ORDER).version is None
        if said:
            assert rows(folder + "/t") == sorted(truth, key=repr)
