"""The one door into a table: a batch and a mode in, a result out."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.core.results import WriteResult
from fuse_dagster.core.store_failures import store_errors
from fuse_dagster.engines.local.addresses import normal_uri
from fuse_dagster.tables.append import append
from fuse_dagster.tables.batch import to_batch
from fuse_dagster.tables.commit import Committed, LostRaceError, attempts, refuse_history
from fuse_dagster.tables.history import write_history
from fuse_dagster.tables.modes import Append, History, Overwrite, Upsert, WriteMode
from fuse_dagster.tables.overwrite import overwrite
from fuse_dagster.tables.samples import masking
from fuse_dagster.tables.sifting import OnRejected, Sifted, sift
from fuse_dagster.tables.tally import Tally
from fuse_dagster.tables.upsert import upsert
from fuse_dagster.tables.view import TableView, open_view

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

logger = logging.getLogger(__name__)


def write(
    table: str | Path,
    data: Any,
    mode: WriteMode,
    *,
    storage_options: Mapping[str, str] | None = None,
    masked: Collection[str] = (),
    on_rejected: OnRejected | None = None,
    spark: SparkSession | None = None,
) -> WriteResult:
    """Write a batch to a Delta table in one commit, or not at all.

    Args:
        table: URI or path of the table; made if absent.
        data: polars DataFrame or LazyFrame, pandas DataFrame, Arrow Table or reader (consumed once), DuckDB relation.
        mode: `Append`, `Overwrite`, `Upsert` or `History`.
        storage_options: Credentials and settings of the store, as delta-rs takes them.
        masked: Columns whose values must not appear in an error; they show as `***`.
        on_rejected: Takes the rows of `null_keys="reject"` as a polars frame, with their reasons in
            `_rejection_reasons`. It is called once per write that has such rows, before anything is committed; if it
            raises, nothing is.
        spark: Write through this session rather than on this machine; `data` may then be a Spark DataFrame, too.

    Returns:
        What happened to each row, and the version committed (None where nothing had to be written).

    Raises:
        InputError: The batch is refused; nothing was written.
        ConfigError: The declaration does not fit the table.
        TableStateError: The table cannot be used safely.
        ConflictError: Other writers kept changing the table; nothing was written.
        OutcomeUnknownError: The store broke off during the commit and cannot be asked.

    Example:
        >>> import polars as pl, tempfile
        >>> from fuse_dagster.tables import Upsert, write
        >>> planes = pl.DataFrame({"tailnum": ["N10156", "N102UW"], "seats": [55, 182]})
        >>> write(tempfile.mkdtemp() + "/planes", planes, Upsert(keys=["tailnum"])).inserted
        2
    """
    started = time.perf_counter()
    if not isinstance(mode, WriteMode):
        raise ConfigError(f"`{mode!r}` is no write mode; valid: Append, Overwrite, Upsert, History")
    if spark is not None:
        from fuse_dagster.tables.spark.write import write_with_spark

        written, view = write_with_spark(
            spark, table, data, mode, storage_options=storage_options, masked=masked, on_rejected=on_rejected
        )
        return _result(view, written.committed, written.tally, rows=written.rows, started=started)
    with masking(masked):
        batch = to_batch(data)
        kept, sifted = sift(batch, mode, on_rejected, uri=str(table))
        with store_errors(normal_uri(table)):
            committed, view, tally = _commit(table, kept, mode, storage_options, sifted=sifted)
        sifted.open()
    counted = replace(tally, rejected=tally.rejected + sifted.rejected.height)
    return _result(view, committed, counted, rows=batch.height, started=started)


def _result(view: TableView, committed: Committed | None, tally: Tally, *, rows: int, started: float) -> WriteResult:
    version = view.version if committed is None else committed.version
    counted = tally.inserted + tally.updated + tally.rejected + tally.duplicates + tally.closing_rows
    return WriteResult(
        version=None if committed is None else version,
        table_version=version,
        rows_in=rows,
        inserted=tally.inserted,
        updated=tally.updated,
        unchanged=rows - counted,
        rejected=tally.rejected,
        duplicates=tally.duplicates,
        closed=tally.closed,
        deleted=tally.deleted,
        rows_total=committed.rows_total if committed is not None else view.count_rows() if view.exists else 0,
        files_added=0 if committed is None else committed.files_added,
        bytes_added=0 if committed is None else committed.bytes_added,
        seconds=time.perf_counter() - started,
        schema_changes=() if committed is None else tally.schema_changes,
    )


def _commit(
    table: str | Path,
    batch: pl.DataFrame,
    mode: WriteMode,
    storage_options: Mapping[str, str] | None,
    *,
    sifted: Sifted,
) -> tuple[Committed | None, TableView, Tally]:
    """Plan on the newest version until a commit lands, or until there is nothing to commit."""
    for _ in attempts(str(table)):
        view = replace(open_view(table, storage_options), before_commit=sifted.open)
        if not isinstance(mode, History):
            refuse_history(view, mode)
        if sifted.is_all:
            return None, view, Tally()
        try:
            committed, tally = _plan(view, batch, mode)
        except LostRaceError:
            continue
        if tally.rejected:
            logger.warning("%d rows are late and were left out of %s", tally.rejected, view.uri)
        return committed, view, tally
    raise AssertionError("attempts() ends by raising")


def _plan(view: TableView, batch: pl.DataFrame, mode: WriteMode) -> tuple[Committed | None, Tally]:
    match mode:
        case Append():
            return append(view, batch, mode)
        case Overwrite():
            return overwrite(view, batch, mode)
        case Upsert():
            return upsert(view, batch, mode)
        case History():
            return write_history(view, batch, mode)
