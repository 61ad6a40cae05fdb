"""One row per key: what held at a moment, and what holds now."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, overload

import polars as pl

from fuse_dagster.tables.history.reading.unknown import Member, with_member
from fuse_dagster.tables.history.reading.versions import Own, Versions, versions_of
from fuse_dagster.tables.history.times import to_instant

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@overload
def as_of(
    table: Versions,
    moment: dt.datetime | dt.date,
    *,
    timezone: str | None = ...,
    unknown_member: Member | None = ...,
    keys: str | Sequence[str] | None = ...,
    valid_from: str = ...,
    valid_to: str = ...,
    is_current: str = ...,
    storage_options: Mapping[str, str] | None = ...,
    spark: None = ...,
) -> pl.LazyFrame: ...


@overload
def as_of(
    table: Versions | DataFrame,
    moment: dt.datetime | dt.date,
    *,
    timezone: str | None = ...,
    unknown_member: Member | None = ...,
    keys: str | Sequence[str] | None = ...,
    valid_from: str = ...,
    valid_to: str = ...,
    is_current: str = ...,
    storage_options: Mapping[str, str] | None = ...,
    spark: SparkSession,
) -> DataFrame: ...


def as_of(
    table: Versions | DataFrame,
    moment: dt.datetime | dt.date,
    *,
    timezone: str | None = None,
    unknown_member: Member | None = None,
    keys: str | Sequence[str] | None = None,
    valid_from: str = "valid_from",
    valid_to: str = "valid_to",
    is_current: str = "is_current",
    storage_options: Mapping[str, str] | None = None,
    spark: SparkSession | None = None,
) -> pl.LazyFrame | DataFrame:
    """The versions that held at a moment: at most one row per key.

    Args:
        table: URI or path of a history, or a frame of its versions.
        moment: Aware datetime, or a date (its midnight in `timezone`). An interval holds its start and not its end.
        timezone: IANA zone of a date or naive time; dates default to UTC.
        unknown_member: Values by column of a row to add, which stands for every key that is not there: null elsewhere,
            valid from the year 1 on, without an end.
        keys: Business key; needed for `unknown_member`.
        valid_from: Column with the start.
        valid_to: Column with the end.
        is_current: Column with the flag.
        storage_options: As delta-rs takes them; Spark has its own settings.
        spark: Read through this session rather than on this machine; `table` may then be a Spark DataFrame, too.

    Returns:
        The versions with all their columns, lazily: as a Spark DataFrame where `spark` is given.

    Raises:
        TableNotFoundError: There is no table.
        ConfigError: It has no such columns, or `unknown_member` does not fit them.
        KeyValueError: The history holds the key of `unknown_member`.
        TimeValueError: The moment is naive and there is no `timezone`.
    """
    instant = to_instant(moment, timezone)
    own = Own(valid_from, valid_to, is_current)
    if spark is not None:
        from fuse_dagster.tables.spark.reading.moments import of_moment

        return of_moment(spark, table, at=instant, member=unknown_member, keys=keys, own=own)
    versions = versions_of(table, times=(valid_from, valid_to), storage_options=storage_options)
    start, end = pl.col(valid_from), pl.col(valid_to)
    held = versions.filter((start <= instant) & (end.is_null() | (end > instant)))
    return with_member(held, versions, unknown_member, keys=keys, own=own)


@overload
def current(
    table: Versions,
    *,
    unknown_member: Member | None = ...,
    keys: str | Sequence[str] | None = ...,
    valid_from: str = ...,
    valid_to: str = ...,
    is_current: str = ...,
    storage_options: Mapping[str, str] | None = ...,
    spark: None = ...,
) -> pl.LazyFrame: ...


@overload
def current(
    table: Versions | DataFrame,
    *,
    unknown_member: Member | None = ...,
    keys: str | Sequence[str] | None = ...,
    valid_from: str = ...,
    valid_to: str = ...,
    is_current: str = ...,
    storage_options: Mapping[str, str] | None = ...,
    spark: SparkSession,
) -> DataFrame: ...


def current(
    table: Versions | DataFrame,
    *,
    unknown_member: Member | None = None,
    keys: str | Sequence[str] | None = None,
    valid_from: str = "valid_from",
    valid_to: str = "valid_to",
    is_current: str = "is_current",
    storage_options: Mapping[str, str] | None = None,
    spark: SparkSession | None = None,
) -> pl.LazyFrame | DataFrame:
    """The open versions: one row per key that has not ended.

    Args:
        table: URI or path of a history, or a frame of its versions.
        unknown_member: As in `as_of`.
        keys: Business key; needed for `unknown_member`.
        valid_from: Column with the start; read for `unknown_member` only.
        valid_to: Column with the end.
        is_current: Column with the flag; read for `unknown_member` only.
        storage_options: As delta-rs takes them; Spark has its own settings.
        spark: Read through this session rather than on this machine; `table` may then be a Spark DataFrame, too.

    Returns:
        The versions with all their columns, lazily: as a Spark DataFrame where `spark` is given.

    Raises:
        TableNotFoundError: There is no table.
        ConfigError: It has no such column, or `unknown_member` does not fit its columns.
        KeyValueError: The history holds the key of `unknown_member`.
    """
    own = Own(valid_from, valid_to, is_current)
    if spark is not None:
        from fuse_dagster.tables.spark.reading.moments import of_moment

        return of_moment(spark, table, at=None, member=unknown_member, keys=keys, own=own)
    versions = versions_of(table, times=(valid_to,), storage_options=storage_options)
    opened = versions.filter(pl.col(valid_to).is_null())
    return with_member(opened, versions, unknown_member, keys=keys, own=own)
