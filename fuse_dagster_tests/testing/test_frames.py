from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import given

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.testing import assert_frames_equal

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SCHEMA = {"k": pl.Int64, "v": pl.Float64, "s": pl.String}
ROWS = [(1, 1.5, "x"), (2, math.nan, ""), (3, None, None), (3, None, None), (4, -0.0, "y")]


def frame(rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def message(left: object, right: object, **options: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        assert_frames_equal(left, right, **options)
    return str(caught.value)


def test_order_of_rows_and_columns_does_not_matter_and_neither_does_the_sign_of_zero() -> None:
    other = frame([(4, 0.0, "y"), *reversed(ROWS[:-1])]).select("s", "k", "v")
    assert_frames_equal(frame(ROWS), other)
    assert_frames_equal(frame(ROWS[:3]), frame(ROWS[2::-1]), keys="k")


@pytest.mark.parametrize("kind", ["lazy", "arrow", "pandas"])
def test_any_two_kinds_of_frame_are_compared(kind: str) -> None:
    rows = frame(ROWS[:2])
    other: dict[str, object] = {"lazy": rows.lazy(), "arrow": rows.to_arrow(), "pandas": rows.to_pandas()}
    if kind == "pandas":  # where NaN and null are one
        rows = rows.with_columns(pl.col("v").fill_nan(None))
    assert_frames_equal(rows, other[kind])


@pytest.mark.spark
def test_a_spark_frame_is_compared_too(spark: SparkSession) -> None:
    rows = spark.createDataFrame([(1, 2.5, "x")], "k bigint, v double, s string")
    assert_frames_equal(rows, frame([(1, 2.5, "x")]))
    assert "1.5" in message(rows, frame([(1, 1.5, "x")]), keys="k")


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((1, None, "x"), (1, math.nan, "x")),
        ((1, None, "x"), (1, 0.0, "x")),
        ((1, 1.0, None), (1, 1.0, "")),
        ((1, 1.0, "x"), (1, 1.0000000000000002, "x")),
    ],
)
def test_null_nan_zero_and_empty_text_are_different_things(left: tuple[Any, ...], right: tuple[Any, ...]) -> None:
    for keys in (None, ["k"]):
        message(frame([left]), frame([right]), keys=keys)


def test_a_row_too_often_is_a_difference() -> None:
    text = message(frame(ROWS), frame(ROWS[:3] + ROWS[4:]))
    assert "left has 5 rows, right 4" in text
    assert "Rows only in left (1)" in text
    assert "right (" not in text


def test_with_keys_the_changed_columns_are_shown_by_key() -> None:
    text = message(frame([(1, 1.0, "x"), (2, 2.0, "y")]), frame([(1, 1.0, "X"), (3, 2.0, "y")]), keys="k")
    assert "Keys only in left (1)" in text
    assert "Keys only in right (1)" in text
    assert "Column `s` differs for 1 keys" in text
    assert "s (left)" in text
    assert "`v`" not in text


def test_many_differences_are_counted_and_a_few_shown() -> None:
    text = message(frame([(number, 0.0, "left") for number in range(100)]), frame([]))
    assert "Rows only in left (100)" in text
    assert "... and 95 more" in text


def test_a_key_of_several_rows_is_shown() -> None:
    text = message(frame([(1, 1.0, "x"), (1, 2.0, "x")]), frame([(1, 1.0, "x")]), keys="k")
    assert "Keys that stand for several rows of left" in text


def test_other_columns_and_types_come_first() -> None:
    other = pl.DataFrame({"k": [1], "v": ["1"], "w": [1]})
    text = message(frame([(1, 1.0, "x")]), other)
    assert "only in left: `s`; only in right: `w`; `v` is Float64 in left, String in right" in text


def test_types_can_be_left_aside() -> None:
    assert_frames_equal(pl.DataFrame({"a": [1]}), pl.DataFrame({"a": [1.0]}), check_types=False)
    message(pl.DataFrame({"a": [1]}), pl.DataFrame({"a": [1.5]}), check_types=False)
    assert "can't be compared" in message(pl.DataFrame({"a": ["x"]}), pl.DataFrame({"a": [1]}), check_types=False)


@pytest.mark.parametrize(
    ("key", "why"), [("K", r"`keys` names `K`, which is no column. Did you mean `k`"), ("v", "of type Float64")]
)
def test_a_key_that_cannot_be_one_is_refused(key: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        assert_frames_equal(frame(ROWS), frame(ROWS), keys=key)


CELL = st.one_of(st.none(), st.sampled_from([0.0, -0.0, math.nan, 1.0, math.inf]))
TABLE = st.lists(st.tuples(st.integers(0, 2), CELL, st.sampled_from([None, "", "x"])), max_size=5)


def plain(rows: list[tuple[Any, ...]]) -> list[str]:
    def told(value: float | None) -> str:
        return "null" if value is None else "nan" if math.isnan(value) else str(value + 0.0)

    return sorted(str((key, told(value), text)) for key, value, text in rows)


@given(left=TABLE, right=TABLE)
def test_it_agrees_with_comparing_sorted_rows(left: list[tuple[Any, ...]], right: list[tuple[Any, ...]]) -> None:
    equal = plain(left) == plain(right)
    try:
        assert_frames_equal(frame(left), frame(right))
    except AssertionError:
        assert not equal
    else:
        assert equal
