"""Reads an upstream table as a Spark DataFrame, the way an input asks: as `loading` does for the local engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.engines.local.reading import to_moment
from fuse_dagster.engines.spark.frames import from_spark
from fuse_dagster.engines.spark.names import quoted
from fuse_dagster.engines.spark.reading import scan
from fuse_dagster.orchestration.loading import ReadOptions, Source, refuse_unwritten, said_of_history
from fuse_dagster.orchestration.partitions import present_keys, slice_of
from fuse_dagster.tables import as_of, current
from fuse_dagster.tables.spark.slices import slice_sql

if TYPE_CHECKING:
    from logging import Logger

    from pyspark.sql import DataFrame, SparkSession


def read_source_with_spark(session: SparkSession, source: Source, options: ReadOptions, log: Logger) -> DataFrame:
    """Read an upstream table, narrowed to what the step depends on.

    Args:
        session: The session that reads.
        source: The table, and which partitions of it.
        options: What the input asks for.
        log: Where it is said how many of the partitions there are.

    Returns:
        A Spark DataFrame, pinned to one version; filters and columns are pushed down to the files.

    Raises:
        TableNotFoundError: There is no table.
        TableStateError: It can't be opened, or the version asked for has expired.
        ConfigError: The options do not fit the table.
        PartitionNotFoundError: The one partition asked for was never written.
    """
    if options.as_of is not None:
        frame = _moment(session, source, options)
    else:
        frame = scan(session, source.uri, version=options.version, timestamp=options.timestamp)
        if source.definition is not None and source.declaration.has_slices:
            frame = _partitions(source, frame, log)
    for name in options.columns or ():
        if name not in frame.columns:
            return scan(session, source.uri, columns=options.columns)  # which says so
    return frame if options.columns is None else frame.select(*map(quoted, options.columns))


def _moment(session: SparkSession, source: Source, options: ReadOptions) -> DataFrame:
    history, moment = source.declaration.history, options.as_of
    asked = said_of_history(source, options.unknown_member)
    if moment is None or moment == "current":
        return current(source.uri, spark=session, **asked)
    instant = to_moment(moment) if isinstance(moment, str) else moment
    return as_of(source.uri, instant, timezone=history.timezone if history else None, spark=session, **asked)


def _partitions(source: Source, frame: DataFrame, log: Logger) -> DataFrame:
    definition, by = source.definition, source.declaration.partition_by
    if definition is None:
        raise ConfigError(f"`{source.asset.to_user_string()}` is not partitioned")
    schema = from_spark(frame.limit(0)).schema
    if not source.keys:
        refuse_unwritten(source, set(), log)
        return frame.filter("false")
    where = slice_of(source.keys, definition, by, schema)
    narrowed = frame.filter(slice_sql(where, schema))
    values = from_spark(narrowed.select(*map(quoted, where.columns)).distinct()).lazy()
    refuse_unwritten(source, present_keys(source.keys, definition, by, values) | source.written, log)
    return narrowed
