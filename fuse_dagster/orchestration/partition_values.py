"""Partition keys as values of a column: each key in exactly one spelling, so that two keys never own the same rows."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from fuse_dagster.core.errors import PartitionError
from fuse_dagster.tables.actions import HIVE_NULL

if TYPE_CHECKING:
    from fuse_dagster.tables.slices import Value


_INTEGER = re.compile(r"0|-?[1-9][0-9]*")


def key_value(key: str, dtype: pl.DataType, column: str) -> Value:
    """Read a partition key as a value of its column.

    Raises:
        PartitionError: It is none, or not in the one spelling that stands for it.
    """
    if key == HIVE_NULL:
        msg = f"The partition key `{key}` can't be stored: Delta reads it back as null. Choose another name for it."
        raise PartitionError(msg)
    if dtype == pl.String:
        return key
    if dtype.is_integer() and _INTEGER.fullmatch(key):
        return int(key)
    if dtype == pl.Boolean and key in {"true", "false"}:
        return key == "true"
    if dtype == pl.Date or isinstance(dtype, pl.Datetime):
        moment = _moment(key, dtype)
        if moment is not None:
            return moment
    msg = f"The partition key `{key}` is no value of `{column}`, which is {dtype}. Valid: {_spelling(dtype)}."
    raise PartitionError(msg)


def _moment(key: str, dtype: pl.DataType) -> date | datetime | None:
    kind = date if dtype == pl.Date else datetime
    try:
        value = kind.fromisoformat(key)
    except ValueError:
        return None
    offset = value.utcoffset() if isinstance(value, datetime) else None
    zoned = isinstance(dtype, pl.Datetime) and dtype.time_zone is not None
    return value if value.isoformat() == key and offset == (timedelta() if zoned else None) else None


def _spelling(dtype: pl.DataType) -> str:
    if dtype.is_integer():
        return "an integer without leading zeros or signs, as `7` or `-7`"
    if dtype == pl.Boolean:
        return "`true`, `false`"
    if dtype == pl.Date:
        return "an ISO date, as `2024-01-31`"
    if isinstance(dtype, pl.Datetime):
        return f"an ISO time, as `2024-01-31T12:00:00{'+00:00' if dtype.time_zone else ''}`"
    return "none; decide the partition by a column of integers, text, booleans, dates or timestamps"
