"""What a history remembers, and what others did to it: to look at before something is done about it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from fuse_dagster.core.errors import TableNotFoundError, TableStateError
from fuse_dagster.tables.commit import APP_ID, WRITE_ID
from fuse_dagster.tables.history.memory.foreign import ForeignChange, changes_since
from fuse_dagster.tables.history.memory.manifest import moment
from fuse_dagster.tables.history.memory.store import read_manifest
from fuse_dagster.tables.history.times import UTC_MICROS
from fuse_dagster.tables.view import TableView, open_view


def known_snapshots(table: str | Path, *, storage_options: Mapping[str, str] | None = None) -> pl.DataFrame:
    """The snapshots that were applied to a history, as it remembers them.

    Args:
        table: URI or path of a history.
        storage_options: As delta-rs takes them.

    Returns:
        One row per snapshot, by time: `effective_at` (UTC, microseconds) and `columns` (names that it brought). Empty
        for a feed of changes, which has no snapshots.

    Raises:
        TableNotFoundError: There is no table.
        TableStateError: It is no history of ours, or its memory is gone.
    """
    view = open_history(table, storage_options)
    snapshots = read_manifest(view, _transaction(view)).snapshots
    return pl.DataFrame(
        {
            "effective_at": [moment(snapshot.at) for snapshot in snapshots],
            "columns": [list(snapshot.columns) for snapshot in snapshots],
        },
        schema={"effective_at": UTC_MICROS, "columns": pl.List(pl.String)},
    )


def foreign_changes(table: str | Path, *, storage_options: Mapping[str, str] | None = None) -> list[ForeignChange]:
    """What others committed to a history since our last write, oldest first.

    Where the memory is gone, our last write is the newest commit that says it was ours.

    Args:
        table: URI or path of a history.
        storage_options: As delta-rs takes them.

    Raises:
        TableNotFoundError: There is no table.
        TableStateError: It is no history of ours.
    """
    view = open_history(table, storage_options)
    try:
        last = read_manifest(view, _transaction(view)).version
    except TableStateError:
        last = max((int(entry["version"]) for entry in view.table.history() if entry.get(WRITE_ID)), default=-1)
    return changes_since(view, last)


def open_history(table: str | Path, storage_options: Mapping[str, str] | None) -> TableView:
    """Open a table that must be a history of ours.

    Raises:
        TableNotFoundError: There is no table.
        TableStateError: No history was written to it.
    """
    view = open_view(table, storage_options)
    if not view.exists:
        raise TableNotFoundError(f"there is no Delta table at `{view.uri}`; correct the path")
    _transaction(view)
    return view


def _transaction(view: TableView) -> int:
    found = view.table.transaction_version(APP_ID)
    if found is None:
        raise TableStateError(
            f"`{view.uri}` is a table that no history was written to; where it holds versions made by others, take it "
            "over with `adopt`"
        )
    return found
