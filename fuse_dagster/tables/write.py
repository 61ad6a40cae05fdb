"""The one door into a table: a batch and a mode in, a result out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from fuse_dagster.core.errors import ConfigError, ConflictError, OutcomeUnknownError
from fuse_dagster.core.results import WriteResult
from fuse_dagster.core.store_failures import store_errors
from fuse_dagster.engines.local.addresses import normal_uri
from fuse_dagster.tables.append import append
from fuse_dagster.tables.batch import to_batch
from fuse_dagster.tables.commit import Committed, LostRaceError, attempts, refuse_history
from fuse_dagster.tables.history import write_history
from fuse_dagster.tables.loads.carrying import Carrier
from fuse_dagster.tables.loads.memory import Memo
from fuse_dagster.tables.modes import Append, History, Overwrite, Upsert, WriteMode
from fuse_dagster.tables.overwrite import overwrite
from fuse_dagster.tables.samples import masking
from fuse_dagster.tables.sifting import OnRejected, Sifted, sift
from fuse_dagster.tables.streaming import commit_parts, drop, streams, write_parts
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
    memo: Memo | Callable[[], Memo] | None = None,
    spark: SparkSession | None = None,
    only_at: int | None = None,
) -> WriteResult:
    """Write a batch to a Delta table in one commit, or not at all.

    Args:
        table: URI or path of the table; made if absent.
        data: polars DataFrame or LazyFrame, pandas DataFrame, Arrow Table or reader (consumed once), DuckDB relation.
            A reader whose rows only come (`Append` without `once`), or replace the whole table without comparing, is
            written part by part, in little memory.
        mode: `Append`, `Overwrite`, `Upsert` or `History`.
        storage_options: Credentials and settings of the store, as delta-rs takes them.
        masked: Columns whose values must not appear in an error; they show as `***`.
        on_rejected: Takes the rows of `null_keys="reject"` as a polars frame, with their reasons in
            `_rejection_reasons`. It is called once per write that has such rows, before anything is committed; if it
            raises, nothing is.
        memo: What the table is to remember of a load, saved by the same commit (see `Memo`); where nothing else has to
            be committed, by one of its own, unless it is no news. A function is called once, after the rows were read
            and before anything is committed.
        spark: Write through this session rather than on this machine; `data` may then be a Spark DataFrame, too.
        only_at: Version of the table that the batch was made from: the commit lands directly after it, or not at all.
            Not for readers that are written part by part, nor for Spark.

    Returns:
        What happened to each row, and the version committed (None where nothing had to be written).

    Raises:
        InputError: The batch is refused; nothing was written.
        ConfigError: The declaration does not fit the table.
        TableStateError: The table cannot be used safely.
        ConflictError: Other writers kept changing the table; nothing was written.
        LoadOvertakenError: Another load of the memo's name landed since its memory was read; nothing was written.
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

        _refuse_memo(memo)
        _refuse_only_at(only_at, "Spark")
        written, view = write_with_spark(
            spark, table, data, mode, storage_options=storage_options, masked=masked, on_rejected=on_rejected
        )
        return _result(view, written.committed, written.tally, rows=written.rows, started=started)
    with masking(masked), store_errors(normal_uri(table)):
        if isinstance(data, pa.RecordBatchReader) and streams(first := open_view(table, storage_options), data, mode):
            _refuse_only_at(only_at, "a reader that is written part by part")
            committed, view, tally = _stream(first, data, mode, memo)
            return _result(view, committed, tally, rows=tally.inserted, started=started)
    with masking(masked):
        batch = to_batch(data)
        kept, sifted = sift(batch, mode, on_rejected, uri=str(table))
        with store_errors(normal_uri(table)):
            plan = partial(_plan_batch, batch=kept, mode=mode, sifted=sifted)
            committed, view, tally = _commit(
                table, plan, mode, storage_options, before=sifted.open, memo=memo, only_at=only_at
            )
        sifted.open()
    counted = replace(tally, rejected=tally.rejected + sifted.rejected.height)
    return _result(view, committed, counted, rows=batch.height, started=started)


def _refuse_memo(memo: object) -> None:
    if memo is not None:
        raise ConfigError(
            "a load can't be written through Spark: its writer takes one transaction per commit, and no memory beside "
            "it. Leave `spark` out; rows are then written by this process"
        )


def _refuse_only_at(only_at: int | None, what: str) -> None:
    if only_at is not None:
        raise ConfigError(f"`only_at` is not for {what}; give a frame, written by this process")


def _stream(
    view: TableView, reader: pa.RecordBatchReader, mode: WriteMode, memo: Memo | Callable[[], Memo] | None
) -> tuple[Committed | None, TableView, Tally]:
    if not isinstance(mode, History):
        refuse_history(view, mode)
    parts = write_parts(view, reader, mode)
    try:
        return _commit(view.uri, lambda now: commit_parts(now, parts, mode), mode, view.storage_options, memo=memo)
    except OutcomeUnknownError:
        raise  # the commit may have landed, and then it names these files
    except BaseException:
        drop(view, parts)
        raise


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
    plan: Callable[[TableView], tuple[Committed | None, Tally]],
    mode: WriteMode,
    storage_options: Mapping[str, str] | None,
    *,
    before: Callable[[], None] | None = None,
    memo: Memo | Callable[[], Memo] | None = None,
    only_at: int | None = None,
) -> tuple[Committed | None, TableView, Tally]:
    """Plan on the newest version until a commit lands, or until there is nothing to commit."""
    carrier = None if memo is None else Carrier(memo if isinstance(memo, Memo) else memo())
    for _ in attempts(str(table)):
        view = replace(open_view(table, storage_options), before_commit=before)
        if only_at is not None and view.version != only_at:
            raise ConflictError(
                f"`{view.uri}` has version {view.version} now, and the batch was made from version {only_at}; nothing "
                "was written. Make it anew"
            )
        if not isinstance(mode, History):
            refuse_history(view, mode)
        view = view if carrier is None else carrier.aboard(view)
        try:
            committed, tally = plan(view)
            if carrier is not None:
                committed = committed or carrier.mark(view)
        except LostRaceError:
            if carrier is not None:
                carrier.discard(view)
            continue
        if carrier is not None and committed is not None:
            carrier.tidy(view)
        if tally.rejected:
            logger.warning("%d rows are late and were left out of %s", tally.rejected, view.uri)
        return committed, view, tally
    raise AssertionError("attempts() ends by raising")


def _plan_batch(
    view: TableView, *, batch: pl.DataFrame, mode: WriteMode, sifted: Sifted
) -> tuple[Committed | None, Tally]:
    empties = mode.is_whole_truth or (isinstance(mode, Overwrite) and mode.replaces_part)
    nothing = batch.is_empty() and view.remember is not None and not empties
    nothing = nothing and (view.exists or not batch.width)  # a table is made of columns
    if sifted.is_all or nothing:
        return None, Tally()
    return _plan(view, batch, mode)


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
