"""Reading a history: what held at a moment, and what holds now."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.engines.local.reading import scan
from fuse_dagster.tables.history.times import to_instant


def as_of(
    table: str | Path,
    moment: dt.datetime | dt.date,
    *,
    timezone: str | None = None,
    valid_from: str = "valid_from",
    valid_to: str = "valid_to",
    storage_options: Mapping[str, str] | None = None,
) -> pl.LazyFrame:
    """The versions that held at a moment: at most one row per key.

    Args:
        table: URI or path of a history.
        moment: Aware datetime, or a date (its midnight in `timezone`). An interval holds its start and not its end.
        timezone: IANA zone of a date or naive time; dates default to UTC.
        valid_from: Column with the start.
        valid_to: Column with the end.
        storage_options: As delta-rs takes them.

    Raises:
        TableNotFoundError: There is no table.
        ConfigError: It has no such columns.
        TimeValueError: The moment is naive and there is no `timezone`.
    """
    instant = to_instant(moment, timezone)
    start, end = pl.col(valid_from), pl.col(valid_to)
    return _history(table, (valid_from, valid_to), storage_options).filter(
        (start <= instant) & (end.is_null() | (end > instant))
    )


def current(
    table: str | Path, *, valid_to: str = "valid_to", storage_options: Mapping[str, str] | None = None
) -> pl.LazyFrame:
    """The open versions: one row per key that has not ended.

    Args:
        table: URI or path of a history.
        valid_to: Column with the end.
        storage_options: As delta-rs takes them.

    Raises:
        TableNotFoundError: There is no table.
        ConfigError: It has no such column.
    """
    return _history(table, (valid_to,), storage_options).filter(pl.col(valid_to).is_null())


def _history(table: str | Path, columns: tuple[str, ...], storage_options: Mapping[str, str] | None) -> pl.LazyFrame:
    frame = scan(table, storage_options=storage_options)
    missing = [name for name in columns if name not in frame.collect_schema()]
    if missing:
        raise ConfigError(
            f"`{table}` has no columns {missing}, so it is no history; name them, or read it as a plain table"
        )
    return frame
