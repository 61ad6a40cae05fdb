"""The usual case: a snapshot after all known ones ends what it contradicts and adds what it says, in one pass."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from fuse_dagster.tables.history.memory.manifest import Manifest
from fuse_dagster.tables.history.overwriting import ends_and_values
from fuse_dagster.tables.history.plan import Outcome
from fuse_dagster.tables.history.snapshots.applying import Interval
from fuse_dagster.tables.history.snapshots.comparing import Comparison
from fuse_dagster.tables.history.timeline import UTC_MICROS, Shape, current
from fuse_dagster.tables.rows import ROW, Rows


def extend(
    compared: Comparison, rows: Rows, batch: pl.DataFrame, where: Interval, shape: Shape, *, remembered: Manifest
) -> Outcome:
    """End the versions that a snapshot changes or leaves out, and open those that it brings.

    No version begins or ends at or after its time, so no two pieces can touch and agree, and what it says is what was
    said last.

    Args:
        compared: The snapshot beside what held.
        rows: The version rows that it was compared with.
        batch: One row per key, business columns.
        where: Where it speaks: after all known snapshots.
        shape: Parts of the columns.
        remembered: What the table remembers from now on.
    """
    at = pl.lit(where.at, dtype=UTC_MICROS)
    changed = ~compared.same
    beside = compared.rows.filter(changed)
    ended = pl.concat([beside.drop_nulls().to_frame(ROW), compared.gone.select(ROW)]).with_columns(
        at.alias(shape.valid_to), pl.lit(False).alias(shape.is_current)
    )
    added = batch.filter(changed).with_columns(
        at.alias(shape.valid_from), pl.lit(None, dtype=UTC_MICROS).alias(shape.valid_to)
    )
    nothing = pl.Series(ROW, [], dtype=pl.Int64)
    done = Outcome(nothing, added.with_columns(current(shape)), remembered, ended=ended, beside=beside)
    if not shape.overwritten or compared.settled.all():
        return done
    values = batch.filter(~compared.settled).select(*shape.keys, *shape.overwritten)
    return replace(done, ended=ends_and_values(rows, values, shape, ended=ended), values=values)
