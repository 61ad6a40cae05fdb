"""Writes frames as one file, part by part: memory holds some ten thousand rows, whatever the file is long."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from polars.exceptions import PolarsError

from fuse_dagster.core.errors import ConfigError, FuseError, InputError, first_line
from fuse_dagster.core.naming import listing
from fuse_dagster.engines.local.files.avro import write_avro
from fuse_dagster.engines.local.files.excel import write_excel
from fuse_dagster.engines.local.files.holding import checks, plain, plain_type, refuse_types, refuse_values
from fuse_dagster.engines.local.files.layouts import (
    AvroOptions,
    CsvOptions,
    ExcelOptions,
    FileOptions,
    Format,
    ParquetOptions,
)
from fuse_dagster.engines.local.frames import to_polars

PART = 50_000
"""Rows that are written at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written.

    Attributes:
        rows: How many.
        schema: Column -> type.
        first: The first rows, up to `sample` of them.
    """

    rows: int
    schema: Mapping[str, pl.DataType]
    first: pl.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Rows that come in parts, as of a source that is read once.

    Attributes:
        schema: Column -> type.
        frames: The rows; each frame has these columns.
    """

    schema: Mapping[str, pl.DataType]
    frames: Iterable[pl.DataFrame]


def write_rows(
    data: object, file: BinaryIO, options: FileOptions, *, sample: int = 10, masked: Collection[str] = ()
) -> Written:
    """Write a frame to a stream as one file.

    Rows are computed, checked and written part by part. What a refused frame leaves in the stream is no file: write to
    a temporary one, and put it in its place when this returns.

    Args:
        data: A frame of any accepted type, or `Parts`. A pandas frame, an Arrow table and a DuckDB relation are in
            memory anyway; a LazyFrame, a RecordBatchReader and `Parts` are not brought there.
        file: Opened for writing bytes; for Excel it has to be able to seek.
        options: The format, and its options.
        sample: How many of the first rows to hand back.
        masked: Columns whose values no message shows.

    Returns:
        How much was written, and of what types: categories became text.

    Raises:
        SchemaError: The format can't hold a column; the message names all of them, and says what to do.
        InputError: The rows can't be computed, or `data` is no frame.
        ConfigError: The format is one that is only read.
        MissingExtraError: The package for Excel or Avro is not installed.
    """
    if options.format not in _WRITERS:
        raise ConfigError(f"`{options.format}` is read, not written. Valid: {listing(_WRITERS)}.")
    with _computing():
        parts = _parts_of(data)
        schema = {name: plain_type(dtype) for name, dtype in parts.schema.items()}
        refuse_types(schema, options)
        seen = _Seen(schema, checks(schema, options), sample, masked)
        _WRITERS[options.format](seen.each(parts.frames), schema, file, options)
    return Written(rows=seen.rows, schema=schema, first=seen.first)


class _Seen:
    """Checks and counts the parts as they go by."""

    def __init__(self, schema: Mapping[str, pl.DataType], checked: Any, sample: int, masked: Collection[str]) -> None:
        self.rows, self.first, self._sample = 0, pl.DataFrame(schema=dict(schema)), sample
        self._checked, self._masked = checked, masked

    def each(self, frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """Hand on the rows, as they are written."""
        for frame in frames:
            for part in plain(frame).iter_slices(PART):
                refuse_values(part, self._checked, self._masked)
                if self.first.height < self._sample:
                    self.first = pl.concat([self.first, part.head(self._sample - self.first.height)])
                self.rows += part.height
                yield part


@contextmanager
def _computing() -> Iterator[None]:
    """Say why the rows of a lazy frame can't be had; a failing disk is not meant."""
    try:
        yield
    except FuseError:
        raise
    except PolarsError as error:
        msg = f"The rows can't be computed: {first_line(error)}. Nothing was written."
        raise InputError(msg) from error


def _parts_of(data: object) -> Parts:
    if isinstance(data, Parts):
        return data
    if isinstance(data, pl.LazyFrame):
        return Parts(
            schema=data.collect_schema(), frames=data.collect_batches(chunk_size=PART, maintain_order=True, lazy=True)
        )
    if isinstance(data, pa.RecordBatchReader):
        empty = to_polars(data.schema.empty_table())
        return Parts(schema=empty.schema, frames=(to_polars(batch) for batch in data))
    frame = to_polars(data)
    return Parts(schema=frame.schema, frames=[frame])


def _write_parquet(
    frames: Iterator[pl.DataFrame], schema: Mapping[str, pl.DataType], file: BinaryIO, options: FileOptions
) -> None:
    assert isinstance(options, ParquetOptions)
    arrow = _table(pl.DataFrame(schema=dict(schema))).schema
    with pq.ParquetWriter(file, arrow, compression=options.compression) as writer:
        for frame in frames:
            writer.write_table(_table(frame).cast(arrow))


def _table(frame: pl.DataFrame) -> pa.Table:
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())


