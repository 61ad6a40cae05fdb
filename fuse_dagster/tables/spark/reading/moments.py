"""A history in Spark as it was at a moment."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fuse_dagster.engines.spark.frames import to_spark
from fuse_dagster.engines.spark.names import quoted
from fuse_dagster.tables.history.memory.manifest import micros
from fuse_dagster.tables.history.reading.unknown import Member, keyed_member
from fuse_dagster.tables.history.reading.versions import Own, Versions
from fuse_dagster.tables.spark.reading.versions import Opened, opened, refuse_taken_in_spark

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def of_moment(
    session: SparkSession,
    table: Versions | DataFrame,
    *,
    at: dt.datetime | None,
    member: Member | None,
    keys: str | Sequence[str] | None,
    own: Own,
) -> DataFrame:
    """The versions that held: at most one row per key.

    Args:
        session: The session that reads.
        table: URI or path of a history, or a frame of its versions.
        at: Aware moment; None for the open versions.
        member: Values by column of a row to add for keys that are not there.
        keys: Business key; needed for `member`.
        own: The history's own columns.

    Raises:
        TableNotFoundError: There is no table.
        ConfigError: The columns are not there, or `member` does not fit them.
        KeyValueError: The history holds the key of `member`.
    """
    start, end = quoted(own.valid_from), quoted(own.valid_to)
    times = (own.valid_to,) if at is None else (own.valid_from, own.valid_to)
    versions = opened(session, table, times=times)
    condition = f"{end} IS NULL"
    if at is not None:
        moment = f"timestamp_micros({micros(at)})"
        condition = f"{start} <= {moment} AND ({end} IS NULL OR {end} > {moment})"
    part = versions.frame.filter(condition)
    return part if member is None else _with_member(part, versions, member, keys=keys, own=own)


def _with_member(
    part: DataFrame, versions: Opened, member: Member, *, keys: str | Sequence[str] | None, own: Own
) -> DataFrame:
    from pyspark.sql import functions as f

    row, names = keyed_member(versions.schema, member, keys=keys, own=own)
    refuse_taken_in_spark(versions, row, names)
    added = to_spark(part.sparkSession, row)
    return part.union(added.select(*(f.col(quoted(c.name)).cast(c.dataType).alias(c.name) for c in part.schema.fields)))
