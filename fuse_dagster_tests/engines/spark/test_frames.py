"""Every type that Delta has goes into Spark and comes back as it was, from every kind of frame."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from fuse_dagster.engines.spark.frames import from_spark, to_spark

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


def frame_of(name: str) -> pl.DataFrame:
    dtype, values, _ = VALUES[name]
    return pl.DataFrame({"k": range(len(values)), "v": pl.Series(values, dtype=dtype)})


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
