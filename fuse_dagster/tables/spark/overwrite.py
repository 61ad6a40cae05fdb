"""Overwrite through Spark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl

from fuse_dagster.engines.spark.names import quoted
from fuse_dagster.tables.actions import refuse_layout, refuse_marker
from fuse_dagster.tables.commit import Ticket
from fuse_dagster.tables.modes import Overwrite
from fuse_dagster.tables.overwrite import fit_whole
from fuse_dagster.tables.schema import reconcile, refuse_widened
from fuse_dagster.tables.slices import Slice
from fuse_dagster.tables.spark.commit import SparkTable, save
from fuse_dagster.tables.spark.comparing import same_rows
from fuse_dagster.tables.spark.fence import fenced_write
from fuse_dagster.tables.spark.replacing import replace_chosen
from fuse_dagster.tables.spark.slices import refuse_strays, slice_sql
from fuse_dagster.tables.spark.staging import Staged, Written, markers, shaped
from fuse_dagster.tables.tally import Tally

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def overwrite(table: SparkTable, staged: Staged, mode: Overwrite) -> Written:
    """Replace what the mode names by the batch.

    Args:
        table: The opened table, or its absence.
        staged: The batch, kept by Spark.
        mode: The declaration.

    Raises:
        FuseError: As the local engine's overwrite.
    """
    if mode.chooses_rows:
        return replace_chosen(table, staged, mode)
    return _whole(table, staged, mode) if mode.where is None else _slice(table, staged, mode, mode.where)


def _whole(table: SparkTable, staged: Staged, mode: Overwrite) -> Written:
    typed, said = fit_whole(table.view.uri, staged.empty, table.schema(), mode)
    frame = _fitted(table, staged, typed, mode)
    rows = frame.count()
    if not table.view.exists:
        return _make(table, frame, rows, mode)
    there = table.view.count_rows()
    if (
        mode.skip_if_unchanged
        and not said
        and there == rows
        and same_rows(frame, table.read().select(*map(quoted, frame.columns)))
    ):
        return Written(None, Tally(), rows)
    options = {"overwriteSchema": "true"} if said else {}
    layout = [name for name in table.layout if name in typed.columns] if said else []
    committed = save(
        table,
        fenced_write(table, frame),
        mode="overwrite",
        ticket=Ticket(),
        rows_total=rows,
        options=options,
        partition_by=layout,
    )
    return Written(committed, Tally(inserted=rows, deleted=there, schema_changes=said), rows)


def _slice(table: SparkTable, staged: Staged, mode: Overwrite, where: Slice) -> Written:
    known = table.schema()
    typed, change = reconcile(staged.empty, known, policy=mode.schema)
    frame = _fitted(table, staged, typed, mode)
    refuse_strays(frame, where, typed.schema)
    rows = frame.count()
    if not table.view.exists:
        return _make(table, frame, rows, mode)
    schema: Mapping[str, pl.DataType] = change.after(known)
    predicate = slice_sql(where, known)
    held = table.read().filter(predicate)
    there = held.count()
    full = shaped(table.session, frame, schema)
    if (
        mode.skip_if_unchanged
        and not change
        and there == rows
        and same_rows(full, held.select(*map(quoted, full.columns)))
    ):
        return Written(None, Tally(), rows)
    refuse_widened(table.view.uri, change.widened)
    options = {"replaceWhere": predicate, **({"mergeSchema": "true"} if change else {})}
    total = table.view.count_rows() - there + rows
    committed = save(
        table, fenced_write(table, full), mode="overwrite", ticket=Ticket(), rows_total=total, options=options
    )
    return Written(committed, Tally(inserted=rows, deleted=there, schema_changes=change.sentences), rows)


def _fitted(table: SparkTable, staged: Staged, typed: pl.DataFrame, mode: Overwrite) -> DataFrame:
    """The batch in its columns and types, if the table's files can be laid out by them."""
    layout = table.layout or tuple(mode.partition_by)
    if not table.view.exists:
        refuse_layout(typed, mode.partition_by)
    refuse_marker(markers(staged.frame, typed.schema, layout), layout)
    return shaped(table.session, staged.frame, typed.schema)


def _make(table: SparkTable, frame: DataFrame, rows: int, mode: Overwrite) -> Written:
    committed = save(table, frame, mode="error", ticket=Ticket(), rows_total=rows, partition_by=mode.partition_by)
    return Written(committed, Tally(inserted=rows), rows)
