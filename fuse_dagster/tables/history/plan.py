"""From a batch and a table to one commit: the part that both sources of history share."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace

import polars as pl

from fuse_dagster.core.errors import SchemaError
from fuse_dagster.tables.commit import Committed
from fuse_dagster.tables.files import FileRows, read_rows
from fuse_dagster.tables.history.hashing import with_hashed_keys
from fuse_dagster.tables.history.memory import store
from fuse_dagster.tables.history.memory.manifest import Manifest
from fuse_dagster.tables.history.other_files import reach_other_files
from fuse_dagster.tables.history.timeline import Shape
from fuse_dagster.tables.keys import refuse_bad_keys
from fuse_dagster.tables.modes import History
from fuse_dagster.tables.pruning import in_key_order, may_hold, may_reach
from fuse_dagster.tables.rows import Rows
from fuse_dagster.tables.schema import SchemaChange, reconcile, require
from fuse_dagster.tables.swapping import Swap, mark, swap
from fuse_dagster.tables.view import TableView, refuse_unsupported


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch that fits a table, and the table's memory.

    Attributes:
        view: The opened table.
        mode: The declaration.
        manifest: What the table remembers.
        batch: Business columns of the table's types; absent ones are nulls.
        named: Columns that the source delivered, also those without a type.
        change: What the batch does to the columns.
        schema: All columns after the commit.
        shape: Parts of the columns.
    """

    view: TableView
    mode: History
    manifest: Manifest
    batch: pl.DataFrame
    named: tuple[str, ...]
    change: SchemaChange
    schema: Mapping[str, pl.DataType]
    shape: Shape


def prepare(view: TableView, batch: pl.DataFrame, mode: History) -> Prepared:
    """Check a batch against a declaration and a table, before any data file is read.

    Args:
        view: The opened table, or its absence.
        batch: Rows x columns, Delta types.
        mode: The declaration.

    Raises:
        SchemaError: A declared column is missing, a type does not fit, or a name is reserved.
        KeyValueError: A key is null.
        TableStateError: The table or its memory cannot be used.
    """
    refuse_unsupported(view)
    return fit(view, view.schema(), store.load(view, mode), batch, mode)


def fit(
    view: TableView, table: Mapping[str, pl.DataType], manifest: Manifest, batch: pl.DataFrame, mode: History
) -> Prepared:
    """The same for a table that was opened already: what the batch's rows and columns say, without asking a store.

    Args:
        view: The opened table, or its absence.
        table: Its columns and types; empty for none.
        manifest: What it remembers.
        batch: Rows x columns, Delta types.
        mode: The declaration.

    Raises:
        SchemaError: A declared column is missing, a type does not fit, or a name is reserved.
        KeyValueError: A key is null.
    """
    typed, change = reconcile(batch, table, policy=mode.schema, own=mode.reserved)
    refuse_bad_keys(typed, mode.keys)
    business = {n: d for n, d in (change.after(table) if table else typed.schema).items() if n not in mode.reserved}
    roles = {"track": mode.track or (), "ignore": mode.ignore, "overwrite_columns": mode.overwrite_columns}
    for role, columns in roles.items():
        require(columns, pl.DataFrame(schema=business), role)
    special = {*mode.keys, *mode.ignore, *mode.overwrite_columns, mode.effective_column, mode.sequence_by}
    tracked = mode.track if mode.track is not None else [name for name in business if name not in special]
    full = typed.select(
        (pl.col(name).cast(dtype) if name in typed.columns else pl.lit(None, dtype=dtype)).alias(name)
        for name, dtype in business.items()
    )
    schema = _full_schema(change.after(table) if table else {}, business, mode)
    shape = Shape.of(mode, tuple(business), tracked)
    return Prepared(view, mode, manifest, full, tuple(batch.columns), change, schema, shape)


