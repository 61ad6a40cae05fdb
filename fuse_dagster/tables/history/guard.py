"""The delete guard: a truncated extract must not end a dimension."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from fuse_dagster.core.errors import DeleteGuardError
from fuse_dagster.tables.history.snapshots import Interval
from fuse_dagster.tables.history.timeline import Shape
from fuse_dagster.tables.samples import samples


def guard_deletes(
    rows: pl.DataFrame, batch: pl.DataFrame, where: Interval, shape: Shape, *, highest: float | None, by: str | None
) -> None:
    """Refuse a snapshot that leaves out too many keys of its neighbours.

    Args:
        rows: Version rows, at least all that reach `where.at`.
        batch: The snapshot, one row per key.
        where: Where it speaks.
        shape: Parts of the columns.
        highest: Share of keys that may be absent, 0 to 1; None for no guard.
        by: The column that split the batch into snapshots, if one did.

    Raises:
        DeleteGuardError: More than `highest` of the keys of the snapshot before (or of the one corrected) are absent
            from this one, or of this one's keys from the snapshot after.
    """
    if highest is None:
        return
    for neighbour, full, present in _neighbours(rows, batch.select(shape.keys), where, shape):
        absent = full.join(present, on=list(shape.keys), how="anti")
        if absent.height > highest * full.height:
            raise DeleteGuardError(
                f"the snapshot of {where.at.isoformat()} has {batch.height} keys; {neighbour}, {absent.height} of "
                f"{full.height} keys are absent ({absent.height / full.height:.1%}; at the most {highest:.1%}), as "
                f"{samples(absent)}{_delivered(batch, shape)}. {_usual_sign(by)}; nothing was written. Deliver the "
                "snapshot again, or, if so many keys did end, raise `max_delete_fraction` in the declaration until "
                "it is loaded"
            )


def _neighbours(
    rows: pl.DataFrame, keys: pl.DataFrame, where: Interval, shape: Shape
) -> Iterator[tuple[str, pl.DataFrame, pl.DataFrame]]:
    """Pairs of key sets, of which the second should hold most of the first."""
    if where.follows:
        before = (pl.col(shape.valid_from) < where.at) & shape.reaching(where.at)
        yield "of the snapshot before it", rows.filter(before).select(shape.keys), keys
    if where.corrects:
        yield "of the one it corrects", rows.filter(shape.covering(where.at)).select(shape.keys), keys
    if where.until is not None:
        after = rows.filter(shape.covering(where.until)).select(shape.keys)
        yield f"from the next one, of {where.until.isoformat()}", keys, after


def _delivered(batch: pl.DataFrame, shape: Shape) -> str:
    """Where the snapshot came from, as far as columns say so that are stored but not tracked, as a file's name."""
    beside = [name for name in batch.columns if name not in {*shape.keys, *shape.tracked}]
    return f"; the snapshot's first row says {samples(batch.select(beside), rows=1)}" if beside else ""


def _usual_sign(by: str | None) -> str:
    if by is None:
        return "That is the usual sign of a truncated extract"
    return (
        f"Each distinct `{by}` is taken for one complete snapshot; if it says when a single row changed, "
        'declare `source="changes"`'
    )
