"""The moments at which gold looks at the history."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl


def year_ends_within(history: pl.DataFrame) -> pl.DataFrame:
    """List the moments at which gold looks at the history.

    Every 31 December that lies inside what is known, 00:00 UTC, and the last moment of which anything is known: beyond
    it a question would be answered by what happens to be the newest release, which knows nothing of that time.

    Args:
        history: `valid_from` and `valid_to` of all versions.

    Returns:
        `as_of` and, null for the first, `previous`: one row per moment, in order.
    """
    times = pl.concat([history["valid_from"], history["valid_to"]]).drop_nulls()
    first, last = times.min(), times.max()
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    ends = (datetime(year, 12, 31, tzinfo=UTC) for year in range(first.year, last.year + 1))
    moments = sorted({moment for moment in ends if first <= moment <= last} | {last})
    return pl.DataFrame({"as_of": moments}, schema={"as_of": pl.Datetime("us", "UTC")}).with_columns(
        pl.col("as_of").shift(1).alias("previous")
    )
