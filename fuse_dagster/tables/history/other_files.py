"""Overwritten columns in files that a batch had no need to read: those of versions that ended long ago."""

from __future__ import annotations

import polars as pl

from fuse_dagster.tables.files import FileRows, read_rows
from fuse_dagster.tables.history.overwriting import ends_and_values, gathered
from fuse_dagster.tables.history.timeline import Shape
from fuse_dagster.tables.pruning import may_hold
from fuse_dagster.tables.rows import ROW


def reach_other_files(
    rows: FileRows, values: pl.DataFrame, updated: pl.DataFrame | None, shape: Shape
) -> tuple[FileRows, pl.DataFrame | None]:
    """Find versions that hold an older value in the files that were not chosen.

    Only the keys of these files are read, and only where the log does not exclude that they hold one of the keys.

    Args:
        rows: The rows of the chosen files.
        values: Keys and overwritten columns that other versions may not hold yet, a row per key.
        updated: `ROW` and new values of chosen rows that stay.
        shape: Parts of the columns.

    Returns:
        The rows with those of files that have to change too, numbered after them, and all new values.
    """
    files = rows.view.files()
    others = files.filter(~pl.col("path").is_in(list(rows.paths)))
    others = others if others.is_empty() else others.filter(may_hold(others, values.select(shape.keys)))
    far = read_rows(rows.view, others, rows.schema)
    found = ends_and_values(far, values, shape)
    if found is None:
        return rows, updated
    chosen = pl.DataFrame({"path": rows.paths}, schema={"path": pl.String}).join(
        files, on="path", how="left", maintain_order="left"
    )
    both = read_rows(rows.view, pl.concat([chosen.select(files.columns), others]), rows.schema)
    moved = found.with_columns(pl.col(ROW) + rows.height)
    if updated is None or updated.is_empty():
        return both, moved
    kept = gathered(rows, updated, [name for name in moved.columns if name not in updated.columns])
    return both, pl.concat([kept.select(moved.columns), moved])
