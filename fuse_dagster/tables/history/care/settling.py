"""A history's rows and its memory, both anew and in one commit: how a table is adopted or rebuilt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import polars as pl
import pyarrow as pa
from deltalake import CommitProperties, write_deltalake
from deltalake.schema import Field

from fuse_dagster.core.errors import SchemaError
from fuse_dagster.tables.commit import Ticket, land
from fuse_dagster.tables.files import read_rows
from fuse_dagster.tables.history.memory import store
from fuse_dagster.tables.history.memory.manifest import Manifest
from fuse_dagster.tables.history.timeline import Shape
from fuse_dagster.tables.new_files import write_files
from fuse_dagster.tables.rows import ROW
from fuse_dagster.tables.swapping import Swap, mark, replace_files, swap
from fuse_dagster.tables.view import TableView

_NOTHING: Mapping[str, Field] = MappingProxyType({})


def settle(
    view: TableView,
    rows: pl.DataFrame | None,
    manifest: Manifest,
    facts: pl.DataFrame,
    *,
    shape: Shape,
    kept: Mapping[str, Field] = _NOTHING,
) -> int:
    """Write a memory, then the one commit that gives a table these rows and this memory, whatever it held before.

    Args:
        view: The opened table, or its absence.
        rows: All version rows, with the columns that the table has afterwards; None where its rows stay.
        manifest: What the table remembers from now on, without the facts.
        facts: All statements about single keys to remember.
        shape: Parts of the columns.
        kept: Columns whose NOT NULL and comments are kept where the columns change.

    Returns:
        The version that it made.

    Raises:
        LostRaceError: The table has changed since the view was opened.
        SchemaError: A row is null in a column that stays NOT NULL.
    """
    if rows is not None:
        _refuse_nulls(view, rows, kept, shape)
    total = view.count_rows() if rows is None else rows.height
    with store.remembered(view, replace(manifest, segments=()), facts=facts, rows_total=total) as ticket:
        return _commit(view, rows, shape, kept, ticket)


def changes_columns(view: TableView, rows: pl.DataFrame, shape: Shape) -> bool:
    """Whether a table with these rows has other columns than it has now: names, types, or an end that may be null."""
    closed = any(field.name == shape.valid_to and not field.nullable for field in view.table.schema().fields)
    return closed or view.schema() != dict(rows.schema)


def _commit(view: TableView, rows: pl.DataFrame | None, shape: Shape, kept: Mapping[str, Field], ticket: Ticket) -> int:
    if rows is None:
        return mark(view, ticket=ticket).version
    opened = pl.col(shape.valid_to).is_null()
    if not view.exists:
        empty = read_rows(view, view.files(), rows.schema)
        plan = Swap(empty, pl.Series(ROW, [], dtype=pl.Int64), rows, rows.schema, apart=opened)
        return swap(view, plan, ticket=ticket).version
    groups = [rows.filter(opened), rows.filter(~opened)]
    if changes_columns(view, rows, shape):
        return _rewrite(view, _as_arrow(pl.concat(groups), kept, shape), ticket)
    adds = write_files(view, groups)
    return replace_files(view, view.files()["path"].to_list(), adds, rows_total=rows.height, ticket=ticket).version


def _rewrite(view: TableView, table: pa.Table, ticket: Ticket) -> int:
    """Other columns come in one commit only through delta-rs' own writer."""

    def run(props: CommitProperties) -> None:
        write_deltalake(view.table, table, mode="overwrite", schema_mode="overwrite", commit_properties=props)

    return land(view, run, ticket=ticket)


def _as_arrow(rows: pl.DataFrame, kept: Mapping[str, Field], shape: Shape) -> pa.Table:
    """The rows with what their columns promise and say of themselves."""
    table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
    fields = [_as_before(field, kept.get(field.name), shape) for field in table.schema]
    return pa.Table.from_arrays(table.columns, schema=pa.schema(fields))


def _as_before(field: pa.Field, old: Field | None, shape: Shape) -> pa.Field:
    if old is None:
        return field
    told = {name: str(value) for name, value in old.metadata.items()}
    return field.with_nullable(_may_be_null(old, field.name, shape)).with_metadata(told or None)


def _may_be_null(old: Field, name: str, shape: Shape) -> bool:
    return bool(old.nullable) or name == shape.valid_to  # an open version has no end


def _refuse_nulls(view: TableView, rows: pl.DataFrame, kept: Mapping[str, Field], shape: Shape) -> None:
    declared = {field.name: field for field in view.table.schema().fields} if view.exists else {}
    for name in rows.columns:
        old = kept.get(name) or declared.get(name)
        if old is not None and not _may_be_null(old, name, shape) and rows[name].null_count():
            raise SchemaError(
                f"column `{name}` is NOT NULL in `{view.uri}`, but {rows[name].null_count()} version rows are null "
                "there; nothing was written. Let it be null in the table first"
            )
