"""A few rows in an error message, so that whoever reads it can find them in the source."""

from __future__ import annotations

import polars as pl

from fuse_dagster.tables.batch import INTERNAL

_WIDEST = 400


def samples(frame: pl.DataFrame, *, rows: int = 3) -> str:
    """The first rows as `column=value` lists.

    Args:
        frame: Rows to show.
        rows: How many at the most.
    """
    shown = []
    for row in frame.head(rows).to_dicts():
        text = ", ".join(f"{name}={value!r}" for name, value in row.items() if INTERNAL not in name)
        shown.append("(" + (text if len(text) <= _WIDEST else text[:_WIDEST] + " ...") + ")")
    more = f" and {frame.height - rows} more" if frame.height > rows else ""
    return "; ".join(shown) + more
