"""A history as what happened: events of keys in a span of time, and versions by number."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, overload

import polars as pl

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.tables.history.reading.versions import Own, Versions, as_names, called, refuse_clash, versions_of
from fuse_dagster.tables.history.times import to_instant

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@overload
def changes(
    table: Versions,
    start: dt.datetime | dt.date,
    end: dt.datetime | dt.date | None = ...,
    *,
    keys: str | Sequence[str],
    timezone: str | None = ...,
    change: str = ...,
    changed_at: str = ...,
    valid_from: str = ...,
    valid_to: str = ...,
    is_current: str = ...,
    storage_options: Mapping[str, str] | None = ...,
    spark: None = ...,
) -> pl.LazyFrame: ...


@overload
def changes(
    table: Versions | DataFrame,
    start: dt.datetime | dt.date,
    end: dt.datetime | dt.date | None = ...,
    *,
    keys: str | Sequence[str],
    timezone: str | None = ...,
    change: str = ...,
    changed_at: str = ...,
    valid_from: str = ...,
    valid_to: str = ...,
    is_current: str = ...,
    storage_options: Mapping[str, str] | None = ...,
    spark: SparkSession,
) -> DataFrame: ...


def changes(
    table: Versions | DataFrame,
    start: dt.datetime | dt.date,
    end: dt.datetime | dt.date | None = None,
    *,
    keys: str | Sequence[str],
    timezone: str | None = None,
    change: str = "change",
    changed_at: str = "changed_at",
    valid_from: str = "valid_from",
    valid_to: str = "valid_to",
    is_current: str = "is_current",
    storage_options: Mapping[str, str] | None = None,
    spark: SparkSession | None = None,
) -> pl.LazyFrame | DataFrame:
    """What happened to which key in a span of time: at most one row per key and time.

    Versions that touch the span are all that is read, as far as the files' statistics tell them apart.

    Args:
        table: URI or path of a history, or a frame of its versions.
        start: Begin of the span, inclusive: an aware datetime, or a date (its midnight in `timezone`).
        end: End of the span, exclusive; None for everything since.
        keys: Business key.
        timezone: IANA zone of dates and naive times; dates default to UTC.
        change: Name of the column with what happened: `insert` (a key's first version, or one after an end),
            `update` (a version that follows another) or `close` (an end that no version follows).
        changed_at: Name of the column with its time, UTC.
        valid_from: Column with the start of a version.
        valid_to: Column with its end.
        is_current: Column with the flag.
        storage_options: As delta-rs takes them; Spark has its own settings.
        spark: Read through this session rather than on this machine; `table` may then be a Spark DataFrame, too.

    Returns:
        `change`, `changed_at` and the business columns, sorted by time and key: the values of the new version, for a
        `close` those of the version that ended. A Spark DataFrame where `spark` is given.

    Raises:
        TableNotFoundError: There is no table.
        ConfigError: It has no such columns, one named `change` or `changed_at`, or `end` lies before `start`.
        TimeValueError: A time is naive and there is no `timezone`.
    """
    by, own = as_names(keys, "keys"), Own(valid_from, valid_to, is_current)
    since, until = to_instant(start, timezone), None if end is None else to_instant(end, timezone)
    if until is not None and until < since:
        raise ConfigError(f"the span ends at `{until.isoformat()}`, before its start `{since.isoformat()}`; swap them")
    named = {"change": change, "changed_at": changed_at}
    if spark is not None:
        from fuse_dagster.tables.spark.reading.events import happened

        return happened(spark, table, since, until, keys=by, own=own, named=named)
    versions = versions_of(table, times=(valid_from, valid_to), keys=by, storage_options=storage_options)
    business = [name for name in versions.collect_schema() if name not in own.names]
    refuse_clash(named, business, called(table))
    # Where one version follows another inside the span, both lie in it, so no neighbour is missed.
    read = versions.select(*business, valid_from, valid_to)
    starts, ends = (read.filter(_inside(time, since, until)) for time in (valid_from, valid_to))
    events = (
        ("insert", valid_from, _neighbours(starts, ends, by, valid_from, valid_to, how="anti")),
        ("update", valid_from, _neighbours(starts, ends, by, valid_from, valid_to, how="semi")),
        ("close", valid_to, _neighbours(ends, starts, by, valid_to, valid_from, how="anti")),
    )
    told = [
        rows.select(pl.lit(what).alias(change), pl.col(time).alias(changed_at), *business)
        for what, time, rows in events
    ]
    return pl.concat(told).sort(changed_at, *by)


@overload
def numbered(
    table: Versions,
    *,
    keys: str | Sequence[str],
    name: str = ...,
    valid_from: str = ...,
    storage_options: Mapping[str, str] | None = ...,
    spark: None = ...,
) -> pl.LazyFrame: ...


@overload
def numbered(
    table: Versions | DataFrame,
    *,
    keys: str | Sequence[str],
    name: str = ...,
    valid_from: str = ...,
    storage_options: Mapping[str, str] | None = ...,
    spark: SparkSession,
) -> DataFrame: ...


def numbered(
    table: Versions | DataFrame,
    *,
    keys: str | Sequence[str],
    name: str = "version",
    valid_from: str = "valid_from",
    storage_options: Mapping[str, str] | None = None,
    spark: SparkSession | None = None,
) -> pl.LazyFrame | DataFrame:
    """All versions, with the number that each has among those of its key.

    The number is computed on reading, because a late batch may put a version between two others.

    Args:
        table: URI or path of a history, or a frame of its versions.
        keys: Business key.
        name: Name of the column with the number: 1 for a key's earliest version, int64.
        valid_from: Column with the start.
        storage_options: As delta-rs takes them; Spark has its own settings.
        spark: Read through this session rather than on this machine; `table` may then be a Spark DataFrame, too.

    Returns:
        The versions in no particular order, with the number as the last column. A Spark DataFrame where `spark` is
        given.

    Raises:
        TableNotFoundError: There is no table.
        ConfigError: It has no such columns, or one called `name` already.
    """
    by = as_names(keys, "keys")
    if spark is not None:
        from fuse_dagster.tables.spark.reading.events import with_numbers

        return with_numbers(spark, table, keys=by, name=name, valid_from=valid_from)
    versions = versions_of(table, times=(valid_from,), keys=by, storage_options=storage_options)
    refuse_clash({"name": name}, versions.collect_schema(), called(table))
    number = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over(by, order_by=valid_from)
    return versions.with_columns(number.alias(name))


def _inside(column: str, since: dt.datetime, until: dt.datetime | None) -> pl.Expr:
    after = pl.col(column) >= since
    return after if until is None else after & (pl.col(column) < until)


def _neighbours(
    rows: pl.LazyFrame, others: pl.LazyFrame, by: list[str], time: str, meets: str, *, how: Literal["semi", "anti"]
) -> pl.LazyFrame:
    """Rows whose `time` is (semi) or is not (anti) what another version of the key has in `meets`."""
    return rows.join(others.select(*by, meets), left_on=[*by, time], right_on=[*by, meets], how=how)
