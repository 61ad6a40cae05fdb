"""Rows narrowed to a condition and to some columns."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from fuse_dagster.engines.local.frames import quoted
from fuse_dagster.engines.local.reading import choose
from fuse_dagster.engines.local.sql import query

NAME = "data"
"""What the rows are called in SQL."""


def narrow(rows: pl.LazyFrame, *, columns: Sequence[str] | None, where: str | None, of: str) -> pl.DataFrame:
    """Collect the rows that meet a condition.

    Args:
        rows: Rows x columns.
        columns: The columns to keep, in this order; None for all.
        where: SQL condition on all columns; None for all rows.
        of: What the rows are, to begin a message with.

    Raises:
        ConfigError: An unknown column, or a condition that is none.
    """
    chosen = choose(rows, columns, of=of)
    if where is None:
        return chosen.collect()
    names = ", ".join(quoted(name) for name in chosen.collect_schema().names())
    return query(f"SELECT {names} FROM {NAME} WHERE ({where}\n)", {NAME: rows})  # noqa: S608 - it reaches nothing else
