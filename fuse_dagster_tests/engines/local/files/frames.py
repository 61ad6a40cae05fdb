"""Frames with the values that files lose: nulls beside "", text that looks like numbers, NaN, -0.0, zones, nesting."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from typing import Any

import polars as pl
from hypothesis import strategies as st

UTC = dt.UTC
TEXTS = ["", "007", "NULL", "null", "NA", "1e5", "true", "2024-01-01", " x ", 'a"b', "a,b;c\td", "a\nb", "a\r\nb", "\r",
         "_x0041_", "=1+1", "'", "日本", "😀", "\t", "\x01", "#", "\\", "{}", "[1]"]  # fmt: skip


def text() -> st.SearchStrategy[str]:
    signs = st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufffe\uffff")
    return st.sampled_from(TEXTS) | st.text(signs, max_size=6)


def floats(*, finite: bool) -> st.SearchStrategy[float]:
    awkward = [-0.0, 0.1 + 0.2, 5e-324, 1.7976931348623157e308, *([] if finite else [math.nan, math.inf, -math.inf])]
    return st.sampled_from(awkward) | st.floats(allow_nan=not finite, allow_infinity=not finite)


def integers(bits: int) -> st.SearchStrategy[int]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def moments(*, zoned: bool, first: int = 1) -> st.SearchStrategy[dt.datetime]:
    ends = dt.datetime(first, 3, 1), dt.datetime(9999, 12, 30)  # noqa: DTZ001 - wall times
    found = st.datetimes(*ends)
    return found.map(lambda moment: moment.replace(tzinfo=UTC)) if zoned else found


def to_milliseconds(moment: dt.datetime) -> dt.datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


STRUCT = pl.Struct({"a": pl.Int64, "b": pl.String})
COLUMNS: dict[str, tuple[pl.DataType, st.SearchStrategy[Any]]] = {
    "text": (pl.String(), text()),
    "truth": (pl.Boolean(), st.booleans()),
    "tiny": (pl.Int8(), integers(8)),
    "short": (pl.Int32(), integers(32)),
    "long": (pl.Int64(), integers(64)),
    "cell": (pl.Int64(), st.integers(-(2**53), 2**53)),
    "unsigned": (pl.UInt32(), st.integers(0, 2**32 - 1)),
    "huge": (pl.UInt64(), st.integers(0, 2**64 - 1)),
    "number": (pl.Float64(), floats(finite=False)),
    "finite": (pl.Float64(), floats(finite=True)),
    "half": (pl.Float32(), st.floats(allow_nan=False, allow_infinity=False, width=32)),
    "money": (pl.Decimal(20, 4), st.decimals(-(10**15), 10**15, places=4)),
    "wide": (pl.Decimal(38, 0), st.integers(-(10**37), 10**37).map(Decimal)),
    "day": (pl.Date(), st.dates(dt.date(1, 1, 1))),
    "excel_day": (pl.Date(), st.dates(dt.date(1900, 3, 1))),
    "clock": (pl.Time(), st.times()),
    "wall": (pl.Datetime("us"), moments(zoned=False)),
    "wall_ms": (pl.Datetime("ms"), moments(zoned=False).map(to_milliseconds)),
    "excel_wall": (pl.Datetime("ms"), moments(zoned=False, first=1900).map(to_milliseconds)),
    "instant": (pl.Datetime("us", "UTC"), moments(zoned=True)),
    "vienna": (pl.Datetime("us", "Europe/Vienna"), moments(zoned=True, first=1900)),
    "bytes": (pl.Binary(), st.binary(max_size=5)),
    "span": (pl.Duration("us"), st.timedeltas(dt.timedelta(-1000), dt.timedelta(1000))),
    "list": (pl.List(pl.Int64), st.lists(st.none() | integers(64), max_size=3)),
    "struct": (STRUCT, st.fixed_dictionaries({"a": st.none() | integers(64), "b": st.none() | text()})),
    "deep": (
        pl.List(pl.Struct({"x": pl.Float64, "y": pl.List(pl.String)})),
        st.lists(
            st.none()
            | st.fixed_dictionaries({
                "x": st.none() | floats(finite=True),
                "y": st.none() | st.lists(st.none() | text(), max_size=2),
            }),
            max_size=2,
        ),
    ),
}  # fmt: skip
_EVERYWHERE = ["text", "truth", "tiny", "short", "cell", "unsigned", "finite", "half"]
_TEXTUAL = [*_EVERYWHERE, "long", "huge", "money", "wide", "day", "clock", "wall", "wall_ms", "instant", "vienna"]
HELD = {
    "parquet": list(COLUMNS),
    "csv": [*_TEXTUAL, "number"],
    "ndjson": [*_TEXTUAL, "list", "struct", "deep"],
    "json": [*_TEXTUAL, "list", "struct", "deep"],
    "excel": [*_EVERYWHERE, "excel_day", "excel_wall"],
    "avro": ["text", "truth", "tiny", "short", "long", "cell", "unsigned", "number", "finite", "half", "money", "wide",
             "day", "wall", "wall_ms", "instant", "vienna", "bytes", "list", "struct", "deep"],
}  # fmt: skip
"""Format -> the columns of which it holds every value."""


@st.composite
def frames(draw: st.DrawFn, names: list[str]) -> pl.DataFrame:
    """Up to 6 rows of some columns; the last row has a value, and there are two columns at least."""
    chosen = draw(st.lists(st.sampled_from(names), min_size=2, max_size=len(names), unique=True))
    height = draw(st.integers(0, 6))
    columns = []
    for name in chosen:
        dtype, values = COLUMNS[name]
        drawn = draw(st.lists(st.none() | values, min_size=height, max_size=height))
        columns.append(pl.Series(name, drawn, dtype=dtype, strict=True))
    ends = pl.Series("row", range(height), dtype=pl.Int64)
    return pl.DataFrame([*columns, ends])
