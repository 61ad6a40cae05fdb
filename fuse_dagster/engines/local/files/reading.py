"""Opens files of rows as lazy frames: what a format can't say of its types is guessed, or told by whoever knows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from fuse_dagster.core.errors import ConfigError, FuseError, InputError, NotThereError, first_line
from fuse_dagster.core.store_failures import store_error
from fuse_dagster.engines.local.addresses import is_local, normal_uri, polars_options
from fuse_dagster.engines.local.files.avro import scan_avro
from fuse_dagster.engines.local.files.casting import as_types, native_of_csv, native_of_json
from fuse_dagster.engines.local.files.excel import read_excel
from fuse_dagster.engines.local.files.finding import Opener, files_below, opened, unpacking
from fuse_dagster.engines.local.files.fixed_width import read_fixed
from fuse_dagster.engines.local.files.layouts import (
    CsvOptions,
    ExcelOptions,
    FileOptions,
    FixedOptions,
    Format,
    XmlOptions,
    options_for,
)
from fuse_dagster.engines.local.files.parts import Part
from fuse_dagster.engines.local.files.texts import Telling, typed
from fuse_dagster.engines.local.files.types import types_of
from fuse_dagster.engines.local.files.xml_rows import read_xml

INFERRED = 10_000
"""Rows from which the types of a text file are told."""

_START = 64


def scan_files(
    address: str,
    layout: Format,
    *,
    options: FileOptions | None = None,
    types: Mapping[str, Any] | None = None,
    storage_options: Mapping[str, str] | None = None,
    opener: Opener | None = None,
) -> pl.LazyFrame:
    """Open a file, or all files of a folder.

    Parquet, CSV and NDJSON are read lazily, Avro block by block; a JSON array, an Excel sheet and CSV in another
    encoding than UTF-8 are read whole, here, as XML and lines of fixed width are.

    Args:
        address: URI or path.
        layout: The format; not Delta.
        options: How the format is written; by default as its name tells.
        types: Column -> type, as polars or as text (`int64`, `decimal(10, 2)`): read so, rather than guessed, where the
            column is there.
        storage_options: As delta-rs takes them.
        opener: Opens what is not read lazily; by default delta-rs' own store does.

    Returns:
        The rows. Without `types`, those of text are told from the first 10,000 rows: CSV has dates, times, truth values
        and numbers (but text where one begins with a zero, as `007`), JSON no dates and times; a column of Excel is
        whole numbers where all of its values are.

    Raises:
        NotThereError: There is nothing at the address.
        InputError: A file is empty, cut off, no file of this format, or names a column twice.
        StoreError: The store refuses; or `StoreUnavailableError`, where it can't be reached.
        ConfigError: A type that is none, or options of another format.
        MissingExtraError: The package for Excel or Avro is not installed.
    """
    uri, known = normal_uri(address), types_of(types)
    chosen = options or options_for(uri, layout)
    if chosen.format is not layout:
        msg = f"The options are those of `{chosen.format}`, but `{uri}` is read as `{layout}`. Give options of that."
        raise ConfigError(msg)
    store = storage_options or {}
    with reading(uri, layout):
        files = files_below(uri, layout, store)
        read = opener or (lambda file: opened(file, store))
        frame = _SCANS[layout](files, chosen, known, polars_options(store), read)
        frame.collect_schema()
    return frame


@contextmanager
def reading(uri: str, layout: Format) -> Iterator[None]:
    """Say what goes wrong while files are read in our words.

    Raises:
        NotThereError: There is nothing at the address.
        InputError: A file can't be read as what it is called.
        StoreError: The store refuses; or `StoreUnavailableError`, where it can't be reached.
    """
    try:
        yield
    except FuseError:
        raise
    except FileNotFoundError as error:
        msg = f"There is nothing at `{uri}`. Correct the path."
        raise NotThereError(msg) from error
    except (PolarsError, OSError, ValueError, EOFError) as error:
        refused = None if is_local(uri) else store_error(error, uri)
        if refused is not None:
            raise refused from error
        msg = f"`{uri}` can't be read as {layout}: {first_line(error)}. Repair it, or say its format."
        raise InputError(msg) from error


def refuse_repeated(names: list[str], file: str) -> None:
    """Refuse a file that calls two columns by one name, of which readers would make up another for one.

    Raises:
        InputError: A name is there twice.
    """
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        msg = f"`{file}` names columns twice: {repeated}. Rename one of each in the file."
        raise InputError(msg)


def _scan_parquet(
    files: list[str], _: FileOptions, types: Mapping[str, pl.DataType], store: dict[str, Any] | None, __: Opener
) -> pl.LazyFrame:
    return as_types(pl.scan_parquet(files, glob=False, hive_partitioning=False, storage_options=store), types)


def _scan_csv(
    files: list[str],
    options: FileOptions,
    types: Mapping[str, pl.DataType],
    store: dict[str, Any] | None,
    read: Opener,
) -> pl.LazyFrame:
    assert isinstance(options, CsvOptions)
    if types and not options.header and all(_is_empty(file, read) for file in files):
        return pl.LazyFrame(schema=dict(types))
    sources: list[Any] = [
        file if options.is_utf8 and not _needs_unpacking(file) else _decoded(file, options, read) for file in files
    ]
    given: dict[str, Any] = {
        "separator": options.separator,
        "null_values": options.null or None,
        "glob": False,
        "storage_options": store,
    }
    first = pl.scan_csv(sources[0], has_header=False, infer_schema=False, n_rows=1, **given).collect()
    names = [str(value or "") for value in first.row(0)] if options.header and first.height else first.columns
    refuse_repeated(names, files[0])
    said = list(types) if not options.header and len(types) == len(names) else None
    known = {name: native_of_csv(types[name]) for name in said or names if name in types}

    def scanned(known: Mapping[str, pl.DataType], **how: Any) -> pl.LazyFrame:
        return pl.scan_csv(
            sources, has_header=options.header, new_columns=said, schema_overrides=dict(known), **how, **given
        )

    guessing: dict[str, Any] = {"infer_schema_length": INFERRED, "try_parse_dates": True}
    found = scanned(known, **guessing)
    texts = _texts_like_numbers(found, known, scanned({}, infer_schema=False, n_rows=INFERRED))
    return as_types(scanned({**known, **texts}, **guessing) if texts else found, types)


def _texts_like_numbers(
    guessed: pl.LazyFrame, known: Mapping[str, pl.DataType], raw: pl.LazyFrame
) -> dict[str, pl.DataType]:
    """Columns that are taken for numbers though values begin with a zero, as codes of places do: `007` is not 7."""
    numbers = [name for name, dtype in guessed.collect_schema().items() if dtype.is_numeric() and name not in known]
    if not numbers:
        return {}
    found = raw.select(pl.col(name).str.contains(r"^[+-]?0[0-9]").any() for name in numbers).collect()
    return {name: pl.String() for name in numbers if found[name].item()}


def _decoded(file: str, options: CsvOptions, read: Opener) -> bytes:
    with unpacking(read(file), file) as stream:
        return stream.read().decode(options.encoding).encode()


def _scan_ndjson(
    files: list[str], _: FileOptions, types: Mapping[str, pl.DataType], store: dict[str, Any] | None, read: Opener
) -> pl.LazyFrame:
    if types and all(_is_empty(file, read) for file in files):
        return pl.LazyFrame(schema=dict(types))
    names: list[Any] = [_unpacked(file, read) if _needs_unpacking(file) else _literal(file) for file in files]

    def scanned(known: Mapping[str, pl.DataType]) -> pl.LazyFrame:
        return pl.scan_ndjson(names, infer_schema_length=INFERRED, schema_overrides=dict(known), storage_options=store)

    found = scanned({})
    schema = found.collect_schema()
    known = {name: native_of_json(types[name]) for name in schema if name in types}
    same = all(schema[name] == dtype for name, dtype in known.items())
    return as_types(found if same else scanned(known), types)


def _needs_unpacking(file: str) -> bool:
    """Whether a file is compressed in a way that polars does not know."""
    return file.lower().endswith((".bz2", ".xz", ".zip"))


def _unpacked(file: str, read: Opener) -> bytes:
    with unpacking(read(file), file) as stream:
        return stream.read()


def _literal(file: str) -> str:
    """A name whose signs stand for themselves: polars takes them for patterns here, and reads nothing of `a[1]`."""
    return re.sub(r"[*?\[]", lambda sign: f"[{sign[0]}]", file)


def _scan_json(
    files: list[str],
    options: FileOptions,
    types: Mapping[str, pl.DataType],
    store: dict[str, Any] | None,
    read: Opener,
) -> pl.LazyFrame:
    """An array of objects is read whole; objects one a line are read as they are needed."""
    if not all(is_array(file, read) for file in files):
        return _scan_ndjson(files, options, types, store, read)
    frames = []
    for file in files:
        with unpacking(read(file), file) as stream:
            data = stream.read()
        if types and data.strip() == b"[]":
            frames.append(pl.LazyFrame(schema=dict(types)))
            continue
        found = pl.read_json(data, infer_schema_length=None)
        known = {name: native_of_json(types[name]) for name in found.columns if name in types}
        if any(found.schema[name] != dtype for name, dtype in known.items()):
            found = pl.read_json(data, schema_overrides=known, infer_schema_length=None)
        frames.append(as_types(found.lazy(), types))
    return pl.concat(frames) if len(frames) > 1 else frames[0]


def is_array(file: str, read: Opener) -> bool:
    """Whether a JSON file is one array, or one object over several lines, rather than an object a line.

    Args:
        file: URI or path.
        read: Opens it.
    """
    with unpacking(read(file), file) as stream:
        start = stream.read(_START).lstrip()
        if start[:1] != b"{":
            return True
        # One object over several lines opens with a brace, too; what tells is whether the first line ends with it.
        line = (start + stream.readline()).splitlines()[0].strip()
        return not line.endswith(b"}")


def _is_empty(file: str, read: Opener) -> bool:
    with unpacking(read(file), file) as stream:
        return not stream.read(1)


def _scan_excel(
    files: list[str],
    options: FileOptions,
    types: Mapping[str, pl.DataType],
    _: dict[str, Any] | None,
    read: Opener,
) -> pl.LazyFrame:
    assert isinstance(options, ExcelOptions)
    frames = []
    for file in files:
        with read(file) as stream:
            frames.append(read_excel(stream.read(), options, types, file))
    return pl.concat(frames).lazy()


def _scan_avro(
    files: list[str], _: FileOptions, types: Mapping[str, pl.DataType], __: dict[str, Any] | None, read: Opener
) -> pl.LazyFrame:
    return pl.concat([as_types(scan_avro(lambda file=file: read(file), file), types) for file in files])  # type: ignore[misc]


def _scan_xml(
    files: list[str], options: FileOptions, types: Mapping[str, pl.DataType], _: dict[str, Any] | None, read: Opener
) -> pl.LazyFrame:
    assert isinstance(options, XmlOptions)
    frames, telling = [], Telling()
    for file in files:
        with unpacking(read(file), file) as stream:
            for part in read_xml(stream, options, file):
                frames.append(typed(part, types, file).rows)
                telling.see(frames[-1])
    told = {name: dtype or pl.String() for name, dtype in telling.types().items()}
    rows = pl.concat(frames, how="diagonal")
    return typed(Part.numbered(rows, 0), told, files[0]).rows.lazy()


def _scan_fixed(
    files: list[str], options: FileOptions, types: Mapping[str, pl.DataType], _: dict[str, Any] | None, read: Opener
) -> pl.LazyFrame:
    assert isinstance(options, FixedOptions)
    known = {**options.types, **types}
    frames = []
    for file in files:
        with unpacking(read(file), file) as stream:
            frames += [typed(part, known, file).rows for part in read_fixed(stream, options, file)]
    return pl.concat(frames).lazy()


_SCANS = {
    Format.PARQUET: _scan_parquet,
    Format.CSV: _scan_csv,
    Format.JSON: _scan_json,
    Format.NDJSON: _scan_ndjson,
    Format.EXCEL: _scan_excel,
    Format.AVRO: _scan_avro,
    Format.XML: _scan_xml,
    Format.FIXED: _scan_fixed,
}
