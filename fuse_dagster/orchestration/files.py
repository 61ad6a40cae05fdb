"""Files through a connector: one call writes a frame as a whole file, one call reads it."""

from __future__ import annotations

import io
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl

from fuse_dagster.connectors.base import CanRead, CanWrite, Connector
from fuse_dagster.connectors.lake import Lake
from fuse_dagster.connectors.parts import PART
from fuse_dagster.core.errors import ConfigError, FuseError, NotThereError
from fuse_dagster.core.naming import listing
from fuse_dagster.engines.local.addresses import is_of_spark
from fuse_dagster.engines.local.files import FileOptions, Format, file_options, options_for, scan_files, write_rows
from fuse_dagster.engines.local.files.layouts import ENDINGS, PACKED, UNPACKED, format_by_ending
from fuse_dagster.engines.local.files.reading import reading
from fuse_dagster.engines.local.reading import choose


@dataclass(frozen=True, slots=True, kw_only=True)
class FileWritten:
    """One file that was written.

    Attributes:
        uri: Where it lies.
        rows: How many it holds.
        bytes: How large it is.
        schema: Column -> type, as written.
        first: Its first rows, up to ten.
        seconds: How long it took.
    """

    uri: str
    rows: int
    bytes: int
    schema: Mapping[str, pl.DataType]
    first: pl.DataFrame
    seconds: float


def write_file(
    lake: Lake,
    path: str,
    data: object,
    *,
    layout: str | None = None,
    options: Mapping[str, Any] | FileOptions | None = None,
    masked: Collection[str] = (),
) -> FileWritten:
    """Write a frame as one file, in place of one that is there: readers see the old file or the new one.

    The file is made on this machine's disk, part by part, and then sent. What is refused leaves the old file as it was.

    Args:
        lake: Where it goes; a connector that writes files.
        path: Name below the root, with `/` between its parts.
        data: A frame of any accepted type. A Spark DataFrame comes partition by partition.
        layout: The format; by default as the name's ending tells.
        options: Option -> value of the format.
        masked: Columns whose values no message shows.

    Returns:
        What was written.

    Raises:
        SchemaError: The format can't hold a column; the message names all of them, and says what to do.
        InputError: The rows can't be computed, or `data` is no frame.
        ConfigError: The name tells no format, options can't be, or the connector does not write files.
        StoreError: The store refuses; or `StoreUnavailableError`, where it can't be reached.

    Examples:
        >>> from fuse_dagster import Local, write_file
        >>> write_file(Local(root="lake"), "out/a.csv", pl.DataFrame({"a": [1]})).rows  # doctest: +SKIP
        1
    """
    began = time.monotonic()
    only_read = tuple(set(UNPACKED) - set(PACKED.values()))
    if path.lower().endswith(only_read):
        raise ConfigError(f"`{path}` names a compression that is only read. Valid: {listing(PACKED.values())}.")
    if not isinstance(lake, CanWrite):
        msg = f"A `{lake.type}` connector writes no files. Take one that does: `fuse connectors list` names them."
        raise ConfigError(msg)
    uri, chosen = lake.uri(*path.split("/")), _chosen(path, layout, options)
    with tempfile.TemporaryFile(prefix="fuse_") as file:
        written = write_rows(_brought(data), file, chosen, masked=masked)
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        lake.write(path, file)
    return FileWritten(
        uri=uri,
        rows=written.rows,
        bytes=size,
        schema=written.schema,
        first=written.first,
        seconds=time.monotonic() - began,
    )


def read_file(
    lake: Lake,
    path: str,
    *,
    layout: str | None = None,
    options: Mapping[str, Any] | FileOptions | None = None,
    types: Mapping[str, Any] | None = None,
    columns: Sequence[str] | None = None,
) -> pl.LazyFrame:
    """Read a file, or all files of one format in a folder.

    Args:
        lake: Where it lies.
        path: Name below the root, with `/` between its parts.
        layout: The format; by default as the name's ending tells.
        options: Option -> value of the format.
        types: Column -> type, as polars or as text (`int64`, `decimal(10, 2)`), for formats that hold none.
        columns: Columns to read, in this order; all by default.

    Returns:
        The rows. Parquet, CSV, NDJSON and Avro are read as they are needed; a JSON array and Excel are read whole.

    Raises:
        NotThereError: There is nothing of that name.
        InputError: It is no file of that format.
        ConfigError: The name tells no format, an option or type can't be, or there is no such column.
        StoreError: The store refuses; or `StoreUnavailableError`, where it can't be reached.

    Examples:
        >>> from fuse_dagster import Local, read_file
        >>> read_file(Local(root="lake"), "out/a.csv").collect()  # doctest: +SKIP
    """
    frame = scan_file(lake, path, _chosen(path, layout, options), types=types, storage_options=lake.storage_options())
    return choose(frame, columns, of=f"`{lake.uri(*path.split('/'))}`")


