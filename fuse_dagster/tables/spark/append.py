"""Append through Spark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from fuse_dagster.engines.spark.names import quoted
from fuse_dagster.tables.actions import refuse_layout, refuse_marker
from fuse_dagster.tables.append import batch_ticket, has_landed
from fuse_dagster.tables.commit import Ticket
from fuse_dagster.tables.keys import collapse, refuse_bad_keys
from fuse_dagster.tables.modes import Append
from fuse_dagster.tables.rows import ROW
from fuse_dagster.tables.schema import reconcile, refuse_widened
from fuse_dagster.tables.spark.buckets import plan
from fuse_dagster.tables.spark.commit import SparkTable, save
from fuse_dagster.tables.spark.fence import fenced_write
from fuse_dagster.tables.spark.staging import Staged, Written, held_rows, markers, shaped, with_types
from fuse_dagster.tables.spark.worker import OP, REPORT, Bucket, Job, memory_rows
from fuse_dagster.tables.swapping import Swap
from fuse_dagster.tables.tally import Tally

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True, slots=True)
class OncePlanner:
    """Finds the new rows among those of one bucket of keys.

    Attributes:
        uri: The table, for messages.
        schema: The columns of the batch, in the types that the table will have.
        keys: Columns by which a row is recognized.
    """

    uri: str
    schema: Mapping[str, pl.DataType]
    keys: tuple[str, ...]

    def __call__(self, held: pl.DataFrame, batch: pl.DataFrame) -> Bucket:
        """Plan."""
        typed = batch.select(pl.col(name).cast(dtype) for name, dtype in self.schema.items())
        refuse_bad_keys(typed, self.keys, role="once")
        unique, duplicates = collapse(typed, self.keys, [name for name in typed.columns if name not in self.keys])
        fresh = unique.join(held.select(self.keys), on=list(self.keys), how="anti", maintain_order="left")
        nothing = pl.Series(ROW, [], dtype=pl.Int64)
        swap = Swap(memory_rows(self.uri, held.clear(), self.schema), nothing, fresh, self.schema)
        return Bucket(swap, Tally(inserted=fresh.height, duplicates=duplicates))


def append(table: SparkTable, staged: Staged, mode: Append) -> Written:
    """Add the rows of the batch; with `once`, those that are new.

    Args:
        table: The opened table, or its absence.
        staged: The batch, kept by Spark.
        mode: The declaration.

    Raises:
        FuseError: As the local engine's append.
    """
    view, known = table.view, table.schema()
    typed, change = reconcile(staged.empty, known, policy=mode.schema)
    ticket, rows = batch_ticket(view, mode), staged.frame.count()
    if ticket is not None and has_landed(view, ticket):
        return Written(None, Tally(), rows)
    if view.exists:
        refuse_widened(view.uri, change.widened)
    else:
        refuse_layout(typed, mode.partition_by)
    shape = dict(typed.schema)
    refuse_marker(markers(staged.frame, shape, table.layout or mode.partition_by), table.layout or mode.partition_by)
    if mode.once_by_key:
        return _once(table, staged, mode, shape, Tally(schema_changes=change.sentences))
    tally = Tally(inserted=rows, schema_changes=change.sentences)
    if view.exists and not rows and not change:
        return Written(None, tally, rows)
    # A batch without rows may still come, under the same name.
    ticket = ticket if ticket is not None and rows else Ticket()
    return _add(table, shaped(table.session, staged.frame, shape), mode, ticket, Written(None, tally, rows))


def _once(table: SparkTable, staged: Staged, mode: Append, shape: Mapping[str, pl.DataType], changed: Tally) -> Written:
    keys = mode.once_by_key
    refuse_bad_keys(staged.empty, keys, role="once")
    job = Job(
        OncePlanner(table.view.uri, shape, keys),
        keys,
        keys,
        {OP: pl.String(), REPORT: pl.String(), **shape},
        staged.masked,
    )
    batch = with_types(table.session, staged, keys, shape)
    held = shaped(table.session, held_rows(table, shape), {key: shape[key] for key in keys})
    planned = plan(
        table.session,
        held.join(batch.select(*map(quoted, keys)), on=list(keys), how="left_semi").distinct(),
        batch,
        job,
    )
    made = Written(None, planned.tally + changed, planned.batch_rows)
    if table.view.exists and not planned.tally.inserted and not changed.schema_changes:
        return made
    return _add(table, planned.rows(list(shape)).drop(OP), mode, Ticket(), made)


def _add(table: SparkTable, frame: DataFrame, mode: Append, ticket: Ticket, made: Written) -> Written:
    if not table.view.exists:
        total = made.tally.inserted
        committed = save(table, frame, mode="error", ticket=ticket, rows_total=total, partition_by=mode.partition_by)
    else:
        rows = fenced_write(table, frame) if mode.once_by_key else frame
        options = {"mergeSchema": "true"} if made.tally.schema_changes else {}
        committed = save(table, rows, mode="append", ticket=ticket, rows_total=None, options=options)
    return Written(committed, made.tally, made.rows)
