"""A batch and a table as Spark sees them, brought to one set of types before anything is planned."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from fuse_dagster.engines.spark.frames import from_spark, is_spark, to_spark
from fuse_dagster.tables.batch import to_batch
from fuse_dagster.tables.commit import Committed
from fuse_dagster.tables.spark.buckets import quoted
from fuse_dagster.tables.tally import Tally

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from fuse_dagster.tables.spark.commit import SparkTable


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


def held_rows(table: SparkTable, schema: Mapping[str, pl.DataType]) -> DataFrame:
    """Rows of the table; of one that is still to be made, none.

    Args:
        table: The opened table, or its absence.
        schema: Columns and types of a table that is still to be made.
    """
    if table.view.exists:
        return table.read()
    return to_spark(table.session, pl.DataFrame(schema=dict(schema)))
