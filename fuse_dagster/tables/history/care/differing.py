"""How two sets of versions differ: rows by rows, whatever their columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from fuse_dagster.tables.schema import complete, widens

_TIMES = "__fuse_times"
_EXAMPLES = 10


@dataclass(frozen=True, slots=True)
class Difference:
    """Rows that are on one side only.

    Attributes:
        left: How many are on the left only.
        right: How many are on the right only.
        left_examples: The first of the former.
        right_examples: The first of the latter.
        columns: One sentence per column that one side has not, or has of another type.
    """

    left: int
    right: int
    left_examples: pl.DataFrame
    right_examples: pl.DataFrame
    columns: tuple[str, ...]


def align(rows: pl.DataFrame, like: pl.DataFrame) -> pl.DataFrame:
    """Rows in the order and, where nothing is lost, in the types of others; columns of those that are all null stay.

    Args:
        rows: Rows x columns.
        like: Rows x columns of the others.
    """
    types = {
        name: dtype
        for name, dtype in like.schema.items()
        if name in rows.columns or like[name].null_count() == like.height
    }
    for name, dtype in rows.schema.items():
        if name not in types or not widens(dtype, types[name]):
            types[name] = dtype
    return complete(rows, types)


def differ(left: pl.DataFrame, right: pl.DataFrame, *, by: Sequence[str]) -> Difference:
    """Count the rows that are on one side only, each as often as it stands there.

    A column that one side lacks is null there; one of another type is left out, and named.

    Args:
        left: Rows x columns.
        right: Rows x columns.
        by: Columns to sort the examples by.
    """
    told = [
        *(f"{name}: only in the table" for name in left.columns if name not in right.columns),
        *(f"{name}: only in the batches" for name in right.columns if name not in left.columns),
    ]
    types = {**left.schema, **right.schema}
    for name in set(left.columns) & set(right.columns):
        if left.schema[name] != right.schema[name]:
            told.append(f"{name}: {left.schema[name]} becomes {right.schema[name]}")
            if not widens(left.schema[name], right.schema[name]):
                del types[name]
    sides = [complete(side.select(n for n in side.columns if n in types), types) for side in (left, right)]
    counted = pl.concat(
        [sides[0].with_columns(pl.lit(1).alias(_TIMES)), sides[1].with_columns(pl.lit(-1).alias(_TIMES))]
    )
    turns = counted.group_by(list(types)).agg(pl.col(_TIMES).sum()).filter(pl.col(_TIMES) != 0)
    turns = turns.sort(*(name for name in by if name in types))
    gone, come = turns.filter(pl.col(_TIMES) > 0), turns.filter(pl.col(_TIMES) < 0)
    return Difference(
        int(gone[_TIMES].sum()),
        -int(come[_TIMES].sum()),
        gone.drop(_TIMES).head(_EXAMPLES),
        come.drop(_TIMES).head(_EXAMPLES),
        tuple(sorted(told)),
    )
