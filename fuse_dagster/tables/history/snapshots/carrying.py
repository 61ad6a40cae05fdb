"""Snapshots that lack columns which others have: their values are those that held just before, in any order of arrival.

What a snapshot without a column says of it depends on the snapshot before it. A late one therefore ripples: each known
snapshot after it that lacks columns is said again over what now holds before it, until one changes nothing more.
Everything here is decided per key.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import polars as pl

from fuse_dagster.tables.history.memory.manifest import Manifest, micros, moment
from fuse_dagster.tables.history.plan import Prepared
from fuse_dagster.tables.history.snapshots.applying import Change, Interval, apply_snapshot
from fuse_dagster.tables.history.timeline import Shape
from fuse_dagster.tables.rows import ROW, Rows


@dataclass(frozen=True, slots=True)
class Following:
    """A known snapshot after the one that is applied.

    Attributes:
        where: Where it speaks.
        missing: Columns of the table that it did not bring.
    """

    where: Interval
    missing: tuple[str, ...]


def carried(prepared: Prepared, rows: Rows, batch: pl.DataFrame, at: dt.datetime) -> pl.DataFrame:
    """A snapshot with the values that it lacks, where the declaration says that they carry over.

    Args:
        prepared: The batch and its table.
        rows: Version rows, at least all that hold just before `at`.
        batch: One row per key, business columns.
        at: The snapshot's time.
    """
    shape, missing = prepared.shape, missing_from(prepared.named, prepared.shape)
    if prepared.mode.missing_column != "carry" or not missing:
        return batch
    return carry(batch, rows.columns([*shape.keys, *missing, *shape.own]), at, missing, shape)


def ripples(prepared: Prepared, manifest: Manifest, at: dt.datetime) -> tuple[Following, ...]:
    """Known snapshots that a snapshot of some time may change, because they lack columns; none unless these carry over.

    Args:
        prepared: The batch and its table.
        manifest: What is remembered by then.
        at: The snapshot's time.
    """
    return following(manifest, at, prepared.shape) if prepared.mode.missing_column == "carry" else ()


def missing_from(named: Collection[str], shape: Shape) -> tuple[str, ...]:
    """Columns of the table that a snapshot does not bring.

    Args:
        named: What it brings.
        shape: Parts of the columns.
    """
    return tuple(name for name in shape.columns if name not in named)


def following(manifest: Manifest, at: dt.datetime, shape: Shape) -> tuple[Following, ...]:
    """Known snapshots after a time, in order, up to the first that brings every column.

    Args:
        manifest: What is remembered.
        at: The time.
        shape: Parts of the columns after the commit.
    """
    later = [snapshot for snapshot in manifest.snapshots if snapshot.at > micros(at)]
    found = []
    for snapshot, after in zip_longest(later, later[1:]):
        # An overwritten column holds what was said of it last; a snapshot without it has nothing to say again.
        missing = missing_from({*snapshot.columns, *shape.overwritten}, shape)
        if not missing:
            break
        until = None if after is None else moment(after.at)
        found.append(Following(Interval(moment(snapshot.at), until, follows=True, corrects=True), missing))
    return tuple(found)


def carry(
    batch: pl.DataFrame, rows: pl.DataFrame, at: dt.datetime, missing: Sequence[str], shape: Shape
) -> pl.DataFrame:
    """Give a snapshot the values that held just before it, in the columns that it lacks.

    Args:
        batch: One row per key, business columns.
        rows: Versions, at least keys, times and these columns of all that hold just before `at`.
        at: The snapshot's time.
        missing: The columns that it lacks; null for keys that did not hold just before.
        shape: Parts of the columns.
    """
    if not missing:
        return batch
    keys = list(shape.keys)
    before = rows.filter((pl.col(shape.valid_from) < at) & shape.reaching(at)).select(*keys, *missing)
    return batch.drop(missing).join(before, on=keys, how="left", maintain_order="left").select(batch.columns)


def apply_rippling(
    rows: pl.DataFrame, batch: pl.DataFrame, where: Interval, then: Sequence[Following], shape: Shape
) -> Change:
    """Apply a snapshot, and say those known ones again whose missing columns hold other values now.

    Args:
        rows: Version rows with `ROW`, at least all that reach `where.at`.
        batch: One row per key, business columns; carried already.
        where: Where the snapshot speaks.
        then: Known snapshots after it that lack columns.
        shape: Parts of the columns.

    Returns:
        What goes and comes in all; the counts are those of the snapshot itself.
    """
    first = change = apply_snapshot(rows, batch, where, shape)
    if change.is_empty or not then:
        return first
    fresh = int(rows.select(pl.col(ROW).max().fill_null(-1)).item()) + 1
    state = step(rows, change, fresh)
    for snapshot in then:
        at = snapshot.where.at
        said = carry(state.filter(shape.covering(at)).select(batch.columns), state, at, snapshot.missing, shape)
        change = apply_snapshot(state, said, snapshot.where, shape)
        if change.is_empty:
            break
        state = step(state, change, int(state.select(pl.col(ROW).max().fill_null(-1)).item()) + 1)
    gone = rows.select(ROW).join(state.select(ROW), on=ROW, how="anti")[ROW]
    return replace(first, removed=gone, added=state.filter(pl.col(ROW) >= fresh).drop(ROW))


def step(state: pl.DataFrame, change: Change, number: int) -> pl.DataFrame:
    """The versions after one snapshot.

    Args:
        state: Version rows with `ROW`.
        change: What the snapshot does to them.
        number: Of the first new row; higher than every number there is.
    """
    if change.is_empty:
        return state
    numbers = pl.int_range(number, number + change.added.height, dtype=pl.Int64).alias(ROW)
    stay = state.join(change.removed.to_frame(ROW), on=ROW, how="anti", maintain_order="left")
    return pl.concat([stay, change.added.with_columns(numbers).select(state.columns)])
