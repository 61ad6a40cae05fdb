"""Times of facts on the UTC line, in Spark's functions: none of them asks the session for its zone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from fuse_dagster.engines.spark.frames import from_spark
from fuse_dagster.engines.spark.names import quoted
from fuse_dagster.tables.history.times import place

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_EPOCH = "TIMESTAMP_NTZ'1970-01-01 00:00:00'"
_PER_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Placed:
    """A column of times.

    Attributes:
        micros: Microseconds since 1970, UTC; null where there is no time.
        lost: Whether a wall time happens twice or never in its zone.
    """

    micros: Column
    lost: Column


def placed(facts: DataFrame, at: str, dtype: pl.DataType, timezone: str | None) -> Placed:
    """A column of times on the UTC line.

    Args:
        facts: Rows with the column.
        at: Its name.
        dtype: Its type, as polars has it.
        timezone: IANA zone of dates and naive times; dates default to UTC.

    Raises:
        TimeValueError: Another type, or naive without a zone.
        ConfigError: There is no such zone.
    """
    from pyspark.sql import functions as f

    column = f.col(quoted(at))
    like = pl.DataFrame(schema={at: dtype})
    if timezone is None and isinstance(dtype, pl.Datetime) and dtype.time_zone is None:
        like = from_spark(facts.select(column).filter(column.isNotNull()).limit(1))  # what the error shows
    place(like, at, timezone, role="at")
    if dtype == pl.Null:
        return Placed(column.cast("bigint"), f.lit(False))
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        return Placed(f.unix_micros(column), f.lit(False))
    return _of_wall(column.cast("timestamp_ntz"), timezone or "UTC")


def _of_wall(wall: Column, timezone: str) -> Placed:
    """Wall times in a zone, of which Spark takes the earlier where one happens twice, and moves those that never do."""
    from pyspark.sql import functions as f

    zone, utc = f.lit(timezone), f.lit("UTC")
    first = f.convert_timezone(zone, utc, wall)
    # No zone puts its clock back by more than a day: by then, the offset is that of the second time.
    tomorrow = first + f.expr("INTERVAL 1 DAY")
    second = wall - (f.convert_timezone(utc, zone, tomorrow) - tomorrow)
    twice = (second != first) & (f.convert_timezone(utc, zone, second) == wall)
    never = f.convert_timezone(utc, zone, first) != wall
    return Placed(_micros(first), f.coalesce(twice | never, f.lit(False)))


def _micros(wall: Column) -> Column:
    from pyspark.sql import functions as f

    seconds = (wall - f.expr(_EPOCH)).cast("interval second").cast("decimal(18, 6)")
    return (seconds * f.lit(_PER_SECOND)).cast("bigint")