def scan_file(
    lake: Lake,
    path: str,
    options: FileOptions,
    *,
    types: Mapping[str, Any] | None = None,
    storage_options: Mapping[str, str] | None = None,
) -> pl.LazyFrame:
    """Read a file, or all files of a folder, as far as the connector and the format let it be lazy.

    Args:
        lake: Where it lies.
        path: Name below the root, with `/` between its parts.
        options: The format, and its options.
        types: Column -> type, as polars or as text, for formats that hold none.
        storage_options: Of the connector.

    Returns:
        The rows. Of a store that polars can't open (files of a Databricks workspace), a file is fetched and read whole.

    Raises:
        FuseError: As `read_file`.
    """
    uri = lake.uri(*path.split("/"))
    if is_of_spark(uri):
        with fetched(lake, path) as copy, reading(str(copy), options.format):
            return scan_files(str(copy), options.format, options=options, types=types).collect().lazy()
    return scan_files(
        uri,
        options.format,
        options=options,
        types=types,
        storage_options=storage_options,
        opener=opener_of(lake),
    )


@contextmanager
def fetched(lake: Connector, path: str) -> Iterator[Path]:
    """A copy of a file on this machine's disk, for readers that can't open its store.

    Args:
        lake: Where the file lies: a lake, or any other connector that reads files.
        path: Name below the root, with `/` between its parts.

    Yields:
        The copy, which goes at the end. Errors name the file where it lies.

    Raises:
        NotThereError: There is no such file.
        ConfigError: The connector reads no files.
    """
    uri = lake.uri(*path.split("/")) if isinstance(lake, Lake) else f"{lake.place.rstrip('/')}/{path}"
    if not isinstance(lake, CanRead):
        raise ConfigError(f"A `{lake.type}` connector reads no files. Take one that does: `fuse connectors list`.")
    with tempfile.TemporaryDirectory(prefix="fuse_") as folder:
        copy = Path(folder) / path.rsplit("/", 1)[-1]
        try:
            with lake.open(path) as source, copy.open("wb") as file:
                shutil.copyfileobj(source, file, PART)
        except FileNotFoundError as error:
            raise NotThereError(f"There is nothing at `{uri}`. Correct the path.") from error
        try:
            yield copy
        except FuseError as error:
            raise type(error)(str(error).replace(str(copy), uri)) from None


def opener_of(lake: Lake) -> Callable[[str], BinaryIO] | None:
    """What opens the files below a connector by their URI; None where it opens none itself."""
    if not isinstance(lake, CanRead):
        return None
    root = lake.uri("_").removesuffix("_")
    return lambda uri: lake.open(uri.removeprefix(root))


def _chosen(path: str, layout: str | None, options: Mapping[str, Any] | FileOptions | None) -> FileOptions:
    found = layout or format_by_ending(path)
    if found is None:
        msg = f"The ending of `{path}` tells no format. Valid: {listing(ENDINGS)}; or say it with `layout=`."
        raise ConfigError(msg)
    if options is not None and not isinstance(options, Mapping):
        return options
    given = dict(options or {})
    plain = options_for(path, Format(file_options(found).format))
    known = {entry.name: getattr(plain, entry.name) for entry in fields(plain)}
    packed = next((name for name, ending in PACKED.items() if path.lower().endswith(ending)), None)
    if packed is not None and "compression" in known:
        known["compression"] = packed
    return file_options(found, {**known, **given})


def _brought(data: object) -> object:
    """A Spark DataFrame as its partitions, one after the other; other frames as they are."""
    from fuse_dagster.engines.spark.frames import is_spark

    if not is_spark(data):
        return data
    from fuse_dagster.engines.spark.files import parts_of

    return parts_of(data)  # type: ignore[arg-type]  # what `is_spark` means
