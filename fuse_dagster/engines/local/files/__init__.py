"""Files of rows: Parquet, CSV, JSON, NDJSON, Excel and Avro, read as polars and written from any frame.

XML and lines of fixed width are read.

Files are for interchange with others. Tables that grow, change or have several writers belong in Delta.
"""

from fuse_dagster.engines.local.files.finding import Opener, files_below, guess, opened
from fuse_dagster.engines.local.files.layouts import (
    AvroOptions,
    CsvOptions,
    ExcelOptions,
    FileOptions,
    FixedOptions,
    Format,
    JsonOptions,
    NdjsonOptions,
    ParquetOptions,
    XmlOptions,
    file_options,
    options_for,
)
from fuse_dagster.engines.local.files.reading import scan_files
from fuse_dagster.engines.local.files.writing import Written, write_rows

__all__ = [
    "AvroOptions",
    "CsvOptions",
    "ExcelOptions",
    "FileOptions",
    "FixedOptions",
    "Format",
    "JsonOptions",
    "NdjsonOptions",
    "Opener",
    "ParquetOptions",
    "Written",
    "XmlOptions",
    "file_options",
    "files_below",
    "guess",
    "opened",
    "options_for",
    "scan_files",
    "write_rows",
]
