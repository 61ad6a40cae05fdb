"""Frames as streams of Arrow batches: memory holds some ten thousand rows, where the frame itself is not there yet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import polars as pl
from polars.exceptions import PolarsError

from fuse_dagster.core.errors import InputError, first_line
from fuse_dagster.engines.local.frames import to_polars

if TYPE_CHECKING:
    import pyarrow as pa

PART = 65_536
"""Rows of a batch."""


def to_stream(data: object) -> pa.RecordBatchReader:
    """A frame of any accepted type as a reader.

    Args:
        data: A LazyFrame is computed while it is read, a RecordBatchReader is handed on; others are in memory anyway.

    Raises:
        InputError: It is no frame; or while it is read, its rows can't be computed.
    """
    import pyarrow as pa

    if isinstance(data, pa.RecordBatchReader):
        return data
    if not isinstance(data, pl.LazyFrame):
        return _arrow(to_polars(data)).to_reader(max_chunksize=PART)
    try:
        schema = _arrow(pl.DataFrame(schema=data.collect_schema())).schema
    except PolarsError as error:
        raise _uncomputed(error) from error
    return pa.RecordBatchReader.from_batches(schema, _batches(data, schema))


def _batches(frame: pl.LazyFrame, schema: Any) -> Iterator[Any]:
    try:
        for part in frame.collect_batches(chunk_size=PART, maintain_order=True, lazy=True):
            yield from _arrow(part).cast(schema).to_batches(max_chunksize=PART)
    except PolarsError as error:
        raise _uncomputed(error) from error


def _arrow(frame: pl.DataFrame) -> Any:
    # The oldest level writes large_string, which every Arrow library reads; string_view is still new to many.
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())


def _uncomputed(error: Exception) -> InputError:
    return InputError(f"The rows can't be computed: {first_line(error)}. Nothing was written.")
