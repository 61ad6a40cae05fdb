"""Finding the version that held for each fact, in one pass over the facts.

Facts and the starts of versions are laid on one line per key, by time, and each fact looks back at the last start: a
sort, whatever the number of versions. A join by key and interval would compare a fact with every version of its key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

import polars as pl

from fuse_dagster.engines.spark.frames import to_spark
from fuse_dagster.engines.spark.names import quoted
from fuse_dagster.tables.history.reading.searching import Pair
from fuse_dagster.tables.history.reading.versions import Own
from fuse_dagster.tables.spark.reading.times import Placed

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType

FACT, GIVEN, BROKEN, LOST = "__fuse_fact", "__fuse_given", "__fuse_broken", "__fuse_lost"
_AT, _TURN, _APART, _HELD = "__fuse_at", "__fuse_turn", "__fuse_apart", "__fuse_held"
_START, _END = "__fuse_start", "__fuse_end"

_BEFORE, _BEGINS, _ASKS = 0, 1, 2
"""What a row of a line is, and in which order they come at one time: the time before all versions, a start, a fact."""


@dataclass(frozen=True, slots=True)
class Line:
    """Facts and versions on one line per key.

    Attributes:
        frame: A row per fact and per version, with `FACT` (the fact's columns by position), `GIVEN` (the columns of
            the version that is the last to start, by position), `BROKEN` and `LOST`.
        is_fact: Whether a row is a fact.
        held: Whether the version held at the fact's time.
        early: Whether the fact lies before the first version of its key; `GIVEN` is then that first version.
        first: When the version started, microseconds since 1970.
    """

    frame: DataFrame
    is_fact: Column
    held: Column
    early: Column
    first: Column


def lay(facts: DataFrame, versions: DataFrame) -> Line:
    """Lay facts and versions on one line per key, and have each fact look back.

    Args:
        facts: From `facts_of`.
        versions: From `versions_on`.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    keys = [name for name in facts.columns if name.startswith(_key(""))]
    both = facts.unionByName(versions, allowMissingColumns=True)
    line = Window.partitionBy(*keys, _APART).orderBy(f.col(_AT).asc_nulls_first(), f.col(_TURN))
    back = line.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    looked = both.withColumns(
        {name: f.last(name, ignorenulls=True).over(back) for name in (_HELD, GIVEN)}  # a count needs no GIVEN
    )
    is_fact, last = f.col(_TURN) == _ASKS, f.col(_HELD)
    early = last["early"]
    holds = ~early & (last["end"].isNull() | (last["end"] > f.col(_AT)))
    return Line(
        looked,
        is_fact,
        is_fact & f.coalesce(holds, f.lit(False)),
        is_fact & f.coalesce(early, f.lit(False)),
        last["start"],
    )


def facts_of(facts: DataFrame, pairs: Sequence[Pair], times: Placed) -> DataFrame:
    """Facts for a line.

    Args:
        facts: Rows x columns with the keys.
        pairs: Parts of the key.
        times: When they happened.
    """
    from pyspark.sql import functions as f

    keyed = facts.select(
        *(_exactly(facts, pair.fact, pair).alias(_key(n)) for n, pair in enumerate(pairs)),
        times.micros.alias(_AT),
        times.lost.alias(LOST),
        _packed(facts, facts.columns).alias(FACT),
    )
    # What can't match stays where it was read: in one group, all null keys would be the work of one task.
    lacks = reduce(or_, [f.col(name).isNull() for name in (*_keys(pairs), _AT)])
    return keyed.withColumns({_TURN: f.lit(_ASKS), _APART: f.when(lacks, f.spark_partition_id()).otherwise(-1)})


def checked(versions: DataFrame, pairs: Sequence[Pair], own: Own) -> DataFrame:
    """Versions with a key, with `BROKEN`: whether one has no start, does not end after it, or meets the next one.

    Args:
        versions: Rows x columns with keys, starts and ends.
        pairs: Parts of the key.
        own: The history's own columns.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    keyed = versions.select(
        "*",
        *(_exactly(versions, pair.version, pair).alias(_key(n)) for n, pair in enumerate(pairs)),
        *(
            f.unix_micros(quoted(time)).alias(name)
            for name, time in ((_START, own.valid_from), (_END, own.valid_to))
        ),
    ).dropna(subset=_keys(pairs))  # fmt: skip
    start, end = f.col(_START), f.col(_END)
    timeline = Window.partitionBy(*_keys(pairs)).orderBy(start.asc_nulls_last(), end.asc_nulls_last())
    following = f.lead(start).over(timeline)
    meets = following.isNotNull() & (end.isNull() | (end > following))
    return keyed.withColumns(
        {
            BROKEN: start.isNull() | f.coalesce(end <= start, f.lit(False)) | meets,
            _TURN: f.row_number().over(timeline),
        }
    )


def versions_on(versions: DataFrame, pairs: Sequence[Pair], names: Sequence[str]) -> DataFrame:
    """Versions for a line: each once, and a key's first a second time, for the time before it.

    Args:
        versions: From `checked`.
        pairs: Parts of the key.
        names: Columns to give.
    """
    from pyspark.sql import functions as f

    turns = f.when(f.col(_TURN) == 1, f.array(f.lit(_BEFORE), f.lit(_BEGINS))).otherwise(f.array(f.lit(_BEGINS)))
    rows = versions.select("*", f.explode(turns).alias(_APART)).drop(_TURN).withColumnRenamed(_APART, _TURN)
    before, start = f.col(_TURN) == _BEFORE, f.col(_START)
    return rows.select(
        *_keys(pairs),
        f.when(~before, start).alias(_AT),
        f.col(_TURN),
        f.lit(-1).alias(_APART),
        (f.col(BROKEN) & ~before).alias(BROKEN),
        f.struct(before.alias("early"), start.alias("start"), f.col(_END).alias("end")).alias(_HELD),
        _packed(rows, names).alias(GIVEN),
    )


def field(packed: str, number: int) -> Column:
    """A column of `FACT` or `GIVEN`."""
    from pyspark.sql import functions as f

    return f.col(packed)[f"c{number}"]


def _packed(frame: DataFrame, names: Sequence[str]) -> Column:
    """Columns by position, so that no name of theirs meets one of ours."""
    from pyspark.sql import functions as f

    return f.struct(*(frame[quoted(name)].alias(f"c{number}") for number, name in enumerate(names)))


def _exactly(frame: DataFrame, name: str, pair: Pair) -> Column:
    """A key in the type in which it is compared; null where it has no equal in that type."""
    return frame[quoted(name)].try_cast(_spark_type(frame, pair.dtype))


def _spark_type(frame: DataFrame, dtype: pl.DataType) -> DataType:
    return to_spark(frame.sparkSession, pl.DataFrame(schema={"k": dtype})).schema["k"].dataType


def _keys(pairs: Sequence[Pair]) -> list[str]:
    return [_key(number) for number in range(len(pairs))]


def _key(number: object) -> str:
    return f"__fuse_key_{number}"
