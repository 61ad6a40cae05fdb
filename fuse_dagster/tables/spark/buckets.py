"""Plans per bucket of keys: the driver's side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import reduce
from typing import TYPE_CHECKING, Any

import polars as pl

from fuse_dagster.core import errors
from fuse_dagster.core.errors import TableStateError
from fuse_dagster.engines.spark.failures import failures, why
from fuse_dagster.engines.spark.frames import from_spark, to_spark
from fuse_dagster.engines.spark.names import quoted
from fuse_dagster.tables.spark.worker import BUCKET, FACT, OP, REPORT, ROW_OPS, Job, Report
from fuse_dagster.tables.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

_BUCKETS = 200
"""Where a platform chooses the number of shuffle partitions by itself."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What the plans of all buckets say together.

    Attributes:
        frame: Their output, computed once.
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


def plan(session: SparkSession, held: DataFrame, batch: DataFrame, job: Job) -> Planned:
    """Run a job on each bucket of keys.

    Args:
        session: Where it runs; `spark.sql.shuffle.partitions` is the number of buckets, and each must fit a worker.
        held: Rows of the table, and facts, as the job expects them.
        batch: The batch.
        job: What a worker does.

    Raises:
        FuseError: What a worker raised, if one did.
    """
    schema = to_spark(session, pl.DataFrame(schema=dict(job.output))).schema
    together = _by_bucket(held, job, schema).cogroup(_by_bucket(batch, job, schema))

    def run(ours: pa.Table, theirs: pa.Table) -> pa.Table:
        # Spark counts the arguments of what it calls, `self` among them, so it can't be given the job itself.
        return job(ours, theirs)

    try:
        # Not a cache: what was judged must never be computed again, from a source that may say something else by then.
        frame = together.applyInArrow(run, schema).localCheckpoint()
        said = [row[REPORT] for row in frame.filter(frame[OP] == REPORT).select(REPORT).collect()]
    except failures() as error:
        raise TableStateError(f"Spark failed to plan, and nothing was written: {why(error)}") from error
    reports = tuple(Report(**json.loads(text)) for text in said)
    _raise_first(reports)
    tally = reduce(lambda one, other: one + other, (Tally(**_tallied(report.tally)) for report in reports), Tally())
    return Planned(frame, tally, reports)


def _by_bucket(frame: DataFrame, job: Job, schema: StructType) -> Any:
    from pyspark.sql import functions as f

    # Equal keys of other widths have other hashes, so both sides are hashed in the type that the table will have. That
    # the hash may change between versions of Spark does not matter.
    keys = (f.col(quoted(key)).cast(schema[key].dataType) for key in job.keys)
    setting = frame.sparkSession.conf.get("spark.sql.shuffle.partitions") or ""
    number = int(setting) if setting.isdigit() else _BUCKETS
    return frame.withColumn(BUCKET, f.pmod(f.hash(*keys), f.lit(number))).groupBy(BUCKET)


def _tallied(said: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(Tally)}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in said.items() if name in names}


def _raise_first(reports: Sequence[Report]) -> None:
    """Raise what a worker refused, as the class that it is; the message says what that worker saw."""
    for report in reports:
        if report.error is not None:
            kind, message = report.error
            raise getattr(errors, kind)(message)
