"""A history in Spark as what happened: events of keys in a span of time, and versions by number."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from fuse_dagster.engines.spark.names import quoted
from fuse_dagster.tables.history.memory.manifest import micros
from fuse_dagster.tables.history.reading.versions import Own, Versions, refuse_clash
from fuse_dagster.tables.spark.reading.versions import Opened, by_bytes, opened

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

_START, _END = "start", "end"


def happened(
    session: SparkSession,
    table: Versions | DataFrame,
    since: dt.datetime,
    until: dt.datetime | None,
    *,
    keys: Sequence[str],
    own: Own,
    named: Mapping[str, str],
) -> DataFrame:
    """What happened to which key in a span of time.

    Starts and ends meet at their key and time, so a key with many versions is many small groups rather than a big one.

    Args:
        session: The session that reads.
        table: URI or path of a history, or a frame of its versions.
        since: Begin of the span, inclusive, aware.
        until: End of the span, exclusive, aware; None for everything since.
        keys: Business key.
        own: The history's own columns.
        named: Names of the columns `change` and `changed_at`.

    Returns:
        As `changes`.

    Raises:
        TableNotFoundError: There is no table.
        ConfigError: It has no such columns, or some of these names.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    versions = opened(session, table, times=(own.valid_from, own.valid_to), keys=keys)
    business = [name for name in versions.schema if name not in own.names]
    refuse_clash(named, business, versions.called)
    change, at = named["change"], named["changed_at"]
    by = _keys(versions, keys)
    starts, ends = (
        versions.frame.filter(_inside(time, since, until)).select(
            f.lit(kind).alias(change), f.col(quoted(time)).alias(at), *map(quoted, business)
        )
        for kind, time in ((_START, own.valid_from), (_END, own.valid_to))
    )
    what = f.col(quoted(change))
    meeting = Window.partitionBy(f.col(quoted(at)), *by)
    # A null key is nobody's, so what bears it follows nothing.
    known = ~reduce(or_, [key.isNull() for key in by])
    ended, begun = (known & f.max(what == kind).over(meeting) for kind in (_END, _START))
    told = (
        f.when((what == _START) & ended, "update")
        .when(what == _START, "insert")
        .when(~begun, "close")
    )  # fmt: skip
    return (
        starts.union(ends)
        .select(told.alias(change), quoted(at), *map(quoted, business))
        .filter(f.col(quoted(change)).isNotNull())
        .orderBy(f.col(quoted(at)), *by)
    )


def with_numbers(
    session: SparkSession, table: Versions | DataFrame, *, keys: Sequence[str], name: str, valid_from: str
) -> DataFrame:
    """All versions, with the number that each has among those of its key.

    Args:
        session: The session that reads.
        table: URI or path of a history, or a frame of its versions.
        keys: Business key.
        name: Name of the column with the number.
        valid_from: Column with the start.

    Raises:
        TableNotFoundError: There is no table.
        ConfigError: It has no such columns, or one called `name` already.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    versions = opened(session, table, times=(valid_from,), keys=keys)
    refuse_clash({"name": name}, versions.schema, versions.called)
    timeline = Window.partitionBy(*_keys(versions, keys)).orderBy(f.col(quoted(valid_from)))
    return versions.frame.select("*", f.row_number().over(timeline).cast("bigint").alias(name))


def _keys(versions: Opened, keys: Sequence[str]) -> list[Column]:
    from pyspark.sql import functions as f

    return [by_bytes(f.col(quoted(key)), versions.schema[key]) for key in keys]


def _inside(column: str, since: dt.datetime, until: dt.datetime | None) -> str:
    after = f"{quoted(column)} >= timestamp_micros({micros(since)})"
    return after if until is None else f"{after} AND {quoted(column)} < timestamp_micros({micros(until)})"
