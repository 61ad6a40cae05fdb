"""Overwrite: the batch takes the place of the table, or of a part of it, unless both hold the same rows."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from fuse_dagster.engines.local.reading import scan
from fuse_dagster.tables.actions import create, put
from fuse_dagster.tables.commit import Committed
from fuse_dagster.tables.equality import same_rows
from fuse_dagster.tables.modes import Overwrite
from fuse_dagster.tables.replacing import replace_chosen
from fuse_dagster.tables.schema import complete, reconcile, refuse_missing, refuse_widened
from fuse_dagster.tables.slices import refuse_strays
from fuse_dagster.tables.tally import Tally
from fuse_dagster.tables.view import TableView


def overwrite(view: TableView, batch: pl.DataFrame, mode: Overwrite) -> tuple[Committed | None, Tally]:
    """Replace what the mode names by the batch.

    Args:
        view: The opened table, or its absence.
        batch: Rows x columns, Delta types.
        mode: The declaration.

    Raises:
        PartitionError: Rows lie outside the slice or do not meet the predicate, or a value of the slice cannot be of
            its column's type.
        SchemaError: The batch does not fit the table's columns.
        FuseError: For keys and predicates also what `replace_chosen` raises.
    """
    if mode.chooses_rows:
        return replace_chosen(view, batch, mode)
    if mode.where is None:
        return _whole(view, batch, mode)
    typed, change = reconcile(batch, view.schema(), policy=mode.schema)
    refuse_strays(typed, mode.where)
    if not view.exists:
        return create(view, typed, partition_by=mode.partition_by), Tally(inserted=batch.height)
    schema = view.schema()
    matches = mode.where.matches(schema)
    if mode.skip_if_unchanged and not change and _is_there(view, typed, matches):
        return None, Tally()
    gone = _count(view, matches)
    committed = put(view, typed, overwrite=True, predicate=mode.where.sql(schema), widened=change.widened)
    return committed, Tally(inserted=batch.height, deleted=gone, schema_changes=change.sentences)


def _whole(view: TableView, batch: pl.DataFrame, mode: Overwrite) -> tuple[Committed | None, Tally]:
    """Replace all rows; with `evolve` the table takes the batch's columns as they are."""
    typed, said = fit_whole(view.uri, batch, view.schema(), mode)
    if not view.exists:
        return create(view, typed, partition_by=mode.partition_by), Tally(inserted=batch.height)
    if mode.skip_if_unchanged and not said and _is_there(view, typed, None):
        return None, Tally()
    gone = view.count_rows()  # before delta-rs' writer moves the opened table on
    committed = put(view, typed, overwrite=True, replace_schema=bool(said))
    return committed, Tally(inserted=batch.height, deleted=gone, schema_changes=said)


def fit_whole(
    uri: str, batch: pl.DataFrame, schema: Mapping[str, pl.DataType], mode: Overwrite
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The batch as it replaces a whole table, and one sentence per change of the columns.

    Args:
        uri: The table, for messages.
        batch: Rows x columns, Delta types.
        schema: The table's columns and types; empty for none.
        mode: The declaration.

    Raises:
        SchemaError: The batch does not fit the columns, where the mode is strict.
    """
    strict = mode.schema == "strict"
    typed, change = reconcile(batch, schema if strict or _only_casts(batch, schema) else {}, policy=mode.schema)
    if strict:
        refuse_missing(change.missing, "the batch")
        refuse_widened(uri, change.widened)
    replaced = {n: d for n, d in typed.schema.items() if schema and schema.get(n) != d}
    dropped = tuple(name for name in schema if name not in typed.columns)
    said = tuple(f"{n}: {d} added" if n not in schema else f"{n}: {schema[n]} became {d}" for n, d in replaced.items())
    return typed, said + tuple(f"{name}: dropped" for name in dropped)


def _only_casts(batch: pl.DataFrame, schema: Mapping[str, pl.DataType]) -> bool:
    """Whether the batch fits the table's types without changing them, so that int32 does not replace int64."""
    try:
        _, change = reconcile(batch, schema, policy="evolve")
    except ValueError:
        return False  # a type that cannot be cast: a whole overwrite may change it, and says so
    return not change.widened


def _is_there(view: TableView, batch: pl.DataFrame, matches: pl.Expr | None) -> bool:
    if _count(view, matches) != batch.height:
        return False
    return same_rows(_rows(view, matches).collect(), complete(batch, view.schema()))


def _count(view: TableView, matches: pl.Expr | None) -> int:
    if matches is None:
        return view.count_rows()
    return int(_rows(view, matches).select(pl.len()).collect().item())


def _rows(view: TableView, matches: pl.Expr | None) -> pl.LazyFrame:
    return scan(view.uri, version=view.version, where=matches, storage_options=view.storage_options)
