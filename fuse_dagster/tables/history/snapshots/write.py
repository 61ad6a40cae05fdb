"""Applying one or several snapshots to a history in one commit."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import polars as pl

from fuse_dagster.core.errors import DeleteGuardError, SchemaError, TimeValueError
from fuse_dagster.tables.commit import Committed
from fuse_dagster.tables.history.late import Timed, timely
from fuse_dagster.tables.history.memory.manifest import Manifest, Snapshot, micros, moment
from fuse_dagster.tables.history.overwriting import unsettled
from fuse_dagster.tables.history.plan import Outcome, Prepared, candidates, commit, prepare, versions
from fuse_dagster.tables.history.snapshots.applying import Change, Interval
from fuse_dagster.tables.history.snapshots.carrying import Following, apply_rippling, carried, ripples, step
from fuse_dagster.tables.history.snapshots.comparing import Comparison, compare
from fuse_dagster.tables.history.snapshots.extending import extend
from fuse_dagster.tables.history.snapshots.guard import Look, judge, look, look_in_order
from fuse_dagster.tables.history.times import to_instant, to_instants
from fuse_dagster.tables.keys import collapse
from fuse_dagster.tables.modes import History
from fuse_dagster.tables.rows import ROW, MemoryRows, Rows
from fuse_dagster.tables.schema import refuse_missing, require
from fuse_dagster.tables.tally import Tally
from fuse_dagster.tables.view import TableView

See = Callable[[Look, History], None]


def write_snapshots(view: TableView, batch: pl.DataFrame, mode: History) -> tuple[Committed | None, Tally]:
    """Apply the snapshots of a batch, each complete, in the order of their times.

    Args:
        view: The opened table, or its absence.
        batch: Rows x business columns, Delta types.
        mode: The declaration, with `effective_at` or `effective_column`.

    Raises:
        FuseError: See `History`; nothing was written then.
    """
    refuse_empty(batch.height, mode)
    prepared = prepare(view, batch, mode)
    snapshots = list(by_time(prepared))
    rows = candidates(prepared, min(at for at, _ in snapshots))
    snapshots, left_out = timely(prepared, rows, snapshots)
    if not snapshots:
        return None, left_out
    outcome, tally = plan_snapshots(prepared, rows, snapshots)
    tally = replace(tally + left_out, schema_changes=prepared.change.sentences)
    tally.refuse_lost(batch.height)
    return commit(prepared, rows, outcome), tally


def plan_snapshots(
    prepared: Prepared, rows: Rows, snapshots: Sequence[Timed], *, see: See = judge
) -> tuple[Outcome, Tally]:
    """Decide what becomes of each version, whatever engine reads and commits.

    Args:
        prepared: The batch and its table.
        rows: Version rows, at least all that reach the first of the times.
        snapshots: By time; where only some keys are planned for, their part of each snapshot, be it empty.
        see: Takes the look at each snapshot: judges it at once, or keeps it until all keys are seen.
    """
    apply = _apply_one if len(snapshots) == 1 else _apply_several
    return apply(prepared, rows, snapshots, see)


def _apply_one(prepared: Prepared, rows: Rows, snapshots: Sequence[Timed], see: See) -> tuple[Outcome, Tally]:
    """One snapshot, the usual case: columns are compared one by one, and in order no version row is read whole."""
    ((at, frame),) = snapshots
    mode, shape = prepared.mode, prepared.shape
    unique, duplicates = collapse(frame, shape.keys, (*shape.tracked, *shape.overwritten))
    where = interval(prepared.manifest, at)
    refuse_lost_columns(prepared, prepared.manifest, at)
    unique = carried(prepared, rows, unique, at)
    compared = compare(rows, unique, at, shape)
    remembered = prepared.manifest.with_snapshot(stamp_of(prepared, at))
    if compared.is_empty:
        forget = mode.restatements == "forget" and prepared.view.exists
        nothing = pl.Series(ROW, [], dtype=pl.Int64)
        kept = prepared.manifest if forget else remembered
        return Outcome(nothing, pl.DataFrame(schema=dict(prepared.schema)), kept), Tally(
            applied=unique.height, duplicates=duplicates
        )
    if where.is_last:
        see(look_in_order(compared, unique, where, shape), mode)
        return extend(compared, rows, unique, where, shape, remembered=remembered), _tally(compared, unique, duplicates)
    before = versions(prepared, rows)
    change = _change(prepared, before, unique, where, see, then=ripples(prepared, prepared.manifest, at))
    tally = replace(_tally(change, unique, duplicates), deleted=max(0, len(change.removed) - change.added.height))
    values = None if change.values is None else unsettled(before, change.values, shape)
    return Outcome(change.removed, change.added, remembered, values=values), tally


def _apply_several(prepared: Prepared, rows: Rows, snapshots: Sequence[Timed], see: See) -> tuple[Outcome, Tally]:
    """Several snapshots in one commit: each is applied to what the one before it left."""
    shape, manifest, tally = prepared.shape, prepared.manifest, Tally()
    state = before = versions(prepared, rows)
    fresh = number = state.height
    said: list[pl.DataFrame] = []
    for at, frame in snapshots:
        unique, duplicates = collapse(frame, shape.keys, (*shape.tracked, *shape.overwritten))
        refuse_lost_columns(prepared, manifest, at)
        unique = carried(prepared, MemoryRows(rows.uri, state), unique, at)
        change = _change(prepared, state, unique, interval(manifest, at), see, then=ripples(prepared, manifest, at))
        manifest = manifest.with_snapshot(stamp_of(prepared, at))
        state = step(state, change, number)
        number += change.added.height
        tally = tally + _tally(change, unique, duplicates)
        said += [change.values] if change.values is not None else []
    gone = before.select(ROW).join(state.select(ROW), on=ROW, how="anti")[ROW]
    come = state.filter(pl.col(ROW) >= fresh).drop(ROW)
    if prepared.mode.restatements == "forget" and gone.is_empty() and come.is_empty() and prepared.view.exists:
        manifest = prepared.manifest
    values = unsettled(before, pl.concat(said).unique(shape.keys, keep="last"), shape) if said else None
    return Outcome(gone, come, manifest, values=values), replace(tally, deleted=max(0, len(gone) - come.height))


def _change(
    prepared: Prepared,
    state: pl.DataFrame,
    batch: pl.DataFrame,
    where: Interval,
    see: See,
    *,
    then: Sequence[Following],
) -> Change:
    """What one snapshot changes, if the guards and the declaration let it."""
    mode, shape = prepared.mode, prepared.shape
    change = apply_rippling(state, batch, where, then, shape)
    see(look(state, batch, where, shape, change, mode=mode), mode)
    return change


def interval(manifest: Manifest, at: dt.datetime) -> Interval:
    """Where a snapshot of some time speaks, as far as is known."""
    stamp = micros(at)
    before, after = manifest.neighbours(stamp)
    return Interval(
        at=at,
        until=None if after is None else moment(after.at),
        follows=before is not None,
        corrects=manifest.knows(stamp),
    )


def stamp_of(prepared: Prepared, at: dt.datetime) -> Snapshot:
    """What is remembered of a snapshot: its time, and the columns that it brought."""
    return Snapshot(micros(at), tuple(sorted(prepared.named)))


def _tally(found: Change | Comparison, batch: pl.DataFrame, duplicates: int) -> Tally:
    return Tally(
        inserted=found.inserted,
        updated=found.updated,
        closed=found.closed,
        applied=batch.height,
        duplicates=duplicates,
    )


def by_time(prepared: Prepared) -> Iterator[Timed]:
    """The snapshots of a batch, in the order of their times.

    Raises:
        TimeValueError: Nothing says when it holds, or a time cannot be placed.
    """
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


def refuse_empty(rows: int, mode: History) -> None:
    """Refuse a snapshot without rows, unless it is said that it may be empty.

    Raises:
        DeleteGuardError: It has none.
    """
    if not rows and (not mode.allow_empty or mode.effective_column is not None):
        raise DeleteGuardError(
            "the snapshot has no rows, which would end every key: the usual sign of a broken extract; nothing was "
            "written. If the source is empty indeed, say `allow_empty=True` (and give its time by `effective_at`)"
        )


def refuse_lost_columns(prepared: Prepared, manifest: Manifest, at: dt.datetime) -> None:
    """A column must not vanish as time goes on, in whatever order snapshots arrive, unless it is said that it may."""
    if prepared.mode.missing_column != "error":
        return
    stamp, named = micros(at), set(prepared.named)
    earlier = {name for s in manifest.snapshots if s.at < stamp for name in s.columns}
    refuse_missing(sorted(earlier - named), f"the snapshot of {at.isoformat()}")
    for later in manifest.snapshots:
        lost = sorted(named - set(later.columns)) if later.at > stamp else []
        if lost:
            raise SchemaError(
                f"the snapshot of {at.isoformat()} has {lost}, which the later one of "
                f"{moment(later.at).isoformat()} does not have; a column that vanishes is usually a broken "
                "extract. Deliver the later one again with it, or drop the column from both"
            )
