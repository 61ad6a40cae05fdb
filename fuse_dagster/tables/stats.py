"""Statistics of a data file, as the Delta protocol words them: they decide which files a reader may skip.

Source: Delta transaction log protocol, "Per-file statistics". A bound that cannot be stated exactly is left out or
rounded outwards: a file read in vain costs time, a file skipped in error loses rows. Decimals have
no bounds, because a JSON number is a double to most readers. Nested columns have no statistics at all: their counts are
nested too, and a log entry that says them in another shape makes the whole table unreadable.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from typing import Any

import polars as pl

_BOUNDED = (
    pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Float32, pl.Float64, pl.String, pl.Date, pl.Datetime,
)  # fmt: skip
_LONGEST_TEXT = 64
_MILLISECOND = dt.timedelta(milliseconds=1)
_LAST = dt.datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=dt.UTC)


def statistics(frame: pl.DataFrame) -> str:
    """Row count, bounds and null counts of a file as JSON.

    Args:
        frame: The file's rows, at least one.
    """
    names = [name for name, dtype in frame.schema.items() if not dtype.is_nested()]
    bounded = [name for name in names if isinstance(frame.schema[name], _BOUNDED)]
    row = frame.select(
        *(pl.col(n).null_count().alias(f"null {n}") for n in names),
        *(pl.col(n).min().alias(f"min {n}") for n in bounded),
        *(pl.col(n).max().alias(f"max {n}") for n in bounded),
        *(pl.col(n).is_nan().any().alias(f"nan {n}") for n in bounded if frame.schema[n].is_float()),
    ).row(0, named=True)
    low: dict[str, Any] = {}
    high: dict[str, Any] = {}
    for name in bounded:
        bounds = _bounds(row[f"min {name}"], row[f"max {name}"], has_nan=bool(row.get(f"nan {name}")))
        if bounds is not None:
            low[name], high[name] = bounds
    nulls = {name: row[f"null {name}"] for name in names}
    said = {"numRecords": frame.height, "minValues": low, "maxValues": high, "nullCount": nulls}
    # Characters as they are: delta-rs reads the escapes of those beyond 16 bits as other characters.
    return json.dumps(said, ensure_ascii=False)


def _bounds(low: Any, high: Any, *, has_nan: bool) -> tuple[Any, Any] | None:
    if low is None or high is None or has_nan:
        return None
    if isinstance(low, str):
        return (low, high) if max(len(low), len(high)) <= _LONGEST_TEXT else None
    if isinstance(low, float):
        return (low, high) if math.isfinite(low) and math.isfinite(high) else None
    if isinstance(low, dt.datetime):
        return (_time(low), _time(high, up=True)) if high.replace(tzinfo=dt.UTC) <= _LAST else None
    if isinstance(low, dt.date):
        return low.isoformat(), high.isoformat()
    return low, high


def _time(value: dt.datetime, *, up: bool = False) -> str:
    """The protocol states milliseconds; the upper bound is rounded up so that it stays a bound."""
    if up and value.microsecond % 1000:
        value += _MILLISECOND
    text = value.replace(tzinfo=None).isoformat(timespec="milliseconds")
    return text + "Z" if value.tzinfo is not None else text
