"""Upsert: new keys come, changed keys are replaced, absent keys stay (SCD type 1)."""

from __future__ import annotations

import polars as pl

from fuse_dagster.tables.actions import Swap, swap
from fuse_dagster.tables.commit import Committed
from fuse_dagster.tables.equality import same
from fuse_dagster.tables.files import ROW, read_rows
from fuse_dagster.tables.keys import collapse, refuse_bad_keys
from fuse_dagster.tables.modes import Upsert
from fuse_dagster.tables.pruning import may_hold
from fuse_dagster.tables.schema import reconcile, refuse_missing
from fuse_dagster.tables.tally import Tally
from fuse_dagster.tables.view import TableView, refuse_unsupported

_SUFFIX = "__fuse_batch"
_NEW = "__fuse_new"


def upsert(view: TableView, batch: pl.DataFrame, mode: Upsert) -> tuple[Committed | None, Tally]:
    """Insert or replace by key, touching only files that hold a changed key.

    Args:
        view: The opened table, or its absence.
        batch: Rows x columns, Delta types.
        mode: The declaration.

    Raises:
        SchemaError: The batch lacks a column of the table, or brings a type that does not fit.
        KeyValueError: A key is null, or stands twice with different values.
    """
    refuse_unsupported(view)
    table = view.schema()
    typed, change = reconcile(batch, table, policy=mode.schema)
    refuse_missing(change.missing, "the batch")
    refuse_bad_keys(typed, mode.keys)
    values = [name for name in typed.columns if name not in mode.keys]
    unique, duplicates = collapse(typed, mode.keys, values)
    schema = change.after(table) if table else dict(typed.schema)
    files = view.files()
    if not change and not files.is_empty():
        files = files.filter(may_hold(files, unique.select(mode.keys)))
    rows = read_rows(view, files, schema)
    removed, inserts, updates = _compare(rows.frame, unique, mode, values)
    added = unique[pl.concat([inserts, updates])].select(*schema)
    tally = Tally(inserted=len(inserts), updated=len(updates), duplicates=duplicates, schema_changes=change.sentences)
    plan = Swap(rows, removed, added, schema, bool(change))
    if view.exists and plan.is_empty:
        return None, tally
    return swap(view, plan), tally


def _compare(
    held: pl.DataFrame, batch: pl.DataFrame, mode: Upsert, values: list[str]
) -> tuple[pl.Series, pl.Series, pl.Series]:
    """Numbers of the rows to replace; indices of the batch's rows to insert and to update."""
    keys = list(mode.keys)
    numbered = batch.with_row_index(_NEW).with_columns(pl.col(_NEW).cast(pl.Int64))
    joined = numbered.join(held, on=keys, how="left", suffix=_SUFFIX, maintain_order="left")
    agree = same([pl.col(c) for c in values], [pl.col(c + _SUFFIX) for c in values])
    found = pl.col(ROW).is_not_null()
    changed = joined.filter(found & ~agree)
    inserts = joined.filter(~found)[_NEW]
    return changed[ROW], inserts.rename("index"), changed[_NEW].unique(maintain_order=True).rename("index")
