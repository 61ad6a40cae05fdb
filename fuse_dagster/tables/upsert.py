"""Upsert: new keys come, changed keys are replaced, absent keys stay or are deleted (SCD type 1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from fuse_dagster.core.errors import SchemaError
from fuse_dagster.tables.commit import Committed
from fuse_dagster.tables.files import read_rows
from fuse_dagster.tables.modes import Upsert
from fuse_dagster.tables.pruning import may_hold
from fuse_dagster.tables.rows import ROW, Rows
from fuse_dagster.tables.schema import SchemaChange, reconcile, refuse_missing
from fuse_dagster.tables.swapping import Swap, swap
from fuse_dagster.tables.tally import Tally
from fuse_dagster.tables.upserting.deciding import Decided, decide
from fuse_dagster.tables.upserting.guard import Absence, guard_deletes, measure, refuse_empty
from fuse_dagster.tables.upserting.stating import Stated, state
from fuse_dagster.tables.view import TableView, refuse_unsupported


def upsert(view: TableView, batch: pl.DataFrame, mode: Upsert) -> tuple[Committed | None, Tally]:
    """Insert, replace or delete by key, touching only files that hold a changed key.

    Args:
        view: The opened table, or its absence.
        batch: Rows x columns, Delta types.
        mode: The declaration.

    Raises:
        SchemaError: The batch lacks a column of the table, or brings a type that does not fit.
        KeyValueError: A key or a sequence is null, or stands twice with different values.
        ConfigError: A condition does not fit the columns.
        CorrectionError: A row says something else than the table, with the same sequence.
        DeleteGuardError: A whole truth leaves out too many keys of the table, or has no rows.
        TableStateError: The table cannot be written safely, or holds a key of the batch more than once.
    """
    refuse_unsupported(view)
    refuse_empty(batch.height, mode)
    planned = plan_upsert(view.schema(), batch, mode, lambda schema, keys: _read(view, schema, keys))
    guard_deletes(planned.absence, planned.keys, mode)
    planned.tally.refuse_lost(batch.height)
    if view.exists and planned.swap.is_empty:
        return None, planned.tally
    return swap(view, planned.swap), planned.tally


@dataclass(frozen=True, slots=True)
class Planned:
    """What a batch does to the rows of a table, before anybody has judged it.

    Attributes:
        swap: What goes, what comes, and what is marked.
        tally: How the rows of the batch came out.
        absence: Keys of the table that a whole truth leaves out.
        keys: Keys of the batch.
    """

    swap: Swap
    tally: Tally
    absence: Absence
    keys: int


def plan_upsert(
    table: Mapping[str, pl.DataType],
    batch: pl.DataFrame,
    mode: Upsert,
    read: Callable[[Mapping[str, pl.DataType], pl.DataFrame | None], Rows],
) -> Planned:
    """Decide what becomes of each row, whatever engine reads and commits.

    Args:
        table: Columns and types of the table; empty for none.
        batch: Rows x columns, Delta types.
        mode: The declaration.
        read: Gives the table's rows, with the columns that it will have: all of them, or at least those that hold one
            of the keys.
    """
    typed, change = reconcile(batch, table, policy=mode.schema, own=mode.own)
    refuse_missing(change.missing, "the batch")
    stated = state(batch, typed, mode)
    columns = columns_after(table, typed.schema, change, mode)
    some = mode.absent == "keep" and not columns.change
    rows = read(columns.schema, stated.rows.select(mode.keys) if some else None)
    decided = decide(rows, stated, mode)
    plan = _plan(rows, stated, decided, columns, mode)
    tally = Tally(
        inserted=len(decided.inserts),
        updated=len(decided.updates) - (decided.closing if mode.keeps_deletes else 0),
        closed=decided.closing + len(decided.absent),
        closing_rows=decided.closing,
        applied=stated.rows.height + stated.superseded,
        duplicates=stated.duplicates,
        deleted=len(plan.removed) - len(decided.replaced),
        schema_changes=columns.sentences,
    )
    return Planned(plan, tally, measure(rows, decided, mode), stated.rows.height)


def _read(view: TableView, schema: Mapping[str, pl.DataType], keys: pl.DataFrame | None) -> Rows:
    files = view.files()
    if keys is not None and not files.is_empty():
        files = files.filter(may_hold(files, keys))
    return read_rows(view, files, schema)


@dataclass(frozen=True, slots=True)
class Columns:
    """The table's columns after the write.

    Attributes:
        schema: All of them.
        change: Whether they differ from what is there.
        anew: Whether the column of soft deletes comes to a table that has rows.
        sentences: One per change.
    """

    schema: Mapping[str, pl.DataType]
    change: bool
    anew: bool
    sentences: tuple[str, ...]


def columns_after(
    table: Mapping[str, pl.DataType], batch: Mapping[str, pl.DataType], change: SchemaChange, mode: Upsert
) -> Columns:
    """The columns that a table has after a batch.

    Args:
        table: Columns and types that it has now.
        batch: Those of the batch.
        change: How the two meet.
        mode: The declaration.

    Raises:
        SchemaError: The column of soft deletes is there and no boolean.
    """
    schema = change.after(table) if table else dict(batch)
    sentences = change.sentences
    anew = False
    for name in mode.own:
        if table.get(name, pl.Boolean()) != pl.Boolean():
            raise SchemaError(
                f"`soft_delete` names `{name}`, which is {table[name]} in the table; a mark is a boolean: name another "
                "column, which the table then adds"
            )
        anew = bool(table) and name not in table
        schema |= {name: pl.Boolean()}
        sentences += (f"{name}: boolean added",) if anew else ()
    return Columns(schema, bool(change) or anew, anew, sentences)


def _plan(rows: Rows, stated: Stated, decided: Decided, columns: Columns, mode: Upsert) -> Swap:
    """What goes, what comes, and what is marked."""
    gone = [decided.replaced, decided.removed]
    marked = decided.marked
    if mode.soft_delete is None:
        gone.append(decided.absent)
    else:
        marked = pl.concat([marked, decided.absent])
    removed = pl.concat([numbers.rename(ROW) for numbers in gone])
    come = pl.concat([decided.inserts.rename(ROW), decided.updates.cast(decided.inserts.dtype).rename(ROW)])
    added = stated.rows[come].with_columns(stated.deleted.gather(come).alias(name) for name in mode.own)
    return Swap(
        rows,
        removed,
        added.select(*columns.schema),
        columns.schema,
        columns.change,
        updated=None if mode.soft_delete is None else _marks(rows, removed, marked, mode.soft_delete, columns),
    )


def _marks(rows: Rows, removed: pl.Series, marked: pl.Series, name: str, columns: Columns) -> pl.DataFrame:
    """The rows whose mark changes: those deleted now, and all that stay where there were no marks before."""
    marks = marked.rename(ROW).to_frame().with_columns(pl.lit(True).alias(name))
    if not columns.anew:
        return marks
    every = pl.DataFrame({ROW: pl.int_range(0, rows.height, dtype=pl.Int64, eager=True)})
    stay = every.join(removed.to_frame(ROW), on=ROW, how="anti", maintain_order="left")
    return stay.join(marks, on=ROW, how="left", maintain_order="left").with_columns(pl.col(name).fill_null(False))
