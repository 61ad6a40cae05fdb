"""Applying one or several snapshots to a history in one commit."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import polars as pl

from fuse_dagster.core.errors import CorrectionError, DeleteGuardError, SchemaError, TimeValueError
from fuse_dagster.tables.commit import Committed
from fuse_dagster.tables.files import ROW
from fuse_dagster.tables.history import memory
from fuse_dagster.tables.history.guard import guard_deletes
from fuse_dagster.tables.history.plan import Prepared, candidates, commit, prepare
from fuse_dagster.tables.history.snapshots import Change, Interval, apply_snapshot
from fuse_dagster.tables.history.times import to_instant, to_instants
from fuse_dagster.tables.keys import collapse
from fuse_dagster.tables.modes import History
from fuse_dagster.tables.samples import samples
from fuse_dagster.tables.schema import refuse_missing, require
from fuse_dagster.tables.tally import Tally
from fuse_dagster.tables.view import TableView


def write_snapshots(view: TableView, batch: pl.DataFrame, mode: History) -> tuple[Committed | None, Tally]:
    """Apply the snapshots of a batch, each complete, in the order of their times.

    Args:
        view: The opened table, or its absence.
        batch: Rows x business columns, Delta types.
        mode: The declaration, with `effective_at` or `effective_column`.

    Raises:
        FuseError: See `History`; nothing was written then.
    """
    _refuse_empty(batch, mode)
    prepared = prepare(view, batch, mode)
    snapshots = list(_by_time(prepared))
    rows = candidates(prepared, min(at for at, _ in snapshots))
    state, manifest, tallies = rows.frame, prepared.manifest, list[Tally]()
    fresh = number = state.height
    for at, frame in snapshots:
        change, manifest, one = _apply(prepared, manifest, state, at, frame)
        state = _step(state, change, number)
        number += change.added.height
        tallies.append(one)
    gone = rows.frame.select(ROW).join(state.select(ROW), on=ROW, how="anti")[ROW]
    come = state.filter(pl.col(ROW) >= fresh).drop(ROW)
    if mode.restatements == "forget" and gone.is_empty() and come.is_empty() and view.exists:
        manifest = prepared.manifest
    return commit(prepared, rows, gone, come, manifest=manifest), _sum(prepared, tallies, gone, come)


def _apply(
    prepared: Prepared, manifest: memory.Manifest, state: pl.DataFrame, at: dt.datetime, frame: pl.DataFrame
) -> tuple[Change, memory.Manifest, Tally]:
    mode, shape = prepared.mode, prepared.shape
    unique, duplicates = collapse(frame, shape.keys, shape.tracked)
    stamp = memory.micros(at)
    before, after = manifest.neighbours(stamp)
    where = Interval(
        at=at,
        until=None if after is None else memory.moment(after.at),
        follows=before is not None,
        corrects=manifest.knows(stamp),
    )
    _refuse_lost_columns(prepared, manifest, at)
    guard_deletes(state, unique, where, shape, highest=mode.max_delete_fraction, by=mode.effective_column)
    change = apply_snapshot(state, unique, where, shape)
    if where.corrects and not mode.replaces and not (change.removed.is_empty() and change.added.is_empty()):
        raise CorrectionError(
            f'the snapshot of {at.isoformat()} is known with other content, and `on_correction="error"`: '
            f"{change.inserted} keys more, {change.updated} changed, {change.closed} fewer, as "
            f"{samples(change.added.select(shape.keys))}; nothing was written"
        )
    remembered = manifest.with_snapshot(memory.Snapshot(stamp, tuple(sorted(prepared.named))))
    return (
        change,
        remembered,
        Tally(inserted=change.inserted, updated=change.updated, closed=change.closed, duplicates=duplicates),
    )


def _step(state: pl.DataFrame, change: Change, number: int) -> pl.DataFrame:
    """The state after one snapshot; new rows are numbered from `number` on, past every row of a file."""
    if change.removed.is_empty() and change.added.is_empty():
        return state
    numbers = pl.int_range(number, number + change.added.height, dtype=pl.Int64).alias(ROW)
    stay = state.join(change.removed.to_frame(ROW), on=ROW, how="anti", maintain_order="left")
    return pl.concat([stay, change.added.with_columns(numbers).select(state.columns)])


def _by_time(prepared: Prepared) -> Iterator[tuple[dt.datetime, pl.DataFrame]]:
    mode, batch = prepared.mode, prepared.batch
    if mode.effective_column is None:
        if mode.effective_at is None:
            raise TimeValueError(
                "a snapshot needs the time from which it holds: give `effective_at` or `effective_column`"
            )
        yield to_instant(mode.effective_at, mode.timezone), batch
        return
    require([mode.effective_column], batch, "effective_column")
    instants = to_instants(batch, mode.effective_column, mode.timezone)
    for at in instants.unique().sort():
        yield at, batch.filter(instants == at)


def _refuse_empty(batch: pl.DataFrame, mode: History) -> None:
    if batch.is_empty() and (not mode.allow_empty or mode.effective_column is not None):
        raise DeleteGuardError(
            "the snapshot has no rows, which would end every key: the usual sign of a broken extract; nothing was "
            "written. If the source is empty indeed, say `allow_empty=True` (and give its time by `effective_at`)"
        )


def _refuse_lost_columns(prepared: Prepared, manifest: memory.Manifest, at: dt.datetime) -> None:
    """A column must not vanish as time goes on, in whatever order the snapshots arrive."""
    stamp, named = memory.micros(at), set(prepared.named)
    earlier = {name for s in manifest.snapshots if s.at < stamp for name in s.columns}
    refuse_missing(sorted(earlier - named), f"the snapshot of {at.isoformat()}")
    for later in manifest.snapshots:
        lost = sorted(named - set(later.columns)) if later.at > stamp else []
        if lost:
            raise SchemaError(
                f"the snapshot of {at.isoformat()} has {lost}, which the later one of "
                f"{memory.moment(later.at).isoformat()} does not have; a column that vanishes is usually a broken "
                "extract. Deliver the later one again with it, or drop the column from both"
            )


def _sum(prepared: Prepared, tallies: list[Tally], gone: pl.Series, come: pl.DataFrame) -> Tally:
    return Tally(
        inserted=sum(t.inserted for t in tallies),
        updated=sum(t.updated for t in tallies),
        closed=sum(t.closed for t in tallies),
        duplicates=sum(t.duplicates for t in tallies),
        deleted=max(0, len(gone) - come.height),
        schema_changes=prepared.change.sentences,
    )