def candidates(prepared: Prepared, since: dt.datetime, keys: pl.DataFrame | None = None) -> FileRows:
    """Read the files that may hold versions reaching a time; all files where the columns change.

    Args:
        prepared: The batch and its table.
        since: Versions that ended before are of no interest.
        keys: Only files that may hold these keys, where given.
    """
    files = prepared.view.files()
    if not prepared.change and not files.is_empty():
        files = files.filter(may_reach(files, prepared.shape.valid_to, since))
        if keys is not None:
            files = files.filter(may_hold(files, keys))
    return read_rows(prepared.view, in_key_order(files, prepared.shape.keys[0]), prepared.schema)


def versions(prepared: Prepared, rows: Rows) -> pl.DataFrame:
    """The version rows with `ROW`, without the hashed keys, which are made anew for each row that is written."""
    return rows.columns([*prepared.shape.columns, *prepared.shape.own])


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a batch does to a history.

    Attributes:
        removed: Numbers of the version rows that go.
        added: Version rows that come.
        manifest: What the table remembers from now on, without the facts.
        facts: Statements about single keys to remember.
        ended: `ROW`, end and flag of version rows that stay but end; with overwritten columns where these change.
        beside: Per row of `added`, the number of the version row of its key, or null.
        values: Keys and overwritten columns that versions outside of the rows at hand may not hold yet.
    """

    removed: pl.Series
    added: pl.DataFrame
    manifest: Manifest
    facts: pl.DataFrame | None = None
    ended: pl.DataFrame | None = None
    beside: pl.Series | None = None
    values: pl.DataFrame | None = None


def to_swap(prepared: Prepared, rows: Rows, outcome: Outcome) -> Swap:
    """The outcome as rows that go, come and change.

    Args:
        prepared: The batch and its table.
        rows: The version rows that the outcome speaks of.
        outcome: What goes, comes, ends, and is remembered.
    """
    return Swap(
        rows,
        outcome.removed,
        with_hashed_keys(outcome.added, prepared.shape).select(*prepared.schema),
        prepared.schema,
        schema_changes=bool(prepared.change),
        apart=pl.col(prepared.shape.valid_to).is_null(),
        updated=outcome.ended,
        beside=outcome.beside,
    )


def commit(prepared: Prepared, rows: Rows, outcome: Outcome) -> Committed | None:
    """Write the memory, then the one commit that makes it hold; nothing at all where nothing is new.

    Args:
        prepared: The batch and its table.
        rows: The version rows that the outcome speaks of.
        outcome: What goes, comes, ends, and is remembered.

    Returns:
        What landed; None where there was nothing to write.
    """
    if outcome.values is not None and not outcome.values.is_empty() and isinstance(rows, FileRows):
        rows, ended = reach_other_files(rows, outcome.values, outcome.ended, prepared.shape)
        outcome = replace(outcome, ended=ended)
    view, manifest = prepared.view, outcome.manifest
    plan = to_swap(prepared, rows, outcome)
    has_facts = outcome.facts is not None and not outcome.facts.is_empty()
    if view.exists and plan.is_empty and not has_facts and manifest == prepared.manifest:
        return None
    total = prepared.manifest.rows_total - len(outcome.removed) + outcome.added.height
    with store.remembered(view, manifest, facts=outcome.facts, rows_total=total) as ticket:
        return mark(view, ticket=ticket) if view.exists and plan.is_empty else swap(view, plan, ticket=ticket)


def _full_schema(
    table: Mapping[str, pl.DataType], business: Mapping[str, pl.DataType], mode: History
) -> dict[str, pl.DataType]:
    """Columns of the table in its order; for a new one the business columns, then the history's own."""
    own: dict[str, pl.DataType] = {
        mode.valid_from: pl.Datetime("us", "UTC"),
        mode.valid_to: pl.Datetime("us", "UTC"),
        mode.is_current: pl.Boolean(),
        **{name: pl.String() for name in (mode.durable_key, mode.surrogate_key) if name is not None},
    }
    if not table:
        return {**business, **own}
    wrong = [name for name, dtype in own.items() if table.get(name) != dtype]
    if wrong:
        raise SchemaError(f"columns {wrong} are missing from the table or of another type; it is not a history of ours")
    return dict(table)
