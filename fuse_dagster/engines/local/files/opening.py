"""One file of any format as parts of rows: as it was delivered, or refused whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from fuse_dagster.core.errors import ConfigError, InputError, first_line
from fuse_dagster.core.naming import listing
from fuse_dagster.engines.local.files.avro import scan_avro
from fuse_dagster.engines.local.files.delimited import Delimited, read_delimited
from fuse_dagster.engines.local.files.excel import read_excel
from fuse_dagster.engines.local.files.fixed_width import FixedWidth, read_fixed
from fuse_dagster.engines.local.files.json_rows import read_json
from fuse_dagster.engines.local.files.layouts import (
    AvroOptions,
    ExcelOptions,
    Format,
    JsonOptions,
    NdjsonOptions,
    ParquetOptions,
    format_by_ending,
    unpacked,
)
from fuse_dagster.engines.local.files.packing import Bound, members
from fuse_dagster.engines.local.files.parts import Part
from fuse_dagster.engines.local.files.xml_rows import XmlRows, read_xml

Layout = Delimited | FixedWidth | XmlRows | JsonOptions | NdjsonOptions | ParquetOptions | ExcelOptions | AvroOptions
"""How the rows of a file are laid out."""

_PART = 50_000
_SELF_CONTAINED = (ParquetOptions, ExcelOptions, AvroOptions)
_BY_FORMAT: Mapping[Format, Callable[[], Layout]] = {
    Format.CSV: Delimited,
    Format.JSON: JsonOptions,
    Format.NDJSON: NdjsonOptions,
    Format.PARQUET: ParquetOptions,
    Format.EXCEL: ExcelOptions,
    Format.AVRO: AvroOptions,
    Format.XML: XmlRows,
}


def layout_of(name: str) -> Layout:
    """The layout of a file that nothing is said of but its name, packed or not.

    Raises:
        ConfigError: The name tells none.
    """
    found = format_by_ending(name)
    if found is None or found not in _BY_FORMAT:
        msg = f"The ending of `{name}` tells no format. Valid: {listing(_BY_FORMAT)}; or declare the layout."
        raise ConfigError(msg)
    if found is Format.CSV and unpacked(name).endswith(".tsv"):
        return Delimited(separator="\t")
    return _BY_FORMAT[found]()


def is_text(layout: Layout) -> bool:
    """Whether its values are text, whose types are declared or told from them."""
    return isinstance(layout, Delimited | FixedWidth | XmlRows)


def read_file_parts(
    opened: Callable[[], BinaryIO],
    file: str,
    layout: Layout | None = None,
    *,
    types: Mapping[str, pl.DataType] | None = None,
    bound: Bound | None = None,
) -> Iterator[tuple[str, Part]]:
    """Read one file, packed or not, part by part.

    Args:
        opened: Opens it, each time that it is called; the stream can seek.
        file: What it is called, for messages and by default for its layout.
        layout: How its rows are laid out.
        types: Column -> type, for Excel, whose cells have to be read by it.
        bound: How much it may unpack to.

    Yields:
        The name of the member of an archive ("" where it is none) and rows, in order. What was yielded of a file that
        is refused further on counts for nothing.

    Raises:
        InputError: It can't be read, to the last byte.
        ConfigError: Its name tells no layout.
        MissingExtraError: The package for its format is not installed.
    """
    if layout is not None and isinstance(layout, _SELF_CONTAINED):
        yield from (("", part) for part in _read_contained(opened, file, layout, types or {}))
        return
    if layout is None and (found := _contained(file)) is not None:
        yield from (("", part) for part in _read_contained(opened, file, found, types or {}))
        return
    for member in members(opened, file, bound):
        name = f"{file}/{member.name}" if member.name else file
        chosen = layout or layout_of(name)
        if isinstance(chosen, _SELF_CONTAINED):
            raise InputError(f"`{name}` is packed, which {chosen.format} is by itself. Deliver it as it is.")
        with member.open() as stream:
            for part in _read_stream(stream, name, chosen):
                yield member.name, part


def _contained(file: str) -> Layout | None:
    found = format_by_ending(file)
    bare = file.partition("?")[0].lower()
    return layout_of(file) if found in {Format.PARQUET, Format.EXCEL, Format.AVRO} and bare == unpacked(file) else None


def _read_stream(stream: BinaryIO, file: str, layout: Layout) -> Iterator[Part]:
    match layout:
        case Delimited():
            return read_delimited(stream, layout, file)
        case FixedWidth():
            return read_fixed(stream, layout, file)
        case XmlRows():
            return read_xml(stream, layout, file)
    return read_json(stream, file, lines=isinstance(layout, NdjsonOptions))


def _read_contained(
    opened: Callable[[], BinaryIO], file: str, layout: Layout, types: Mapping[str, pl.DataType]
) -> Iterator[Part]:
    count = 0
    for frame in _frames(opened, file, layout, types):
        yield Part.numbered(frame, count)
        count += frame.height


def _frames(
    opened: Callable[[], BinaryIO], file: str, layout: Layout, types: Mapping[str, pl.DataType]
) -> Iterator[pl.DataFrame]:
    if isinstance(layout, AvroOptions):
        yield from scan_avro(opened, file).collect_batches(chunk_size=_PART, maintain_order=True, lazy=True)
        return
    with opened() as stream:
        if isinstance(layout, ExcelOptions):
            yield read_excel(stream.read(), layout, types, file)
            return
        try:
            reader = pq.ParquetFile(stream)
            yield pl.DataFrame(pl.from_arrow(reader.schema_arrow.empty_table()))
            for batch in reader.iter_batches(batch_size=_PART):
                yield pl.DataFrame(pl.from_arrow(batch))
        except (pa.ArrowException, OSError, ValueError) as error:
            msg = f"`{file}` can't be read as parquet: {first_line(error)}. Repair it, or say its format."
            raise InputError(msg) from error
