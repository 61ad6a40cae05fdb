"""Rows that are written while more of them come: all of them, in their order, or none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from fuse_dagster.core.errors import SchemaError, TableStateError
from fuse_dagster.tables import Append, write

PART = 500_000
SCHEMA = pa.schema([("id", pa.int64())])


def part(number: int, schema: pa.Schema = SCHEMA) -> pa.RecordBatch:
    """As many rows as fill a file."""
    return pa.record_batch([pa.array(range(number * PART, (number + 1) * PART), schema.field(0).type)], schema=schema)


def test_parts_come_in_their_order(tmp_path: Path) -> None:
    rows = pa.RecordBatchReader.from_batches(SCHEMA, (part(number) for number in range(3)))
    written = write(tmp_path, rows, Append())
    assert (written.inserted, written.files_added) == (3 * PART, 3)
    ids = pl.read_delta(str(tmp_path))["id"]
    assert (ids.sum(), ids.n_unique()) == (sum(range(3 * PART)), 3 * PART)


@pytest.mark.parametrize("whole", [1, 2])
def test_a_source_that_breaks_leaves_no_file(tmp_path: Path, whole: int) -> None:
    def rows() -> Iterator[pa.RecordBatch]:
        yield from (part(number) for number in range(whole))  # the last one is being written when the source breaks
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        write(tmp_path, pa.RecordBatchReader.from_batches(SCHEMA, rows()), Append())
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_part_that_is_refused_leaves_no_file_of_the_one_before(tmp_path: Path) -> None:
    kind = pa.schema([("id", pa.uint64())])
    too_large = pa.record_batch([pa.array([2**64 - 1] * PART, pa.uint64())], schema=kind)
    rows = pa.RecordBatchReader.from_batches(kind, iter([part(0, kind), too_large]))
    with pytest.raises(SchemaError):
        write(tmp_path, rows, Append())
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("more", [0, 1, 2])
def test_a_folder_that_takes_no_more_fails_the_write(tmp_path: Path, more: int) -> None:
    table = tmp_path / "table"

    def rows() -> Iterator[pa.RecordBatch]:
        table.write_text("a file where the folder should be")
        yield from (part(number) for number in range(1 + more))

    with pytest.raises(TableStateError, match=r"cannot be written.*Nothing was committed"):
        write(table, pa.RecordBatchReader.from_batches(SCHEMA, rows()), Append())
    assert table.is_file()
    table.unlink()
    assert write(table, pa.RecordBatchReader.from_batches(SCHEMA, iter([part(0)])), Append()).inserted == PART
