"""Plans per bucket of keys: the worker's side. Nothing here knows a session, a store or a commit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import polars as pl
import pyarrow as pa

from fuse_dagster.core.errors import FuseError
from fuse_dagster.engines.spark.frames import from_arrow
from fuse_dagster.tables.batch import to_batch
from fuse_dagster.tables.rows import ROW, MemoryRows
from fuse_dagster.tables.samples import masking
from fuse_dagster.tables.swapping import Swap
from fuse_dagster.tables.tally import Tally

BUCKET = "__fuse_bucket"
OP = "__fuse_op"
REPORT = "__fuse_report"
FACT = "__fuse_fact"
ORDER = "__fuse_order"
INSERT, UPDATE, DELETE = ROW_OPS = ("insert", "update", "delete")


@dataclass(frozen=True, slots=True)
class Report:
    """What one worker tells the driver.

    Attributes:
        tally: How the rows of its batch came out.
        measures: What the driver has to judge over all buckets.
        rows: Rows of its batch.
        operations: How many rows come, change and go.
        error: Class and message of what was refused.
    """

    tally: Mapping[str, Any] = field(default_factory=dict)
    measures: Sequence[Mapping[str, Any]] = ()
    rows: int = 0
    operations: Mapping[str, int] = field(default_factory=dict)
    error: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Bucket:
    """What a plan says about one bucket of keys.

    Attributes:
        swap: What goes, comes and changes among the rows.
        tally: How the rows of the batch came out.
        measures: What has to be judged over all buckets.
        facts: What is to be remembered.
    """

    swap: Swap
    tally: Tally
    measures: Sequence[Mapping[str, Any]] = ()
    facts: pl.DataFrame | None = None


class Planner(Protocol):
    """Plans over one bucket of keys."""

    def __call__(self, held: pl.DataFrame, batch: pl.DataFrame) -> Bucket:
        """Plan.

        Args:
            held: Rows of the table (and facts) whose keys are in this bucket.
            batch: Rows of the batch whose keys are.
        """


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker does with a bucket: frames in, a plan, frames out.

    Attributes:
        planner: The plan.
        keys: Columns that say which bucket a row is in.
        identity: Columns that tell the rows of the table apart.
        output: Columns and types of what comes out.
        masked: Columns whose values must not appear in an error.
    """

    planner: Planner
    keys: tuple[str, ...]
    identity: tuple[str, ...]
    output: Mapping[str, pl.DataType]
    masked: frozenset[str] = frozenset()

    def __call__(self, held: pa.Table, batch: pa.Table) -> pa.Table:
        """Plan one bucket, as Spark's `applyInArrow` calls it."""
        frames = [from_arrow(table).drop(BUCKET) for table in (held, batch)]
        with masking(self.masked):
            try:
                planned = self.planner(frames[0], to_batch(frames[1]))
            except FuseError as error:
                return self._out([_report(Report(error=(type(error).__name__, str(error))))])
        made = operations(planned.swap, self.identity)
        report = Report(
            tally=asdict(planned.tally),
            measures=planned.measures,
            rows=frames[1].height,
            operations={op: part.height for op, part in made.items()},
        )
        parts = [_report(report), *(part.with_columns(pl.lit(op).alias(OP)) for op, part in made.items())]
        if planned.facts is not None:
            parts.append(planned.facts.with_columns(pl.lit(FACT).alias(OP)))
        return self._out(parts)

    def _out(self, parts: Sequence[pl.DataFrame]) -> pa.Table:
        full = [
            part.select(
                (pl.col(name).cast(dtype) if name in part.columns else pl.lit(None, dtype=dtype)).alias(name)
                for name, dtype in self.output.items()
            )
            for part in parts
        ]
        return as_spark_takes(pl.concat(full))


def as_spark_takes(frame: pl.DataFrame) -> pa.Table:
    """A frame in the types of Arrow that Spark wants back from a worker."""
    made = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    return made.cast(pa.schema([field.with_type(_small(field.type)) for field in made.schema]))


def operations(swap: Swap, identity: Sequence[str]) -> dict[str, pl.DataFrame]:
    """A swap as operations on single rows, which are told apart by some columns.

    Args:
        swap: What goes, comes and changes.
        identity: Columns that no two rows of the table, before or after, agree in.
    """
    rows = swap.rows.frame
    gone = rows[swap.removed].select(*swap.schema) if len(swap.removed) else rows.clear().select(*swap.schema)
    changed = rows.clear().select(*swap.schema)
    if swap.updated is not None and len(swap.updated):
        changed = rows[swap.updated[ROW]].with_columns(swap.updated.drop(ROW)).select(*swap.schema)
    come = swap.added.select(*swap.schema)
    stays = come.join(gone.select(identity), on=list(identity), how="semi")
    return {
        DELETE: gone.join(come.select(identity), on=list(identity), how="anti"),
        UPDATE: pl.concat([changed, stays]),
        INSERT: come.join(gone.select(identity), on=list(identity), how="anti"),
    }


def memory_rows(uri: str, held: pl.DataFrame, schema: Mapping[str, pl.DataType]) -> MemoryRows:
    """Rows of the table as it will be: columns that are still to come are null.

    Args:
        uri: The table.
        held: Rows as the table holds them.
        schema: Its columns and types after the write.
    """
    return MemoryRows(
        uri,
        held.select(
            (pl.col(name).cast(dtype) if name in held.columns else pl.lit(None, dtype=dtype)).alias(name)
            for name, dtype in schema.items()
        ),
    )


def _small(kind: pa.DataType) -> pa.DataType:
    """The type with 32-bit offsets, as Spark wants it; its batches are small enough."""
    if pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_large_binary(kind):
        return pa.binary()
    if pa.types.is_large_list(kind) or pa.types.is_list(kind):
        return pa.list_(_small(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_small(field.type)) for field in kind])
    return kind


def _report(report: Report) -> pl.DataFrame:
    return pl.DataFrame({OP: [REPORT], REPORT: [json.dumps(asdict(report))]})
