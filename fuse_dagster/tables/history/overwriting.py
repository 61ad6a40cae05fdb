"""Columns that are overwritten (type 1 within type 2): every version of a key holds what was said of it last.

Whether a value was said last depends on the source, so snapshots and changes decide that; what follows from it is here.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from fuse_dagster.tables.equality import same
from fuse_dagster.tables.history.timeline import Shape
from fuse_dagster.tables.rows import ROW, Rows

_SAID, _FOUND = "__fuse_said", "__fuse_found"


def values_of(rows: pl.DataFrame, shape: Shape) -> pl.DataFrame:
    """The one value that each key holds: keys and overwritten columns, a row per key."""
    return rows.select(*shape.keys, *shape.overwritten).unique(shape.keys, keep="first", maintain_order=True)


def spread(rows: pl.DataFrame, values: pl.DataFrame, shape: Shape) -> pl.DataFrame:
    """Rows with the values of their keys; rows of other keys stay as they are.

    Args:
        rows: Rows with keys and overwritten columns.
        values: Keys and overwritten columns, a row per key.
        shape: Parts of the columns.
    """
    return _overlay(rows, values, shape.keys, shape.overwritten)


def outdated(rows: pl.DataFrame, values: pl.DataFrame, shape: Shape) -> pl.DataFrame:
    """The rows that hold another value than their key does, with the new one.

    Args:
        rows: Rows with keys and overwritten columns.
        values: Keys and overwritten columns, a row per key.
        shape: Parts of the columns.
    """
    said = [pl.col(name).alias(name + _SAID) for name in shape.overwritten]
    pairs = rows.join(values.select(*shape.keys, *said), on=list(shape.keys), how="inner", maintain_order="left")
    news = {name: pl.col(name + _SAID) for name in shape.overwritten}
    differs = ~same([pl.col(name) for name in news], [*news.values()])
    return pairs.filter(differs).with_columns(**news).select(rows.columns)


def unsettled(rows: pl.DataFrame, values: pl.DataFrame, shape: Shape) -> pl.DataFrame:
    """The values that versions outside of these rows may not hold yet.

    All versions of a key agree. So where one of a key's was read and holds the value, so do those that were not.

    Args:
        rows: Versions as they are in the table.
        values: Keys and overwritten columns, a row per key.
        shape: Parts of the columns.
    """
    known = values_of(rows, shape)
    strange = values.join(known, on=list(shape.keys), how="anti")
    return pl.concat([strange, outdated(known, values, shape)])


def ends_and_values(
    rows: Rows, values: pl.DataFrame, shape: Shape, *, ended: pl.DataFrame | None = None
) -> pl.DataFrame | None:
    """New values of version rows that stay, column by column: no version is read whole.

    Args:
        rows: Version rows.
        values: Keys and overwritten columns, a row per key.
        shape: Parts of the columns.
        ended: `ROW`, end and flag of rows that end, of any key.

    Returns:
        `ROW`, end, flag and overwritten columns of the rows that change; what was given where no value changes.
    """
    of_keys = rows.columns(shape.keys).join(values.select(shape.keys), on=list(shape.keys), how="semi")
    old = outdated(gathered(rows, of_keys, shape.overwritten), values, shape).select(ROW, *shape.overwritten)
    if old.is_empty():
        return ended
    ends = (shape.valid_to, shape.is_current)
    stay = gathered(rows, old, ends)
    if ended is None or ended.is_empty():
        return stay
    kept = stay.join(ended.select(ROW), on=ROW, how="anti")
    both = _overlay(gathered(rows, ended, shape.overwritten), old, (ROW,), shape.overwritten)
    return pl.concat([kept.select(both.columns), both])


def gathered(rows: Rows, chosen: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Some rows, with columns of theirs.

    Args:
        rows: All rows.
        chosen: `ROW` of some, and what is known of them.
        names: Columns to add.
    """
    return chosen.with_columns(rows.column(name).gather(chosen[ROW]).alias(name) for name in names)


def _overlay(rows: pl.DataFrame, values: pl.DataFrame, on: Sequence[str], names: Sequence[str]) -> pl.DataFrame:
    said = values.select(*on, *(pl.col(name).alias(name + _SAID) for name in names), pl.lit(True).alias(_FOUND))
    pairs = rows.join(said, on=list(on), how="left", maintain_order="left")
    return pairs.with_columns(
        pl.when(_FOUND).then(pl.col(name + _SAID)).otherwise(pl.col(name)).alias(name) for name in names
    ).select(rows.columns)
