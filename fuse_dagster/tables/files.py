"""Rows of a table's data files with the place they lie at, and new data files beside them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from deltalake.fs import DeltaStorageHandler
from deltalake.transaction import AddAction
from polars.exceptions import PolarsError

from fuse_dagster.core.errors import TableStateError, first_line
from fuse_dagster.tables.stats import statistics
from fuse_dagster.tables.view import TableView, is_local

ROW = "__fuse_row"
_ROWS_PER_FILE = 2_000_000


@dataclass(frozen=True, slots=True)
class FileRows:
    """Rows read from some files of a table.

    Attributes:
        frame: All columns of the table, and `ROW`: the row's number over all files, in their order.
        paths: The files, as the log names them.
        starts: Number of each file's first row, ascending, one per path.
    """

    frame: pl.DataFrame
    paths: tuple[str, ...]
    starts: tuple[int, ...]

    def touched(self, removed: pl.Series) -> tuple[tuple[str, ...], pl.DataFrame]:
        """Files that hold rows to be removed, and the rows of theirs that stay.

        Args:
            removed: Row numbers.

        Returns:
            Paths of the files, and their surviving rows with `ROW`.
        """
        if removed.is_empty():
            return (), self.frame.clear()
        starts = pl.Series(self.starts, dtype=pl.Int64)
        hit = set((starts.search_sorted(removed.cast(pl.Int64).unique(), side="right") - 1).to_list())
        ends = [*self.starts[1:], self.frame.height]
        parts = [self.frame[self.starts[i] : ends[i]] for i in sorted(hit)]
        stay = pl.concat(parts).join(removed.to_frame(ROW), on=ROW, how="anti", maintain_order="left")
        return tuple(self.paths[i] for i in sorted(hit)), stay


def read_rows(view: TableView, files: pl.DataFrame, schema: Mapping[str, pl.DataType]) -> FileRows:
    """Read whole files, filling columns that older files lack with nulls.

    Args:
        view: The opened table.
        files: Rows of `view.files()` to read.
        schema: The table's columns and types.

    Raises:
        TableStateError: A file is gone, damaged, or not of the table's types.
    """
    empty = pl.DataFrame(schema={**schema, ROW: pl.Int64})
    parts, starts, at = [], [], 0
    for path in files["path"]:
        part = _read(view, path, schema)
        parts.append(part.with_columns(pl.int_range(at, at + part.height, dtype=pl.Int64).alias(ROW)))
        starts.append(at)
        at += part.height
    frame = pl.concat(parts) if parts else empty
    return FileRows(frame, tuple(files["path"]), tuple(starts))


def _read(view: TableView, path: str, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    try:
        found = pl.scan_parquet(view.locate(path), storage_options=dict(view.storage_options) or None)
        have = found.collect_schema()
        columns = [
            (pl.col(name).cast(dtype) if name in have else pl.lit(None, dtype=dtype)).alias(name)
            for name, dtype in schema.items()
        ]
        return found.select(columns).collect()
    except (PolarsError, OSError) as error:
        raise TableStateError(
            f"data file `{path}` of `{view.uri}` cannot be read: {first_line(error)}. Nothing was written; restore "
            "the file, or an older version of the table"
        ) from error


def write_files(view: TableView, frames: Sequence[pl.DataFrame]) -> list[AddAction]:
    """Write rows as new data files; they belong to the table only once a commit names them.

    Args:
        view: The opened table.
        frames: Groups of rows that go to files apart; each of the table's columns.

    Returns:
        One action per file. Empty groups make no file.
    """
    if is_local(view.uri):
        Path(view.uri).mkdir(parents=True, exist_ok=True)
    return [_write(view, part) for frame in frames for part in frame.iter_slices(_ROWS_PER_FILE) if part.height]


def _write(view: TableView, frame: pl.DataFrame) -> AddAction:
    path = f"part-{uuid.uuid4()}.zstd.parquet"
    target = view.locate(path)
    frame.write_parquet(
        target, compression="zstd", compression_level=1, storage_options=dict(view.storage_options) or None
    )
    return AddAction(
        path=path,
        size=_size(view, path),
        partition_values={},
        modification_time=int(time.time() * 1000),
        data_change=True,
        stats=statistics(frame),
    )


def _size(view: TableView, path: str) -> int:
    if is_local(view.uri):
        return Path(view.locate(path)).stat().st_size
    handler = DeltaStorageHandler(view.uri, dict(view.storage_options))
    return int(handler.get_file_info([path])[0].size)
