"""Rows that come in a stream: written part by part as files beside the table, and named by one commit at the end.

Memory holds two parts, one that is written and one that comes, however many rows there are. That works where rows only
come, or take the place of all others; whatever looks a row up by its key needs the batch as a whole.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import pyarrow as pa
from deltalake.fs import DeltaStorageHandler
from deltalake.transaction import AddAction

from fuse_dagster.core.errors import ConflictError, SchemaError, first_line
from fuse_dagster.tables.batch import to_batch
from fuse_dagster.tables.commit import Committed
from fuse_dagster.tables.modes import Append, Overwrite, WriteMode
from fuse_dagster.tables.new_files import write_files
from fuse_dagster.tables.schema import complete, reconcile
from fuse_dagster.tables.swapping import make_table, refuse_nulls, replace_files
from fuse_dagster.tables.tally import Tally
from fuse_dagster.tables.view import TableView, unkept_promises

_PART_BYTES = 128 * 1024 * 1024
_PART_ROWS = 500_000

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Parts:
    """Rows that lie beside a table as files, and belong to it once a commit names them.

    Attributes:
        schema: Columns and types that the table has then.
        adds: One action per file.
        rows: How many there are.
    """

    schema: Mapping[str, pl.DataType]
    adds: list[AddAction] = field(default_factory=list)
    rows: int = 0


def streams(view: TableView, reader: pa.RecordBatchReader, mode: WriteMode) -> bool:
    """Whether rows can be written as they come: else they have to be held as a whole.

    Args:
        view: The opened table, or its absence.
        reader: The rows, not asked yet.
        mode: The declaration.
    """
    if unkept_promises(view) or not len(reader.schema) or not _only_brings(mode):
        return False
    if not view.exists:
        return True
    # A new column makes a commit of another kind, which takes all rows at once.
    nothing = to_batch(reader.schema.empty_table())
    known = view.schema()
    if isinstance(mode, Overwrite):
        return dict(nothing.schema) == known
    try:
        _, change = reconcile(nothing, known, policy=mode.schema)
    except SchemaError:
        return True  # the first part is refused, with values that show why
    return not change


def write_parts(view: TableView, reader: pa.RecordBatchReader, mode: WriteMode) -> Parts:
    """Write rows as files, part by part.

    Args:
        view: The opened table, or its absence.
        reader: The rows; consumed.
        mode: The declaration.

    Raises:
        SchemaError: A part does not fit the table's columns. The files written so far are removed.
    """
    parts: Parts | None = None
    with ThreadPoolExecutor(max_workers=1) as pool:
        beside = _Beside(view, pool)
        try:
            for chunk in _chunks(reader):
                known = view.schema() if parts is None else parts.schema
                typed, _ = reconcile(to_batch(chunk), known, policy=mode.schema)
                parts = parts or Parts(known or dict(typed.schema))
                rows = complete(typed, parts.schema)
                refuse_nulls(view, rows)
                parts.adds += beside.files()
                beside.write(rows)
                parts.rows += rows.height
            if parts is not None:
                parts.adds += beside.files()
        except BaseException:
            if parts is not None:
                drop(view, beside.unfinished(parts))
            raise
    return parts or Parts(view.schema() or dict(to_batch(reader.schema.empty_table()).schema))


class _Beside:
    """Writes one part while the next is read, so that the source and the disk don't wait for each other."""

    def __init__(self, view: TableView, pool: ThreadPoolExecutor) -> None:
        self._view, self._pool = view, pool
        self._last: Future[list[AddAction]] | None = None

    def write(self, rows: pl.DataFrame) -> None:
        """Begin with a part; the one before is asked for by `files` first."""
        self._last = self._pool.submit(copy_context().run, write_files, self._view, [rows])

    def files(self) -> list[AddAction]:
        """Wait for the part that is being written: its files; none where there is none."""
        found = [] if self._last is None else self._last.result()
        self._last = None
        return found

    def unfinished(self, parts: Parts) -> Parts:
        """Parts with the files of the one that was being written when something else failed."""
        try:
            parts.adds += self.files()
        except Exception as error:  # noqa: BLE001 - harmless: it has no files, and what failed first is raised
            logger.info("the last part for %s was not written: %s", self._view.uri, type(error).__name__)
        return parts


def commit_parts(view: TableView, parts: Parts, mode: WriteMode) -> tuple[Committed | None, Tally]:
    """Name the files in one commit.

    Args:
        view: The table as it is now, or its absence.
        parts: The files.
        mode: The declaration.

    Raises:
        LostRaceError: The table has changed since the view was opened.
        ConflictError: Its columns have changed since the files were written.
    """
    if not view.exists:
        made = make_table(view, parts.schema, parts.adds, rows_total=parts.rows)
        return made, Tally(inserted=parts.rows)
    known = view.schema()
    if unkept_promises(view) or any(known.get(name) != dtype for name, dtype in parts.schema.items()):
        raise ConflictError(f"the columns of `{view.uri}` changed while rows were written to it; run this again")
    held = view.count_rows()
    if isinstance(mode, Overwrite):
        gone = view.files()["path"].to_list()
        committed = replace_files(view, gone, parts.adds, rows_total=parts.rows)
        return committed, Tally(inserted=parts.rows, deleted=held)
    if not parts.rows:
        return None, Tally()
    committed = replace_files(view, [], parts.adds, rows_total=held + parts.rows)
    return committed, Tally(inserted=parts.rows)


def drop(view: TableView, parts: Parts) -> None:
    """Remove files that no commit names. Failing to is harmless: a vacuum finds them."""
    handler = DeltaStorageHandler(view.uri, dict(view.storage_options))
    try:
        for one in parts.adds:
            handler.delete_file(one.path)
    except OSError as error:
        logger.warning("files of a write to %s that failed stay until the next vacuum: %s", view.uri, first_line(error))


def _only_brings(mode: WriteMode) -> bool:
    if isinstance(mode, Append):
        return not mode.once and not mode.partition_by
    if isinstance(mode, Overwrite):
        return mode.is_whole_truth and not mode.skip_if_unchanged and not mode.partition_by and mode.schema == "evolve"
    return False


def _chunks(reader: pa.RecordBatchReader) -> Iterator[pa.Table]:
    """Batches put together to parts that fill a file, without holding more."""
    waiting: list[Any] = []
    rows = size = 0
    for batch in reader:
        if not batch.num_rows:
            continue
        waiting.append(batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= _PART_ROWS or size >= _PART_BYTES:
            yield pa.Table.from_batches(waiting, reader.schema)
            waiting.clear()
            rows = size = 0
    if waiting:
        yield pa.Table.from_batches(waiting, reader.schema)
