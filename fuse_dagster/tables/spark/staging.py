"""A batch and a table as Spark sees them, brought to one set of types before anything is planned."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from typing import TYPE_CHECKING, Any

import polars as pl

from fuse_dagster.engines.spark.frames import from_spark, is_spark, to_spark
from fuse_dagster.engines.spark.names import quoted
from fuse_dagster.tables.actions import HIVE_NULL
from fuse_dagster.tables.batch import to_batch
from fuse_dagster.tables.commit import Committed
from fuse_dagster.tables.tally import Tally

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from fuse_dagster.tables.spark.commit import SparkTable


_OTHER = "__fuse_other_"


@dataclass(frozen=True, slots=True)
class Staged:
    """A batch in Spark.

    Attributes:
        frame: Its rows.
        empty: The same columns in polars, without rows: what declarations are checked against.
        masked: Columns whose values must not appear in an error.
    """

    frame: DataFrame
    empty: pl.DataFrame
    masked: frozenset[str]


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a batch.

    Attributes:
        committed: What landed; None where there was nothing to write.
        tally: How its rows came out.
        rows: Rows of the batch.
    """

    committed: Committed | None
    tally: Tally
    rows: int


def stage(session: SparkSession, data: Any, masked: Collection[str]) -> Staged:
    """Bring a batch to Spark.

    Args:
        session: Where the table is written.
        data: A Spark DataFrame, or any frame that the local engine takes.
        masked: Columns whose values must not appear in an error.

    Raises:
        SchemaError: A column has no Delta type, or two names differ in case only.
    """
    frame = data if is_spark(data) else to_spark(session, to_batch(data))
    return Staged(frame, to_batch(from_spark(frame.limit(0))), frozenset(masked))


def with_types(session: SparkSession, staged: Staged, names: Sequence[str], schema: Mapping[str, pl.DataType]) -> Any:
    """The batch with some columns cast to wider types, so that equal keys meet whatever their width."""
    wider = to_spark(session, pl.DataFrame(schema={name: schema[name] for name in names if name in schema})).schema
    frame = staged.frame
    for field in wider.fields:
        if field.name in staged.empty.columns:
            frame = frame.withColumn(field.name, frame[quoted(field.name)].cast(field.dataType))
    return frame


def shaped(session: SparkSession, frame: DataFrame, schema: Mapping[str, pl.DataType]) -> DataFrame:
    """A frame as a table shows it: these columns in this order and of these types, null where the frame has none.

    Args:
        session: Where the frame is.
        frame: Rows x some of the columns; others are left out.
        schema: All columns and their types.
    """
    from pyspark.sql import functions as f

    wanted = to_spark(session, pl.DataFrame(schema=dict(schema))).schema
    return frame.select(
        *(
            (f.col(quoted(c.name)) if c.name in frame.columns else f.lit(None)).cast(c.dataType).alias(c.name)
            for c in wanted.fields
        )
    )


def markers(frame: DataFrame, schema: Mapping[str, pl.DataType], layout: Sequence[str]) -> pl.DataFrame:
    """One row that holds the marker of null where a column lays out files, if there is one.

    Args:
        frame: The batch.
        schema: Its columns and types.
        layout: Physical partition columns.
    """
    from pyspark.sql import functions as f

    texts = [name for name in layout if schema.get(name) == pl.String]
    if not texts:
        return pl.DataFrame()
    holds = reduce(or_, [f.col(quoted(name)) == f.lit(HIVE_NULL) for name in texts])
    return from_spark(frame.select(*map(quoted, texts)).filter(holds).limit(1))


def matching(rows: DataFrame, keys: DataFrame, by: Sequence[str], *, how: str, null_safe: bool = False) -> DataFrame:
    """Rows that do (`left_semi`) or do not (`left_anti`) meet a row of others.

    Args:
        rows: Rows x columns.
        keys: The others; no two of them are alike in `by`.
        by: Columns that decide.
        how: Spark's name of the join.
        null_safe: Whether null equals null.
    """
    from pyspark.sql import functions as f

    if not null_safe:
        return rows.join(keys, on=list(by), how=how)
    theirs = keys.select(*(f.col(quoted(name)).alias(f"{_OTHER}{number}") for number, name in enumerate(by)))
    pairs = [f.col(quoted(name)).eqNullSafe(f.col(f"{_OTHER}{number}")) for number, name in enumerate(by)]
    return rows.join(theirs, on=reduce(and_, pairs), how=how)


@contextmanager
def kept(frame: DataFrame) -> Iterator[DataFrame]:
    """Have Spark compute a frame once, however often it is looked at: what is counted is what is written."""
    level = frame.storageLevel
    if level.useMemory or level.useDisk:
        yield frame  # its owner keeps it, and lets it go
        return
    held = frame.persist()
    try:
        yield held
    finally:
        held.unpersist()


def held_rows(table: SparkTable, schema: Mapping[str, pl.DataType]) -> DataFrame:
    """Rows of the table; of one that is still to be made, none.

    Args:
        table: The opened table, or its absence.
        schema: Columns and types of a table that is still to be made.
    """
    if table.view.exists:
        return table.read()
    return to_spark(table.session, pl.DataFrame(schema=dict(schema)))
