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
    """Files whose bounds of the first key column enclose a key of the batch.

    Only bounds that every writer states exactly count: those of decimals are doubles in the log, those of timestamps
    are cut to milliseconds.

    Args:
        files: From `TableView.files`.
        keys: The batch's keys.
    """
    name = keys.columns[0]
    low, high = f"min.{name}", f"max.{name}"
    if keys.is_empty():
        return pl.lit(False)
    if not _states_bounds(files, name, keys.schema[name]):
        return pl.lit(True)
    # The first wanted key that is not below a file's lowest decides: if that one is above its highest, all are.
    wanted = keys[name].drop_nulls().unique().sort()
    first = wanted.search_sorted(files[low], side="left")
    nearest = wanted.gather(first.set(first >= len(wanted), None))
    below, known = nearest <= files[high], files[low].is_not_null() & files[high].is_not_null()
    return pl.lit(~known | below.fill_null(False))


def in_key_order(files: pl.DataFrame, key: str) -> pl.DataFrame:
    """Files by their lowest key, so that rows that are sorted within and across files are read sorted.

    Args:
        files: From `TableView.files`.
        key: The first key column.
    """
    low = f"min.{key}"
    return files.sort(low, maintain_order=True) if low in files.columns else files


def _states_bounds(files: pl.DataFrame, name: str, dtype: pl.DataType) -> bool:
    low, high = f"min.{name}", f"max.{name}"
    stated = low in files.columns and high in files.columns
    return has_exact_bounds(dtype) and stated and files.schema[low] == dtype == files.schema[high]


def has_exact_bounds(dtype: pl.DataType) -> bool:
    """Whether every writer states the bounds of a column of this type exactly."""
    return dtype.is_integer() or dtype in {pl.String, pl.Date}
