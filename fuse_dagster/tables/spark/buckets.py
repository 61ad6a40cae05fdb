"""Plans per bucket of keys: the driver's side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import reduce
from typing import TYPE_CHECKING, Any

import polars as pl

from fuse_dagster.core import errors
from fuse_dagster.engines.spark.frames import from_spark, to_spark
from fuse_dagster.tables.spark.worker import BUCKET, FACT, OP, REPORT, ROW_OPS, Job, Report
from fuse_dagster.tables.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True, slots=True)
class Planned:
    """What the plans of all buckets say together.

    Attributes:
        frame: Their output, kept by Spark until `release`.
        tally: How the rows of the batch came out.
        reports: One per bucket.
    """

    frame: DataFrame
    tally: Tally
    reports: tuple[Report, ...]

    @property
    def batch_rows(self) -> int:
        """Rows of the batch."""
        return sum(report.rows for report in self.reports)

    @property
    def operations(self) -> dict[str, int]:
        """How many rows come, change and go."""
        return {op: sum(report.operations.get(op, 0) for report in self.reports) for op in ROW_OPS}

    @property
    def measures(self) -> list[Mapping[str, Any]]:
        """What has to be judged over all buckets."""
        return [measure for report in self.reports for measure in report.measures]

    def rows(self, columns: Sequence[str]) -> DataFrame:
        """Rows that come, change or go: `OP` and the table's columns."""
        from pyspark.sql import functions as f

        return self.frame.filter(f.col(OP).isin(*ROW_OPS)).select(OP, *map(quoted, columns))

    def facts(self, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
        """Facts to remember.

        Args:
            schema: Their columns and types.
        """
        from pyspark.sql import functions as f

        found = from_spark(self.frame.filter(f.col(OP) == FACT).select(*map(quoted, schema)))
        return found.select(pl.col(name).cast(dtype) for name, dtype in schema.items())

    def release(self) -> None:
        """Let Spark forget the output."""
        self.frame.unpersist()


def plan(session: SparkSession, held: DataFrame, batch: DataFrame, job: Job) -> Planned:
    """Run a job on each bucket of keys.

    Args:
        session: Where it runs; `spark.sql.shuffle.partitions` is the number of buckets, and each must fit a worker.
        held: Rows of the table, and facts, as the job expects them.
        batch: The batch; its key columns have the types of the table's.
        job: What a worker does.

    Raises:
        FuseError: What a worker raised, if one did.
    """
    number = int(session.conf.get("spark.sql.shuffle.partitions") or 1)
    together = _by_bucket(held, job.keys, number).cogroup(_by_bucket(batch, job.keys, number))
    schema = to_spark(session, pl.DataFrame(schema=dict(job.output))).schema

    def run(ours: pa.Table, theirs: pa.Table) -> pa.Table:
        # Spark counts the arguments of what it calls, `self` among them, so it can't be given the job itself.
        return job(ours, theirs)

    frame = together.applyInArrow(run, schema).persist()
    try:
        said = [row[REPORT] for row in frame.filter(frame[OP] == REPORT).select(REPORT).collect()]
        reports = tuple(Report(**json.loads(text)) for text in said)
        _raise_first(reports)
    except BaseException:
        frame.unpersist()
        raise
    tally = reduce(lambda one, other: one + other, (Tally(**_tallied(report.tally)) for report in reports), Tally())
    return Planned(frame, tally, reports)


def quoted(name: str) -> str:
    """A column's name as Spark's SQL takes it, whatever it holds."""
    return "`" + name.replace("`", "``") + "`"


def _by_bucket(frame: DataFrame, keys: Sequence[str], number: int) -> Any:
    from pyspark.sql import functions as f

    # Only equal keys must meet: that this hash may change between versions of Spark does not matter.
    bucket = f.pmod(f.hash(*(f.col(quoted(key)) for key in keys)), f.lit(number))
    return frame.withColumn(BUCKET, bucket).groupBy(BUCKET)


def _tallied(said: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(Tally)}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in said.items() if name in names}


def _raise_first(reports: Sequence[Report]) -> None:
    """Raise what a worker refused, as the class that it is; the message says what that worker saw."""
    for report in reports:
        if report.error is not None:
            kind, message = report.error
            raise getattr(errors, kind)(message)
