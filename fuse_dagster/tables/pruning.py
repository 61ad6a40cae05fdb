"""Which files a write has to read, by the bounds that the log states; no bound means it has to."""

from __future__ import annotations

import datetime as dt

import polars as pl


def may_reach(files: pl.DataFrame, valid_to: str, since: dt.datetime) -> pl.Expr:
    """Files with an open version, or one that ends at or after a time.

    Args:
        files: From `TableView.files`.
        valid_to: Column with the end of a version.
        since: Aware UTC time.
    """
    nulls, latest = f"null_count.{valid_to}", f"max.{valid_to}"
    if nulls not in files.columns:
        return pl.lit(True)
    is_open = pl.col(nulls).is_null() | (pl.col(nulls) > 0)
    if latest not in files.columns:
        return is_open | (pl.col(nulls) < pl.col("num_records"))
    late = pl.col(latest) + dt.timedelta(milliseconds=1) >= since  # stated bounds are cut to milliseconds
    no_bound = pl.col(latest).is_null() & (pl.col(nulls) < pl.col("num_records"))
    return is_open | late.fill_null(False) | no_bound


def may_hold(files: pl.DataFrame, keys: pl.DataFrame) -> pl.Expr:
    """Files whose bounds of the first key column meet the batch's.

    Only bounds that every writer states exactly count: those of decimals are doubles in the log, those of timestamps
    are cut to milliseconds.

    Args:
        files: From `TableView.files`.
        keys: The batch's keys.
    """
    name = keys.columns[0]
    low, high = f"min.{name}", f"max.{name}"
    wanted = keys[name]
    if wanted.is_empty():
        return pl.lit(False)
    if not has_exact_bounds(wanted.dtype) or low not in files.columns or files.schema[low] != wanted.dtype:
        return pl.lit(True)
    return ((pl.col(low) <= wanted.max()) & (pl.col(high) >= wanted.min())).fill_null(True)


def has_exact_bounds(dtype: pl.DataType) -> bool:
    """Whether every writer states the bounds of a column of this type exactly."""
    return dtype.is_integer() or dtype in {pl.String, pl.Date}
