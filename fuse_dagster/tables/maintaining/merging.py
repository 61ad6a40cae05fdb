"""Compaction by delta-rs, for tables that promise what files of ours would not keep."""

from __future__ import annotations

from typing import Any

import polars as pl
from deltalake import CommitProperties

from fuse_dagster.tables.commit import land
from fuse_dagster.tables.maintaining.reports import Compaction
from fuse_dagster.tables.view import TableView, open_view

_DELTA_TARGET = 100 * 1024 * 1024


def merge_small(view: TableView, *, dry_run: bool) -> Compaction:
    """Merge small files in their order, within their partition.

    Args:
        view: The opened table; it may be partitioned, append-only, or have a change feed.
        dry_run: Only say what would be done.

    Raises:
        LostRaceError: Others changed the files that were to be merged.
    """
    before = view.files()
    if dry_run:
        return _estimate(view, before)
    told: dict[str, Any] = {}

    def optimize(props: CommitProperties) -> None:
        told.update(view.table.optimize.compact(commit_properties=props))

    since = view.version
    version = land(view, optimize, alone=False)
    after = open_view(view.uri, view.storage_options).files() if version != since else before
    gone, come = _apart(before, after), _apart(after, before)
    return Compaction(
        version=version if version != since else None,
        files_before=before.height,
        files_after=after.height,
        files_removed=gone.height,
        files_added=come.height,
        bytes_removed=int(gone["size_bytes"].sum()),
        bytes_added=int(come["size_bytes"].sum()),
        rows=int(gone["num_records"].sum()),
    )


def _apart(files: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    return files.join(others, on="path", how="anti")


def _estimate(view: TableView, files: pl.DataFrame) -> Compaction:
    """What a compaction by delta-rs would merge: files below the target, where their partition has several."""
    target = int((view.table.metadata().configuration or {}).get("delta.targetFileSize") or _DELTA_TARGET)
    small = files.filter(pl.col("size_bytes") < target)
    columns = [name for name in files.columns if name.startswith("partition.")]
    groups = small.partition_by(columns) if columns else [small]
    merged = [group for group in groups if group.height > 1]
    removed = sum(group.height for group in merged)
    added = sum(-(-int(group["size_bytes"].sum()) // target) for group in merged)
    return Compaction(
        version=None,
        files_before=files.height,
        files_after=files.height - removed + added,
        files_removed=removed,
        files_added=added,
        bytes_removed=sum(int(group["size_bytes"].sum()) for group in merged),
        rows=sum(int(group["num_records"].sum()) for group in merged),
    )
