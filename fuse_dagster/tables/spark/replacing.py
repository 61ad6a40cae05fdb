"""Replacing chosen rows through Spark: those whose key stands in the batch, or those that meet a condition.

A condition is asked of its columns alone, once per combination of their values, by the evaluator of the local engine.
Rows are then found by these values: by the key, or by what the condition reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from fuse_dagster.engines.spark.frames import from_spark
from fuse_dagster.engines.spark.names import quoted
from fuse_dagster.tables.commit import Ticket
from fuse_dagster.tables.conditions import Condition
from fuse_dagster.tables.keys import refuse_bad_keys
from fuse_dagster.tables.modes import Overwrite
from fuse_dagster.tables.replacing import unmet_error
from fuse_dagster.tables.schema import SchemaChange, reconcile
from fuse_dagster.tables.spark.asking import ask
from fuse_dagster.tables.spark.buckets import Planned
from fuse_dagster.tables.spark.commit import SparkTable, save
from fuse_dagster.tables.spark.comparing import same_rows
from fuse_dagster.tables.spark.landing import Change, land
from fuse_dagster.tables.spark.staging import Staged, Written, matching, shaped
from fuse_dagster.tables.spark.worker import DELETE, INSERT, OP, Report
from fuse_dagster.tables.tally import Tally

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def replace_chosen(table: SparkTable, staged: Staged, mode: Overwrite) -> Written:
    """Take the chosen rows out and put the batch's rows in.

    Args:
        table: The opened table, or its absence.
        staged: The batch, kept by Spark.
        mode: The declaration, with `replace_keys` or `predicate`.

    Raises:
        ConfigError: The predicate does not fit the table's columns.
        PartitionError: A row of the batch does not meet the predicate.
        SchemaError: The batch does not fit the table's columns, or a key cannot be one.
        KeyValueError: A key of the batch is null.
    """
    known = table.schema()
    typed, change = reconcile(staged.empty, known, policy=mode.schema)
    schema = change.after(known) if known else dict(typed.schema)
    after = shaped(table.session, staged.frame, schema)
    rows, condition = after.count(), mode.condition
    if condition is None:
        _refuse_null_keys(shaped(table.session, staged.frame, typed.schema), typed, mode)
    else:
        _refuse_strays(after, schema, condition, staged.masked)
    if not table.view.exists:
        committed = save(table, after, mode="error", ticket=Ticket(), rows_total=rows)
        return Written(committed, Tally(inserted=rows), rows)
    target = _Target(table, after, rows, schema, change)
    held = shaped(table.session, table.read(), schema)
    if condition is None:
        keys = after.select(*map(quoted, mode.replace_keys)).distinct()
        return target.replace(held, keys, tuple(mode.replace_keys), mode, null_safe=False)
    with ask(held, condition, schema, staged.masked) as asked:
        return target.replace(held, asked.met, condition.columns, mode, null_safe=True)


@dataclass(frozen=True, slots=True)
class _Target:
    """What is known once the batch is checked.

    Attributes:
        table: The opened table.
        after: The batch as the table will show it.
        rows: How many rows it has.
        schema: The table's columns and types afterwards.
        change: How they differ from those that are there.
    """

    table: SparkTable
    after: DataFrame
    rows: int
    schema: Mapping[str, pl.DataType]
    change: SchemaChange

    def replace(
        self, held: DataFrame, keys: DataFrame, by: tuple[str, ...], mode: Overwrite, *, null_safe: bool
    ) -> Written:
        """Replace the rows that meet one of the keys."""
        from pyspark.sql import functions as f

        chosen = matching(held, keys, by, how="left_semi", null_safe=null_safe)
        gone = chosen.count()
        same = mode.skip_if_unchanged and not self.change and gone == self.rows and same_rows(chosen, self.after)
        if same or not (gone or self.rows or self.change):
            return Written(None, Tally(), self.rows)
        leave = shaped(self.table.session, keys, self.schema).withColumn(OP, f.lit(DELETE))
        come = self.after.withColumn(OP, f.lit(INSERT))
        report = Report(rows=self.rows, operations={DELETE: gone, INSERT: self.rows})
        planned = Planned(leave.unionByName(come), Tally(), (report,))
        what = Change(planned, by, self.schema, bool(self.change), null_safe=null_safe)
        committed = land(self.table, what, Ticket())
        tally = Tally(inserted=self.rows, deleted=gone, schema_changes=self.change.sentences)
        return Written(committed, tally, self.rows)


def _refuse_null_keys(batch: DataFrame, typed: pl.DataFrame, mode: Overwrite) -> None:
    keys = mode.replace_keys
    refuse_bad_keys(typed, keys, role="replace_keys")
    null = batch.filter(" OR ".join(f"{quoted(key)} IS NULL" for key in keys))
    if not null.isEmpty():
        refuse_bad_keys(from_spark(null), keys, role="replace_keys")


def _refuse_strays(
    after: DataFrame, schema: Mapping[str, pl.DataType], condition: Condition, masked: frozenset[str]
) -> None:
    """A row that the predicate does not choose would stay beside its copy of the next run."""
    with ask(after, condition, schema, masked) as asked:
        if asked.unmet.isEmpty():
            return
        strays = matching(after, asked.unmet, condition.columns, how="left_semi", null_safe=True)
        raise unmet_error(from_spark(strays.limit(3)), condition, strays=strays.count(), rows=after.count())
