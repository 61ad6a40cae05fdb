"""From what the workers planned to one commit: a MERGE, or a write of the whole table where its columns change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from fuse_dagster.engines.spark.names import quoted
from fuse_dagster.tables.commit import Committed, Ticket
from fuse_dagster.tables.spark.buckets import Planned
from fuse_dagster.tables.spark.commit import SparkTable, merge, save
from fuse_dagster.tables.spark.fence import fenced, fenced_write
from fuse_dagster.tables.spark.staging import matching, shaped
from fuse_dagster.tables.spark.worker import DELETE, INSERT, OP
from fuse_dagster.tables.swapping import refuse_lost_promises

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True, slots=True)
class Change:
    """What is to land.

    Attributes:
        planned: Rows that come, change or go.
        identity: Columns that tell rows of the table apart.
        schema: The table's columns and types afterwards.
        new_columns: Whether they differ from those that are there.
        reaching: SQL over the target, `t.`, true for every row that was planned over.
        null_safe: Whether rows may be null in `identity`, and are then told apart like any others.
    """

    planned: Planned
    identity: tuple[str, ...]
    schema: Mapping[str, pl.DataType]
    new_columns: bool
    reaching: str | None = None
    null_safe: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether no row and no column changes."""
        return not self.new_columns and not any(self.planned.operations.values())


def land(table: SparkTable, change: Change, ticket: Ticket) -> Committed:
    """Commit a change, on exactly the rows that it was planned on.

    Args:
        table: What was planned on.
        change: What is to land; not empty, where the table exists.
        ticket: What the commit is known by.

    Raises:
        LostRaceError: Another commit came first.
        TableStateError: Spark failed; nothing was written.
    """
    rows = change.planned.rows(list(change.schema))
    made = change.planned.operations
    if not table.view.exists:
        return save(table, rows.drop(OP), mode="error", ticket=ticket, rows_total=made.get(INSERT, 0))
    total = table.view.count_rows() + made.get(INSERT, 0) - made.get(DELETE, 0)
    if change.new_columns:
        refuse_lost_promises(table.view)
        whole = _after(table, change, rows)
        options = {"overwriteSchema": "true"}
        return save(
            table,
            fenced_write(table, whole),
            mode="overwrite",
            ticket=ticket,
            rows_total=total,
            options=options,
            partition_by=table.layout,
        )
    return merge(
        table,
        fenced(table, rows),
        identity=change.identity,
        columns=list(change.schema),
        reaching=change.reaching,
        ticket=ticket,
        rows_total=total,
        null_safe=change.null_safe,
    )


def _after(table: SparkTable, change: Change, rows: DataFrame) -> DataFrame:
    """The whole table as it will be: a MERGE could add a column, but not widen one, and must do both alike."""
    from pyspark.sql import functions as f

    full = shaped(table.session, table.read(), change.schema)
    planned_over = rows.filter(f.col(OP) != INSERT).select(*map(quoted, change.identity))
    stay = matching(full, planned_over, change.identity, how="left_anti", null_safe=change.null_safe)
    after = stay.unionByName(rows.filter(f.col(OP) != DELETE).drop(OP))
    return after.select(*map(quoted, change.schema))
