"""Snapshots: a batch is the whole truth from its time until the next known one, and replaces the timeline there."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace

import polars as pl

from fuse_dagster.tables.equality import same
from fuse_dagster.tables.history.overwriting import outdated, spread, values_of
from fuse_dagster.tables.history.timeline import Shape, coalesce, current
from fuse_dagster.tables.rows import ROW

_NEW = "__fuse_new"
_SAME = "__fuse_same"
_SUFFIX = "__fuse_batch"


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a snapshot speaks.

    Attributes:
        at: Its time.
        until: Time of the next known snapshot; None where it is the latest.
        follows: Whether an earlier snapshot is known.
        corrects: Whether a snapshot of this very time is known.
    """

    at: dt.datetime
    until: dt.datetime | None
    follows: bool
    corrects: bool

    @property
    def is_last(self) -> bool:
        """Whether it comes after everything that is known so far."""
        return self.until is None and not self.corrects

    @property
    def is_first(self) -> bool:
        """Whether it comes before everything that is known so far."""
        return self.until is not None and not self.follows and not self.corrects


@dataclass(frozen=True, slots=True)
class Change:
    """What one batch does to the versions read.

    Attributes:
        removed: Numbers of the version rows that go.
        added: Version rows that come.
        inserted: Batch rows whose key did not hold before; of a snapshot before all known ones, does not hold next.
        updated: Batch rows whose tracked values differ from what held before (or holds next).
        closed: Keys that held before and are absent now (or do not hold next).
        held: Keys that held before.
        overwritten: Of the other rows read, those with other values in overwritten columns than their key has now.
        values: What the keys of the batch hold in overwritten columns from now on: a row per key.
    """

    removed: pl.Series
    added: pl.DataFrame
    inserted: int
    updated: int
    closed: int
    held: int
    overwritten: int = 0
    values: pl.DataFrame | None = None

    @property
    def is_empty(self) -> bool:
        """Whether every version stays as it is."""
        return self.removed.is_empty() and self.added.is_empty()


def apply_snapshot(rows: pl.DataFrame, batch: pl.DataFrame, where: Interval, shape: Shape) -> Change:
    """Replace the timeline on [at, until) by the batch, and overwrite what it says last.

    Args:
        rows: Version rows with `ROW`, at least all that reach `where.at`.
        batch: One row per key, business columns.
        where: The interval.
        shape: Parts of the columns.
    """
    if not shape.overwritten:
        return _replace_timeline(rows, batch, where, shape)
    stated = _said_last(rows, batch, where, shape)
    values = values_of(stated, shape)
    change = _replace_timeline(rows, stated, where, shape)
    old = outdated(rows.join(change.removed.to_frame(ROW), on=ROW, how="anti", maintain_order="left"), values, shape)
    return replace(
        change,
        removed=pl.concat([change.removed, old[ROW]]),
        added=pl.concat([spread(change.added, values, shape), old.drop(ROW).select(change.added.columns)]),
        overwritten=old.height,
        values=values,
    )


def _said_last(rows: pl.DataFrame, batch: pl.DataFrame, where: Interval, shape: Shape) -> pl.DataFrame:
    """The batch, but with the values of a later snapshot for the keys that stand in one.

    A key whose version ends after the next known snapshot's time, or never, stands in that snapshot or in a later one.
    """
    if where.until is None:
        return batch
    later = rows.filter(shape.reaching(where.until, touching=False))
    return spread(batch, values_of(later, shape), shape)


def _replace_timeline(rows: pl.DataFrame, batch: pl.DataFrame, where: Interval, shape: Shape) -> Change:
    held = rows.filter(shape.covering(where.at))
    diff = _compare(held, batch, shape)
    changed = diff.filter(~pl.col(_SAME))
    counts = _count(rows, batch, where, shape) if where.is_first else _turns(changed)
    counts["held"] = held.height
    if changed.is_empty():
        return Change(changed[ROW], rows.drop(ROW).clear(), values=None, **counts)
    old = _touching(rows, changed, where, shape)
    stated = batch[changed[_NEW].drop_nulls()]
    pieces = pl.concat([*_around(old, where, shape), _as_versions(stated, where, shape, old)])
    added = coalesce(pieces, shape)
    return _without_noops(old, added, counts, shape)


