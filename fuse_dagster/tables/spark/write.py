"""The door into a table through Spark: a batch and a mode in, what became of it out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fuse_dagster.engines.spark.failures import failures, refusal
from fuse_dagster.engines.spark.frames import from_spark
from fuse_dagster.engines.spark.lakes import refuse_unguarded
from fuse_dagster.engines.spark.names import quoted
from fuse_dagster.tables.commit import LostRaceError, attempts, refuse_history
from fuse_dagster.tables.modes import Append, History, Overwrite, Upsert, WriteMode
from fuse_dagster.tables.samples import masking
from fuse_dagster.tables.sifting import OnRejected, Sifted, keys_to_sift, leave_out
from fuse_dagster.tables.spark.append import append
from fuse_dagster.tables.spark.commit import SparkTable
from fuse_dagster.tables.spark.history import write_history
from fuse_dagster.tables.spark.overwrite import overwrite
from fuse_dagster.tables.spark.staging import Staged, Written, kept, stage
from fuse_dagster.tables.spark.upsert import upsert
from fuse_dagster.tables.tally import Tally
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
    on_rejected: OnRejected | None = None,
) -> tuple[Written, TableView]:
    """Write a batch in one commit, or not at all.

    Args:
        session: Reads and writes the table.
        table: URI or path, which Spark and delta-rs both reach: the log and a history's memory are read by delta-rs.
        data: A Spark DataFrame, or any frame that the local engine takes.
        mode: `Append`, `Overwrite`, `Upsert` or `History`.
        storage_options: As delta-rs takes them; Spark has its own settings.
        masked: Columns whose values must not appear in an error.
        on_rejected: Takes the rows of `null_keys="reject"` as a polars frame, before anything is committed.

    Returns:
        What became of the batch, and the table that it was planned on.

    Raises:
        FuseError: As `tables.write`.
    """
    refuse_unguarded(session, str(table), storage_options)
    with masking(masked), ExitStack() as held:
        staged = stage(session, data, masked)
        if mode.sifted_keys or not isinstance(mode, Upsert):
            # Looked at more than once: what is checked and counted has to be what is written.
            staged = replace(staged, frame=held.enter_context(kept(staged.frame)))
        staged, sifted = _sift(staged, mode, on_rejected, uri=str(table))
        written, view = _commit(session, table, staged, mode, storage_options=storage_options, sifted=sifted)
        sifted.open()
    rejected = sifted.rejected.height
    tally = replace(written.tally, rejected=written.tally.rejected + rejected)
    return replace(written, tally=tally, rows=written.rows + rejected), view


def _commit(
    session: SparkSession,
    table: str | Path,
    staged: Staged,
    mode: WriteMode,
    *,
    storage_options: Mapping[str, str] | None,
    sifted: Sifted,
) -> tuple[Written, TableView]:
    """Plan on the newest version until a commit lands, or until there is nothing to commit."""
    for _ in attempts(str(table)):
        view = replace(open_view(table, storage_options), before_commit=sifted.open)
        if not isinstance(mode, History):
            refuse_history(view, mode)
        if sifted.is_all:
            return Written(None, Tally(), 0), view
        try:
            return _write(SparkTable(session, view), staged, mode), view
        except LostRaceError:
            continue
        except failures() as error:  # as Spark reads the table, with other credentials than delta-rs has
            refused = refusal(error, table)
            if refused is None:
                raise
            raise refused from error
    raise AssertionError("attempts() ends by raising")


def _sift(staged: Staged, mode: WriteMode, on_rejected: OnRejected | None, *, uri: str) -> tuple[Staged, Sifted]:
    """Take the rows with a null key out of a batch, where the mode says so; only they leave Spark."""
    keys = keys_to_sift(staged.empty.columns, mode, on_rejected, uri=uri)
    if not keys:
        return staged, Sifted()
    is_null = " OR ".join(f"{quoted(key)} IS NULL" for key in keys)
    without_key, kept_rows = staged.frame.filter(is_null), staged.frame.filter(f"NOT ({is_null})")
    found = from_spark(without_key if mode.null_keys == "reject" else without_key.select(*map(quoted, keys)))
    is_all = not found.is_empty() and kept_rows.isEmpty()
    return replace(staged, frame=kept_rows), leave_out(found, mode, on_rejected, is_all=is_all, uri=uri)


def _write(table: SparkTable, staged: Staged, mode: WriteMode) -> Written:
    match mode:
        case Append():
            return append(table, staged, mode)
        case Overwrite():
            return overwrite(table, staged, mode)
        case Upsert():
            return upsert(table, staged, mode)
        case History():
            return write_history(table, staged, mode)
