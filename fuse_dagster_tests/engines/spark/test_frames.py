"""Every type that Delta has goes into Spark and comes back as it was, from every kind of frame."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from fuse_dagster.core.errors import InputError
from fuse_dagster.engines.local.frames import from_polars, to_polars
from fuse_dagster.engines.spark.frames import from_spark, is_spark, to_spark
from fuse_dagster_tests.engines.local.test_frames import ROWS, as_every_type

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

FIRST = dt.datetime(1, 1, 1)  # noqa: DTZ001 - a column without a zone
LAST = dt.datetime(9999, 12, 31, 23, 59, 59, 999999)  # noqa: DTZ001
NAIVE = [FIRST, LAST, dt.datetime(1969, 12, 31, 23, 59, 59, 1), None]  # noqa: DTZ001
AWARE = [moment and moment.replace(tzinfo=dt.UTC) for moment in NAIVE]

VALUES: dict[str, tuple[pl.DataType, list[Any], str]] = {
    "boolean": (pl.Boolean(), [True, False, None], "boolean"),
    "int8": (pl.Int8(), [-(2**7), 2**7 - 1, None], "tinyint"),
    "int16": (pl.Int16(), [-(2**15), 2**15 - 1, None], "smallint"),
    "int32": (pl.Int32(), [-(2**31), 2**31 - 1, None], "int"),
    "int64": (pl.Int64(), [-(2**63), 2**63 - 1, None], "bigint"),
    "float32": (pl.Float32(), [math.nan, -0.0, math.inf, None], "float"),
    "float64": (pl.Float64(), [math.nan, -0.0, -math.inf, 5e-324, None], "double"),
    "decimal(38, 0)": (pl.Decimal(38, 0), [Decimal("9" * 38), Decimal(-1), None], "decimal(38,0)"),
    "decimal(38, 38)": (pl.Decimal(38, 38), [Decimal("0." + "9" * 38), Decimal("-1e-38"), None], "decimal(38,38)"),
    "decimal(5, 2)": (pl.Decimal(5, 2), [Decimal("999.99"), Decimal("-0.01"), None], "decimal(5,2)"),
    "string": (pl.String(), ["", "\x00'\"\\ü𝄞\n", "x" * 70_000, None], "string"),
    "binary": (pl.Binary(), [b"", b"\x00\xff", None], "binary"),
    "date": (pl.Date(), [FIRST.date(), LAST.date(), dt.date(1582, 10, 10), None], "date"),
    "timestamp": (pl.Datetime("us", "UTC"), AWARE, "timestamp"),
    "timestamp_ntz": (pl.Datetime("us"), NAIVE, "timestamp_ntz"),
    "array": (pl.List(pl.Int64), [[1, None], [], None], "array<bigint>"),
    "array of naive times": (pl.List(pl.Datetime("us")), [NAIVE, [], None], "array<timestamp_ntz>"),
    "struct": (
        pl.Struct({"a": pl.Datetime("us", "UTC"), "b": pl.List(pl.Struct({"c": pl.String}))}),
        [{"a": AWARE[0], "b": [{"c": "x"}, None]}, {"a": None, "b": None}, None],
        "struct<a:timestamp,b:array<struct<c:string>>>",
    ),
    "map": (pl.Map(pl.String, pl.Datetime("us")), [{"a": LAST, "b": None}, {}, None], "map<string,timestamp_ntz>"),
}


def test_every_type_of_delta_comes_back_as_it_went_in(spark: SparkSession, tmp_path: Path) -> None:
    columns = {name: pl.Series((VALUES[name][1] * 5)[:5], dtype=VALUES[name][0]) for name in VALUES}
    frame = pl.DataFrame({"k": range(5)}).with_columns(pl.Series(name, column) for name, column in columns.items())
    given = to_spark(spark, frame)
    assert {field.name: field.dataType.simpleString() for field in given.schema.fields[1:]} == {
        name: kind for name, (_, _, kind) in VALUES.items()
    }
    back = from_spark(given)
    assert back.schema == frame.schema
    assert_frame_equal(back, frame)
    signs = back["float64"].drop_nulls()
    assert [math.copysign(1, value) for value in signs] == [
        math.copysign(1, value) for value in frame["float64"].drop_nulls()
    ]


def test_a_delta_table_holds_what_spark_was_given(spark: SparkSession, tmp_path: Path) -> None:
    frame = pl.DataFrame({name: pl.Series((VALUES[name][1] * 4)[:4], dtype=VALUES[name][0]) for name in VALUES})
    frame = frame.rename(
        {name: name.replace(" ", "_").replace("(", "").replace(")", "").replace(",", "") for name in VALUES}
    )
    frame = frame.drop("map")  # polars reads Delta's maps as lists of structs
    to_spark(spark, frame).coalesce(1).write.format("delta").save(str(tmp_path / "t"))
    assert_frame_equal(pl.read_delta(str(tmp_path / "t")), frame)
    assert_frame_equal(from_spark(spark.read.format("delta").load(str(tmp_path / "t"))), frame)


@pytest.mark.parametrize("kind", list(as_every_type()))
def test_every_accepted_frame_goes_in(spark: SparkSession, kind: str) -> None:
    assert from_spark(to_spark(spark, as_every_type()[kind])).equals(ROWS)


def test_a_spark_frame_is_an_accepted_frame_and_an_annotation(spark: SparkSession) -> None:
    from pyspark.sql import DataFrame

    given = from_polars(ROWS.lazy(), DataFrame)
    assert isinstance(given, DataFrame)
    assert is_spark(given)
    assert not is_spark(ROWS)
    assert to_spark(spark, given) is given
    assert to_polars(given).equals(ROWS)


def test_what_delta_has_another_type_for_becomes_that_type(spark: SparkSession) -> None:
    moment = dt.datetime(2024, 7, 1, 12, tzinfo=dt.UTC)
    frame = pl.DataFrame(
        {
            "u8": pl.Series([255], dtype=pl.UInt8),
            "u64": pl.Series([2**63 - 1], dtype=pl.UInt64),
            "category": pl.Series(["x"], dtype=pl.Categorical),
            "paris": pl.Series([moment], dtype=pl.Datetime("ns", "UTC")).dt.convert_time_zone("Europe/Paris"),
            "fixed": pl.Series([[1, 2]], dtype=pl.Array(pl.UInt16, 2)),
        }
    )
    back = from_spark(to_spark(spark, frame))
    assert back.schema == {
        "u8": pl.Int16,
        "u64": pl.Int64,
        "category": pl.String,
        "paris": pl.Datetime("us", "UTC"),
        "fixed": pl.List(pl.Int32),
    }
    assert back.row(0) == (255, 2**63 - 1, "x", moment, [1, 2])


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pl.Series("c", [2**63], dtype=pl.UInt64), r"`c` holds values of UInt64 that Int64 can't hold"),
        (pl.Series("c", [1], dtype=pl.Datetime("ns")), r"`c` holds fractions of a microsecond"),
        (pl.Series("c", [dt.time(1)]), r"`c` is Time, a type that Delta lacks"),
        (pl.Series("c", [[dt.timedelta(1)]]), r"`c` is Duration.*a type that Delta lacks"),
    ],
)
def test_what_would_lose_a_digit_is_refused(spark: SparkSession, column: pl.Series, message: str) -> None:
    with pytest.raises(InputError, match=message):
        to_spark(spark, column.to_frame())


def test_another_session_zone_changes_no_moment(spark: SparkSession) -> None:
    spark.conf.set("spark.sql.session.timeZone", "America/New_York")
    try:
        frame = pl.DataFrame(
            {"t": AWARE[1:], "n": NAIVE[1:]}, schema={"t": pl.Datetime("us", "UTC"), "n": pl.Datetime("us")}
        )
        assert_frame_equal(from_spark(to_spark(spark, frame)), frame)
    finally:
        spark.conf.set("spark.sql.session.timeZone", "UTC")


def test_a_variant_is_refused_with_a_way_out(spark: SparkSession) -> None:
    with pytest.raises(InputError, match=r"\['v'\] are `variant`.*to_json"):
        from_spark(spark.sql("SELECT parse_json('{}') AS v"))


def test_rows_that_cannot_be_computed_are_an_input_error(spark: SparkSession) -> None:
    with pytest.raises(InputError, match=r"can.t be computed.*CAST_INVALID_INPUT"):
        from_spark(spark.sql("SELECT CAST(s AS INT) AS n FROM VALUES ('1'), ('x') AS t(s)"))
