"""The usual case: a snapshot after all known ones ends what it contradicts and adds what it says, in one pass."""

from __future__ import annotations

import polars as pl

from fuse_dagster.tables.history.comparing import Comparison
from fuse_dagster.tables.history.manifest import Manifest
from fuse_dagster.tables.history.plan import Outcome
from fuse_dagster.tables.history.snapshots import Interval
from fuse_dagster.tables.history.timeline import UTC_MICROS, Shape, current
from fuse_dagster.tables.rows import ROW


def extend(compared: Comparison, batch: pl.DataFrame, where: Interval, shape: Shape, remembered: Manifest) -> Outcome:
    """End the versions that a snapshot changes or leaves out, and open those that it brings.

    No version begins or ends at or after its time, so no two pieces can touch and agree.

    Args:
        compared: The snapshot beside what held.
        batch: One row per key, business columns.
        where: Where it speaks: after all known snapshots.
        shape: Parts of the columns.
        remembered: What the table remembers from now on.
    """
    at = pl.lit(where.at, dtype=UTC_MICROS)
    changed = ~compared.same
    rows = compared.rows.filter(changed)
    ended = pl.concat([rows.drop_nulls().to_frame(ROW), compared.gone.select(ROW)]).with_columns(
        at.alias(shape.valid_to), pl.lit(False).alias(shape.is_current)
    )
    added = batch.filter(changed).with_columns(
        at.alias(shape.valid_from), pl.lit(None, dtype=UTC_MICROS).alias(shape.valid_to)
    )
    nothing = pl.Series(ROW, [], dtype=pl.Int64)
    return Outcome(nothing, added.with_columns(current(shape)), remembered, ended=ended, beside=rows)
