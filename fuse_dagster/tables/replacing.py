"""Replacing chosen rows: those whose key stands in the batch, or those that meet a condition."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from fuse_dagster.core.errors import PartitionError
from fuse_dagster.tables.actions import create
from fuse_dagster.tables.commit import Committed
from fuse_dagster.tables.conditions import Condition
from fuse_dagster.tables.equality import same_rows
from fuse_dagster.tables.files import FileRows, read_rows
from fuse_dagster.tables.keys import refuse_bad_keys
from fuse_dagster.tables.modes import Overwrite
from fuse_dagster.tables.pruning import may_hold
from fuse_dagster.tables.rows import ROW
from fuse_dagster.tables.samples import samples
from fuse_dagster.tables.schema import complete, reconcile
from fuse_dagster.tables.swapping import Swap, swap
from fuse_dagster.tables.tally import Tally
from fuse_dagster.tables.view import TableView, refuse_unsupported


def replace_chosen(view: TableView, batch: pl.DataFrame, mode: Overwrite) -> tuple[Committed | None, Tally]:
    """Take the chosen rows out and put the batch's rows in, touching only files that hold a chosen row.

    Args:
        view: The opened table, or its absence.
        batch: Rows x columns, Delta types.
        mode: The declaration, with `replace_keys` or `predicate`.

    Raises:
        TableStateError: The table promises what a file swap cannot keep, such as physical partitions.
        ConfigError: The predicate does not fit the table's columns.
        PartitionError: A row of the batch does not meet the predicate.
        SchemaError: The batch does not fit the table's columns, or a key cannot be one.
        KeyValueError: A key of the batch is null.
    """
    refuse_unsupported(view)
    table = view.schema()
    typed, change = reconcile(batch, table, policy=mode.schema)
    schema = change.after(table) if table else dict(typed.schema)
    after = complete(typed, schema)
    condition = mode.condition
    if condition is None:
        refuse_bad_keys(typed, mode.replace_keys, role="replace_keys")
    else:
        _refuse_strays(after, condition)
    if not view.exists:
        return create(view, after), Tally(inserted=after.height)
    files = view.files()
    if not change and not files.is_empty():
        may = (
            may_hold(files, typed.select(mode.replace_keys))
            if condition is None
            else _may_meet(files, condition, schema)
        )
        files = files.filter(may)
    rows = read_rows(view, files, schema)
    chosen = _with_key(rows, after, mode.replace_keys) if condition is None else _meeting(rows, condition)
    if mode.skip_if_unchanged and not change and _is_there(rows, chosen, after):
        return None, Tally()
    plan = Swap(rows, chosen, after, schema, bool(change))
    if plan.is_empty:
        return None, Tally()
    gone = len(chosen)
    return swap(view, plan), Tally(inserted=after.height, deleted=gone, schema_changes=change.sentences)


def _refuse_strays(batch: pl.DataFrame, condition: Condition) -> None:
    """A row that the predicate does not choose would stay beside its copy of the next run."""
    strays = batch.filter(~condition.met(batch))
    if strays.height:
        raise unmet_error(strays, condition, strays=strays.height, rows=batch.height)


def unmet_error(shown: pl.DataFrame, condition: Condition, *, strays: int, rows: int) -> PartitionError:
    """What is said of rows that do not meet the predicate.

    Args:
        shown: Some of them.
        condition: The predicate.
        strays: How many there are.
        rows: Rows of the batch.
    """
    first = shown.select(*dict.fromkeys([*condition.columns, *shown.columns]))
    return PartitionError(
        f"{strays} of {rows} rows do not meet the predicate `{condition.sql}` (a null does not): "
        f"{samples(first, of=strays)}; nothing was written. Filter them out in the asset, or correct `predicate`"
    )


def _with_key(rows: FileRows, batch: pl.DataFrame, keys: Sequence[str]) -> pl.Series:
    """Numbers of the rows whose key stands in the batch."""
    wanted = batch.select(keys).unique()
    return rows.columns(keys).join(wanted, on=list(keys), how="semi", maintain_order="left")[ROW]


def _meeting(rows: FileRows, condition: Condition) -> pl.Series:
    """Numbers of the rows that meet the condition."""
    known = rows.columns([name for name in condition.columns if name in rows.schema])
    return known[ROW].filter(condition.met(known.drop(ROW)))


def _may_meet(files: pl.DataFrame, condition: Condition, schema: dict[str, pl.DataType]) -> pl.Expr:
    """Files that may hold a row that meets the condition, by what it demands of single columns."""
    may = pl.lit(True)
    for name, literals in condition.demands():
        if name not in schema:
            continue
        values = pl.Series(name, literals, strict=False).cast(schema[name], strict=False)
        if values.null_count() == 0 and isinstance(literals[0], str) == (schema[name] == pl.String):
            may = may & may_hold(files, values.to_frame())
    return may


def _is_there(rows: FileRows, chosen: pl.Series, batch: pl.DataFrame) -> bool:
    if len(chosen) != batch.height:
        return False
    held = [part.join(chosen.to_frame(ROW), on=ROW, how="semi") for part in rows.files_with([chosen])]
    return not held or same_rows(pl.concat(held).select(batch.columns), batch)
