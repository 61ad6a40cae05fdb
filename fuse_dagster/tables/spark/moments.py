"""A history in Spark as it was at a moment: the rows that `as_of` and `current` give on one machine."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fuse_dagster.engines.spark.frames import from_spark, to_spark
from fuse_dagster.engines.spark.names import quoted
from fuse_dagster.tables.history.memory.manifest import micros
from fuse_dagster.tables.history.reading.unknown import Member, with_member
from fuse_dagster.tables.history.reading.versions import Own, versions_of
from fuse_dagster.tables.history.times import to_instant

if TYPE_CHECKING:
    import polars as pl
    from pyspark.sql import DataFrame


@dataclass(frozen=True, slots=True)
class Moment:
    """What is asked of a history.

    Attributes:
        at: Aware datetime, or a date (its midnight in `timezone`); None for the open versions.
        timezone: IANA zone of a date or naive time; dates default to UTC.
        member: Values by column of a row to add for keys that are not there.
        keys: Business key; needed for `member`.
        own: Columns with the start and the end of a version, and the flag.
    """

    at: dt.datetime | dt.date | None = None
    timezone: str | None = None
    member: Member | None = None
    keys: Sequence[str] = ()
    own: tuple[str, ...] = ("valid_from", "valid_to", "is_current")


def moment_of(versions: DataFrame, asked: Moment) -> DataFrame:
    """The versions that held: at most one row per key.

    Args:
        versions: All versions of a history.
        asked: The moment.

    Raises:
        ConfigError: The columns are not there, or `member` does not fit them.
        KeyValueError: The history holds the key of `member`.
        TimeValueError: The moment is naive and there is no `timezone`.
    """
    start, end, _ = asked.own
    empty = from_spark(versions.limit(0))
    versions_of(empty, times=(start, end) if asked.at is not None else (end,))
    held = versions.filter(f"{quoted(end)} IS NULL")
    if asked.at is not None:
        at = f"timestamp_micros({micros(to_instant(asked.at, asked.timezone))})"
        held = versions.filter(f"{quoted(start)} <= {at} AND ({quoted(end)} IS NULL OR {quoted(end)} > {at})")
    if asked.member is None:
        return held
    return held.unionByName(to_spark(versions.sparkSession, _member(versions, empty, asked)))


def _member(versions: DataFrame, empty: pl.DataFrame, asked: Moment) -> pl.DataFrame:
    """The row to add, which must not have the key of a real one."""
    from pyspark.sql import functions as f

    given = {key: (asked.member or {}).get(key) for key in asked.keys}
    same = versions
    for key, value in given.items():
        if key in empty.columns and value is not None:
            same = same.filter(f.col(quoted(key)) == f.lit(value))
    alike = from_spark(same.limit(1)) if given else empty
    added = with_member(empty.lazy(), alike.lazy(), asked.member, keys=asked.keys, own=Own(*asked.own[:3]))
    return added.collect()
