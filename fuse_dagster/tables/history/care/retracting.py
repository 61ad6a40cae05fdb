"""Retracting a snapshot: the table as if it had never been applied."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from fuse_dagster.core.errors import ConfigError, TimeValueError
from fuse_dagster.core.results import WriteResult
from fuse_dagster.tables.commit import Committed, LostRaceError, attempts
from fuse_dagster.tables.history.memory.inspecting import open_history
from fuse_dagster.tables.history.memory.manifest import Snapshot, micros, moment
from fuse_dagster.tables.history.plan import Outcome, candidates, commit, prepare, versions
from fuse_dagster.tables.history.snapshots.applying import Change, Interval
from fuse_dagster.tables.history.snapshots.carrying import apply_rippling, ripples
from fuse_dagster.tables.history.times import to_instant
from fuse_dagster.tables.modes import History
from fuse_dagster.tables.view import TableView

_NEAREST = 4


def retract(
    table: str | Path,
    effective_at: dt.datetime | dt.date,
    mode: History,
    *,
    storage_options: Mapping[str, str] | None = None,
) -> WriteResult:
    """Undo one applied snapshot, in one commit: the table is as if it had never been applied.

    From its time until the next known snapshot, the history then says what the snapshot before it says, or nothing
    where it was the first; and its time is forgotten. It may be the latest, the first or any between. The guards
    (`max_delete_fraction`, `max_update_fraction`, `allow_empty`) do not apply: what a bad snapshot did must be undone
    however much it was. A column that only this snapshot brought stays in the table, null everywhere. Two things depend
    on what was applied once: the values of columns that are not tracked (`overwrite_columns` hold what was said last,
    also by what was retracted), and, where the snapshot was a correction, what it corrected, which is not kept;
    `rebuild` brings both back.

    Args:
        table: URI or path of a history of snapshots.
        effective_at: The snapshot's time, as it was applied: aware, or read in the mode's `timezone`.
        mode: The declaration of the history. Its own `effective_at` is of no matter here.
        storage_options: As delta-rs takes them.

    Returns:
        What happened to the rows of the snapshot before, which hold again: `inserted` came back, `updated` changed
        back, `unchanged` were the same in both, and `closed` keys stood in the retracted snapshot only.

    Raises:
        ConfigError: The history is fed by changes or by snapshots without deletes, or was made with another
            declaration.
        TimeValueError: No snapshot of that time is known; the message lists the nearest.
        TableNotFoundError: There is no table.
        TableStateError: The table is no history of ours, or its memory is out of step.
        ConflictError: Other writers kept changing the table; nothing was written.

    Example:
        >>> import datetime as dt, polars as pl, tempfile
        >>> from fuse_dagster.tables import History, retract, write
        >>> table, mode = tempfile.mkdtemp() + "/airports", History(keys=["icao"])
        >>> for day, feet in ((1, 157), (2, 999)):
        ...     batch = pl.DataFrame({"icao": ["EDDB"], "feet": [feet]})
        ...     _ = write(table, batch, History(keys=["icao"], effective_at=dt.date(2024, 1, day)))
        >>> retract(table, dt.date(2024, 1, 2), mode).updated
        1
    """
    started = time.perf_counter()
    _refuse_statements(mode)
    at = to_instant(effective_at, mode.timezone)
    for _ in attempts(str(table)):
        view = open_history(table, storage_options)
        try:
            committed, change, said = _undo(view, at, mode)
        except LostRaceError:
            continue
        return WriteResult(
            version=committed.version,
            table_version=committed.version,
            rows_in=said,
            inserted=change.inserted,
            updated=change.updated,
            unchanged=said - change.inserted - change.updated,
            closed=change.closed,
            deleted=max(0, len(change.removed) - change.added.height),
            rows_total=committed.rows_total,
            files_added=committed.files_added,
            bytes_added=committed.bytes_added,
            seconds=time.perf_counter() - started,
        )
    raise AssertionError("attempts() ends by raising")


def _refuse_statements(mode: History) -> None:
    if mode.source == "changes":
        raise ConfigError(
            '`retract` undoes a snapshot; with `source="changes"` each row speaks for itself. State the right values '
            'again with `on_correction="replace"`, or make the history anew without the batch with `rebuild`'
        )
    if mode.states_changes:
        raise ConfigError(
            '`retract` undoes a snapshot; with `deletes="ignore"` a snapshot is a batch of changes, and the history '
            "does not remember which rows came together. Make it anew without the batch with `rebuild`"
        )


def _undo(view: TableView, at: dt.datetime, mode: History) -> tuple[Committed, Change, int]:
    """Say on the snapshot's interval what the one before it says, and forget its time."""
    columns = {name: dtype for name, dtype in view.schema().items() if name not in mode.reserved}
    prepared = prepare(view, pl.DataFrame(schema=columns), mode)
    manifest, shape, stamp = prepared.manifest, prepared.shape, micros(at)
    if not manifest.knows(stamp):
        raise _unknown(view, at, manifest.snapshots)
    before, after = manifest.neighbours(stamp)
    since = at if before is None else moment(before.at)
    files = candidates(prepared, since)
    rows = versions(prepared, files)
    held = rows.clear() if before is None else rows.filter(shape.covering(since))
    said = held.select(shape.columns)
    where = Interval(at, None if after is None else moment(after.at), follows=before is not None, corrects=True)
    left = replace(manifest, snapshots=tuple(snapshot for snapshot in manifest.snapshots if snapshot.at != stamp))
    change = apply_rippling(rows, said, where, ripples(prepared, left, at), shape)
    landed = commit(prepared, files, Outcome(change.removed, change.added, left))
    assert landed is not None, "what is remembered has changed, so there is something to commit"
    return landed, change, said.height


def _unknown(view: TableView, at: dt.datetime, snapshots: Sequence[Snapshot]) -> TimeValueError:
    near = sorted(sorted(snapshots, key=lambda s: abs(s.at - micros(at)))[:_NEAREST], key=lambda s: s.at)
    known = ", ".join(f"`{moment(s.at).isoformat()}`" for s in near) or "none"
    return TimeValueError(
        f"the history `{view.uri}` knows no snapshot of `{at.isoformat()}`, so there is nothing to undo; the nearest "
        f"known: {known} ({len(snapshots)} in all, see `known_snapshots`)"
    )
