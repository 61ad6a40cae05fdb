"""The versions behind every way of reading in Spark, and their keys as one machine compares them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from fuse_dagster.engines.spark.frames import from_spark, is_spark, to_spark
from fuse_dagster.engines.spark.names import quoted
from fuse_dagster.engines.spark.reading import scan
from fuse_dagster.tables.history.reading.unknown import taken_error
from fuse_dagster.tables.history.reading.versions import Versions, called, refuse_unfit, versions_of

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

_TAKEN = "__fuse_taken_"


@dataclass(frozen=True, slots=True)
class Opened:
    """A history in Spark.

    Attributes:
        frame: Its versions.
        schema: Its columns and types, as polars has them.
        called: What a message calls it.
    """

    frame: DataFrame
    schema: Mapping[str, pl.DataType]
    called: str


def opened(
    session: SparkSession, table: Versions | DataFrame, *, times: Sequence[str], keys: Sequence[str] = ()
) -> Opened:
    """Open a history; nothing but a table's log is read yet.

    Args:
        session: The session that reads.
        table: URI or path of a history, or a frame of its versions, of Spark or not.
        times: Columns with starts and ends that the caller reads.
        keys: Key columns that the caller reads.

    Raises:
        TableNotFoundError: There is no table.
        InputError: It is neither a place nor a frame.
        ConfigError: It has no such columns, or `times` that are no aware timestamps.
    """
    from pyspark.sql import functions as f
    from pyspark.sql.types import TimestampType

    name = called(table)
    if isinstance(table, str | Path):
        frame = scan(session, table)
    elif is_spark(table):
        frame = to_spark(session, table)
    else:
        frame = to_spark(session, versions_of(table, times=times, keys=keys))
    schema = from_spark(frame.limit(0)).schema
    refuse_unfit(schema, times=times, keys=keys, called=name)
    untyped = [time for time in times if schema[time] == pl.Null]
    if untyped:
        frame = frame.withColumns({time: f.col(quoted(time)).cast(TimestampType()) for time in untyped})
        schema = from_spark(frame.limit(0)).schema
    return Opened(frame, schema, name)


def by_bytes(column: Column, dtype: pl.DataType) -> Column:
    """A key to compare, group and sort by: text by its bytes, whatever collation its column has.

    Args:
        column: The key.
        dtype: Its type, as polars has it.
    """
    from pyspark.sql.types import StringType

    return column.cast(StringType()) if dtype == pl.String else column


def refuse_taken_in_spark(versions: Opened, row: pl.DataFrame, keys: Sequence[str]) -> None:
    """Raise where a real key is that of the unknown member: one job, which ends at the first such row.

    Args:
        versions: The whole history.
        row: The member's.
        keys: Columns of its key.

    Raises:
        KeyValueError: The history has versions of the key.
    """
    from pyspark.sql import functions as f

    member = to_spark(versions.frame.sparkSession, row.select(keys))
    theirs = member.select(*(f.col(quoted(key)).alias(f"{_TAKEN}{number}") for number, key in enumerate(keys)))
    pairs = [
        by_bytes(f.col(quoted(key)), versions.schema[key]) == f.col(f"{_TAKEN}{number}")
        for number, key in enumerate(keys)
    ]
    if not versions.frame.join(f.broadcast(theirs), on=reduce(and_, pairs), how="left_semi").isEmpty():
        raise taken_error(row, keys)
