"""Facts with the versions that held at their times: one row per fact, whatever the history holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import polars as pl

from fuse_dagster.engines.local.frames import to_polars
from fuse_dagster.tables.history.reading.asking import (
    BeforeFirst,
    PointInTime,
    Question,
    early_error,
    fit,
    matches_of,
    refuse_unknown,
    require,
)
from fuse_dagster.tables.history.reading.searching import Found, ordered, search
from fuse_dagster.tables.history.reading.unknown import Member, refuse_taken
from fuse_dagster.tables.history.reading.versions import Own, Versions, called, versions_of
from fuse_dagster.tables.history.times import place
from fuse_dagster.tables.samples import KNOWN

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@overload
def point_in_time(
    facts: Any,
    history: Versions,
    *,
    on: str | Sequence[str] | Mapping[str, str],
    at: str,
    before_first: BeforeFirst = ...,
    timezone: str | None = ...,
    unknown_member: Member | None = ...,
    columns: Sequence[str] | None = ...,
    suffix: str = ...,
    valid_from: str = ...,
    valid_to: str = ...,
    is_current: str = ...,
    storage_options: Mapping[str, str] | None = ...,
    spark: None = ...,
) -> PointInTime[pl.DataFrame]: ...


@overload
def point_in_time(
    facts: Any,
    history: Versions | DataFrame,
    *,
    on: str | Sequence[str] | Mapping[str, str],
    at: str,
    before_first: BeforeFirst = ...,
    timezone: str | None = ...,
    unknown_member: Member | None = ...,
    columns: Sequence[str] | None = ...,
    suffix: str = ...,
    valid_from: str = ...,
    valid_to: str = ...,
    is_current: str = ...,
    storage_options: Mapping[str, str] | None = ...,
    spark: SparkSession,
) -> PointInTime[DataFrame]: ...


def point_in_time(
    facts: Any,
    history: Versions | DataFrame,
    *,
    on: str | Sequence[str] | Mapping[str, str],
    at: str,
    before_first: BeforeFirst = "null",
    timezone: str | None = None,
    unknown_member: Member | None = None,
    columns: Sequence[str] | None = None,
    suffix: str = "_history",
    valid_from: str = "valid_from",
    valid_to: str = "valid_to",
    is_current: str = "is_current",
    storage_options: Mapping[str, str] | None = None,
    spark: SparkSession | None = None,
) -> PointInTime[pl.DataFrame] | PointInTime[DataFrame]:
    """Give each fact the version that held at its time: one row per fact, never more, never fewer.

    Args:
        facts: Rows x columns with keys and times, any frame that `write` takes, in any order.
        history: URI or path of a history, or a frame of its versions (all of them, so that the first is known).
        on: Columns with the business key: names that facts and history share, or a map from the facts' to the
            history's.
        at: The facts' column with the time: a timestamp or a date.
        before_first: What a fact gets whose time lies before the first version of its key: nothing (`null`), that
            first version (`earliest`), or an `error`.
        timezone: IANA zone of naive times and of dates. Naive times without it are errors; dates default to UTC.
        unknown_member: Values by column for facts without a version, instead of nulls: the row that `as_of` and
            `current` add. So no fact is lost to a later join with the dimension.
        columns: Columns of the history to add, in this order; by default all but the key.
        suffix: What a column of the history gets after its name where the facts have one of that name.
        valid_from: The history's column with the start.
        valid_to: The history's column with the end.
        is_current: The history's column with the flag.
        storage_options: As delta-rs takes them; Spark has its own settings.
        spark: Join through this session rather than on this machine; facts and history may then be Spark DataFrames,
            too. One job checks and counts; the frame is computed when it is used.

    Returns:
        The facts in their order with the history's columns, in memory, and the counts. With `spark`, the frame is a
        Spark DataFrame, which has no order.

    Raises:
        TableNotFoundError: There is no table.
        ConfigError: A column that is not there, two columns of one name, or an `unknown_member` that does not fit.
        SchemaError: A key is of another kind than the history's (a string and an integer never match), or has no
            exact equality (a float).
        TimeValueError: `at` is no time, is naive without `timezone`, or holds local times that the zone skips or
            repeats.
        InputError: A fact lies before the first version, and `before_first="error"`.
        KeyValueError: The history holds the key of `unknown_member`.
        TableStateError: Versions of a key overlap, or end before they start: not the work of `write`.

    Example:
        >>> import datetime as dt
        >>> day = lambda n: dt.datetime(2024, 1, n, tzinfo=dt.timezone.utc)
        >>> history = pl.DataFrame({"k": [1], "name": ["a"], "valid_from": [day(2)], "valid_to": [day(4)]})
        >>> facts = pl.DataFrame({"k": [1, 1, 1], "at": [day(4), day(2), day(1)]})
        >>> joined = point_in_time(facts, history, on="k", at="at", columns=["name"])
        >>> joined.frame["name"].to_list(), joined.matched, joined.before_first, joined.unmatched
        ([None, 'a', None], 1, 1, 1)
    """
    refuse_unknown(before_first)
    asked = Question(
        matches=matches_of(on),
        at=at,
        before_first=before_first,
        timezone=timezone,
        member=unknown_member,
        columns=columns,
        suffix=suffix,
        own=Own(valid_from, valid_to, is_current),
    )
    if spark is not None:
        from fuse_dagster.tables.spark.reading.joining import join

        return join(spark, facts, history, asked)
    rows = to_polars(facts)
    require(asked, rows.columns)
    lazy = versions_of(history, times=(valid_from, valid_to), keys=asked.keys, storage_options=storage_options)
    return _join(rows, lazy, asked, called=called(history))


def _join(rows: pl.DataFrame, lazy: pl.LazyFrame, asked: Question, *, called: str) -> PointInTime[pl.DataFrame]:
    fitted = fit(asked, rows.schema, lazy.collect_schema(), called=called)
    times = place(rows, asked.at, asked.timezone, role="at")
    if fitted.member is not None and asked.says_the_key:
        refuse_taken(lazy, fitted.member, asked.keys)
    names, start = list(fitted.renamed), asked.own.valid_from
    versions = lazy.select({*asked.keys, start, asked.own.valid_to, *names}).collect()
    found = search(rows, times, ordered(versions, fitted.pairs, asked.own, called=called), fitted.pairs)
    if asked.before_first == "error":
        _refuse_early(rows.select(*asked.matches, asked.at), versions[start], found)
    row = found.held.zip_with(~found.early, found.first) if asked.before_first == "earliest" else found.held
    values = versions.select(names)
    if fitted.member is not None:
        row, values = row.fill_null(values.height), pl.concat([values, fitted.member.select(names)])
    given = values.select(pl.all().gather(row)).rename(fitted.renamed)
    matched, early = len(found.held) - found.held.null_count(), int(found.early.sum())
    return PointInTime(rows.hstack(given), rows.height, matched, early, rows.height - matched - early)


def _refuse_early(facts: pl.DataFrame, starts: pl.Series, found: Found) -> None:
    first = starts.gather(found.first).alias(KNOWN + starts.name)
    early = facts.with_columns(first).filter(found.early)
    if early.height:
        raise early_error(early, early=early.height, facts=facts.height)
