"""The door into a table through Spark: a batch and a mode in, what became of it out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.tables.commit import LostRaceError, attempts, refuse_history
from fuse_dagster.tables.modes import History, Upsert, WriteMode
from fuse_dagster.tables.spark.commit import SparkTable
from fuse_dagster.tables.spark.history import write_history
from fuse_dagster.tables.spark.staging import Staged, Written, stage
from fuse_dagster.tables.spark.upsert import upsert
from fuse_dagster.tables.view import TableView, open_view

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def write_with_spark(
    session: SparkSession,
    table: str | Path,
    data: Any,
    mode: WriteMode,
    *,
    storage_options: Mapping[str, str] | None,
    masked: Collection[str],
) -> tuple[Written, TableView]:
    """Write a batch in one commit, or not at all.

    Args:
        session: Reads and writes the table.
        table: URI or path, which Spark and delta-rs both reach: the log and a history's memory are read by delta-rs.
        data: A Spark DataFrame, or any frame that the local engine takes.
        mode: `Append`, `Overwrite`, `Upsert` or `History`.
        storage_options: As delta-rs takes them; Spark has its own settings.
        masked: Columns whose values must not appear in an error.

    Returns:
        What became of the batch, and the table that it was planned on.

    Raises:
        FuseError: As `tables.write`.
    """
    staged = stage(session, data, masked)
    for _ in attempts(str(table)):
        view = open_view(table, storage_options)
        if not isinstance(mode, History):
            refuse_history(view, mode)
        try:
            return _write(SparkTable(session, view), staged, mode), view
        except LostRaceError:
            continue
    raise AssertionError("attempts() ends by raising")


def _write(table: SparkTable, staged: Staged, mode: WriteMode) -> Written:
    match mode:
        case Upsert():
            return upsert(table, staged, mode)
        case History():
            return write_history(table, staged, mode)
    raise ConfigError(f"`{mode!r}` is no write mode; valid: Append, Overwrite, Upsert, History")
