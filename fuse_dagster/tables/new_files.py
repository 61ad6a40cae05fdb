"""New data files beside a table's old ones; they belong to it only once a commit names them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from pathlib import Path

import polars as pl
from deltalake.fs import DeltaStorageHandler
from deltalake.transaction import AddAction

from fuse_dagster.engines.local.addresses import is_local
from fuse_dagster.tables.stats import statistics
from fuse_dagster.tables.view import TableView, writing

ROWS_PER_FILE = 1_000_000
"""Most rows of a file: small enough that a few changed keys don't rewrite a table, large enough to read fast."""
_ROWS_PER_GROUP = 65_536
"""Rows of a row group, the least of a file that is read: who looks one key up reads few others beside it."""


def write_files(view: TableView, frames: Iterable[pl.DataFrame], *, data_change: bool = True) -> list[AddAction]:
    """Write rows as new data files.

    Args:
        view: The opened table, or its absence.
        frames: Groups of rows that go to files apart; each of the table's columns. Taken one at a time.
        data_change: Whether rows come; False where the same rows only move.

    Returns:
        One action per file. Empty groups make no file.

    Raises:
        TableStateError: The store takes no more, or does not let this process write.
    """
    if is_local(view.uri):
        with writing(view.uri):
            Path(view.uri).mkdir(parents=True, exist_ok=True)
    return [
        _write(view, part, data_change=data_change)
        for frame in frames
        for part in frame.iter_slices(ROWS_PER_FILE)
        if part.height
    ]


def _write(view: TableView, frame: pl.DataFrame, *, data_change: bool) -> AddAction:
    path = f"part-{uuid.uuid4()}.zstd.parquet"
    options = view.polars_options
    with writing(view.uri):
        frame.write_parquet(
            view.locate(path),
            compression="zstd",
            compression_level=1,
            row_group_size=_ROWS_PER_GROUP,
            storage_options=options,
        )
        size = _size(view, path)
    return AddAction(
        path=path,
        size=size,
        partition_values={},
        modification_time=int(time.time() * 1000),
        data_change=data_change,
        stats=statistics(frame),
    )


def _size(view: TableView, path: str) -> int:
    if is_local(view.uri):
        return Path(view.locate(path)).stat().st_size
    handler = DeltaStorageHandler(view.uri, dict(view.storage_options))
    return int(handler.get_file_info([path])[0].size)
