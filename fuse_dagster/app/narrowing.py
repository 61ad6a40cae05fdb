"""Rows narrowed to a condition and to some columns."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from fuse_dagster.engines.local.frames import quoted
from fuse_dagster.engines.local.reading import choose
from fuse_dagster.engines.local.sql import query

NAME = "data"
"""What the rows are called in SQL."""


def narrow(
    rows: pl.LazyFrame, *, columns: Sequence[str] | None, where: str | None, limit: int, of: str
) -> tuple[pl.DataFrame, int]:
    """Collect the first rows that meet a condition, and count all that do; memory holds no more than the former.

    Args:
        rows: Rows x columns.
        columns: The columns to keep, in this order; None for all.
        where: SQL condition on all columns; None for all rows.
        limit: Rows at the most.
        of: What the rows are, to begin a message with.

    Returns:
        The rows, and how many there are in all.

    Raises:
        ConfigError: An unknown column, or a condition that is none.
    """
    chosen = choose(rows, columns, of=of)
    if where is None:
        return chosen.head(limit).collect(), int(rows.select(pl.len()).collect().item())
    names = ", ".join(quoted(name) for name in chosen.collect_schema().names())
    condition = f"FROM {NAME} WHERE ({where}\n)"
    first = query(f"SELECT {names} {condition} LIMIT {limit}", {NAME: rows})
    return first, int(query(f"SELECT count(*) {condition}", {NAME: rows}).item())
