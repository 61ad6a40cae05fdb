"""Every type that Delta has, through the file swap: nothing changes on the way, and no reader skips a row."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable, QueryBuilder
from polars.testing import assert_frame_equal

from fuse_dagster.tables import Upsert, write

DAY = dt.datetime(2024, 1, 1, 1, 2, 3, 456789)  # noqa: DTZ001 - a column without a zone
VALUES: dict[str, tuple[pl.DataType, list[Any]]] = {
    "int8": (pl.Int8(), [-128, 127, None]),
    "int16": (pl.Int16(), [-(2**15), 2**15 - 1, None]),
    "int32": (pl.Int32(), [-(2**31), 2**31 - 1, None]),
    "int64": (pl.Int64(), [-(2**63), 2**63 - 1, None]),
    "float32": (pl.Float32(), [-0.0, 1.5, None]),
    "float64": (pl.Float64(), [0.1, -math.inf, math.inf]),
    "nan": (pl.Float64(), [math.nan, 1.0, None]),
    "boolean": (pl.Boolean(), [True, False, None]),
    "string": (pl.String(), ["", "ü'\"\\", "x" * 200]),
    "binary": (pl.Binary(), [b"", b"\x00\xff", None]),
    "date": (pl.Date(), [DAY.date(), dt.date(1, 1, 1), dt.date(9999, 12, 31)]),
    "naive": (pl.Datetime("us"), [DAY, DAY + dt.timedelta(microseconds=1), None]),
    "aware": (pl.Datetime("us", "UTC"), [DAY.replace(tzinfo=dt.UTC), DAY.replace(year=1969, tzinfo=dt.UTC), None]),
    "decimal": (pl.Decimal(38, 9), [Decimal("12345678901234567890123456789.123456789"), Decimal("-0.1"), None]),
    "list": (pl.List(pl.Float64), [[math.nan, None], [], None]),
    "struct": (
        pl.Struct({"a": pl.Int64, "b": pl.List(pl.String)}),
        [{"a": 1, "b": ["x"]}, {"a": None, "b": None}, None],
    ),
}
SQL = {
    "int8", "int16", "int32", "int64", "float64", "string", "date", "boolean",
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_a_value_comes_back_as_it_went_in(tmp_path: Path, name: str) -> None:
    dtype, values = VALUES[name]
    first = pl.DataFrame({"k": [1, 2, 3], "v": pl.Series(values, dtype=dtype)})
    second = first.with_columns(k=pl.col("k") + 2)  # one key in common, in its own file from now on
    write(tmp_path / "t", first, Upsert(keys="k"))
    result = write(tmp_path / "t", second, Upsert(keys="k"))
    assert (result.inserted, result.updated) == (2, 1)
    truth = pl.concat([first.head(2), second]).sort("k")
    assert_frame_equal(pl.read_delta(str(tmp_path / "t")).sort("k"), truth)
    assert write(tmp_path / "t", second, Upsert(keys="k")).version is None
    for value in truth["v"].drop_nulls().drop_nans() if dtype.is_float() else truth["v"].drop_nulls():
        if not dtype.is_nested():
            found = pl.scan_delta(str(tmp_path / "t")).filter(pl.col("v") == pl.lit(value, dtype=dtype)).collect()
            assert found.height == truth.filter(pl.col("v") == pl.lit(value, dtype=dtype)).height


@pytest.mark.parametrize("name", sorted(SQL))
def test_another_reader_skips_no_row(tmp_path: Path, name: str) -> None:
    dtype, values = VALUES[name]
    frame = pl.DataFrame({"k": [1, 2, 3], "v": pl.Series(values, dtype=dtype)})
    write(tmp_path / "t", frame.head(1), Upsert(keys="k"))
    write(tmp_path / "t", frame, Upsert(keys="k"))
    reader = QueryBuilder().register("t", DeltaTable(str(tmp_path / "t")))
    for value in (v for v in values if v is not None and v not in (math.inf, -math.inf)):
        text = value.replace("'", "''") if isinstance(value, str) else value
        literal = str(text) if isinstance(value, int | float) else f"'{text}'"
        found = pl.DataFrame(reader.execute(f"SELECT k FROM t WHERE v = {literal}").read_all())
        assert found.height == frame.filter(pl.col("v") == pl.lit(value, dtype=dtype)).height
