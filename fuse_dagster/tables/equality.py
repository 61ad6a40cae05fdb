"""What "the same value" means: null equals only null, NaN equals NaN, -0.0 equals 0.0; in lists and structs too."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

_TIMES = "__fuse_times"


def same(left: Sequence[pl.Expr], right: Sequence[pl.Expr]) -> pl.Expr:
    """True where every pair of columns holds the same value; never null. No columns: always true."""
    pairs = [a.eq_missing(b) for a, b in zip(left, right, strict=True)]
    return pl.all_horizontal(pairs) if pairs else pl.lit(True)


def same_as_previous(columns: Sequence[str]) -> pl.Expr:
    """True where a row agrees with the row before it in all columns; the first row has none before it."""
    agrees = same([pl.col(c) for c in columns], [pl.col(c).shift(1) for c in columns])
    return agrees & (pl.int_range(pl.len()) > 0)


def same_rows(left: pl.DataFrame, right: pl.DataFrame) -> bool:
    """Whether two frames hold the same rows, each as often, in any order.

    Args:
        left: Rows x columns.
        right: Rows x the same columns and types, in any column order.
    """
    if left.height != right.height:
        return False
    columns = left.columns
    if not columns:
        return True
    counted = pl.concat(
        [left.with_columns(pl.lit(1).alias(_TIMES)), right.select(columns).with_columns(pl.lit(-1).alias(_TIMES))]
    )
    return bool(counted.group_by(columns).agg(pl.col(_TIMES).sum()).select((pl.col(_TIMES) == 0).all()).item())
