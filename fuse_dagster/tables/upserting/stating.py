"""What a batch states: one row per key, the highest of its sequence, and which of them are deletes."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from fuse_dagster.tables.keys import collapse, refuse_bad_keys, refuse_bad_sequence
from fuse_dagster.tables.modes import Upsert

_DELETED = "__fuse_deleted"


@dataclass(frozen=True, slots=True)
class Stated:
    """The statements of a batch.

    Attributes:
        rows: One row per key, of the table's types.
        deleted: Per row, whether it is a delete; never null.
        duplicates: Copies that were dropped.
        superseded: Rows below another of their key. They are no copies: they change nothing.
    """

    rows: pl.DataFrame
    deleted: pl.Series
    duplicates: int
    superseded: int


def state(batch: pl.DataFrame, typed: pl.DataFrame, mode: Upsert) -> Stated:
    """Tell deletes from rows, and choose one row per key.

    Args:
        batch: Rows x columns as delivered; a condition may read a column of nulls that the table does not take.
        typed: The same rows, of the table's types.
        mode: The declaration.

    Raises:
        SchemaError: A declared column is missing, or of a type that cannot be a key or an order.
        KeyValueError: A key or a sequence is null, or stands twice with different values.
        ConfigError: `delete_when` does not fit the batch.
    """
    refuse_bad_keys(typed, mode.keys)
    order = [] if mode.sequence_by is None else [mode.sequence_by]
    for name in order:
        refuse_bad_sequence(typed, name)
    rows = typed.with_columns(_deletes(batch, mode).alias(_DELETED))
    values = [name for name in typed.columns if name not in {*mode.keys, *order}]
    if not mode.keeps_deletes:
        # Of a delete only the key counts: sources fill its other columns with nulls, or with what was there.
        rows = rows.with_columns(pl.when(~pl.col(_DELETED)).then(pl.col(name)).alias(name) for name in values)
    unique, duplicates = collapse(rows, [*mode.keys, *order], [_DELETED, *values], remedy=_remedy(mode))
    distinct = unique.height
    for name in order if unique.n_unique(mode.keys) < distinct else []:
        ordered = unique.sort(name, descending=True, maintain_order=True)
        unique = ordered.unique(mode.keys, keep="first", maintain_order=True)
    return Stated(unique.drop(_DELETED), unique[_DELETED], duplicates, superseded=distinct - unique.height)


def _deletes(batch: pl.DataFrame, mode: Upsert) -> pl.Series:
    condition = mode.delete_condition
    if condition is None:
        return pl.Series([False]).new_from_index(0, batch.height)
    return condition.met(batch)


def _remedy(mode: Upsert) -> str:
    if mode.sequence_by is None:
        return "Order such rows by `sequence_by`, or deduplicate in the asset by a rule of your own"
    return f"Such rows say two things of one key and `{mode.sequence_by}`: fix the source"
