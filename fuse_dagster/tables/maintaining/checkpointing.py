"""The log: a checkpoint, so that opening a table reads one file, and old entries removed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from deltalake.exceptions import DeltaError
from deltalake.fs import DeltaStorageHandler
from pyarrow.fs import FileSelector

from fuse_dagster.core.errors import TableNotFoundError, TableStateError, first_line
from fuse_dagster.tables.maintaining.history import catch_up
from fuse_dagster.tables.maintaining.reports import Checkpointed
from fuse_dagster.tables.view import TableView, open_view

_SWITCH = "delta.enableExpiredLogCleanup"


def checkpoint(
    table: str | Path, *, cleanup: bool = True, storage_options: Mapping[str, str] | None = None
) -> Checkpointed:
    """Write a checkpoint, and remove log entries that are older than the table keeps them.

    How long that is says the table: `delta.logRetentionDuration`, 30 days by default; with
    `delta.enableExpiredLogCleanup` set to false, for ever. Every version within it can still be read and restored.

    The log also proves that what others did to a history since its last batch was harmless, as their OPTIMIZE is. The
    history takes note of that first, in a commit without data, so that it can be written after the proof is gone.

    Args:
        table: URI or path of the table.
        cleanup: Whether old log entries go.
        storage_options: As delta-rs takes them.

    Raises:
        TableNotFoundError: There is no table.
        TableStateError: The table cannot be read, or its log not be written.

    Example:
        >>> import polars as pl, tempfile
        >>> from fuse_dagster.tables import Append, checkpoint, write
        >>> flights = tempfile.mkdtemp() + "/flights"
        >>> written = write(flights, pl.DataFrame({"day": [1]}), Append())
        >>> checkpoint(flights).log_files_removed
        0
    """
    started = time.perf_counter()
    view = open_view(table, storage_options)
    if not view.exists:
        raise TableNotFoundError(f"there is no Delta table at `{view.uri}`; correct the path")
    view = catch_up(view)
    configuration = view.table.metadata().configuration or {}
    before: dict[str, int] = {}
    try:
        view.table.create_checkpoint()
        if cleanup and str(configuration.get(_SWITCH)).lower() != "false":
            before = _log_files(view)
            view.table.cleanup_metadata()
        after = _log_files(view) if before else {}
    except (DeltaError, OSError) as error:
        raise TableStateError(f"the log of `{view.uri}` cannot be written: {first_line(error)}") from error
    gone = before.keys() - after.keys()
    return Checkpointed(
        version=view.version,
        log_files_removed=len(gone),
        log_bytes_removed=sum(before[name] for name in gone),
        seconds=time.perf_counter() - started,
    )


def _log_files(view: TableView) -> dict[str, int]:
    handler = DeltaStorageHandler(view.uri, dict(view.storage_options))
    return {one.base_name: int(one.size or 0) for one in handler.get_file_info_selector(FileSelector("_delta_log"))}