def _write_csv(
    frames: Iterator[pl.DataFrame], schema: Mapping[str, pl.DataType], file: BinaryIO, options: FileOptions
) -> None:
    assert isinstance(options, CsvOptions)
    given: dict[str, Any] = {
        "separator": options.separator,
        "quote_style": "non_numeric",  # so text is told from a missing value, and `007` from a number
        "null_value": options.null,
    }
    with _packing(file, options.compression) as sink:
        encoder = _encoder(options)
        if options.header:
            sink.write(encoder(pl.DataFrame(schema=dict(schema)).write_csv(**given)))
        for frame in frames:
            sink.write(encoder(_in_utc(frame).write_csv(include_header=False, **given)))


def _encoder(options: CsvOptions) -> Callable[[str], bytes]:
    """What encodes text that comes in parts: a mark at the start is written once."""
    import codecs

    return codecs.getincrementalencoder(options.encoding)().encode


def _in_utc(frame: pl.DataFrame) -> pl.DataFrame:
    zoned = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Datetime) and dtype.time_zone]
    return frame.with_columns(pl.col(name).dt.convert_time_zone("UTC") for name in zoned)


def _write_ndjson(
    frames: Iterator[pl.DataFrame], _: Mapping[str, pl.DataType], file: BinaryIO, options: FileOptions
) -> None:
    with _packing(file, options.compression) as sink:  # type: ignore[union-attr]  # this format has it
        for frame in frames:
            sink.write(_as_json(frame).write_ndjson().encode())


def _write_json(
    frames: Iterator[pl.DataFrame], _: Mapping[str, pl.DataType], file: BinaryIO, options: FileOptions
) -> None:
    with _packing(file, options.compression) as sink:  # type: ignore[union-attr]  # this format has it
        between = b"[\n"
        for frame in frames:
            for line in _as_json(frame).write_ndjson().encode().splitlines():
                sink.write(between + line)
                between = b",\n"
        sink.write(b"\n]\n" if between == b",\n" else b"[]\n")


def _as_json(frame: pl.DataFrame) -> pl.DataFrame:
    """Dates and times as ISO 8601, which JSON has no types for."""
    return _in_utc(frame).with_columns(
        pl.col(name).dt.to_string("iso:strict") if dtype.is_temporal() else pl.col(name).cast(pl.String)
        for name, dtype in frame.schema.items()
        if dtype.is_temporal() or isinstance(dtype, pl.Decimal)
    )


def _write_excel(
    frames: Iterator[pl.DataFrame], schema: Mapping[str, pl.DataType], file: BinaryIO, options: FileOptions
) -> None:
    assert isinstance(options, ExcelOptions)
    write_excel(frames, list(schema), file, options)


def _write_avro(
    frames: Iterator[pl.DataFrame], schema: Mapping[str, pl.DataType], file: BinaryIO, options: FileOptions
) -> None:
    assert isinstance(options, AvroOptions)
    write_avro(frames, schema, file, options)


@contextmanager
def _packing(file: BinaryIO, compression: str) -> Iterator[Any]:
    """The stream, or one before it that compresses; the stream itself stays open."""
    if compression == "none":
        yield file
        return
    sink = pa.PythonFile(_KeptOpen(file), mode="w")
    with pa.CompressedOutputStream(sink, compression) as packed:
        yield packed


class _KeptOpen:
    """A stream for writing that is not closed by whoever is done with it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.closed = False

    def write(self, data: bytes) -> int:
        """Write to what is kept open."""
        return self._file.write(data)

    def flush(self) -> None:
        """Flush what is kept open."""
        self._file.flush()

    def close(self) -> None:
        """Say that no more comes."""
        self.closed = True


_WRITERS: Mapping[Format, Callable[[Iterator[pl.DataFrame], Mapping[str, pl.DataType], BinaryIO, Any], None]] = {
    Format.PARQUET: _write_parquet,
    Format.CSV: _write_csv,
    Format.JSON: _write_json,
    Format.NDJSON: _write_ndjson,
    Format.EXCEL: _write_excel,
    Format.AVRO: _write_avro,
}
