"""Rows of a file, and others among them: in one order, copied once."""

from __future__ import annotations

import polars as pl


def woven(rows: pl.DataFrame, kept: pl.Series, others: pl.DataFrame, places: pl.Series) -> pl.DataFrame:
    """Rows that stay and others, each of these behind the row of its place, or instead of it.

    Args:
        rows: Rows of a file.
        kept: Which of them stay.
        others: Rows that come among them.
        places: Per row of `others`, the position of the row where it belongs.
    """
    if others.is_empty():
        return rows.filter(kept)
    if not kept.any():
        return others[places.arg_sort()]
    number = pl.get_index_type()  # positions in any other type are converted once per column
    old = pl.int_range(0, rows.height, dtype=number, eager=True)
    new = pl.int_range(rows.height, rows.height + others.height, dtype=number, eager=True)
    inside = places.filter(places < rows.height)
    if len(inside) == inside.n_unique() == len(places) and not kept.gather(places).any():
        positions = old.scatter(places, new).filter(kept.scatter(places, True))
    else:
        stay = old.filter(kept)
        order = pl.concat([stay.cast(places.dtype), places]).arg_sort()
        positions = pl.concat([stay, new]).gather(order)
    # Column by column, because a frame with a copy of all of them costs as much memory again.
    return pl.DataFrame([pl.concat([rows[n], others[n]], rechunk=True).gather(positions) for n in rows.columns])
