"""Conditions over rows in Spark, answered by the local engine's one evaluator in Spark's workers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from fuse_dagster.core import errors
from fuse_dagster.engines.spark.frames import from_arrow, to_spark
from fuse_dagster.engines.spark.names import quoted
from fuse_dagster.tables.conditions import Condition
from fuse_dagster.tables.samples import masking
from fuse_dagster.tables.spark.worker import REPORT, as_spark_takes

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_MET = "__fuse_met"


@dataclass(frozen=True, slots=True)
class Asked:
    """Answers of a condition.

    Attributes:
        met: Values of the columns that it reads, each combination once, that meet it.
        unmet: Those that don't; a null does not.
    """

    met: DataFrame
    unmet: DataFrame


@contextmanager
def ask(
    rows: DataFrame, condition: Condition, schema: Mapping[str, pl.DataType], masked: frozenset[str]
) -> Iterator[Asked]:
    """Ask a condition of every combination of values that rows have in the columns that it reads.

    Args:
        rows: Rows x the columns of `schema`.
        condition: What is asked.
        schema: Columns and types.
        masked: Columns whose values must not appear in an error.

    Raises:
        ConfigError: It reads a column that is not there, is no condition, or fails on a value.
    """
    condition.met(pl.DataFrame(schema=dict(schema)))
    read = {name: schema[name] for name in condition.columns}
    output = {**read, _MET: pl.Boolean(), REPORT: pl.String()}
    question = _Question(condition, output, masked)

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        # Spark counts the arguments of what it calls, `self` among them, so it can't be given the question itself.
        return question(batches)

    shape = to_spark(rows.sparkSession, pl.DataFrame(schema=output)).schema
    answered = rows.select(*map(quoted, read)).distinct().mapInArrow(run, shape).persist()
    try:
        for row in answered.filter(answered[REPORT].isNotNull()).select(REPORT).limit(1).collect():
            kind, message = json.loads(row[REPORT])
            raise getattr(errors, kind)(message)
        met, unmet = (answered.filter(is_met).select(*map(quoted, read)) for is_met in (_MET, f"NOT {_MET}"))
        yield Asked(met, unmet)
    finally:
        answered.unpersist()


@dataclass(frozen=True, slots=True)
class _Question:
    """What a worker does with rows."""

    condition: Condition
    output: Mapping[str, pl.DataType]
    masked: frozenset[str]

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            rows = from_arrow(pa.Table.from_batches([batch]))
            with masking(self.masked):
                try:
                    answered = rows.with_columns(self.condition.met(rows).alias(_MET), self._said(None))
                except errors.FuseError as error:
                    answered = rows.clear(1).with_columns(pl.lit(None, pl.Boolean).alias(_MET), self._said(error))
            yield from as_spark_takes(answered.select(*self.output)).to_batches()

    @staticmethod
    def _said(error: errors.FuseError | None) -> pl.Expr:
        text = None if error is None else json.dumps([type(error).__name__, str(error)])
        return pl.lit(text, pl.String).alias(REPORT)
