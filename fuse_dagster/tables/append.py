"""Append: the batch's rows come to those that are there."""

from __future__ import annotations

import polars as pl

from fuse_dagster.tables.actions import create, put
from fuse_dagster.tables.commit import Committed
from fuse_dagster.tables.modes import Append
from fuse_dagster.tables.schema import reconcile
from fuse_dagster.tables.tally import Tally
from fuse_dagster.tables.view import TableView


def append(view: TableView, batch: pl.DataFrame, mode: Append) -> tuple[Committed | None, Tally]:
    """Add all rows of the batch.

    Args:
        view: The opened table, or its absence.
        batch: Rows x columns, Delta types.
        mode: The declaration.

    Raises:
        SchemaError: The batch does not fit the table's columns.
    """
    typed, change = reconcile(batch, view.schema(), policy=mode.schema)
    tally = Tally(inserted=batch.height, schema_changes=change.sentences)
    if not view.exists:
        return create(view, typed, partition_by=mode.partition_by), tally
    if typed.is_empty() and not change:
        return None, tally
    return put(view, typed, overwrite=False, widened=change.widened), tally