def _turns(changed: pl.DataFrame) -> dict[str, int]:
    """What changes at the snapshot's time, against what held there so far."""
    was, comes = pl.col(ROW).is_not_null(), pl.col(_NEW).is_not_null()
    counted = changed.select(inserted=(~was).sum(), updated=(was & comes).sum(), closed=(~comes).sum())
    return counted.row(0, named=True)


def _count(rows: pl.DataFrame, batch: pl.DataFrame, where: Interval, shape: Shape) -> dict[str, int]:
    """The same for a late snapshot before all known ones: nothing held there, so what comes next is the measure.

    A key that goes on unchanged is no news then, and one that is gone in the next snapshot came and was closed.
    """
    assert where.until is not None
    diff = _compare(rows.filter(shape.covering(where.until)), batch, shape)
    counts = _turns(diff.filter(~pl.col(_SAME) & pl.col(_NEW).is_not_null()))
    return {**counts, "closed": counts["inserted"]}


def _compare(held: pl.DataFrame, batch: pl.DataFrame, shape: Shape) -> pl.DataFrame:
    """One row per key of either side: `ROW` of the version, `_NEW` index in the batch, and whether both agree."""
    left = held.select(*shape.keys, *shape.tracked, ROW)
    right = batch.select(*shape.keys, *shape.tracked).with_row_index(_NEW)
    joined = left.join(right, on=list(shape.keys), how="full", suffix=_SUFFIX, coalesce=True)
    agree = same([pl.col(c) for c in shape.tracked], [pl.col(c + _SUFFIX) for c in shape.tracked])
    both = pl.col(ROW).is_not_null() & pl.col(_NEW).is_not_null()
    return joined.select(*shape.keys, ROW, _NEW, (both & agree).alias(_SAME))


def _touching(rows: pl.DataFrame, changed: pl.DataFrame, where: Interval, shape: Shape) -> pl.DataFrame:
    """Versions of the changed keys that overlap the interval or touch its ends."""
    near = shape.reaching(where.at)
    if where.until is not None:
        near &= pl.col(shape.valid_from) <= where.until
    return rows.filter(near).join(changed.select(shape.keys), on=list(shape.keys), how="semi")


def _around(old: pl.DataFrame, where: Interval, shape: Shape) -> list[pl.DataFrame]:
    """What of the old versions lies before and after the interval."""
    start, end = pl.col(shape.valid_from), pl.col(shape.valid_to)
    before = old.filter(start < where.at).with_columns(pl.min_horizontal(end, pl.lit(where.at)).alias(shape.valid_to))
    if where.until is None:
        return [before.drop(ROW)]
    after = old.filter(shape.reaching(where.until, touching=False)).with_columns(
        pl.max_horizontal(start, pl.lit(where.until)).alias(shape.valid_from)
    )
    return [before.drop(ROW), after.drop(ROW)]


def _as_versions(batch: pl.DataFrame, where: Interval, shape: Shape, like: pl.DataFrame) -> pl.DataFrame:
    dtype = pl.Datetime("us", "UTC")
    made = batch.with_columns(
        pl.lit(where.at, dtype=dtype).alias(shape.valid_from),
        pl.lit(where.until, dtype=dtype).alias(shape.valid_to),
    ).with_columns(current(shape))
    return made.select(like.drop(ROW).columns)


def _without_noops(old: pl.DataFrame, added: pl.DataFrame, counts: dict[str, int], shape: Shape) -> Change:
    """Leave alone the neighbours that came out as they went in."""
    on = [*shape.keys, shape.valid_from, shape.valid_to]
    untouched = old.join(added, on=on, how="inner", nulls_equal=True, suffix=_SUFFIX)
    agree = same([pl.col(c) for c in shape.tracked], [pl.col(c + _SUFFIX) for c in shape.tracked])
    kept = untouched.filter(agree)
    if kept.is_empty():
        return Change(old[ROW], added, values=None, **counts)
    return Change(
        old.join(kept, on=ROW, how="anti")[ROW],
        added.join(kept, on=on, how="anti", nulls_equal=True),
        values=None,
        **counts,
    )
