"""All of a table's maintenance in one call."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from fuse_dagster.engines.local.addresses import normal_uri
from fuse_dagster.tables.maintaining.checkpointing import checkpoint
from fuse_dagster.tables.maintaining.cleaning import vacuum
from fuse_dagster.tables.maintaining.compacting import compact
from fuse_dagster.tables.maintaining.reports import MaintenanceReport
from fuse_dagster.tables.new_files import ROWS_PER_FILE


def maintain(
    table: str | Path,
    *,
    cluster_by: Sequence[str] | None = None,
    rows_per_file: int = ROWS_PER_FILE,
    retention_hours: int | None = None,
    remove: bool = False,
    dry_run: bool = False,
    storage_options: Mapping[str, str] | None = None,
) -> MaintenanceReport:
    """Compact a table, vacuum it, and write a checkpoint: the vacuum only lists files unless `remove` says more.

    Each part is safe beside readers and writers, and can be broken off at any moment and run again.

    Args:
        table: URI or path of the table.
        cluster_by: See `compact`.
        rows_per_file: See `compact`.
        retention_hours: See `vacuum`.
        remove: Whether the vacuum removes what it finds.
        dry_run: Change nothing at all: no compaction, no checkpoint, no file removed.
        storage_options: As delta-rs takes them.

    Raises:
        TableNotFoundError: There is no table.
        ConfigError: The retention is shorter than the table's, or the table cannot be clustered so.
        TableStateError: The table cannot be used safely; see the parts.
        ConflictError: Other writers kept changing the table during the compaction; nothing was written.

    Example:
        >>> import polars as pl, tempfile
        >>> from fuse_dagster.tables import Append, maintain, write
        >>> flights = tempfile.mkdtemp() + "/flights"
        >>> for day in range(3):
        ...     written = write(flights, pl.DataFrame({"day": [day]}), Append())
        >>> report = maintain(flights)
        >>> report.compaction.files_after, report.vacuumed.files, report.checkpointed.version
        (1, (), 3)
    """
    started = time.perf_counter()
    compaction = compact(
        table, cluster_by=cluster_by, rows_per_file=rows_per_file, dry_run=dry_run, storage_options=storage_options
    )
    vacuumed = vacuum(
        table, retention_hours=retention_hours, dry_run=dry_run or not remove, storage_options=storage_options
    )
    # Last, so that it holds what the others committed.
    checkpointed = None if dry_run else checkpoint(table, storage_options=storage_options)
    return MaintenanceReport(
        uri=normal_uri(table),
        compaction=compaction,
        vacuumed=vacuumed,
        checkpointed=checkpointed,
        seconds=time.perf_counter() - started,
    )
