"""History tables (SCD type 2): every version of every key, right in any order of arrival."""

from __future__ import annotations

import polars as pl

from fuse_dagster.tables.commit import Committed
from fuse_dagster.tables.history.changes.write import write_changes
from fuse_dagster.tables.history.snapshots.write import write_snapshots
from fuse_dagster.tables.modes import History
from fuse_dagster.tables.tally import Tally
from fuse_dagster.tables.view import TableView


def write_history(view: TableView, batch: pl.DataFrame, mode: History) -> tuple[Committed | None, Tally]:
    """Apply one batch, by whichever rule its source has."""
    return (write_changes if mode.states_changes else write_snapshots)(view, batch, mode)
